//! claw's own login keys: opened where an identity is at hand, held against what is committed, and due one day.

use std::collections::BTreeSet;

use claw_core::fleet::Fleet;
use claw_core::problem::Problem;
use claw_core::secret::SecretError;
use claw_core::ssh::{ControlKey, PublicKey, Standing};
use claw_core::text::days;
use claw_vault::Vault;
use secrecy::SecretString;

use crate::git::Repository;
use crate::setup::{self, Setup};

/// Returns the private halves that could be opened, and why not all of them.
pub fn open(vault: &Vault, keys: &[ControlKey]) -> (Vec<(PublicKey, SecretString)>, Option<SecretError>) {
    let (mut opened, mut locked) = (Vec::new(), None);
    for key in keys {
        match vault.control_secret(key) {
            Ok(private) => opened.push((key.public.clone(), private)),
            Err(error) => locked = locked.or(Some(SecretError::from(error))),
        }
    }
    (opened, locked)
}

/// Returns a warning when the key is older than the fleet wants.
pub fn due(fleet: &Fleet, keys: &[ControlKey]) -> Vec<Problem> {
    let Some(current) = keys.iter().find(|key| key.standing == Standing::Current) else { return Vec::new() };
    let age = fleet.ssh.rotate_every.as_deref().and_then(days);
    let is_due = age.is_some_and(|age| current.since <= setup::days_ago(age));
    if is_due && !keys.iter().any(|key| key.standing == Standing::Next) {
        let every = fleet.ssh.rotate_every.as_deref().unwrap_or_default();
        let message = format!("claw's login key is of {} and due: ssh.rotate_every is {every}", current.since);
        let at = fleet.tree.exact(&["ssh", "rotate_every"]);
        return vec![Problem::warning("rotation-due", message).at(at).help("`claw rotate ssh` begins a rotation")];
    }
    Vec::new()
}

/// Whether git has another set of login keys in its last commit than lies in the folder. Outside git nothing can be
/// committed, and nobody asks for it.
pub fn is_uncommitted(setup: &Setup, keys: &[ControlKey]) -> bool {
    let root = setup.root.canonicalize().unwrap_or_else(|_| setup.root.clone());
    if !root.ancestors().any(|folder| folder.join(".git").exists()) {
        return false;
    }
    // git that is not there, or refuses the folder, is no proof of a commit
    let committed = Repository::of(&setup.root).and_then(|repository| repository.commit("HEAD"));
    let Ok(committed) = committed.and_then(|commit| commit.read("secrets/claw.toml")) else { return true };
    let text = String::from_utf8_lossy(&committed);
    let known = claw_vault::login_keys_in(&text).unwrap_or_default();
    let used = keys.iter().filter(|key| key.standing != Standing::Retired);
    let known: BTreeSet<&PublicKey> = known.iter().map(|key| &key.public).collect();
    used.into_iter().any(|key| !known.contains(&key.public))
}
