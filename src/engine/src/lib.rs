//! Does: loads, observes, applies, retries, writes the journal, holds the lock. Knows no vendor and prints nothing.

pub mod apply;
pub mod audit;
mod comeback;
pub mod event;
pub mod journal;
pub mod load;
pub mod lock;
pub mod observe;
pub mod retry;
