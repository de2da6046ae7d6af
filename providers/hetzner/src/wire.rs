//! The API's JSON as we read it: only fields that are used, unknown ones ignored, enumerations open.
//!
//! A field without which we would misunderstand an element (its id, its labels) is required: an element without it is
//! an [`Odd`](crate::Odd) one, never half of a good one. `Option` means that the API may leave it out.
//! Text is as it came, because it is compared: who shows a name to a person cleans it (`claw_core::text`).

mod action;
mod catalog;
mod dns;
mod network;
mod server;

pub use action::{Action, ActionFault, ActionResource, ActionStatus};
pub use catalog::{
    Architecture, Deprecation, Image, ImageStatus, ImageType, IpPricing, Location, LocationPrice, Price, Pricing,
    ServerType, ServerTypeLocation,
};
pub use dns::{Delegation, DelegationStatus, Record, RecordType, Rrset, RrsetProtection, Zone, ZoneMode, ZoneStatus};
pub use network::{
    AppliedTo, AppliedToType, Direction, Firewall, IpType, PrimaryIp, Protocol, Rule, SelectorRef, ServerRef, SshKey,
};
pub use server::{FirewallOnServer, ImageRef, Ip, NamedRef, PublicNetwork, Server, ServerProtection, ServerStatus};

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

/// Labels of a resource.
pub type Labels = BTreeMap<String, String>;

/// Whether a resource may be deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Protection {
    /// Deleting is refused.
    pub delete: bool,
}

/// Reads `null` as the type's default.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// Declares an enumeration that also holds what the API will invent later.
macro_rules! open {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* #[doc = concat!("`", $text, "`.")] $variant,)+
            /// Something newer than this program.
            Other(String),
        }

        impl $name {
            /// Returns the text on the wire.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)+
                    Self::Other(text) => text,
                }
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                match text {
                    $($text => Self::$variant,)+
                    other => Self::Other(other.to_owned()),
                }
            }
        }

        impl std::fmt::Display for $name {
            /// Writes it as a person may see it.
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&claw_core::text::clean(self.as_str(), 60))
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                Ok(Self::from(String::deserialize(from)?.as_str()))
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(self.as_str())
            }
        }
    };
}
pub(crate) use open;

#[cfg(test)]
mod tests;
