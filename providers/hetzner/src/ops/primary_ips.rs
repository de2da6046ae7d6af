//! Primary IPs: addresses that can outlive their server.

use serde::Serialize;
use serde_json::json;

use super::{Client, Created, Update};
use crate::error::ApiError;
use crate::pages::{Filter, List};
use crate::retry::Repeat;
use crate::wire::{Action, IpType, Labels, PrimaryIp};

/// An address to be had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NewPrimaryIp<'a> {
    /// Unique in the project.
    pub name: &'a str,
    /// Which kind.
    #[serde(rename = "type")]
    pub kind: IpType,
    /// The location's name.
    pub location: &'a str,
    /// Goes with its server when that is deleted.
    pub auto_delete: bool,
    /// The mark among them.
    pub labels: &'a Labels,
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(flatten)]
    new: &'a NewPrimaryIp<'a>,
    /// What it can be assigned to; there is nothing else.
    assignee_type: &'static str,
}

impl Client {
    /// Lists primary IPs.
    ///
    /// # Errors
    /// As every list: that of the first page, or [`ApiError::Partial`].
    pub async fn primary_ips(&self, filter: &Filter) -> Result<List<PrimaryIp>, ApiError> {
        self.list(&["primary_ips"], filter).await
    }

    /// Gets a free address. It costs from now on.
    ///
    /// # Errors
    /// `uniqueness_error`, `resource_limit_exceeded`, `resource_unavailable`.
    pub async fn create_primary_ip(&self, new: &NewPrimaryIp<'_>) -> Result<Created<PrimaryIp>, ApiError> {
        let body = Body { new, assignee_type: "server" };
        self.create(&["primary_ips"], "primary_ip", &body).await
    }

    /// Renames or relabels an address.
    ///
    /// # Errors
    /// `not_found`, `uniqueness_error`.
    pub async fn update_primary_ip(&self, id: u64, update: &Update<'_>) -> Result<PrimaryIp, ApiError> {
        self.put(&["primary_ips", &id.to_string()], "primary_ip", update).await
    }

    /// Says whether an address goes with its server.
    ///
    /// # Errors
    /// `not_found`.
    pub async fn set_auto_delete(&self, id: u64, auto_delete: bool) -> Result<PrimaryIp, ApiError> {
        self.put(&["primary_ips", &id.to_string()], "primary_ip", &json!({ "auto_delete": auto_delete })).await
    }

    /// Gives an address to a server that is off.
    ///
    /// # Errors
    /// `server_not_stopped`, `primary_ip_already_assigned`, `server_has_ipv4`, `server_has_ipv6`.
    pub async fn assign_primary_ip(&self, id: u64, server: u64) -> Result<Vec<Action>, ApiError> {
        let path = ["primary_ips", &id.to_string(), "actions", "assign"];
        self.begin(&path, Some(json!({ "assignee_id": server, "assignee_type": "server" })), Repeat::Once).await
    }

    /// Takes an address from its server, which must be off.
    ///
    /// # Errors
    /// `server_not_stopped`, `server_is_load_balancer_target`.
    pub async fn unassign_primary_ip(&self, id: u64) -> Result<Vec<Action>, ApiError> {
        let path = ["primary_ips", &id.to_string(), "actions", "unassign"];
        self.begin(&path, None, Repeat::Once).await
    }

    /// Gives an address back for good.
    ///
    /// # Errors
    /// `must_be_unassigned`, `protected`.
    pub async fn delete_primary_ip(&self, id: u64) -> Result<(), ApiError> {
        self.delete(&["primary_ips", &id.to_string()]).await.map(|_| ())
    }
}
