//! `claw apply`: make the world as the fleet says.

use std::io::BufRead;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use clap::Args;
use claw_core::name::{Address, Kind};
use claw_core::observed::Observed;
use claw_core::plan::{Approved, Plan, Saved, Stale, constrain};
use claw_engine::apply::{Run, STEPS_AT_ONCE, Summary, Surroundings, apply};
use claw_engine::audit::{Audit, Deed};
use claw_engine::event::{Event, EventKind, Listener};
use claw_engine::journal::Journal;
use claw_engine::lock::{Lock, LockError};

use super::Outcome;
use super::formats::{EventFile, say_lost};
use super::plan::{Scope, print};
use crate::args::Global;
use crate::error::CommandError;
use crate::exit::{self, Exit};
use crate::render::events::Both;
use crate::render::machine::EventDocument;
use crate::render::plan::Detail;
use crate::render::progress::{JsonLines, Progress};
use crate::render::{self, style};
use crate::saved;
use crate::session::Session;
use crate::setup::{self, Setup};

/// Make the world as the fleet says
///
/// Plans, asks, and does it: steps side by side as far as they allow. Stopped or killed at any point, the next apply goes
/// on from what it finds.
#[derive(Debug, Args)]
pub struct Apply {
    /// A plan that `claw plan -o` saved: this is done and nothing else, without asking.
    #[arg(conflicts_with_all = ["targets", "allow_destroy"])]
    plan: Option<PathBuf>,
    /// Do it only if the plan is the approved one, by the digest that `claw plan -o` and `--json` print.
    #[arg(long, value_name = "DIGEST")]
    approve: Option<String>,
    #[command(flatten)]
    scope: Scope,
    #[command(flatten)]
    consent: Consent,
}

/// How a person agrees.
#[derive(Clone, Debug, Default, Args)]
pub struct Consent {
    /// Do not ask.
    #[arg(short, long)]
    pub yes: bool,
    /// How many steps run side by side, in all places together.
    #[arg(long, default_value_t = STEPS_AT_ONCE, value_name = "NUMBER")]
    pub parallel: usize,
    #[command(flatten)]
    pub into: EventFile,
}

impl Apply {
    /// Runs it.
    pub fn run(self, global: &Global, setup: &Setup) -> Outcome {
        let mut session = self.consent.into.open(global, setup)?;
        super::announce_sandbox(global);
        super::print_warnings(global, &session);
        let opened = self.plan.as_deref().map(|path| saved::read(&session, path)).transpose()?;
        if let (Some(opened), Some(approved)) = (&opened, &self.approve) {
            refuse_other_digest(approved, &opened.digest)?;
        }
        opened.as_ref().map_or(Ok(()), |opened| opened.refuse_other_files(&session))?;
        let mut consent = self.consent.clone();
        consent.yes |= opened.is_some() || self.approve.is_some();
        consent.refuse_unasked(setup)?;
        let lock = take_lock(global, setup)?;
        let scope =
            opened.as_ref().map_or_else(|| self.scope.clone(), |opened| opened.scope(self.scope.uncommitted_keys));
        let (observed, plan) = scope.plan(setup, &mut session)?;
        let (plan, stale) = match (&opened, &self.approve) {
            (Some(opened), _) => limited(global, &session, &opened.saved, &observed, plan)?,
            (None, Some(approved)) => {
                let now = saved::digest(&saved::of(&session, &scope, &observed, &plan)?);
                if now != *approved {
                    print(global, &session, &plan, Detail::Short);
                    refuse_other_digest(approved, &now)?;
                }
                (plan, false)
            }
            (None, None) => (plan, false),
        };
        let exit = carry_out(global, setup, &session, (&observed, &plan), &consent)?;
        drop(lock);
        if stale {
            return Ok(exit::STALE);
        }
        if exit == exit::DONE && !plan.steps.is_empty() && !global.json {
            next_steps(global);
        }
        Ok(exit)
    }
}

fn refuse_other_digest(approved: &str, found: &str) -> Result<(), CommandError> {
    if approved == found {
        return Ok(());
    }
    let message = format!("another plan was approved: {approved}; this one is {found}");
    Err(CommandError::new(exit::STALE, message).help("look at it, and approve it or plan anew; nothing was changed"))
}

