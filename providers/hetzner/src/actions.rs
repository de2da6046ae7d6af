//! Waiting for actions: many wait, one asks.
//!
//! Whoever waits may become the one who asks, for all of them; when that one has its answer or goes away, the next takes
//! over. So nothing is left running when nobody waits, and there is no task to look after.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use claw_net::http::{Method, Request};
use futures_util::future::join_all;
use tokio::sync::{Notify, watch};

use crate::client::Client;
use crate::error::{ApiError, Code};
use crate::pages;
use crate::wire::{Action, ActionStatus};

/// Actions asked for in one request; a page without further words has as many.
const BATCH_MAX: usize = 25;
/// The wait between two rounds while something happens.
const INTERVAL_MIN: Duration = Duration::from_millis(500);
/// The wait between two rounds while nothing happens.
const INTERVAL_MAX: Duration = Duration::from_secs(5);
/// How long newcomers wait for one another, so that they share a request.
const GATHER: Duration = Duration::from_millis(50);
/// How often in a row the API may not know an action: what it just began may not be seen everywhere yet.
const MISSING_MAX: u32 = 3;
/// How long an action may take. A server with a large image takes two minutes.
const ACTION_SECONDS_MAX: u64 = 600;

/// What all who wait in one project share.
pub(crate) struct Poller {
    table: Mutex<BTreeMap<u64, Watched>>,
    /// Held by the one who asks.
    rhythm: tokio::sync::Mutex<Rhythm>,
    joined: Notify,
    rounds: watch::Sender<u64>,
}

impl Default for Poller {
    fn default() -> Self {
        let rhythm = Rhythm { interval: INTERVAL_MIN, next: Duration::ZERO };
        Self {
            table: Mutex::default(),
            rhythm: tokio::sync::Mutex::new(rhythm),
            joined: Notify::new(),
            rounds: watch::Sender::new(0),
        }
    }
}

/// When all actions are asked for again.
struct Rhythm {
    interval: Duration,
    next: Duration,
}

/// An action that somebody waits for.
struct Watched {
    action: Action,
    waiters: usize,
    asked: bool,
    missing: u32,
    error: Option<ApiError>,
}

impl Watched {
    fn is_open(&self) -> bool {
        self.error.is_none() && !is_over(&self.action)
    }

    /// Takes in what the API says now. Returns whether that is news.
    fn take(&mut self, found: Option<&Action>) -> bool {
        self.asked = true;
        let Some(found) = found else {
            self.missing += 1;
            if self.missing >= MISSING_MAX {
                let command = claw_core::text::clean(&self.action.command, 60);
                self.error = Some(ApiError::ActionMissing { id: self.action.id, command });
            }
            return self.error.is_some();
        };
        self.missing = 0;
        let news = found.status != self.action.status || found.progress != self.action.progress;
        self.action = found.clone();
        news
    }

    /// Returns how it ended, or `None` while it goes on.
    fn outcome(&self) -> Option<Result<(), ApiError>> {
        if let Some(error) = &self.error {
            return Some(Err(error.clone()));
        }
        match self.action.status {
            ActionStatus::Success => Some(Ok(())),
            ActionStatus::Error => Some(Err(failed(&self.action))),
            _ => None,
        }
    }
}

impl Client {
    /// Waits until all these actions are done. The first that fails ends the wait.
    ///
    /// # Errors
    /// [`ApiError::ActionFailed`] with the vendor's reason, [`ApiError::ActionTimedOut`] after ten minutes,
    /// [`ApiError::ActionMissing`] where the API forgot it, or what kept us from asking.
    pub async fn wait(&self, actions: &[Action]) -> Result<(), ApiError> {
        self.wait_within(actions, ACTION_SECONDS_MAX).await
    }

    /// Waits as [`Client::wait`] does, for so many seconds at most.
    ///
    /// # Errors
    /// As [`Client::wait`].
    pub async fn wait_within(&self, actions: &[Action], seconds: u64) -> Result<(), ApiError> {
        let deadline = self.timing().now() + Duration::from_secs(seconds);
        let poller = self.poller();
        let mut rounds = poller.rounds.subscribe();
        let ticket = Ticket::new(self, actions, deadline, seconds);
        loop {
            if let Some(outcome) = ticket.outcome() {
                return outcome;
            }
            tokio::select! {
                mut rhythm = poller.rhythm.lock() => self.ask_until(&ticket, &mut rhythm).await,
                // fails only when the poller is gone, and we hold it
                _ = rounds.changed() => {}
            }
        }
    }

