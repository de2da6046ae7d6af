//! `claw secret export`: a profile's values as dotenv text, encrypted for somebody. Never in clear.

use std::io::Write;
use std::path::PathBuf;

use claw_vault::{Recipient, Vault, write_dotenv};

use super::super::{Outcome, done};
use crate::error::CommandError;
use crate::exit;
use crate::render;

/// What goes where, for whom.
#[derive(Debug, clap::Args)]
pub struct Export {
    /// The profile.
    profile: String,
    /// Encrypt with age: the only form there is.
    #[arg(long, required = true)]
    age: bool,
    /// A public key that opens it: age1… or ssh-ed25519. Can be repeated.
    #[arg(short, long, value_name = "RECIPIENT", required = true)]
    recipient: Vec<String>,
    /// Only this key. Can be repeated.
    #[arg(long, value_name = "KEY")]
    only: Vec<String>,
    /// The file to make; it must not be there yet. Standard output unless given.
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Writes it.
pub fn run(vault: &Vault, export: &Export) -> Outcome {
    let texts = export.recipient.iter();
    let recipients =
        texts.map(|text| text.parse().map_err(CommandError::from)).collect::<Result<Vec<Recipient>, _>>()?;
    let profile = export.profile.as_str();
    let keys = if export.only.is_empty() { vault.key_names(profile)? } else { export.only.clone() };
    let mut values = Vec::new();
    for key in keys {
        let value = vault.get(profile, &key)?;
        values.push((key, value));
    }
    let armour = claw_vault::seal_text(&write_dotenv(&values), &recipients)?;
    let Some(path) = &export.out else {
        render::out(armour.trim_end());
        return Ok(exit::DONE);
    };
    let written = std::fs::OpenOptions::new().write(true).create_new(true).open(path);
    let written = written.and_then(|mut file| file.write_all(armour.as_bytes()));
    written.map_err(|error| CommandError::failed(format!("failed to write {}: {error}", path.display())))?;
    let count = values.len();
    let noun = if count == 1 { "value" } else { "values" };
    done(format_args!("exported {count} {noun} of {profile} to {}", path.display()));
    render::out("Who opens it keeps what is in it: when they shall not any more, change those values.");
    Ok(exit::DONE)
}
