//! Commands with and without a terminal: input, output, exits, limits.

use std::time::{Duration, Instant};

use crate::ssh::{Event, Exec, ProcessEvent, Pty, Signal, SshError, State, Status};

use super::bed::{Server, heard, printed, quick, seconds};

#[tokio::test]
async fn exec_gives_input_output_and_exit_code() {
    let Some(server) = Server::start(&[]).await else { return };
    let connection = server.connection();
    let output = connection.exec("cat; echo oops >&2; exit 7", b"hello", seconds(10)).await.unwrap();
    assert_eq!((output.status, &*output.stdout, &*output.stderr), (Status::Code(7), &b"hello"[..], &b"oops\n"[..]));
    let output = connection.exec("kill -TERM $$", b"", seconds(10)).await.unwrap();
    assert_eq!(output.status, Status::Signal("TERM".into()));
    let report = connection.report();
    assert_eq!(report.state, State::Connected);
    assert_eq!(report.attempts, 1);
    assert!(report.latency_ms.is_some());
    assert_eq!(report.pin_fingerprint, Some(server.pin().fingerprint()));
    assert_eq!(report.key_fingerprint, server.key().fingerprint());
}

#[tokio::test]
async fn exec_carries_megabytes_both_ways() {
    let Some(server) = Server::start(&[]).await else { return };
    let input: Vec<u8> = (0..8_000_000_u32).map(|count| (count % 251) as u8).collect();
    let output = server.connection().exec("cat", &input, seconds(20)).await.unwrap();
    assert!(output.stdout == input);
}

#[tokio::test]
async fn exec_survives_new_session_keys() {
    let Some(server) = Server::start(&["RekeyLimit 1M"]).await else { return };
    let input: Vec<u8> = (0..8_000_000_u32).map(|count| (count % 251) as u8).collect();
    let output = server.connection().exec("cat", &input, seconds(20)).await.unwrap();
    assert!(output.stdout == input);
}

#[tokio::test]
async fn exec_does_not_wait_for_a_command_to_read_its_input() {
    let Some(server) = Server::start(&[]).await else { return };
    let output = server.connection().exec("exec true", &vec![0; 8_000_000], seconds(10)).await.unwrap();
    assert_eq!(output.status, Status::Code(0));
}

#[tokio::test]
async fn exec_stops_at_its_limits_and_the_connection_goes_on() {
    let Some(server) = Server::start(&["MaxSessions 1"]).await else { return };
    let connection = server.connection();
    let limits = Exec { bytes_max: 1000, ..seconds(10) };
    let error = connection.exec("yes", b"", limits).await.unwrap_err();
    assert_eq!(error, SshError::TooMuchOutput { bytes: 1000 });
    assert_eq!(printed(&connection, "echo still").await, "still\n");
    let error = connection.exec("sleep 30", b"", seconds(1)).await.unwrap_err();
    assert!(matches!(error, SshError::CommandTimedOut { seconds: 1, .. }), "{error}");
    // The sleep goes on and keeps the server's only session of that connection: another one is taken.
    assert_eq!(printed(&connection, "echo here").await, "here\n");
}

#[tokio::test]
async fn command_whose_caller_goes_away_frees_its_slot() {
    let Some(server) = Server::start(&["MaxSessions 1"]).await else { return };
    let connection = server.connection();
    for _ in 0..5 {
        let running = connection.exec("cat", b"", seconds(10));
        // Long enough to start it, and sometimes not even that.
        let _ = tokio::time::timeout(Duration::from_millis(3), running).await;
        let kept = connection.exec("echo kept; exec cat > /dev/null", b"", seconds(10));
        assert!(kept.await.unwrap().status.is_success());
    }
}

#[tokio::test]
async fn events_name_a_command_by_its_label_only() {
    let Some(server) = Server::start(&[]).await else { return };
    let (network, events) = heard(quick());
    let limits = Exec { label: Some("greet".into()), ..seconds(10) };
    network.connection(&server.target()).exec("echo SECRET", b"SECRET", limits).await.unwrap();
    let events = events.lock().unwrap();
    assert!(events.iter().any(|event| matches!(event, Event::Executed { label: Some(label), .. } if label == "greet")));
    assert!(!format!("{events:?}").contains("SECRET"));
}

