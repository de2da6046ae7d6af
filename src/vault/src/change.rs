//! Changes profile files: sets, removes, re-encrypts and accepts values, makes the fleet key. Gives out no value.

use secrecy::{ExposeSecret, SecretString};

use crate::cipher;
use crate::derive::FleetKey;
use crate::edit;
use crate::error::VaultError;
use crate::names::{
    FLEET_KEY, FORMER_MAX, HOSTS_MAX, RECIPIENTS_MAX, RESERVED_PROFILE, VALUE_BYTES_MAX, VALUES_MAX, is_date,
    is_host_pattern, is_id, is_key_name, is_owner, printable,
};
use crate::profile::{Entry, ProfileFile, fingerprints, parse_profile};
use crate::recipient::Recipient;
use crate::store;
use crate::vault::{Vault, check_profile_name, find, refuse_reserved, unarmor, what};

impl Vault {
    /// Makes the reserved profile with a new fleet key. Needs no identity; `today` is an ISO date. Refuses where the
    /// file exists.
    pub fn init(&self, recipients: &[Recipient], today: &str) -> Result<(), VaultError> {
        let recipients = checked_recipients(recipients)?;
        check_date(today)?;
        if !is_id(&self.fleet) {
            return Err(VaultError::Argument {
                what: "the fleet's id",
                help: "an id is up to 63 letters, digits, `_`, `-` and `.`",
            });
        }
        let fleet_key = FleetKey::generate()
            .map_err(|source| VaultError::Encrypt { what: what(RESERVED_PROFILE, FLEET_KEY), source })?;
        let entry = Entry { updated: today.to_owned(), ..Entry::named(FLEET_KEY) };
        let value = fleet_key.to_base64();
        let entry = self.sealed(&fleet_key, RESERVED_PROFILE, entry, &value, &recipients)?;
        let text = edit::put(&edit::blank(&self.fleet, RESERVED_PROFILE), &entry);
        let _lock = store::lock(&self.folder)?;
        self.write(RESERVED_PROFILE, &text, true)
    }

    /// Writes a value, encrypted to `recipients`; the profile's file is made where it is missing. An `owner` of
    /// `None` keeps the one there is. Returns the entry as it now stands.
    ///
    /// Needs an identity that opens the fleet key, for the MAC; none that opens the older value.
    pub fn set(
        &self,
        profile: &str,
        key: &str,
        value: &SecretString,
        recipients: &[Recipient],
        owner: Option<&str>,
        today: &str,
    ) -> Result<Entry, VaultError> {
        refuse_reserved(profile)?;
        check_profile_name(profile)?;
        check_key(key)?;
        check_value(&what(profile, key), value)?;
        check_owner(owner)?;
        check_date(today)?;
        let recipients = checked_recipients(recipients)?;
        let fleet_key = self.fleet_key(&what(profile, key))?;

        let _lock = store::lock(&self.folder)?;
        let (text, old) = match self.load(profile)? {
            Some((text, file)) => (text, self.old_entry(&file, key)?),
            None => (edit::blank(&self.fleet, profile), Entry::named(key)),
        };
        // Who could read the older value has not read this one.
        let hosts = self.vouched_hosts(&fleet_key, profile, &old);
        let old = Entry { to: Vec::new(), read_by: Vec::new(), hosts, ..old };
        let entry = Entry { owner: owner.map(str::to_owned).or(old.owner.clone()), updated: today.to_owned(), ..old };
        let entry = self.sealed(&fleet_key, profile, entry, value, &recipients)?;
        self.write(profile, &edit::put(&text, &entry), false)?;
        Ok(entry)
    }

    /// Says where a value may be sent: exactly to these hosts, or to the usual ones of its name where there are none. The
    /// value itself stays as it is. Returns the entry as it now stands; refuses one whose MAC does not hold.
    pub fn allow(&self, profile: &str, key: &str, hosts: &[String]) -> Result<Entry, VaultError> {
        refuse_reserved(profile)?;
        if hosts.len() > HOSTS_MAX || !hosts.iter().all(|host| is_host_pattern(host)) {
            let help = "write up to 20 host names in lower case, without scheme and port: llm.example, *.example, or *";
            return Err(VaultError::Argument { what: "the hosts", help });
        }
        let fleet_key = self.fleet_key(&what(profile, key))?;
        let _lock = store::lock(&self.folder)?;
        let (text, file) = self.loaded(profile)?;
        let entry = find(&file, key)?;
        let ciphertext = self.verified(&fleet_key, profile, entry)?;
        let mut hosts = hosts.to_vec();
        hosts.sort();
        hosts.dedup();
        let mut entry = Entry { hosts, seq: next(entry.seq), ..entry.clone() };
        entry.mac = fleet_key.sign(&self.bound(profile, &entry, &ciphertext));
        self.write(profile, &edit::put(&text, &entry), false)?;
        Ok(entry)
    }

