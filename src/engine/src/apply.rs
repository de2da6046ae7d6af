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
use claw_core::observed::{Observation, Observed, State};
use claw_core::plan::{Plan, Step};
use claw_core::provider::{ApplyError, Class, StepContext};
use claw_core::secret::Secrets;
use claw_core::value::After;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;

use crate::comeback;
use crate::event::{Event, EventKind, Listener};
use crate::journal::Journal;
use crate::observe::Providers;
use crate::retry;

/// How many steps run side by side, in all places together; each place has a limit of its own.
pub const STEPS_AT_ONCE: usize = 64;

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
    /// What was seen before.
    pub observed: &'a Observed,
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
    /// How many steps were done before.
    pub done: usize,
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
    let world = World { observed: run.observed, learned: Mutex::default() };
    let mut walk = Walk::new(&run);
    let mut running: FuturesUnordered<BoxFuture<'_, (usize, Result<(), ApplyError>)>> = FuturesUnordered::new();
    loop {
        let stopped = around.stop.load(Ordering::SeqCst) || recorder.is_broken();
        while !stopped && running.len() < run.at_once.max(1) {
            let Some(at) = walk.next(run.providers) else { break };
            let (run, recorder, world) = (&run, &recorder, &world);
            running.push(Box::pin(async move { (at, work(run, recorder, world, &run.plan.steps[at]).await) }));
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
    let done = summary.done;
    broken.map_or(Ok(summary), |source| Err(JournalError { done, path, source }))
}

/// Does one step, again and again as far as its errors allow.
async fn work(run: &Run<'_>, recorder: &Recorder<'_, '_>, world: &World<'_>, step: &Step) -> Result<(), ApplyError> {
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
    let step = step.known(&|after| world.fact(after)).map_err(|unknown| {
        ApplyError::new(Class::Fatal, format!("know the {} of {}", unknown.fact, unknown.of))
            .help("it should stand by now; apply again, which looks anew")
    })?;
    let mut tries = 0;
    loop {
        match provider.apply(&step, ctx).await {
            Ok(seen) => {
                world.learn(seen);
                comeback::wait(&step, run, recorder.around.stop, &progress).await?;
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
                if !waited(recorder.around.stop, wait_ms).await {
                    return Err(error);
                }
            }
        }
    }
}

/// What is known of the world: seen before, and told by steps that are done.
struct World<'a> {
    observed: &'a Observed,
    learned: Mutex<BTreeMap<Address, State>>,
}

impl World<'_> {
    fn learn(&self, seen: Vec<Observation>) {
        if let Ok(mut learned) = self.learned.lock() {
            learned.extend(seen.into_iter().map(|one| (one.address, one.state)));
        }
    }

    fn fact(&self, after: &After) -> Option<String> {
        let learned = self.learned.lock().ok()?;
        match learned.get(&after.of).or_else(|| self.observed.states.get(&after.of))? {
            State::Present(actual) => actual.facts.get(after.fact).cloned(),
            _ => None,
        }
    }
}

