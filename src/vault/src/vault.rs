//! Gives out values and derived secrets, each checked before it is trusted. Writes nothing.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use claw_core::mask::Known;
use claw_core::secret::{Fingerprint, SecretError, SecretName, SecretSource, Secrets};
use secrecy::{ExposeSecret, SecretString};

use crate::cipher::{self, OpenError};
use crate::derive::{Bound, FleetKey};
use crate::error::VaultError;
use crate::identity::Identities;
use crate::names::{FLEET_KEY, RESERVED_PROFILE, is_profile_name, near, printable};
use crate::profile::{Entry, ProfileFile, fingerprints, parse_profile};
use crate::recipient::Recipient;
use crate::rotate::FLEET_KEY_NEXT;
use crate::store;

/// A fleet's secrets folder and the identities that open it.
///
/// Files are read when they are first asked for and then kept, and a value is decrypted at most once: a vault shows
/// one state of the folder and is opened anew for each run. What this vault itself writes it sees at once.
pub struct Vault {
    pub(crate) folder: PathBuf,
    pub(crate) fleet: String,
    pub(crate) identities: Identities,
    /// Learns every value that is opened, sealed or derived here.
    pub(crate) known: Known,
    seen: Mutex<Seen>,
    /// How many ciphertexts were opened.
    #[cfg(test)]
    opened: std::sync::atomic::AtomicUsize,
}

/// What was read and opened so far.
#[derive(Default)]
struct Seen {
    files: HashMap<String, Arc<ProfileFile>>,
    values: HashMap<SecretName, SecretString>,
    fleet_key: Option<Arc<FleetKey>>,
}

impl Vault {
    /// Opens the secrets folder of a fleet. Reads nothing yet; the folder may be missing. What is opened becomes `known`.
    pub fn open(
        folder: &Path,
        fleet_id: &str,
        identities: Option<Identities>,
        known: &Known,
    ) -> Result<Self, VaultError> {
        if folder.exists() && !folder.is_dir() {
            return Err(VaultError::Unreadable {
                path: folder.to_owned(),
                source: std::io::ErrorKind::NotADirectory.into(),
            });
        }
        Ok(Self {
            folder: folder.to_owned(),
            fleet: fleet_id.to_owned(),
            identities: identities.unwrap_or_default(),
            known: known.clone(),
            seen: Mutex::default(),
            #[cfg(test)]
            opened: std::sync::atomic::AtomicUsize::default(),
        })
    }

    /// Returns the names of the profiles on disk, sorted, without the reserved one.
    pub fn profiles(&self) -> Result<Vec<String>, VaultError> {
        store::profiles(&self.folder)
    }

    /// Returns what a profile's file shows, in its order. Needs no identity; nothing of it is verified.
    pub fn list(&self, profile: &str) -> Result<Vec<Entry>, VaultError> {
        Ok(self.file(profile)?.entries.clone())
    }

    /// Returns the keys of a profile in the order of its file. Needs no identity.
    pub fn key_names(&self, profile: &str) -> Result<Vec<String>, VaultError> {
        let file = self.file(profile)?;
        Ok(file.entries.iter().map(|entry| entry.key.clone()).collect())
    }

    /// Returns a value, once its MAC has shown that a member of the fleet put it there.
    pub fn get(&self, profile: &str, key: &str) -> Result<SecretString, VaultError> {
        refuse_reserved(profile)?;
        let file = self.file(profile)?;
        let entry = find(&file, key)?;
        let name = SecretName { profile: profile.to_owned(), key: key.to_owned() };
        if let Some(value) = self.seen().values.get(&name) {
            return Ok(value.clone());
        }
        let fleet_key = self.fleet_key(&name.to_string())?;
        let ciphertext = self.verified(&fleet_key, profile, entry)?;
        // Held across the decryption, so that two threads that ask for one value decrypt it once.
        let mut seen = self.seen();
        if let Some(value) = seen.values.get(&name) {
            return Ok(value.clone());
        }
        let value = self.decrypt(profile, entry, &ciphertext)?;
        seen.values.insert(name, value.clone());
        Ok(value)
    }

