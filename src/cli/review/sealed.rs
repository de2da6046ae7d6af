//! Tells secrets apart without opening one: by what stands in the profile files. Two versions share one book, in which
//! equal ciphertexts have equal numbers.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use claw_core::secret::{Fingerprint, SecretError, SecretSource, Secrets};
use claw_vault::{Entry, FLEET_KEY, RESERVED_PROFILE, Vault, VaultError};
use secrecy::SecretString;

/// Numbers for what was seen.
#[derive(Debug, Default)]
pub struct Book(Mutex<HashMap<Vec<u8>, u64>>);

/// The secrets of one version, closed.
pub struct Sealed<'a> {
    /// The version's profiles.
    pub vault: &'a Vault,
    /// The numbers.
    pub book: &'a Book,
}

impl Sealed<'_> {
    fn entry(&self, profile: &str, key: &str) -> Result<Option<Entry>, VaultError> {
        Ok(self.vault.list(profile)?.into_iter().find(|entry| entry.key == key))
    }

    fn sign(&self, source: &SecretSource) -> Result<String, VaultError> {
        let sealed = |entry: Option<Entry>| entry.map_or_else(String::new, |entry| entry.ciphertext().to_owned());
        Ok(match source {
            SecretSource::Profile(name) => sealed(self.entry(&name.profile, &name.key)?),
            SecretSource::GatewayToken(agent) => {
                let generation = self.vault.gateway_generation(agent)?;
                format!("{agent} {generation} {}", sealed(self.entry(RESERVED_PROFILE, FLEET_KEY)?))
            }
        })
    }
}

impl Secrets for Sealed<'_> {
    /// Gives what stands for the value: its ciphertext, never the value.
    fn reveal(&self, source: &SecretSource) -> Result<SecretString, SecretError> {
        Ok(SecretString::from(self.sign(source)?))
    }

    fn fingerprint(&self, value: &[u8]) -> Result<Fingerprint, SecretError> {
        let mut book = self.book.0.lock().unwrap_or_else(PoisonError::into_inner);
        let next = book.len() as u64;
        let number = *book.entry(value.to_vec()).or_insert(next);
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        Ok(Fingerprint(bytes))
    }
}
