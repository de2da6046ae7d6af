//! An SSH key pair out of randomness that comes in as an argument: the same bytes make the same pair. Keeps nothing.

use claw_core::ssh::PublicKey;
use secrecy::SecretString;
use ssh_key::{LineEnding, PrivateKey, private::Ed25519Keypair};

/// Returns an ed25519 key pair: the private half in OpenSSH's form, not encrypted, ending in a line break, and the public
/// half. The seed is the private key itself: 32 bytes that nobody else has and that are used once.
pub fn key_pair(seed: &[u8; 32], comment: &str) -> (SecretString, PublicKey) {
    let mut key = PrivateKey::from(Ed25519Keypair::from_seed(seed));
    key.set_comment(comment);
    let text = key.to_openssh(LineEnding::LF).expect("a key that was made here has OpenSSH's form");
    let public = key.public_key().to_openssh().expect("a key that was made here has OpenSSH's form");
    let public = public.parse().expect("what was made is an ed25519 key");
    (SecretString::from(text.as_str()), public)
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_seed_makes_one_pair_whose_halves_belong_together() {
        let (private, public) = key_pair(&[7; 32], "claw");
        assert_eq!(private.expose_secret(), key_pair(&[7; 32], "claw").0.expose_secret());
        assert_ne!(public, key_pair(&[8; 32], "claw").1);
        let read = PrivateKey::from_openssh(private.expose_secret()).expect("OpenSSH's form");
        assert!(!read.is_encrypted() && private.expose_secret().ends_with("-----END OPENSSH PRIVATE KEY-----\n"));
        let text = read.public_key().to_openssh().expect("OpenSSH's form");
        assert_eq!((text.parse(), read.comment().to_string()), (Ok(public), "claw".to_owned()));
    }
}
