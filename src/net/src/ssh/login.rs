//! One login: reach the server, check its host key against the pins, offer the keys in order.
//!
//! One try only. It does not retry, count, or wait for limits; [`Access`](crate::ssh::access::Access) does.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use russh::client::{AuthResult, Config, DisconnectReason, Handle, Handler, connect_stream};
use russh::keys::{Algorithm, PrivateKeyWithHashAlg, PublicKey, PublicKeyOrCertificate};
use russh::{AlgorithmKind, Preferred};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::ssh::event::{Event, Log};
use crate::ssh::key::{Identity, agent_at, agent_failed};
use crate::ssh::pin::fingerprint;
use crate::ssh::session::{Gone, Proven, Session};
use crate::ssh::{Pin, Policy, SshError, Target};

/// The longest text of somebody else's that goes into an error, in characters.
const TEXT_MAX: usize = 300;

/// What a login runs over: a TCP connection, or a channel of a jump host.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// Decides about the server's host key, and hears when the connection ends.
pub(crate) struct Gate {
    pins: Vec<Pin>,
    seen: Arc<Mutex<Seen>>,
    gone: watch::Sender<Option<String>>,
    ending: Arc<AtomicBool>,
    log: Arc<Log>,
}

/// What the gate saw.
#[derive(Default)]
struct Seen {
    /// The host key the server proved, and whether it is pinned.
    host_key: Option<(PublicKey, bool)>,
    logged_in: bool,
}

impl Handler for Gate {
    type Error = russh::Error;

    async fn check_server_key(&mut self, proved: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        let key = proved.public_key();
        let known = proved.certificate().is_none() && self.pins.iter().any(|pin| pin.is(&key));
        locked(&self.seen).host_key = Some((key, known));
        Ok(known)
    }

    async fn disconnected(&mut self, reason: DisconnectReason<russh::Error>) -> Result<(), russh::Error> {
        let why = match reason {
            DisconnectReason::ReceivedDisconnect(info) => format!("the server ended it: {}", lower(&info.message)),
            DisconnectReason::Error(russh::Error::KeepaliveTimeout | russh::Error::InactivityTimeout) => {
                "the server stopped answering".to_owned()
            }
            DisconnectReason::Error(russh::Error::HUP | russh::Error::Disconnect) => "the server hung up".to_owned(),
            DisconnectReason::Error(error) => lower(&error),
        };
        if locked(&self.seen).logged_in && !self.ending.load(Ordering::Relaxed) {
            self.log.say(Event::Lost { why: why.clone() });
        }
        // Last, so that whoever wakes up and logs in anew is told of after the loss.
        self.gone.send_replace(Some(why));
        Ok(())
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.gone.send_if_modified(|gone| {
            let is_news = gone.is_none();
            gone.get_or_insert_with(|| "it broke".to_owned());
            is_news
        });
    }
}

/// Logs in over `wire`, or over a new TCP connection.
pub(crate) async fn login(
    target: &Target,
    wire: Option<Box<dyn Wire>>,
    policy: &Policy,
    log: &Arc<Log>,
) -> Result<Session, SshError> {
    if target.pins.is_empty() {
        let why = "no host key is pinned for it".to_owned();
        return Err(SshError::BadKey { what: format!("the pins of {}", target.label), why });
    }
    let seen = Arc::new(Mutex::new(Seen::default()));
    let (gone_sender, gone) = watch::channel(None);
    let ending = Arc::new(AtomicBool::new(false));
    let gate = Gate {
        pins: target.pins.clone(),
        seen: seen.clone(),
        gone: gone_sender,
        ending: ending.clone(),
        log: log.clone(),
    };

    let greeted =
        within(policy.connect_time, || format!("connect to {}", target.place()), greet(target, wire, policy, gate));
    let mut handle = greeted.await?.map_err(|error| not_greeted(target, &seen, &error))?;
    let proving =
        within(policy.login_time, || format!("log in at {}", target.place()), prove(target, &mut handle, &gone));
    let key_fingerprint = proving.await??;

    let proven = {
        let seen = locked(&seen);
        let shown = seen.host_key.as_ref().map(|(key, _)| key);
        Proven {
            key_fingerprint,
            pin_fingerprint: shown.map(fingerprint).unwrap_or_default(),
            host_key: shown.and_then(|key| key.to_openssh().ok()).unwrap_or_default(),
        }
    };
    locked(&seen).logged_in = true;
    let slots = (policy.channels_at_once, policy.forwards_at_once);
    Ok(Session::new(handle, proven, gone, ending, slots))
}

