//! `claw secret list`: the names, what is known of each, and what is the matter with it. Never a value.

use claw_core::fleet::Fleet;
use claw_vault::{Entry, Vault, VaultError};
use serde_json::json;

use super::super::Outcome;
use crate::args::Global;
use crate::exit;
use crate::render::{self, table};
use crate::session::recipients;
use crate::session::stale::Stale;
use crate::setup;

/// Prints it.
pub fn run(global: &Global, fleet: &Fleet, vault: &Vault, only: Option<String>) -> Outcome {
    let profiles = match only {
        Some(profile) => vec![profile],
        None => vault.profiles()?,
    };
    let mut rows = Vec::new();
    let mut facts = Vec::new();
    for profile in &profiles {
        let wanted = recipients(fleet, profile).unwrap_or_default();
        for entry in vault.list(profile)? {
            let current = wanted.is_empty() || entry.is_for(&wanted);
            let accepted = accepted(vault, profile, &entry);
            let mut states = Vec::new();
            if accepted == Some(false) {
                states.push("not accepted".to_owned());
            }
            if !current {
                states.push("recipients changed since: rekey".to_owned());
            }
            let stale = Stale::of(&entry, &wanted, &setup::today());
            if !entry.hosts.is_empty() {
                states.push(format!("goes to {}", entry.hosts.join(", ")));
            }
            states.extend(stale.words(fleet));
            rows.push(vec![
                format!("{profile}/{}", entry.key),
                entry.updated.clone(),
                entry.owner.clone().unwrap_or_default(),
                entry.to.len().to_string(),
                states.join("; "),
            ]);
            facts.push(json!({
                "name": format!("{profile}/{}", entry.key), "updated": entry.updated, "owner": entry.owner,
                "max_age": entry.max_age, "hosts": entry.hosts, "seq": entry.seq, "to": entry.to, "current_recipients": current,
                "accepted": accepted, "former_readers": stale.readers, "older_than": stale.older_than,
            }));
        }
    }
    if global.json {
        render::json(&facts);
    } else if rows.is_empty() {
        render::out("no secrets yet; `claw secret set default/ANTHROPIC_API_KEY` stores one");
    } else {
        render::out(table::draw(&["NAME", "UPDATED", "OWNER", "READERS", ""], &rows));
    }
    Ok(exit::DONE)
}

/// Returns whether a member of the fleet vouches for the value; `None` where that cannot be told, as without an identity.
fn accepted(vault: &Vault, profile: &str, entry: &Entry) -> Option<bool> {
    match vault.verify(profile, &entry.key) {
        Ok(()) => Some(true),
        Err(VaultError::BadMac { what }) if what == format!("{profile}/{}", entry.key) => Some(false),
        Err(_) => None,
    }
}
