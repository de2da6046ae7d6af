//! What a new cloud machine is given at birth so that claw can log in to it: one host key, claw's login keys, no passwords.
//! Everything else is converged over SSH afterwards. Talks to no cloud and takes no randomness of its own.
//!
//! Anything on the machine, and whoever may ask its metadata address, can read user-data. So the host key in it is good for
//! the first contact only: the machine then makes one of its own ([`HostProvider::next_host_key`],
//! [`HostProvider::show_host_key`]), and nothing secret goes there before.
//!
//! [`HostProvider::next_host_key`]: crate::HostProvider::next_host_key
//! [`HostProvider::show_host_key`]: crate::HostProvider::show_host_key

use claw_core::ssh::PublicKey;
use claw_vault::key_pair;
use data_encoding::{BASE32_NOPAD, BASE64_NOPAD};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use crate::access::{Block, Keys};
use crate::script::SSHD_FILE;

/// The most user-data a cloud takes, in bytes: Hetzner Cloud's `user_data` is the smallest that is met.
pub const USER_DATA_BYTES_MAX: usize = 32 * 1024;

/// What sshd does from its first start on: no other key than the one in user-data, and nobody by password. Image settings
/// come behind it, and the hardening of the host takes its place.
const SSHD: &str = "# Written by claw; changes are put right by the next apply.\n\
    hostkey /etc/ssh/ssh_host_ed25519_key\n\
    passwordauthentication no\n\
    kbdinteractiveauthentication no\n\
    permitrootlogin without-password\n";

/// What it takes to make a new machine reachable.
pub struct Bootstrap<'a> {
    /// The fleet's id: whose block it is in authorized_keys.
    pub fleet: &'a str,
    /// The private half of the host key, in OpenSSH's form.
    pub host_key_private: &'a SecretString,
    /// Its public half.
    pub host_key_public: &'a PublicKey,
    /// claw's login keys.
    pub control: &'a [PublicKey],
    /// The ranges they may come from; from anywhere when empty.
    pub from: &'a [String],
}

/// The user-data does not fit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "fit what a new machine is given into {USER_DATA_BYTES_MAX} bytes: it has {0}; name fewer ranges in allow_from"
)]
pub struct TooLarge(usize);

impl Bootstrap<'_> {
    /// Returns the user-data: cloud-config, whose YAML is JSON so that nothing in it is read otherwise than it was meant. A
    /// secret, because of the host key; nothing else in it is one.
    ///
    /// The keys stand in claw's block, as the access of the host has it: none of them stays behind when it is rotated. The
    /// keys that a cloud has for new machines are left out, and no other user is made. A cloud that is given no key of
    /// its own may set a password of root that has to be changed at the first login (Hetzner Cloud does); it does not
    /// expire here, because sshd would run nothing before.
    pub fn user_data(&self) -> Result<SecretString, TooLarge> {
        let block =
            Block { control: self.control.iter().cloned().collect(), from: self.from.to_vec(), ..Block::default() };
        let keys = Keys::default().with(self.fleet, Some(&block), false);
        let config = json!({
            "allow_public_ssh_keys": false,
            "chpasswd": { "expire": false },
            "disable_root": false,
            "package_update": false,
            "package_upgrade": false,
            "ssh_deletekeys": true,
            // with these, cloud-init makes no keys of other kinds
            "ssh_keys": {
                "ed25519_private": self.host_key_private.expose_secret(),
                "ed25519_public": format!("{}\n", self.host_key_public),
            },
            "ssh_pwauth": false,
            "users": [{ "name": "root", "lock_passwd": true }],
            "write_files": [
                { "path": "/root/.ssh/authorized_keys", "permissions": "0600", "content": keys },
                { "path": SSHD_FILE, "permissions": "0644", "content": SSHD },
            ],
        });
        let text = format!("#cloud-config\n{config:#}\n");
        if text.len() > USER_DATA_BYTES_MAX { Err(TooLarge(text.len())) } else { Ok(SecretString::from(text)) }
    }
}

/// Makes the host key of a new machine out of 32 random bytes, which are used for nothing else: the private half in
/// OpenSSH's form, and the public half.
pub fn host_key_pair(seed: &[u8; 32]) -> (SecretString, PublicKey) {
    key_pair(seed, "")
}

/// Returns the pin of a host key as a label's value: the SHA-256 of the key in base32 (RFC 4648, section 6), lower case, no
/// padding, 52 characters. What [`claw_net::ssh::Pin::from_label`] reads.
pub fn pin_label(key: &PublicKey) -> String {
    let fingerprint = key.fingerprint();
    let digest = fingerprint.strip_prefix("SHA256:").map(|text| BASE64_NOPAD.decode(text.as_bytes()));
    let digest = digest.and_then(Result::ok).expect("a fingerprint is SHA256: and base64");
    BASE32_NOPAD.encode(&digest).to_ascii_lowercase()
}

