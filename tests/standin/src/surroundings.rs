//! What the process stands in: environment, home, user, image. Read once, so that an environment variable is frozen
//! at start as it is for the real gateway.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::image::{DESCRIPTION_PATH, Image};

/// Everything outside of the files the gateway is told to read.
pub(crate) struct Surroundings {
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) image: Image,
    pub(crate) started: Instant,
    /// The user whose private files may be trusted.
    pub(crate) uid: u32,
}

impl Surroundings {
    /// Returns the surroundings of this process, which starts now.
    pub(crate) fn of_process() -> Self {
        Self {
            environment: std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
                .collect(),
            image: Image::described_at(Path::new(DESCRIPTION_PATH)),
            started: Instant::now(),
            // The owner of a process's own folder in /proc is its effective user; std has no other way to ask.
            uid: std::fs::metadata("/proc/self").map_or(u32::MAX, |own| own.uid()),
        }
    }

    /// Returns a variable that is set and not empty.
    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        self.environment.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Returns `$HOME/.openclaw`.
    pub(crate) fn state_root(&self) -> PathBuf {
        Path::new(self.variable("HOME").unwrap_or("/home/node")).join(".openclaw")
    }

    /// Returns `$OPENCLAW_CONFIG_PATH`, else the place under the home.
    pub(crate) fn config_path(&self) -> PathBuf {
        self.variable("OPENCLAW_CONFIG_PATH").map_or_else(|| self.state_root().join("openclaw.json"), PathBuf::from)
    }

    /// Returns how long after the start the gateway is ready: `$STANDIN_READY_MS`, else 100 ms.
    pub(crate) fn ready_after(&self) -> Duration {
        let ready_ms = self.variable("STANDIN_READY_MS").and_then(|text| text.parse().ok());
        Duration::from_millis(ready_ms.unwrap_or(100))
    }

    /// Returns the milliseconds since the start.
    pub(crate) fn uptime_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
