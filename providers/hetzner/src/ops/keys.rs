//! SSH keys.

use serde::Serialize;

use super::{Client, Update};
use crate::error::ApiError;
use crate::pages::{Filter, List};
use crate::wire::{Labels, SshKey};

/// A key to be made known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NewSshKey<'a> {
    /// Unique in the project.
    pub name: &'a str,
    /// As in authorized_keys. Its fingerprint is unique in the project as well.
    pub public_key: &'a str,
    /// The mark among them.
    pub labels: &'a Labels,
}

impl Client {
    /// Lists SSH keys.
    ///
    /// # Errors
    /// As every list: that of the first page, or [`ApiError::Partial`].
    pub async fn ssh_keys(&self, filter: &Filter) -> Result<List<SshKey>, ApiError> {
        self.list(&["ssh_keys"], filter).await
    }

    /// Makes a key known.
    ///
    /// # Errors
    /// `uniqueness_error` where the name or the key itself is known already.
    pub async fn create_ssh_key(&self, new: &NewSshKey<'_>) -> Result<SshKey, ApiError> {
        Ok(self.create(&["ssh_keys"], "ssh_key", new).await?.what)
    }

    /// Renames or relabels a key.
    ///
    /// # Errors
    /// `not_found`, `uniqueness_error`.
    pub async fn update_ssh_key(&self, id: u64, update: &Update<'_>) -> Result<SshKey, ApiError> {
        self.put(&["ssh_keys", &id.to_string()], "ssh_key", update).await
    }

    /// Forgets a key; servers that have it keep it.
    ///
    /// # Errors
    /// None of its own.
    pub async fn delete_ssh_key(&self, id: u64) -> Result<(), ApiError> {
        self.delete(&["ssh_keys", &id.to_string()]).await.map(|_| ())
    }
}
