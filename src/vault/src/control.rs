//! claw's own login keys in the reserved profile: made, moved on, dropped. Their private halves are values like any other,
//! encrypted and under a MAC that binds their name; their public halves stand in clear beside them, for review, and count
//! only where the private half agrees.

use claw_core::ssh::{ControlKey, PublicKey, Standing};
use secrecy::{ExposeSecret, SecretString};
use ssh_key::PrivateKey;
use zeroize::Zeroizing;

use crate::edit;
use crate::error::VaultError;
use crate::names::RESERVED_PROFILE;
use crate::pair::key_pair;
use crate::profile::{Entry, ProfileFile, parse_profile};
use crate::recipient::Recipient;
use crate::store;
use crate::vault::{Vault, find, what};

const CURRENT: &str = "ssh_current";
const NEXT: &str = "ssh_next";
const RETIRED: &str = "ssh_retired_";
/// How many keys may wait for hosts that were not reached since: with the current and the next one, sshd hears five of
/// the six keys it has patience for (`MaxAuthTries`).
const RETIRED_MAX: usize = 3;

impl Vault {
    /// Returns the login keys as the file shows them, the current one first. Needs no identity; nothing is verified.
    pub fn control_keys(&self) -> Result<Vec<ControlKey>, VaultError> {
        let file = match self.load(RESERVED_PROFILE)? {
            Some((_, file)) => file,
            None => return Ok(Vec::new()),
        };
        control_keys(&file)
    }

    /// Returns the private half of a login key, in OpenSSH's form, once its MAC and its public half have agreed.
    pub fn control_secret(&self, key: &ControlKey) -> Result<SecretString, VaultError> {
        let (_, file) = self.load(RESERVED_PROFILE)?.ok_or_else(|| self.no_fleet_key())?;
        let name = name_of(&file, key)?;
        self.private(find(&file, &name)?)
    }

    /// Makes a login key: the current one where there is none, else the next. Returns it.
    pub fn control_begin(&self, recipients: &[Recipient], today: &str) -> Result<ControlKey, VaultError> {
        let _lock = store::lock(&self.folder)?;
        let (text, file) = self.load(RESERVED_PROFILE)?.ok_or_else(|| self.no_fleet_key())?;
        let (name, standing) = match (file.entry(CURRENT), file.entry(NEXT)) {
            (None, _) => (CURRENT, Standing::Current),
            (Some(_), None) => (NEXT, Standing::Next),
            (Some(_), Some(_)) => {
                return Err(refused("a rotation is under way", "finish it: `claw rotate ssh --finish`"));
            }
        };
        let (private, public) = generate()?;
        let fleet_key = self.fleet_key(&what(RESERVED_PROFILE, name))?;
        let entry = Entry { updated: today.to_owned(), public: Some(public.to_string()), ..Entry::named(name) };
        let entry = self.sealed(&fleet_key, RESERVED_PROFILE, entry, &private, recipients)?;
        self.write(RESERVED_PROFILE, &edit::put(&text, &entry), false)?;
        Ok(ControlKey { standing, public, since: today.to_owned() })
    }

    /// Forgets the next key: it lay where a leaked one lay.
    pub fn control_discard(&self) -> Result<(), VaultError> {
        let _lock = store::lock(&self.folder)?;
        let (text, _) = self.load(RESERVED_PROFILE)?.ok_or_else(|| self.no_fleet_key())?;
        self.write(RESERVED_PROFILE, &edit::remove(&text, NEXT), false)
    }

    /// Makes the next key the current one, and the current one a retired one.
    pub fn control_finish(&self, recipients: &[Recipient]) -> Result<(), VaultError> {
        let _lock = store::lock(&self.folder)?;
        let (mut text, file) = self.load(RESERVED_PROFILE)?.ok_or_else(|| self.no_fleet_key())?;
        let fleet_key = self.fleet_key(&what(RESERVED_PROFILE, NEXT))?;
        let free = (1..=RETIRED_MAX).map(|n| format!("{RETIRED}{n}")).find(|name| file.entry(name).is_none());
        let free = free.ok_or_else(|| {
            refused("too many retired keys wait for hosts", "reach those hosts, or take them out of the fleet")
        })?;
        for (from, to) in [(CURRENT, free.as_str()), (NEXT, CURRENT)] {
            let Some(old) = file.entry(from) else {
                return Err(refused("there is no next key", "begin with `claw rotate ssh`"));
            };
            let private = self.private(old)?;
            let entry = Entry { key: to.to_owned(), seq: file.entry(to).map_or(0, |entry| entry.seq), ..old.clone() };
            text = edit::put(&text, &self.sealed(&fleet_key, RESERVED_PROFILE, entry, &private, recipients)?);
        }
        self.write(RESERVED_PROFILE, &edit::remove(&text, NEXT), false)
    }

