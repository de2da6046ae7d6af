//! Files on a server, over SFTP.
//!
//! It does not walk trees, follow links on purpose, or change owners; commands do that better.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::SystemTime;

use russh_sftp::client::SftpSession;
use russh_sftp::client::fs::File;
use russh_sftp::protocol::{FileAttributes, FileType, OpenFlags};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::ssh::exec::{Running, agreed};
use crate::ssh::session::Place;
use crate::ssh::{Connection, Exec, SshError, Stream};

/// How long the server may take to move a written file into its place.
const MOVE_SECONDS: u64 = 30;

/// A file session: one channel until it is dropped.
pub struct Sftp {
    session: SftpSession,
    on: Connection,
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name alone.
    pub name: String,
    /// What it is.
    pub kind: EntryKind,
    /// Its size.
    pub bytes: u64,
    /// Its permission bits, without the kind of file.
    pub mode: u32,
}

/// What a name in a directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum EntryKind {
    File,
    Directory,
    Link,
    Other,
}

impl Sftp {
    pub(crate) async fn start(on: &Connection) -> Result<Self, SshError> {
        let (channel, lease) = on.channel(Place::Session).await?;
        let mut running = Running::new(channel, lease, on.policy().ending_time);
        let parts = running.parts();
        parts.write.request_subsystem(true, "sftp").await.map_err(|_| on.lost(&parts.lease.session))?;
        agreed(parts, on, "sftp").await?;
        let stream = running.into_stream(on.policy());
        let session = SftpSession::new(stream).await.map_err(|error| failed(on, "open", "a file session", &error))?;
        Ok(Self { session, on: on.clone() })
    }

    /// Reads a whole file.
    ///
    /// # Errors
    /// [`SshError::File`], or [`SshError::TooMuchOutput`] when it is larger than `bytes_max`.
    pub async fn read_file(&self, path: &str, bytes_max: u64) -> Result<Vec<u8>, SshError> {
        let mut content = Vec::new();
        let mut file = self.reader(path).await?.take(bytes_max + 1);
        file.read_to_end(&mut content).await.map_err(|error| self.failed("read", path, &error))?;
        match content.len() as u64 > bytes_max {
            true => Err(SshError::TooMuchOutput { bytes: bytes_max }),
            false => Ok(content),
        }
    }

    /// Writes a whole file: under a temporary name beside it, then moved over what is there, so that nobody ever sees
    /// half of it. `mode` are its permission bits; until it is complete only its owner may read it.
    ///
    /// # Errors
    /// [`SshError::File`]; what was there before is then untouched.
    pub async fn write_file(&self, path: &str, bytes: &[u8], mode: u32) -> Result<(), SshError> {
        let temporary = beside(path);
        let written = self.write_temporary(&temporary, bytes, mode).await;
        let moved = match written {
            Ok(()) => self.move_over(&temporary, path).await,
            Err(error) => Err(error),
        };
        if moved.is_err() {
            // It may not exist; the first error is the one to tell.
            let _ = self.session.remove_file(&temporary).await;
        }
        moved
    }

    async fn write_temporary(&self, path: &str, bytes: &[u8], mode: u32) -> Result<(), SshError> {
        let mut file = self.created(path, OpenFlags::EXCLUDE, 0o600).await?;
        let writing = async {
            file.write_all(bytes).await?;
            // Waits for all answers, and for the disk where the server can tell.
            file.flush().await?;
            let attributes = FileAttributes { permissions: Some(mode & 0o7777), ..FileAttributes::empty() };
            file.set_metadata(attributes).await.map_err(std::io::Error::other)?;
            file.close().await
        };
        writing.await.map_err(|error| self.failed("write", path, &error))
    }

    /// SFTP's own rename refuses to replace a file.
    async fn move_over(&self, from: &str, to: &str) -> Result<(), SshError> {
        let command = format!("mv -f -T -- {} {}", quoted(from), quoted(to));
        let output = self.on.exec(&command, b"", Exec::within(MOVE_SECONDS)).await?;
        match output.status.is_success() {
            true => Ok(()),
            false => Err(self.failed("write", to, &String::from_utf8_lossy(&output.stderr).trim())),
        }
    }

