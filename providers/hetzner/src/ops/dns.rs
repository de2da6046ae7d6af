//! Zones and record sets. A zone is named by its name or number, a record set by its name in the zone and its type.

use serde::Serialize;
use serde_json::json;

use super::{Client, Created};
use crate::error::ApiError;
use crate::pages::{Filter, List};
use crate::retry::Repeat;
use crate::wire::{Action, Labels, Record, RecordType, Rrset, Zone};

/// A record set to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NewRrset<'a> {
    /// Relative to the zone, in lower case; `@` is the zone itself.
    pub name: &'a str,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: RecordType,
    /// Seconds; `None` takes the zone's.
    pub ttl: Option<u32>,
    /// 1 to 50, no two alike; TXT with quotes.
    pub records: &'a [Record],
    /// The mark among them.
    pub labels: &'a Labels,
}

impl Client {
    /// Lists zones.
    ///
    /// # Errors
    /// As every list: that of the first page, or [`ApiError::Partial`].
    pub async fn zones(&self, filter: &Filter) -> Result<List<Zone>, ApiError> {
        self.list(&["zones"], filter).await
    }

    /// Lists the record sets of a zone.
    ///
    /// # Errors
    /// `not_found`, `incorrect_zone_mode` for a secondary zone; as every list.
    pub async fn rrsets(&self, zone: &str, filter: &Filter) -> Result<List<Rrset>, ApiError> {
        self.list(&["zones", zone, "rrsets"], filter).await
    }

    /// Makes a record set.
    ///
    /// # Errors
    /// `uniqueness_error` where the name has such records already, `invalid_input`.
    pub async fn create_rrset(&self, zone: &str, new: &NewRrset<'_>) -> Result<Created<Rrset>, ApiError> {
        self.create(&["zones", zone, "rrsets"], "rrset", new).await
    }

    /// Replaces all values of a record set.
    ///
    /// # Errors
    /// `not_found`, `protected`, `invalid_input`.
    pub async fn set_records(
        &self,
        zone: &str,
        name: &str,
        kind: &RecordType,
        records: &[Record],
    ) -> Result<Vec<Action>, ApiError> {
        let path = ["zones", zone, "rrsets", name, kind.as_str(), "actions", "set_records"];
        self.begin(&path, Some(json!({ "records": records })), Repeat::Same).await
    }

    /// Changes how long a record set may be remembered, in seconds; `None` takes the zone's.
    ///
    /// # Errors
    /// `not_found`, `protected`, `invalid_input`.
    pub async fn change_rrset_ttl(
        &self,
        zone: &str,
        name: &str,
        kind: &RecordType,
        ttl: Option<u32>,
    ) -> Result<Vec<Action>, ApiError> {
        let path = ["zones", zone, "rrsets", name, kind.as_str(), "actions", "change_ttl"];
        self.begin(&path, Some(json!({ "ttl": ttl })), Repeat::Same).await
    }

    /// Replaces the labels of a record set.
    ///
    /// # Errors
    /// `not_found`.
    pub async fn label_rrset(
        &self,
        zone: &str,
        name: &str,
        kind: &RecordType,
        labels: &Labels,
    ) -> Result<Rrset, ApiError> {
        self.put(&["zones", zone, "rrsets", name, kind.as_str()], "rrset", &json!({ "labels": labels })).await
    }

    /// Deletes a record set.
    ///
    /// # Errors
    /// `protected`.
    pub async fn delete_rrset(&self, zone: &str, name: &str, kind: &RecordType) -> Result<Vec<Action>, ApiError> {
        self.delete(&["zones", zone, "rrsets", name, kind.as_str()]).await
    }
}
