//! What it takes to log in to a host, and to prove that one still can.

use std::collections::BTreeMap;

use claw_core::ssh::PublicKey;
use claw_net::ssh::{Connection, Key, Pin};

/// How one host is logged in to. Clones use the same connection.
#[derive(Clone)]
pub struct Login {
    /// The user.
    pub user: String,
    /// claw's own keys by their public halves: what a change of access is proven with.
    pub control: BTreeMap<PublicKey, Key>,
    /// The host key it shall show.
    pub host_key: PublicKey,
    /// The connection everything goes over.
    pub connection: Connection,
}

impl Login {
    /// Returns the host key that a connection was shown last, whole: where only its pin was known before, this is it. `None`
    /// before the first login.
    pub fn shown(connection: &Connection) -> Option<PublicKey> {
        connection.report().host_key?.parse().ok()
    }

    /// Returns the pin of the host key it shall show; `None` where that is none, which the fleet's check refuses.
    pub fn pin(&self) -> Option<Pin> {
        self.host_key.to_string().parse().ok()
    }
}
