//! One apply at a time in this folder. The lock is the operating system's: it ends with the process, however that ends.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

/// A held lock. Dropping it lets go.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Why the lock was not had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another run holds it.
    #[error("lock the fleet: another run holds it ({holder})")]
    Held {
        /// Who, as that run wrote it.
        holder: String,
    },
    /// The lock file cannot be used.
    #[error("lock the fleet with {path}")]
    Unusable {
        /// The lock file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Lock {
    /// Takes the lock of a folder, or says who has it. `holder` tells others who this is.
    pub fn take(folder: &Path, holder: &str) -> Result<Self, LockError> {
        let path = folder.join("lock");
        let unusable = |source| LockError::Unusable { path: path.clone(), source };
        fs::create_dir_all(folder).map_err(unusable)?;
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => {
                file.set_len(0).map_err(unusable)?;
                file.rewind().map_err(unusable)?;
                file.write_all(holder.as_bytes()).map_err(unusable)?;
                Ok(Self { _file: file })
            }
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let _ = file.take(500).read_to_string(&mut text); // who holds it is a courtesy
                Err(LockError::Held { holder: claw_core::text::clean(&text, 200) })
            }
            Err(TryLockError::Error(source)) => Err(unusable(source)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_to_come_hears_who_was_first() {
        let dir = tempfile::tempdir().expect("a folder");
        let first = Lock::take(dir.path(), "pid 1 on here").expect("free");
        match Lock::take(dir.path(), "pid 2") {
            Err(LockError::Held { holder }) => assert_eq!(holder, "pid 1 on here"),
            other => panic!("{other:?}"),
        }
        drop(first);
        Lock::take(dir.path(), "pid 3").expect("free again");
    }
}
