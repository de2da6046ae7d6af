//! Agents on a Docker engine: one code path for every engine, however its socket is reached.

mod agent;
mod convert;
mod endpoint;
mod error;
mod files;
mod helper;
mod image;
mod manifest;
mod names;
mod observe;
mod operate;
mod over_ssh;
mod provider;
mod replace;
mod rules;
mod steps;
mod watch;
mod within;

pub use endpoint::{Endpoint, LocalSocket};
pub use over_ssh::SshSocket;
pub use provider::DockerProvider;
pub use rules::DockerRules;
