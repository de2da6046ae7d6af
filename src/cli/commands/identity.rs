//! `claw identity`: the private key that opens secrets.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use claw_vault::{Identity, KeychainItem};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::Outcome;
use crate::args::Global;
use crate::error::CommandError;
use crate::exit;
use crate::render::{self, style};
use crate::session;
use crate::setup::{self, Setup};

/// Show your public keys, or make an identity
///
/// An identity opens secrets; its public half goes into `recipients`. It is looked for in CLAW_IDENTITY (a key, a path or
/// keychain:SERVICE/ACCOUNT), ~/.config/claw/identity.txt, ~/.ssh/id_ed25519 and the system's keychain (claw/identity). One under a passphrase (an SSH key, or a file of `age -p`) is asked for on
/// a terminal when something needs it; never in CI.
#[derive(Debug, Args)]
pub struct IdentityArgs {
    #[command(subcommand)]
    command: Option<IdentityCommand>,
}

#[derive(Debug, Subcommand)]
enum IdentityCommand {
    /// Make a new identity; an existing one is never overwritten
    New {
        /// Where to: ~/.config/claw/identity.txt unless given.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Into the system's keychain instead of a file, as claw/identity unless given.
        #[arg(long, value_name = "SERVICE/ACCOUNT", num_args = 0..=1, default_missing_value = "claw/identity",
              conflicts_with = "out")]
        keychain: Option<String>,
    },
}

impl IdentityArgs {
    /// Runs it.
    pub fn run(self, global: &Global, setup: &Setup) -> Outcome {
        if let Some(IdentityCommand::New { keychain: Some(item), .. }) = &self.command {
            return make_in_keychain(item, global, setup);
        }
        if let Some(IdentityCommand::New { out, .. }) = self.command {
            let path = out.map_or_else(|| default_path(setup), Ok)?;
            let recipient = make(&path)?;
            if global.json {
                render::json(&json!({ "recipient": recipient, "file": path }));
            } else {
                render::out(format_args!("{} made {}", style::paint(style::GREEN, "✓"), path.display()));
                render::out(format_args!("public key: {recipient}"));
                render::out(
                    "Keep a copy of the file somewhere safe: without it nobody but the other recipients opens the secrets.",
                );
            }
            return Ok(exit::DONE);
        }
        let identities = session::identities(global, setup)?.unwrap_or_default();
        if identities.is_empty() {
            identities.notes().iter().for_each(render::err);
            return Err(CommandError::failed("there is no identity on this machine")
                .help("`claw identity new` makes one; CLAW_IDENTITY names one elsewhere"));
        }
        let recipients: Vec<String> = identities.recipients().iter().map(ToString::to_string).collect();
        if global.json {
            render::json(&json!({ "recipients": recipients, "notes": identities.notes() }));
        } else {
            recipients.iter().for_each(render::out);
            identities.notes().iter().for_each(render::err);
        }
        Ok(exit::DONE)
    }
}

/// Makes an identity that lies in no file.
fn make_in_keychain(item: &str, global: &Global, setup: &Setup) -> Outcome {
    let item: KeychainItem = item.parse()?;
    let (identity, text) = Identity::generate(&setup::today());
    // one line: the systems' own tools show longer texts as bytes
    let key = text.expose_secret().lines().last().unwrap_or_default();
    setup.keychain().save_new(&item, &SecretString::from(key))?;
    let recipient = identity.recipient().to_string();
    if global.json {
        render::json(&json!({ "recipient": recipient, "keychain": item.to_string() }));
        return Ok(exit::DONE);
    }
    render::out(format_args!("{} made {item}", style::paint(style::GREEN, "✓")));
    render::out(format_args!("public key: {recipient}"));
    if item != KeychainItem::identity() {
        render::out(format_args!("claw finds it with CLAW_IDENTITY={item}"));
    }
    render::out("Have a second recipient: what the keychain loses, nobody but the other recipients opens.");
    Ok(exit::DONE)
}

/// Returns where an identity lies unless somebody says otherwise.
pub fn default_path(setup: &Setup) -> Result<PathBuf, CommandError> {
    let home = setup.home().ok_or_else(|| {
        CommandError::failed("there is no home folder for an identity").help("set HOME, or give --out FILE")
    })?;
    Ok(home.join(".config/claw/identity.txt"))
}

/// Makes an identity and returns its public half.
pub fn make(path: &std::path::Path) -> Result<String, CommandError> {
    let (identity, text) = Identity::generate(&setup::today());
    claw_vault::save_new(path, &text)?;
    Ok(identity.recipient().to_string())
}