    /// Checks a value's MAC without opening the value. Needs an identity that opens the fleet key. Takes the
    /// reserved profile too.
    pub fn verify(&self, profile: &str, key: &str) -> Result<(), VaultError> {
        let file = self.file(profile)?;
        let entry = find(&file, key)?;
        let fleet_key = self.fleet_key(&what(profile, key))?;
        self.verified(&fleet_key, profile, entry).map(drop)
    }

    /// Returns an agent's gateway token of its current generation.
    pub fn gateway_token(&self, agent: &str) -> Result<SecretString, VaultError> {
        let fleet_key = self.fleet_key(&SecretSource::GatewayToken(agent.to_owned()).to_string())?;
        let token = fleet_key.gateway_token(agent, self.gateway_generation(agent)?);
        self.known.add(&SecretSource::GatewayToken(agent.to_owned()).to_string(), token.expose_secret());
        Ok(token)
    }

    /// Returns the text of every profile's file, the reserved one included, as it is on disk. Needs no identity.
    pub fn files(&self) -> Result<Vec<(String, String)>, VaultError> {
        let mut names = self.profiles()?;
        names.push(RESERVED_PROFILE.to_owned());
        let text = |name: String| Ok(store::read(&store::path_of(&self.folder, &name))?.map(|text| (name, text)));
        names.into_iter().filter_map(|name| text(name).transpose()).collect()
    }

    /// Returns the MAC of a saved plan, in base64: whoever holds the fleet key made it.
    pub fn sign_plan(&self, plan: &[u8]) -> Result<String, VaultError> {
        Ok(self.fleet_key("the plan's signature")?.sign_plan(plan))
    }

    /// Returns whether `mac` is the MAC of this plan.
    pub fn verify_plan(&self, plan: &[u8], mac: &str) -> Result<bool, VaultError> {
        Ok(self.fleet_key("the plan's signature")?.verify_plan(plan, mac))
    }

    /// Returns a keyed digest of what was seen of a thing, secrets included: it can be shown.
    pub fn sight(&self, bytes: &[u8]) -> Result<String, VaultError> {
        Ok(self.fleet_key("what was seen")?.sight(bytes))
    }

    /// Returns the generation of an agent's gateway token: 1 where the file says nothing. Needs no identity.
    pub fn gateway_generation(&self, agent: &str) -> Result<u32, VaultError> {
        let file = self.reserved()?;
        Ok(file.gateway_generations.get(agent).copied().unwrap_or(1))
    }

    /// Returns a profile's file, with the fleet and the name in it checked.
    fn file(&self, profile: &str) -> Result<Arc<ProfileFile>, VaultError> {
        if let Some(file) = self.seen().files.get(profile) {
            return Ok(Arc::clone(file));
        }
        let Some((_, file)) = self.load(profile)? else {
            let near = near(profile, self.profiles()?.iter().map(String::as_str));
            return Err(VaultError::NoProfile { profile: profile.to_owned(), near });
        };
        let file = Arc::new(file);
        let mut seen = self.seen();
        seen.files.insert(profile.to_owned(), Arc::clone(&file));
        Ok(file)
    }

    /// Reads a profile's file from disk, past what was seen; `None` where there is none.
    pub(crate) fn load(&self, profile: &str) -> Result<Option<(String, ProfileFile)>, VaultError> {
        check_profile_name(profile)?;
        let path = store::path_of(&self.folder, profile);
        let Some(text) = store::read(&path)? else {
            return Ok(None);
        };
        let file = parse_profile(&text, &path.display().to_string())?;
        if file.fleet != self.fleet {
            return Err(VaultError::OtherFleet { path, found: file.fleet, expected: self.fleet.clone() });
        }
        if file.profile != profile {
            let found = file.profile;
            return Err(VaultError::OtherProfile { path, found });
        }
        Ok(Some((text, file)))
    }

