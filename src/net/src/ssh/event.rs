//! What happens on connections: events, who hears them, and the report that sums them up.
//!
//! Nothing here holds a secret, a command's text, or a byte of anyone's input or output.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::ssh::Status;

/// How many events a connection remembers.
const EVENTS_MAX: usize = 50;

/// One thing that happened on a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A login begins.
    Connecting {
        /// Counted from 1 within one round.
        try_number: u32,
    },
    /// We are in.
    Connected {
        /// The key the server accepted.
        key_fingerprint: String,
        /// The pin the server proved.
        pin_fingerprint: String,
        /// The host key it proved, whole: `ssh-ed25519 AAAA…`. Who knew only its fingerprint knows it now.
        host_key: String,
        /// From the first packet to being logged in.
        millis: u64,
    },
    /// A login did not work.
    Refused {
        /// The error's text.
        why: String,
    },
    /// An open connection broke.
    Lost {
        /// What broke it.
        why: String,
    },
    /// Another try follows.
    Reconnecting {
        /// After this wait.
        wait_ms: u64,
    },
    /// The attempt limits hold us back.
    Blocked {
        /// For this long.
        seconds: u64,
    },
    /// A command ended, or was given up.
    Executed {
        /// The caller's name for it ([`Exec::label`](crate::ssh::Exec::label)), never its text.
        label: Option<String>,
        /// How it ended.
        status: Status,
        /// How long it ran.
        millis: u64,
    },
    /// We closed the connection.
    Closed,
}

/// Hears every event, for instance to write an audit log. Called from async code: it must return quickly.
pub trait Observer: Send + Sync {
    /// Called once per event with the target's label.
    fn heard(&self, label: &str, event: &Event);
}

impl<F: Fn(&str, &Event) + Send + Sync> Observer for F {
    fn heard(&self, label: &str, event: &Event) {
        self(label, event);
    }
}

/// An event and when it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happened {
    /// Wall-clock time.
    pub at: SystemTime,
    /// What it was.
    pub event: Event,
}

/// How a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Never used, or closed by us.
    Idle,
    /// A login is under way.
    Connecting,
    /// Open.
    Connected,
    /// Broken or refused; the next use tries again.
    Broken,
    /// Held back by the attempt limits.
    Blocked,
}

/// A summary of one connection.
#[derive(Clone, Debug)]
pub struct Report {
    /// How it stands.
    pub state: State,
    /// The last measured round trip.
    pub latency_ms: Option<u64>,
    /// Logins tried at this server, by all connections of the network.
    pub attempts: u64,
    /// Since when it is open.
    pub connected_since: Option<SystemTime>,
    /// The key the server accepted last.
    pub key_fingerprint: Option<String>,
    /// The pin the server proved last.
    pub pin_fingerprint: Option<String>,
    /// The host key it proved last, whole.
    pub host_key: Option<String>,
    /// The last 50 events, oldest first.
    pub events: Vec<Happened>,
}

/// The memory of one connection, and its voice.
pub(crate) struct Log {
    label: String,
    observer: Arc<dyn Observer>,
    report: Mutex<(VecDeque<Happened>, Report)>,
}

impl Log {
    pub(crate) fn new(label: &str, observer: Arc<dyn Observer>) -> Self {
        let report = Report {
            state: State::Idle,
            latency_ms: None,
            attempts: 0,
            connected_since: None,
            key_fingerprint: None,
            pin_fingerprint: None,
            host_key: None,
            events: Vec::new(),
        };
        Self { label: label.to_owned(), observer, report: Mutex::new((VecDeque::new(), report)) }
    }

    pub(crate) fn say(&self, event: Event) {
        self.observer.heard(&self.label, &event);
        let at = SystemTime::now();
        let (events, report) = &mut *self.locked();
        report.follow(at, &event);
        if events.len() == EVENTS_MAX {
            events.pop_front();
        }
        events.push_back(Happened { at, event });
    }

    pub(crate) fn measured(&self, millis: u64) {
        self.locked().1.latency_ms = Some(millis);
    }

    pub(crate) fn report(&self, attempts: u64) -> Report {
        let (events, report) = &*self.locked();
        Report { attempts, events: events.iter().cloned().collect(), ..report.clone() }
    }

    fn locked(&self) -> MutexGuard<'_, (VecDeque<Happened>, Report)> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Report {
    fn follow(&mut self, at: SystemTime, event: &Event) {
        self.state = match event {
            Event::Connecting { .. } | Event::Reconnecting { .. } => State::Connecting,
            Event::Connected { .. } => State::Connected,
            Event::Refused { .. } | Event::Lost { .. } => State::Broken,
            Event::Blocked { .. } => State::Blocked,
            Event::Closed => State::Idle,
            Event::Executed { .. } => self.state,
        };
        if let Event::Connected { key_fingerprint, pin_fingerprint, host_key, .. } = event {
            self.key_fingerprint = Some(key_fingerprint.clone());
            self.pin_fingerprint = Some(pin_fingerprint.clone());
            self.host_key = Some(host_key.clone());
            self.connected_since = Some(at);
        }
        if self.state != State::Connected {
            self.connected_since = None;
        }
    }
}
