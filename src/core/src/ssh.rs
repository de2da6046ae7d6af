//! Public keys and addresses as the fleet file writes them: reads, compares, names them. Holds no private key.

use std::fmt;
use std::str::FromStr;

use core::net::IpAddr;
use data_encoding::{BASE64, BASE64_NOPAD};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The one kind of key claw takes.
const ALGORITHM: &str = "ssh-ed25519";
/// Length of the binary form: two length-prefixed texts, 11 and 32 bytes (RFC 8709, section 4).
const BLOB_BYTES: usize = 4 + 11 + 4 + 32;

/// An ssh-ed25519 public key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey {
    base64: String,
}

/// A text is not a public key claw takes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotAKey(&'static str);

impl PublicKey {
    /// Returns the fingerprint as OpenSSH prints it: `SHA256:…`.
    pub fn fingerprint(&self) -> String {
        let blob = BASE64.decode(self.base64.as_bytes()).unwrap_or_default();
        format!("SHA256:{}", BASE64_NOPAD.encode(&Sha256::digest(blob)))
    }
}

impl FromStr for PublicKey {
    type Err = NotAKey;

    /// Reads a line as it stands in a `.pub` file; a comment is left out.
    fn from_str(text: &str) -> Result<Self, NotAKey> {
        let mut words = text.split_ascii_whitespace();
        match words.next() {
            Some(ALGORITHM) => {}
            Some(other) if other.starts_with("ssh-") || other.starts_with("ecdsa-") || other.starts_with("sk-") => {
                return Err(NotAKey("only ssh-ed25519 keys are taken"));
            }
            Some("-----BEGIN") => return Err(NotAKey("this is a private key: take the `.pub` file beside it")),
            _ => return Err(NotAKey("it does not begin with `ssh-ed25519`")),
        }
        let base64 = words.next().ok_or(NotAKey("the key itself is missing behind `ssh-ed25519`"))?;
        let blob = BASE64.decode(base64.as_bytes()).map_err(|_| NotAKey("the key is not whole: it is not base64"))?;
        if blob.len() != BLOB_BYTES || blob[4..15] != *ALGORITHM.as_bytes() {
            return Err(NotAKey("the key is not whole: a part of it is missing or wrong"));
        }
        Ok(Self { base64: base64.to_owned() })
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{ALGORITHM} {}", self.base64)
    }
}

impl TryFrom<String> for PublicKey {
    type Error = NotAKey;

    fn try_from(text: String) -> Result<Self, NotAKey> {
        text.parse()
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> Self {
        key.to_string()
    }
}

/// Which of claw's own login keys a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// The one claw logs in with.
    Current,
    /// The one it moves to.
    Next,
    /// One it left: still tried where a host was not reached since.
    Retired,
}

/// One of claw's own login keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ControlKey {
    /// Which it is.
    pub standing: Standing,
    /// Its public half.
    pub public: PublicKey,
    /// The day it was made, `YYYY-MM-DD`.
    pub since: String,
}

/// Returns the range an `allow_from` entry means: an address or a range. One with bits set behind its length is none: sshd
/// takes it for a mistake.
pub fn range(text: &str) -> Option<IpNet> {
    let parsed: Option<IpNet> = text.parse().ok().or_else(|| Some(IpNet::from(text.parse::<IpAddr>().ok()?)));
    parsed.filter(|range| range.trunc() == *range)
}

/// Whether logins from an address would be refused. No ranges at all refuse nobody; an address that cannot be read is
/// refused by any.
pub fn excludes<'a>(ranges: impl IntoIterator<Item = &'a str>, address: &str) -> bool {
    let mut ranges = ranges.into_iter().peekable();
    if ranges.peek().is_none() {
        return false;
    }
    // an IPv4 client of a dual-stack socket is written ::ffff:192.0.2.7
    let address = address.parse::<IpAddr>().map(|address| address.to_canonical());
    !address.is_ok_and(|address| ranges.any(|text| range(text).is_some_and(|range| range.contains(&address))))
}

/// Whether one range lies within another.
pub fn is_within(inner: &IpNet, outer: &IpNet) -> bool {
    outer.contains(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIoFXjWAMTYQe9aHHV9ccGY9aFkkFGtDN1G5BG0gQvzx";

    #[test]
    fn a_key_is_read_with_or_without_a_comment_and_written_without() {
        for text in [KEY.to_owned(), format!("{KEY} petr@mac"), format!("  {KEY}\n")] {
            assert_eq!(text.parse::<PublicKey>().expect("a key").to_string(), KEY);
        }
    }

    #[test]
    fn what_is_no_key_says_why() {
        for (text, why) in [
            ("", "it does not begin with `ssh-ed25519`"),
            ("ssh-rsa AAAA", "only ssh-ed25519 keys are taken"),
            ("ssh-ed25519", "the key itself is missing behind `ssh-ed25519`"),
            ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAII==", "the key is not whole: it is not base64"),
            ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5", "the key is not whole: a part of it is missing or wrong"),
            ("-----BEGIN OPENSSH PRIVATE KEY-----", "this is a private key: take the `.pub` file beside it"),
        ] {
            assert_eq!(text.parse::<PublicKey>().expect_err("no key").to_string(), why);
        }
    }

    #[test]
    fn fingerprints_are_those_of_openssh() {
        let key: PublicKey = KEY.parse().expect("a key");
        assert!(key.fingerprint().starts_with("SHA256:"));
        assert_eq!(key.fingerprint().len(), "SHA256:".len() + 43);
    }

    #[test]
    fn addresses_are_held_against_ranges() {
        let ranges = ["203.0.113.0/24", "2001:db8::/32", "192.0.2.7"];
        for inside in ["203.0.113.9", "2001:db8::1", "192.0.2.7", "::ffff:203.0.113.9"] {
            assert!(!excludes(ranges, inside), "{inside}");
        }
        for outside in ["203.0.114.9", "2001:db9::1", "192.0.2.8", "odd"] {
            assert!(excludes(ranges, outside), "{outside}");
        }
        assert!(!excludes([], "192.0.2.7"), "no ranges at all let everybody in");
        assert!(range("192.0.2.7/24").is_none() && range("192.0.2.0/24").is_some());
    }
}
