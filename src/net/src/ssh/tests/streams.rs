//! Ports and sockets forwarded, through jump hosts too.

use std::time::Duration;

use crate::ssh::{SshError, Target};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};

use super::bed::{Server, free_port, heard, network, printed, quick};

/// An echo server on a port of its own; counts in `open` how many connections stand.
async fn echo() -> (u16, std::sync::Arc<std::sync::atomic::AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let open = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = open.clone();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let counted = counted.clone();
            counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            tokio::spawn(async move {
                let (mut read, mut write) = socket.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
                counted.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
            });
        }
    });
    (port, open)
}

#[tokio::test]
async fn tcp_stream_carries_megabytes_and_half_closes() {
    let Some(server) = Server::start(&[]).await else { return };
    let (port, _) = echo().await;
    let stream = server.connection().dial_tcp("127.0.0.1", port).await.unwrap();
    let (mut read, mut write) = tokio::io::split(stream);
    let sent: Vec<u8> = (0..5_000_000_u32).map(|count| (count % 253) as u8).collect();
    let expected = sent.clone();
    let writing = tokio::spawn(async move {
        write.write_all(&sent).await.unwrap();
        write.shutdown().await.unwrap();
    });
    let mut got = Vec::new();
    read.read_to_end(&mut got).await.unwrap();
    writing.await.unwrap();
    assert!(got == expected);
}

#[tokio::test]
async fn dropped_streams_free_their_slots_here_and_there() {
    let Some(server) = Server::start(&["MaxSessions 3"]).await else { return };
    let (port, open) = echo().await;
    let policy = crate::ssh::Policy { forwards_at_once: 3, channel_wait_time: Duration::from_secs(5), ..quick() };
    let connection = network(policy).connection(&server.target());
    for _ in 0..50 {
        let mut stream = connection.dial_tcp("127.0.0.1", port).await.unwrap();
        stream.write_all(b"ping").await.unwrap();
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(open.load(std::sync::atomic::Ordering::Relaxed), 0);
}

#[tokio::test]
async fn dropping_a_stream_whose_other_side_never_ends_closes_it() {
    let Some(server) = Server::start(&[]).await else { return };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let policy = crate::ssh::Policy { forwards_at_once: 1, ..quick() };
    let connection = network(policy).connection(&server.target());
    for _ in 0..3 {
        let mut stream = connection.dial_tcp("127.0.0.1", port).await.unwrap();
        stream.write_all(b"last words").await.unwrap();
        let (mut socket, _) = listener.accept().await.unwrap();
        drop(stream);
        let mut heard = Vec::new();
        socket.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"last words");
        let started = std::time::Instant::now();
        while socket.write_all(b"are you there?").await.is_ok() {
            assert!(started.elapsed() < Duration::from_secs(5), "the server still holds it open");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test]
async fn max_sessions_does_not_count_streams() {
    let Some(server) = Server::start(&["MaxSessions 1"]).await else { return };
    let (port, _) = echo().await;
    let connection = server.connection();
    let mut streams = Vec::new();
    for _ in 0..20 {
        streams.push(connection.dial_tcp("127.0.0.1", port).await.unwrap());
    }
    assert_eq!(printed(&connection, "echo in").await, "in\n");
}

#[tokio::test]
async fn broken_connection_is_an_error_to_read_not_an_end() {
    let Some(mut server) = Server::start(&[]).await else { return };
    let (port, _) = echo().await;
    let mut stream = server.connection().dial_tcp("127.0.0.1", port).await.unwrap();
    stream.write_all(b"x").await.unwrap();
    stream.read_u8().await.unwrap();
    server.kill();
    let error = stream.read(&mut [0; 8]).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn stream_writer_wakes_up_when_the_connection_dies() {
    let Some(mut server) = Server::start(&[]).await else { return };
    // Accepts and never reads: the windows fill up.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let connection = server.connection();
    let mut stream = connection.dial_tcp("127.0.0.1", port).await.unwrap();
    let _socket = listener.accept().await.unwrap();
    let writing = tokio::spawn(async move { stream.write_all(&vec![0; 64 << 20]).await });
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!writing.is_finished());
    assert_eq!(printed(&connection, "echo meanwhile").await, "meanwhile\n");
    server.kill();
    tokio::time::timeout(Duration::from_secs(5), writing).await.unwrap().unwrap().unwrap_err();
}

#[tokio::test]
async fn unix_socket_is_reached() {
    let Some(server) = Server::start(&[]).await else { return };
    let path = server.path("echo.sock");
    let listener = UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        socket.write_all(b"hello from the socket").await.unwrap();
    });
    let connection = server.connection();
    let mut stream = connection.dial_unix(path.to_str().unwrap()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "hello from the socket");

    let error = connection.dial_unix("/no/such.sock").await.unwrap_err();
    assert!(matches!(&error, SshError::ForwardingRefused { place, .. } if place == "/no/such.sock"), "{error}");
    let error = connection.dial_tcp("127.0.0.1", free_port()).await.unwrap_err();
    assert!(error.to_string().contains("nothing answers"), "{error}");
    assert_eq!(printed(&connection, "echo on").await, "on\n");
}

#[tokio::test]
async fn forbidden_forwarding_is_named() {
    let Some(server) = Server::start(&["AllowTcpForwarding no", "AllowStreamLocalForwarding no"]).await else { return };
    let error = server.connection().dial_tcp("127.0.0.1", server.port).await.unwrap_err();
    assert!(error.to_string().contains("does not allow forwarding"), "{error}");
    let error = server.connection().dial_unix("/run/docker.sock").await.unwrap_err();
    assert!(matches!(error, SshError::ForwardingRefused { .. }), "{error}");
}

#[tokio::test]
async fn jump_host_leads_to_the_second_server() {
    let (Some(bastion), Some(inner)) = (Server::start(&[]).await, Server::start(&[]).await) else { return };
    let (network, _) = heard(quick());
    let jump = Target { label: "bastion".into(), ..bastion.target() };
    let target = Target { label: "inner".into(), jump: Some(Box::new(jump.clone())), ..inner.target() };
    let connection = network.connection(&target);
    // sshd's own view: SSH_CONNECTION ends with the port of the server.
    let port = printed(&connection, "echo $SSH_CONNECTION | cut -d' ' -f4").await;
    assert_eq!(port.trim(), inner.port.to_string());
    assert_eq!(network.connection(&jump).report().attempts, 1);

    let nowhere = Target { label: "nowhere".into(), port: free_port(), ..target.clone() };
    let error = network.connection(&nowhere).open().await.unwrap_err();
    assert!(matches!(error, SshError::Unreachable { .. }), "{error}");

    let stranger = Target { user: "nobody-here".into(), label: "stranger".into(), ..bastion.target() };
    let lost = Target { label: "lost".into(), jump: Some(Box::new(stranger)), ..inner.target() };
    let error = network.connection(&lost).open().await.unwrap_err();
    let SshError::Jump { label, source } = &error else { panic!("{error}") };
    assert_eq!(label, "stranger");
    assert!(matches!(**source, SshError::KeyRefused { .. }) && !error.is_passing());
}
