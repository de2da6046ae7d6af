//! Attempts, blocks and queues.

use std::time::Duration;

use crate::ssh::{Connection, Event, Patience, Policy, SshError};
use tokio::task::JoinSet;

use super::bed::{Server, free_port, heard, network, printed, quick};

async fn thirty(connection: &Connection) {
    let mut runs = JoinSet::new();
    for number in 0..30 {
        let connection = connection.clone();
        runs.spawn(async move { printed(&connection, &format!("sleep 0.05; echo {number}")).await });
    }
    let mut numbers: Vec<u32> = runs.join_all().await.iter().map(|text| text.trim().parse().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..30).collect::<Vec<_>>());
    assert_eq!(connection.report().attempts, 1);
}

#[tokio::test]
async fn thirty_commands_go_through_ten_sessions() {
    let Some(server) = Server::start(&["MaxSessions 10"]).await else { return };
    thirty(&server.connection()).await;
}

#[tokio::test]
async fn thirty_commands_go_through_two_sessions() {
    let Some(server) = Server::start(&["MaxSessions 2"]).await else { return };
    thirty(&server.connection()).await;
}

#[tokio::test]
async fn server_without_sessions_is_a_clear_error() {
    let Some(server) = Server::start(&["MaxSessions 0"]).await else { return };
    let error = server.connection().exec("true", b"", super::bed::seconds(5)).await.unwrap_err();
    assert!(matches!(error, SshError::ChannelRefused { .. }), "{error}");
    assert!(error.help().unwrap().contains("MaxSessions"));
}

#[tokio::test]
async fn forty_connections_open_at_once() {
    let Some(server) = Server::start(&["MaxStartups 10:30:100"]).await else { return };
    let network = network(Policy { patience: Patience::STEADY, ..quick() });
    let mut runs = JoinSet::new();
    for number in 0..40 {
        let target = crate::ssh::Target { label: format!("web-{number}"), ..server.target() };
        let connection = network.connection(&target);
        runs.spawn(async move { printed(&connection, "echo in").await });
    }
    assert!(runs.join_all().await.iter().all(|text| text == "in\n"));
    network.close().await;
}

#[tokio::test]
async fn attempts_beyond_the_window_are_blocked() {
    let Some(server) = Server::start(&[]).await else { return };
    let connection = network(Policy { attempts_per_minute: 2, ..quick() }).connection(&server.target());
    connection.fresh(None, None).await.unwrap();
    connection.fresh(None, None).await.unwrap();
    let error = connection.fresh(None, None).await.unwrap_err();
    assert!(matches!(error, SshError::Blocked { seconds: 55..=60, .. }), "{error}");
}

#[tokio::test]
async fn failures_in_a_row_block_a_server_and_all_waiters_share_one_failure() {
    let mut target = match Server::start(&[]).await {
        Some(server) => server.target(),
        None => return,
    };
    target.port = free_port();
    let (network, events) = heard(Policy { failures_before_block: 2, ..quick() });
    let connection = network.connection(&target);
    let mut runs = JoinSet::new();
    for _ in 0..20 {
        let connection = connection.clone();
        runs.spawn(async move { connection.open().await.unwrap_err() });
    }
    for error in runs.join_all().await {
        assert!(matches!(error, SshError::Unreachable { .. }) && error.is_passing(), "{error}");
    }
    assert_eq!(connection.report().attempts, u64::from(Patience::QUICK.tries));
    assert!(matches!(connection.open().await, Err(SshError::Unreachable { .. })));
    let error = connection.open().await.unwrap_err();
    assert!(matches!(&error, SshError::Blocked { seconds: 30, source: Some(_), .. }), "{error}");
    let waits = events.lock().unwrap().iter().filter(|event| matches!(event, Event::Reconnecting { .. })).count();
    assert_eq!(waits, 2);
}

#[tokio::test]
async fn silent_server_is_a_timeout() {
    let Some(server) = Server::start(&[]).await else { return };
    server.signal("STOP", true);
    let policy = Policy { connect_time: Duration::from_millis(300), ..quick() };
    let error = network(policy).connection(&server.target()).open().await.unwrap_err();
    assert!(matches!(error, SshError::TimedOut { .. }), "{error}");
}
