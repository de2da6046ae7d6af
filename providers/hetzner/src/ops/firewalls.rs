//! Firewalls.

use serde::Serialize;
use serde_json::{Value, json};

use super::{Client, Created, Update};
use crate::error::{ApiError, Code};
use crate::pages::{Filter, List};
use crate::retry::Repeat;
use crate::wire::{Action, Firewall, Labels, Rule};

/// A firewall to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NewFirewall<'a> {
    /// Unique in the project.
    pub name: &'a str,
    /// The mark among them.
    pub labels: &'a Labels,
    /// At most 50.
    pub rules: &'a [Rule],
}

impl Client {
    /// Lists firewalls.
    ///
    /// # Errors
    /// As every list: that of the first page, or [`ApiError::Partial`].
    pub async fn firewalls(&self, filter: &Filter) -> Result<List<Firewall>, ApiError> {
        self.list(&["firewalls"], filter).await
    }

    /// Makes a firewall that holds for nothing yet.
    ///
    /// # Errors
    /// `uniqueness_error`, `resource_limit_exceeded`, `invalid_input`.
    pub async fn create_firewall(&self, new: &NewFirewall<'_>) -> Result<Created<Firewall>, ApiError> {
        self.create(&["firewalls"], "firewall", new).await
    }

    /// Renames or relabels a firewall.
    ///
    /// # Errors
    /// `not_found`, `uniqueness_error`.
    pub async fn update_firewall(&self, id: u64, update: &Update<'_>) -> Result<Firewall, ApiError> {
        self.put(&["firewalls", &id.to_string()], "firewall", update).await
    }

    /// Replaces all rules. No rule at all lets nothing in.
    ///
    /// # Errors
    /// `not_found`, `invalid_input`.
    pub async fn set_firewall_rules(&self, id: u64, rules: &[Rule]) -> Result<Vec<Action>, ApiError> {
        let path = ["firewalls", &id.to_string(), "actions", "set_rules"];
        self.begin(&path, Some(json!({ "rules": rules })), Repeat::Same).await
    }

    /// Lets a firewall hold for a server. One that does already is fine.
    ///
    /// # Errors
    /// `firewall_resource_not_found` where the server is gone.
    pub async fn apply_firewall(&self, id: u64, server: u64) -> Result<Vec<Action>, ApiError> {
        let path = ["firewalls", &id.to_string(), "actions", "apply_to_resources"];
        let applied = self.begin(&path, Some(json!({ "apply_to": [of_server(server)] })), Repeat::Same).await;
        none_where(applied, &Code::FirewallAlreadyApplied)
    }

    /// Ends that a firewall holds for a server. One that does not, or a server that is gone, is fine.
    ///
    /// # Errors
    /// `not_found`, `firewall_managed_by_label_selector`.
    pub async fn remove_firewall(&self, id: u64, server: u64) -> Result<Vec<Action>, ApiError> {
        let path = ["firewalls", &id.to_string(), "actions", "remove_from_resources"];
        let removed = self.begin(&path, Some(json!({ "remove_from": [of_server(server)] })), Repeat::Same).await;
        none_where(removed, &Code::FirewallResourceNotFound)
    }

    /// Deletes a firewall.
    ///
    /// # Errors
    /// `resource_in_use` while it holds for anything.
    pub async fn delete_firewall(&self, id: u64) -> Result<(), ApiError> {
        self.delete(&["firewalls", &id.to_string()]).await.map(|_| ())
    }
}

fn of_server(id: u64) -> Value {
    json!({ "type": "server", "server": { "id": id } })
}

/// Takes that error as: nothing is left to do.
fn none_where(begun: Result<Vec<Action>, ApiError>, code: &Code) -> Result<Vec<Action>, ApiError> {
    match begun {
        Err(error) if error.is(code) => Ok(Vec::new()),
        begun => begun,
    }
}
