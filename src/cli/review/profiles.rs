//! What happened to a profile between two versions, as its file shows it: values that came back older, values encrypted to
//! somebody the fleet does not name. Opens nothing, so that it can be told of anybody's branch.

use std::collections::{BTreeMap, BTreeSet};

use claw_core::fleet::{Fleet, SourceFile};
use claw_core::problem::Problem;
use claw_vault::{Entry, ProfileFile, RESERVED_PROFILE, Recipient, Vault, parse_profile};

use super::place;
use crate::error::CommandError;
use crate::git::Commit;
use crate::session::stale;
use crate::setup::Setup;

/// How many versions of one profile are looked through for values that come back.
const VERSIONS_MAX: usize = 500;

/// A profile's file, read.
pub struct Profile {
    /// Its text.
    pub source: SourceFile,
    /// What it says.
    pub file: ProfileFile,
}

/// The profiles of a version, by name.
pub type Profiles = BTreeMap<String, Profile>;

/// Returns the profiles beside a fleet file.
pub fn read(setup: &Setup, vault: &Vault) -> Result<Profiles, CommandError> {
    let mut found = Profiles::new();
    for name in vault.profiles()?.into_iter().chain([RESERVED_PROFILE.to_owned()]) {
        let path = setup.secrets_folder().join(format!("{name}.toml"));
        if name == RESERVED_PROFILE && !path.exists() {
            continue;
        }
        vault.list(&name)?; // refuses links, and files that are too large or another fleet's
        let text = std::fs::read_to_string(&path)
            .map_err(|error| CommandError::failed(format!("failed to read {}: {error}", path.display())))?;
        let label = format!("secrets/{name}.toml");
        let file = parse_profile(&text, &label)
            .map_err(|error| CommandError::new(crate::exit::INVALID, error.to_string()).help(error.help()))?;
        found.insert(name, Profile { source: SourceFile { path: label, text }, file });
    }
    Ok(found)
}

/// A profile in the folder, the same in a commit, and who it is for.
pub struct Pair<'a> {
    /// Its name.
    pub name: &'a str,
    /// As it is in the commit.
    pub base: Option<&'a Profile>,
    /// As it is in the folder.
    pub head: &'a Profile,
    /// Who may read it, as the folder's fleet file says.
    pub recipients: &'a [Recipient],
}

