//! `claw cp`: files to and from agents and hosts. They travel as one archive; what comes back is unpacked with care.

use std::fs;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use clap::Args;
use claw_core::operate::{Channel, Input, Pipe};
use claw_core::provider::BoxFuture;
use claw_core::text::clean;
use tokio::sync::Mutex;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::Outcome;
use super::operate::{Subject, feed, find, open, recorded};
use crate::args::Global;
use crate::error::CommandError;
use crate::exit;
use crate::render::{self, style};
use crate::session::Session;
use crate::setup::Setup;

/// The most that is copied at once, in bytes.
const BYTES_MAX: u64 = 16 * 1024 * 1024 * 1024;
/// The most files that are copied at once.
const FILES_MAX: usize = 1_000_000;

/// The most that is taken behind the end of an archive, in bytes: tar fills up to blocks of 10 KiB.
const PADDING_BYTES_MAX: u64 = 1024 * 1024;

/// Copy files to or from an agent or a host
///
/// One side is NAME:PATH. An agent's relative paths are in its workspace. A target that ends in `/`, or is a folder here, is
/// copied into; else it is what the copy is called.
#[derive(Debug, Args)]
pub struct Cp {
    /// What to copy: a path here, or NAME:PATH.
    from: String,
    /// Where to: a path here, or NAME:PATH.
    to: String,
}

impl Cp {
    /// Runs it.
    pub fn run(self, global: &Global, setup: &Setup) -> Outcome {
        let session = open(global, setup)?;
        let detail = format!("{} to {}", self.from, self.to);
        let (subject, count) = match (far(&self.from), far(&self.to)) {
            (Some((name, path)), None) => {
                let subject = find(&session, name)?;
                let count = pull(&session, &subject, path, Path::new(&self.to), &detail)?;
                (subject, count)
            }
            (None, Some((name, path))) => {
                let subject = find(&session, name)?;
                let count = push(&session, &subject, Path::new(&self.from), path, &detail)?;
                (subject, count)
            }
            _ => {
                return Err(CommandError::usage("one side must be here and the other at an agent or host")
                    .help("write claw cp NAME:PATH FOLDER, or claw cp FILE NAME:PATH"));
            }
        };
        let noun = if count == 1 { "file" } else { "files" };
        if global.json {
            render::json(&serde_json::json!({ "name": subject.name, "files": count }));
        } else {
            render::out(format_args!("{} {count} {noun} copied", style::paint(style::GREEN, "✓")));
        }
        Ok(exit::DONE)
    }
}

/// Takes NAME:PATH apart; `None` for a path here. A colon behind a slash is part of a name here.
fn far(text: &str) -> Option<(&str, &str)> {
    text.split_once(':').filter(|(name, _)| !name.is_empty() && !name.contains('/'))
}

fn failed(what: &str, error: &io::Error) -> CommandError {
    CommandError::failed(format!("failed to {what}: {error}"))
}

fn pull(session: &Session, subject: &Subject, path: &str, to: &Path, detail: &str) -> Result<usize, CommandError> {
    let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    if name.is_empty() || name == ".." {
        return Err(CommandError::usage(format!("`{path}` names no file")));
    }
    let into = to.is_dir() || to.to_string_lossy().ends_with('/');
    let root = if into { to.join(name) } else { to.to_owned() };
    let (sender, receiver) = channel::<Input>(1);
    let unpacking = std::thread::spawn(move || unpack(Archive::new(receiver), &root));
    let near = Near { sender, input: Mutex::new(None) };
    let outcome = super::wait(subject.operate()?.pull(&subject.target, path, &near))?;
    drop(near);
    let unpacked = unpacking.join().unwrap_or_else(|_| Err(io::Error::other("it broke off")));
    // what went wrong here ended the other side too, and says more
    let unpacked = unpacked.map_err(|error| {
        // it may repeat what is in the archive
        let why = io::Error::other(clean(&error.to_string(), 300));
        failed(&format!("write {}", to.display()), &why)
    });
    match (outcome, unpacked) {
        (Ok(()), unpacked) => {
            recorded(session, "copy", subject, detail, Ok(()))?;
            unpacked
        }
        (Err(error), Err(here)) if error.reason.contains("it cannot be unpacked here") => {
            recorded(session, "copy", subject, detail, Err::<(), _>(error)).ok();
            Err(here)
        }
        (Err(error), _) => recorded(session, "copy", subject, detail, Err(error)),
    }
}

fn push(session: &Session, subject: &Subject, from: &Path, path: &str, detail: &str) -> Result<usize, CommandError> {
    let meta = fs::metadata(from).map_err(|error| failed(&format!("read {}", from.display()), &error))?;
    let own = from.canonicalize().ok().and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
    let own = own.unwrap_or_default();
    let (folder, name) = match path.rsplit_once('/') {
        _ if path.is_empty() || path == "." => (".", own.as_str()),
        Some((folder, "")) => (if folder.is_empty() { "/" } else { folder }, own.as_str()),
        Some((folder, name)) => (if folder.is_empty() { "/" } else { folder }, name),
        None => (".", path),
    };
    let (sender, receiver) = channel::<Input>(1);
    let (reader, writer) = io::pipe().map_err(|error| failed("copy", &error))?;
    feed(sender, reader);
    let owner = subject.operate()?.owner(&subject.target);
    let (from, name) = (from.to_owned(), name.to_owned());
    let packing = std::thread::spawn(move || pack(writer, &from, &name, meta.is_dir(), owner));
    let near = Near { sender: channel(1).0, input: Mutex::new(Some(receiver)) };
    let outcome = super::wait(subject.operate()?.push(&subject.target, folder, &near))?;
    drop(near);
    let packed = packing.join().unwrap_or_else(|_| Err(io::Error::other("it broke off")));
    recorded(session, "copy", subject, detail, outcome)?;
    packed.map_err(|error| failed("read what to copy", &error))
}

