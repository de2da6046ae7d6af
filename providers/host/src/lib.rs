//! Any machine with SSH as a place for agents: who may log in, a hardened sshd, an engine, folders, and what containers
//! may not reach; and what a new machine is given so that it can become one. What runs in the engine is another provider's; it is reached through the same connection.

mod access;
mod bootstrap;
mod cloud;
mod converge;
mod facts;
mod login;
mod operate;
mod provider;
mod rollback;
mod rules;
mod script;

pub use bootstrap::{Bootstrap, TooLarge, USER_DATA_BYTES_MAX, host_key_pair, matches_label, pin_label};
pub use cloud::{CloudHost, Dial, Engine};
pub use login::Login;
pub use provider::HostProvider;
pub use rules::HostRules;
