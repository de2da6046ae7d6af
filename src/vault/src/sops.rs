//! Opens files that sops encrypted to age recipients, whole and checked: a file whose MAC does not hold gives nothing.
//! Writes none, and knows no other kind of key. The format is that of sops 3: https://getsops.io/docs/#encryption-protocol

mod read;
mod value;

use data_encoding::HEXUPPER;
use secrecy::SecretString;
use sha2::{Digest, Sha256, Sha512};
use zeroize::Zeroizing;

use self::read::{Metadata, Node};
use self::value::{DataKey, Plain};
use crate::cipher::{self, OpenError};
use crate::error::VaultError;
use crate::identity::Identities;
use crate::names::printable;
use crate::recipient::Recipient;
use crate::vault::Vault;

/// What a sops file holds.
pub struct SopsValues {
    /// What sops had encrypted, in the order of the file, under the names that [`Vault::open_sops`] makes.
    pub values: Vec<(String, SecretString)>,
    /// The names of what lies there in clear.
    pub clear: Vec<String>,
}

/// What is wrong with a sops file. Never holds a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SopsError {
    /// Not the format it looks like.
    #[error("line {line}: {why}")]
    Syntax {
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        why: String,
    },
    /// What sops can write and claw does not read.
    #[error("it has {0}, which claw does not read")]
    Unsupported(&'static str),
    /// No metadata of sops.
    #[error("it is not encrypted by sops: it has no `sops` section")]
    NotSops,
    /// A part of the metadata that must be there.
    #[error("its `sops` section has no `{0}`")]
    Metadata(&'static str),
    /// A value that does not open under its own name.
    #[error("the value `{name}` was changed or moved after sops wrote it")]
    Value {
        /// Its name, as claw makes it.
        name: String,
    },
    /// A value that is not text.
    #[error("the value `{name}` is not text")]
    NotText {
        /// Its name, as claw makes it.
        name: String,
    },
    /// The values are not those that sops wrote together.
    #[error("its MAC does not hold: something in it was changed, added or removed after sops wrote it")]
    Mac,
    /// Two values that come to one name.
    #[error("two of its values come to the key `{name}`")]
    Conflict {
        /// The name.
        name: String,
    },
}

impl SopsError {
    /// Says what to do.
    #[must_use]
    pub fn help(&self) -> String {
        match self {
            Self::Syntax { .. } => "claw reads what sops writes as YAML, JSON or dotenv",
            Self::Unsupported(_) => "decrypt it with sops itself, and import the result with `--dotenv -`",
            Self::NotSops => "encrypt it with sops first, or import it with `--dotenv`",
            Self::Metadata("age") => {
                "add an age recipient with `sops updatekeys`, or decrypt it with sops itself and use `--dotenv -`"
            }
            Self::Metadata(_) | Self::Value { .. } | Self::Mac => {
                "nothing was taken from it; look at its history in git, and at what `sops decrypt` says of it"
            }
            Self::NotText { .. } => "claw keeps texts: encode it, as in base64",
            Self::Conflict { .. } => "a: {b: …} becomes a_b; rename one of them with `sops edit`",
        }
        .to_owned()
    }
}

impl Vault {
    /// Opens a sops file, in YAML, JSON or dotenv, with the identities at hand, and checks its MAC. `file` is what errors
    /// call it.
    ///
    /// Names are the keys on the way to a value, joined with `_`; an element of a list is named by its number, from 0. Two
    /// values of one name are an error. What sops left in clear is only named.
    pub fn open_sops(&self, text: &str, file: &str) -> Result<SopsValues, VaultError> {
        let wrong = |problem| VaultError::Sops { file: printable(file), problem };
        let (tree, metadata) = read::file(text).map_err(wrong)?;
        if self.identities().is_empty() {
            return Err(self.no_identity(file));
        }
        let to: Vec<String> = metadata
            .age
            .iter()
            .filter_map(|(recipient, _)| Some(recipient.parse::<Recipient>().ok()?.fingerprint()))
            .collect();
        let key = self.try_identities(file, &to, |identities| data_key(&metadata, identities))?;
        let opened = DataKey::new(&key).and_then(|key| open(&tree, &metadata, &key));
        opened.map_err(wrong)
    }
}

/// Returns the key of the values, which is encrypted to each recipient for itself.
fn data_key(metadata: &Metadata, identities: &Identities) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    let open = |(_, enc): &(String, String)| cipher::open_bytes(&cipher::unarmor(enc)?, identities);
    let mut result = Err(OpenError::NotOurs);
    for entry in &metadata.age {
        match open(entry) {
            Err(OpenError::NotOurs) => {}
            Ok(key) => return Ok(key),
            Err(garbled) => result = Err(garbled),
        }
    }
    result
}

fn open(tree: &Node, metadata: &Metadata, key: &DataKey) -> Result<SopsValues, SopsError> {
    let mut mac = Sha512::new();
    if metadata.mac_only_encrypted {
        // So the two kinds of MAC are never equal.
        mac.update(Sha256::digest(b"sops"));
    }
    let found = SopsValues { values: Vec::new(), clear: Vec::new() };
    let mut walk = Walk { key, mac, only_encrypted: metadata.mac_only_encrypted, path: String::new(), found };
    walk.node(tree, "")?;
    let expected = key.open(&metadata.mac, &metadata.last_modified).ok_or(SopsError::Mac)?;
    if *expected.text != *HEXUPPER.encode(&walk.mac.finalize()).as_bytes() {
        return Err(SopsError::Mac);
    }
    Ok(walk.found)
}

/// Goes through the values in the order of the file, which the MAC is of.
struct Walk<'k> {
    key: &'k DataKey,
    mac: Sha512,
    only_encrypted: bool,
    /// The keys on the way, each with a `:` behind it: what sops binds a value to. Numbers are not in it.
    path: String,
    found: SopsValues,
}

impl Walk<'_> {
    fn node(&mut self, node: &Node, name: &str) -> Result<(), SopsError> {
        let joined = |part: &str| if name.is_empty() { part.to_owned() } else { format!("{name}_{part}") };
        match node {
            Node::Null => {}
            Node::Map(entries) => {
                for (key, value) in entries {
                    let length = self.path.len();
                    self.path.push_str(key);
                    self.path.push(':');
                    self.node(value, &joined(key))?;
                    self.path.truncate(length);
                }
            }
            Node::List(values) => {
                for (number, value) in values.iter().enumerate() {
                    self.node(value, &joined(&number.to_string()))?;
                }
            }
            Node::Text(text) if value::is_encrypted(text) => self.encrypted(text, name)?,
            Node::Text(text) => {
                if !self.only_encrypted {
                    self.mac.update(text.as_bytes());
                }
                if !text.is_empty() {
                    self.found.clear.push(printable(name));
                }
            }
        }
        Ok(())
    }

    fn encrypted(&mut self, text: &str, name: &str) -> Result<(), SopsError> {
        let shown = printable(name);
        let Some(Plain { text, is_bool }) = self.key.open(text, &self.path) else {
            return Err(SopsError::Value { name: shown });
        };
        self.mac.update(&*text);
        if self.found.values.iter().any(|(known, _)| known == name) {
            return Err(SopsError::Conflict { name: shown });
        }
        let text = std::str::from_utf8(&text).map_err(|_| SopsError::NotText { name: shown })?;
        let value = match text {
            // sops keeps Python's spelling within, and prints its own
            "True" if is_bool => "true",
            "False" if is_bool => "false",
            text => text,
        };
        self.found.values.push((name.to_owned(), SecretString::from(value)));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
