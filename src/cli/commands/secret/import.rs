//! `claw secret import`: values from a dotenv or sops file, another profile or the system's keychain, all of them or none.
//! Prints names, never values.

use std::fs::File;
use std::io::Read;

use claw_core::fleet::Fleet;
use claw_vault::{
    Changes, KeychainError, KeychainItem, PROFILE_BYTES_MAX, Vault, VaultError, is_key_name, read_dotenv,
};
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::super::{Outcome, done};
use crate::error::CommandError;
use crate::exit;
use crate::render;
use crate::session::recipients;
use crate::setup::{self, Setup};

/// Where values come from, and which.
#[derive(Debug, clap::Args)]
pub struct Import {
    /// The profile they go to.
    profile: String,
    #[command(flatten)]
    source: Source,
    /// The key that the keychain's item becomes: its account unless given.
    #[arg(long = "as", value_name = "KEY", requires = "keychain")]
    name: Option<String>,
    /// Only this key. Can be repeated.
    #[arg(long, value_name = "KEY")]
    only: Vec<String>,
    /// Write over keys that have another value.
    #[arg(long)]
    overwrite: bool,
}

/// Where values come from: one of these.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Source {
    /// A file of KEY=VALUE lines; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    dotenv: Option<String>,
    /// Another profile of this fleet.
    #[arg(long, value_name = "PROFILE")]
    from: Option<String>,
    /// A file that sops encrypted for one of your identities (age), in YAML, JSON or dotenv; `-` is standard input.
    ///
    /// Its MAC is checked. a: {b: …} becomes the key a_b, the first element of a list a becomes a_0. What sops left in
    /// clear is no secret and is left out.
    #[arg(long, value_name = "FILE")]
    sops: Option<String>,
    /// An item of the system's keychain.
    #[arg(long, value_name = "SERVICE/ACCOUNT")]
    keychain: Option<String>,
}

impl Source {
    fn name(&self) -> &str {
        let all = [&self.dotenv, &self.from, &self.sops, &self.keychain];
        all.into_iter().flatten().next().map_or("", String::as_str)
    }
}

type Values = Vec<(String, SecretString)>;

/// Reads the values, holds them against those there are, and stores what is new.
pub fn run(fleet: &Fleet, vault: &Vault, import: &Import, setup: &Setup) -> Outcome {
    let profile = import.profile.as_str();
    let recipients = recipients(fleet, profile)?;
    let snapshot = vault.snapshot(profile)?;
    let known: Vec<&str> = snapshot.keys().collect();
    let (mut set, mut differ, mut same) = (Values::new(), Vec::new(), 0);
    for (key, value) in chosen(vault, import, setup)? {
        if !known.contains(&key.as_str()) {
            set.push((key, value));
            continue;
        }
        match vault.value_in(&snapshot, &key) {
            Ok(old) if old.expose_secret() == value.expose_secret() => same += 1,
            // what does not open here may be anything: it is another value
            Ok(_) | Err(VaultError::OtherRecipient { .. } | VaultError::BadMac { .. } | VaultError::Garbled { .. }) => {
                differ.push(format!("{profile}/{key}"));
                set.push((key, value));
            }
            Err(error) => return Err(error.into()),
        }
    }
    if !differ.is_empty() && !import.overwrite {
        let message = format!("there are other values already: {}", differ.join(", "));
        return Err(CommandError::failed(message)
            .help("nothing was written; --overwrite replaces them, --only KEY leaves them out"));
    }
    let changes = Changes { set, remove: Vec::new() };
    if !changes.is_empty() {
        vault.change(&snapshot, &changes, &recipients, setup.env("USER"), &setup::today())?;
    }
    for (key, _) in &changes.set {
        done(format_args!("stored {profile}/{key}"));
    }
    if same > 0 || changes.is_empty() {
        render::out(format_args!("{same} of them are there already, with the same value"));
    }
    Ok(exit::DONE)
}

/// Returns the values that are asked for, or says which of them are not there.
fn chosen(vault: &Vault, import: &Import, setup: &Setup) -> Result<Values, CommandError> {
    let wants = |key: &str| import.only.is_empty() || import.only.iter().any(|only| only == key);
    let source = &import.source;
    let mut values = match source {
        Source { from: Some(from), .. } => of_profile(vault, from, wants)?,
        Source { dotenv: Some(file), .. } => of_dotenv(file)?,
        Source { sops: Some(file), .. } => of_sops(vault, file)?,
        Source { keychain: Some(item), .. } => vec![of_keychain(item, import.name.as_deref(), setup)?],
        Source { .. } => Values::new(),
    };
    values.retain(|(key, _)| wants(key));
    let missing = import.only.iter().filter(|only| !values.iter().any(|(key, _)| key == *only));
    let missing: Vec<&str> = missing.map(String::as_str).collect();
    if missing.is_empty() {
        return Ok(values);
    }
    Err(CommandError::failed(format!("{} does not have {}", source.name(), missing.join(", ")))
        .help("nothing was written"))
}

fn of_profile(vault: &Vault, from: &str, wants: impl Fn(&str) -> bool) -> Result<Values, CommandError> {
    let mut values = Values::new();
    for key in vault.key_names(from)?.into_iter().filter(|key| wants(key)) {
        let value = vault.get(from, &key)?;
        values.push((key, value));
    }
    Ok(values)
}

fn of_keychain(item: &str, name: Option<&str>, setup: &Setup) -> Result<(String, SecretString), CommandError> {
    let item: KeychainItem = item.parse()?;
    let key = name.unwrap_or(item.account());
    if !is_key_name(key) {
        return Err(CommandError::usage(format!("{item} names no key")).help("name it with --as KEY"));
    }
    let value = setup.keychain().read(&item)?.ok_or_else(|| KeychainError::Missing { item: item.clone() })?;
    Ok((key.to_owned(), value))
}

fn of_sops(vault: &Vault, file: &str) -> Result<Values, CommandError> {
    let opened = vault.open_sops(&read(file)?, file)?;
    if !opened.clear.is_empty() {
        let names = opened.clear.join(", ");
        render::out(format_args!("left out, as sops did not encrypt them: {names}"));
    }
    Ok(opened.values)
}

fn of_dotenv(file: &str) -> Result<Values, CommandError> {
    read_dotenv(&read(file)?).map_err(|problems| {
        let all: Vec<String> = problems.iter().map(|problem| format!("{file}: {problem}")).collect();
        CommandError::new(exit::INVALID, all.join("\n")).help("nothing was written; repair those lines and try again")
    })
}

fn read(file: &str) -> Result<Zeroizing<String>, CommandError> {
    let failed = |error: std::io::Error| CommandError::failed(format!("failed to read {file}: {error}"));
    // never grown, so that no copy is left behind in memory
    let mut text = Zeroizing::new(String::with_capacity(PROFILE_BYTES_MAX + 64));
    let limit = PROFILE_BYTES_MAX as u64 + 1;
    match file {
        "-" => std::io::stdin().lock().take(limit).read_to_string(&mut text),
        file => File::open(file).and_then(|opened| opened.take(limit).read_to_string(&mut text)),
    }
    .map_err(failed)?;
    if text.len() > PROFILE_BYTES_MAX {
        return Err(CommandError::new(exit::INVALID, format!("{file} is larger than a profile may be")));
    }
    Ok(text)
}