/// The near end of a copy.
struct Near {
    sender: Sender<Input>,
    input: Mutex<Option<Receiver<Input>>>,
}

impl Pipe for Near {
    fn read(&self) -> BoxFuture<'_, Input> {
        Box::pin(async {
            match &mut *self.input.lock().await {
                Some(receiver) => receiver.recv().await.unwrap_or(Input::End),
                None => Input::End,
            }
        })
    }

    fn write<'a>(&'a self, _: Channel, bytes: &'a [u8]) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async {
            let sent = self.sender.send(Input::Bytes(bytes.to_vec())).await;
            sent.map_err(|_| io::Error::other("it cannot be unpacked here"))
        })
    }
}

/// An archive as it comes in.
struct Archive {
    receiver: Receiver<Input>,
    piece: io::Cursor<Vec<u8>>,
}

impl Archive {
    fn new(receiver: Receiver<Input>) -> Self {
        Self { receiver, piece: io::Cursor::default() }
    }
}

impl Read for Archive {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let length = self.piece.read(into)?;
            if length > 0 || into.is_empty() {
                return Ok(length);
            }
            match self.receiver.blocking_recv() {
                Some(Input::Bytes(bytes)) => self.piece = io::Cursor::new(bytes),
                _ => return Ok(0),
            }
        }
    }
}

/// Unpacks plain files and folders below a path; the archive's first name becomes the path itself. Links are left out,
/// names that climb are refused: an agent makes them as it likes.
fn unpack(archive: Archive, root: &Path) -> io::Result<usize> {
    let mut archive = tar::Archive::new(archive);
    let (mut count, mut bytes) = (0, 0);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let below = below(&path).ok_or_else(|| io::Error::other("the archive has a name that leads out of it"))?;
        let target = if below.as_os_str().is_empty() { root.to_owned() } else { root.join(below) };
        bytes += entry.size();
        if count >= FILES_MAX || bytes > BYTES_MAX {
            return Err(io::Error::other(format!("more than {FILES_MAX} files or {} GiB", BYTES_MAX >> 30)));
        }
        let kind = entry.header().entry_type();
        if target == root && !kind.is_dir() && !kind.is_file() {
            return Err(io::Error::other("it is neither a file nor a folder: links are not followed"));
        }
        if kind.is_dir() {
            fs::create_dir_all(&target)?;
        } else if kind.is_file() {
            if let Some(folder) = target.parent() {
                fs::create_dir_all(folder)?;
            }
            write(&mut entry, &target)?;
            count += 1;
        }
    }
    // what fills up an archive behind its end is taken too: the far side sends it in any case
    io::copy(&mut archive.into_inner().take(PADDING_BYTES_MAX), &mut io::sink())?;
    Ok(count)
}

/// Returns the part of a path below its first name; `None` where it climbs.
fn below(path: &Path) -> Option<PathBuf> {
    let mut parts = path.components().filter(|part| *part != Component::CurDir);
    parts.next();
    parts.map(|part| if let Component::Normal(name) = part { Some(name) } else { None }).collect()
}

/// Writes a file whole or not at all, never through a link that lies in its place.
fn write(from: &mut impl Read, target: &Path) -> io::Result<()> {
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(".claw-new");
    let draft = target.with_file_name(name);
    let _ = fs::remove_file(&draft);
    let written = fs::File::create_new(&draft).and_then(|mut file| io::copy(from, &mut file));
    let placed = written.and_then(|_| fs::rename(&draft, target));
    if placed.is_err() {
        let _ = fs::remove_file(&draft);
    }
    placed
}

/// Packs a file or folder under a name, as the owner the far side wants.
fn pack(to: impl io::Write, from: &Path, name: &str, is_folder: bool, owner: u64) -> io::Result<usize> {
    let mut builder = tar::Builder::new(to);
    let mut todo = vec![(from.to_owned(), PathBuf::from(name), is_folder)];
    let mut count = 0;
    while let Some((path, name, is_folder)) = todo.pop() {
        let meta = fs::metadata(&path)?;
        let mut header = tar::Header::new_gnu();
        header.set_metadata_in_mode(&meta, tar::HeaderMode::Complete);
        header.set_uid(owner);
        header.set_gid(owner);
        if is_folder {
            header.set_size(0);
            builder.append_data(&mut header, name.join(""), io::empty())?;
            for entry in fs::read_dir(&path)? {
                let entry = entry?;
                let kind = entry.file_type()?;
                // links are left out on the way there as well
                if kind.is_dir() || kind.is_file() {
                    todo.push((entry.path(), name.join(entry.file_name()), kind.is_dir()));
                }
            }
        } else {
            builder.append_data(&mut header, &name, fs::File::open(&path)?)?;
            count += 1;
        }
    }
    builder.into_inner()?.flush()?;
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colon_makes_a_far_path_only_behind_a_name() {
        assert_eq!(far("pete:notes.md"), Some(("pete", "notes.md")));
        assert_eq!(far("pete:"), Some(("pete", "")));
        assert_eq!(far("./a:b"), None);
        assert_eq!(far("notes.md"), None);
    }

    #[test]
    fn names_that_climb_are_refused() {
        assert_eq!(below(Path::new("a/b/c")), Some(PathBuf::from("b/c")));
        assert_eq!(below(Path::new("./a")), Some(PathBuf::new()));
        assert_eq!(below(Path::new("a/../../etc/passwd")), None);
    }
}
