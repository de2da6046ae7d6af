//! What the process is given: environment, folders, clock, chance, terminal. Made here and passed on as values.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::args::Global;

/// The process's surroundings.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The fleet file.
    pub fleet_file: PathBuf,
    /// The folder it lies in.
    pub root: PathBuf,
    /// Environment variables claw reads.
    env: BTreeMap<&'static str, String>,
    /// Whether a person watches standard error.
    pub stderr_terminal: bool,
    /// Whether a person can answer questions.
    pub stdin_terminal: bool,
}

/// The variables claw reads.
const VARIABLES: [&str; 6] = ["CLAW_IDENTITY", "DOCKER_HOST", "HOME", "USER", "XDG_RUNTIME_DIR", "EDITOR"];

impl Setup {
    /// Returns the surroundings of this process.
    pub fn from_process(global: &Global) -> Self {
        let folder = global.folder.clone().unwrap_or_default();
        let fleet_file = folder.join(&global.fleet);
        let root = fleet_file.parent().filter(|parent| !parent.as_os_str().is_empty());
        Self {
            root: root.unwrap_or(Path::new(".")).to_owned(),
            fleet_file,
            env: VARIABLES.into_iter().filter_map(|name| Some((name, std::env::var(name).ok()?))).collect(),
            stderr_terminal: std::io::stderr().is_terminal(),
            stdin_terminal: std::io::stdin().is_terminal(),
        }
    }

    /// Returns a variable, unless it is empty: CI passes secrets it does not have as empty texts.
    pub fn env(&self, name: &str) -> Option<&str> {
        self.env.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Returns the user's home folder.
    pub fn home(&self) -> Option<&Path> {
        self.env("HOME").map(Path::new)
    }

    /// Returns a path beside the fleet file, written as a person would.
    pub fn beside(&self, name: &str) -> PathBuf {
        if self.root == Path::new(".") { PathBuf::from(name) } else { self.root.join(name) }
    }

    /// Returns the folder of secret profiles.
    pub fn secrets_folder(&self) -> PathBuf {
        self.beside("secrets")
    }

    /// Returns claw's own folder beside the fleet file, for the real world or the sandbox.
    pub fn state_folder(&self, sandbox: bool) -> PathBuf {
        let own = self.beside(".claw");
        if sandbox { own.join("sandbox") } else { own }
    }
}

/// Returns the time now, RFC 3339, UTC, in seconds.
pub fn now() -> String {
    timestamp().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Returns today, UTC, `YYYY-MM-DD`.
pub fn today() -> String {
    timestamp().strftime("%Y-%m-%d").to_string()
}

/// Returns a name for a run: its time, and something that tells it from others of the same second.
pub fn run_id() -> String {
    let number = (chance() * 65_536.0) as u32;
    format!("{}-{number:04x}", timestamp().strftime("%Y%m%dT%H%M%SZ"))
}

fn timestamp() -> jiff::Timestamp {
    jiff::Timestamp::try_from(SystemTime::now()).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
}

/// Returns a number from 0 to 1, for jitter and names; not for secrets.
pub fn chance() -> f64 {
    let mut bytes = [0_u8; 4];
    if getrandom::getrandom(&mut bytes).is_err() {
        return 0.5;
    }
    f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
}
