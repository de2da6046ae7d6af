//! `claw secret`: the values agents need, encrypted beside the fleet file.

mod accept;
mod edit;
mod export;
mod import;
mod list;

use std::io::Read;

use clap::{Args, Subcommand};
use claw_core::fleet::Fleet;
use claw_vault::{VALUE_BYTES_MAX, Vault};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::Outcome;
use super::apply::Consent;
use crate::args::Global;
use crate::error::CommandError;
use crate::exit;
use crate::render::{self, style};
use crate::session::{fleet_and_vault, recipients};
use crate::setup::{self, Setup};

/// Store, show, list and remove secrets
///
/// They lie encrypted in secrets/PROFILE.toml, made for review: names and dates in clear, each value for itself.
#[derive(Debug, Args)]
pub struct Secret {
    #[command(subcommand)]
    command: SecretCommand,
}

#[derive(Debug, Subcommand)]
enum SecretCommand {
    /// Store a value, asked for or from standard input; never from the command line
    Set {
        /// PROFILE/KEY, as in default/ANTHROPIC_API_KEY.
        name: String,
    },
    /// Print a value
    Get {
        /// PROFILE/KEY.
        name: String,
    },
    /// List the names, without their values
    List {
        /// Only this profile.
        profile: Option<String>,
    },
    /// Change the values of a profile in your editor
    ///
    /// VISUAL or EDITOR opens them as KEY = "value" in a private file that is gone afterwards. What you change, add or
    /// remove there is changed, added or removed; everything else keeps every byte.
    Edit {
        /// The profile.
        profile: String,
    },
    /// Store values from a dotenv or sops file, another profile or the system's keychain, all of them or none
    ///
    /// A key that has another value already is refused unless --overwrite says so.
    Import(import::Import),
    /// Write a profile's values as dotenv text that only the given recipients open, with `age -d`
    Export(export::Export),
    /// Take over values that were made without the fleet's key, or moved: look at who made them first
    ///
    /// Such a value is held and reaches no agent. What it claims to be is shown, never the value; then it is encrypted
    /// anew for today's recipients and signed. What your identity does not open is refused.
    Accept {
        /// PROFILE/KEY, one or more.
        #[arg(required = true)]
        names: Vec<String>,
        /// Do not ask.
        #[arg(short, long)]
        yes: bool,
    },
    /// Say to which hosts a key or token may be sent, where its usual ones are not meant
    ///
    /// Whoever edits the fleet file cannot send it anywhere else. The hosts named here take the place of all others; with
    /// none, those usual for its name count again: api.anthropic.com for ANTHROPIC_API_KEY.
    Allow {
        /// PROFILE/KEY.
        name: String,
        /// `llm.example`, `*.example` for all below it, `'*'` for any.
        hosts: Vec<String>,
    },
    /// Encrypt anew what the recipients changed for: needed after `recipients` changed. It is not a rotation
    Rekey,
    /// Remove a value
    Rm {
        /// PROFILE/KEY.
        name: String,
    },
}

impl Secret {
    /// Runs it.
    pub fn run(self, global: &Global, setup: &Setup) -> Outcome {
        // a list says what can be told without asking for a passphrase
        let mut asking = setup.clone();
        asking.stdin_terminal &= !matches!(self.command, SecretCommand::List { .. });
        let (fleet, vault) = fleet_and_vault(global, &asking)?;
        match self.command {
            SecretCommand::Set { name } => set(&fleet, &vault, &name, setup),
            SecretCommand::Get { name } => {
                let (profile, key) = split(&name)?;
                let value = vault.get(profile, key)?;
                if global.json {
                    render::unmasked(format_args!("{:#}", json!({ "name": name, "value": value.expose_secret() })));
                } else {
                    render::unmasked(value.expose_secret());
                }
                Ok(exit::DONE)
            }
            SecretCommand::List { profile } => list::run(global, &fleet, &vault, profile),
            SecretCommand::Edit { profile } => edit::run(&fleet, &vault, &profile, setup),
            SecretCommand::Import(args) => import::run(&fleet, &vault, &args, setup),
            SecretCommand::Export(args) => export::run(&vault, &args),
            SecretCommand::Accept { names, yes } => {
                let consent = Consent { yes, ..Consent::default() };
                accept::run(global, &fleet, &vault, &names, &consent, setup)
            }
            SecretCommand::Allow { name, hosts } => {
                let (profile, key) = split(&name)?;
                let entry = vault.allow(profile, key, &hosts)?;
                if global.json {
                    render::json(&json!({ "name": name, "hosts": entry.hosts, "seq": entry.seq }));
                } else if entry.hosts.is_empty() {
                    super::done(format_args!("{name} may be sent to the usual hosts of its name"));
                } else {
                    super::done(format_args!("{name} may be sent to {} and nowhere else", entry.hosts.join(", ")));
                }
                Ok(exit::DONE)
            }
            SecretCommand::Rekey => rekey(&fleet, &vault),
            SecretCommand::Rm { name } => {
                let (profile, key) = split(&name)?;
                vault.rm(profile, key)?;
                render::out(format_args!(
                    "removed {name}; the history of the repository still has it: change it where it came from"
                ));
                Ok(exit::DONE)
            }
        }
    }
}

fn split(name: &str) -> Result<(&str, &str), CommandError> {
    name.split_once('/').ok_or_else(|| {
        CommandError::usage(format!("`{name}` does not name a secret"))
            .help("write PROFILE/KEY, as in default/ANTHROPIC_API_KEY")
    })
}

fn set(fleet: &Fleet, vault: &Vault, name: &str, setup: &Setup) -> Outcome {
    let (profile, key) = split(name)?;
    let recipients = recipients(fleet, profile)?;
    let value = ask(name, setup)?;
    let entry = vault.set(profile, key, &value, &recipients, setup.env("USER"), &setup::today())?;
    let readers = recipients.len();
    let noun = if readers == 1 { "recipient" } else { "recipients" };
    render::out(format_args!(
        "{} stored {name} (number {}) for {readers} {noun} in secrets/{profile}.toml",
        style::paint(style::GREEN, "✓"),
        entry.seq
    ));
    Ok(exit::DONE)
}

/// Encrypts anew, for today's recipients, what was encrypted for others: the fleet's key and every value.
fn rekey(fleet: &Fleet, vault: &Vault) -> Outcome {
    let mut changed = Vec::new();
    for profile in std::iter::once("claw".to_owned()).chain(vault.profiles()?) {
        let keys = vault.rekey(&profile, &recipients(fleet, &profile)?)?;
        changed.extend(keys.into_iter().map(|key| format!("{profile}/{key}")));
    }
    if changed.is_empty() {
        render::out("nothing to do: everything is encrypted for its recipients");
    }
    for name in &changed {
        render::out(format_args!("{} {name}", style::paint(style::GREEN, "✓")));
    }
    if !changed.is_empty() {
        render::out(
            "Who was removed can still read the history: change those values where they come from, then set them anew.",
        );
    }
    Ok(exit::DONE)
}

fn ask(name: &str, setup: &Setup) -> Result<SecretString, CommandError> {
    if setup.stdin_terminal {
        let answer = rpassword::prompt_password(format!("Value of {name} (not shown): "));
        return answer.map(SecretString::from).map_err(|error| CommandError::failed(format!("failed to ask: {error}")));
    }
    let mut text = String::new();
    let limit = VALUE_BYTES_MAX as u64 + 2;
    let read = std::io::stdin().lock().take(limit).read_to_string(&mut text);
    read.map_err(|error| CommandError::failed(format!("failed to read the value from standard input: {error}")))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned().into())
}
