//! The one integration binary: each file proves one thing about claw.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where by panicking")]
#![allow(missing_docs, reason = "tests are documented by their names")]

mod lab;
mod machine;
mod region;
mod support;

mod bootstrap;
mod canaries;
mod chaos;
mod clients;
mod clouds;
mod conformance;
mod docker;
mod exits;
mod formats;
mod hetzner;
mod hosts;
mod interop;
mod openclaw;
mod plans;
mod properties;
mod review;
mod rotation;
mod saved;
mod secrets;
mod terminal;
mod tidy;
mod transcripts;
mod workspace;
