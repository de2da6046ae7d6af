//! Looks at names: a list of zones, and what stands in each.

use std::collections::BTreeMap;

use claw_core::desired::Desired;
use claw_core::name::{Address, Kind};
use claw_core::observed::{Actual, Observation, Owner, State};
use claw_core::provider::cloud::AGENT;
use futures_util::{StreamExt, stream};

use crate::names;
use crate::pages::Filter;
use crate::project::{Project, whole};
use crate::records;
use crate::wire::{Rrset, Zone, ZoneMode};

/// How many zones that the fleet does not name are looked through for what it left there.
const OTHER_ZONES_MAX: usize = 200;
/// How many zones are read at once.
const ZONES_AT_ONCE: usize = 8;

/// What was seen of names.
pub struct Names {
    pub observations: Vec<Observation>,
    /// Why what is left over may not be seen.
    pub incomplete: Option<String>,
}

/// Looks at the names: the fleet's zones whole, others only for what carries its mark.
pub async fn observe(project: &Project, desired: &Desired) -> Names {
    let wanted: BTreeMap<&Address, &str> = desired
        .resources
        .iter()
        .filter(|(address, _)| address.place == project.place && address.id.kind == Kind::Dns)
        .filter_map(|(address, resource)| Some((address, resource.fields.get("zone")?.as_text()?)))
        .collect();
    let unknown = |zone: Option<&str>, why: &str| -> Vec<Observation> {
        let those = wanted.iter().filter(|(_, one)| zone.is_none_or(|zone| **one == zone));
        let state = || State::Unknown { why: why.to_owned() };
        those.map(|(address, _)| Observation { address: (*address).clone(), state: state() }).collect()
    };
    let zones = match whole(project.client.zones(&Filter::all()).await) {
        Ok(zones) => zones,
        Err(why) => return Names { observations: unknown(None, &why), incomplete: Some(why) },
    };
    project.remember_zones(&zones).await;
    let named = |name: &str| desired.zones.iter().any(|zone| zone.place == project.place && zone.name == name);
    let mut seen = Vec::new();
    for zone in desired.zones.iter().filter(|zone| zone.place == project.place) {
        if !zones.iter().any(|one| one.name == zone.name) {
            let why = format!(
                "the project has no zone {}; make it in the console, and have its registrar name its name servers",
                zone.name
            );
            seen.extend(unknown(Some(&zone.name), &why));
        }
    }
    let (own, mut others): (Vec<&Zone>, Vec<&Zone>) = zones.iter().partition(|zone| named(&zone.name));
    // in a zone that is copied from elsewhere nothing can be written, so nothing of ours is in it
    others.retain(|zone| zone.mode != ZoneMode::Secondary);
    let mut incomplete = (others.len() > OTHER_ZONES_MAX)
        .then(|| format!("the project has more than {OTHER_ZONES_MAX} zones that the fleet does not name"));
    let mut looks = Vec::new();
    for zone in own.iter().chain(others.iter().take(OTHER_ZONES_MAX)) {
        let filter = if named(&zone.name) { Filter::all() } else { project.ours() };
        looks.push(look(project, zone, filter));
    }
    let sets: Vec<_> = stream::iter(looks).buffered(ZONES_AT_ONCE).collect().await;
    for (zone, sets) in sets {
        match sets {
            Ok(sets) => {
                let found: Vec<_> = sets.iter().filter_map(|set| of_set(project, desired, zone, set)).collect();
                let is_found = |address: &Address| found.iter().any(|one| one.address == *address);
                let missing = wanted.iter().filter(|(address, one)| **one == zone.name && !is_found(address));
                seen.extend(
                    missing.map(|(address, _)| Observation { address: (*address).clone(), state: State::Absent }),
                );
                seen.extend(found);
            }
            Err(why) => {
                seen.extend(unknown(Some(&zone.name), &why));
                if zone.mode != ZoneMode::Secondary {
                    incomplete.get_or_insert(why);
                }
            }
        }
    }
    Names { observations: seen, incomplete }
}

async fn look<'a>(project: &Project, zone: &'a Zone, filter: Filter) -> (&'a Zone, Result<Vec<Rrset>, String>) {
    (zone, whole(project.client.rrsets(&zone.name, &filter).await))
}

fn of_set(project: &Project, desired: &Desired, zone: &Zone, set: &Rrset) -> Option<Observation> {
    records::kind(&set.kind)?;
    let ours = project.is_ours(&set.labels);
    let name = records::resource(set, &zone.name);
    let mut address = project.address(Kind::Dns, &name);
    let wanted = desired.resources.get(&address).and_then(|resource| resource.fields.get("zone")?.as_text());
    if wanted.is_some_and(|wanted| wanted != zone.name) {
        // the fleet has it in a longer zone now: this one is left over
        address = project.address(Kind::Dns, &records::elsewhere(&name, &zone.name));
    }
    // somebody else's names are nobody's business unless they stand in ours
    if !ours && !desired.resources.contains_key(&address) {
        return None;
    }
    let owner = if ours { Owner::Ours } else { Owner::Foreign };
    let fields = records::fields(set, &zone.name, zone.ttl);
    let agent = set.labels.get(names::AGENT).filter(|_| ours);
    let facts = agent.map(|agent| (AGENT.to_owned(), agent.clone())).into_iter().collect();
    Some(Observation { address, state: State::Present(Actual { fields, owner, facts, ..Actual::default() }) })
}
