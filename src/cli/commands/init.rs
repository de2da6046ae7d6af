//! `claw init`: a first fleet file, an identity and the fleet's key.

use std::fs;
use std::path::Path;

use clap::Args;
use claw_vault::{Recipient, Vault, VaultError};
use toml_edit::{Array, DocumentMut, value};

use super::Outcome;
use super::identity;
use crate::args::Global;
use crate::error::CommandError;
use crate::exit;
use crate::render::{self, style};
use crate::session::{self, SANDBOX_IDENTITY};
use crate::setup::{self, Setup};

/// The example that shows every key: what a new fleet begins with.
const SKELETON: &str = include_str!("../../../fleet.toml.example");

/// Begin a fleet: fleet.toml, an identity, the fleet's key, .gitignore
///
/// In a copy of an example, --own makes it yours: a new fleet id, your identity, a new fleet key; the example's secrets are
/// removed. What exists is never overwritten otherwise.
#[derive(Debug, Args)]
pub struct Init {
    /// The fleet's name; the folder's name unless given.
    #[arg(long)]
    name: Option<String>,
    /// Make a copied fleet file yours.
    #[arg(long)]
    own: bool,
}

impl Init {
    /// Runs it.
    pub fn run(self, global: &Global, setup: &Setup) -> Outcome {
        let exists = setup.fleet_file.exists();
        if exists && !self.own {
            if lacks_key(setup) {
                return complete(global, setup);
            }
            return Err(CommandError::failed(format!("{} is there already", setup.fleet_file.display()))
                .help("`claw check` looks at it; `claw init --own` makes a copied example yours"));
        }
        if !exists && self.own {
            return Err(CommandError::failed(format!("there is no {} to make yours", setup.fleet_file.display()))
                .help("without --own, `claw init` writes one"));
        }
        let io = |what: &str| {
            let what = what.to_owned();
            move |error: std::io::Error| CommandError::failed(format!("failed to write {what}: {error}"))
        };
        let recipients = own_recipients(global, setup)?;
        let text = if exists {
            fs::read_to_string(&setup.fleet_file).map_err(io("the fleet file"))?
        } else {
            SKELETON.to_owned()
        };
        let id = random_id()?;
        let text = filled(&text, self.name.unwrap_or_else(|| folder_name(&setup.root)), &id, &recipients)?;
        if self.own {
            remove_carried_secrets(setup)?;
        }
        fs::create_dir_all(&setup.root).map_err(io("the folder"))?;
        // the key first: a fleet file without its key would be a fleet without secrets
        let parsed: Vec<Recipient> = recipients.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
        fs::create_dir_all(setup.secrets_folder()).map_err(io("the folder of secrets"))?;
        Vault::open(&setup.secrets_folder(), &id, None, &setup.known)?.init(&parsed, &setup::today())?;
        make_login_key(global, setup, &id, &parsed)?;
        write_new(&setup.fleet_file, &text, self.own).map_err(io("the fleet file"))?;
        ignore_state(&setup.root.join(".gitignore")).map_err(io(".gitignore"))?;
        let schema = setup.root.join("schemas/fleet.schema.json");
        if !schema.exists() {
            fs::create_dir_all(setup.root.join("schemas")).map_err(io("schemas"))?;
            fs::write(&schema, format!("{:#}\n", claw_core::fleet::fleet_schema())).map_err(io("the schema"))?;
        }
        report(setup, &id);
        Ok(exit::DONE)
    }
}

/// Whether the fleet has neither a key nor anything that was encrypted with one.
fn lacks_key(setup: &Setup) -> bool {
    let files = fs::read_dir(setup.secrets_folder()).map(|files| files.count()).unwrap_or_default();
    files == 0
}

/// Makes the key of a fleet whose file was written by hand.
fn complete(global: &Global, setup: &Setup) -> Outcome {
    let (fleet, vault) = session::fleet_and_vault(global, setup)?;
    if fleet.meta.recipients.is_empty() {
        return Err(CommandError::new(exit::INVALID, "the fleet names nobody who may read its secrets")
            .help("`claw identity` shows your public key; put it into [fleet] recipients = [\"age1…\"]"));
    }
    let recipients: Vec<Recipient> = fleet.meta.recipients.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
    fs::create_dir_all(setup.secrets_folder())
        .map_err(|error| CommandError::failed(format!("failed to make the folder of secrets: {error}")))?;
    vault.init(&recipients, &setup::today())?;
    make_login_key(global, setup, &fleet.meta.id, &recipients)?;
    report(setup, &fleet.meta.id);
    Ok(exit::DONE)
}

