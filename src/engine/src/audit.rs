//! Who did what, when, where, and how it ended: one record a line, a file a day. Connections, commands, files, keys.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use claw_core::mask::Known;
use serde::{Deserialize, Serialize};

/// The longest text kept of what somebody typed, in letters.
const DETAIL_LETTERS_MAX: usize = 300;
/// The largest day that is read back, in bytes: a million records.
const DAY_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// Who acts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who {
    /// The user of this machine.
    pub user: String,
    /// The machine.
    pub machine: String,
    /// Who started the pipeline this runs in, as its CI calls them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ci_actor: Option<String>,
    /// Where that pipeline can be looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ci_run: Option<String>,
}

/// Something that was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// When, RFC 3339, UTC.
    pub at: String,
    /// By whom.
    pub who: Who,
    /// What: `connect`, `exec`, `copy`, `chat`, `keys`, `apply`.
    pub action: String,
    /// On what: an agent, a host, a resource.
    pub target: String,
    /// What exactly; never a secret.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// The key it was done with, by its fingerprint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// How it ended: `ok`, or what went wrong.
    pub outcome: String,
}

/// What is recorded, but for time and person.
#[derive(Clone, Debug, Default)]
pub struct Deed<'a> {
    /// What.
    pub action: &'a str,
    /// On what.
    pub target: &'a str,
    /// What exactly.
    pub detail: &'a str,
    /// With which key.
    pub key: Option<&'a str>,
    /// What went wrong; `None` when all went well.
    pub failure: Option<&'a str>,
}

/// The records of a fleet.
pub struct Audit {
    folder: PathBuf,
    who: Who,
    now: fn() -> String,
    known: Known,
    /// The first record that could not be written.
    lost: Mutex<Option<io::Error>>,
}

impl Audit {
    /// Returns the records below a folder. Nothing is made before the first record, and no known secret value is in one.
    pub fn new(folder: &Path, who: Who, now: fn() -> String, known: &Known) -> Self {
        Self { folder: folder.to_owned(), who, now, known: known.clone(), lost: Mutex::default() }
    }

    /// Keeps a record. What cannot be written is told by [`Audit::lost`].
    pub fn record(&self, deed: &Deed<'_>) {
        // masked before it is cut short, while a value in it is whole
        let clean = |text: &str| claw_core::text::clean(&self.known.mask(text), DETAIL_LETTERS_MAX);
        let record = Record {
            at: (self.now)(),
            who: self.who.clone(),
            action: deed.action.to_owned(),
            target: clean(deed.target),
            detail: clean(deed.detail),
            key: deed.key.map(str::to_owned),
            outcome: deed.failure.map_or_else(|| "ok".to_owned(), clean),
        };
        if let (Err(error), Ok(mut lost)) = (self.write(&record), self.lost.lock()) {
            lost.get_or_insert(error);
        }
    }

    fn write(&self, record: &Record) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let day = record.at.get(..10).unwrap_or("unknown");
        let mut options = OpenOptions::new();
        options.create(true).append(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(self.folder.join(format!("{day}.jsonl")))?;
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        // one write: two commands at once do not mix their lines
        file.write_all(&self.known.mask_bytes(&line))
    }

    /// Returns why a record could not be written, if one could not.
    pub fn lost(&self) -> Option<String> {
        self.lost.lock().ok()?.as_ref().map(ToString::to_string)
    }

    /// Returns the records since a day, `YYYY-MM-DD`, oldest first. A line that was cut off by a full disk is passed over.
    pub fn read(&self, since: &str) -> io::Result<Vec<Record>> {
        let mut records = Vec::new();
        for (day, path) in days(&self.folder)? {
            if day.as_str() < since {
                continue;
            }
            let file = BufReader::new(fs::File::open(path)?.take(DAY_BYTES_MAX));
            for line in file.lines() {
                records.extend(serde_json::from_str::<Record>(&line?).ok());
            }
        }
        records.sort_by(|a, b| a.at.cmp(&b.at));
        Ok(records)
    }

    /// Removes the days before a day, `YYYY-MM-DD`.
    pub fn prune(&self, before: &str) {
        for (_, path) in days(&self.folder).unwrap_or_default().into_iter().filter(|(day, _)| day.as_str() < before) {
            let _ = fs::remove_file(path); // an old record that stays costs some disk and nothing else
        }
    }
}

/// Returns the days there are records of, in order.
fn days(folder: &Path) -> io::Result<BTreeMap<String, PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(error),
    };
    let mut days = BTreeMap::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "jsonl")
            && let Some(day) = path.file_stem().and_then(|stem| stem.to_str())
        {
            days.insert(day.to_owned(), path.clone());
        }
    }
    Ok(days)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn audit(folder: &Path, now: fn() -> String) -> Audit {
        Audit::new(folder, Who { user: "petr".to_owned(), ..Who::default() }, now, &Known::default())
    }

    #[test]
    fn a_known_value_is_in_no_record_even_where_it_would_be_cut() {
        let folder = tempfile::tempdir().expect("a folder");
        let audit = audit(folder.path(), || "2026-11-24T10:00:00Z".to_owned());
        audit.known.add("secret default/A", "sk-\"quoted\"-91");
        for at in [0, DETAIL_LETTERS_MAX - 8, DETAIL_LETTERS_MAX] {
            let detail = format!("{}sk-\"quoted\"-91", "x".repeat(at));
            audit.record(&Deed { action: "exec", detail: &detail, failure: Some(&detail), ..Deed::default() });
        }
        let text = fs::read_to_string(folder.path().join("2026-11-24.jsonl")).expect("read");
        assert!(text.contains("(secret default/A)") && !text.contains("sk-"), "{text}");
    }

    #[test]
    fn records_come_back_in_order_and_old_days_go() {
        let folder = tempfile::tempdir().expect("a folder");
        let old = audit(folder.path(), || "2026-08-01T10:00:00Z".to_owned());
        let new = audit(folder.path(), || "2026-11-24T10:00:00Z".to_owned());
        new.record(&Deed { action: "exec", target: "ada", detail: "ls\n\u{1b}[31m", ..Deed::default() });
        old.record(&Deed { action: "chat", target: "ada", failure: Some("no answer"), ..Deed::default() });
        let read = new.read("2000-01-01").expect("read");
        let told: Vec<_> =
            read.iter().map(|one| (one.action.as_str(), one.detail.as_str(), one.outcome.as_str())).collect();
        assert_eq!(told, [("chat", "", "no answer"), ("exec", "ls", "ok")]);
        assert_eq!(new.read("2026-11-01").expect("read").len(), 1);
        new.prune("2026-08-26");
        assert_eq!(new.read("2000-01-01").expect("read").len(), 1);
    }

    #[test]
    fn a_line_that_was_cut_off_hides_no_other() {
        let folder = tempfile::tempdir().expect("a folder");
        let audit = audit(folder.path(), || "2026-11-24T10:00:00Z".to_owned());
        audit.record(&Deed { action: "exec", ..Deed::default() });
        fs::write(folder.path().join("2026-11-23.jsonl"), "{\"at\":\"2026-11-23T").expect("written");
        assert_eq!(audit.read("2000-01-01").expect("read").len(), 1);
    }

    #[test]
    fn what_could_not_be_recorded_is_known() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("file");
        fs::write(&file, "").expect("written");
        let audit = audit(&file, || "2026-11-24T10:00:00Z".to_owned());
        audit.record(&Deed::default());
        assert!(audit.lost().is_some());
    }
}
