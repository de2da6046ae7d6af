//! What a review needs: the fleet as it is in a commit, put beside the one in the folder. Only plain files of the commit
//! are taken, into a private folder that is gone afterwards; no link is followed, nothing is opened, nothing is run.

pub mod base;
mod place;
mod profiles;
pub mod sealed;

use std::collections::BTreeSet;
use std::fs;

use claw_core::fleet::{self, SourceFile};
use claw_core::problem::Problem;
use claw_engine::load;
use claw_vault::PROFILE_BYTES_MAX;

use crate::error::CommandError;
use crate::exit;
use crate::git::{Commit, Item, ItemKind, is_plain};
use crate::setup::Setup;

/// The most bytes of files taken from one commit.
const BYTES_MAX: u64 = 48 * 1024 * 1024;

/// A fleet as it is in a commit.
pub struct Version {
    /// The commit.
    pub commit: Commit,
    /// Surroundings in which the fleet lies in a folder of its own.
    pub setup: Setup,
    folder: tempfile::TempDir,
}

impl Version {
    /// Takes what belongs to the fleet out of a commit: its files, its profiles, its workspaces.
    pub fn of(commit: Commit, setup: &Setup) -> Result<Self, CommandError> {
        let failed = |error: std::io::Error| CommandError::failed(format!("failed to make a private folder: {error}"));
        let folder = tempfile::Builder::new().prefix("claw-").tempdir().map_err(failed)?;
        let main = setup.fleet_file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let version = Self { setup: setup.at(folder.path()), commit, folder };
        let items = version.commit.items("")?;
        if !items.iter().any(|item| item.path == main) {
            let message = format!("there is no {main} at {}", version.commit.title());
            let help = "a fleet's first version has nothing to be compared with: leave the other version out";
            return Err(CommandError::new(exit::INVALID, message).help(help));
        }
        let mut taken = BTreeSet::new();
        version.take(&items, &mut taken, |path| path == main)?;
        let text = String::from_utf8_lossy(&fs::read(&version.setup.fleet_file).unwrap_or_default()).into_owned();
        let source = SourceFile { path: main, text };
        let is_profile = |path: &str| match path.strip_prefix("secrets") {
            Some(rest) => rest.is_empty() || (rest.ends_with(".toml") && rest.matches('/').count() == 1),
            None => false,
        };
        version.take(&items, &mut taken, |path| load::includes(&source, path) || is_profile(path))?;
        let (files, _) = load::fleet_files(&version.setup.fleet_file);
        let folders: Vec<String> = match fleet::load(&files).0 {
            Some(fleet) => fleet.agents.values().filter_map(|agent| agent.workspace.clone()).collect(),
            None => Vec::new(), // what is wrong with it is told by whoever compiles it
        };
        let in_workspace = |path: &str| {
            let below = |folder: &String| {
                let folder = folder.trim_start_matches("./").trim_end_matches('/');
                path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            };
            folders.iter().any(below)
        };
        version.take(&items, &mut taken, in_workspace)?;
        Ok(version)
    }

    /// Writes the files that are wanted and were not taken yet.
    fn take(
        &self,
        items: &[Item],
        taken: &mut BTreeSet<String>,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<(), CommandError> {
        let invalid = |message: String| CommandError::new(exit::INVALID, message);
        let wanted: Vec<&Item> =
            items.iter().filter(|item| !taken.contains(&item.path) && wanted(&item.path)).collect();
        let title = self.commit.title();
        for item in &wanted {
            let path = claw_core::text::clean(&item.path, 200);
            if item.kind != ItemKind::File || !is_plain(&item.path) {
                let help = "put the file itself in its place: claw follows nothing in a commit";
                return Err(invalid(format!("{path} is no plain file at {title}")).help(help));
            }
            if item.path.starts_with("secrets/") && item.bytes > PROFILE_BYTES_MAX as u64 {
                return Err(invalid(format!("{path} is larger than any profile at {title}")));
            }
        }
        if wanted.iter().map(|item| item.bytes).sum::<u64>() > BYTES_MAX {
            return Err(invalid(format!("the fleet has more than {} MiB of files at {title}", BYTES_MAX >> 20)));
        }
        let paths: Vec<String> = wanted.iter().map(|item| item.path.clone()).collect();
        for (path, content) in paths.iter().zip(self.commit.read_all(&paths)?) {
            let content = content.ok_or_else(|| invalid(format!("git has no {path} at {title}")))?;
            let to = self.folder.path().join(path);
            let written = to.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&to, content));
            written.map_err(|error| CommandError::failed(format!("failed to write a copy of {path}: {error}")))?;
            taken.insert(path.clone());
        }
        Ok(())
    }

    /// Returns the failure to read this version as one that says which version it is.
    pub fn blame(&self, mut error: CommandError) -> CommandError {
        let folder = format!("{}/", self.folder.path().display());
        let say = |text: &mut String| *text = text.replace(&folder, "");
        error.problems.iter_mut().for_each(|problem| say(&mut problem.message));
        say(&mut error.message);
        let title = self.commit.title();
        error.message = match error.message.as_str() {
            "" => format!("the fleet is not valid at {title}: these problems are in that version"),
            message => format!("at {title}: {message}"),
        };
        error
    }

    /// Returns the fleet as it is written there; what is wrong with it is an error.
    pub fn fleet(&self) -> Result<fleet::Fleet, CommandError> {
        let (files, mut problems) = load::fleet_files(&self.setup.fleet_file);
        let (fleet, more) = fleet::load(&files);
        problems.extend(more);
        let is_error = |problem: &Problem| problem.severity == claw_core::problem::Severity::Error;
        match fleet.filter(|_| !problems.iter().any(is_error)) {
            Some(fleet) => Ok(fleet),
            None => Err(self.blame(CommandError::invalid(problems, files))),
        }
    }
}
