//! How bytes leave claw. Knows no vendor, no fleet and no plan.

pub mod dns;
pub mod http;
pub mod ssh;