/// Waits, and returns whether nobody asked to stop meanwhile.
pub(crate) async fn waited(stop: &AtomicBool, wait_ms: u64) -> bool {
    const LOOK_MS: u64 = 100;
    let mut left = wait_ms;
    while left > 0 && !stop.load(Ordering::SeqCst) {
        let now = left.min(LOOK_MS);
        tokio::time::sleep(Duration::from_millis(now)).await;
        left -= now;
    }
    !stop.load(Ordering::SeqCst)
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
    /// How many steps run at a place.
    busy: BTreeMap<&'a str, usize>,
    /// Per wave of a rollout, how many of its steps are not done.
    waves: BTreeMap<u32, usize>,
    /// The agents of which a step was begun: what and where.
    begun: BTreeSet<(&'a str, &'a str)>,
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
        let mut waves = BTreeMap::new();
        for wave in steps.iter().filter_map(|step| step.wave) {
            *waves.entry(wave).or_default() += 1;
        }
        Self {
            steps,
            missing,
            dependents,
            ready,
            waiting,
            busy: BTreeMap::new(),
            waves,
            begun: BTreeSet::new(),
            lost: BTreeMap::new(),
            summary: Summary::default(),
        }
    }

    /// Returns the first step that is ready, whose wave has come and whose place has a hand free.
    fn next(&mut self, providers: &Providers) -> Option<usize> {
        let wave_now = self.waves.keys().next().copied();
        let free = |at: &usize| {
            if self.steps[*at].wave.is_some_and(|wave| wave_now.is_some_and(|now| wave > now)) {
                return false;
            }
            let place = self.steps[*at].address.place.as_str();
            let limit = providers.get(place).map_or(1, |provider| provider.steps_at_once().max(1));
            self.busy.get(place).is_none_or(|busy| *busy < limit)
        };
        let at = self.ready.iter().copied().find(free)?;
        self.ready.remove(&at);
        let address = &self.steps[at].address;
        *self.busy.entry(&address.place).or_default() += 1;
        self.begun.insert((&address.place, &address.id.name));
        Some(at)
    }

    fn ended(&mut self, at: usize, outcome: Result<(), ApplyError>, recorder: &Recorder<'_, '_>) {
        let address = &self.steps[at].address;
        if let Some(busy) = self.busy.get_mut(address.place.as_str()) {
            *busy = busy.saturating_sub(1);
        }
        match outcome {
            Ok(()) => {
                self.summary.done += 1;
                self.close(at);
                for dependent in std::mem::take(&mut self.dependents[at]) {
                    self.missing[dependent] -= 1;
                    if self.missing[dependent] == 0 && self.waiting.remove(&dependent) {
                        self.ready.insert(dependent);
                    }
                }
            }
            Err(error) => {
                self.summary.failed += 1;
                self.summary.rolled_back += usize::from(error.rolled_back || error.changed);
                recorder.record(EventKind::StepFailed {
                    address: address.clone(),
                    reason: error.reason,
                    help: error.help,
                    rolled_back: error.rolled_back,
                });
                self.take_down(at);
                self.stop_rollout(at);
            }
        }
    }

    /// Notes that a step of a wave is done.
    fn close(&mut self, at: usize) {
        let Some(wave) = self.steps[at].wave else { return };
        if let Some(left) = self.waves.get_mut(&wave) {
            *left -= 1;
            if *left == 0 {
                self.waves.remove(&wave);
            }
        }
    }

    /// Stops a rollout one of whose steps failed: no agent gets it that has not begun.
    fn stop_rollout(&mut self, failed: usize) {
        let steps = self.steps;
        let hit = std::iter::once(&failed).chain(self.lost.keys()).filter_map(|at| steps[*at].wave).min();
        let Some(wave) = hit else { return };
        let goes_on = |at: &usize| {
            let address = &steps[*at].address;
            let begun = self.begun.contains(&(address.place.as_str(), address.id.name.as_str()));
            steps[*at].wave.is_none_or(|own| own < wave || (own == wave && begun))
        };
        let stopped = self.waiting.iter().chain(&self.ready);
        let stopped: Vec<usize> = stopped.copied().filter(|at| !goes_on(at)).collect();
        for at in stopped {
            self.waiting.remove(&at);
            self.ready.remove(&at);
            self.lost.insert(at, format!("the rollout stopped: {} failed", steps[failed].address));
            self.take_down(at);
        }
    }

    /// Takes down everything that needs a failed step, directly or not.
    fn take_down(&mut self, failed: usize) {
        let mut causes = vec![failed];
        while let Some(cause) = causes.pop() {
            for hit in std::mem::take(&mut self.dependents[cause]) {
                if self.waiting.remove(&hit) {
                    let why = self.lost.get(&failed).cloned();
                    self.lost.insert(hit, why.unwrap_or_else(|| format!("{} failed", self.steps[failed].address)));
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    use claw_core::name::{Kind, ResourceId};
    use claw_core::observed::Report;
    use claw_core::plan::{Action, Effect};
    use claw_core::provider::Provider;
    use claw_core::secret::{Fingerprint, SecretError, SecretSource};
    use secrecy::SecretString;

    use super::*;

    struct NoSecrets;

    impl Secrets for NoSecrets {
        fn reveal(&self, source: &SecretSource) -> Result<SecretString, SecretError> {
            panic!("nobody asked for {source}")
        }

        fn fingerprint(&self, _value: &[u8]) -> Result<Fingerprint, SecretError> {
            Ok(Fingerprint([0; 32]))
        }
    }

    type Script = Box<dyn Fn(&str, u32) -> Result<(), ApplyError> + Send + Sync>;

    /// A provider that does what its script says about a name and the how-manieth try of it.
    struct Scripted {
        script: Script,
        tries: Mutex<BTreeMap<String, u32>>,
        running: AtomicUsize,
        most_running: AtomicUsize,
    }

    impl Provider for Scripted {
        fn observe<'a>(&'a self, _: &'a Desired, _: &'a dyn Secrets) -> BoxFuture<'a, Report> {
            Box::pin(async { Report::default() })
        }

        fn apply<'a>(
            &'a self,
            step: &'a Step,
            ctx: StepContext<'a>,
        ) -> BoxFuture<'a, Result<Vec<Observation>, ApplyError>> {
            Box::pin(async move {
                let name = &step.address.id.name;
                let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
                self.most_running.fetch_max(running, Ordering::SeqCst);
                let number =
                    *self.tries.lock().expect("whole").entry(name.clone()).and_modify(|n| *n += 1).or_insert(1);
                (ctx.progress)("at work");
                tokio::task::yield_now().await;
                let outcome = (self.script)(name, number);
                tokio::task::yield_now().await;
                self.running.fetch_sub(1, Ordering::SeqCst);
                outcome.map(|()| Vec::new())
            })
        }
    }

    #[derive(Default)]
    struct Ear(Mutex<Vec<EventKind>>);

    impl Listener for Ear {
        fn hear(&self, event: &Event) {
            self.0.lock().expect("whole").push(event.kind.clone());
        }
    }

    fn address(name: &str) -> Address {
        Address { id: ResourceId::new(Kind::Container, name), place: "docker".to_owned() }
    }

    /// Returns a plan of steps by name, each with its wave and the names it needs: `"b@2:a"`.
    fn plan(steps: &[&str]) -> Plan {
        let steps = steps.iter().map(|text| {
            let (name, needs) = text.split_once(':').unwrap_or((text, ""));
            let needs = needs.split(',').filter(|need| !need.is_empty()).map(address).collect();
            let action = Action::Create { after: BTreeMap::new() };
            let (name, wave) = name.split_once('@').map_or((name, None), |(name, wave)| (name, wave.parse().ok()));
            Step { address: address(name), action, effect: Effect::None, needs, wave, cost: None }
        });
        Plan { fleet: "abcd".to_owned(), steps: steps.collect(), ..Plan::default() }
    }

    struct Ran {
        summary: Result<Summary, JournalError>,
        events: Vec<EventKind>,
        tries: BTreeMap<String, u32>,
        most_running: usize,
        journal: String,
    }

    struct Lab {
        at_once: usize,
        stop: Arc<AtomicBool>,
        journal: Journal,
        folder: tempfile::TempDir,
    }

    impl Lab {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let journal = Journal::open(folder.path(), "run", &claw_core::mask::Known::default()).expect("opened");
            Self { at_once: 8, stop: Arc::default(), journal, folder }
        }

        fn run(
            mut self,
            plan: &Plan,
            script: impl Fn(&str, u32) -> Result<(), ApplyError> + Send + Sync + 'static,
        ) -> Ran {
            let scripted = Arc::new(Scripted {
                script: Box::new(script),
                tries: Mutex::default(),
                running: AtomicUsize::new(0),
                most_running: AtomicUsize::new(0),
            });
            let providers: Providers = [("docker".to_owned(), scripted.clone() as Arc<dyn Provider>)].into();
            let (ear, desired) = (Ear::default(), Desired::default());
            let run = Run {
                id: "run",
                plan,
                desired: &desired,
                observed: &Observed::default(),
                secrets: &NoSecrets,
                providers: &providers,
                at_once: self.at_once,
            };
            let around = Surroundings { now: &|| "now".to_owned(), chance: &|| 0.0, stop: &self.stop, listener: &ear };
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
            let summary = runtime.block_on(apply(run, around, &mut self.journal));
            Ran {
                summary,
                events: ear.0.into_inner().expect("whole"),
                tries: scripted.tries.lock().expect("whole").clone(),
                most_running: scripted.most_running.load(Ordering::SeqCst),
                journal: fs::read_to_string(self.folder.path().join("run.jsonl")).expect("text"),
            }
        }
    }

    impl Ran {
        fn summary(&self) -> &Summary {
            self.summary.as_ref().expect("the journal holds")
        }

        fn begun(&self) -> Vec<&str> {
            self.tries.keys().map(String::as_str).collect()
        }

        fn skipped(&self) -> Vec<(&str, &str)> {
            let skipped = self.events.iter().filter_map(|event| match event {
                EventKind::StepSkipped { address, reason } => Some((address.id.name.as_str(), reason.as_str())),
                _ => None,
            });
            skipped.collect()
        }
    }

    fn fails(class: Class) -> Result<(), ApplyError> {
        Err(ApplyError::new(class, "do it"))
    }

    #[test]
    fn a_failed_step_takes_down_what_needs_it_and_nothing_else() {
        let plan = plan(&["a", "b:a", "c:b,e", "d", "e:d"]);
        let ran = Lab::new().run(&plan, |name, _| if name == "a" { fails(Class::Fatal) } else { Ok(()) });
        assert_eq!(*ran.summary(), Summary { done: 2, failed: 1, skipped: 2, ..Summary::default() });
        assert_eq!(ran.begun(), ["a", "d", "e"]);
        assert_eq!(ran.skipped(), [("b", "container/a failed"), ("c", "container/a failed")]);
    }

    #[test]
    fn a_step_with_two_needs_waits_for_both() {
        let order = Arc::new(Mutex::new(Vec::new()));
        let seen = order.clone();
        Lab::new().run(&plan(&["c:a,b", "a", "b:a"]), move |name, number| {
            if name == "b" && number < 4 {
                return fails(Class::Retry);
            }
            seen.lock().expect("whole").push(name.to_owned());
            Ok(())
        });
        assert_eq!(*order.lock().expect("whole"), ["a", "b", "c"]);
    }

    #[test]
    fn asked_to_stop_it_begins_nothing_new_and_lets_what_runs_end() {
        let mut lab = Lab::new();
        lab.at_once = 2;
        let stop = lab.stop.clone();
        let ran = lab.run(&plan(&["a", "b", "c", "d:a"]), move |name, _| {
            stop.fetch_or(name == "a", Ordering::SeqCst);
            Ok(())
        });
        assert_eq!(*ran.summary(), Summary { done: 2, skipped: 2, cancelled: true, ..Summary::default() });
        assert_eq!(ran.begun(), ["a", "b"]);
        assert_eq!(ran.skipped(), [("c", "the run was stopped"), ("d", "the run was stopped")]);
        let end = EventKind::RunFinished { done: 2, failed: 0, skipped: 2, cancelled: true };
        assert_eq!(ran.events.last(), Some(&end));
    }

    #[test]
    fn asked_to_stop_before_it_began_it_begins_nothing() {
        let lab = Lab::new();
        lab.stop.store(true, Ordering::SeqCst);
        let ran = lab.run(&plan(&["a"]), |_, _| Ok(()));
        assert_eq!(ran.begun(), [""; 0]);
        assert!(ran.summary().cancelled);
    }

    #[test]
    fn asked_to_stop_during_the_last_steps_it_was_not_cancelled() {
        let lab = Lab::new();
        let stop = lab.stop.clone();
        let ran = lab.run(&plan(&["a", "b"]), move |_, _| {
            stop.store(true, Ordering::SeqCst);
            Ok(())
        });
        assert_eq!(*ran.summary(), Summary { done: 2, ..Summary::default() });
    }

    #[test]
    fn asked_to_stop_a_step_that_fails_is_not_tried_again() {
        let lab = Lab::new();
        let stop = lab.stop.clone();
        let ran = lab.run(&plan(&["a"]), move |_, _| {
            stop.store(true, Ordering::SeqCst);
            fails(Class::Retry)
        });
        assert_eq!((ran.tries["a"], ran.summary().failed), (1, 1));
    }

    #[test]
    fn each_class_of_error_is_tried_as_often_as_it_deserves() {
        for (class, tries) in [(Class::Fatal, 1), (Class::Conflict, 3), (Class::Retry, 5), (Class::Busy, 10)] {
            let ran = Lab::new().run(&plan(&["a"]), move |_, _| fails(class));
            assert_eq!((ran.tries["a"], ran.summary().failed), (tries, 1), "{class:?}");
            let retried = ran.events.iter().filter(|event| matches!(event, EventKind::StepRetried { .. })).count();
            assert_eq!(retried as u32, tries - 1, "{class:?}");
        }
    }

    #[test]
    fn an_error_that_passes_is_no_failure() {
        let plan = plan(&["a", "b:a"]);
        let ran =
            Lab::new().run(&plan, |name, number| if (name, number) == ("a", 1) { fails(Class::Retry) } else { Ok(()) });
        assert_eq!(*ran.summary(), Summary { done: 2, ..Summary::default() });
        assert_eq!(ran.tries, [("a".to_owned(), 2), ("b".to_owned(), 1)].into());
    }

    #[test]
    fn a_wave_begins_when_the_one_before_is_done_whole() {
        let plan = plan(&["c@3", "b@2", "d@3", "a@1", "x", "e@3:x"]);
        let ran = Lab::new().run(&plan, |_, _| Ok(()));
        assert_eq!(ran.summary().done, 6);
        let starts = ran.events.iter().filter_map(|event| match event {
            EventKind::StepStarted { address, .. } => Some(address.id.name.as_str()),
            _ => None,
        });
        let begun: Vec<&str> = starts.collect();
        let at = |name: &str| begun.iter().position(|one| *one == name).expect("begun");
        assert!(at("a") < at("b") && at("b") < at("c") && at("b") < at("d") && at("b") < at("e"), "{begun:?}");
        assert!(at("x") < at("b"), "what has no wave waits for none: {begun:?}");
    }

    #[test]
    fn a_failure_stops_the_rollout_and_nothing_else() {
        let steps = plan(&["a@1", "b@2", "c@2", "d@3", "x:y", "y"]);
        let ran = Lab::new().run(&steps, |name, _| if name == "a" { fails(Class::Fatal) } else { Ok(()) });
        assert_eq!(*ran.summary(), Summary { done: 2, failed: 1, skipped: 3, ..Summary::default() });
        let why = "the rollout stopped: container/a failed";
        assert_eq!(ran.skipped(), [("b", why), ("c", why), ("d", why)]);
    }

    #[test]
    fn of_a_wave_that_fails_only_what_has_begun_is_brought_to_its_end() {
        let mut lab = Lab::new();
        lab.at_once = 2;
        let ran =
            lab.run(&plan(&["a@1", "b@1", "c@1"]), |name, _| if name == "a" { fails(Class::Fatal) } else { Ok(()) });
        assert_eq!((ran.begun(), ran.summary().done), (vec!["a", "b"], 1));
        assert_eq!(ran.skipped(), [("c", "the rollout stopped: container/a failed")]);
    }

    #[test]
    fn what_a_later_wave_loses_does_not_stop_one_that_runs() {
        let mut lab = Lab::new();
        lab.at_once = 1;
        let steps = plan(&["a@1", "x", "b@1:a", "c@2", "d@3:x", "e@4"]);
        let ran = lab.run(&steps, |name, _| if name == "x" { fails(Class::Fatal) } else { Ok(()) });
        assert_eq!(*ran.summary(), Summary { done: 3, failed: 1, skipped: 2, ..Summary::default() });
        assert_eq!(ran.skipped(), [("d", "container/x failed"), ("e", "the rollout stopped: container/x failed")]);
    }

    #[test]
    fn a_wave_that_lost_a_step_to_another_failure_stops_the_rollout_too() {
        let ran = Lab::new()
            .run(&plan(&["x", "a@1:x", "b@2"]), |name, _| if name == "x" { fails(Class::Fatal) } else { Ok(()) });
        assert_eq!(ran.skipped(), [("a", "container/x failed"), ("b", "the rollout stopped: container/x failed")]);
    }

    #[test]
    fn steps_run_side_by_side_up_to_the_limit_and_at_least_one_does() {
        for (at_once, most) in [(0, 1), (1, 1), (3, 3), (9, 5)] {
            let mut lab = Lab::new();
            lab.at_once = at_once;
            let ran = lab.run(&plan(&["a", "b", "c", "d", "e"]), |_, _| Ok(()));
            assert_eq!((ran.most_running, ran.summary().done), (most, 5), "{at_once} at once");
        }
    }

    #[test]
    fn a_place_has_no_more_steps_at_once_than_it_has_hands() {
        let mut lab = Lab::new();
        lab.at_once = 64;
        let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
        let ran = lab.run(&plan(&names), |_, _| Ok(()));
        assert_eq!((ran.most_running, ran.summary().done), (8, names.len()));
    }

    #[test]
    fn every_step_is_in_the_journal_before_it_is_called() {
        let lab = Lab::new();
        let path = lab.folder.path().join("run.jsonl");
        let looked = Arc::new(AtomicUsize::new(0));
        let counter = looked.clone();
        let ran = lab.run(&plan(&["a", "b", "c:a"]), move |name, number| {
            let journal = fs::read_to_string(&path).expect("text");
            let line = format!("{{\"at\":\"now\",\"type\":\"step_started\",\"resource\":\"container/{name}\"");
            assert_eq!(journal.lines().filter(|one| one.starts_with(&line)).count(), 1, "{name}: {journal}");
            assert!(journal.ends_with('\n'), "a line is written whole");
            counter.fetch_add(1, Ordering::SeqCst);
            if number == 1 { fails(Class::Retry) } else { Ok(()) }
        });
        assert_eq!((looked.load(Ordering::SeqCst), ran.summary().done), (6, 3));
    }

    #[test]
    fn the_journal_tells_the_run_from_its_start_to_its_end_without_the_chatter() {
        let ran = Lab::new().run(&plan(&["a"]), |_, _| Ok(()));
        let types: Vec<String> = ran
            .journal
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["type"].to_string())
            .collect();
        assert_eq!(types, ["\"run_started\"", "\"step_started\"", "\"step_done\"", "\"run_finished\""]);
        assert!(ran.events.iter().any(|event| matches!(event, EventKind::StepProgress { .. })), "people hear it");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_journal_that_cannot_be_written_stops_the_run_before_the_first_call() {
        let mut lab = Lab::new();
        lab.journal = Journal::on_a_full_disk();
        let ran = lab.run(&plan(&["a", "b"]), |_, _| Ok(()));
        assert_eq!(ran.begun(), [""; 0]);
        let error = ran.summary.expect_err("the disk is full");
        assert_eq!(
            (error.to_string().as_str(), error.source.kind()),
            ("write the journal /dev/full", io::ErrorKind::StorageFull)
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_step_that_cannot_be_announced_is_not_called() {
        let (plan, desired, providers, ear) = (plan(&["a"]), Desired::default(), Providers::new(), Ear::default());
        let mut journal = Journal::on_a_full_disk();
        let stop = AtomicBool::new(false);
        let seen = Observed::default();
        let run = Run {
            id: "run",
            plan: &plan,
            desired: &desired,
            observed: &seen,
            secrets: &NoSecrets,
            providers: &providers,
            at_once: 1,
        };
        let around = Surroundings { now: &|| "now".to_owned(), chance: &|| 0.0, stop: &stop, listener: &ear };
        let recorder = Recorder { around: &around, journal: Mutex::new(&mut journal), broken: Mutex::new(None) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let world = World { observed: &seen, learned: Mutex::default() };
        let error = runtime.block_on(work(&run, &recorder, &world, &plan.steps[0])).expect_err("not announced");
        assert_eq!(error.reason, "begin: the journal cannot be written", "it did not even look for the provider");
    }

    #[test]
    fn a_journal_that_cannot_be_opened_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("file"), "").expect("written");
        assert!(Journal::open(&folder.path().join("file"), "run", &claw_core::mask::Known::default()).is_err());
    }

    #[test]
    fn a_step_at_a_place_without_a_provider_fails_alone() {
        let mut plan = plan(&["a", "b"]);
        plan.steps[0].address.place = "nowhere".to_owned();
        let ran = Lab::new().run(&plan, |_, _| Ok(()));
        assert_eq!(*ran.summary(), Summary { done: 1, failed: 1, ..Summary::default() });
    }

    #[test]
    fn needs_that_are_no_steps_of_the_plan_hold_nothing_up() {
        let ran = Lab::new().run(&plan(&["a:elsewhere"]), |_, _| Ok(()));
        assert_eq!(*ran.summary(), Summary { done: 1, ..Summary::default() });
    }

    #[test]
    fn a_plan_in_a_circle_ends_and_does_nothing() {
        let ran = Lab::new().run(&plan(&["a:b", "b:a"]), |_, _| Ok(()));
        assert_eq!(*ran.summary(), Summary { skipped: 2, ..Summary::default() });
    }

    #[test]
    fn an_error_says_whether_the_step_took_back_what_it_did() {
        let ran = Lab::new().run(&plan(&["a"]), |_, _| {
            Err(ApplyError { rolled_back: true, ..ApplyError::fatal("start it").help("look") })
        });
        assert_eq!(*ran.summary(), Summary { failed: 1, rolled_back: 1, ..Summary::default() });
        let failed = EventKind::StepFailed {
            address: address("a"),
            reason: "start it".to_owned(),
            help: Some("look".to_owned()),
            rolled_back: true,
        };
        assert!(ran.events.contains(&failed), "{:?}", ran.events);
    }
}