    /// Asks for everybody until this one has its answer.
    async fn ask_until(&self, ticket: &Ticket<'_>, rhythm: &mut Rhythm) {
        let poller = self.poller();
        while ticket.outcome().is_none() {
            let has_fresh = !poller.open(|watched| !watched.asked).is_empty();
            if has_fresh {
                self.timing().sleep(GATHER).await;
            }
            let now = self.timing().now();
            if now >= rhythm.next {
                let news = self.ask(poller.open(|_| true)).await;
                rhythm.interval = if news { INTERVAL_MIN } else { (rhythm.interval * 3 / 2).min(INTERVAL_MAX) };
                rhythm.next = self.timing().now() + rhythm.interval;
            } else if has_fresh {
                self.ask(poller.open(|watched| !watched.asked)).await;
                rhythm.interval = INTERVAL_MIN;
                rhythm.next = rhythm.next.min(self.timing().now() + rhythm.interval);
            } else {
                tokio::select! {
                    () = self.timing().sleep(rhythm.next - now) => {}
                    () = poller.joined.notified() => {}
                }
            }
        }
    }

    /// Asks for these actions and tells all who wait. Returns whether there are news.
    async fn ask(&self, ids: Vec<u64>) -> bool {
        let batches: Vec<&[u64]> = ids.chunks(BATCH_MAX).collect();
        let news = join_all(batches.into_iter().map(|batch| self.ask_batch(batch))).await;
        self.poller().rounds.send_modify(|round| *round += 1);
        news.contains(&true)
    }

    async fn ask_batch(&self, ids: &[u64]) -> bool {
        let request = Request::new(Method::Get, ["actions"]);
        let request = ids.iter().fold(request, |request, id| request.query("id", id));
        let answer = self.elements::<Action>(&request).await;
        let mut table = self.poller().table();
        let of_batch = table.iter_mut().filter(|(id, _)| ids.contains(id));
        match answer {
            Ok(page) => {
                let list: pages::List<Action> = pages::read(page.elements);
                // one that cannot be read is as good as none
                let take = |(id, watched): (&u64, &mut Watched)| {
                    watched.take(list.items.iter().find(|action| action.id == *id))
                };
                of_batch.map(take).fold(false, |any, news| any | news)
            }
            Err(error) => {
                // what is asked for was begun
                let error = error.after_doubt(true);
                of_batch.for_each(|(_, watched)| watched.error = Some(error.clone()));
                true
            }
        }
    }
}

impl Poller {
    fn table(&self) -> MutexGuard<'_, BTreeMap<u64, Watched>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the actions that go on and are so.
    fn open(&self, wanted: impl Fn(&Watched) -> bool) -> Vec<u64> {
        let table = self.table();
        table.iter().filter(|(_, watched)| watched.is_open() && wanted(watched)).map(|(id, _)| *id).collect()
    }
}

/// One who waits. Dropped, its actions are forgotten unless others wait for them.
struct Ticket<'a> {
    client: &'a Client,
    ids: Vec<u64>,
    deadline: Duration,
    seconds: u64,
}

impl<'a> Ticket<'a> {
    fn new(client: &'a Client, actions: &[Action], deadline: Duration, seconds: u64) -> Self {
        let mut table = client.poller().table();
        for action in actions {
            let fresh = || Watched { action: action.clone(), waiters: 0, asked: false, missing: 0, error: None };
            table.entry(action.id).or_insert_with(fresh).waiters += 1;
        }
        drop(table);
        client.poller().joined.notify_one();
        Self { client, ids: actions.iter().map(|action| action.id).collect(), deadline, seconds }
    }

    /// Returns how it ended, or `None` while something goes on.
    fn outcome(&self) -> Option<Result<(), ApiError>> {
        let table = self.client.poller().table();
        let watched = || self.ids.iter().filter_map(|id| table.get(id));
        if let Some(error) = watched().find_map(|watched| watched.outcome()?.err()) {
            return Some(Err(error));
        }
        let open = watched().find(|watched| watched.outcome().is_none());
        match open {
            None => Some(Ok(())),
            Some(watched) if self.client.timing().now() >= self.deadline => {
                let command = claw_core::text::clean(&watched.action.command, 60);
                Some(Err(ApiError::ActionTimedOut { id: watched.action.id, command, seconds: self.seconds }))
            }
            Some(_) => None,
        }
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        let mut table = self.client.poller().table();
        for id in &self.ids {
            if let Some(watched) = table.get_mut(id) {
                watched.waiters -= 1;
                if watched.waiters == 0 {
                    table.remove(id);
                }
            }
        }
    }
}

fn is_over(action: &Action) -> bool {
    matches!(action.status, ActionStatus::Success | ActionStatus::Error)
}

fn failed(action: &Action) -> ApiError {
    let fault = action.error.as_ref();
    let said = |text: &str| claw_core::text::clean(text, 300);
    let message = fault.map(|fault| said(&fault.message)).filter(|text| !text.is_empty());
    ApiError::ActionFailed {
        id: action.id,
        command: said(&action.command),
        code: fault.map_or(Code::ActionFailed, |fault| Code::from(fault.code.as_str())),
        message: message.unwrap_or_else(|| "no reason given".into()),
    }
}

#[cfg(test)]
mod tests;