/// Makes the key claw logs in to hosts with, where an identity is at hand; `claw rotate ssh` makes it otherwise.
fn make_login_key(global: &Global, setup: &Setup, id: &str, recipients: &[Recipient]) -> Result<(), CommandError> {
    let identities = session::identities(global, setup)?.filter(|found| !found.is_empty());
    if let Some(identities) = identities {
        let vault = Vault::open(&setup.secrets_folder(), id, Some(identities), &setup.known)?;
        match vault.control_begin(recipients, &setup::today()) {
            // the fleet is for other readers than this one
            Err(VaultError::OtherRecipient { .. }) | Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn report(setup: &Setup, id: &str) {
    let done = |text: String| render::out(format_args!("{} {text}", style::paint(style::GREEN, "✓")));
    done(format!("{}, marked {id}", setup.fleet_file.display()));
    done(format!(
        "{}, the fleet's key and login key, encrypted for you",
        setup.secrets_folder().join("claw.toml").display()
    ));
    render::out(
        "\nNext: store your model's key with `claw secret set default/ANTHROPIC_API_KEY`, add an agent with `claw new`,",
    );
    render::out("      then `claw plan`, or `claw plan --sandbox` to try it without an engine.");
    render::out("      Commit everything but .claw/. Keep a copy of your identity: `claw identity` names it.");
}

/// Returns the public keys of the identities at hand; makes an identity when there is none.
fn own_recipients(global: &Global, setup: &Setup) -> Result<Vec<String>, CommandError> {
    let found = session::identities(global, setup)?.filter(|found| !found.is_empty());
    if let Some(found) = found {
        return Ok(found.recipients().iter().take(1).map(ToString::to_string).collect());
    }
    let path = identity::default_path(setup)?;
    let recipient = identity::make(&path)?;
    render::out(format_args!(
        "{} {}, your identity: keep a copy somewhere safe",
        style::paint(style::GREEN, "✓"),
        path.display()
    ));
    Ok(vec![recipient])
}

fn folder_name(root: &Path) -> String {
    let full = fs::canonicalize(root).unwrap_or_else(|_| root.to_owned());
    full.file_name().map_or_else(|| "fleet".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// Returns six letters and digits at random: the ownership mark.
fn random_id() -> Result<String, CommandError> {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut bytes = [0_u8; 6];
    getrandom::getrandom(&mut bytes)
        .map_err(|error| CommandError::failed(format!("failed to get randomness: {error}")))?;
    Ok(bytes.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect())
}

fn filled(text: &str, name: String, id: &str, recipients: &[String]) -> Result<String, CommandError> {
    let mut document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| {
        CommandError::new(exit::INVALID, error.message().to_owned()).help("`claw check` shows where")
    })?;
    let fleet = document["fleet"].or_insert(toml_edit::table());
    let mut put = |key: &str, new: toml_edit::Value| {
        let decor = fleet.get(key).and_then(|item| item.as_value()).map(|old| old.decor().clone());
        fleet[key] = value(new);
        if let (Some(decor), Some(placed)) = (decor, fleet[key].as_value_mut()) {
            *placed.decor_mut() = decor; // the comment on the line stays
        }
    };
    put("name", name.into());
    put("id", id.into());
    put("recipients", recipients.iter().collect::<Array>().into());
    Ok(document.to_string())
}

/// Removes the secrets and the identity an example came with: nobody else could open them, or everybody can.
fn remove_carried_secrets(setup: &Setup) -> Result<(), CommandError> {
    let carried = setup.root.join(SANDBOX_IDENTITY);
    if !carried.exists() {
        return Err(CommandError::failed("this fleet is not a copied example: it carries no sandbox identity")
            .help("to give another person access, add their public key to `recipients`"));
    }
    let failed =
        |error: std::io::Error| CommandError::failed(format!("failed to remove the example's secrets: {error}"));
    fs::remove_dir_all(setup.secrets_folder()).map_err(failed)?;
    fs::remove_file(carried).map_err(failed)
}

fn write_new(path: &Path, text: &str, replace: bool) -> std::io::Result<()> {
    if replace {
        return fs::write(path, text);
    }
    let mut file = fs::File::create_new(path)?;
    std::io::Write::write_all(&mut file, text.as_bytes())
}

fn ignore_state(path: &Path) -> std::io::Result<()> {
    let text = fs::read_to_string(path).unwrap_or_default();
    if text.lines().any(|line| line.trim() == ".claw/") {
        return Ok(());
    }
    let gap = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    fs::write(path, format!("{text}{gap}# claw's journals, lock and sandbox: never needed elsewhere\n.claw/\n"))
}
