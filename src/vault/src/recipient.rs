//! Reads and shows recipients, the public keys that values are encrypted to. Holds no private key.
//!
//! Recipients of age's plugins are refused: each is a program that claw would have to start, and a fleet file could then
//! choose what runs on the machine of whoever looks at a pull request.

use std::fmt;
use std::str::FromStr;

use age::ssh::ParseRecipientKeyError;
use data_encoding::{BASE32_NOPAD, HEXLOWER};
use sha2::{Digest, Sha256};

/// A public key that values are encrypted to: age's own (`age1…`), an ssh-ed25519 or an ssh-rsa key.
#[derive(Clone)]
pub struct Recipient {
    kind: Kind,
    text: String,
}

#[derive(Clone)]
enum Kind {
    X25519(age::x25519::Recipient),
    Ssh(age::ssh::Recipient),
}

/// Why a text is not a recipient.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecipientError {
    /// An `ssh-rsa` key that is too weak, or larger than age takes.
    #[error("the ssh-rsa key does not have 2048 to 4096 bits")]
    RsaBits,
    /// Another SSH key type: ECDSA, or a key on a hardware token.
    #[error("this type of SSH key cannot be a recipient")]
    SshType,
    /// An age recipient of a plugin, or a post-quantum one.
    #[error("this type of age recipient is not supported")]
    AgeType,
    /// A private key where a public one belongs.
    #[error("this is a private key, not a recipient")]
    PrivateKey,
    /// Starts well but does not decode.
    #[error("the recipient does not decode: it is cut short or has a typing mistake")]
    Garbled,
    /// A key that decodes to a point with which every secret would be public.
    #[error("the recipient is not a usable key")]
    Weak,
    /// Nothing that looks like a recipient.
    #[error("not a recipient")]
    NotARecipient,
}

impl RecipientError {
    /// Says what to do.
    #[must_use]
    pub fn help(&self) -> String {
        match self {
            Self::RsaBits => "use an ssh-ed25519 key or `age1…` from `claw identity`",
            Self::AgeType => {
                "recipients of age plugins are refused: a fleet file would choose a program that claw runs; \
                 a recipient is `age1…` (62 characters), `ssh-ed25519 AAAA…` or `ssh-rsa AAAA…`"
            }
            Self::SshType | Self::NotARecipient => {
                "a recipient is `age1…` (62 characters), `ssh-ed25519 AAAA…` or `ssh-rsa AAAA…`"
            }
            Self::PrivateKey => "put the public key here; the private one has to be replaced if this file was shared",
            Self::Garbled | Self::Weak => "copy the whole public key again from its owner",
        }
        .to_owned()
    }
}

impl Recipient {
    /// Returns the 16 hex characters that stand for this recipient in a profile file's `to`: the start of the
    /// SHA-256 of its canonical text. Public, and too short to be trusted without the MAC beside it.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        HEXLOWER.encode(&Sha256::digest(self.text.as_bytes())[..8])
    }

    pub(crate) fn as_age(&self) -> &dyn age::Recipient {
        match &self.kind {
            Kind::X25519(key) => key,
            Kind::Ssh(key) => key,
        }
    }

    pub(crate) fn from_x25519(key: age::x25519::Recipient) -> Self {
        Self { text: key.to_string(), kind: Kind::X25519(key) }
    }
}

impl FromStr for Recipient {
    type Err = RecipientError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if text.starts_with("-----BEGIN") || text.to_ascii_uppercase().contains("SECRET-KEY-") {
            return Err(RecipientError::PrivateKey);
        }
        match text.split_once(' ') {
            Some((kind, rest)) => ssh(kind, rest),
            None => x25519(text),
        }
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recipient({self})")
    }
}

