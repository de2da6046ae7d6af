//! One server's connection: opened at first use, shared by everything, opened again when it broke.
//!
//! It does not run anything itself: [`exec`](crate::ssh::exec), [`process`](crate::ssh::process), [`stream`](crate::ssh::stream) and
//! [`files`](crate::ssh::files) do, on the channels it opens.

use std::sync::Arc;
use std::time::Duration;

use russh::client::Msg;
use russh::{Channel, ChannelOpenFailure};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::ssh::access::Access;
use crate::ssh::event::{Event, Log};
use crate::ssh::login::lower;
use crate::ssh::session::{Lease, Place, Session};
use crate::ssh::{Exec, Key, Output, Patience, Pin, Policy, Process, Pty, Report, Sftp, SshError, Stream, Target};

/// Said when the place to forward to does not take connections.
pub(crate) const NOTHING_ANSWERS: &str = "nothing answers there";
/// Said when the place to forward to keeps silent.
pub(crate) const NO_ANSWER_YET: &str = "it does not answer in time";
/// How often a refused channel is asked for again, each time after one of ours was given back or a short wait.
const REFUSALS_MAX: u32 = 10;
/// How often a connection that broke between two uses is replaced within one use.
const LOSSES_MAX: u32 = 2;

/// A connection to one target. Clones are the same connection; nothing is opened before the first use.
#[derive(Clone)]
pub struct Connection {
    shared: Arc<Shared>,
    patience: Patience,
}

struct Shared {
    access: Arc<Access>,
    target: Target,
    jump: Option<Connection>,
    log: Arc<Log>,
    current: Mutex<Current>,
}

struct Failure {
    at: Instant,
    tries: u32,
    error: SshError,
}

#[derive(Default)]
struct Current {
    session: Option<Arc<Session>>,
    /// The last failed login, so that all who waited for it hear it instead of trying once each.
    failure: Option<Failure>,
}

impl Connection {
    pub(crate) fn new(access: Arc<Access>, target: Target, jump: Option<Connection>) -> Self {
        let log = Arc::new(Log::new(&target.label, access.observer()));
        let patience = access.policy().patience;
        let shared = Shared { access, target, jump, log, current: Mutex::default() };
        Self { shared: Arc::new(shared), patience }
    }

    /// Returns the same connection, trying harder or less hard to get through.
    #[must_use]
    pub fn with_patience(&self, patience: Patience) -> Self {
        Self { shared: self.shared.clone(), patience }
    }