async fn all_of(process: &mut crate::ssh::Process) -> (String, Status) {
    let mut text = Vec::new();
    loop {
        match process.next().await.unwrap() {
            ProcessEvent::Stdout(bytes) | ProcessEvent::Stderr(bytes) => text.extend(bytes),
            ProcessEvent::Exit(status) => return (String::from_utf8_lossy(&text).into_owned(), status),
        }
    }
}

#[tokio::test]
async fn terminal_has_its_size_and_follows_a_resize() {
    let Some(server) = Server::start(&[]).await else { return };
    let pty = Pty { term: "xterm".into(), columns: 91, rows: 17 };
    let command = "stty -echo; stty size; echo $TERM; read line; stty size";
    let mut process = server.connection().process(Some(command), Some(pty), &[]).await.unwrap();
    let mut first = String::new();
    while !first.contains("xterm") {
        let Some(ProcessEvent::Stdout(bytes)) = process.next().await else { panic!("it ended") };
        first.push_str(&String::from_utf8_lossy(&bytes));
    }
    assert!(first.contains("17 91"), "{first}");
    process.input().resize(120, 40).await.unwrap();
    process.input().write(b"\n").await.unwrap();
    let (rest, status) = all_of(&mut process).await;
    assert!(rest.contains("40 120"), "{rest}");
    assert_eq!(status, Status::Code(0));
    assert_eq!(process.next().await, None);
}

#[tokio::test]
async fn process_gets_input_end_of_input_and_environment() {
    let Some(server) = Server::start(&["AcceptEnv GREETING"]).await else { return };
    let env = [("GREETING".to_owned(), "hi".to_owned())];
    let mut process = server.connection().process(Some("echo $GREETING; cat"), None, &env).await.unwrap();
    process.input().write(b"one ").await.unwrap();
    process.input().write(b"two").await.unwrap();
    process.input().end().await.unwrap();
    assert_eq!(all_of(&mut process).await, ("hi\none two".into(), Status::Code(0)));
}

#[tokio::test]
async fn login_shell_runs_without_a_command() {
    let Some(server) = Server::start(&[]).await else { return };
    let mut process = server.connection().process(None, None, &[]).await.unwrap();
    process.input().write(b"echo $((6 * 7)); exit 3\n").await.unwrap();
    let (text, status) = all_of(&mut process).await;
    assert!(text.contains("42"), "{text}");
    assert_eq!(status, Status::Code(3));
}

#[tokio::test]
async fn dropped_processes_free_their_slots() {
    let Some(server) = Server::start(&["MaxSessions 2"]).await else { return };
    let connection = server.connection();
    for _ in 0..6 {
        let mut process = connection.process(Some("echo up; exec cat"), None, &[]).await.unwrap();
        assert_eq!(process.next().await, Some(ProcessEvent::Stdout(b"up\n".to_vec())));
        // sshd refuses signals for root; that is no error here.
        process.input().signal(Signal::Terminate).await.unwrap();
    }
    assert_eq!(connection.report().attempts, 1);
}

#[tokio::test]
async fn process_whose_output_stands_is_ended_and_the_connection_goes_on() {
    let Some(server) = Server::start(&[]).await else { return };
    let policy = crate::ssh::Policy { stall_time: Duration::from_millis(500), ..quick() };
    let connection = super::bed::network(policy).connection(&server.target());
    let mut process = connection.process(Some("yes"), None, &[]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let started = Instant::now();
    assert_eq!(printed(&connection, "echo free").await, "free\n");
    assert!(started.elapsed() < Duration::from_secs(5));
    let (text, status) = all_of(&mut process).await;
    assert!(text.len() < 20_000_000);
    assert_eq!(status, Status::Lost);
}