/// Whether a label's value is the pin of a host key.
pub fn matches_label(key: &PublicKey, label: &str) -> bool {
    pin_label(key) == label
}

#[cfg(test)]
mod tests {
    use claw_net::ssh::Pin;

    use super::*;

    const A: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIoFXjWAMTYQe9aHHV9ccGY9aFkkFGtDN1G5BG0gQvzx";
    const B: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICXvU3dt1jlxSwQeBLnr4ufPoLw6sfaWiOOk8ejxuMWQ";

    fn user_data(control: &[&str], from: &[String]) -> Result<SecretString, TooLarge> {
        let (private, public) = host_key_pair(&[7; 32]);
        let control: Vec<PublicKey> = control.iter().map(|text| text.parse().expect("a key")).collect();
        let bootstrap =
            Bootstrap { fleet: "k7f3", host_key_private: &private, host_key_public: &public, control: &control, from };
        bootstrap.user_data()
    }

    fn text(control: &[&str], from: &[String]) -> String {
        user_data(control, from).expect("it fits").expose_secret().to_owned()
    }

    fn read(text: &str) -> serde_json::Value {
        serde_json::from_str(text.strip_prefix("#cloud-config\n").expect("its kind comes first")).expect("JSON")
    }

    #[test]
    fn user_data_is_stable_and_all_of_it_is_known() {
        let made = text(&[A, B], &["203.0.113.0/24".to_owned(), "2001:db8::/32".to_owned()]);
        assert_eq!(made, text(&[B, A], &["203.0.113.0/24".to_owned(), "2001:db8::/32".to_owned()]));
        assert!(made.len() < 3000, "{} bytes", made.len());
        // nothing is in it that is not looked at here: a new key, of the file or of a secret, is a new line of this test
        let (private, public) = host_key_pair(&[7; 32]);
        let mut config = read(&made);
        let config = config.as_object_mut().expect("a table");
        let keys = config.remove("ssh_keys").expect("host keys");
        assert_eq!(
            keys,
            json!({ "ed25519_private": private.expose_secret(), "ed25519_public": format!("{public}\n") })
        );
        let files = config.remove("write_files").expect("files");
        let paths: Vec<&str> =
            files.as_array().expect("a list").iter().filter_map(|file| file["path"].as_str()).collect();
        assert_eq!(paths, ["/root/.ssh/authorized_keys", "/etc/ssh/sshd_config.d/10-claw.conf"]);
        let rest = json!({
            "allow_public_ssh_keys": false, "chpasswd": { "expire": false }, "disable_root": false,
            "package_update": false, "package_upgrade": false, "ssh_deletekeys": true, "ssh_pwauth": false,
            "users": [{ "name": "root", "lock_passwd": true }],
        });
        assert_eq!(serde_json::Value::Object(config.clone()), rest);
        assert_eq!(made.matches("PRIVATE KEY").count(), 2, "one private key, its first line and its last");
    }

    #[test]
    fn the_keys_it_writes_are_the_block_that_access_reads() {
        let from = ["203.0.113.0/24".to_owned()];
        let config = read(&text(&[A, B], &from));
        let written = config["write_files"][0]["content"].as_str().expect("a file");
        let keys = Keys::read(written, "k7f3");
        let control = [A, B].map(|text| text.parse().expect("a key")).into();
        assert_eq!(keys.block, Some(Block { control, from: from.to_vec(), ..Block::default() }));
        assert!(keys.others.is_empty() && !keys.edited, "{written}");
    }

    #[test]
    fn what_does_not_fit_is_refused_here_and_not_by_the_cloud() {
        let ranges: Vec<String> = (0..2000).map(|n| format!("10.{}.{}.0/24", n / 256, n % 256)).collect();
        let error = user_data(&[A, B], &ranges).expect_err("too large");
        assert!(error.to_string().contains("32768 bytes"), "{error}");
        assert!(user_data(&[A, B], &ranges[..500]).is_ok());
    }

    #[test]
    fn a_pin_goes_into_a_label_and_is_known_again() {
        let (one, other): (PublicKey, PublicKey) = (A.parse().expect("a key"), B.parse().expect("a key"));
        let label = pin_label(&one);
        assert!(label.len() <= 63 && label.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{label}");
        assert!(matches_label(&one, &label) && !matches_label(&other, &label));
        assert!(!matches_label(&one, "") && !matches_label(&one, &label.to_uppercase()));
        // the same as what connections are made with
        let pin: Pin = A.parse().expect("a key");
        assert_eq!((pin.label(), Pin::from_label(&label).expect("a label")), (label, pin));
    }
}
