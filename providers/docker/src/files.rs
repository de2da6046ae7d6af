//! Files in an agent's volumes, read and written through its anchor. Nothing here is atomic: what must be is written
//! under another name and renamed by a helper.

use std::collections::BTreeMap;
use std::io::Read;
use std::time::{SystemTime, UNIX_EPOCH};

use bollard::body_full;
use bollard::query_parameters::{DownloadFromContainerOptionsBuilder, UploadToContainerOptions};
use claw_core::provider::ApplyError;
use futures_util::StreamExt;
use zeroize::Zeroizing;

use crate::agent::Agent;
use crate::error::{failed, is_missing};
use crate::names::Role;

/// The largest archive claw reads back, in bytes: what it wrote itself is far smaller.
const ARCHIVE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A file or folder to write.
pub struct Entry<'a> {
    /// Path relative to the folder of the upload; a folder ends in `/`.
    pub path: &'a str,
    /// The content; empty for a folder.
    pub content: &'a [u8],
    /// Permission bits.
    pub mode: u32,
    /// Owner and group.
    pub uid: u64,
}

/// Files by path, erased from memory when dropped: secrets are among them.
pub type Contents = BTreeMap<String, Zeroizing<Vec<u8>>>;

/// Writes entries below a folder of the agent's container.
pub async fn upload(agent: &Agent<'_>, folder: &str, entries: &[Entry<'_>]) -> Result<(), ApplyError> {
    let archive = pack(entries).map_err(|error| ApplyError::fatal(format!("pack files: {error}")))?;
    let options = UploadToContainerOptions {
        path: folder.to_owned(),
        no_overwrite_dir_non_dir: Some("1".to_owned()),
        ..UploadToContainerOptions::default()
    };
    let anchor = agent.names.of(Role::Anchor);
    let body = body_full(archive.to_vec().into());
    let done = agent.docker.upload_to_container(&anchor, Some(options), body).await;
    done.map_err(|error| lost_anchor(agent, &format!("write files to {folder}"), error))
}

/// Returns the files below a path; `None` if the path, or the anchor, is not there.
pub async fn download(agent: &Agent<'_>, path: &str) -> Result<Option<Contents>, ApplyError> {
    let anchor = agent.names.of(Role::Anchor);
    let options = DownloadFromContainerOptionsBuilder::default().path(path).build();
    let mut stream = Box::pin(agent.docker.download_from_container(&anchor, Some(options)));
    let mut archive = Zeroizing::new(Vec::new());
    while let Some(chunk) = stream.next().await {
        match chunk {
            Ok(bytes) if archive.len() + bytes.len() > ARCHIVE_BYTES_MAX => {
                return Err(ApplyError::fatal(format!(
                    "read {path}: more than {} MiB",
                    ARCHIVE_BYTES_MAX / 1024 / 1024
                )));
            }
            Ok(bytes) => archive.extend_from_slice(&bytes),
            Err(error) if is_missing(&error) => return Ok(None),
            Err(error) => return Err(failed(&format!("read {path}"), error)),
        }
    }
    unpack(&archive).map(Some).map_err(|error| ApplyError::fatal(format!("read {path}: {error}")))
}

fn lost_anchor(agent: &Agent<'_>, what: &str, error: bollard::errors::Error) -> ApplyError {
    if is_missing(&error) {
        ApplyError::fatal(format!("{what}: the anchor of {} is gone", agent.names.agent()))
            .help("somebody removed it while claw worked; apply again and claw makes a new one")
    } else {
        failed(what, error)
    }
}

fn pack(entries: &[Entry<'_>]) -> std::io::Result<Zeroizing<Vec<u8>>> {
    // a gateway that watches a file looks at its time: without one, two files of the same length are the same to it
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let size: usize = entries.iter().map(|entry| entry.content.len() + 2048).sum();
    // reserved whole, so that no half-grown copy of a secret stays behind in memory
    let mut builder = tar::Builder::new(Vec::with_capacity(size + 4096));
    for entry in entries {
        let mut header = tar::Header::new_gnu();
        let folder = entry.path.ends_with('/');
        header.set_entry_type(if folder { tar::EntryType::Directory } else { tar::EntryType::Regular });
        header.set_size(entry.content.len() as u64);
        header.set_mode(entry.mode);
        header.set_uid(entry.uid);
        header.set_gid(entry.uid);
        header.set_mtime(now);
        builder.append_data(&mut header, entry.path, entry.content)?;
    }
    Ok(Zeroizing::new(builder.into_inner()?))
}

/// Returns the plain files of an archive, without the folder the engine puts first. Links are left out: an agent may
/// have made them to point anywhere.
fn unpack(archive: &[u8]) -> std::io::Result<Contents> {
    let mut files = Contents::new();
    for entry in tar::Archive::new(archive).entries()? {
        let mut entry = entry?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let path = entry.path()?.to_string_lossy().into_owned();
        let path = path.split_once('/').map_or(path.as_str(), |(_, rest)| rest).to_owned();
        let mut content = Zeroizing::new(Vec::with_capacity(usize::try_from(entry.size()).unwrap_or_default()));
        entry.read_to_end(&mut content)?;
        files.insert(path, content);
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_come_back_as_they_went() {
        let entries = [
            Entry { path: "config/", content: b"", mode: 0o755, uid: 0 },
            Entry { path: "config/a.json", content: b"{}", mode: 0o644, uid: 0 },
        ];
        let archive = pack(&entries).expect("packs");
        let files = unpack(&archive).expect("unpacks");
        assert_eq!(files.keys().collect::<Vec<_>>(), ["a.json"]);
    }

    #[test]
    fn a_cut_archive_is_an_error_and_not_an_empty_folder() {
        let archive = pack(&[Entry { path: "a/b", content: &[1; 2000], mode: 0o644, uid: 0 }]).expect("packs");
        assert!(unpack(&archive[..700]).is_err());
    }
}