impl Pair<'_> {
    fn base_entry(&self, key: &str) -> Option<&Entry> {
        self.base.and_then(|base| base.file.entry(key))
    }

    fn problem(&self, entry: &Entry, field: &str, code: &'static str, message: String) -> Problem {
        let at = place::of(&self.head.source, &["values", &entry.key, field]);
        Problem::error(code, message).at(at)
    }

    fn label(&self, entry: &Entry) -> String {
        format!("{}/{}", self.name, entry.key)
    }

    /// Returns what is wrong with how the profile changed.
    pub fn problems(&self, fleet: &Fleet, commit: &Commit) -> Result<Vec<Problem>, CommandError> {
        let mut problems = Vec::new();
        let mut told = BTreeSet::new();
        for entry in &self.head.file.entries {
            let found = self.older(entry, commit).or_else(|| self.edited(entry, commit));
            if found.is_some() {
                told.insert(entry.key.as_str());
            }
            problems.extend(found);
            problems.extend(self.undeclared(fleet, entry));
        }
        problems.extend(self.generations(commit));
        problems.extend(self.returned(commit, &told)?);
        Ok(problems)
    }

    /// A value that is older than the one it takes the place of, or that was written beside it.
    fn older(&self, entry: &Entry, commit: &Commit) -> Option<Problem> {
        let base = self.base_entry(&entry.key)?;
        let is_other = entry.ciphertext() != base.ciphertext();
        // these are made anew under the same name: another public half is another key
        let moves = self.name == RESERVED_PROFILE && (entry.key == "ssh_next" || entry.key.starts_with("ssh_retired_"));
        if !is_other && entry.seq == base.seq || moves && entry.public != base.public {
            return None;
        }
        let (label, title) = (self.label(entry), commit.title());
        let message = if entry.seq < base.seq {
            format!("{label} is number {}, and {title} has number {}: an older value came back", entry.seq, base.seq)
        } else if entry.seq == base.seq {
            format!("{label} is another value than at {title}, with the same number {}", entry.seq)
        } else if is_other {
            return None;
        } else {
            format!("{label} has a new number and the old ciphertext: somebody edited the file")
        };
        let file = &self.head.source.path;
        let help = format!("take {file} from {} again, then `claw secret set {label}` if it shall change", commit.name);
        Some(self.problem(entry, "seq", "replayed", message).help(help))
    }

    /// A value that stayed, with something else said of it.
    fn edited(&self, entry: &Entry, commit: &Commit) -> Option<Problem> {
        let base = self.base_entry(&entry.key).filter(|base| base.ciphertext() == entry.ciphertext())?;
        let sorted = |list: &[String]| list.iter().cloned().collect::<BTreeSet<_>>();
        if sorted(&entry.to) != sorted(&base.to) || sorted(&entry.read_by) != sorted(&base.read_by) {
            let message = format!(
                "{} names other readers than at {}, and is the same ciphertext",
                self.label(entry),
                commit.title()
            );
            let help = format!(
                "take {} from {} again; `claw secret rekey` changes readers",
                self.head.source.path, commit.name
            );
            return Some(self.problem(entry, "to", "edited-readers", message).help(help));
        }
        if entry.updated != base.updated {
            let message =
                format!("{} is the same value as at {}, with another date", self.label(entry), commit.title());
            let warning = Problem::warning("edited-date", message);
            let at = place::of(&self.head.source, &["values", &entry.key, "updated"]);
            return Some(warning.at(at).help("its age is counted from that date: a new one needs a new value"));
        }
        None
    }

    /// A value that somebody can read whom the fleet file does not name, and could not before.
    fn undeclared(&self, fleet: &Fleet, entry: &Entry) -> Option<Problem> {
        let declared: BTreeSet<String> = self.recipients.iter().map(Recipient::fingerprint).collect();
        let before = self.base_entry(&entry.key).map(|base| base.to.as_slice()).unwrap_or_default();
        let strangers: Vec<String> =
            entry.to.iter().filter(|to| !declared.contains(*to) && !before.contains(to)).cloned().collect();
        if strangers.is_empty() {
            return None;
        }
        let label = self.label(entry);
        let message = format!(
            "{label} is encrypted to {}, and the fleet file does not name them for {}",
            stale::people(fleet, &strangers),
            self.name
        );
        let help = "name them in `recipients`, or take the file from before and run `claw secret rekey`";
        Some(self.problem(entry, "to", "undeclared-reader", message).help(help))
    }

    /// Gateway tokens that go back to an earlier one.
    fn generations(&self, commit: &Commit) -> Vec<Problem> {
        let Some(base) = self.base else { return Vec::new() };
        let now = |agent: &str| self.head.file.gateway_generations.get(agent).copied().unwrap_or(1);
        let back = base.file.gateway_generations.iter().filter(|(agent, before)| now(agent) < **before);
        let problem = |(agent, before): (&String, &u32)| {
            let message = format!(
                "the gateway token of {agent} goes back from generation {before} at {} to {}: an older token would be good again",
                commit.title(),
                now(agent)
            );
            let at = place::of(&self.head.source, &["generations", "gateway_token", agent]);
            Problem::error("replayed", message).at(at).help("generations only grow: put the number back, or higher")
        };
        back.map(problem).collect()
    }

    /// Values that stood in an earlier version, were replaced or removed since, and are back.
    fn returned(&self, commit: &Commit, told: &BTreeSet<&str>) -> Result<Vec<Problem>, CommandError> {
        let is_new = |entry: &&Entry| {
            let base = self.base_entry(&entry.key);
            base.is_none_or(|base| base.ciphertext() != entry.ciphertext()) && !told.contains(entry.key.as_str())
        };
        let new: Vec<&Entry> = self.head.file.entries.iter().filter(is_new).collect();
        if new.is_empty() {
            return Ok(Vec::new());
        }
        let path = &self.head.source.path;
        let (versions, more) = commit.history(path, VERSIONS_MAX)?;
        let mut problems = Vec::new();
        if more {
            let message =
                format!("{path} has more than {VERSIONS_MAX} versions: only the last ones were looked through");
            problems.push(Problem::warning("history-cut", message));
        }
        let mut seen: BTreeMap<String, String> = BTreeMap::new();
        for (id, content) in versions {
            // what did not read as a profile then cannot be read by anybody now either
            let Ok(file) = parse_profile(&String::from_utf8_lossy(&content), path) else { continue };
            for entry in file.entries {
                seen.insert(entry.ciphertext().to_owned(), id.clone());
            }
        }
        for entry in new {
            if let Some(id) = seen.get(entry.ciphertext()) {
                let label = self.label(entry);
                let short = id.get(..12).unwrap_or(id);
                let message = format!("{label} is the value of commit {short}, which was replaced or removed since");
                let help = format!("an old value is no new one: `claw secret set {label}`");
                problems.push(self.problem(entry, "seq", "replayed", message).help(help));
            }
        }
        Ok(problems)
    }
}
