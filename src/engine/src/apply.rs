//! Walks a plan: steps side by side as far as their needs allow, each announced in the journal before it begins. A
//! failed step takes down what needs it and nothing else. Asked to stop, it begins nothing new and lets what runs end.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use claw_core::desired::Desired;
use claw_core::name::Address;
use claw_core::plan::{Plan, Step};
use claw_core::provider::{ApplyError, StepContext};
use claw_core::secret::Secrets;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;

use crate::event::{Event, EventKind, Listener};
use crate::journal::Journal;
use crate::observe::Providers;
use crate::retry;

/// How many steps run side by side.
pub const STEPS_AT_ONCE: usize = 8;

/// The world outside the plan: made by the command line, so that tests can make another.
pub struct Surroundings<'a> {
    /// The time now, RFC 3339, UTC.
    pub now: &'a (dyn Fn() -> String + Send + Sync),
    /// A number from 0 to 1.
    pub chance: &'a (dyn Fn() -> f64 + Send + Sync),
    /// Set once somebody asks to stop.
    pub stop: &'a AtomicBool,
    /// Told of every event.
    pub listener: &'a dyn Listener,
}

/// What a run works on.
pub struct Run<'a> {
    /// Its id.
    pub id: &'a str,
    /// What to do.
    pub plan: &'a Plan,
    /// The fleet as it shall be.
    pub desired: &'a Desired,
    /// Secret values.
    pub secrets: &'a dyn Secrets,
    /// Who does it.
    pub providers: &'a Providers,
    /// How many steps run side by side.
    pub at_once: usize,
}

/// How a run ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Steps done.
    pub done: usize,
    /// Steps failed.
    pub failed: usize,
    /// Failed steps that changed something before they failed, or took it back.
    pub rolled_back: usize,
    /// Steps not begun.
    pub skipped: usize,
    /// Whether somebody asked it to stop.
    pub cancelled: bool,
}

/// The journal could not be written: nothing more is begun, because a call that is not announced would be lost.
#[derive(Debug, thiserror::Error)]
#[error("write the journal {path}")]
pub struct JournalError {
    /// The journal.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// Does what the plan says.
pub async fn apply(run: Run<'_>, around: Surroundings<'_>, journal: &mut Journal) -> Result<Summary, JournalError> {
    let path = journal.path().to_owned();
    let recorder = Recorder { around: &around, journal: Mutex::new(journal), broken: Mutex::new(None) };
    recorder.record(EventKind::RunStarted {
        run: run.id.to_owned(),
        fleet: run.plan.fleet.clone(),
        steps: run.plan.steps.len(),
    });
    let mut walk = Walk::new(&run);
    let mut running: FuturesUnordered<BoxFuture<'_, (usize, Result<(), ApplyError>)>> = FuturesUnordered::new();
    loop {
        let stopped = around.stop.load(Ordering::SeqCst) || recorder.is_broken();
        while !stopped && running.len() < run.at_once.max(1) {
            let Some(at) = walk.next() else { break };
            let (run, recorder) = (&run, &recorder);
            running.push(Box::pin(async move { (at, work(run, recorder, &run.plan.steps[at]).await) }));
        }
        let Some((at, outcome)) = running.next().await else { break };
        walk.ended(at, outcome, &recorder);
    }
    let cancelled = around.stop.load(Ordering::SeqCst) && walk.has_waiting();
    let summary = walk.finish(cancelled, &recorder);
    recorder.record(EventKind::RunFinished {
        done: summary.done,
        failed: summary.failed,
        skipped: summary.skipped,
        cancelled: summary.cancelled,
    });
    let broken = recorder.broken.lock().map_or(None, |mut broken| broken.take());
    broken.map_or(Ok(summary), |source| Err(JournalError { path, source }))
}

/// Does one step, again and again as far as its errors allow.
async fn work(run: &Run<'_>, recorder: &Recorder<'_, '_>, step: &Step) -> Result<(), ApplyError> {
    let address = step.address.clone();
    let action = step.action.word();
    recorder.record(EventKind::StepStarted { address: address.clone(), action });
    if recorder.is_broken() {
        return Err(ApplyError::fatal("begin: the journal cannot be written"));
    }
    let begun = Instant::now();
    let progress =
        |text: &str| recorder.tell(EventKind::StepProgress { address: address.clone(), text: text.to_owned() });
    let ctx = StepContext { desired: run.desired, secrets: run.secrets, progress: &progress };
    let Some(provider) = run.providers.get(&address.place) else {
        return Err(ApplyError::fatal(format!("find a provider for {}", address.place)));
    };
    let mut tries = 0;
    loop {
        match provider.apply(step, ctx).await {
            Ok(_) => {
                let took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
                recorder.record(EventKind::StepDone { address: address.clone(), action, took_ms });
                return Ok(());
            }
            Err(error) => {
                tries += 1;
                let stopped = recorder.around.stop.load(Ordering::SeqCst);
                let wait = retry::wait_ms(error.class, tries, (recorder.around.chance)()).filter(|_| !stopped);
                let Some(wait_ms) = wait else { return Err(error) };
                let reason = error.reason.clone();
                recorder.record(EventKind::StepRetried { address: address.clone(), reason, wait_ms });
                tokio::time::sleep(Duration::from_millis(wait_ms)).await;
            }
        }
    }
}

/// Which steps are ready, and which will never be.
struct Walk<'a> {
    steps: &'a [Step],
    /// Per step, how many of its needs are not done.
    missing: Vec<usize>,
    /// Per step, the steps that need it.
    dependents: Vec<Vec<usize>>,
    ready: BTreeSet<usize>,
    waiting: BTreeSet<usize>,
    /// Steps taken down, and by what.
    lost: BTreeMap<usize, String>,
    summary: Summary,
}

