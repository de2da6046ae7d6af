//! Names secrets and says how their values are asked for. Holds no value and no key.

use std::collections::BTreeMap;
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

/// Where credentials may be sent: by secret, the hosts its profile says. One that says none goes to the usual hosts of
/// its name.
pub type Destinations = BTreeMap<SecretName, Vec<String>>;

/// Whether a text names hosts: `api.example`, `*.example` for all below it, `*` for any. Lower case, no scheme, no port.
pub fn is_host_pattern(text: &str) -> bool {
    let rest = text.strip_prefix("*.").unwrap_or(text);
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.:".contains(&b);
    text == "*" || (!rest.is_empty() && text.len() <= 253 && rest.bytes().all(plain) && !rest.starts_with('.'))
}

/// Whether a host is among those a list names.
pub fn is_among(hosts: &[String], host: &str) -> bool {
    let matches = |pattern: &str| match pattern.strip_prefix('*') {
        Some("") => true,
        Some(below) => host.len() > below.len() && host.ends_with(below),
        None => host == pattern,
    };
    hosts.iter().any(|pattern| matches(pattern))
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

impl SecretSource {
    /// Reads what [`fmt::Display`] wrote; `None` for anything else.
    pub fn read(text: &str) -> Option<Self> {
        if let Some(agent) = text.strip_prefix("gateway token of ") {
            return Some(Self::GatewayToken(agent.to_owned()));
        }
        let (profile, key) = text.split_once('/')?;
        Some(Self::Profile(SecretName { profile: profile.to_owned(), key: key.to_owned() }))
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_hosts_means_those_hosts_and_no_others() {
        let listed = ["api.example", "*.inner.example"].map(str::to_owned);
        for good in ["api.example", "a.inner.example", "a.b.inner.example"] {
            assert!(is_among(&listed, good), "{good}");
        }
        for bad in
            ["example", "xapi.example", "api.example.evil", "inner.example", "evilinner.example", ".inner.example", ""]
        {
            assert!(!is_among(&listed, bad), "{bad}");
        }
        assert!(is_among(&["*".to_owned()], "anything"));
    }

    #[test]
    fn a_host_is_written_in_one_way() {
        for good in ["*", "api.example", "*.example", "127.0.0.1", "::1", "localhost"] {
            assert!(is_host_pattern(good), "{good}");
        }
        for bad in ["", "*.", "https://a.example", "a.example/x", "A.example", "a*.example", ".example", "a b"] {
            assert!(!is_host_pattern(bad), "{bad}");
        }
    }
}
