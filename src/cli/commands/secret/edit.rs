//! `claw secret edit`: a profile's values in an editor, and back: only what changed is encrypted anew.
//!
//! The text lies in a private folder of its own, in memory where the system has a place for that, and goes on every way
//! out that a process can see.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use claw_core::fleet::Fleet;
use claw_vault::{Changes, PROFILE_BYTES_MAX, TextError, Vault, read_draft, write_draft};
use secrecy::SecretString;
use zeroize::Zeroizing;

use super::super::{Outcome, done, wait};
use crate::ask;
use crate::error::CommandError;
use crate::exit;
use crate::render;
use crate::session::recipients;
use crate::setup::{self, Setup};

/// How often it is looked whether the editor is closed.
const LOOK: Duration = Duration::from_millis(50);

type Values = Vec<(String, SecretString)>;

/// Opens the editor, reads what it left, and stores what changed.
pub fn run(fleet: &Fleet, vault: &Vault, profile: &str, setup: &Setup) -> Outcome {
    let editor = editor(setup)?;
    let recipients = recipients(fleet, profile)?;
    let snapshot = vault.snapshot(profile)?;
    let mut old = Values::new();
    for key in snapshot.keys() {
        old.push((key.to_owned(), vault.value_in(&snapshot, key)?));
    }
    let edited = edited(&editor, profile, &old, setup)?;
    let changes = Changes::between(&old, edited);
    if changes.is_empty() {
        render::out("nothing changed");
        return Ok(exit::DONE);
    }
    vault.change(&snapshot, &changes, &recipients, setup.env("USER"), &setup::today())?;
    for (key, _) in &changes.set {
        done(format_args!("stored {profile}/{key}"));
    }
    for key in &changes.remove {
        done(format_args!("removed {profile}/{key}"));
    }
    Ok(exit::DONE)
}

/// Lets a person edit the values until they read, or until that person gives up.
fn edited(editor: &[String], profile: &str, old: &Values, setup: &Setup) -> Result<Values, CommandError> {
    let mut signals = wait(async { Signals::listen() })??;
    // from here on a signal is heard by claw and does not end it: the folder goes when it is dropped
    let folder = private_folder(setup)?;
    let path = folder.path().join(format!("{profile}.toml"));
    let text = Zeroizing::new(format!(
        "# The values of {profile}: KEY = \"value\". A line that is removed removes its value.\n\n{}",
        write_draft(old).as_str()
    ));
    write_private(&path, &text)?;
    loop {
        let status = open(editor, &path, &mut signals)?;
        if !status.success() {
            return Err(CommandError::failed(format!("the editor failed ({status}); nothing was written"))
                .help("end it without an error to store what is in the file"));
        }
        let error = match read_draft(&read_private(&path)?) {
            Ok(values) => return Ok(values),
            Err(error) => error,
        };
        if !setup.stdin_terminal || !again(profile, &error)? {
            return Err(CommandError::new(exit::INVALID, format!("the edited text does not read: {error}"))
                .help("nothing was written, and the text is gone; `claw secret edit` begins anew"));
        }
    }
}

fn again(profile: &str, error: &TextError) -> Result<bool, CommandError> {
    let question = format!("The text of {profile} does not read: {error}\nOpen it again, as you left it?");
    Ok(ask::text(&mut ask::terminal, &question, Some("yes"), false, &|_| Ok(()))?.as_deref() == Some("yes"))
}

/// Returns the editor's command, in words.
fn editor(setup: &Setup) -> Result<Vec<String>, CommandError> {
    let help =
        "set EDITOR to a command that returns when the file is closed, as in `EDITOR=nano` or `EDITOR=\"code --wait\"`";
    let named = setup.env("VISUAL").or_else(|| setup.env("EDITOR"));
    let named = named.ok_or_else(|| CommandError::failed("neither VISUAL nor EDITOR names an editor").help(help))?;
    let words = words(named).filter(|words| !words.is_empty());
    words.ok_or_else(|| CommandError::failed("the editor's command has a quote that does not end").help(help))
}