/// Keeps to what was approved and says what of it is left out. Returns whether the world moved.
fn limited(
    global: &Global,
    session: &Session,
    saved: &Saved,
    observed: &Observed,
    now: Plan,
) -> Result<(Plan, bool), CommandError> {
    let seen = saved::sights(session, observed, &saved.plan)?;
    let Approved { plan, done, stale, beyond } = constrain(saved, now, &seen);
    let sign = style::paint(style::YELLOW, "!");
    if global.json {
        render::json_line(&EventDocument::approved(&done, &stale, &beyond));
        return Ok((plan, !stale.is_empty()));
    }
    for Stale { address, planned, found } in &stale {
        render::out(format_args!(
            "{sign} {address} is not done: planned against another state ({planned}), found: {found}"
        ));
    }
    if !done.is_empty() {
        render::out(format_args!("{} of {} steps are as wanted already", done.len(), saved.plan.steps.len()));
    }
    if !beyond.is_empty() {
        let names: Vec<String> = beyond.iter().take(5).map(ToString::to_string).collect();
        let more = if beyond.len() > 5 { ", …" } else { "" };
        render::out(format_args!("{sign} not approved, and so not done: {}{more}", names.join(", ")));
    }
    Ok((plan, !stale.is_empty()))
}

impl Consent {
    /// Refuses where nobody can be asked.
    pub fn refuse_unasked(&self, setup: &Setup) -> Result<(), CommandError> {
        if self.yes || setup.stdin_terminal {
            return Ok(());
        }
        Err(CommandError::usage("nobody is there to ask").help("add --yes to go on without asking"))
    }

    /// Asks, unless the command line answers already.
    pub fn given(&self, question: &str) -> bool {
        if self.yes {
            return true;
        }
        render::prompt(format_args!("{question} Only `yes` counts: "));
        let mut answer = String::new();
        std::io::stdin().lock().read_line(&mut answer).is_ok() && answer.trim() == "yes"
    }
}

/// Takes the fleet's lock; it is let go when the process ends.
pub fn take_lock(global: &Global, setup: &Setup) -> Result<Lock, CommandError> {
    let user = setup.env("USER").unwrap_or("somebody");
    let holder = format!("pid {} of {user}, since {}", std::process::id(), setup::now());
    Lock::take(&setup.state_folder(global.sandbox), &holder).map_err(|error| match &error {
        LockError::Held { .. } => CommandError::from_error(exit::LOCKED, &error)
            .help("wait for it, or stop it; the lock ends with its process. `claw plan` and `claw drift` need none"),
        LockError::Unusable { .. } => CommandError::from_error(exit::FAILED, &error),
    })
}

/// Shows the plan, asks, does it, and says how it went.
pub fn carry_out(
    global: &Global,
    setup: &Setup,
    session: &Session,
    (observed, plan): (&Observed, &Plan),
    consent: &Consent,
) -> Outcome {
    let events = consent.into.begin(setup)?;
    if let Some(events) = &events {
        events.plan(plan);
    }
    if global.json {
        render::json_line(&EventDocument::plan(plan));
    } else {
        print(global, session, plan, Detail::Short);
    }
    if plan.steps.is_empty() {
        return Ok(if plan.is_empty() { exit::DONE } else { exit::HELD });
    }
    if !consent.given("\nDo this?") {
        return Err(CommandError::failed("nothing was done: the answer was not `yes`"));
    }
    if !global.json {
        render::out("");
    }
    let run_id = setup::run_id();
    let folder = setup.state_folder(global.sandbox).join("runs");
    let failed = |error: &dyn std::error::Error| {
        CommandError::from_error(exit::FAILED, error)
            .help("claw notes each step there before it begins it; nothing was changed")
    };
    let mut journal = Journal::open(&folder, &run_id, &setup.known).map_err(|error| {
        failed(&error).help(format!("make {} writable, or free disk space; nothing was changed", folder.display()))
    })?;
    let shown: Box<dyn Listener> =
        if global.json { Box::new(JsonLines) } else { Box::new(Progress::new(setup.stderr_terminal)) };
    let shown = Box::new(Both(shown, events.as_ref()));
    let listener = Recorded { shown, audit: &session.audit, run: &run_id };
    let stop = Arc::new(AtomicBool::new(false));
    let run = Run {
        id: &run_id,
        plan,
        desired: &session.desired,
        observed,
        secrets: &session.vault,
        providers: &session.providers,
        at_once: consent.parallel,
    };
    let around = Surroundings { now: &setup::now, chance: &setup::chance, stop: &stop, listener: &listener };
    let summary = super::wait(async {
        watch_signals(Arc::clone(&stop));
        apply(run, around, &mut journal).await
    })?
    .map_err(|error| {
        CommandError::from_error(if error.done > 0 { exit::PARTIAL } else { exit::FAILED }, &error)
            .help("free disk space and apply again: claw goes on from what it finds")
    })?;
    if let Some(events) = &events {
        say_lost(events);
    }
    if !global.json {
        render::out(format_args!("\n{}", sentence(&summary, plan)));
    }
    Ok(code(&summary, plan))
}

