//! Names secrets and says how their values are asked for. Holds no value and no key.

use std::fmt;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

/// One value of one profile, `PROFILE/KEY`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SecretName {
    /// The profile, the stem of its file below `secrets/`.
    pub profile: String,
    /// The key within the profile.
    pub key: String,
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.profile, self.key)
    }
}

/// Where a secret value comes from. Plans show this and never the value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretSource {
    /// A value kept in an encrypted profile.
    Profile(SecretName),
    /// An agent's gateway token, derived from the fleet key: the agent's id.
    GatewayToken(String),
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Profile(name) => name.fmt(f),
            Self::GatewayToken(agent) => write!(f, "gateway token of {agent}"),
        }
    }
}

/// A keyed digest of a secret value: equal values of one fleet have equal fingerprints, and nothing else can be
/// learnt from one without the fleet key. Never printed, never saved beyond the sandbox.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint(..)")
    }
}

/// Why a secret value cannot be had, with what to do. The text never holds the value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct SecretError {
    /// What is wrong, a fragment: "no identity opens default/ANTHROPIC_API_KEY".
    pub reason: String,
    /// What to do next.
    pub help: String,
}

/// Gives secret values to the providers that deliver them. Implemented by `claw-vault`; asked during observe
/// (to compare in memory) and apply (to deliver).
pub trait Secrets: Send + Sync {
    /// Returns the value.
    fn reveal(&self, source: &SecretSource) -> Result<SecretString, SecretError>;
    /// Returns the fingerprint of any bytes under this fleet's key.
    fn fingerprint(&self, value: &[u8]) -> Result<Fingerprint, SecretError>;
}