    /// Returns the hosts of an entry if a member of the fleet put them there: a new value must not go where a stranger
    /// wrote.
    pub(crate) fn vouched_hosts(&self, fleet_key: &FleetKey, profile: &str, entry: &Entry) -> Vec<String> {
        let vouched = self.verified(fleet_key, profile, entry).is_ok();
        if vouched { entry.hosts.clone() } else { Vec::new() }
    }

    /// Removes a value. Needs no identity. The file stays, even without values.
    pub fn rm(&self, profile: &str, key: &str) -> Result<(), VaultError> {
        refuse_reserved(profile)?;
        let _lock = store::lock(&self.folder)?;
        let (text, file) = self.loaded(profile)?;
        find(&file, key)?;
        self.write(profile, &edit::remove(&text, key), false)
    }

    /// Encrypts again every value of a profile that is not for exactly these recipients, and returns their keys.
    /// The reserved profile may be named. All or none: one that does not open or verify stops it.
    ///
    /// `updated` stays as it is: re-encrypting is not rotating, and whoever was a recipient may know the values. They
    /// are noted in `read_by` until the value changes.
    pub fn rekey(&self, profile: &str, recipients: &[Recipient]) -> Result<Vec<String>, VaultError> {
        let recipients = checked_recipients(recipients)?;
        let fleet_key = self.fleet_key(&format!("the values of {profile}"))?;
        let _lock = store::lock(&self.folder)?;
        let (mut text, file) = self.loaded(profile)?;
        let mut keys = Vec::new();
        for entry in file.entries.iter().filter(|e| !e.is_for(&recipients)) {
            let ciphertext = self.verified(&fleet_key, profile, entry)?;
            let value = self.decrypt(profile, entry, &ciphertext)?;
            let entry = self.sealed(&fleet_key, profile, entry.clone(), &value, &recipients)?;
            text = edit::put(&text, &entry);
            keys.push(entry.key);
        }
        if !keys.is_empty() {
            self.write(profile, &text, false)?;
        }
        Ok(keys)
    }

    /// Returns what [`Self::accept`] would take over: an entry whose MAC does not hold and which opens. `None` where
    /// the MAC holds. Nothing in the entry is more than what its file claims.
    pub fn held(&self, profile: &str, key: &str) -> Result<Option<Entry>, VaultError> {
        refuse_reserved(profile)?;
        let fleet_key = self.fleet_key(&what(profile, key))?;
        let (_, file) = self.loaded(profile)?;
        let entry = find(&file, key)?;
        if self.is_held(&fleet_key, profile, entry)? {
            self.opened(profile, entry)?;
            return Ok(Some(entry.clone()));
        }
        Ok(None)
    }

    /// Takes over a value whose MAC does not hold, on the word of whoever opens it: it is opened, encrypted again to
    /// `recipients` (so that `to` tells the truth) and gets a MAC. Returns the entry as it now stands.
    ///
    /// `shown` is what [`Self::held`] gave and a person agreed to; another entry in its place is refused, and so is
    /// one whose MAC holds.
    pub fn accept(&self, profile: &str, shown: &Entry, recipients: &[Recipient]) -> Result<Entry, VaultError> {
        refuse_reserved(profile)?;
        let recipients = checked_recipients(recipients)?;
        let fleet_key = self.fleet_key(&what(profile, &shown.key))?;
        let _lock = store::lock(&self.folder)?;
        let (text, file) = self.loaded(profile)?;
        let entry = find(&file, &shown.key)?;
        if entry != shown || !self.is_held(&fleet_key, profile, entry)? {
            return Err(VaultError::Changed { what: what(profile, &shown.key) });
        }
        let value = self.opened(profile, entry)?;
        let entry = self.sealed(&fleet_key, profile, entry.clone(), &value, &recipients)?;
        self.write(profile, &edit::put(&text, &entry), false)?;
        Ok(entry)
    }

    fn is_held(&self, fleet_key: &FleetKey, profile: &str, entry: &Entry) -> Result<bool, VaultError> {
        match self.verified(fleet_key, profile, entry) {
            Ok(_) => Ok(false),
            Err(VaultError::BadMac { .. }) => Ok(true),
            Err(other) => Err(other),
        }
    }

    /// Returns a value without a look at its MAC.
    fn opened(&self, profile: &str, entry: &Entry) -> Result<SecretString, VaultError> {
        let value = self.decrypt(profile, entry, &unarmor(profile, entry)?)?;
        check_value(&what(profile, &entry.key), &value)?;
        Ok(value)
    }

