//! The commands, one file each, and what several of them share.

pub mod adopt;
pub mod apply;
pub mod chat;
pub mod check;
pub mod completions;
pub mod cost;
pub mod cp;
pub mod destroy;
pub mod diff;
pub mod drift;
pub mod exec;
pub mod formats;
pub mod graph;
pub mod health;
pub mod history;
pub mod identity;
pub mod init;
pub mod logs;
pub mod new;
pub mod operate;
pub mod plan;
pub mod power;
pub mod rotate;
pub mod sandbox;
pub mod schema;
pub mod secret;
pub mod show;
pub mod status;
pub mod tunnel;

use std::sync::{Mutex, OnceLock, PoisonError};

use claw_core::operate::Power;
use tokio::runtime::Runtime;

use crate::args::{Cli, Command, Global};
use crate::error::CommandError;
use crate::exit::{self, Exit};
use crate::render;
use crate::setup::Setup;

/// What a command comes to.
pub type Outcome = Result<Exit, CommandError>;

/// Runs the command that was typed.
pub fn run(cli: Cli, setup: &Setup) -> Outcome {
    let global = &cli.global;
    match cli.command {
        Command::Init(args) => args.run(global, setup),
        Command::New(args) => args.run(global, setup),
        Command::Check(args) => args.run(global, setup),
        Command::Plan(args) => args.run(global, setup),
        Command::Apply(args) => args.run(global, setup),
        Command::Drift(args) => args.run(global, setup),
        Command::Diff(args) => args.run(global, setup),
        Command::Destroy(args) => args.run(global, setup),
        Command::Status(args) => args.run(global, setup),
        Command::Cost(args) => args.run(global, setup),
        Command::Adopt(args) => args.run(global, setup),
        Command::Show(args) => args.run(global, setup),
        Command::Graph(args) => args.run(global, setup),
        Command::Schema(args) => args.run(),
        Command::Secret(args) => args.run(global, setup),
        Command::Identity(args) => args.run(global, setup),
        Command::Ssh(args) => args.run(global, setup),
        Command::Exec(args) => args.run(global, setup),
        Command::Logs(args) => args.run(global, setup),
        Command::Cp(args) => args.run(global, setup),
        Command::Tunnel(args) => args.run(global, setup),
        Command::Chat(args) => args.run(global, setup),
        Command::Restart(args) => args.run(Power::Restart, global, setup),
        Command::Start(args) => args.run(Power::Start, global, setup),
        Command::Stop(args) => args.run(Power::Stop, global, setup),
        Command::Health(args) => args.run(global, setup),
        Command::Rotate(args) => args.run(global, setup),
        Command::History(args) => args.run(global, setup),
        Command::Sandbox(args) => args.run(global, setup),
        Command::Completions(args) => args.run(),
    }
}

/// Runs what waits for the outside world. One thread: claw waits far more than it works. One runtime for the whole
/// process, so that a connection outlives the wait it was opened in.
pub fn wait<T>(work: impl Future<Output = T>) -> Result<T, CommandError> {
    static RUNTIME: OnceLock<Mutex<Runtime>> = OnceLock::new();
    if RUNTIME.get().is_none() {
        let made = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let made = made.map_err(|error| CommandError::failed(format!("failed to start: {error}")))?;
        let _ = RUNTIME.set(Mutex::new(made)); // there is one thread: nobody else set it meanwhile
    }
    let runtime = RUNTIME.get().expect("it was set above").lock().unwrap_or_else(PoisonError::into_inner);
    Ok(runtime.block_on(work))
}

/// Says that this is the sandbox, every time.
pub fn announce_sandbox(global: &Global) {
    if global.sandbox && !global.json {
        render::out(render::style::paint(render::style::DIM, "sandbox: a simulated world; nothing real is touched"));
    }
}

/// Prints what is odd about a fleet and stops nothing.
pub fn print_warnings(global: &Global, session: &crate::session::Session) {
    if !global.json && !session.warnings.is_empty() {
        render::err(render::problems::draw(&session.warnings, &session.sources));
        render::err("");
    }
}

/// Says what was done.
pub fn done(text: impl std::fmt::Display) {
    render::out(format_args!("{} {text}", render::style::paint(render::style::GREEN, "✓")));
}

/// Says what to do next.
pub fn next(steps: &[&str]) {
    for (at, step) in steps.iter().enumerate() {
        let head = if at == 0 { "\nNext:" } else { " then" };
        render::out(format_args!("{head} {step}"));
    }
}

/// Returns the code of a plan that was only looked at.
pub fn plan_exit(plan: &claw_core::plan::Plan) -> Exit {
    if !plan.held.is_empty() || !plan.unseen.is_empty() {
        exit::HELD
    } else if !plan.steps.is_empty() {
        exit::PENDING
    } else {
        exit::DONE
    }
}
