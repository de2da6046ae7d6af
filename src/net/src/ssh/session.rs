//! One open SSH connection: its channels, how many may be open, and whether it is still alive.
//!
//! It does not log in and does not reconnect.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use russh::client::{Handle, Msg};
use russh::{Channel, Disconnect};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

use crate::ssh::login::Gate;

/// Why the connection ended, once it has.
pub(crate) type Gone = watch::Receiver<Option<String>>;

/// What kind of channel is wanted.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// A command, shell or subsystem: bounded by the server's `MaxSessions`.
    Session,
    /// `direct-tcpip`.
    Tcp { host: String, port: u16 },
    /// `direct-streamlocal@openssh.com`.
    Unix { path: String },
}

/// What the two sides proved to each other.
pub(crate) struct Proven {
    /// The key the server accepted.
    pub(crate) key_fingerprint: String,
    /// The pin it proved.
    pub(crate) pin_fingerprint: String,
    /// Its host key, whole.
    pub(crate) host_key: String,
}

/// An open, authenticated connection.
pub(crate) struct Session {
    pub(crate) handle: Handle<Gate>,
    pub(crate) proven: Proven,
    pub(crate) gone: Gone,
    /// Set before we end it ourselves, so that its end is no event.
    pub(crate) ending: Arc<AtomicBool>,
    pub(crate) sessions: Slots,
    pub(crate) forwards: Slots,
    retired: AtomicBool,
    abandoned: AtomicUsize,
}

/// The right to one channel, and what keeps its connection open.
pub(crate) struct Lease {
    pub(crate) session: Arc<Session>,
    _permit: OwnedSemaphorePermit,
}

impl Lease {
    pub(crate) fn new(session: Arc<Session>, permit: OwnedSemaphorePermit) -> Self {
        Self { session, _permit: permit }
    }
}

/// Channels that may be open at once, with a queue.
pub(crate) struct Slots {
    free: Arc<Semaphore>,
    capacity: AtomicUsize,
}

impl Slots {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(capacity)), capacity: AtomicUsize::new(capacity) }
    }

    pub(crate) async fn take(&self, patience: Duration) -> Option<OwnedSemaphorePermit> {
        let acquired = tokio::time::timeout(patience, self.free.clone().acquire_owned()).await;
        acquired.ok()?.ok()
    }

    /// Gives a permit up for good, because the server allows less than we thought. The last one is kept.
    pub(crate) fn shrink(&self, permit: OwnedSemaphorePermit) -> bool {
        let less = |capacity: usize| (capacity > 1).then(|| capacity - 1);
        let shrunk = self.capacity.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok();
        if shrunk {
            permit.forget();
        }
        shrunk
    }
}

impl Session {
    pub(crate) fn new(
        handle: Handle<Gate>,
        proven: Proven,
        gone: Gone,
        ending: Arc<AtomicBool>,
        slots: (usize, usize),
    ) -> Self {
        Self {
            handle,
            proven,
            gone,
            ending,
            sessions: Slots::new(slots.0),
            forwards: Slots::new(slots.1),
            retired: AtomicBool::new(false),
            abandoned: AtomicUsize::new(0),
        }
    }

    pub(crate) fn slots(&self, place: &Place) -> &Slots {
        match place {
            Place::Session => &self.sessions,
            Place::Tcp { .. } | Place::Unix { .. } => &self.forwards,
        }
    }

    /// Returns whether new channels may be opened here.
    pub(crate) fn is_usable(&self) -> bool {
        !self.is_gone() && !self.retired.load(Ordering::Relaxed)
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.handle.is_closed() || self.gone.borrow().is_some()
    }

    /// Resolves when the connection is over, with the reason.
    pub(crate) async fn wait_gone(&self) -> String {
        end_of(&self.gone).await
    }

    /// Takes no new channels from now on; the open ones go on, and the last one ends the connection, which is no loss.
    pub(crate) fn retire(&self) {
        self.ending.store(true, Ordering::Relaxed);
        self.mark_broken();
    }

    /// Takes no new channels from now on, because opening one failed; the loss itself is told by who hears of it.
    pub(crate) fn mark_broken(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }

    /// Notes a command that was given up while it still ran: the server counts it until it ends by itself.
    pub(crate) fn abandon_one(&self) {
        self.abandoned.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn has_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Relaxed) > 0
    }

    pub(crate) async fn close(&self) {
        self.retire();
        // An error means it is closed already.
        let _ = self.handle.disconnect(Disconnect::ByApplication, "", "en").await;
    }

    /// Opens a channel. A caller who goes away meanwhile leaves nothing open behind.
    pub(crate) async fn open(self: &Arc<Self>, place: Place) -> Result<Channel<Msg>, russh::Error> {
        let (answer, answered) = oneshot::channel();
        let session = self.clone();
        tokio::spawn(async move {
            let opened = session.open_now(place).await;
            if let Err(Ok(channel)) = answer.send(opened) {
                // An error means the whole connection is closed.
                let _ = channel.close().await;
            }
        });
        answered.await.unwrap_or(Err(russh::Error::Disconnect))
    }

    async fn open_now(&self, place: Place) -> Result<Channel<Msg>, russh::Error> {
        match place {
            Place::Session => self.handle.channel_open_session().await,
            Place::Tcp { host, port } => {
                self.handle.channel_open_direct_tcpip(host, u32::from(port), "127.0.0.1", 0).await
            }
            Place::Unix { path } => self.handle.channel_open_direct_streamlocal(path).await,
        }
    }
}

pub(crate) async fn end_of(gone: &Gone) -> String {
    let mut gone = gone.clone();
    // An error means the watched end was dropped without a word; it always says one.
    let end = gone.wait_for(Option::is_some).await.ok().and_then(|why| why.clone());
    end.unwrap_or_default()
}

impl Drop for Session {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Relaxed);
    }
}
