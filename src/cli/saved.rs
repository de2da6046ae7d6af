//! Saved plans as files: written, signed, read back and checked. What is still true of one is `core::plan::constrain`'s.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::Path;

use claw_core::observed::{Observed, Seen};
use claw_core::plan::{ABSENT, FORMAT, Plan, Saved, key_of};
use claw_core::value::bytes_of;
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use crate::commands::plan::Scope;
use crate::error::CommandError;
use crate::exit;
use crate::git::Repository;
use crate::session::Session;
use crate::setup::{self, Setup};

/// The largest plan file claw reads, in bytes: a hundred thousand steps.
const PLAN_BYTES_MAX: u64 = 256 * 1024 * 1024;
const TAMPERED: &str = "it was changed after it was made, or made by somebody else; plan anew";

/// What lies around a plan: not approved, for people.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Envelope {
    /// The commit the fleet's files were at; `None` outside a repository.
    pub commit: Option<String>,
    /// When it was made, RFC 3339, UTC.
    pub made: String,
    /// By which claw.
    pub claw: String,
}

/// A plan file.
#[derive(Debug, Serialize, Deserialize)]
struct File {
    /// What is approved.
    body: Json,
    envelope: Json,
    /// `sha256:` and 64 hex digits: of the body in canonical JSON.
    digest: String,
    /// Under a subkey of the fleet key, over all of the above.
    mac: String,
}

/// A plan file that was read and checked.
#[derive(Debug)]
pub struct Opened {
    /// What was approved.
    pub saved: Saved,
    /// What lies around it.
    pub envelope: Envelope,
    /// Its digest.
    pub digest: String,
}

/// Returns what a plan rests on, ready to be saved.
pub fn of(session: &Session, scope: &Scope, observed: &Observed, plan: &Plan) -> Result<Saved, CommandError> {
    let mut plan = Plan { cost: None, ..plan.clone() };
    plan.steps.iter_mut().for_each(|step| step.cost = None);
    let names = |names: &[String]| names.iter().map(|name| session.agent_id(name)).collect();
    Ok(Saved {
        format: FORMAT,
        fleet: session.fleet.meta.id.clone(),
        targets: names(&scope.targets),
        allow_destroy: names(&scope.allow_destroy),
        inputs: inputs(session)?,
        seen: sights(session, observed, &plan)?,
        plan,
    })
}

/// Returns the digest of every file the plan was made from, by its name.
pub fn inputs(session: &Session) -> Result<BTreeMap<String, String>, CommandError> {
    let digest = |bytes: &[u8]| format!("sha256:{}", HEXLOWER.encode(&Sha256::digest(bytes)));
    let sources = session.sources.iter().map(|source| (source.path.clone(), digest(source.text.as_bytes())));
    let mut found: BTreeMap<String, String> = sources.collect();
    for (name, text) in session.vault.files()? {
        found.insert(format!("secrets/{name}.toml"), digest(text.as_bytes()));
    }
    Ok(found)
}

/// Returns a digest of what was seen of each thing that a plan changes.
pub fn sights(session: &Session, observed: &Observed, plan: &Plan) -> Result<BTreeMap<String, String>, CommandError> {
    let sight = |step: &claw_core::plan::Step| {
        let seen = match observed.seen(&step.address) {
            Seen::Present(actual) => {
                // one that was removed and made again alike is not the one that was seen
                let mut bytes = format!("{:?} {:?} ", actual.owner, actual.created).into_bytes();
                bytes.extend(bytes_of(&actual.fields));
                session.vault.sight(&bytes)?
            }
            Seen::Absent => ABSENT.to_owned(),
            Seen::Unknown(_) => "unknown".to_owned(),
        };
        Ok((key_of(&step.address), seen))
    };
    plan.steps.iter().map(sight).collect()
}

/// Returns the digest of a plan: what is approved.
pub fn digest(saved: &Saved) -> String {
    digest_of(&serde_json::to_value(saved).unwrap_or_default())
}

/// JSON values keep their keys sorted, so equal plans have equal bytes however the file was laid out.
fn digest_of(body: &Json) -> String {
    format!("sha256:{}", HEXLOWER.encode(&Sha256::digest(body.to_string().as_bytes())))
}

fn signed(body: &Json, envelope: &Json, digest: &str) -> Vec<u8> {
    Json::from(vec![body.clone(), envelope.clone(), Json::from(digest)]).to_string().into_bytes()
}

