//! Zones and record sets.

use serde::{Deserialize, Serialize};

use super::{Labels, Protection, open, or_default};

open! {
    /// Where a zone's records are kept.
    ZoneMode {
        Primary = "primary",
        Secondary = "secondary",
    }
}

open! {
    /// How a zone stands.
    ZoneStatus {
        Ok = "ok",
        Updating = "updating",
        Error = "error",
    }
}

/// A DNS zone.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Zone {
    /// Its number.
    pub id: u64,
    /// Its name without the last dot.
    pub name: String,
    /// Only record sets of primary ones can be read and changed.
    pub mode: ZoneMode,
    /// How it stands.
    pub status: Option<ZoneStatus>,
    /// Seconds, for record sets that have none of their own.
    pub ttl: Option<u32>,
    /// Its labels.
    pub labels: Labels,
    /// What is refused.
    pub protection: Option<Protection>,
    /// Who answers for it.
    pub authoritative_nameservers: Option<Delegation>,
}

/// Who answers for a zone, and whether its registrar says so, too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Delegation {
    /// The name servers that have its records.
    #[serde(default, deserialize_with = "or_default")]
    pub assigned: Vec<String>,
    /// Those that the zone above it names.
    #[serde(default, deserialize_with = "or_default")]
    pub delegated: Vec<String>,
    /// Whether the two fit.
    pub delegation_status: Option<DelegationStatus>,
}

open! {
    /// How the name servers of a zone fit those that the zone above it names.
    DelegationStatus {
        Valid = "valid",
        PartiallyValid = "partially-valid",
        Invalid = "invalid",
        Lame = "lame",
        Unregistered = "unregistered",
        Unknown = "unknown",
    }
}

open! {
    /// Types of records that claw may meet.
    RecordType {
        A = "A",
        Aaaa = "AAAA",
        Caa = "CAA",
        Cname = "CNAME",
        Mx = "MX",
        Ns = "NS",
        Soa = "SOA",
        Srv = "SRV",
        Txt = "TXT",
    }
}

/// All records of one name and type.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Rrset {
    /// `name/type`.
    pub id: String,
    /// Relative to the zone, in lower case; `@` is the zone itself.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: RecordType,
    /// Seconds; `None` means the zone's.
    pub ttl: Option<u32>,
    /// The values.
    pub records: Vec<Record>,
    /// Its labels.
    pub labels: Labels,
    /// What is refused.
    pub protection: Option<RrsetProtection>,
    /// The zone's number.
    pub zone: Option<u64>,
}

/// One value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
pub struct Record {
    /// As in a zone file; TXT with its quotes.
    pub value: String,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// What is refused for a record set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct RrsetProtection {
    /// Changing and deleting are refused.
    pub change: bool,
}
