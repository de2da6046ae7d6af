//! Reads and writes the files of the secrets folder. Does not look inside them.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::error::VaultError;
use crate::names::{PROFILE_BYTES_MAX, RESERVED_PROFILE, is_profile_name};
use crate::profile::ProfileError;

/// Returns where a profile is kept.
pub(crate) fn path_of(folder: &Path, profile: &str) -> PathBuf {
    folder.join(format!("{profile}.toml"))
}

/// Returns the names of the profiles in the folder, sorted, without the reserved one. A missing folder has none.
pub(crate) fn profiles(folder: &Path) -> Result<Vec<String>, VaultError> {
    let failed = |source| unreadable(folder, source);
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let file = entry.map_err(failed)?.file_name();
        let name = file.to_str().and_then(|file| file.strip_suffix(".toml"));
        let name = name.filter(|name| is_profile_name(name) && *name != RESERVED_PROFILE);
        names.extend(name.map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

/// Returns the text of a profile file; `None` where there is none. What is not a plain file is refused: a link may
/// lead out of the repository, and a pipe may never end.
pub(crate) fn read(path: &Path) -> Result<Option<String>, VaultError> {
    let failed = |source| unreadable(path, source);
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => {
            return Err(VaultError::NotAFile { path: path.to_owned() });
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(PROFILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    let label = path.display().to_string();
    if bytes.len() > PROFILE_BYTES_MAX {
        return Err(ProfileError::TooLarge { file: label }.into());
    }
    let text = String::from_utf8(bytes).map_err(|error| not_text(label, &error))?;
    Ok(Some(text))
}

/// Writes a profile file so that at every instant the old or the new one is there whole. With `new`, refuses to
/// overwrite. On any error the folder is as it was.
pub(crate) fn write(path: &Path, text: &str, new: bool) -> Result<(), VaultError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    replace(folder, path, text, new).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists if new => VaultError::FleetKeyExists { path: path.to_owned() },
        _ => unwritable(path, source),
    })
}

/// Makes the folder where it is missing and locks it until the returned file is dropped, so that two processes do
/// not lose each other's edit. Where the system cannot lock a folder the edit goes on without.
pub(crate) fn lock(folder: &Path) -> Result<Option<File>, VaultError> {
    fs::create_dir_all(folder).map_err(|source| unwritable(folder, source))?;
    let file = File::open(folder).ok();
    Ok(file.filter(|file| file.lock().is_ok()))
}

fn replace(folder: &Path, path: &Path, text: &str, new: bool) -> io::Result<()> {
    // A dropped temporary file is removed, whatever went wrong.
    let mut file = tempfile::Builder::new().prefix(".claw-").tempfile_in(folder)?;
    file.write_all(text.as_bytes())?;
    set_mode(path, file.as_file())?;
    file.as_file().sync_all()?;
    if new {
        file.persist_noclobber(path)?;
    } else {
        file.persist(path)?;
    }
    // The rename itself is on disk once its folder is; systems that cannot sync a folder order it themselves.
    drop(File::open(folder).and_then(|folder| folder.sync_all()));
    Ok(())
}

/// Gives the new file the old one's mode, or 0644: it holds ciphertext only and is meant to be committed.
#[cfg(unix)]
fn set_mode(path: &Path, file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(path).map_or(0o644, |old| old.permissions().mode() & 0o777);
    file.set_permissions(fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn set_mode(_: &Path, _: &File) -> io::Result<()> {
    Ok(())
}

fn not_text(file: String, error: &std::string::FromUtf8Error) -> ProfileError {
    let good = error.utf8_error().valid_up_to();
    let line = error.as_bytes()[..good].iter().filter(|b| **b == b'\n').count() + 1;
    ProfileError::Invalid {
        file,
        line,
        column: 1,
        reason: "not UTF-8 text".to_owned(),
        help: "take the last good file from git".to_owned(),
    }
}

fn unreadable(path: &Path, source: io::Error) -> VaultError {
    VaultError::Unreadable { path: path.to_owned(), source }
}

fn unwritable(path: &Path, source: io::Error) -> VaultError {
    VaultError::Unwritable { path: path.to_owned(), source }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that panics has failed")]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn names(folder: &TempDir) -> Vec<String> {
        let entries = fs::read_dir(folder.path()).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_write_replaces_the_file_and_leaves_nothing_else_behind() {
        let folder = TempDir::new().unwrap();
        let path = path_of(folder.path(), "default");
        write(&path, "one", false).unwrap();
        write(&path, "two", false).unwrap();
        assert_eq!(read(&path).unwrap().as_deref(), Some("two"));
        assert_eq!(names(&folder), ["default.toml"]);
    }

    #[test]
    fn a_write_that_fails_leaves_no_temporary_file() {
        let folder = TempDir::new().unwrap();
        // A file cannot be renamed over a folder that is not empty.
        fs::create_dir_all(folder.path().join("default.toml/x")).unwrap();
        let path = path_of(folder.path(), "default");
        assert!(matches!(write(&path, "one", false), Err(VaultError::Unwritable { .. })));
        assert_eq!(names(&folder), ["default.toml"]);
    }

    #[test]
    fn a_new_file_never_overwrites() {
        let folder = TempDir::new().unwrap();
        let path = path_of(folder.path(), "claw");
        write(&path, "one", true).unwrap();
        assert!(matches!(write(&path, "two", true), Err(VaultError::FleetKeyExists { .. })));
        assert_eq!(read(&path).unwrap().as_deref(), Some("one"));
        assert_eq!(names(&folder), ["claw.toml"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_new_file_has_mode_0644_and_an_old_one_keeps_its_own() {
        use std::os::unix::fs::PermissionsExt;
        let folder = TempDir::new().unwrap();
        let path = path_of(folder.path(), "default");
        let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        write(&path, "one", false).unwrap();
        assert_eq!(mode(), 0o644);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        write(&path, "two", false).unwrap();
        assert_eq!(mode(), 0o600);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_refused() {
        let folder = TempDir::new().unwrap();
        let path = path_of(folder.path(), "default");
        std::os::unix::fs::symlink("/etc/hostname", &path).unwrap();
        assert!(matches!(read(&path), Err(VaultError::NotAFile { .. })));
    }

    #[test]
    fn only_files_with_a_profile_name_are_profiles() {
        let folder = TempDir::new().unwrap();
        assert!(profiles(&folder.path().join("missing")).unwrap().is_empty());
        for file in ["work.toml", "default.toml", "claw.toml", "A.toml", "x.toml.orig", ".claw-1"] {
            fs::write(folder.path().join(file), "").unwrap();
        }
        assert_eq!(profiles(folder.path()).unwrap(), ["default", "work"]);
    }

    #[test]
    fn files_too_large_or_not_text_are_refused() {
        let folder = TempDir::new().unwrap();
        let path = path_of(folder.path(), "default");
        fs::write(&path, vec![b'#'; PROFILE_BYTES_MAX + 1]).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("larger than 1024 KiB"));
        fs::write(&path, b"a = 1\n\xff").unwrap();
        assert!(read(&path).unwrap_err().to_string().contains(":2:1: not UTF-8"));
        assert!(read(&path_of(folder.path(), "none")).unwrap().is_none());
    }
}
