//! A pinned host public key.
//!
//! It reads one OpenSSH public key line. It does not read `known_hosts` files, and takes nothing but ed25519.

use std::fmt;
use std::str::FromStr;

use russh::keys::{Algorithm, HashAlg, PublicKey};

use crate::ssh::SshError;

/// One host public key a server may prove. Its comment is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Pin(PublicKey);

impl Pin {
    /// Returns the fingerprint as OpenSSH shows it: `SHA256:` and 43 base64 letters.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.0)
    }

    pub(crate) fn is(&self, key: &PublicKey) -> bool {
        self.0.key_data() == key.key_data()
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
            Algorithm::Ed25519 => Ok(Self(key)),
            other => Err(bad(format!("it holds a key of type {other}"))),
        }
    }
}

/// Returns the start of a text that may be anything, fit for one line of an error.
fn shortened(text: &str) -> String {
    text.trim().chars().take(40).collect()
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_openssh().map_err(|_| fmt::Error)?)
    }
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
    fn pin_drops_the_comment_and_reads_its_own_text() {
        let pin: Pin = LINE.parse().unwrap();
        assert_eq!(pin.to_string(), LINE.rsplit_once(' ').unwrap().0);
        assert_eq!(pin, pin.to_string().parse().unwrap());
        assert_eq!(pin.fingerprint().len(), "SHA256:".len() + 43);
    }

    #[test]
    fn pin_refuses_all_but_ed25519_and_says_why() {
        let why = |text: &str| text.parse::<Pin>().unwrap_err().to_string();
        assert!(why("ssh-rsa AAAAB3Nza").contains("only ssh-ed25519"));
        assert!(why("ssh-ed25519").contains("not of the form"));
        assert!(why("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA").contains("damaged"));
    }
}
