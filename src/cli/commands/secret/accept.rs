//! `claw secret accept`: takes over values that nobody of the fleet vouches for yet. Shows what they claim, never a value.

use std::collections::BTreeMap;

use claw_core::fleet::Fleet;
use claw_vault::{Entry, Recipient, Vault};
use serde_json::json;

use super::super::Outcome;
use super::super::apply::Consent;
use super::split;
use crate::args::Global;
use crate::error::CommandError;
use crate::exit;
use crate::render;
use crate::session::recipients;
use crate::session::stale::people;
use crate::setup::Setup;

/// Shows the values, asks, and takes them over. One that does not open stops all of them.
pub fn run(
    global: &Global,
    fleet: &Fleet,
    vault: &Vault,
    names: &[String],
    consent: &Consent,
    setup: &Setup,
) -> Outcome {
    consent.refuse_unasked(setup)?;
    let mut held = BTreeMap::new();
    for name in names {
        let (profile, key) = split(name)?;
        match vault.held(profile, key)? {
            Some(entry) => {
                held.insert((profile, key), (entry, recipients(fleet, profile)?));
            }
            None if !global.json => render::out(format_args!("{name} needs no accepting: its signature holds")),
            None => {}
        }
    }
    if !global.json {
        for ((profile, _), (entry, to)) in &held {
            render::out(describe(fleet, profile, entry, to));
        }
    }
    if !held.is_empty() && !consent.given("Take over what is there, as if you had set it?") {
        return Err(CommandError::failed("nothing was accepted"));
    }
    let mut facts = Vec::new();
    for ((profile, key), (entry, to)) in &held {
        let entry = vault.accept(profile, entry, to)?;
        facts.push(json!({ "name": format!("{profile}/{key}"), "seq": entry.seq, "to": entry.to }));
        if !global.json {
            super::super::done(format_args!("accepted {profile}/{key} (number {})", entry.seq));
        }
    }
    if global.json {
        render::json(&json!({ "accepted": facts }));
    }
    Ok(exit::DONE)
}

/// Says what a value claims to be. All of it comes from whoever wrote the file.
fn describe(fleet: &Fleet, profile: &str, entry: &Entry, wanted: &[Recipient]) -> String {
    let owner = entry.owner.as_deref().map(|owner| format!(", owner {owner}")).unwrap_or_default();
    let others = if entry.is_for(wanted) { "" } else { "\n  these are not today's recipients" };
    let hosts = match entry.hosts.as_slice() {
        [] => String::new(),
        hosts => format!("\n  says it may be sent to {}", hosts.join(", ")),
    };
    format!(
        "{profile}/{}: in profile {profile}, updated {}, number {}{owner}\n  says it was encrypted for {}{others}{hosts}",
        entry.key,
        entry.updated,
        entry.seq,
        people(fleet, &entry.to)
    )
}
