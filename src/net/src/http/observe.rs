//! Who hears of each call, for instance to write an audit line. Neither token nor query nor body is told.

use crate::http::Method;

/// One call that ended, well or not.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Call {
    /// Counted from 1 within one client.
    pub number: u64,
    /// What was done.
    pub method: Method,
    /// To what: the path below the base address, without its query.
    pub path: String,
    /// What the server answered, `None` when no answer came.
    pub status: Option<u16>,
    /// From sending to having the whole body.
    pub millis: u64,
}

/// Hears every call. Called from async code: it must return quickly.
pub trait Observer: Send + Sync {
    /// Called once per call, after it.
    fn heard(&self, call: &Call);
}

impl<F: Fn(&Call) + Send + Sync> Observer for F {
    fn heard(&self, call: &Call) {
        self(call);
    }
}
