//! The state volume: one JSON file with a schema number, migrated upwards at start and never downwards, owned by one
//! gateway at a time. The real state is several SQLite databases; claw never looks inside either.

use std::fmt;
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// Why the state cannot be used. Reads after "failed to open the state".
#[derive(Debug)]
pub(crate) enum StateError {
    /// A newer version has migrated it.
    Newer { found: u64, own: u64 },
    /// Another gateway holds it.
    Owned,
    /// It is not what a gateway writes.
    Damaged,
    /// The folder cannot be read or written.
    Io(io::Error),
}

impl StateError {
    /// Returns the code the gateway exits with: 78 where a restart cannot help.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Newer { .. } | Self::Owned => 78,
            Self::Damaged | Self::Io(_) => 1,
        }
    }
}

impl fmt::Display for StateError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newer { found, own } => {
                write!(formatter, "database schema is newer than this build ({found} > {own})")
            }
            Self::Owned => write!(formatter, "another gateway owns this state"),
            Self::Damaged => write!(formatter, "standin.json is not a state file"),
            Self::Io(error) => write!(formatter, "{error}"),
        }
    }
}

impl From<io::Error> for StateError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// An open state that no other gateway can open.
#[derive(Debug)]
pub(crate) struct Store {
    path: PathBuf,
    schema: u64,
    messages: Vec<String>,
    /// Released by the kernel when the process ends, however it ends.
    _lock: File,
}

impl Store {
    /// Opens the state in `folder` for a build of version `schema`: makes it, migrates it, or refuses it.
    pub(crate) fn open(folder: &Path, schema: u64) -> Result<Self, StateError> {
        std::fs::create_dir_all(folder)?;
        let lock = File::options().create(true).truncate(false).write(true).open(folder.join("standin.lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StateError::Owned),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        let path = folder.join("standin.json");
        let found = read(&path)?;
        let messages = found.as_ref().map(|(_, messages)| messages.clone()).unwrap_or_default();
        let store = Self { path, schema, messages, _lock: lock };
        match found {
            Some((found, _)) if found > schema => {
                return Err(StateError::Newer { found, own: schema });
            }
            Some((found, _)) if found == schema => {}
            Some((found, _)) => {
                let backup = format!("standin.json.pre-startup-migration-{found}-{schema}.bak");
                std::fs::copy(&store.path, folder.join(backup))?;
                store.write()?;
            }
            None => store.write()?,
        }
        Ok(store)
    }

    /// Remembers a message for good and returns all of them, oldest first.
    pub(crate) fn remember(&mut self, message: String) -> io::Result<&[String]> {
        self.messages.push(message);
        self.write()?;
        Ok(&self.messages)
    }

    fn write(&self) -> io::Result<()> {
        let new = self.path.with_extension("json.new");
        std::fs::write(&new, json!({"schema": self.schema, "messages": self.messages}).to_string())?;
        std::fs::rename(new, &self.path)
    }
}

fn read(path: &Path) -> Result<Option<(u64, Vec<String>)>, StateError> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let state: Value = serde_json::from_slice(&bytes).map_err(|_| StateError::Damaged)?;
    let schema = state["schema"].as_u64().ok_or(StateError::Damaged)?;
    let messages = state["messages"].as_array().ok_or(StateError::Damaged)?;
    Ok(Some((schema, messages.iter().filter_map(Value::as_str).map(str::to_owned).collect())))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::{StateError, Store};

    /// A folder of this test alone, removed at the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            Self(std::env::temp_dir().join(format!("claw-standin-state-{}-{name}", std::process::id())))
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn newer_build_migrates_and_keeps_the_messages() {
        let folder = Folder::new("migrates");
        let mut old = Store::open(&folder.0, 1).expect("a fresh state opens");
        old.remember("hello".to_owned()).expect("the folder is writable");
        drop(old);
        let mut new = Store::open(&folder.0, 2).expect("an older state is migrated");
        assert_eq!(new.remember("again".to_owned()).expect("the folder is writable"), ["hello", "again"]);
        assert!(folder.0.join("standin.json.pre-startup-migration-1-2.bak").exists());
    }

    #[test]
    fn older_build_refuses_a_migrated_state_and_leaves_it_as_it_is() {
        let folder = Folder::new("refuses");
        drop(Store::open(&folder.0, 2).expect("a fresh state opens"));
        let before = std::fs::read(folder.0.join("standin.json")).expect("the state was written");
        let refused = Store::open(&folder.0, 1).expect_err("the state is newer");
        assert!(matches!(refused, StateError::Newer { found: 2, own: 1 }), "{refused}");
        assert_eq!(refused.exit_code(), 78);
        assert_eq!(std::fs::read(folder.0.join("standin.json")).expect("the state is there"), before);
    }

    #[test]
    fn second_gateway_on_the_same_state_is_refused() {
        let folder = Folder::new("owned");
        let first = Store::open(&folder.0, 1).expect("a fresh state opens");
        let refused = Store::open(&folder.0, 1).expect_err("the first one is still open");
        assert!(matches!(refused, StateError::Owned), "{refused}");
        drop(first);
        Store::open(&folder.0, 1).expect("the first one is gone");
    }
}
