//! Hetzner Cloud: machines, who reaches them, and the names that lead to them. What runs on a machine is others' work.
//!
//! Reading order: [`HetznerRules`] says what a host consists of; [`HetznerProvider`] looks (`observe`) and does (`steps`);
//! [`Client`] speaks with the API, carefully: typed calls that retry what may be retried, lists that are whole or an error,
//! one poller for all running actions, one pause for all when the project's rate limit is near.

mod actions;
mod adopt;
mod catalog;
mod client;
mod error;
pub mod limits;
mod machine;
mod names;
mod observe;
mod ops;
mod pace;
mod pages;
mod project;
mod provider;
mod records;
mod retry;
mod rules;
mod steps;
mod timing;
pub mod wire;

/// Where a token is taken back.
pub const CONSOLE: &str = "https://console.hetzner.com: the project, Security, API tokens";

pub use adopt::Stranger;
pub use catalog::CATALOG;
pub use client::{API, API_HOST, Client, Event, Tell};
pub use error::{ApiError, Code, Field, Refusal};
pub use ops::{Created, ImageFilter, NewFirewall, NewPrimaryIp, NewRrset, NewServer, NewSshKey, PublicNet, Update};
pub use pages::{Filter, List, Odd};
pub use provider::HetznerProvider;
pub use rules::HetznerRules;
pub use timing::{RealTiming, Timing};

#[cfg(test)]
mod stub;