impl<'a> Walk<'a> {
    fn new(run: &Run<'a>) -> Self {
        let steps = &run.plan.steps;
        let index: BTreeMap<&Address, usize> = steps.iter().enumerate().map(|(at, step)| (&step.address, at)).collect();
        let mut dependents = vec![Vec::new(); steps.len()];
        let mut missing = vec![0; steps.len()];
        for (at, step) in steps.iter().enumerate() {
            for need in step.needs.iter().filter_map(|need| index.get(need)) {
                dependents[*need].push(at);
                missing[at] += 1;
            }
        }
        let (ready, waiting) = (0..steps.len()).partition(|at| missing[*at] == 0);
        Self { steps, missing, dependents, ready, waiting, lost: BTreeMap::new(), summary: Summary::default() }
    }

    fn next(&mut self) -> Option<usize> {
        self.ready.pop_first()
    }

    fn ended(&mut self, at: usize, outcome: Result<(), ApplyError>, recorder: &Recorder<'_, '_>) {
        let address = &self.steps[at].address;
        match outcome {
            Ok(()) => {
                self.summary.done += 1;
                for dependent in std::mem::take(&mut self.dependents[at]) {
                    self.missing[dependent] -= 1;
                    if self.missing[dependent] == 0 && self.waiting.remove(&dependent) {
                        self.ready.insert(dependent);
                    }
                }
            }
            Err(error) => {
                self.summary.failed += 1;
                self.summary.rolled_back += usize::from(error.rolled_back);
                recorder.record(EventKind::StepFailed {
                    address: address.clone(),
                    reason: error.reason,
                    help: error.help,
                    rolled_back: error.rolled_back,
                });
                self.take_down(at);
            }
        }
    }

    /// Takes down everything that needs a failed step, directly or not.
    fn take_down(&mut self, failed: usize) {
        let mut causes = vec![failed];
        while let Some(cause) = causes.pop() {
            for hit in std::mem::take(&mut self.dependents[cause]) {
                if self.waiting.remove(&hit) {
                    self.lost.insert(hit, format!("{} failed", self.steps[failed].address));
                    causes.push(hit);
                }
            }
        }
    }

    fn has_waiting(&self) -> bool {
        !self.waiting.is_empty() || !self.ready.is_empty()
    }

    fn finish(mut self, cancelled: bool, recorder: &Recorder<'_, '_>) -> Summary {
        for at in self.waiting.into_iter().chain(self.ready) {
            self.lost.insert(at, "the run was stopped".to_owned());
        }
        for (at, reason) in &self.lost {
            recorder
                .record(EventKind::StepSkipped { address: self.steps[*at].address.clone(), reason: reason.clone() });
        }
        Summary { skipped: self.lost.len(), cancelled, ..self.summary }
    }
}

/// Writes events to the journal and tells the listener.
struct Recorder<'a, 'b> {
    around: &'a Surroundings<'b>,
    journal: Mutex<&'a mut Journal>,
    broken: Mutex<Option<io::Error>>,
}

impl Recorder<'_, '_> {
    fn record(&self, kind: EventKind) {
        let event = Event { at: (self.around.now)(), kind };
        let written = match self.journal.lock() {
            Ok(mut journal) => journal.write(&event),
            Err(_) => Err(io::Error::other("another writer panicked")),
        };
        if let (Err(error), Ok(mut broken)) = (written, self.broken.lock()) {
            broken.get_or_insert(error);
        }
        self.around.listener.hear(&event);
    }

    /// Tells the listener only: progress is for people who wait.
    fn tell(&self, kind: EventKind) {
        self.around.listener.hear(&Event { at: (self.around.now)(), kind });
    }

    fn is_broken(&self) -> bool {
        self.broken.lock().map_or(true, |broken| broken.is_some())
    }
}