async fn within<T>(limit: Duration, what: impl Fn() -> String, work: impl Future<Output = T>) -> Result<T, SshError> {
    let timed_out = |_| SshError::TimedOut { what: what(), seconds: limit.as_secs_f64().ceil() as u64 };
    tokio::time::timeout(limit, work).await.map_err(timed_out)
}

async fn greet(
    target: &Target,
    wire: Option<Box<dyn Wire>>,
    policy: &Policy,
    gate: Gate,
) -> Result<Handle<Gate>, russh::Error> {
    let wire = match wire {
        Some(wire) => wire,
        None => {
            let socket = TcpStream::connect((target.address.as_str(), target.port)).await?;
            // Without it small packets wait for acknowledgements: 120 ms instead of 2 ms per command.
            socket.set_nodelay(true)?;
            Box::new(socket)
        }
    };
    connect_stream(Arc::new(config(policy)), wire, gate).await
}

fn config(policy: &Policy) -> Config {
    Config {
        preferred: Preferred { key: Cow::Owned(vec![Algorithm::Ed25519]), ..Preferred::default() },
        keepalive_interval: Some(policy.keepalive_every),
        keepalive_max: policy.keepalives_missed_max,
        // Ends a handshake that stands still, and a write a frozen server does not take: the library sends no
        // keepalive before the login, nor while it writes. Otherwise keepalives come first.
        inactivity_timeout: Some(policy.keepalive_every * (policy.keepalives_missed_max as u32 + 2)),
        nodelay: true,
        ..Config::default()
    }
}

fn not_greeted(target: &Target, seen: &Mutex<Seen>, error: &russh::Error) -> SshError {
    let wrong_key = |found| SshError::HostKey {
        label: target.label.clone(),
        expected: target.pins.iter().map(Pin::fingerprint).collect(),
        found,
    };
    match (&locked(seen).host_key, error) {
        (Some((found, false)), _) => wrong_key(Some(fingerprint(found))),
        (None, russh::Error::NoCommonAlgo { kind: AlgorithmKind::Key, .. }) => wrong_key(None),
        _ => SshError::Unreachable { address: target.place(), why: lower(error) },
    }
}

/// Offers the keys in order; returns the fingerprint of the one that was accepted.
async fn prove(target: &Target, handle: &mut Handle<Gate>, gone: &Gone) -> Result<String, SshError> {
    let (mut tried, mut trouble) = (Vec::new(), None);
    for key in &target.keys {
        let identities = match key.identities().await {
            Ok(identities) => identities,
            Err(error) => {
                trouble.get_or_insert(error);
                continue;
            }
        };
        for identity in identities {
            let accepted = match offer(target, handle, &identity).await {
                Ok(answer) => answer.success(),
                Err(error @ SshError::Agent { .. }) => {
                    trouble.get_or_insert(error);
                    continue;
                }
                Err(error) => return Err(error),
            };
            tried.push(identity.fingerprint());
            if accepted {
                return Ok(identity.fingerprint());
            }
            if handle.is_closed() {
                return Err(hung_up(target, gone, tried).await);
            }
        }
    }
    match trouble {
        Some(error) if tried.is_empty() => Err(error),
        _ => Err(SshError::KeyRefused { user: target.user.clone(), address: target.place(), tried }),
    }
}

async fn offer(target: &Target, handle: &mut Handle<Gate>, identity: &Identity) -> Result<AuthResult, SshError> {
    let broke = |error: &dyn std::fmt::Display| SshError::Unreachable { address: target.place(), why: lower(error) };
    match identity {
        Identity::Private(key) => {
            let key = PrivateKeyWithHashAlg::new(key.clone(), None);
            handle.authenticate_publickey(&target.user, key).await.map_err(|error| broke(&error))
        }
        Identity::Agent { public, path } => {
            let mut agent = agent_at(path).await?;
            let signed = handle.authenticate_publickey_with(&target.user, public.clone(), None, &mut agent).await;
            signed.map_err(|error| agent_failed(path, &error))
        }
    }
}

/// The server hung up during authentication: after too many keys it says so, otherwise something else broke.
async fn hung_up(target: &Target, gone: &Gone, tried: Vec<String>) -> SshError {
    match crate::ssh::session::end_of(gone).await {
        why if why.contains("authentication failures") => {
            SshError::KeyRefused { user: target.user.clone(), address: target.place(), tried }
        }
        why => SshError::Unreachable { address: target.place(), why },
    }
}

fn locked(seen: &Mutex<Seen>) -> std::sync::MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns an error's text as a fragment of one line: the library writes sentences, and a server may write anything.
pub(crate) fn lower(error: &dyn std::fmt::Display) -> String {
    let text = error.to_string();
    let mut letters = text.trim().chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(TEXT_MAX);
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}
