//! Record sets.

use claw_core::observed::Observation;
use claw_core::plan::Action;
use claw_core::provider::ApplyError;
use claw_core::value::{Fields, Value};

use super::{Job, address, resolve};
use crate::error::Code;
use crate::names;
use crate::ops::NewRrset;
use crate::pages::Filter;
use crate::records::{self, SetName};
use crate::wire::{Labels, Rrset};

/// Does a step about a record set.
pub async fn apply(job: &Job<'_>) -> Result<Vec<Observation>, ApplyError> {
    let (project, client) = (job.project, &job.project.client);
    let zone = zone(job)?;
    let set = SetName::read(job.name(), zone)
        .ok_or_else(|| ApplyError::fatal(format!("find {} in {zone}: it does not lie there", job.name())))?;
    let standing = find(job, zone, &set).await?;
    let before: Vec<String> = standing.iter().flat_map(|one| &one.records).map(|record| record.value.clone()).collect();
    if standing.as_ref().is_some_and(|standing| !project.is_ours(&standing.labels)) {
        return Err(job.foreign(job.name()));
    }
    let actions = match (standing, job.step.action.after()) {
        (None, None) => Vec::new(),
        (Some(_), None) => client.delete_rrset(zone, &set.name, &set.kind).await?,
        (Some(standing), Some(after)) => change(job, zone, &standing, after).await?,
        (None, Some(after)) => {
            let records = records::records(after, &set.kind);
            let new = NewRrset {
                name: &set.name,
                kind: set.kind.clone(),
                ttl: ttl(after),
                records: &records,
                labels: &labels(job),
            };
            match client.create_rrset(zone, &new).await {
                Ok(made) => made.actions,
                Err(error) => match find(job, zone, &set).await? {
                    Some(made) if project.is_ours(&made.labels) => change(job, zone, &made, after).await?,
                    Some(_) if error.is(&Code::UniquenessError) => return Err(job.foreign(job.name())),
                    _ => return Err(error.into()),
                },
            }
        }
    };
    client.wait(&actions).await?;
    if let Some(after) = job.step.action.after() {
        resolve::until_served(job, zone, set.kind.as_str(), after).await?;
        if matches!(job.step.action, Action::Update { .. } | Action::Replace { .. }) {
            address::forget_unnamed(job, &before).await?;
        }
    }
    Ok(Vec::new())
}

/// Returns the zone that the plan names.
fn zone<'a>(job: &'a Job<'_>) -> Result<&'a str, ApplyError> {
    let fields = match &job.step.action {
        Action::Delete { before } => Some(before),
        other => other.after(),
    };
    let zone = fields.and_then(|fields| fields.get("zone")?.as_text());
    zone.ok_or_else(|| ApplyError::fatal("know the zone: the plan does not say"))
}

async fn find(job: &Job<'_>, zone: &str, set: &SetName) -> Result<Option<Rrset>, ApplyError> {
    let found = job.project.client.rrsets(zone, &Filter::named(&set.name)).await?.items;
    Ok(found.into_iter().find(|one| one.kind == set.kind && one.name == set.name))
}

async fn change(
    job: &Job<'_>,
    zone: &str,
    standing: &Rrset,
    after: &Fields,
) -> Result<Vec<crate::wire::Action>, ApplyError> {
    let client = &job.project.client;
    let seen = records::fields(standing, zone, zone_ttl(job, zone, standing).await?);
    let mut actions = Vec::new();
    if seen.get("values") != after.get("values") {
        let records = records::records(after, &standing.kind);
        actions.extend(client.set_records(zone, &standing.name, &standing.kind, &records).await?);
    }
    if seen.get("ttl") != after.get("ttl") {
        // both are changes of one set: the second waits for the first
        client.wait(&actions).await?;
        actions = client.change_rrset_ttl(zone, &standing.name, &standing.kind, ttl(after)).await?;
    }
    Ok(actions)
}

async fn zone_ttl(job: &Job<'_>, zone: &str, standing: &Rrset) -> Result<Option<u32>, ApplyError> {
    if standing.ttl.is_some() {
        return Ok(None);
    }
    Ok(job.project.zone(zone).await?.and_then(|zone| zone.ttl))
}

fn ttl(fields: &Fields) -> Option<u32> {
    match fields.get("ttl") {
        Some(Value::Number(number)) => number.as_u64().and_then(|number| u32::try_from(number).ok()),
        _ => None,
    }
}

/// The mark of a set, and the agent it leads to, so that it goes with it.
fn labels(job: &Job<'_>) -> Labels {
    let mut labels = names::marks(&job.project.fleet, &label(job.name()));
    let agent = job.ctx.resource(&job.step.address).and_then(|resource| resource.of.clone());
    labels.extend(agent.map(|agent| (names::AGENT.to_owned(), agent)));
    labels
}

/// A label has room for less than a name, and no colon: it says as much as fits, for people.
fn label(resource: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    let text: String = resource.chars().map(plain).take(63).collect();
    text.trim_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned()
}
