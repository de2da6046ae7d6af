//! HTTPS requests to an API: one base address, one bearer token, limits on everything.
//!
//! It deliberately knows no vendor and no JSON, never follows a redirect (the token would go along), never tries again
//! (only the caller knows what may be done twice), and prints nothing: each call is told to an [`Observer`].
//!
//! Reading order: [`Setup`] says where, with which token and [`Limits`], a [`Client`] sends a [`Request`] and returns a
//! [`Response`], an [`HttpError`] says in which phase it failed and whether the request may have arrived.

mod client;
mod crypto;
mod error;
mod message;
mod observe;

pub use client::{Client, Limits, Setup};
pub use crypto::install_crypto;
pub use error::HttpError;
pub use message::{Method, Request, Response};
pub use observe::{Call, Observer};

#[cfg(test)]
mod tests;
