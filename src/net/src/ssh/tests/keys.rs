//! Keys and pins: what lets us in, and what never does.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::ssh::{Event, Key, Pin, SshError, Target};

use super::bed::{Server, heard, network, new_key, printed, quick};

#[tokio::test]
async fn wrong_host_key_is_a_hard_stop_and_tried_once() {
    let Some(server) = Server::start(&[]).await else { return };
    new_key(&server.path("other"), "");
    let pin: Pin = server.text("other.pub").parse().unwrap();
    let (network, events) = heard(quick());
    let connection = network.connection(&Target { pins: vec![pin.clone()], ..server.target() });
    let error = connection.open().await.unwrap_err();
    let SshError::HostKey { expected, found, .. } = &error else { panic!("{error}") };
    assert_eq!(expected, &[pin.fingerprint()]);
    assert_eq!(found.as_ref(), Some(&server.pin().fingerprint()));
    assert!(error.to_string().contains("hard stop") && error.help().unwrap().contains("host_key in fleet.toml"));
    assert!(!error.is_passing());
    let tries = events.lock().unwrap().iter().filter(|event| matches!(event, Event::Connecting { .. })).count();
    assert_eq!(tries, 1);
}

#[tokio::test]
async fn each_of_several_pins_is_accepted() {
    let Some(server) = Server::start(&[]).await else { return };
    new_key(&server.path("other"), "");
    let pins = vec![server.text("other.pub").parse().unwrap(), server.pin()];
    let connection = network(quick()).connection(&Target { pins, ..server.target() });
    connection.open().await.unwrap();
    assert_eq!(connection.report().pin_fingerprint, Some(server.pin().fingerprint()));
}

#[tokio::test]
async fn who_knows_only_a_label_gets_in_there_and_nowhere_else_and_learns_the_whole_key() {
    let Some(server) = Server::start(&[]).await else { return };
    let label = server.pin().label();
    let connection =
        network(quick()).connection(&Target { pins: vec![Pin::from_label(&label).unwrap()], ..server.target() });
    assert_eq!(connection.report().host_key, None, "nothing is known before the first login");
    assert_eq!(printed(&connection, "echo in").await, "in\n");
    let shown = connection.report().host_key.unwrap();
    assert_eq!(shown.parse::<Pin>().unwrap().label(), label);
    assert!(server.text("host.pub").starts_with(&shown), "{shown}");

    new_key(&server.path("other"), "");
    let other: Pin = server.text("other.pub").parse().unwrap();
    let pins = vec![Pin::from_label(&other.label()).unwrap()];
    let error = network(quick()).connection(&Target { pins, ..server.target() }).open().await.unwrap_err();
    assert!(matches!(error, SshError::HostKey { .. }), "{error}");
}

#[tokio::test]
async fn server_without_an_ed25519_host_key_is_a_host_key_error() {
    let Some(mut server) = Server::start(&[]).await else { return };
    server.kill();
    let ecdsa = server.path("ecdsa");
    Command::new("ssh-keygen").args(["-q", "-t", "ecdsa", "-N", "", "-f"]).arg(&ecdsa).status().unwrap();
    let config = server.text("config").replace("/host\n", "/ecdsa\n");
    std::fs::write(server.path("config"), config).unwrap();
    server.restart().await;
    let error = server.connection().open().await.unwrap_err();
    assert!(matches!(error, SshError::HostKey { found: None, .. }), "{error}");
}

#[tokio::test]
async fn refused_key_is_tried_once_and_named() {
    let Some(server) = Server::start(&[]).await else { return };
    new_key(&server.path("other"), "");
    let key = Key::held(&server.text("other").into()).unwrap();
    let fingerprint = key.fingerprint().unwrap();
    let connection = network(quick()).connection(&Target { keys: vec![key], ..server.target() });
    let error = connection.open().await.unwrap_err();
    let SshError::KeyRefused { tried, user, .. } = &error else { panic!("{error}") };
    assert_eq!((tried, &**user), (&vec![fingerprint], "root"));
    assert_eq!(connection.report().attempts, 1);
}

#[tokio::test]
async fn keys_are_tried_in_order_and_the_accepted_one_is_known() {
    let Some(server) = Server::start(&[]).await else { return };
    new_key(&server.path("other"), "");
    let keys = vec![Key::held(&server.text("other").into()).unwrap(), server.key()];
    let connection = network(quick()).connection(&Target { keys, ..server.target() });
    connection.open().await.unwrap();
    assert_eq!(connection.report().key_fingerprint, server.key().fingerprint());
}

