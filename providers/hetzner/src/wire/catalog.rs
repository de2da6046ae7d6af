//! What can be had, where and for how much. Prices are decimal text; nothing here calculates.

use serde::Deserialize;

use super::{Labels, open};

open! {
    /// Which instructions a machine understands.
    Architecture {
        X86 = "x86",
        Arm = "arm",
    }
}

/// A size of servers.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct ServerType {
    /// Its number.
    pub id: u64,
    /// Its name, such as `cx23`.
    pub name: String,
    /// CPUs.
    pub cores: u32,
    /// GB.
    pub memory: f64,
    /// GB.
    pub disk: f64,
    /// Which instructions.
    pub architecture: Architecture,
    /// `shared` or `dedicated`.
    pub cpu_type: Option<String>,
    /// `local` or `network`; a change of size keeps it.
    pub storage_type: Option<String>,
    /// Where it is supported, and whether it can be ordered there now.
    #[serde(default, deserialize_with = "super::or_default")]
    pub locations: Vec<ServerTypeLocation>,
    /// Price by location.
    #[serde(default, deserialize_with = "super::or_default")]
    pub prices: Vec<LocationPrice>,
}

/// A size in a location.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ServerTypeLocation {
    /// The location's name.
    pub name: String,
    /// Can be ordered now; `None` where the API did not say.
    pub available: Option<bool>,
    /// Will go away, or has.
    pub deprecation: Option<Deprecation>,
}

/// When something goes away.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Deprecation {
    /// When that was said, RFC 3339.
    pub announced: Option<String>,
    /// After that no new ones, RFC 3339.
    pub unavailable_after: Option<String>,
}

/// A price at a location.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct LocationPrice {
    /// The location's name.
    pub location: String,
    /// For a begun hour.
    pub price_hourly: Option<Price>,
    /// The most a month costs.
    pub price_monthly: Option<Price>,
}

/// Decimal text in the currency of [`Pricing`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Price {
    /// Without tax.
    pub net: String,
    /// With tax.
    pub gross: Option<String>,
}

/// Prices of the project.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Pricing {
    /// Such as `EUR`.
    pub currency: String,
    /// Percent, decimal text.
    pub vat_rate: Option<String>,
    /// Of primary IPs by type.
    #[serde(default, deserialize_with = "super::or_default")]
    pub primary_ips: Vec<IpPricing>,
}

/// Prices of one type of address.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct IpPricing {
    /// Which type.
    #[serde(rename = "type")]
    pub kind: super::IpType,
    /// Price by location.
    #[serde(default, deserialize_with = "super::or_default")]
    pub prices: Vec<LocationPrice>,
}

/// A data centre's place.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Location {
    /// Its number.
    pub id: u64,
    /// Its name, such as `fsn1`.
    pub name: String,
    /// Such as `Falkenstein`.
    pub city: Option<String>,
    /// Two letters.
    pub country: Option<String>,
    /// Such as `eu-central`.
    pub network_zone: Option<String>,
}

open! {
    /// Where an image comes from.
    ImageType {
        System = "system",
        App = "app",
        Snapshot = "snapshot",
        Backup = "backup",
    }
}

open! {
    /// How an image stands.
    ImageStatus {
        Available = "available",
        Creating = "creating",
        Unavailable = "unavailable",
    }
}

/// What a server is made from.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Image {
    /// Its number.
    pub id: u64,
    /// Its name, one per architecture; snapshots have none.
    pub name: Option<String>,
    /// Where it comes from.
    #[serde(rename = "type")]
    pub kind: ImageType,
    /// How it stands.
    pub status: Option<ImageStatus>,
    /// For which instructions.
    pub architecture: Architecture,
    /// Such as `debian`.
    pub os_flavor: Option<String>,
    /// Such as `13`.
    pub os_version: Option<String>,
    /// GB a disk must have.
    pub disk_size: Option<f64>,
    /// Since when it should not be used any more, RFC 3339.
    pub deprecated: Option<String>,
    /// Its labels.
    #[serde(default, deserialize_with = "super::or_default")]
    pub labels: Labels,
}
