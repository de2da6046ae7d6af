//! Servers.

use std::fmt;

use serde::ser::SerializeSeq;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::{Client, Created, Update};
use crate::error::ApiError;
use crate::pages::{Filter, List};
use crate::retry::Repeat;
use crate::wire::{Action, Labels, Server};

/// A server to be made.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct NewServer<'a> {
    /// A host name, unique in the project.
    pub name: &'a str,
    /// Its size by name.
    pub server_type: &'a str,
    /// The image by name or number.
    pub image: &'a str,
    /// The location's name.
    pub location: &'a str,
    /// Names or numbers of keys that may log in. With none, the API sends a root password, which is never read.
    pub ssh_keys: &'a [String],
    /// Numbers of firewalls that hold from the first packet on.
    #[serde(serialize_with = "as_firewalls")]
    pub firewalls: &'a [u64],
    /// The mark among them.
    pub labels: &'a Labels,
    /// Its addresses.
    pub public_net: PublicNet,
    /// What cloud-init does at the first boot; at most 32 KiB. It can be read later on the machine itself: no secrets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_data: Option<&'a str>,
    /// Start it at once.
    pub start_after_create: bool,
}

impl fmt::Debug for NewServer<'_> {
    /// Leaves the user data out: it is long, and whoever put something secret into it shall not read it in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewServer")
            .field("name", &self.name)
            .field("server_type", &self.server_type)
            .field("image", &self.image)
            .field("location", &self.location)
            .finish_non_exhaustive()
    }
}

/// How a new server is on the internet. An address that is enabled and not named is made, and goes with the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PublicNet {
    /// Has IPv4.
    pub enable_ipv4: bool,
    /// Has IPv6.
    pub enable_ipv6: bool,
    /// The number of the primary IPv4 to use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipv4: Option<u64>,
    /// The number of the primary IPv6 to use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<u64>,
}

impl Client {
    /// Lists servers.
    ///
    /// # Errors
    /// As every list: that of the first page, or [`ApiError::Partial`].
    pub async fn servers(&self, filter: &Filter) -> Result<List<Server>, ApiError> {
        self.list(&["servers"], filter).await
    }

    /// Returns one server, `None` where there is none with that number.
    ///
    /// # Errors
    /// None of its own.
    pub async fn server(&self, id: u64) -> Result<Option<Server>, ApiError> {
        self.one(&["servers", &id.to_string()], "server").await
    }

    /// Makes a server. It costs from now on, off or not.
    ///
    /// # Errors
    /// `uniqueness_error`, `resource_limit_exceeded`, `resource_unavailable`, `placement_error`, `invalid_input`,
    /// `primary_ip_assigned`.
    pub async fn create_server(&self, new: &NewServer<'_>) -> Result<Created<Server>, ApiError> {
        self.create(&["servers"], "server", new).await
    }

    /// Renames or relabels a server.
    ///
    /// # Errors
    /// `not_found`, `uniqueness_error`.
    pub async fn update_server(&self, id: u64, update: &Update<'_>) -> Result<Server, ApiError> {
        self.put(&["servers", &id.to_string()], "server", update).await
    }

    /// Deletes a server and its disk.
    ///
    /// # Errors
    /// `protected`, `locked`.
    pub async fn delete_server(&self, id: u64) -> Result<Vec<Action>, ApiError> {
        self.delete(&["servers", &id.to_string()]).await
    }

    /// Switches a server on.
    ///
    /// # Errors
    /// `not_found`, `locked`.
    pub async fn power_on(&self, id: u64) -> Result<Vec<Action>, ApiError> {
        self.server_action(id, "poweron", None, Repeat::Same).await
    }

    /// Takes a server's power away, as pulling the plug does.
    ///
    /// # Errors
    /// `not_found`, `locked`.
    pub async fn power_off(&self, id: u64) -> Result<Vec<Action>, ApiError> {
        self.server_action(id, "poweroff", None, Repeat::Same).await
    }

    /// Asks a server's system to shut down. The action ends when it was asked, not when the server is off.
    ///
    /// # Errors
    /// `not_found`, `locked`.
    pub async fn shut_down(&self, id: u64) -> Result<Vec<Action>, ApiError> {
        self.server_action(id, "shutdown", None, Repeat::Same).await
    }

    /// Changes the size of a server that is off. It starts afterwards. With `upgrade_disk` there is no way back to a
    /// smaller size.
    ///
    /// # Errors
    /// `server_not_stopped`, `invalid_server_type`, `resource_unavailable`.
    pub async fn change_server_type(
        &self,
        id: u64,
        server_type: &str,
        upgrade_disk: bool,
    ) -> Result<Vec<Action>, ApiError> {
        let body = Some(json!({ "server_type": server_type, "upgrade_disk": upgrade_disk }));
        self.server_action(id, "change_type", body, Repeat::Once).await
    }

    /// Refuses, or allows again, that a server is deleted or rebuilt; the API wants both alike.
    ///
    /// # Errors
    /// `not_found`, `locked`.
    pub async fn protect_server(&self, id: u64, protect: bool) -> Result<Vec<Action>, ApiError> {
        let body = Some(json!({ "delete": protect, "rebuild": protect }));
        self.server_action(id, "change_protection", body, Repeat::Same).await
    }

    async fn server_action(
        &self,
        id: u64,
        name: &str,
        body: Option<Value>,
        repeat: Repeat,
    ) -> Result<Vec<Action>, ApiError> {
        self.begin(&["servers", &id.to_string(), "actions", name], body, repeat).await
    }
}

fn as_firewalls<S: Serializer>(ids: &[u64], to: S) -> Result<S::Ok, S::Error> {
    let mut list = to.serialize_seq(Some(ids.len()))?;
    for id in ids {
        list.serialize_element(&json!({ "firewall": id }))?;
    }
    list.end()
}
