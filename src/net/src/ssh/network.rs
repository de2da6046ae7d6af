//! All connections of one program, one per server.
//!
//! It opens nothing; a [`Connection`] does at its first use.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::ssh::access::Access;
use crate::ssh::{Connection, Observer, Policy, Target};

/// The connections of one program, and the limits they share. Clones are the same network.
#[derive(Clone)]
pub struct Network {
    access: Arc<Access>,
    connections: Arc<Mutex<HashMap<String, Connection>>>,
}

impl Network {
    /// Makes a network without connections.
    #[must_use]
    pub fn new(policy: Policy, observer: Arc<dyn Observer>) -> Self {
        Self { access: Arc::new(Access::new(policy, observer)), connections: Arc::default() }
    }

    /// Returns the connection to a target: the one there is, unless the target of that label has changed since.
    /// Nothing is opened yet.
    #[must_use]
    pub fn connection(&self, target: &Target) -> Connection {
        let jump = target.jump.as_deref().map(|jump| self.connection(jump));
        let mut connections = self.locked();
        match connections.get(&target.label) {
            Some(known) if known.target() == target => known.clone(),
            _ => {
                let made = Connection::new(self.access.clone(), target.clone(), jump);
                connections.insert(target.label.clone(), made.clone());
                made
            }
        }
    }

    /// Closes every connection and forgets it.
    pub async fn close(&self) {
        let open: Vec<Connection> = self.locked().drain().map(|(_, connection)| connection).collect();
        for connection in open {
            connection.close().await;
        }
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<String, Connection>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Network").field(&self.locked().keys()).finish()
    }
}
