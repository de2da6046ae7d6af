//! The journal: one event a line, on disk before the call it announces. Nothing's correctness depends on reading it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use claw_core::mask::Known;

use crate::event::Event;

/// How many runs are kept.
const RUNS_MAX: usize = 200;

/// An open journal.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
    known: Known,
}

impl Journal {
    /// Opens the journal of a run in a folder, and removes the oldest ones. No known secret value is written to it.
    pub fn open(folder: &Path, run: &str, known: &Known) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        prune(folder);
        let path = folder.join(format!("{run}.jsonl"));
        let mut options = OpenOptions::new();
        options.create_new(true).append(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        Ok(Self { file: options.open(&path)?, path, known: known.clone() })
    }

    /// Writes an event and waits until it is on disk.
    pub fn write(&mut self, event: &Event) -> io::Result<()> {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        self.file.write_all(&self.known.mask_bytes(&line))?;
        self.file.sync_data()
    }

    /// Returns a journal on a disk that is full.
    #[cfg(all(test, target_os = "linux"))]
    pub fn on_a_full_disk() -> Self {
        let path = PathBuf::from("/dev/full");
        Self { file: OpenOptions::new().append(true).open(&path).expect("Linux has it"), path, known: Known::default() }
    }

    /// Returns where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Removes all but the newest runs. Names begin with the time, so their order is the runs' order.
fn prune(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut names: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    names.retain(|path| path.extension().is_some_and(|ending| ending == "jsonl"));
    names.sort();
    for path in names.iter().rev().skip(RUNS_MAX - 1) {
        let _ = fs::remove_file(path); // an old journal that stays costs some disk and nothing else
    }
}
