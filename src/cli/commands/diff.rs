//! `claw diff`: what changes between two versions of the fleet file? Desired against desired, without looking at the world.

use clap::Args;
use claw_core::plan::{Plan, between};
use serde_json::json;

use super::Outcome;
use crate::args::Global;
use crate::error::CommandError;
use crate::exit;
use crate::git::{Commit, Repository};
use crate::render::{self, plan::Detail, style};
use crate::review::Version;
use crate::review::sealed::{Book, Sealed};
use crate::session::Checked;
use crate::setup::Setup;

/// Show what changes between two versions of the fleet file, without looking at the world
///
/// Reads both versions from git. Needs no identity and no network, runs nothing and opens no secret: one that was encrypted
/// anew shows as changed. Without HEAD the files in the folder are compared.
#[derive(Debug, Args)]
pub struct Diff {
    /// BASE..HEAD, or BASE alone: branches, tags or commits.
    #[arg(value_name = "BASE..HEAD", allow_hyphen_values = true)]
    range: String,
    /// Exit 2 when something changes, instead of 0.
    #[arg(long)]
    detailed_exitcode: bool,
    /// Show every field of new things, not only a line for each.
    #[arg(long)]
    full: bool,
}

impl Diff {
    /// Runs it.
    pub fn run(self, global: &Global, setup: &Setup) -> Outcome {
        let repository = Repository::of(&setup.root)?;
        let (base, head) = split(&self.range)?;
        let base = Version::of(repository.commit(base)?, setup)?;
        let before = Checked::unopened(&base.setup).map_err(|error| base.blame(error))?;
        let head = head.map(|head| Version::of(repository.commit(head)?, setup)).transpose()?;
        let after = match &head {
            Some(head) => Checked::unopened(&head.setup).map_err(|error| head.blame(error))?,
            None => Checked::unopened(setup)?,
        };
        let (plan, after) = compare(before, after);
        let head = head.as_ref().map(|version| &version.commit);
        self.print(global, &plan, &after, (&base.commit, head));
        Ok(if self.detailed_exitcode { super::plan_exit(&plan) } else { exit::DONE })
    }

    fn print(&self, global: &Global, plan: &Plan, after: &Checked, (base, head): (&Commit, Option<&Commit>)) {
        let named = |commit: &Commit| json!({ "ref": commit.name, "commit": commit.id });
        if global.json {
            render::json(&json!({ "base": named(base), "head": head.map(named), "plan": plan }));
            return;
        }
        let of_head = head.map_or_else(|| "the files here".to_owned(), Commit::title);
        let line = format!("{} → {of_head}: what the files ask for, whatever the world looks like", base.title());
        render::out(format_args!("{}\n", style::paint(style::DIM, line)));
        if plan.steps.is_empty() {
            render::out(format_args!("No difference: {} resources are asked for as before.", plan.unchanged.len()));
            return;
        }
        let detail = if self.full { Detail::Full } else { Detail::Short };
        let drawn = render::plan::draw(plan, &after.desired, detail);
        render::out(drawn.replacen("\nPlan: ", "\nDifference: ", 1));
    }
}

/// Returns the difference of two versions; the later one's secrets have their stand-ins then.
fn compare(mut before: Checked, mut after: Checked) -> (Plan, Checked) {
    let book = Book::default();
    for side in [&mut before, &mut after] {
        let mut desired = std::mem::take(&mut side.desired);
        // one that is missing equals nothing, and so shows as changed
        drop(desired.resolve(&Sealed { vault: side.vault(), book: &book }));
        side.desired = desired;
    }
    (between(&before.desired, &after.desired, &after.rules), after)
}

/// Returns the two ends of a range; without the second, the folder is meant.
fn split(range: &str) -> Result<(&str, Option<&str>), CommandError> {
    if range.contains("...") {
        return Err(CommandError::usage("three dots are git's for where two branches parted")
            .help("write BASE..HEAD; BASE may be what `git merge-base BASE HEAD` prints"));
    }
    // as in git, an end that is left out is the last commit
    Ok(match range.split_once("..") {
        Some((base, head)) => (or_last(base), Some(or_last(head))),
        None => (range, None),
    })
}

fn or_last(name: &str) -> &str {
    if name.is_empty() { "HEAD" } else { name }
}
