//! What a host said of itself, read. Everything on it is hostile text until it was read here.

use std::collections::BTreeMap;

use claw_core::text::clean;
use data_encoding::BASE64;

use crate::script::KEYS_BYTES_MAX;

/// The largest answer claw reads, in bytes: authorized_keys of a large team fits.
pub const BYTES_MAX: usize = 1024 * 1024;

/// A host as it described itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The home folder of who logs in.
    pub home: String,
    /// The address it sees us from; empty where it does not say.
    pub from: String,
    /// Its clock, in seconds since 1970.
    pub clock_s: i64,
    /// Its system: `debian 12`.
    pub system: String,
    /// Its architecture: `x86_64`.
    pub machine: String,
    /// Its memory in MiB.
    pub memory_mib: u64,
    /// Free disk space in MiB.
    pub disk_mib: u64,
    /// Whose host it is, in claw's own words: fleet and host id.
    pub mark: Option<String>,
    /// Whether a change waits for its confirmation.
    pub armed: bool,
    /// Whether claw's folders are there.
    pub folders: bool,
    /// The text of authorized_keys, or why claw does not write to it.
    pub keys: Result<String, String>,
    /// How many bytes it has.
    keys_bytes: Option<usize>,
    /// What sshd does, by directive.
    pub sshd: BTreeMap<String, String>,
    /// Whether an engine is installed.
    pub engine_installed: bool,
    /// Whether it answers.
    pub engine_running: bool,
    /// Whether who logs in may use it without sudo.
    pub engine_user: bool,
    /// Whether security updates come by themselves.
    pub updates: bool,
    /// Which rules keep containers from the host; `None` where they are not whole.
    pub guard: Option<String>,
}

/// The answer was cut short or is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("understand what the host says of itself: {0}")]
pub struct Garbled(String);

impl Facts {
    fn empty() -> Self {
        Self {
            home: String::new(),
            from: String::new(),
            clock_s: 0,
            system: String::new(),
            machine: String::new(),
            memory_mib: 0,
            disk_mib: 0,
            mark: None,
            armed: false,
            folders: false,
            keys: Ok(String::new()),
            keys_bytes: None,
            sshd: BTreeMap::new(),
            engine_installed: false,
            engine_running: false,
            engine_user: false,
            updates: false,
            guard: None,
        }
    }

    /// Reads what the script printed. What a login shell prints before is passed over; what is cut short is refused.
    pub fn read(output: &[u8]) -> Result<Self, Garbled> {
        let text = String::from_utf8_lossy(output);
        let mut facts = Self::empty();
        let mut whole = false;
        for line in text.lines() {
            let Some((name, value)) = line.split_once(' ') else { continue };
            whole |= (name, value) == ("end", "yes");
            facts.take(name, value.trim());
        }
        if !whole || facts.home.is_empty() {
            return Err(Garbled(format!("its answer has no end: {}", clean(&text, 200))));
        }
        Ok(facts)
    }

    fn take(&mut self, name: &str, value: &str) {
        let short = || clean(value, 200);
        match name {
            "home" if value.starts_with('/') && is_plain(value) => self.home = value.to_owned(),
            "from" => self.from = value.split(' ').next().map(|text| clean(text, 60)).unwrap_or_default(),
            "clock" => self.clock_s = value.parse().unwrap_or_default(),
            "system" => self.system = short(),
            "machine" => self.machine = short(),
            "memory" => self.memory_mib = value.parse().unwrap_or_default(),
            "disk" => self.disk_mib = value.parse().unwrap_or_default(),
            "mark" => self.mark = Some(short()),
            "armed" => self.armed = true,
            "folders" => self.folders = true,
            "keys_link" => self.keys = Err("it is a symbolic link".to_owned()),
            "keys_bytes" => self.keys_bytes = value.parse().ok(),
            "keys" if self.keys.is_ok() => self.keys = self.whole_keys(value),
            "engine" => {
                self.engine_installed = true;
                self.engine_running |= value == "running";
            }
            "engine_user" => self.engine_user = true,
            "updates" => self.updates = true,
            "guard" => self.guard = Some(short()),
            name => {
                if let Some(directive) = name.strip_prefix("sshd.") {
                    // one setting under two names
                    let value = if value == "prohibit-password" { "without-password" } else { value };
                    self.sshd.entry(directive.to_lowercase()).or_insert_with(|| clean(value, 200));
                }
            }
        }
    }
}

impl Facts {
    /// Returns the text of authorized_keys only where every byte of it came through: what claw does not know it does not
    /// write back.
    fn whole_keys(&self, base64: &str) -> Result<String, String> {
        let bytes = BASE64.decode(base64.as_bytes()).map_err(|_| "it could not be read whole".to_owned())?;
        match self.keys_bytes {
            Some(all) if all > KEYS_BYTES_MAX => return Err(format!("it is larger than {KEYS_BYTES_MAX} bytes")),
            Some(all) if all == bytes.len() => {}
            _ => return Err("it could not be read whole".to_owned()),
        }
        String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())
    }
}

/// Whether a path is one that goes into a script as it is.
fn is_plain(path: &str) -> bool {
    path.len() < 200 && path.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_shell_prints_first_does_not_count() {
        let text = "Welcome to attic!\nhome /root\nfrom 192.0.2.7 51000 192.0.2.1 22\nclock 1700000000\n\
                    system debian 12\nengine installed\nengine running\nsshd.permitrootlogin prohibit-password\nkeys_bytes 2\nkeys YQo=\nend yes\n";
        let facts = Facts::read(text.as_bytes()).expect("whole");
        assert_eq!((facts.home.as_str(), facts.from.as_str(), facts.clock_s), ("/root", "192.0.2.7", 1_700_000_000));
        assert!(facts.engine_installed && facts.engine_running && !facts.updates);
        assert_eq!(facts.keys, Ok("a\n".to_owned()));
        assert_eq!(facts.sshd["permitrootlogin"], "without-password");
    }

    #[test]
    fn keys_that_did_not_come_through_whole_are_never_taken_for_an_empty_file() {
        let keys = |lines: &str| Facts::read(format!("home /root\n{lines}end yes\n").as_bytes()).expect("whole").keys;
        assert_eq!(keys(""), Ok(String::new()), "there is no file");
        assert_eq!(keys("keys_bytes 0\nkeys \n"), Ok(String::new()), "there is an empty one");
        for lines in [
            "keys_bytes 9\nkeys \n",
            "keys_bytes 9\nkeys YQo=\n",
            "keys YQo=\n",
            "keys_bytes 2\nkeys !\n",
            "keys_bytes 1\nkeys /w==\n",
            "keys_bytes 99999\nkeys YQo=\n",
            "keys_link yes\nkeys_bytes 2\nkeys YQo=\n",
        ] {
            assert!(keys(lines).is_err(), "{lines}");
        }
    }

    #[test]
    fn an_answer_that_was_cut_short_is_refused() {
        assert!(Facts::read(b"home /root\nclock 1\n").is_err());
        assert!(Facts::read(b"").is_err());
    }

    #[test]
    fn a_home_that_a_shell_would_read_otherwise_is_none() {
        assert!(Facts::read(b"home /root;reboot\nend yes\n").is_err());
        assert!(Facts::read(b"home /home/$(id)\nend yes\n").is_err());
    }

    #[test]
    fn escapes_do_not_come_through() {
        let facts = Facts::read(b"home /root\nsystem \x1b[31mdebian\x1b[0m 12\nend yes\n").expect("whole");
        assert_eq!(facts.system, "debian 12");
    }
}
