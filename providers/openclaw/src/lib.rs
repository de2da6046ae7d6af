//! The agent itself: renders OpenClaw's configuration, talks to its gateway. Knows no engine and no machine.

pub mod catalog;
pub mod channels;
pub mod chat;
pub mod config;
pub mod gateway;
pub mod health;
pub mod layout;
pub mod probe;
