//! The addresses of a host: one IPv4, one IPv6, kept when its machine goes.

use claw_core::name::Kind;
use claw_core::observed::{Actual, Observation, State};
use claw_core::provider::ApplyError;
use claw_core::provider::cloud::{IPV4, IPV6};
use futures_util::try_join;

use super::Job;
use crate::error::Code;
use crate::names;
use crate::observe::own_ipv6;
use crate::ops::NewPrimaryIp;
use crate::wire::{IpType, PrimaryIp};

/// Does a step about a host's addresses.
pub async fn apply(job: &Job<'_>) -> Result<Vec<Observation>, ApplyError> {
    let client = &job.project.client;
    if job.step.action.is_delete() {
        for ip in list(job).await? {
            client.delete_primary_ip(ip.id).await?;
        }
        return Ok(Vec::new());
    }
    let location = job.text("location")?;
    let standing = list(job).await?;
    let one = async |kind: IpType| match standing.iter().find(|ip| ip.kind == kind && is_at(ip, location)) {
        Some(ip) if ip.auto_delete == Some(true) => Ok(client.set_auto_delete(ip.id, false).await?),
        Some(ip) => Ok::<_, ApplyError>(ip.clone()),
        None => make(job, kind, location).await,
    };
    let (v4, v6) = try_join!(one(IpType::V4), one(IpType::V6))?;
    if standing.iter().any(|ip| !is_at(ip, location)) {
        forget_former(job, job.name(), location).await?;
    }
    let mut actual = Actual { fields: job.after()?.clone(), ..Actual::default() };
    actual.facts.insert(IPV4.to_owned(), v4.ip.clone());
    actual.facts.insert(IPV6.to_owned(), own_ipv6(&v6.ip));
    let address = job.project.address(Kind::Address, job.name());
    Ok(vec![Observation { address, state: State::Present(actual) }])
}

async fn list(job: &Job<'_>) -> Result<Vec<PrimaryIp>, ApplyError> {
    Ok(job.project.client.primary_ips(&job.project.ours_of(job.name())).await?.items)
}

fn is_at(ip: &PrimaryIp, location: &str) -> bool {
    ip.location.as_ref().is_some_and(|one| one.name == location)
}

async fn make(job: &Job<'_>, kind: IpType, location: &str) -> Result<PrimaryIp, ApplyError> {
    let project = job.project;
    // with its place: while a host moves, it has addresses at both
    let name = format!("{}-{location}-{}", names::name(&project.fleet, job.name()), kind.as_str());
    let labels = names::marks(&project.fleet, job.name());
    let new = NewPrimaryIp { name: &name, kind: kind.clone(), location, auto_delete: false, labels: &labels };
    match project.client.create_primary_ip(&new).await {
        Ok(made) => {
            project.client.wait(&made.actions).await?;
            Ok(made.what)
        }
        Err(error) => match list(job).await?.into_iter().find(|ip| ip.kind == kind && is_at(ip, location)) {
            Some(ip) => Ok(ip),
            None if error.is(&Code::UniquenessError) => Err(job.foreign(&name)),
            None => Err(error.into()),
        },
    }
}

/// Removes the addresses a host had elsewhere, as far as no machine has them any more and no name leads to them.
pub async fn forget_former(job: &Job<'_>, host: &str, location: &str) -> Result<(), ApplyError> {
    let (project, client) = (job.project, &job.project.client);
    let ips = client.primary_ips(&project.ours_of(host)).await?.items;
    let former: Vec<&PrimaryIp> = ips.iter().filter(|ip| ip.assignee_id.is_none() && !is_at(ip, location)).collect();
    if former.is_empty() {
        return Ok(());
    }
    let mut named = Vec::new();
    for zone in job.ctx.desired.zones.iter().filter(|zone| zone.place == project.place) {
        let sets = client.rrsets(&zone.name, &project.ours()).await?.items;
        named.extend(sets.into_iter().flat_map(|set| set.records).map(|record| record.value));
    }
    for ip in former.into_iter().filter(|ip| !named.contains(&told(ip))) {
        client.delete_primary_ip(ip.id).await?;
    }
    Ok(())
}

/// Removes the addresses that a name has just left, where they are a host's from before.
pub async fn forget_unnamed(job: &Job<'_>, values: &[String]) -> Result<(), ApplyError> {
    let project = job.project;
    let ips = project.client.primary_ips(&project.ours()).await?.items;
    for ip in ips.iter().filter(|ip| ip.assignee_id.is_none() && values.contains(&told(ip))) {
        let Some(host) = ip.labels.get(names::NAME) else { continue };
        let address = project.address(Kind::Address, host);
        let wanted = job.ctx.desired.resources.get(&address).and_then(|one| one.fields.get("location")?.as_text());
        if let Some(location) = wanted.filter(|location| !is_at(ip, location)) {
            forget_former(job, host, location).await?;
        }
    }
    Ok(())
}

/// Returns an address as names lead to it.
fn told(ip: &PrimaryIp) -> String {
    if ip.kind == IpType::V6 { own_ipv6(&ip.ip) } else { ip.ip.clone() }
}
