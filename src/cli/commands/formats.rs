//! How a plan is written besides for a person at a terminal: what `plan` and `apply` share about formats and event files.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use claw_core::plan::Plan;

use crate::args::Global;
use crate::error::CommandError;
use crate::exit;
use crate::render::events::Events;
use crate::render::file::{self, Lines};
use crate::render::machine::PlanDocument;
use crate::render::plan::{self, Detail};
use crate::render::{self, github, markdown, style, tf_json};
use crate::session::Session;
use crate::setup::{self, Setup};

/// How a plan can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For a person.
    Human,
    /// claw's own JSON: `claw schema plan`.
    Json,
    /// One comment on a pull request.
    Markdown,
    /// The shape of `terraform show -json`.
    TfJson,
    /// Annotations for GitHub Actions; with the comment into the step's summary, and outputs.
    Github,
}

/// How a plan is written.
#[derive(Clone, Debug, Default, Args)]
pub struct PlanOutput {
    /// How it is written.
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<Format>,
    #[command(flatten)]
    into: EventFile,
}

/// Where events are written.
#[derive(Clone, Debug, Default, Args)]
pub struct EventFile {
    /// Write what happens to this file too, a line of JSON for each event: `claw schema event`.
    #[arg(long, value_name = "FILE")]
    json_into: Option<PathBuf>,
}

impl PlanOutput {
    /// Whether something else was asked for than what a command prints by itself.
    pub fn is_named(&self) -> bool {
        self.format.is_some() || self.into.json_into.is_some()
    }

    /// Whether a person reads what is written.
    pub fn is_for_people(&self, global: &Global) -> bool {
        !global.json && self.format.is_none_or(|format| format == Format::Human)
    }

    /// Opens the fleet; what is wrong with it is told in the format as well.
    pub fn open(&self, global: &Global, setup: &Setup) -> Result<Session, CommandError> {
        let format = self.settled(global)?;
        let session = self.into.open(global, setup).inspect_err(|error| {
            if format == Format::Github {
                annotate(error, setup);
            }
        })?;
        announce(global, format == Format::Human);
        super::print_warnings(global, &session);
        Ok(session)
    }

    /// Writes the plan, and by what it is approved.
    pub fn write(
        &self,
        (global, setup): (&Global, &Setup),
        session: &Session,
        (plan, digest): (&Plan, Option<String>),
        detail: Detail,
    ) -> Result<(), CommandError> {
        if let Some(events) = self.into.begin(setup)? {
            events.problems(&session.warnings);
            events.plan(plan);
            say_lost(&events);
        }
        match self.settled(global)? {
            Format::Human => render::out(plan::draw(plan, &session.desired, detail)),
            Format::Json => render::json(&PlanDocument::new(plan).approved_by(digest)),
            Format::Markdown => render::out(markdown::draw(plan, &session.desired, &setup.known)),
            Format::TfJson => render::out(tf_json::draw(plan, &session.desired)),
            Format::Github => write_github(setup, session, plan, digest.as_deref())?,
        }
        Ok(())
    }

    fn settled(&self, global: &Global) -> Result<Format, CommandError> {
        Ok(settled(global, self.format, Format::Json)?.unwrap_or(Format::Human))
    }
}

impl EventFile {
    /// Opens the fleet. Why it cannot be opened is in the file too, and nothing of an earlier run.
    pub fn open(&self, global: &Global, setup: &Setup) -> Result<Session, CommandError> {
        let events = self.begin(setup)?;
        Session::open(global, setup).inspect_err(|error| {
            if let Some(events) = events {
                events.refused(error);
            }
        })
    }

    /// Begins the file, if there shall be one, before anything else is done.
    pub fn begin(&self, setup: &Setup) -> Result<Option<Events>, CommandError> {
        let Some(path) = &self.json_into else { return Ok(None) };
        let lines = Lines::create(path, &setup.known).map_err(|error| unwritable(path, &error))?;
        Ok(Some(Events::new(lines, setup::now)))
    }
}

/// Returns the format that `--format` and `--json` name together.
pub fn settled<F: Copy + PartialEq>(global: &Global, format: Option<F>, json: F) -> Result<Option<F>, CommandError> {
    match format {
        Some(format) if global.json && format != json => {
            Err(CommandError::usage("--json and --format ask for different things").help("leave one of them out"))
        }
        None if global.json => Ok(Some(json)),
        other => Ok(other),
    }
}

/// Says that this is the sandbox; not in the midst of what a program reads.
pub fn announce(global: &Global, person: bool) {
    if person || global.json {
        super::announce_sandbox(global);
    } else if global.sandbox {
        render::err(style::paint(style::DIM, "sandbox: a simulated world; nothing real is touched"));
    }
}

/// Annotates the files with what is wrong in them.
pub fn annotate(error: &CommandError, setup: &Setup) {
    if !error.problems.is_empty() {
        render::out(github::problems(&error.problems, &error.sources, &setup.known));
    }
}

/// Says that the event file is not whole.
pub fn say_lost(events: &Events) {
    if events.lost() {
        render::err("warning: some events could not be written to the file of --json-into: is the disk full?");
    }
}

fn write_github(setup: &Setup, session: &Session, plan: &Plan, digest: Option<&str>) -> Result<(), CommandError> {
    let Session { desired, fleet, sources, warnings, .. } = session;
    for text in [
        github::problems(warnings, sources, &setup.known),
        github::plan(plan, desired, fleet, sources, &setup.known),
        plan::sum(plan),
    ] {
        if !text.is_empty() {
            render::out(text);
        }
    }
    if let Some(path) = setup.env("GITHUB_STEP_SUMMARY").map(Path::new) {
        let text = format!("{}\n\n", markdown::draw(plan, desired, &setup.known));
        file::append(path, &text, &setup.known).map_err(|error| unwritable(path, &error))?;
    }
    if let Some(path) = setup.env("GITHUB_OUTPUT").map(Path::new) {
        let exit = super::plan_exit(plan).code();
        let text = github::outputs(plan, exit, digest.unwrap_or_default(), &unguessable()?, &setup.known);
        file::append(path, &text, &setup.known).map_err(|error| unwritable(path, &error))?;
    }
    Ok(())
}

fn unguessable() -> Result<String, CommandError> {
    let mut bytes = [0_u8; 16];
    getrandom::getrandom(&mut bytes)
        .map_err(|error| CommandError::failed(format!("failed to get random bytes: {error}")))?;
    Ok(bytes.iter().fold("claw_".to_owned(), |text, byte| format!("{text}{byte:02x}")))
}

fn unwritable(path: &Path, error: &std::io::Error) -> CommandError {
    CommandError::new(exit::FAILED, format!("failed to write {}: {error}", path.display()))
        .help("name a file in a folder that exists and that you may write to; nothing was changed")
}
