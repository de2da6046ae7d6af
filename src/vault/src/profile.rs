//! Reads the text of a profile file. Opens no value, checks no MAC and touches no file.
//!
//! The values are taken out of the parsed document by hand and not by serde, whose messages quote what they refuse:
//! a secret pasted in clear into the wrong place must not turn up in an error.

use std::collections::BTreeMap;
use std::ops::Range;

use toml_edit::{Document, Item, Table};

use crate::names::{
    FORMER_MAX, HOSTS_MAX, PROFILE_BYTES_MAX, RECIPIENTS_MAX, RESERVED_PROFILE, VALUES_MAX, due, is_date,
    is_fingerprint, is_host_pattern, is_id, is_key_name, is_owner, is_profile_name, max_age_days, near, printable,
};
use crate::recipient::Recipient;

/// The version of the file's form that this claw reads and writes.
pub(crate) const FORMAT: i64 = 1;
const ROOT_KEYS: [&str; 5] = ["format", "fleet", "profile", "values", "generations"];
const ENTRY_KEYS: [&str; 10] = ["owner", "updated", "max_age", "hosts", "public", "seq", "to", "read_by", "age", "mac"];

/// A profile file as it was read: everything that is in clear, and the ciphertexts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileFile {
    /// The id of the fleet it was written for.
    pub fleet: String,
    /// The profile's name.
    pub profile: String,
    /// The values in the order of the file.
    pub entries: Vec<Entry>,
    /// The generations of gateway tokens by agent id; only the reserved profile has them.
    pub gateway_generations: BTreeMap<String, u32>,
}

impl ProfileFile {
    /// Returns the entry of a key.
    #[must_use]
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }
}

/// One value as its file shows it to a reviewer. Nothing of it is trusted before its MAC was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Who looks after it.
    pub owner: Option<String>,
    /// The date it last got a new value, ISO.
    pub updated: String,
    /// How long the value is good for: `90d`, `12w`.
    pub max_age: Option<String>,
    /// The hosts it may be sent to: `api.example`, `*.example`, `*`. The usual ones of its name where empty.
    pub hosts: Vec<String>,
    /// The public half, where the value is a private key.
    pub public: Option<String>,
    /// How often it was written.
    pub seq: u64,
    /// The fingerprints of the recipients it was encrypted to.
    pub to: Vec<String>,
    /// The fingerprints of those who could read the value since it last changed and are no recipients any more.
    pub read_by: Vec<String>,
    pub(crate) age: String,
    pub(crate) mac: String,
}

impl Entry {
    /// Returns an entry that was never written.
    pub(crate) fn named(key: &str) -> Self {
        Self {
            key: key.to_owned(),
            owner: None,
            updated: String::new(),
            max_age: None,
            hosts: Vec::new(),
            public: None,
            seq: 0,
            to: Vec::new(),
            read_by: Vec::new(),
            age: String::new(),
            mac: String::new(),
        }
    }

    /// Returns the ciphertext as it stands in the file: what a review compares where nothing is opened.
    #[must_use]
    pub fn ciphertext(&self) -> &str {
        self.age.trim()
    }

    /// Returns whether the value was encrypted to exactly these recipients.
    #[must_use]
    pub fn is_for(&self, recipients: &[Recipient]) -> bool {
        let mut to = self.to.clone();
        to.sort();
        to.dedup();
        to == fingerprints(recipients)
    }

    /// Returns the fingerprints of those who could read the value since it last changed and are not among these
    /// recipients, sorted. Encrypting anew does not empty it, a new value does.
    #[must_use]
    pub fn former_readers(&self, recipients: &[Recipient]) -> Vec<String> {
        let wanted = fingerprints(recipients);
        let mut gone: Vec<String> = self.read_by.iter().chain(&self.to).cloned().collect();
        gone.retain(|print| !wanted.contains(print));
        gone.sort();
        gone.dedup();
        gone
    }

    /// Returns the ISO date from which the value needs rotation; `None` where it has no `max_age`.
    #[must_use]
    pub fn due(&self) -> Option<String> {
        due(&self.updated, self.max_age.as_deref()?)
    }
}

/// Returns the recipients' fingerprints, sorted and each once, as `to` holds them.
pub(crate) fn fingerprints(recipients: &[Recipient]) -> Vec<String> {
    let mut to: Vec<String> = recipients.iter().map(Recipient::fingerprint).collect();
    to.sort();
    to.dedup();
    to
}

/// Why a profile file does not read. Never quotes a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// Something in the file is not as it must be.
    #[error("{file}:{line}:{column}: {reason}")]
    Invalid {
        /// The file as the caller calls it.
        file: String,
        /// The line, from 1.
        line: usize,
        /// The column in characters, from 1.
        column: usize,
        /// What is wrong, a fragment.
        reason: String,
        /// What to do.
        help: String,
    },
    /// The file is larger than any profile.
    #[error("{file} is larger than {} KiB", PROFILE_BYTES_MAX >> 10)]
    TooLarge {
        /// The file as the caller calls it.
        file: String,
    },
}

