//! Hetzner Cloud's API, spoken carefully: typed calls that retry what may be retried, lists that are whole or an error,
//! one poller for all running actions, one pause for all when the project's rate limit is near.
//!
//! Reading order: [`Client`] makes the calls (`ops/` has them by resource), [`List`] is what a list gives, `wire/` has
//! the shapes, [`ApiError`] what went wrong, in which class and what to do.

mod actions;
mod client;
mod error;
pub mod limits;
mod ops;
mod pace;
mod pages;
mod retry;
mod timing;
pub mod wire;

pub use client::{API, Client, Event, Tell};
pub use error::{ApiError, Code, Field, Refusal};
pub use ops::{Created, ImageFilter, NewFirewall, NewPrimaryIp, NewRrset, NewServer, NewSshKey, PublicNet, Update};
pub use pages::{Filter, List, Odd};
pub use timing::{RealTiming, Timing};

#[cfg(test)]
mod stub;