impl PartialEq for Recipient {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Recipient {}

fn ssh(kind: &str, rest: &str) -> Result<Recipient, RecipientError> {
    match kind {
        // RUSTSEC-2023-0071 lets those measure a private RSA key who time many decryptions of what they chose. claw opens
        // a fleet's own files at its owner's word, and answers nobody.
        "ssh-ed25519" | "ssh-rsa" => {}
        _ if kind.starts_with("ssh-") || kind.starts_with("sk-") || kind.starts_with("ecdsa-") => {
            return Err(RecipientError::SshType);
        }
        _ => return Err(RecipientError::NotARecipient),
    }
    // What follows the key is its owner's comment.
    let body = rest.split_whitespace().next().unwrap_or_default();
    let text = format!("{kind} {body}");
    let key: age::ssh::Recipient = text.parse().map_err(|error| match error {
        ParseRecipientKeyError::RsaModulusTooLarge | ParseRecipientKeyError::RsaModulusTooSmall => {
            RecipientError::RsaBits
        }
        _ => RecipientError::Garbled,
    })?;
    // age reads the key and ignores what sticks to it.
    if key.to_string() != text {
        return Err(RecipientError::Garbled);
    }
    Ok(Recipient { kind: Kind::Ssh(key), text })
}

fn x25519(text: &str) -> Result<Recipient, RecipientError> {
    let lower = text.to_ascii_lowercase();
    let Some(data) = lower.strip_prefix("age1") else {
        return Err(RecipientError::NotARecipient);
    };
    // `age1tag…`, `age1pq…` and plugins' `age1yubikey1…` carry a longer human-readable part.
    if data.contains('1') || data.len() > 58 {
        return Err(RecipientError::AgeType);
    }
    let key: age::x25519::Recipient = text.parse().map_err(|_| RecipientError::Garbled)?;
    if LOW_ORDER.contains(&point(data).ok_or(RecipientError::Garbled)?) {
        return Err(RecipientError::Weak);
    }
    Ok(Recipient::from_x25519(key))
}

/// The points with which X25519 gives zero whatever the other key is (RFC 7748 §6.1), little-endian, top bit clear.
/// age panics when it is asked to encrypt to one.
const LOW_ORDER: [[u8; 32]; 7] = [
    [0; 32],
    ends(1, 0, 0),
    [
        0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda, 0x09,
        0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
    ],
    [
        0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef, 0x5b, 0x04, 0x44,
        0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57,
    ],
    ends(0xec, 0xff, 0x7f),
    ends(0xed, 0xff, 0x7f),
    ends(0xee, 0xff, 0x7f),
];

const fn ends(first: u8, middle: u8, last: u8) -> [u8; 32] {
    let mut point = [middle; 32];
    point[0] = first;
    point[31] = last;
    point
}

/// Returns the point of an `age1` text whose checksum age has already checked: 52 characters of Bech32 are 32 bytes,
/// then 6 of checksum.
fn point(data: &str) -> Option<[u8; 32]> {
    const BECH32: &str = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    const BASE32: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    // Bech32 packs bits as base32 does, under another alphabet.
    let base32: Option<Vec<u8>> = data.chars().take(52).map(|c| BECH32.find(c).map(|i| BASE32[i])).collect();
    let mut point: [u8; 32] = BASE32_NOPAD.decode(&base32?).ok()?.try_into().ok()?;
    point[31] &= 0x7f;
    Some(point)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that panics has failed")]
mod tests {
    use super::*;
    use crate::testing::{SSH_PUBLIC, SSH_RSA_PUBLIC};

    const AGE: &str = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa";

    fn error(text: &str) -> RecipientError {
        let error = text.parse::<Recipient>().unwrap_err();
        assert!(!error.help().is_empty());
        error
    }

    #[test]
    fn recipients_are_shown_as_they_were_read() {
        assert_eq!(AGE.parse::<Recipient>().unwrap().to_string(), AGE);
        let ssh: Recipient = format!("  {SSH_PUBLIC} petr@mac\n").parse().unwrap();
        assert_eq!(ssh.to_string(), SSH_PUBLIC);
    }

    #[test]
    fn a_fingerprint_is_of_the_key_and_not_of_its_comment() {
        let plain: Recipient = SSH_PUBLIC.parse().unwrap();
        let commented: Recipient = format!("{SSH_PUBLIC} someone").parse().unwrap();
        assert_eq!(plain.fingerprint(), commented.fingerprint());
        assert!(crate::names::is_fingerprint(&plain.fingerprint()));
        assert_ne!(plain.fingerprint(), AGE.parse::<Recipient>().unwrap().fingerprint());
    }

    #[test]
    fn a_fingerprint_is_the_start_of_the_sha256_of_the_text() {
        // printf %s age1t7… | sha256sum
        assert_eq!(AGE.parse::<Recipient>().unwrap().fingerprint(), "e669ae85e3185682");
    }

    #[test]
    fn rsa_keys_are_taken_unless_they_are_weak() {
        let rsa: Recipient = format!("{SSH_RSA_PUBLIC} someone").parse().unwrap();
        assert_eq!(rsa.to_string(), SSH_RSA_PUBLIC);
        // 1024 bits, made by OpenSSH for this test
        let weak = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQCqqCSRhSea/29QZxWGI9sEOlGgAgH3x5xowAUx7m1z3pVyBqJb6HX2k4vtkeF5ifOcl83WZ877tXvwosh8UftBQRPAuMx/Ni7Uy8fc0L1GKbI2QmD1GKbF1qnE0hEGLhskYZa6YJgNdJ/zduUQYYiPscFuv9WQ8hhGyTd0mNyE6Q==";
        assert_eq!(error(weak), RecipientError::RsaBits);
    }

    #[test]
    fn other_texts_are_refused_with_their_reason() {
        assert_eq!(error(""), RecipientError::NotARecipient);
        assert_eq!(error("hello world"), RecipientError::NotARecipient);
        assert_eq!(error(&AGE[..60]), RecipientError::Garbled);
        assert_eq!(error(&AGE.replace("t7", "7t")), RecipientError::Garbled);
        assert_eq!(error("ssh-ed25519 AAAA"), RecipientError::Garbled);
        assert_eq!(error(&format!("{SSH_PUBLIC}AA")), RecipientError::Garbled);
        assert_eq!(error("ecdsa-sha2-nistp256 AAAA"), RecipientError::SshType);
        assert_eq!(error("age1yubikey1qqqqqqq"), RecipientError::AgeType);
        assert!(RecipientError::AgeType.help().contains("plugins are refused"));
        assert_eq!(error("ssh-rsa AAAA"), RecipientError::Garbled);
        assert_eq!(error("AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4"), RecipientError::PrivateKey);
    }

    #[test]
    fn a_point_of_low_order_is_refused_before_age_panics_on_it() {
        // The points 0, 1 and p (top bit set), with valid checksums (computed from BIP 173's reference code).
        for weak in [
            "age1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq5cu47z",
            "age1qyqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqj7vrya",
            "age1ahlllllllllllllllllllllllllllllllllllllllllllllllllsh3g6la",
        ] {
            assert_eq!(error(weak), RecipientError::Weak, "{weak}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,80}", tail in "[a-z0-9]{0,70}", ssh in "[A-Za-z0-9+/=]{0,90}") {
            drop(text.parse::<Recipient>());
            drop(format!("age1{tail}").parse::<Recipient>());
            drop(format!("ssh-rsa {ssh}").parse::<Recipient>());
            drop(format!("ssh-ed25519 {ssh}").parse::<Recipient>());
        }
    }
}