    /// Returns what is in a directory, sorted by name.
    ///
    /// # Errors
    /// [`SshError::File`].
    pub async fn list(&self, path: &str) -> Result<Vec<Entry>, SshError> {
        let listed = self.session.read_dir(path).await.map_err(|error| self.failed("list", path, &error))?;
        let mut entries: Vec<_> = listed
            .map(|found| Entry {
                name: found.file_name(),
                kind: match found.file_type() {
                    FileType::File => EntryKind::File,
                    FileType::Dir => EntryKind::Directory,
                    FileType::Symlink => EntryKind::Link,
                    FileType::Other => EntryKind::Other,
                },
                bytes: found.metadata().size.unwrap_or(0),
                mode: found.metadata().permissions.unwrap_or(0) & 0o7777,
            })
            .collect();
        entries.sort_by(|one, two| one.name.cmp(&two.name));
        Ok(entries)
    }

    /// Removes a file.
    ///
    /// # Errors
    /// [`SshError::File`], also when there is none.
    pub async fn remove(&self, path: &str) -> Result<(), SshError> {
        self.session.remove_file(path).await.map_err(|error| self.failed("remove", path, &error))
    }

    /// Opens a file for reading.
    ///
    /// # Errors
    /// [`SshError::File`].
    pub async fn reader(&self, path: &str) -> Result<RemoteFile, SshError> {
        let opened = self.session.open_with_flags(path, OpenFlags::READ).await;
        opened.map(RemoteFile).map_err(|error| self.failed("read", path, &error))
    }

    /// Creates a file, or empties the one there is, for writing. It is complete only after `shutdown`.
    ///
    /// # Errors
    /// [`SshError::File`].
    pub async fn writer(&self, path: &str, mode: u32) -> Result<RemoteFile, SshError> {
        self.created(path, OpenFlags::TRUNCATE, mode).await.map(RemoteFile)
    }

    async fn created(&self, path: &str, how: OpenFlags, mode: u32) -> Result<File, SshError> {
        let attributes = FileAttributes { permissions: Some(mode & 0o7777), ..FileAttributes::empty() };
        let flags = OpenFlags::CREATE | OpenFlags::WRITE | how;
        let opened = self.session.open_with_flags_and_attributes(path, flags, attributes).await;
        opened.map_err(|error| self.failed("write", path, &error))
    }

    fn failed(&self, what: &'static str, path: &str, error: &dyn std::fmt::Display) -> SshError {
        failed(&self.on, what, path, error)
    }
}

impl Running {
    fn into_stream(self, policy: &crate::ssh::Policy) -> Stream {
        let parts = self.into_parts();
        Stream::over_halves(parts.read, parts.write, parts.lease, policy)
    }
}

fn failed(on: &Connection, what: &'static str, path: &str, error: &dyn std::fmt::Display) -> SshError {
    let (label, path, why) = (on.target().label.clone(), path.to_owned(), crate::ssh::login::lower(error));
    SshError::File { label, what, path, why }
}

/// Returns a name in the same directory that no other writer takes.
fn beside(path: &str) -> String {
    let (directory, name) = path.rsplit_once('/').map_or(("", path), |(directory, name)| (directory, name));
    let nanos = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos());
    let slash = if path.contains('/') { "/" } else { "" };
    format!("{directory}{slash}.{name}.{}-{nanos:x}.claw", std::process::id())
}

/// Returns a text as one word for a POSIX shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A file on the server, open for reading or writing.
pub struct RemoteFile(File);

impl AsyncRead for RemoteFile {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for RemoteFile {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl std::fmt::Debug for RemoteFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RemoteFile")
    }
}

impl std::fmt::Debug for Sftp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sftp({})", self.on.target().label)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_text_is_one_shell_word() {
        assert_eq!(quoted("/etc/it's a $(file)"), r"'/etc/it'\''s a $(file)'");
    }

    #[test]
    fn temporary_name_stays_in_the_directory() {
        assert!(beside("/etc/motd").starts_with("/etc/.motd."));
        assert!(beside("/motd").starts_with("/.motd."));
        assert!(beside("motd").starts_with(".motd."));
    }
}