    fn has_next(&self) -> bool {
        self.file(RESERVED_PROFILE).is_ok_and(|file| file.entry(FLEET_KEY_NEXT).is_some())
    }

    /// Returns the public keys of the identities at hand, as far as they are known.
    pub(crate) fn own_recipients(&self) -> Vec<Recipient> {
        self.identities.recipients()
    }

    /// Whether it cannot be told yet whose an identity at hand is: it is under a passphrase.
    pub(crate) fn is_anybody(&self) -> bool {
        self.identities.has_unnamed()
    }

    fn reserved(&self) -> Result<Arc<ProfileFile>, VaultError> {
        self.file(RESERVED_PROFILE).map_err(|error| match error {
            VaultError::NoProfile { .. } => self.no_fleet_key(),
            other => other,
        })
    }

    pub(crate) fn no_fleet_key(&self) -> VaultError {
        VaultError::NoFleetKey { path: store::path_of(&self.folder, RESERVED_PROFILE) }
    }

    /// Returns the fleet key. `purpose` is what it is needed for, told where no identity is at hand.
    pub(crate) fn fleet_key(&self, purpose: &str) -> Result<Arc<FleetKey>, VaultError> {
        if let Some(key) = &self.seen().fleet_key {
            return Ok(Arc::clone(key));
        }
        let file = self.reserved()?;
        let entry = file.entry(FLEET_KEY).ok_or_else(|| self.no_fleet_key())?;
        if self.identities.is_empty() {
            return Err(self.no_identity(purpose));
        }
        let ciphertext = unarmor(RESERVED_PROFILE, entry)?;
        let text = self.decrypt(RESERVED_PROFILE, entry, &ciphertext)?;
        let key = FleetKey::from_base64(&text).ok_or_else(|| VaultError::Garbled {
            what: what(RESERVED_PROFILE, FLEET_KEY),
            why: "it is not 32 bytes in base64",
        })?;
        // It has to be opened before its MAC can be checked: the MAC is under the key itself.
        self.verified(&key, RESERVED_PROFILE, entry)?;
        let key = Arc::new(key);
        self.seen().fleet_key = Some(Arc::clone(&key));
        Ok(key)
    }

    /// Checks an entry's MAC and returns its ciphertext, binary.
    pub(crate) fn verified(&self, fleet_key: &FleetKey, profile: &str, entry: &Entry) -> Result<Vec<u8>, VaultError> {
        let ciphertext = unarmor(profile, entry)?;
        let bound = self.bound(profile, entry, &ciphertext);
        if fleet_key.verify(&bound, &entry.mac) {
            return Ok(ciphertext);
        }
        // while a rotation of the fleet key is unfinished, either key counts
        if self.has_next() && self.next_fleet_key(fleet_key)?.is_some_and(|next| next.verify(&bound, &entry.mac)) {
            return Ok(ciphertext);
        }
        Err(VaultError::BadMac { what: what(profile, &entry.key) })
    }

    pub(crate) fn bound<'a>(&'a self, profile: &'a str, entry: &'a Entry, ciphertext: &'a [u8]) -> Bound<'a> {
        Bound {
            fleet: &self.fleet,
            profile,
            key: &entry.key,
            seq: entry.seq,
            to: &entry.to,
            read_by: &entry.read_by,
            hosts: &entry.hosts,
            ciphertext,
        }
    }

    pub(crate) fn decrypt(&self, profile: &str, entry: &Entry, ciphertext: &[u8]) -> Result<SecretString, VaultError> {
        let what = what(profile, &entry.key);
        if self.identities.is_empty() {
            return Err(self.no_identity(&what));
        }
        #[cfg(test)]
        self.opened.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let value = self.try_identities(&what, &entry.to, |identities| cipher::open(ciphertext, identities))?;
        self.learn(profile, &entry.key, &value);
        Ok(value)
    }