#[tokio::test]
async fn too_many_keys_are_a_refusal_not_a_broken_line() {
    let Some(server) = Server::start(&["MaxAuthTries 2"]).await else { return };
    let mut keys = Vec::new();
    for number in 0..4 {
        new_key(&server.path(&format!("other{number}")), "");
        keys.push(Key::held(&server.text(&format!("other{number}")).into()).unwrap());
    }
    let error = network(quick()).connection(&Target { keys, ..server.target() }).open().await.unwrap_err();
    assert!(matches!(error, SshError::KeyRefused { .. }), "{error}");
}

#[tokio::test]
async fn encrypted_key_file_asks_for_its_passphrase_once() {
    let Some(server) = Server::start(&[]).await else { return };
    new_key(&server.path("locked"), "open sesame");
    std::fs::copy(server.path("locked.pub"), server.path("authorized_keys")).unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let passphrase = Arc::new(move |_: &std::path::Path| {
        count.fetch_add(1, Ordering::Relaxed);
        Some("open sesame".to_owned().into())
    });
    let key = Key::file(server.path("locked"), passphrase);
    let connection = network(quick()).connection(&Target { keys: vec![key.clone()], ..server.target() });
    assert_eq!(printed(&connection, "echo in").await, "in\n");
    connection.fresh(None, None).await.unwrap();
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    assert_eq!(connection.report().key_fingerprint, key.fingerprint());

    for (passphrase, expected) in [(None, "nobody gave"), (Some("wrong".to_owned()), "is wrong")] {
        let key = Key::file(server.path("locked"), Arc::new(move |_| passphrase.clone().map(Into::into)));
        let error = connection.fresh(Some(vec![key]), None).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[tokio::test]
async fn agent_signs_without_giving_its_key_away() {
    let Some(server) = Server::start(&[]).await else { return };
    let socket = server.path("agent.sock");
    let missing = Target { keys: vec![Key::agent(&socket)], ..server.target() };
    let error = network(quick()).connection(&missing).open().await.unwrap_err();
    assert!(matches!(error, SshError::Agent { .. }), "{error}");

    let child = Command::new("ssh-agent").args(["-D", "-a"]).arg(&socket).stdout(Stdio::null()).spawn().unwrap();
    let _agent = Agent(child);
    let add = || Command::new("ssh-add").arg("-q").arg(server.path("user")).env("SSH_AUTH_SOCK", &socket).status();
    let mut tries = 0;
    while !add().unwrap().success() {
        tries += 1;
        assert!(tries < 100, "the agent does not come up");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let connection = network(quick()).connection(&missing);
    assert_eq!(printed(&connection, "echo in").await, "in\n");
    assert_eq!(connection.report().key_fingerprint, server.key().fingerprint());
}

#[tokio::test]
async fn fresh_login_fails_once_the_key_is_gone_while_the_old_connection_works() {
    let Some(server) = Server::start(&[]).await else { return };
    let connection = server.connection();
    printed(&connection, "true").await;
    let proof = connection.fresh(None, None).await.unwrap();
    assert_eq!(printed(&proof, "echo proven").await, "proven\n");
    std::fs::write(server.path("authorized_keys"), "").unwrap();
    let error = connection.fresh(None, None).await.unwrap_err();
    assert!(matches!(error, SshError::KeyRefused { .. }), "{error}");
    assert_eq!(printed(&connection, "echo still").await, "still\n");
}

#[test]
fn only_unencrypted_ed25519_keys_are_held_and_nothing_prints_them() {
    let folder = tempfile::TempDir::new().unwrap();
    new_key(&folder.path().join("locked"), "words");
    new_key(&folder.path().join("plain"), "");
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    assert!(Key::held(&read("locked").into()).unwrap_err().to_string().contains("encrypted"));
    assert!(matches!(Key::held(&"nonsense".to_owned().into()), Err(SshError::BadKey { .. })));
    let text = read("plain");
    let shown = format!("{:?}", Key::held(&text.clone().into()).unwrap());
    assert!(shown.starts_with("Key(held, SHA256:"));
    assert!(text.lines().all(|line| !shown.contains(line)));
    let ecdsa = folder.path().join("ecdsa");
    Command::new("ssh-keygen").args(["-q", "-t", "ecdsa", "-N", "", "-f"]).arg(&ecdsa).status().unwrap();
    assert!(Key::held(&read("ecdsa").into()).unwrap_err().to_string().contains("only ssh-ed25519"));
}
