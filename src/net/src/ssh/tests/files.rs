//! Files over sftp, small and large.

use std::os::unix::fs::PermissionsExt;

use crate::ssh::{EntryKind, SshError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::bed::Server;

#[tokio::test]
async fn sixteen_megabytes_go_there_and_back() {
    let Some(server) = Server::start(&[]).await else { return };
    let sftp = server.connection().sftp().await.unwrap();
    let path = server.path("large file's name");
    let name = path.to_str().unwrap();
    let bytes: Vec<u8> = (0..16_u32 << 20).map(|count| (count % 241) as u8).collect();
    std::fs::write(&path, "older").unwrap();
    sftp.write_file(name, &bytes, 0o640).await.unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o640);
    assert!(sftp.read_file(name, 16 << 20).await.unwrap() == bytes);
    assert_eq!(sftp.read_file(name, 1000).await, Err(SshError::TooMuchOutput { bytes: 1000 }));
}

#[tokio::test]
async fn streams_of_large_files_need_no_whole_copy() {
    let Some(server) = Server::start(&[]).await else { return };
    let sftp = server.connection().sftp().await.unwrap();
    let path = server.path("streamed");
    let name = path.to_str().unwrap();
    let mut writer = sftp.writer(name, 0o600).await.unwrap();
    for _ in 0..64 {
        writer.write_all(&[7; 65_536]).await.unwrap();
    }
    writer.shutdown().await.unwrap();
    let mut reader = sftp.reader(name).await.unwrap();
    let (mut chunk, mut total) = (vec![0; 100_000], 0);
    loop {
        match reader.read(&mut chunk).await.unwrap() {
            0 => break,
            count => total += count,
        }
    }
    assert_eq!(total, 64 * 65_536);
}

#[tokio::test]
async fn directory_lists_and_files_go() {
    let Some(server) = Server::start(&[]).await else { return };
    let sftp = server.connection().sftp().await.unwrap();
    let folder = server.path("folder");
    std::fs::create_dir_all(folder.join("sub")).unwrap();
    std::os::unix::fs::symlink("sub", folder.join("link")).unwrap();
    let at = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    sftp.write_file(&at("file"), b"abc", 0o755).await.unwrap();
    let listed = sftp.list(&at("")).await.unwrap();
    let kinds: Vec<_> = listed.iter().map(|entry| (entry.name.as_str(), entry.kind)).collect();
    assert_eq!(kinds, [("file", EntryKind::File), ("link", EntryKind::Link), ("sub", EntryKind::Directory)]);
    assert_eq!((listed[0].bytes, listed[0].mode), (3, 0o755));
    sftp.remove(&at("file")).await.unwrap();
    let error = sftp.remove(&at("file")).await.unwrap_err();
    assert!(matches!(error, SshError::File { what: "remove", .. }), "{error}");
}

#[tokio::test]
async fn failed_write_leaves_the_old_file_and_no_rubbish() {
    let Some(server) = Server::start(&[]).await else { return };
    let sftp = server.connection().sftp().await.unwrap();
    let folder = server.path("target");
    std::fs::create_dir(&folder).unwrap();
    let error = sftp.write_file(folder.to_str().unwrap(), b"abc", 0o600).await.unwrap_err();
    assert!(matches!(error, SshError::File { what: "write", .. }), "{error}");
    let names: Vec<_> =
        std::fs::read_dir(server.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name.to_str().unwrap().ends_with(".claw")), "{names:?}");
}

#[tokio::test]
async fn server_without_sftp_says_so_and_closed_sessions_free_their_slots() {
    let Some(server) = Server::start(&["MaxSessions 2"]).await else { return };
    let connection = server.connection();
    for _ in 0..8 {
        let sftp = connection.sftp().await.unwrap();
        sftp.list("/").await.unwrap();
    }
    assert_eq!(connection.report().attempts, 1);
    let Some(without) = Server::start(&["Match User root", "ForceCommand false"]).await else { return };
    let error = without.connection().sftp().await.unwrap_err();
    assert!(matches!(error, SshError::File { .. } | SshError::StartRefused { .. } | SshError::Lost { .. }), "{error}");
}
