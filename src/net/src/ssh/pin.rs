//! A pinned host key.
//!
//! It reads one OpenSSH public key line, or the fingerprint of one as a label carries it. It does not read `known_hosts`
//! files, and takes nothing but ed25519.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE32_NOPAD;
use russh::keys::ssh_key::Fingerprint;
use russh::keys::{Algorithm, HashAlg, PublicKey};

use crate::ssh::SshError;

/// One host public key a server may prove, known by the SHA-256 of its binary form: a label has no room for more, and
/// nobody finds another key with the same one.
#[derive(Clone, PartialEq, Eq)]
pub struct Pin([u8; 32]);

impl Pin {
    /// Takes the SHA-256 of a key's binary form (RFC 4253, section 6.6).
    #[must_use]
    pub fn from_sha256(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    /// Takes a label: the SHA-256 in base32 (RFC 4648, section 6), lower case, no padding, 52 characters.
    ///
    /// # Errors
    /// [`SshError::BadKey`] when it is anything else.
    pub fn from_label(text: &str) -> Result<Self, SshError> {
        let digest = BASE32_NOPAD.decode(text.to_ascii_uppercase().as_bytes()).ok();
        let pin = digest.and_then(|bytes| bytes.try_into().ok()).map(Self);
        // one key, one text: labels are compared as they stand
        pin.filter(|pin| pin.label() == text).ok_or_else(|| SshError::BadKey {
            what: format!("host key label {:?}", shortened(text)),
            why: "it is not a SHA-256 in lower-case base32, 52 characters".to_owned(),
        })
    }

    /// Returns it as a label's value.
    #[must_use]
    pub fn label(&self) -> String {
        BASE32_NOPAD.encode(&self.0).to_ascii_lowercase()
    }

    /// Returns the fingerprint as OpenSSH shows it: `SHA256:` and 43 base64 letters.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        Fingerprint::Sha256(self.0).to_string()
    }

    pub(crate) fn is(&self, key: &PublicKey) -> bool {
        key.fingerprint(HashAlg::Sha256) == Fingerprint::Sha256(self.0)
    }

    fn of(key: &PublicKey) -> Option<Self> {
        key.fingerprint(HashAlg::Sha256).sha256().map(Self)
    }
}

pub(crate) fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

impl FromStr for Pin {
    type Err = SshError;

    fn from_str(text: &str) -> Result<Self, SshError> {
        let bad = |why: String| SshError::BadKey { what: format!("host key {:?}", shortened(text)), why };
        let mut words = text.split_whitespace();
        let (Some(kind), Some(base64)) = (words.next(), words.next()) else {
            return Err(bad("it is not of the form \"ssh-ed25519 AAAA…\"".to_owned()));
        };
        if kind != "ssh-ed25519" {
            return Err(bad(format!("it is of type {kind}, only ssh-ed25519 is accepted")));
        }
        let key = PublicKey::from_openssh(&format!("{kind} {base64}"))
            .map_err(|error| bad(format!("its base64 part is damaged ({error})")))?;
        match key.algorithm() {
            Algorithm::Ed25519 => Self::of(&key).ok_or_else(|| bad("it has no SHA-256".to_owned())),
            other => Err(bad(format!("it holds a key of type {other}"))),
        }
    }
}

/// Returns the start of a text that may be anything, fit for one line of an error.
fn shortened(text: &str) -> String {
    text.trim().chars().take(40).collect()
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pin({})", self.fingerprint())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that panics has failed")]
mod tests {
    use super::*;

    const LINE: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti user@example.com";

    #[test]
    fn pin_drops_the_comment_and_shows_the_fingerprint_that_openssh_shows() {
        let pin: Pin = LINE.parse().unwrap();
        assert_eq!(pin, LINE.rsplit_once(' ').unwrap().0.parse().unwrap());
        // ssh-keygen -l
        assert_eq!(pin.fingerprint(), "SHA256:UCUiLr7Pjs9wFFJMDByLgc3NrtdU344OgUM45wZPcIQ");
    }

    #[test]
    fn pin_goes_through_a_label_and_only_one_text_is_its_label() {
        let pin: Pin = LINE.parse().unwrap();
        let label = pin.label();
        assert_eq!(label.len(), 52);
        assert!(label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()), "{label}");
        assert_eq!(Pin::from_label(&label).unwrap(), pin);
        let upper = label.to_uppercase();
        let bits = format!("{}b", &label[..51]);
        for odd in ["", &label[..51], &format!("{label}a"), &upper, &bits, &format!("{label}===="), LINE] {
            let error = Pin::from_label(odd).unwrap_err();
            assert!(error.to_string().contains("52 characters"), "{odd}: {error}");
        }
        assert_ne!(Pin::from_sha256([0; 32]), pin);
        assert_eq!(Pin::from_label(&"a".repeat(52)).unwrap(), Pin::from_sha256([0; 32]));
    }

    #[test]
    fn pin_refuses_all_but_ed25519_and_says_why() {
        let why = |text: &str| text.parse::<Pin>().unwrap_err().to_string();
        assert!(why("ssh-rsa AAAAB3Nza").contains("only ssh-ed25519"));
        assert!(why("ssh-ed25519").contains("not of the form"));
        assert!(why("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA").contains("damaged"));
    }
}