    /// Moves an agent's gateway token to its next generation and returns that. Needs no identity.
    pub fn bump_gateway_token(&self, agent: &str) -> Result<u32, VaultError> {
        let invalid = |what, help| VaultError::Argument { what, help };
        if !is_id(agent) {
            let help = "an id is up to 63 letters, digits, `_`, `-` and `.`";
            return Err(invalid("the agent's id", help));
        }
        let _lock = store::lock(&self.folder)?;
        let (text, file) = self.load(RESERVED_PROFILE)?.ok_or_else(|| self.no_fleet_key())?;
        let old = file.gateway_generations.get(agent).copied().unwrap_or(1);
        let new = old
            .checked_add(1)
            .ok_or_else(|| invalid("the generation", "it cannot be counted on: rotate the fleet key"))?;
        self.write(RESERVED_PROFILE, &edit::set_generation(&text, agent, new), false)?;
        Ok(new)
    }

    /// Returns the entry to write over: the one there is, or an unwritten one where there is room for it.
    fn old_entry(&self, file: &ProfileFile, key: &str) -> Result<Entry, VaultError> {
        match file.entry(key) {
            Some(entry) => Ok(entry.clone()),
            None if file.entries.len() >= VALUES_MAX => Err(VaultError::Full { profile: file.profile.clone() }),
            None => Ok(Entry::named(key)),
        }
    }

    pub(crate) fn loaded(&self, profile: &str) -> Result<(String, ProfileFile), VaultError> {
        self.load(profile)?.ok_or_else(|| VaultError::NoProfile { profile: profile.to_owned(), near: None })
    }

    /// Returns the entry with the value sealed, counted and signed. Who was a recipient and is none now becomes a
    /// former reader.
    pub(crate) fn sealed(
        &self,
        fleet_key: &FleetKey,
        profile: &str,
        entry: Entry,
        value: &SecretString,
        recipients: &[Recipient],
    ) -> Result<Entry, VaultError> {
        self.learn(profile, &entry.key, value);
        let failed = |source| VaultError::Encrypt { what: what(profile, &entry.key), source };
        let age = cipher::seal(value.expose_secret().as_bytes(), recipients).map_err(failed)?;
        let seq = next(entry.seq);
        let mut read_by = entry.former_readers(recipients);
        read_by.truncate(FORMER_MAX);
        let mut entry = Entry { seq, to: fingerprints(recipients), read_by, age, ..entry };
        let ciphertext = unarmor(profile, &entry)?;
        entry.mac = fleet_key.sign(&self.bound(profile, &entry, &ciphertext));
        Ok(entry)
    }

    /// Writes a profile's file, once it was read back: what claw writes it can read.
    pub(crate) fn write(&self, profile: &str, text: &str, new: bool) -> Result<(), VaultError> {
        let path = store::path_of(&self.folder, profile);
        parse_profile(text, &path.display().to_string())?;
        store::write(&path, text, new)?;
        self.forget(profile);
        Ok(())
    }
}

/// Returns the count after one. What is written must read back: TOML counts to `i64::MAX`, and a stranger may have
/// written that.
fn next(seq: u64) -> u64 {
    seq.saturating_add(1).min(i64::MAX as u64)
}

/// Returns a text encrypted to every recipient, as age armour that the `age` program opens. It belongs to no profile.
pub fn seal_text(text: &str, recipients: &[Recipient]) -> Result<String, VaultError> {
    let recipients = checked_recipients(recipients)?;
    let failed = |source| VaultError::Encrypt { what: "the text".to_owned(), source };
    cipher::seal(text.as_bytes(), &recipients).map_err(failed)
}

/// Returns the recipients, each once.
pub(crate) fn checked_recipients(recipients: &[Recipient]) -> Result<Vec<Recipient>, VaultError> {
    let mut once: Vec<Recipient> = Vec::new();
    for recipient in recipients {
        if !once.contains(recipient) {
            once.push(recipient.clone());
        }
    }
    let count = once.len();
    if (1..=RECIPIENTS_MAX).contains(&count) {
        return Ok(once);
    }
    Err(VaultError::Recipients { count })
}

pub(crate) fn check_key(key: &str) -> Result<(), VaultError> {
    if is_key_name(key) {
        return Ok(());
    }
    Err(VaultError::KeyName { name: printable(key) })
}

pub(crate) fn check_value(what: &str, value: &SecretString) -> Result<(), VaultError> {
    let what = what.to_owned();
    match value.expose_secret().len() {
        0 => Err(VaultError::Empty { what }),
        length if length > VALUE_BYTES_MAX => Err(VaultError::TooLong { what }),
        _ => Ok(()),
    }
}

pub(crate) fn check_owner(owner: Option<&str>) -> Result<(), VaultError> {
    if owner.is_none_or(is_owner) {
        return Ok(());
    }
    Err(VaultError::Argument { what: "the owner", help: "it takes a name of up to 200 characters" })
}

pub(crate) fn check_date(today: &str) -> Result<(), VaultError> {
    if is_date(today) {
        return Ok(());
    }
    Err(VaultError::Argument { what: "the date", help: "it takes a date such as 2026-11-21" })
}

#[cfg(test)]
mod tests;