    /// Removes a retired key that no host needs any more.
    pub fn control_drop(&self, key: &ControlKey) -> Result<(), VaultError> {
        let _lock = store::lock(&self.folder)?;
        let (text, file) = self.load(RESERVED_PROFILE)?.ok_or_else(|| self.no_fleet_key())?;
        let name = name_of(&file, key)?;
        if !name.starts_with(RETIRED) {
            return Err(refused("the key is in use", "only retired keys are dropped"));
        }
        self.write(RESERVED_PROFILE, &edit::remove(&text, &name), false)
    }

    fn private(&self, entry: &Entry) -> Result<SecretString, VaultError> {
        let named = what(RESERVED_PROFILE, &entry.key);
        let fleet_key = self.fleet_key(&named)?;
        let ciphertext = self.verified(&fleet_key, RESERVED_PROFILE, entry)?;
        let private = self.decrypt(RESERVED_PROFILE, entry, &ciphertext)?;
        let garbled = |why| VaultError::Garbled { what: named.clone(), why };
        let key = PrivateKey::from_openssh(private.expose_secret()).map_err(|_| garbled("it is no OpenSSH key"))?;
        let public = key.public_key().to_openssh().unwrap_or_default().parse::<PublicKey>();
        if public.ok() != public_of(entry).ok() {
            return Err(garbled("the public key beside it is another one: somebody edited the file"));
        }
        Ok(private)
    }
}

/// Returns the login keys that the text of a reserved profile shows. Nothing is verified.
pub fn login_keys_in(text: &str) -> Result<Vec<ControlKey>, VaultError> {
    control_keys(&parse_profile(text, "claw.toml")?)
}

fn refused(what: &'static str, help: &'static str) -> VaultError {
    VaultError::Argument { what, help }
}

/// Makes an ed25519 key pair from the system's randomness.
fn generate() -> Result<(SecretString, PublicKey), VaultError> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::getrandom(seed.as_mut_slice()).map_err(|_| VaultError::Encrypt {
        what: what(RESERVED_PROFILE, CURRENT),
        source: std::io::Error::other("the system has no randomness to give"),
    })?;
    Ok(key_pair(&seed, "claw"))
}

fn control_keys(file: &ProfileFile) -> Result<Vec<ControlKey>, VaultError> {
    let mut keys = Vec::new();
    for entry in &file.entries {
        let standing = match entry.key.as_str() {
            CURRENT => Standing::Current,
            NEXT => Standing::Next,
            name if name.starts_with(RETIRED) => Standing::Retired,
            _ => continue,
        };
        keys.push(ControlKey { standing, public: public_of(entry)?, since: entry.updated.clone() });
    }
    keys.sort_by_key(|key| key.standing);
    Ok(keys)
}

fn public_of(entry: &Entry) -> Result<PublicKey, VaultError> {
    let text = entry.public.as_deref().unwrap_or_default();
    text.parse().map_err(|_| VaultError::Garbled {
        what: what(RESERVED_PROFILE, &entry.key),
        why: "its public key is missing or none",
    })
}

fn name_of(file: &ProfileFile, key: &ControlKey) -> Result<String, VaultError> {
    let found = file.entries.iter().find(|entry| public_of(entry).is_ok_and(|public| public == key.public));
    found.map(|entry| entry.key.clone()).ok_or_else(|| VaultError::NoKey {
        profile: RESERVED_PROFILE.to_owned(),
        key: key.public.fingerprint(),
        near: None,
    })
}

#[cfg(test)]
mod tests;