impl ProfileError {
    /// Says what to do.
    #[must_use]
    pub fn help(&self) -> String {
        match self {
            Self::Invalid { help, .. } => help.clone(),
            Self::TooLarge { .. } => "split it into several profiles".to_owned(),
        }
    }
}

/// Reads the text of a profile file. `file` is what errors call it. Total: any text gives a file or an error.
pub fn parse_profile(text: &str, file: &str) -> Result<ProfileFile, ProfileError> {
    if text.len() > PROFILE_BYTES_MAX {
        return Err(ProfileError::TooLarge { file: file.to_owned() });
    }
    let reader = Reader { text, file };
    // The message is one of the parser's fixed texts. The error itself holds the whole input and goes no further.
    let document = Document::parse(text).map_err(|error| {
        let help = "repair it by hand, or take the last good one from git";
        reader.invalid(error.span(), error.message(), help)
    })?;
    reader.profile(document.as_table())
}

struct Reader<'a> {
    text: &'a str,
    file: &'a str,
}

impl Reader<'_> {
    fn profile(&self, root: &Table) -> Result<ProfileFile, ProfileError> {
        self.check_format(root)?;
        self.only_known(root, &ROOT_KEYS)?;
        let fleet = self.text_at(root, "fleet", is_id, "the fleet's id, as `fleet.id` has it")?;
        let profile = self.text_at(root, "profile", is_profile_name, "the file's name without `.toml`")?;
        let generations = self.table(root, "generations")?;
        if let Some(table) = generations.filter(|_| profile != RESERVED_PROFILE) {
            let reason = "generations belong into the reserved profile";
            return Err(self.invalid(table.span(), reason, "move them to claw.toml"));
        }
        Ok(ProfileFile {
            fleet,
            profile,
            entries: self.entries(self.table(root, "values")?)?,
            gateway_generations: match generations {
                Some(table) => self.generations(table)?,
                None => BTreeMap::new(),
            },
        })
    }

    fn check_format(&self, root: &Table) -> Result<(), ProfileError> {
        let item = self.required(root, "format")?;
        match item.as_integer() {
            Some(FORMAT) => Ok(()),
            Some(newer) if newer > FORMAT => {
                let reason = format!("format {newer} is newer than this claw");
                Err(self.invalid(item.span(), &reason, "install the claw that the others use"))
            }
            _ => Err(self.invalid(item.span(), "`format` is not a number", "write `format = 1`")),
        }
    }

    fn entries(&self, values: Option<&Table>) -> Result<Vec<Entry>, ProfileError> {
        let Some(values) = values else {
            return Ok(Vec::new());
        };
        if values.len() > VALUES_MAX {
            let reason = format!("more than {VALUES_MAX} values");
            return Err(self.invalid(values.span(), &reason, "split it into several profiles"));
        }
        values.iter().map(|(key, item)| self.entry(values, key, item)).collect()
    }

    fn entry(&self, values: &Table, key: &str, item: &Item) -> Result<Entry, ProfileError> {
        let span = || values.key(key).and_then(toml_edit::Key::span);
        if !is_key_name(key) {
            let reason = format!("`{}` is not a key name", printable(key));
            return Err(self.invalid(span(), &reason, KEY_HELP));
        }
        // A dotted or inline table could be read, but not edited without touching its neighbours.
        let Some(table) = item.as_table().filter(|table| !table.is_dotted()) else {
            let reason = format!("`{key}` is not a section of its own");
            let help = format!(
                "use `claw secret set`; a value in clear here counts as leaked. \
                                A section starts with [values.{key}]"
            );
            return Err(self.invalid(span(), &reason, &help));
        };
        self.only_known(table, &ENTRY_KEYS)?;
        let any = |_: &str| true;
        Ok(Entry {
            key: key.to_owned(),
            owner: self.optional(table, "owner", is_owner, "a name of up to 200 characters")?,
            updated: self.text_at(table, "updated", is_date, "a date such as \"2026-11-21\"")?,
            max_age: self.optional(
                table,
                "max_age",
                |text| max_age_days(text).is_some(),
                "days or weeks such as \"90d\" or \"12w\"",
            )?,
            hosts: match table.contains_key("hosts") {
                true => self.list(table, "hosts", HOSTS_MAX, is_host_pattern, "hosts such as \"api.example\"")?,
                false => Vec::new(),
            },
            public: self.optional(
                table,
                "public",
                |text| text.parse::<claw_core::ssh::PublicKey>().is_ok(),
                "an ssh-ed25519 public key",
            )?,
            seq: self.seq(table)?,
            to: self.prints(table, "to", RECIPIENTS_MAX)?,
            read_by: match table.contains_key("read_by") {
                true => self.prints(table, "read_by", FORMER_MAX)?,
                false => Vec::new(),
            },
            age: self.text_at(table, "age", any, "the armour of `claw secret set`")?,
            mac: self.text_at(table, "mac", any, "the MAC of `claw secret set`")?,
        })
    }

    fn seq(&self, table: &Table) -> Result<u64, ProfileError> {
        let item = self.required(table, "seq")?;
        let seq = item.as_integer().and_then(|seq| u64::try_from(seq).ok());
        seq.filter(|seq| *seq > 0).ok_or_else(|| self.invalid(item.span(), "`seq` is not a count", RESTORE))
    }

    fn prints(&self, table: &Table, key: &str, most: usize) -> Result<Vec<String>, ProfileError> {
        self.list(table, key, most, is_fingerprint, "recipients' fingerprints")
    }

    fn list(
        &self,
        table: &Table,
        key: &str,
        most: usize,
        valid: impl Fn(&str) -> bool,
        wanted: &str,
    ) -> Result<Vec<String>, ProfileError> {
        let item = self.required(table, key)?;
        let invalid = || self.invalid(item.span(), &format!("`{key}` is not a list of {wanted}"), RESTORE);
        let list = item.as_array().ok_or_else(invalid)?;
        if list.is_empty() || list.len() > most {
            return Err(invalid());
        }
        list.iter()
            .map(|value| value.as_str().filter(|text| valid(text)))
            .map(|text| text.map(str::to_owned).ok_or_else(invalid))
            .collect()
    }

    fn generations(&self, table: &Table) -> Result<BTreeMap<String, u32>, ProfileError> {
        self.only_known(table, &["gateway_token"])?;
        let Some(tokens) = self.table(table, "gateway_token")? else {
            return Ok(BTreeMap::new());
        };
        let mut generations = BTreeMap::new();
        for (agent, item) in tokens {
            let number = item.as_integer().and_then(|n| u32::try_from(n).ok());
            let Some(number) = number.filter(|n| *n > 0 && is_id(agent)) else {
                let reason = "a generation is not `AGENT = NUMBER`, with a number from 1";
                return Err(self.invalid(item.span(), reason, RESTORE));
            };
            generations.insert(agent.to_owned(), number);
        }
        Ok(generations)
    }

    fn only_known(&self, table: &Table, known: &[&str]) -> Result<(), ProfileError> {
        let Some((key, _)) = table.iter().find(|(key, _)| !known.contains(key)) else {
            return Ok(());
        };
        let help = match near(key, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known here: {}", known.join(", ")),
        };
        let span = table.key(key).and_then(toml_edit::Key::span);
        Err(self.invalid(span, &format!("unknown key `{}`", printable(key)), &help))
    }

    fn required<'t>(&self, table: &'t Table, key: &str) -> Result<&'t Item, ProfileError> {
        table.get(key).ok_or_else(|| self.invalid(table.span(), &format!("`{key}` is missing"), RESTORE))
    }

    fn table<'t>(&self, table: &'t Table, key: &str) -> Result<Option<&'t Table>, ProfileError> {
        let Some(item) = table.get(key) else {
            return Ok(None);
        };
        let help = "write it as [sections]";
        item.as_table().map(Some).ok_or_else(|| self.invalid(item.span(), &format!("`{key}` is not a section"), help))
    }

    fn text_at(
        &self,
        table: &Table,
        key: &str,
        valid: impl Fn(&str) -> bool,
        wanted: &str,
    ) -> Result<String, ProfileError> {
        self.required(table, key)?;
        Ok(self.optional(table, key, valid, wanted)?.unwrap_or_default())
    }

    fn optional(
        &self,
        table: &Table,
        key: &str,
        valid: impl Fn(&str) -> bool,
        wanted: &str,
    ) -> Result<Option<String>, ProfileError> {
        let Some(item) = table.get(key) else {
            return Ok(None);
        };
        match item.as_str().filter(|text| valid(text)) {
            Some(text) => Ok(Some(text.to_owned())),
            None => {
                let reason = format!("`{key}` is not valid");
                Err(self.invalid(item.span(), &reason, &format!("it takes {wanted}")))
            }
        }
    }

    fn invalid(&self, span: Option<Range<usize>>, reason: &str, help: &str) -> ProfileError {
        let (line, column) = position(self.text, span.map_or(0, |span| span.start));
        ProfileError::Invalid {
            file: self.file.to_owned(),
            line,
            column,
            reason: reason.to_owned(),
            help: help.to_owned(),
        }
    }
}

const RESTORE: &str = "take the entry from git again, or write it anew with `claw secret set`";
pub(crate) const KEY_HELP: &str = "a key is a letter or `_`, then letters, digits, `_`, `.` and `-`, up to 128";

/// Returns line and column, both from 1, of a byte offset.
pub(crate) fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (line, before[start..].chars().count() + 1)
}

#[cfg(test)]
mod tests;
