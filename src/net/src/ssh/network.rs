//! What connections share: limits, attempt counts, the observer, and one connection per server.
//!
//! It decides when a login may be tried; how one is done is [`login`](crate::ssh::login)'s business.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::ssh::attempts::Attempts;
use crate::ssh::event::{Event, Log};
use crate::ssh::login::{Wire, login};
use crate::ssh::session::Session;
use crate::ssh::{Connection, Observer, Patience, Policy, SshError, Target};

/// All connections of one program. Clones are the same network.
#[derive(Clone)]
pub struct Network(Arc<Shared>);

struct Shared {
    policy: Policy,
    observer: Arc<dyn Observer>,
    doors: Mutex<HashMap<String, Arc<Door>>>,
    connections: Mutex<HashMap<String, Connection>>,
}

/// One server's sshd, whatever user or key it is reached with.
struct Door {
    attempts: Mutex<Attempts>,
    handshakes: Semaphore,
}

impl Network {
    /// Makes a network without connections.
    #[must_use]
    pub fn new(policy: Policy, observer: Arc<dyn Observer>) -> Self {
        Self(Arc::new(Shared { policy, observer, doors: Mutex::default(), connections: Mutex::default() }))
    }

    /// Returns the connection to a target: the one there is, unless the target of that label has changed since.
    /// Nothing is opened yet.
    #[must_use]
    pub fn connection(&self, target: &Target) -> Connection {
        let jump = target.jump.as_deref().map(|jump| self.connection(jump));
        let mut connections = self.0.connections.lock().unwrap_or_else(PoisonError::into_inner);
        match connections.get(&target.label) {
            Some(known) if known.target() == target => known.clone(),
            _ => {
                let made = Connection::new(self.clone(), target.clone(), jump);
                connections.insert(target.label.clone(), made.clone());
                made
            }
        }
    }

    /// Closes every connection.
    pub async fn close(&self) {
        let open: Vec<_> =
            self.0.connections.lock().unwrap_or_else(PoisonError::into_inner).drain().map(|(_, open)| open).collect();
        for connection in open {
            connection.close().await;
        }
    }

    pub(crate) fn policy(&self) -> &Policy {
        &self.0.policy
    }

    pub(crate) fn observer(&self) -> Arc<dyn Observer> {
        self.0.observer.clone()
    }

    pub(crate) fn attempts(&self, target: &Target) -> u64 {
        self.door(target).attempts.lock().unwrap_or_else(PoisonError::into_inner).total()
    }

    /// Logs in, again and again as long as the cause is a passing one and patience lasts.
    pub(crate) async fn log_in(
        &self,
        target: &Target,
        jump: Option<&Connection>,
        patience: Patience,
        log: &Arc<Log>,
    ) -> Result<Session, SshError> {
        let door = self.door(target);
        let mut try_number = 1;
        loop {
            self.wait_for_limits(&door, target, patience, log).await?;
            log.say(Event::Connecting { try_number });
            let started = Instant::now();
            let error = match self.try_once(&door, target, jump, patience, log).await {
                Ok(session) => {
                    door.locked().succeeded();
                    log.say(Event::Connected {
                        key_fingerprint: session.key_fingerprint.clone(),
                        pin_fingerprint: session.pin_fingerprint.clone(),
                        millis: started.elapsed().as_millis() as u64,
                    });
                    return Ok(session);
                }
                Err(error) => error,
            };
            log.say(Event::Refused { why: error.to_string() });
            // A jump host was already tried with the same patience.
            let is_worth_a_try = error.is_passing() && !matches!(error, SshError::Jump { .. });
            if !is_worth_a_try || try_number >= patience.tries {
                let block = door.locked().failed(self.policy(), Instant::now());
                if let Some(block) = block {
                    log.say(Event::Blocked { seconds: block.as_secs() });
                }
                return Err(error);
            }
            let wait = with_jitter(self.policy().retry_wait(try_number));
            log.say(Event::Reconnecting { wait_ms: wait.as_millis() as u64 });
            tokio::time::sleep(wait).await;
            try_number += 1;
        }
    }

    async fn wait_for_limits(
        &self,
        door: &Door,
        target: &Target,
        patience: Patience,
        log: &Log,
    ) -> Result<(), SshError> {
        let deadline = Instant::now() + patience.limits_wait;
        loop {
            let now = Instant::now();
            let Err(wait) = door.locked().take(self.policy(), now) else { return Ok(()) };
            let seconds = wait.as_secs_f64().ceil() as u64;
            log.say(Event::Blocked { seconds });
            if now + wait > deadline {
                return Err(SshError::Blocked { label: target.label.clone(), seconds });
            }
            tokio::time::sleep(wait).await;
        }
    }

    async fn try_once(
        &self,
        door: &Door,
        target: &Target,
        jump: Option<&Connection>,
        patience: Patience,
        log: &Arc<Log>,
    ) -> Result<Session, SshError> {
        let _turn = door.handshakes.acquire().await.expect("nobody closes this semaphore");
        let wire: Option<Box<dyn Wire>> = match jump {
            None => None,
            Some(jump) => Some(Box::new(through(&jump.with_patience(patience), target).await?)),
        };
        login(target, wire, self.policy(), log).await
    }

    fn door(&self, target: &Target) -> Arc<Door> {
        // Behind different jump hosts the same private address is a different machine.
        let mut place = target.place();
        let mut hop = target.jump.as_deref();
        while let Some(jump) = hop {
            place = format!("{} {place}", jump.place());
            hop = jump.jump.as_deref();
        }
        let mut doors = self.0.doors.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || Arc::new(Door::new(self.policy().handshakes_at_once));
        doors.entry(place).or_insert_with(make).clone()
    }
}

impl Door {
    fn new(handshakes: usize) -> Self {
        Self { attempts: Mutex::default(), handshakes: Semaphore::new(handshakes) }
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Attempts> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens the way to a target's sshd through a jump host. The target not answering there is the target's trouble.
async fn through(jump: &Connection, target: &Target) -> Result<crate::ssh::Stream, SshError> {
    jump.dial_tcp(&target.address, target.port).await.map_err(|error| match error {
        SshError::ForwardingRefused { why, .. } if why == crate::ssh::connection::NOTHING_ANSWERS => {
            SshError::Unreachable { address: target.place(), why: format!("{why} (seen from {})", jump.target().label) }
        }
        error => SshError::Jump { label: jump.target().label.clone(), source: Box::new(error) },
    })
}

/// Adds up to half of the wait, so that many clients that lost a server do not come back in one moment.
fn with_jitter(wait: Duration) -> Duration {
    // A fresh RandomState is seeded by the system; spreading retries needs no better randomness.
    let draw = RandomState::new().build_hasher().finish() % 1024;
    wait + wait.mul_f64(draw as f64 / 2048.0)
}
