//! Machines that a cloud makes: where one is, which host keys it may show, and what it is born with. The seam between the
//! provider that makes machines and the one that makes hosts of them; neither knows the other.

use secrecy::SecretString;

use crate::provider::{ApplyError, BoxFuture};

/// Where a machine is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whereabouts {
    /// There is none: nothing is on it.
    Nowhere,
    /// There is one that cannot be reached now, and why.
    Away(String),
    /// There.
    Here(Found),
}

/// A machine that can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its IP address.
    pub address: String,
    /// The host keys it may show.
    pub pins: Pins,
}

/// The host keys of a machine, each as the SHA-256 of its public key in base32, lower case, 52 letters: it fits a label.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pins {
    /// The one it has.
    pub current: String,
    /// The one it moves to, while it does.
    pub next: Option<String>,
    /// Whether the current one came with the user data, which anything on the machine could read.
    pub born_with: bool,
}

/// What a machine is born with.
#[derive(Debug)]
pub struct Birth {
    /// The user data, with the private half of its first host key.
    pub user_data: SecretString,
    /// The pin of that key.
    pub pin: String,
}

/// Finds one machine, and keeps its pins. Asked by whoever makes a host of it.
pub trait Locate: Send + Sync {
    /// Returns where the machine is, as the cloud sees it, or why that cannot be said.
    fn find(&self) -> BoxFuture<'_, Result<Whereabouts, String>>;

    /// Writes the pins beside the machine. Returns once they are kept there.
    fn pin(&self, pins: Pins) -> BoxFuture<'_, Result<(), ApplyError>>;
}

/// Makes what a machine is born with, new each time. Asked by whoever makes machines, with the host's id.
pub type Bear = dyn Fn(&str) -> Result<Birth, ApplyError> + Send + Sync;