/// Splits a command at blanks outside quotes; nothing else in it means anything. `None` where a quote does not end.
fn words(command: &str) -> Option<Vec<String>> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for letter in command.chars() {
        match quote {
            Some(end) if letter == end => quote = None,
            None if letter == '"' || letter == '\'' => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            None if letter.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

/// Runs the editor until it is closed. ^C is the editor's business; SIGTERM and SIGHUP end it.
fn open(editor: &[String], path: &Path, signals: &mut Signals) -> Result<ExitStatus, CommandError> {
    let mut command = Command::new(&editor[0]);
    // what opens the fleet's secrets is none of the editor's business
    command.args(&editor[1..]).arg(path).env_remove("CLAW_IDENTITY");
    let failed = |error: std::io::Error| {
        CommandError::failed(format!("failed to run the editor `{}`: {error}", editor[0]))
            .help("EDITOR names a program and its arguments; a shell's words mean nothing in it")
    };
    let mut child = command.spawn().map_err(failed)?;
    let ended = wait(signals.watch(&mut child))?;
    ended.map_err(failed)?.ok_or_else(|| {
        let _ = child.kill().and_then(|()| child.wait().map(drop)); // it may have ended just now
        CommandError::failed("ended by a signal: nothing was written")
    })
}

/// Signals that would otherwise end the process and leave the text behind.
struct Signals {
    #[cfg(unix)]
    ended: Vec<tokio::signal::unix::Signal>,
}

impl Signals {
    /// Begins to listen; for the rest of the process.
    fn listen() -> Result<Self, CommandError> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            let failed = |error| CommandError::failed(format!("failed to listen for signals: {error}"));
            let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
            Ok(Self { ended: kinds.into_iter().map(signal).collect::<Result<_, _>>().map_err(failed)? })
        }
        #[cfg(not(unix))]
        Ok(Self {})
    }

    /// Waits for a process; `None` when a signal says to end it.
    async fn watch(&mut self, child: &mut Child) -> std::io::Result<Option<ExitStatus>> {
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(Some(status));
            }
            #[cfg(unix)]
            if let [interrupt, terminate, hangup] = self.ended.as_mut_slice() {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => return Ok(None),
                    _ = hangup.recv() => return Ok(None),
                    () = tokio::time::sleep(LOOK) => {}
                }
            }
            #[cfg(not(unix))]
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// Makes a folder that only its owner enters, in memory where the system has such a place.
fn private_folder(setup: &Setup) -> Result<tempfile::TempDir, CommandError> {
    let places = setup.env("XDG_RUNTIME_DIR").map(PathBuf::from).into_iter();
    let places = places.chain([PathBuf::from("/dev/shm"), std::env::temp_dir()]).filter(|place| place.is_dir());
    let mut builder = tempfile::Builder::new();
    builder.prefix("claw-edit-");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
    let mut failure = None;
    for place in places {
        match builder.tempdir_in(&place) {
            Ok(folder) => return Ok(folder),
            Err(error) => failure = Some(format!(": {error}")),
        }
    }
    Err(CommandError::failed(format!("failed to make a private folder{}", failure.unwrap_or_default())))
}

fn write_private(path: &Path, text: &str) -> Result<(), CommandError> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| CommandError::failed(format!("failed to write {}: {error}", path.display())))
}

fn read_private(path: &Path) -> Result<Zeroizing<String>, CommandError> {
    let limit = PROFILE_BYTES_MAX;
    // never grown, so that no copy is left behind in memory
    let mut text = Zeroizing::new(String::with_capacity(limit + 64));
    let read = fs::File::open(path).and_then(|file| file.take(limit as u64 + 1).read_to_string(&mut text));
    read.map_err(|error| CommandError::failed(format!("failed to read the edited text: {error}")))?;
    if text.len() > limit {
        return Err(CommandError::new(exit::INVALID, "the edited text is larger than a profile may be"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_split_at_blanks_outside_quotes_and_nowhere_else() {
        let split = |text| words(text).map(|words| words.join("|"));
        assert_eq!(split("code --wait").as_deref(), Some("code|--wait"));
        assert_eq!(
            split("  '/my editor/ed'  -c \"set x; $(y)\" '' ").as_deref(),
            Some("/my editor/ed|-c|set x; $(y)|")
        );
        assert_eq!(split("a'b c'd").as_deref(), Some("ab cd"));
        assert_eq!(split("vi 'x"), None);
    }
}
