//! When a login may be tried: attempt limits, blocks, handshakes at once, retries.
//!
//! How one is done is [`login`](crate::ssh::login)'s business, and which connections there are [`Network`](crate::ssh::Network)'s.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::ssh::attempts::Attempts;
use crate::ssh::connection::{NO_ANSWER_YET, NOTHING_ANSWERS};
use crate::ssh::event::{Event, Log};
use crate::ssh::login::{Wire, login};
use crate::ssh::session::Session;
use crate::ssh::{Connection, Observer, Patience, Policy, SshError, Target};

/// What all connections of a network share.
pub(crate) struct Access {
    policy: Policy,
    observer: Arc<dyn Observer>,
    doors: Mutex<HashMap<String, Arc<Door>>>,
}

/// One server's sshd, whatever user or key it is reached with.
struct Door {
    attempts: Mutex<Attempts>,
    last_failure: Mutex<Option<SshError>>,
    handshakes: Semaphore,
}

impl Access {
    pub(crate) fn new(policy: Policy, observer: Arc<dyn Observer>) -> Self {
        Self { policy, observer, doors: Mutex::default() }
    }

    pub(crate) fn policy(&self) -> &Policy {
        &self.policy
    }

    pub(crate) fn observer(&self) -> Arc<dyn Observer> {
        self.observer.clone()
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
                    door.succeeded();
                    log.say(Event::Connected {
                        key_fingerprint: session.proven.key_fingerprint.clone(),
                        pin_fingerprint: session.proven.pin_fingerprint.clone(),
                        host_key: session.proven.host_key.clone(),
                        millis: started.elapsed().as_millis() as u64,
                    });
                    return Ok(session);
                }
                Err(error) => error,
            };
            if nobody_heard(&error) {
                door.locked().give_back();
            }
            log.say(Event::Refused { why: error.to_string() });
            // A jump host was already tried with the same patience.
            // Who only looks takes silence for an answer: it took long enough to hear.
            let is_silence = matches!(error, SshError::TimedOut { .. }) && patience.tries <= Patience::QUICK.tries;
            let is_worth_a_try = error.is_passing() && !is_silence && !matches!(error, SshError::Jump { .. });
            if !is_worth_a_try || try_number >= patience.tries {
                if let Some(block) = door.failed(&self.policy, &error) {
                    log.say(Event::Blocked { seconds: block.as_secs() });
                }
                return Err(error);
            }
            let wait = with_jitter(self.policy.retry_wait(try_number));
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
            let Err(wait) = door.locked().take(&self.policy, now) else { return Ok(()) };
            let seconds = wait.as_secs_f64().ceil() as u64;
            log.say(Event::Blocked { seconds });
            if now + wait > deadline {
                let source = door.last_failure().clone().map(Box::new);
                return Err(SshError::Blocked { label: target.label.clone(), seconds, source });
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
        login(target, wire, &self.policy, log).await
    }

    fn door(&self, target: &Target) -> Arc<Door> {
        // Behind different jump hosts the same private address is a different machine.
        let mut place = target.place();
        let mut hop = target.jump.as_deref();
        while let Some(jump) = hop {
            place = format!("{} {place}", jump.place());
            hop = jump.jump.as_deref();
        }
        let mut doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || Arc::new(Door::new(self.policy.handshakes_at_once));
        doors.entry(place).or_insert_with(make).clone()
    }
}

impl Door {
    fn new(handshakes: usize) -> Self {
        Self { attempts: Mutex::default(), last_failure: Mutex::default(), handshakes: Semaphore::new(handshakes) }
    }

    fn succeeded(&self) {
        self.locked().succeeded();
        *self.last_failure() = None;
    }

    fn failed(&self, policy: &Policy, error: &SshError) -> Option<Duration> {
        *self.last_failure() = Some(error.clone());
        self.locked().failed(policy, Instant::now())
    }

    fn last_failure(&self) -> MutexGuard<'_, Option<SshError>> {
        self.last_failure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn locked(&self) -> MutexGuard<'_, Attempts> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether no sshd can have counted an attempt: the port is closed, or there is no machine.
fn nobody_heard(error: &SshError) -> bool {
    let SshError::Unreachable { why, .. } = error else { return false };
    ["connection refused", "no route to host", NOTHING_ANSWERS].iter().any(|text| why.starts_with(text))
}

/// Opens the way to a target's sshd through a jump host. The target not answering there is the target's trouble.
async fn through(jump: &Connection, target: &Target) -> Result<crate::ssh::Stream, SshError> {
    jump.dial_tcp(&target.address, target.port).await.map_err(|error| match error {
        SshError::ForwardingRefused { why, .. } if [NOTHING_ANSWERS, NO_ANSWER_YET].contains(&why.as_str()) => {
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
