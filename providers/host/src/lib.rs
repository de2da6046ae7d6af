//! Any machine with SSH as a place for agents: who may log in, a hardened sshd, an engine, folders, and what containers
//! may not reach. What runs in the engine is another provider's; it is reached through the same connection.

mod access;
mod converge;
mod facts;
mod login;
mod operate;
mod provider;
mod rollback;
mod rules;
mod script;

pub use login::Login;
pub use provider::HostProvider;
pub use rules::HostRules;