/// Writes a plan file that only its owner reads, and returns the plan's digest.
pub fn write(session: &Session, setup: &Setup, saved: &Saved, path: &Path) -> Result<String, CommandError> {
    let to_json = |error: serde_json::Error| CommandError::failed(format!("failed to write the plan as JSON: {error}"));
    let commit =
        Repository::of(&setup.root).and_then(|repository| repository.commit("HEAD")).ok().map(|commit| commit.id);
    let envelope = Envelope { commit, made: setup::now(), claw: env!("CARGO_PKG_VERSION").to_owned() };
    let (body, envelope) =
        (serde_json::to_value(saved).map_err(to_json)?, serde_json::to_value(envelope).map_err(to_json)?);
    let digest = digest_of(&body);
    let mac = session.vault.sign_plan(&signed(&body, &envelope, &digest))?;
    let file = File { body, envelope, digest: digest.clone(), mac };
    let text = serde_json::to_string_pretty(&file).map_err(to_json)?;
    if setup.known.mask(&text) != text {
        let help = "somebody wrote it where names and settings stand; `claw plan` shows where: it is masked there";
        return Err(CommandError::failed("the plan would show a secret, and was not written").help(help));
    }
    write_private(path, &format!("{text}\n"))
        .map_err(|error| CommandError::failed(format!("failed to write {}: {error}", path.display())))?;
    Ok(digest)
}

/// Puts a file in place whole, for its owner alone: temporary files are made so.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut draft = tempfile::Builder::new().prefix(".claw-").tempfile_in(folder)?;
    draft.write_all(text.as_bytes())?;
    draft.as_file().sync_all()?;
    draft.persist(path)?;
    Ok(())
}

/// Reads a plan file, and refuses one that is another fleet's, of another form, or not as it was made.
pub fn read(session: &Session, path: &Path) -> Result<Opened, CommandError> {
    let shown = path.display();
    let invalid = |why: String| CommandError::new(exit::INVALID, format!("{shown} {why}"));
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(path).and_then(|file| file.take(PLAN_BYTES_MAX + 1).read_to_end(&mut bytes));
    opened.map_err(|error| {
        CommandError::failed(format!("failed to read {shown}: {error}")).help("`claw plan -o FILE` makes one")
    })?;
    if bytes.len() as u64 > PLAN_BYTES_MAX {
        return Err(invalid(format!("is larger than {} MiB", PLAN_BYTES_MAX >> 20)));
    }
    let no_plan =
        |error: serde_json::Error| invalid(format!("is no saved plan: {error}")).help("`claw plan -o FILE` makes one");
    let file: File = serde_json::from_slice(&bytes).map_err(no_plan)?;
    let format = file.body["format"].as_u64().unwrap_or_default();
    if format != u64::from(FORMAT) {
        return Err(
            invalid(format!("has form {format}; this claw reads form {FORMAT}")).help("plan anew with this claw")
        );
    }
    let (fleet, own) = (file.body["fleet"].as_str().unwrap_or_default(), &session.fleet.meta.id);
    if fleet != own {
        return Err(
            invalid(format!("is a plan of fleet `{fleet}`, and this is `{own}`")).help("plan anew in this fleet")
        );
    }
    let is_whole = digest_of(&file.body) == file.digest
        && session.vault.verify_plan(&signed(&file.body, &file.envelope, &file.digest), &file.mac)?;
    if !is_whole {
        return Err(invalid("does not carry this fleet's signature".to_owned()).help(TAMPERED));
    }
    let saved: Saved = serde_json::from_value(file.body).map_err(no_plan)?;
    let envelope: Envelope = serde_json::from_value(file.envelope).map_err(no_plan)?;
    Ok(Opened { saved, envelope, digest: file.digest })
}

impl Opened {
    /// Refuses a plan that was made from other files than those that are here.
    pub fn refuse_other_files(&self, session: &Session) -> Result<(), CommandError> {
        let now = inputs(session)?;
        let differs = |name: &&String| now.get(*name) != self.saved.inputs.get(*name);
        let names: std::collections::BTreeSet<&String> =
            now.keys().chain(self.saved.inputs.keys()).filter(differs).collect();
        if names.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = names.into_iter().map(String::as_str).collect();
        let at =
            self.envelope.commit.as_deref().map(|commit| format!(" (commit {})", commit.get(..12).unwrap_or(commit)));
        let message = format!(
            "the plan was made {} from other files{}: {} changed since",
            self.envelope.made,
            at.unwrap_or_default(),
            names.join(", ")
        );
        Err(CommandError::new(exit::STALE, message).help("plan anew, and have that approved"))
    }

    /// Returns what the plan is about, as the command line says it.
    pub fn scope(&self, uncommitted_keys: bool) -> Scope {
        let names = |names: &std::collections::BTreeSet<String>| names.iter().cloned().collect();
        Scope { targets: names(&self.saved.targets), allow_destroy: names(&self.saved.allow_destroy), uncommitted_keys }
    }
}
