//! Replaces the fleet key. Opens no value but the key itself: a MAC binds a ciphertext, so every holder of the key can move
//! all profiles, whoever their values are for.
//!
//! Files are written one after the other, each whole. So that nothing is lost to a kill in between, the new key is first
//! kept beside the old one, as `fleet_key_next` under the old key's MAC; while it is there, a MAC under either of them
//! counts. Then the profiles move. The last write makes the new key the fleet key and moves the rest of the reserved
//! profile with it. A run that was killed is finished by the next one, with the same new key.

use std::sync::Arc;

use crate::change::{check_date, checked_recipients};
use crate::derive::FleetKey;
use crate::edit;
use crate::error::VaultError;
use crate::names::{FLEET_KEY, RESERVED_PROFILE};
use crate::profile::{Entry, ProfileFile};
use crate::recipient::Recipient;
use crate::store;
use crate::vault::{Vault, unarmor, what};

/// The key in the reserved profile under which the new fleet key waits.
pub(crate) const FLEET_KEY_NEXT: &str = "fleet_key_next";

/// What became of the values when the fleet key was replaced.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Moved {
    /// Whether an earlier run was finished.
    pub finished: bool,
    /// How many values are under the new key now.
    pub values: usize,
    /// Those nobody vouched for before, and nobody does now: `PROFILE/KEY`.
    pub held: Vec<String>,
}

impl Vault {
    /// Makes a new fleet key and puts every value under it; finishes what an earlier run began. `recipients` are those of
    /// the reserved profile. Values, their numbers and their readers stay as they are; what no member vouched for stays
    /// so. Gateway tokens are derived from the key, and are others from then on.
    pub fn rotate_fleet_key(&self, recipients: &[Recipient], today: &str) -> Result<Moved, VaultError> {
        let recipients = checked_recipients(recipients)?;
        check_date(today)?;
        let lock = store::lock(&self.folder)?;
        self.forget(RESERVED_PROFILE);
        let old = self.fleet_key("the fleet key")?;
        let begun = self.next_fleet_key(&old)?;
        let mut moved = Moved { finished: begun.is_some(), ..Moved::default() };
        let new = match begun {
            Some(key) => key,
            None => self.begin_fleet_key(&old, &recipients, today)?,
        };
        for profile in self.profiles()? {
            let (text, file) = self.loaded(&profile)?;
            let text = self.moved(&file, text, (&old, &new), &mut moved)?;
            self.write(&profile, &text, false)?;
        }
        let was_read = self.next_was_read(&recipients)?;
        self.finish_fleet_key((&old, &new), &recipients, today, &mut moved)?;
        drop(lock);
        if was_read {
            // who could read the key of the run that was interrupted may know it: it does not stay
            let again = self.rotate_fleet_key(&recipients, today)?;
            return Ok(Moved { finished: true, ..again });
        }
        Ok(moved)
    }

    /// Whether somebody who is no recipient now could read the next key.
    fn next_was_read(&self, recipients: &[Recipient]) -> Result<bool, VaultError> {
        let (_, file) = self.loaded(RESERVED_PROFILE)?;
        Ok(file.entry(FLEET_KEY_NEXT).is_some_and(|entry| !entry.former_readers(recipients).is_empty()))
    }

    /// Keeps the new key beside the old one, before anything is under it.
    fn begin_fleet_key(&self, old: &FleetKey, to: &[Recipient], today: &str) -> Result<Arc<FleetKey>, VaultError> {
        let new = FleetKey::generate()
            .map_err(|source| VaultError::Encrypt { what: what(RESERVED_PROFILE, FLEET_KEY), source })?;
        let (text, _) = self.loaded(RESERVED_PROFILE)?;
        let entry = Entry { updated: today.to_owned(), ..Entry::named(FLEET_KEY_NEXT) };
        let entry = self.sealed(old, RESERVED_PROFILE, entry, &new.to_base64(), to)?;
        self.write(RESERVED_PROFILE, &edit::put(&text, &entry), false)?;
        Ok(Arc::new(new))
    }

    /// Makes the new key the fleet key, in one write.
    fn finish_fleet_key(
        &self,
        keys: (&FleetKey, &FleetKey),
        to: &[Recipient],
        today: &str,
        moved: &mut Moved,
    ) -> Result<(), VaultError> {
        let (text, file) = self.loaded(RESERVED_PROFILE)?;
        let others = file.entries.iter().filter(|entry| ![FLEET_KEY, FLEET_KEY_NEXT].contains(&entry.key.as_str()));
        let others = ProfileFile { entries: others.cloned().collect(), ..file.clone() };
        let text = edit::remove(&self.moved(&others, text, keys, moved)?, FLEET_KEY_NEXT);
        let old = file.entry(FLEET_KEY).cloned().ok_or_else(|| self.no_fleet_key())?;
        // who could read the older key has not read this one
        let entry = Entry { updated: today.to_owned(), to: Vec::new(), read_by: Vec::new(), ..old };
        let entry = self.sealed(keys.1, RESERVED_PROFILE, entry, &keys.1.to_base64(), to)?;
        self.write(RESERVED_PROFILE, &edit::put(&text, &entry), false)
    }

    /// Returns the text of a profile with every MAC that holds made anew under the new key.
    fn moved(
        &self,
        file: &ProfileFile,
        mut text: String,
        (old, new): (&FleetKey, &FleetKey),
        moved: &mut Moved,
    ) -> Result<String, VaultError> {
        for entry in &file.entries {
            let ciphertext = unarmor(&file.profile, entry)?;
            let bound = self.bound(&file.profile, entry, &ciphertext);
            let is_new = new.verify(&bound, &entry.mac);
            if !is_new && !old.verify(&bound, &entry.mac) {
                moved.held.push(what(&file.profile, &entry.key));
                continue;
            }
            moved.values += 1;
            if !is_new {
                text = edit::put(&text, &Entry { mac: new.sign(&bound), ..entry.clone() });
            }
        }
        Ok(text)
    }

    /// Returns the fleet key that an unfinished rotation moves to; nothing where none is under way.
    pub(crate) fn next_fleet_key(&self, old: &FleetKey) -> Result<Option<Arc<FleetKey>>, VaultError> {
        let Some((_, file)) = self.load(RESERVED_PROFILE)? else { return Ok(None) };
        let Some(entry) = file.entry(FLEET_KEY_NEXT) else { return Ok(None) };
        let ciphertext = unarmor(RESERVED_PROFILE, entry)?;
        if !old.verify(&self.bound(RESERVED_PROFILE, entry, &ciphertext), &entry.mac) {
            return Err(VaultError::BadMac { what: what(RESERVED_PROFILE, FLEET_KEY_NEXT) });
        }
        let text = self.decrypt(RESERVED_PROFILE, entry, &ciphertext)?;
        let garbled = || VaultError::Garbled {
            what: what(RESERVED_PROFILE, FLEET_KEY_NEXT),
            why: "it is not 32 bytes in base64",
        };
        Ok(Some(Arc::new(FleetKey::from_base64(&text).ok_or_else(garbled)?)))
    }

    /// Whether the identities at hand may open what is encrypted to these recipients.
    pub fn is_member(&self, recipients: &[Recipient]) -> bool {
        self.is_anybody() || self.own_recipients().iter().any(|own| recipients.contains(own))
    }
}

#[cfg(test)]
mod tests;
