//! Connections that break, stall and come back.

use std::time::{Duration, Instant};

use crate::ssh::{Event, Patience, Policy, ProcessEvent, SshError, State, Status};

use tokio::task::JoinSet;

use super::bed::{Server, heard, network, printed, quick, seconds};

#[tokio::test]
async fn killed_server_loses_what_ran_and_the_next_use_is_back() {
    let Some(mut server) = Server::start(&[]).await else { return };
    let (network, events) = heard(quick());
    let connection = network.connection(&server.target()).with_patience(Patience::STEADY);
    let mut process = connection.process(Some("echo up; sleep 60"), None, &[]).await.unwrap();
    assert_eq!(process.next().await, Some(ProcessEvent::Stdout(b"up\n".to_vec())));
    let running = tokio::spawn({
        let connection = connection.clone();
        async move { connection.exec("sleep 60", b"", seconds(30)).await }
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    server.kill();
    let error = running.await.unwrap().unwrap_err();
    assert!(matches!(error, SshError::Lost { .. }) && error.is_passing(), "{error}");
    assert_eq!(process.next().await, Some(ProcessEvent::Exit(Status::Lost)));
    assert_eq!(connection.report().state, State::Broken);

    let back = tokio::spawn(async move { printed(&connection, "echo back").await });
    tokio::time::sleep(Duration::from_millis(150)).await;
    server.restart().await;
    assert_eq!(back.await.unwrap(), "back\n");
    let events = events.lock().unwrap();
    assert!(events.iter().any(|event| matches!(event, Event::Lost { .. })));
    assert!(events.iter().any(|event| matches!(event, Event::Reconnecting { .. })));
}

#[tokio::test]
async fn stopped_server_is_noticed_by_keepalives() {
    let Some(server) = Server::start(&[]).await else { return };
    let policy = Policy { keepalive_every: Duration::from_millis(300), keepalives_missed_max: 2, ..quick() };
    let connection = network(policy).connection(&server.target());
    let running = tokio::spawn({
        let connection = connection.clone();
        async move { connection.exec("sleep 30", b"", seconds(20)).await }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    server.signal("STOP", false);
    let started = Instant::now();
    // The one that listens was not stopped: what has no channel yet moves to a new connection.
    assert_eq!(printed(&connection, "echo moved").await, "moved\n");
    let error = running.await.unwrap().unwrap_err();
    server.signal("CONT", false);
    assert!(matches!(&error, SshError::Lost { why, .. } if why == "the server stopped answering"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    let events = format!("{:?}", connection.report().events);
    assert!(events.contains("the server stopped answering"), "{events}");
}

#[tokio::test]
async fn closed_connection_is_no_loss_and_opens_again() {
    let Some(server) = Server::start(&[]).await else { return };
    let (network, events) = heard(quick());
    let connection = network.connection(&server.target());
    printed(&connection, "true").await;
    connection.close().await;
    assert_eq!(connection.report().state, State::Idle);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!events.lock().unwrap().iter().any(|event| matches!(event, Event::Lost { .. })));
    assert_eq!(printed(&connection, "echo again").await, "again\n");
    assert_eq!(connection.report().attempts, 2);
}

#[tokio::test]
async fn stopped_server_is_noticed_while_it_takes_no_bytes() {
    let Some(server) = Server::start(&[]).await else { return };
    let policy = Policy { keepalive_every: Duration::from_millis(300), keepalives_missed_max: 1, ..quick() };
    let connection = network(policy).connection(&server.target());
    // Eight windows of 2 MiB are more than the sockets' buffers hold: the library itself gets stuck in a write.
    let mut writers = JoinSet::new();
    for _ in 0..8 {
        let mut process = connection.process(Some("echo up; cat > /dev/null"), None, &[]).await.unwrap();
        assert_eq!(process.next().await, Some(ProcessEvent::Stdout(b"up\n".to_vec())));
        writers.spawn(async move {
            while process.input().write(&[0; 1 << 20]).await.is_ok() {}
            process.next().await
        });
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    server.signal("STOP", false);
    let ends = tokio::time::timeout(Duration::from_secs(8), writers.join_all()).await.unwrap();
    server.signal("CONT", false);
    assert!(ends.iter().all(|end| *end == Some(ProcessEvent::Exit(Status::Lost))));
}

#[tokio::test]
async fn dropped_network_hangs_up() {
    let Some(server) = Server::start(&[]).await else { return };
    let network = network(quick());
    network.connection(&server.target()).open().await.unwrap();
    assert!(server.serves() > 0);
    drop(network);
    let started = Instant::now();
    while server.serves() > 0 {
        assert!(started.elapsed() < Duration::from_secs(5), "it still serves us");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
