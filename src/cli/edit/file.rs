//! Writes an edited file: at every instant the old or the new one is there whole. Does not look inside it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replaced {
    /// It has the new text.
    Done,
    /// It is not what it was when it was read, and was left alone.
    Changed,
}

/// Replaces the text of a file that was read as `before`; `None` makes a new file. A link is written through, and the
/// file keeps its mode and its owner.
pub fn replace(path: &Path, before: Option<&str>, text: &str) -> io::Result<Replaced> {
    let Some(before) = before else { return create(path, text) };
    let path = fs::canonicalize(path)?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    // two edits at once: the second sees what the first wrote; systems that cannot lock a folder go on without
    let lock = File::open(folder).ok().filter(|folder| folder.lock().is_ok());
    if fs::read_to_string(&path)? != before {
        return Ok(Replaced::Changed);
    }
    // a dropped temporary file is removed, whatever went wrong
    let mut draft = tempfile::Builder::new().prefix(".claw-").tempfile_in(folder)?;
    draft.write_all(text.as_bytes())?;
    keep_metadata(&path, draft.as_file())?;
    draft.as_file().sync_all()?;
    draft.persist(&path)?;
    // the rename itself is on disk once its folder is
    drop(lock.map(|folder| folder.sync_all()));
    Ok(Replaced::Done)
}

fn create(path: &Path, text: &str) -> io::Result<Replaced> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(".claw-");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666)); // as any new file: less the umask
    let mut draft = builder.tempfile_in(folder)?;
    draft.write_all(text.as_bytes())?;
    draft.as_file().sync_all()?;
    match draft.persist_noclobber(path) {
        Ok(_) => Ok(Replaced::Done),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(Replaced::Changed),
        Err(error) => Err(error.error),
    }
}

#[cfg(unix)]
fn keep_metadata(old: &Path, new: &File) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, fchown};
    let (old, made) = (fs::metadata(old)?, new.metadata()?);
    if (old.uid(), old.gid()) != (made.uid(), made.gid()) {
        drop(fchown(new, Some(old.uid()), Some(old.gid()))); // only root may; for others the file becomes theirs
    }
    new.set_permissions(old.permissions())
}

#[cfg(not(unix))]
fn keep_metadata(old: &Path, new: &File) -> io::Result<()> {
    new.set_permissions(fs::metadata(old)?.permissions())
}

#[cfg(all(test, unix))]
#[expect(clippy::unwrap_used, reason = "a test that panics has failed")]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_link_is_written_through_and_the_mode_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real/fleet.toml"), dir.path().join("fleet.toml"));
        fs::create_dir(dir.path().join("real")).unwrap();
        fs::write(&real, "one").unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
        symlink("real/fleet.toml", &link).unwrap();
        assert_eq!(replace(&link, Some("one"), "two").unwrap(), Replaced::Done);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&real).unwrap(), "two");
        assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(names(&dir.path().join("real")), ["fleet.toml"]);
    }

    #[test]
    fn what_changed_meanwhile_and_what_is_there_already_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fleet.toml");
        fs::write(&path, "another's").unwrap();
        assert_eq!(replace(&path, Some("one"), "two").unwrap(), Replaced::Changed);
        assert_eq!(replace(&path, None, "two").unwrap(), Replaced::Changed);
        assert_eq!(fs::read_to_string(&path).unwrap(), "another's");
        assert_eq!(replace(&dir.path().join("agents/pete.toml"), None, "new").unwrap(), Replaced::Done);
        assert_eq!(fs::read_to_string(dir.path().join("agents/pete.toml")).unwrap(), "new");
        assert_eq!(names(dir.path()), ["agents", "fleet.toml"]);
    }
}