    /// Opens something with the identities at hand, and then with those under a passphrase that fit its recipients.
    pub(crate) fn try_identities<T>(
        &self,
        what: &str,
        to: &[String],
        open: impl Fn(&Identities) -> Result<T, OpenError>,
    ) -> Result<T, VaultError> {
        let what = what.to_owned();
        let mut opened = open(&self.identities);
        let mut stays_locked = None;
        for locked in self.identities.locked_for(to) {
            if !matches!(opened, Err(OpenError::NotOurs)) {
                break;
            }
            match locked.open() {
                Some(identities) => opened = open(identities),
                None => stays_locked = Some(locked.file().to_owned()),
            }
        }
        match (opened, stays_locked) {
            (Ok(value), _) => Ok(value),
            (Err(OpenError::Garbled(why)), _) => Err(VaultError::Garbled { what, why }),
            (Err(OpenError::NotOurs), Some(file)) => Err(VaultError::Locked { what, file }),
            (Err(OpenError::NotOurs), None) => Err(VaultError::OtherRecipient {
                what,
                to: to.to_vec(),
                ours: fingerprints(&self.identities.recipients()),
            }),
        }
    }

    pub(crate) fn identities(&self) -> &Identities {
        &self.identities
    }

    pub(crate) fn no_identity(&self, what: &str) -> VaultError {
        VaultError::NoIdentity { what: what.to_owned(), notes: self.identities.notes().to_vec() }
    }

    /// Forgets what was seen of a profile, after its file was written.
    pub(crate) fn forget(&self, profile: &str) {
        let mut seen = self.seen();
        seen.files.remove(profile);
        seen.values.retain(|name, _| name.profile != profile);
        if profile == RESERVED_PROFILE {
            seen.fleet_key = None;
        }
    }

    /// A thread that panicked in here left at worst less in the cache.
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Secrets for Vault {
    fn reveal(&self, source: &SecretSource) -> Result<SecretString, SecretError> {
        let value = match source {
            SecretSource::Profile(name) => self.get(&name.profile, &name.key),
            SecretSource::GatewayToken(agent) => self.gateway_token(agent),
        };
        Ok(value?)
    }

    fn fingerprint(&self, value: &[u8]) -> Result<Fingerprint, SecretError> {
        let fleet_key = self.fleet_key("the fleet key, which compares values")?;
        Ok(fleet_key.fingerprint(value))
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault")
            .field("folder", &self.folder)
            .field("fleet", &self.fleet)
            .field("identities", &self.identities)
            .finish_non_exhaustive()
    }
}

/// Returns the name of a value as errors show it.
pub(crate) fn what(profile: &str, key: &str) -> String {
    format!("{profile}/{key}")
}

pub(crate) fn find<'f>(file: &'f ProfileFile, key: &str) -> Result<&'f Entry, VaultError> {
    file.entry(key).ok_or_else(|| VaultError::NoKey {
        profile: file.profile.clone(),
        key: printable(key),
        near: near(key, file.entries.iter().map(|entry| entry.key.as_str())),
    })
}

pub(crate) fn unarmor(profile: &str, entry: &Entry) -> Result<Vec<u8>, VaultError> {
    cipher::unarmor(&entry.age).map_err(|error| VaultError::Garbled {
        what: what(profile, &entry.key),
        why: match error {
            OpenError::Garbled(why) => why,
            OpenError::NotOurs => "the armour does not decode",
        },
    })
}

pub(crate) fn check_profile_name(profile: &str) -> Result<(), VaultError> {
    if is_profile_name(profile) {
        return Ok(());
    }
    Err(VaultError::ProfileName { name: printable(profile) })
}

pub(crate) fn refuse_reserved(profile: &str) -> Result<(), VaultError> {
    match profile {
        RESERVED_PROFILE => Err(VaultError::Reserved),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tampering;
#[cfg(test)]
mod tests;