/// Shows a run, and records what it did to machines and keys, and how it ended.
struct Recorded<'a> {
    shown: Box<dyn Listener + 'a>,
    audit: &'a Audit,
    run: &'a str,
}

impl Listener for Recorded<'_> {
    fn hear(&self, event: &Event) {
        self.shown.hear(event);
        let about_keys = |address: &Address| matches!(address.id.kind, Kind::Access | Kind::Host | Kind::Secrets);
        let deed = |action, target: &str, detail: &str, failure: Option<&str>| {
            self.audit.record(&Deed { action, target, detail, failure, ..Deed::default() });
        };
        match &event.kind {
            EventKind::StepDone { address, action, .. } if about_keys(address) => {
                deed("keys", &address.to_string(), action, None);
            }
            EventKind::StepFailed { address, reason, .. } if about_keys(address) => {
                deed("keys", &address.to_string(), "", Some(reason));
            }
            EventKind::RunFinished { done, failed, skipped, .. } => {
                let detail = format!("run {}: {done} done, {failed} failed, {skipped} skipped", self.run);
                deed("apply", "fleet", &detail, (*failed > 0).then_some("some steps failed"));
            }
            _ => {}
        }
    }
}

/// First signal: begin nothing new. Second: end at once; the next apply goes on from there.
fn watch_signals(stop: Arc<AtomicBool>) {
    let count = Arc::new(AtomicUsize::new(0));
    let heard = move || {
        if count.fetch_add(1, Ordering::SeqCst) == 0 {
            stop.store(true, Ordering::SeqCst);
            render::err("\nstopping: what runs is finished, nothing new begins; again to end at once");
        } else {
            render::err("ended at once; apply again and claw goes on from what it finds");
            std::process::exit(i32::from(exit::PARTIAL.code()));
        }
    };
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
            let Ok(mut stream) = signal(kind) else { continue };
            let heard = heard.clone();
            tokio::spawn(async move {
                while stream.recv().await.is_some() {
                    heard();
                }
            });
        }
    }
    #[cfg(not(unix))]
    tokio::spawn(async move {
        while tokio::signal::ctrl_c().await.is_ok() {
            heard();
        }
    });
}

fn sentence(summary: &Summary, plan: &Plan) -> String {
    let mut parts = vec![format!("{} of {} steps done", summary.done, plan.steps.len())];
    for (number, word) in [(summary.failed, "failed"), (summary.skipped, "skipped"), (plan.held.len(), "held")] {
        if number > 0 {
            parts.push(format!("{number} {word}"));
        }
    }
    let whole = summary.failed == 0 && summary.skipped == 0 && plan.held.is_empty();
    let sign = if whole { style::paint(style::GREEN, "✓") } else { style::paint(style::YELLOW, "!") };
    let stopped = if summary.cancelled { "stopped: " } else { "" };
    format!("{sign} {stopped}{}", parts.join(", "))
}

/// Returns the code of a run.
fn code(summary: &Summary, plan: &Plan) -> Exit {
    let changed = summary.done > 0 || summary.rolled_back > 0;
    let whole = summary.failed == 0 && summary.skipped == 0 && plan.held.is_empty() && plan.unseen.is_empty();
    match (whole, changed) {
        (true, _) => exit::DONE,
        (false, true) => exit::PARTIAL,
        (false, false) if summary.failed > 0 || summary.cancelled => exit::FAILED,
        (false, false) => exit::HELD,
    }
}

fn next_steps(global: &Global) {
    let flag = if global.sandbox { " --sandbox" } else { "" };
    render::out(format_args!(
        "\nNext: `claw status{flag}` shows the agents, `claw plan{flag}` is empty now, `claw drift{flag}` watches that it stays so."
    ));
    if global.sandbox {
        render::out("      `claw sandbox poke kill NAME` breaks something; `claw apply --sandbox` mends it.");
    }
}
