//! Where a server is, and who we are to it.
//!
//! It does not connect, and does not resolve names.

use crate::ssh::{Key, Pin};

/// One server as seen from here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// What the fleet calls it; the key of the connection in a [`Network`](crate::ssh::Network) and the name in messages.
    pub label: String,
    /// An IP address or a host name. With [`Target::jump`] it is resolved on the jump host.
    pub address: String,
    /// The TCP port of its sshd.
    pub port: u16,
    /// The user to log in as.
    pub user: String,
    /// The host keys it may prove. More than one during a rotation; none means it can never be reached.
    pub pins: Vec<Pin>,
    /// The ways to authenticate, tried in order.
    pub keys: Vec<Key>,
    /// The server to go through.
    pub jump: Option<Box<Target>>,
}

impl Target {
    /// Returns `address:port`, an IPv6 address in brackets.
    #[must_use]
    pub fn place(&self) -> String {
        match self.address.contains(':') {
            true => format!("[{}]:{}", self.address, self.port),
            false => format!("{}:{}", self.address, self.port),
        }
    }
}
