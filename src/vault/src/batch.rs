//! Changes several values of a profile at once, all or none, from what was seen of it before. Gives values out only to be
//! changed and put back.

use secrecy::{ExposeSecret, SecretString};

use crate::change::{check_date, check_key, check_owner, check_value, checked_recipients};
use crate::edit;
use crate::error::VaultError;
use crate::names::VALUES_MAX;
use crate::profile::{Entry, ProfileFile};
use crate::recipient::Recipient;
use crate::store;
use crate::vault::{Vault, check_profile_name, find, refuse_reserved, what};

/// A profile as it was at one moment.
#[derive(Debug)]
pub struct Snapshot {
    profile: String,
    file: Option<ProfileFile>,
}

impl Snapshot {
    /// Returns the keys in the order of the file.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.file.iter().flat_map(|file| &file.entries).map(|entry| entry.key.as_str())
    }

    fn entry(&self, key: &str) -> Option<&Entry> {
        self.file.as_ref()?.entry(key)
    }
}

/// What to do with a profile's values.
#[derive(Debug, Default)]
pub struct Changes {
    /// The values to write.
    pub set: Vec<(String, SecretString)>,
    /// The keys to remove.
    pub remove: Vec<String>,
}

impl Changes {
    /// Returns what leads from one list of values to another: only what differs.
    #[must_use]
    pub fn between(old: &[(String, SecretString)], new: Vec<(String, SecretString)>) -> Self {
        let known = |key: &str| old.iter().find(|(other, _)| other == key).map(|(_, value)| value.expose_secret());
        let gone = old.iter().map(|(key, _)| key).filter(|key| !new.iter().any(|(other, _)| other == *key));
        let remove = gone.cloned().collect();
        let differs = |(key, value): &(String, SecretString)| known(key) != Some(value.expose_secret());
        Self { set: new.into_iter().filter(differs).collect(), remove }
    }

    /// Returns whether nothing is to be done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.remove.is_empty()
    }
}

impl Vault {
    /// Returns what a profile's file says now; one that is missing has no keys. Needs no identity.
    pub fn snapshot(&self, profile: &str) -> Result<Snapshot, VaultError> {
        refuse_reserved(profile)?;
        check_profile_name(profile)?;
        Ok(Snapshot { profile: profile.to_owned(), file: self.load(profile)?.map(|(_, file)| file) })
    }

    /// Returns a value as it was in a snapshot, once its MAC has shown that a member of the fleet put it there.
    pub fn value_in(&self, snapshot: &Snapshot, key: &str) -> Result<SecretString, VaultError> {
        let profile = &snapshot.profile;
        let missing = || VaultError::NoProfile { profile: profile.clone(), near: None };
        let entry = find(snapshot.file.as_ref().ok_or_else(missing)?, key)?;
        let fleet_key = self.fleet_key(&what(profile, key))?;
        let ciphertext = self.verified(&fleet_key, profile, entry)?;
        self.decrypt(profile, entry, &ciphertext)
    }

    /// Does all of the changes or none. A key that is no longer as the snapshot has it stops them; others may have
    /// changed meanwhile and stay as they now are. Sections that are not named keep every byte.
    pub fn change(
        &self,
        snapshot: &Snapshot,
        changes: &Changes,
        recipients: &[Recipient],
        owner: Option<&str>,
        today: &str,
    ) -> Result<(), VaultError> {
        let profile = snapshot.profile.as_str();
        for (key, value) in &changes.set {
            check_key(key)?;
            check_value(&what(profile, key), value)?;
        }
        check_owner(owner)?;
        check_date(today)?;
        let recipients = checked_recipients(recipients)?;
        let fleet_key = self.fleet_key(&format!("the values of {profile}"))?;

        let _lock = store::lock(&self.folder)?;
        let (mut text, now) = match self.load(profile)? {
            Some((text, file)) => (text, Some(file)),
            None => (edit::blank(&self.fleet, profile), None),
        };
        let current = |key: &str| now.as_ref().and_then(|file| file.entry(key));
        for key in changes.set.iter().map(|(key, _)| key).chain(&changes.remove) {
            if current(key) != snapshot.entry(key) {
                return Err(VaultError::Changed { what: what(profile, key) });
            }
        }
        let added = changes.set.iter().filter(|(key, _)| current(key).is_none()).count();
        let count = now.as_ref().map_or(0, |file| file.entries.len()) + added;
        if count.saturating_sub(changes.remove.len()) > VALUES_MAX {
            return Err(VaultError::Full { profile: profile.to_owned() });
        }
        for key in changes.remove.iter().filter(|key| current(key).is_some()) {
            text = edit::remove(&text, key);
        }
        for (key, value) in &changes.set {
            // who could read the older value has not read this one
            let old = current(key).cloned().unwrap_or_else(|| Entry::named(key));
            let hosts = self.vouched_hosts(&fleet_key, profile, &old);
            let old = Entry { to: Vec::new(), read_by: Vec::new(), hosts, ..old };
            let entry =
                Entry { owner: owner.map(str::to_owned).or(old.owner.clone()), updated: today.to_owned(), ..old };
            text = edit::put(&text, &self.sealed(&fleet_key, profile, entry, value, &recipients)?);
        }
        self.write(profile, &text, false)
    }
}

#[cfg(test)]
mod tests;
