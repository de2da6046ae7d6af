//! What can go wrong on the way to an API and back, by phase.
//!
//! It carries neither the token nor the errors of the HTTP library: their text becomes a `why`, so that the library
//! stays replaceable.

use std::error::Error;

/// Why a request got no whole answer. Cheap to clone, because everyone who waited for one answer hears why it did not come.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// The client cannot be made like that. Nothing was sent.
    #[error("set up the API client: {why}")]
    Setup {
        /// What is wrong with address or token; never the token itself.
        why: String,
    },
    /// The name has no address. Nothing was sent.
    #[error("resolve {host}: {why}; check the network and the DNS resolver of this machine")]
    Resolve {
        /// The server's name.
        host: String,
        /// The resolver's reason.
        why: String,
    },
    /// No connection came about. Nothing was sent.
    #[error("connect to {host}: {why}; check the network, a firewall on the way, and HTTPS_PROXY")]
    Connect {
        /// The server's name and port.
        host: String,
        /// The operating system's reason.
        why: String,
    },
    /// The connection is not the server's, or not safe. A hard stop; nothing was sent.
    #[error("trust {host}: {why}; check this machine's clock, its CA certificates, and whether a proxy opens TLS")]
    Tls {
        /// The server's name.
        host: String,
        /// What does not fit.
        why: String,
    },
    /// No answer within the limits. Whether the server acted is unknown.
    #[error("get an answer from {host} within {seconds} s; try again later, or check the vendor's status page")]
    TimedOut {
        /// The server's name.
        host: String,
        /// The limit of the whole call.
        seconds: u64,
    },
    /// The connection broke before the answer was whole. Whether the server acted is unknown.
    #[error("read the answer of {host}, which was cut off: {why}; try again")]
    CutOff {
        /// The server's name.
        host: String,
        /// What broke it.
        why: String,
    },
    /// The answer is larger than the limit; the rest was not read.
    #[error("read the answer of {host}: it is larger than {bytes_max} bytes; check that the address is an API's")]
    TooLarge {
        /// The server's name.
        host: String,
        /// The limit.
        bytes_max: usize,
    },
    /// The server sends us elsewhere. Not followed: the token belongs to this server alone.
    #[error("follow a redirect ({status}) of {host}: it would carry the token elsewhere; check the API's address")]
    Redirected {
        /// The server's name.
        host: String,
        /// The status code.
        status: u16,
    },
}

impl HttpError {
    /// Returns whether the server may have received the request, and so may have acted on it.
    pub fn may_have_arrived(&self) -> bool {
        match self {
            Self::Setup { .. } | Self::Resolve { .. } | Self::Connect { .. } | Self::Tls { .. } => false,
            Self::Redirected { .. } => false,
            Self::TimedOut { .. } | Self::CutOff { .. } | Self::TooLarge { .. } => true,
        }
    }

    /// Returns the error of the phase in which the library failed.
    pub(crate) fn of(error: &reqwest::Error, host: &str, seconds: u64) -> Self {
        let host = host.to_owned();
        if error.is_dns() {
            return Self::Resolve { host, why: innermost(error) };
        }
        if error.is_connect() {
            return match tls(error) {
                Some(why) => Self::Tls { host, why },
                None => Self::Connect { host, why: innermost(error) },
            };
        }
        if error.is_timeout() {
            return Self::TimedOut { host, seconds };
        }
        Self::CutOff { host, why: innermost(error) }
    }
}

/// Returns the text of the last cause: the ones before it only say that there is one.
fn innermost(error: &reqwest::Error) -> String {
    let mut last: &dyn Error = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    // the library's own text would name the address and its query
    if last.is::<reqwest::Error>() { "the request broke".into() } else { last.to_string() }
}

/// Returns what TLS did not like, if it was TLS. Such an error lies inside an `io::Error`, whose `source` skips it.
fn tls(error: &reqwest::Error) -> Option<String> {
    let mut cause = error.source();
    while let Some(at) = cause {
        if let Some(found) = at.downcast_ref::<rustls::Error>() {
            return Some(found.to_string());
        }
        let within = at.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        cause = match within {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => at.source(),
        };
    }
    None
}