    /// Returns where it goes.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.shared.target
    }

    /// Opens it if it is not open.
    ///
    /// # Errors
    /// Everything a login can end with.
    pub async fn open(&self) -> Result<(), SshError> {
        self.session().await.map(drop)
    }

    /// Runs a command without a terminal, gives it `input` and then end of file, and waits until it is over.
    ///
    /// sshd hands the command to the user's login shell, whose startup files may run and print first. A command that is
    /// given up is killed where sshd allows it; for root it does not, so bound long commands with `timeout -k`.
    ///
    /// # Errors
    /// A command that ran and failed is no error: see [`Output::status`]. After [`SshError::Lost`] and
    /// [`SshError::CommandTimedOut`] nobody knows whether it finished.
    pub async fn exec(&self, command: &str, input: &[u8], limits: Exec) -> Result<Output, SshError> {
        let (channel, lease) = self.channel(Place::Session).await?;
        crate::ssh::exec::run(channel, lease, self, command, input, limits).await
    }

    /// Starts a command, or a login shell when there is none, to talk to while it runs.
    ///
    /// `env` reaches the command only as far as the server's `AcceptEnv` lets it.
    ///
    /// # Errors
    /// Everything a login can end with, and [`SshError::StartRefused`].
    pub async fn process(
        &self,
        command: Option<&str>,
        pty: Option<Pty>,
        env: &[(String, String)],
    ) -> Result<Process, SshError> {
        let (channel, lease) = self.channel(Place::Session).await?;
        crate::ssh::process::start(channel, lease, self, command, pty, env).await
    }

    /// Connects to a TCP port as seen from the server.
    ///
    /// # Errors
    /// [`SshError::ForwardingRefused`] when nothing listens there or the server does not forward.
    pub async fn dial_tcp(&self, host: &str, port: u16) -> Result<Stream, SshError> {
        let (channel, lease) = self.channel(Place::Tcp { host: host.to_owned(), port }).await?;
        Ok(Stream::over(channel, lease, self.policy()))
    }

    /// Connects to a Unix socket on the server.
    ///
    /// # Errors
    /// [`SshError::ForwardingRefused`] when there is no such socket, no right to open it, or no forwarding.
    pub async fn dial_unix(&self, path: &str) -> Result<Stream, SshError> {
        let (channel, lease) = self.channel(Place::Unix { path: path.to_owned() }).await?;
        Ok(Stream::over(channel, lease, self.policy()))
    }

    /// Starts a file session.
    ///
    /// # Errors
    /// [`SshError::StartRefused`] when the server has no sftp subsystem.
    pub async fn sftp(&self) -> Result<Sftp, SshError> {
        Sftp::start(self).await
    }

    /// Logs in anew right now, once, over nothing that is open, with other keys or pins where given: proves that a
    /// changed sshd or `authorized_keys` still lets us in. The result is independent of this connection.
    ///
    /// # Errors
    /// Everything a login can end with.
    pub async fn fresh(&self, keys: Option<Vec<Key>>, pins: Option<Vec<Pin>>) -> Result<Connection, SshError> {
        let mut target = self.shared.target.clone();
        target.keys = keys.unwrap_or(target.keys);
        target.pins = pins.unwrap_or(target.pins);
        let made = Self::new(self.shared.access.clone(), target, self.shared.jump.clone());
        made.with_patience(Patience::ONCE).open().await?;
        Ok(made)
    }

    /// Measures one round trip of an open connection, or opens it.
    ///
    /// # Errors
    /// Everything a login can end with, and [`SshError::Lost`].
    pub async fn ping(&self) -> Result<Duration, SshError> {
        let session = self.session().await?;
        self.measure(&session).await
    }

    /// Closes it. A later use opens it again; what still runs on it ends as lost.
    pub async fn close(&self) {
        let session = self.shared.current.lock().await.session.take();
        if let Some(session) = session {
            session.close().await;
            self.shared.log.say(Event::Closed);
        }
    }

    /// Returns how it stands and what happened lately.
    #[must_use]
    pub fn report(&self) -> Report {
        self.shared.log.report(self.shared.access.attempts(&self.shared.target))
    }

    pub(crate) fn log(&self) -> &Log {
        &self.shared.log
    }

    pub(crate) fn policy(&self) -> &Policy {
        self.shared.access.policy()
    }

    pub(crate) fn lost(&self, session: &Session) -> SshError {
        let why = session.gone.borrow().clone().unwrap_or_else(|| "it broke".to_owned());
        SshError::Lost { label: self.target().label.clone(), why }
    }

    /// Returns the open session, logging in where there is none.
    async fn session(&self) -> Result<Arc<Session>, SshError> {
        let asked = Instant::now();
        let mut current = self.shared.current.lock().await;
        if let Some(session) = &current.session
            && session.is_usable()
        {
            return Ok(session.clone());
        }
        if let Some(Failure { at, tries, error }) = &current.failure
            && *at > asked
            && *tries >= self.patience.tries
        {
            return Err(error.clone());
        }
        current.session = None;
        let Shared { access, target, jump, log, .. } = &*self.shared;
        // Boxed because logging in through a jump host comes back here.
        let logged_in = Box::pin(access.log_in(target, jump.as_ref(), self.patience, log)).await;
        let tries = self.patience.tries;
        let remember = |error: &SshError| Some(Failure { at: Instant::now(), tries, error: error.clone() });
        let session = Arc::new(logged_in.inspect_err(|error| current.failure = remember(error))?);
        // Its failure shows at the next use.
        let _ = self.measure(&session).await;
        current.session = Some(session.clone());
        Ok(session)
    }

    async fn measure(&self, session: &Session) -> Result<Duration, SshError> {
        let started = Instant::now();
        let answer = tokio::time::timeout(self.policy().connect_time, session.handle.send_ping()).await;
        if !matches!(answer, Ok(Ok(()))) || session.is_gone() {
            return Err(self.lost(session));
        }
        self.shared.log.measured(started.elapsed().as_millis() as u64);
        Ok(started.elapsed())
    }

    /// Opens a channel, waiting for its turn.
    pub(crate) async fn channel(&self, place: Place) -> Result<(Channel<Msg>, Lease), SshError> {
        let (mut refused, mut losses) = (0, 0);
        loop {
            let session = self.session().await?;
            let waiting = session.slots(&place).take(self.policy().channel_wait_time);
            let permit = tokio::select! {
                permit = waiting => permit.ok_or_else(|| self.no_channel("none of ours became free"))?,
                _ = session.wait_gone() => {
                    self.count_loss(&mut losses, &session)?;
                    continue;
                }
            };
            match self.opened(&session, &place).await? {
                Ok(channel) => return Ok((channel, Lease::new(session, permit))),
                Err(russh::Error::ChannelOpenFailure(failure)) => match &place {
                    Place::Session if refused == REFUSALS_MAX => {
                        return Err(self.no_channel("the server gives no more on this connection"));
                    }
                    // What was given up still counts at the server: leave it that connection and take another.
                    Place::Session if session.has_abandoned() => session.retire(),
                    Place::Session => {
                        refused += 1;
                        if !session.sessions.shrink(permit) {
                            tokio::time::sleep(Duration::from_millis(20) * refused * refused).await;
                        }
                    }
                    place => return Err(self.no_forwarding(place, &failure)),
                },
                Err(_) => {
                    session.mark_broken();
                    self.count_loss(&mut losses, &session)?;
                }
            }
        }
    }

    fn count_loss(&self, losses: &mut u32, session: &Session) -> Result<(), SshError> {
        *losses += 1;
        if *losses > LOSSES_MAX { Err(self.lost(session)) } else { Ok(()) }
    }

    async fn opened(
        &self,
        session: &Arc<Session>,
        place: &Place,
    ) -> Result<Result<Channel<Msg>, russh::Error>, SshError> {
        let opening = session.open(place.clone());
        match place {
            Place::Session => Ok(opening.await),
            // The server connects onward first, which a silent address can draw out for minutes.
            place => tokio::time::timeout(self.policy().connect_time, opening)
                .await
                .map_err(|_| self.forwarding_refused(place, NO_ANSWER_YET.to_owned())),
        }
    }

    fn no_channel(&self, why: &str) -> SshError {
        SshError::ChannelRefused { label: self.target().label.clone(), why: why.to_owned() }
    }

    fn no_forwarding(&self, place: &Place, failure: &ChannelOpenFailure) -> SshError {
        let why = match (failure, place) {
            (ChannelOpenFailure::AdministrativelyProhibited, _) => {
                "the server does not allow forwarding there".to_owned()
            }
            // sshd does not tell these apart (serverloop.c, server_request_direct_streamlocal).
            (ChannelOpenFailure::ConnectFailed, Place::Unix { .. }) => {
                "no such socket, no right to open it, or no forwarding".to_owned()
            }
            (ChannelOpenFailure::ConnectFailed, _) => NOTHING_ANSWERS.to_owned(),
            (other, _) => lower(&format!("{other:?}")),
        };
        self.forwarding_refused(place, why)
    }

    fn forwarding_refused(&self, place: &Place, why: String) -> SshError {
        let place = match place {
            Place::Session => "a session".to_owned(),
            Place::Tcp { host, port } => format!("{host}:{port}"),
            Place::Unix { path } => path.clone(),
        };
        SshError::ForwardingRefused { label: self.target().label.clone(), place, why }
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Connection({})", self.target().label)
    }
}
