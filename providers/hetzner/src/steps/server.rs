//! Machines: made with mark and pin in the one call that makes them, changed where they stand, and never in doubt: what may
//! have happened is looked up before it is done again.

use std::collections::BTreeMap;
use std::time::Duration;

use claw_core::machine::Pins;
use claw_core::name::Kind;
use claw_core::observed::{Actual, Observation, State};
use claw_core::plan::Action;
use claw_core::provider::cloud::{AGENTS, FIREWALL};
use claw_core::provider::{ApplyError, Class};
use claw_core::value::Value;
use futures_util::try_join;
use secrecy::ExposeSecret;

use super::{Job, address};
use crate::error::{ApiError, Code};
use crate::machine::with_pins;
use crate::names;
use crate::observe::server_facts;
use crate::ops::{NewServer, PublicNet, Update};
use crate::wire::{IpType, PrimaryIp, Server, ServerStatus};

/// How often the state of a machine is looked at while it changes, and how long after the look before.
const LOOKS_MAX: u32 = 90;
const LOOK_WAIT: Duration = Duration::from_secs(1);
/// How long a machine may take to shut itself down before it is turned off, in looks.
const SHUTDOWN_LOOKS_MAX: u32 = 60;

/// Does a step about a machine.
pub async fn apply(job: &Job<'_>) -> Result<Vec<Observation>, ApplyError> {
    let found = one(job).await?;
    if job.step.action.is_delete() {
        if let Some(server) = found {
            delete(job, &server).await?;
        }
        return Ok(gone(job));
    }
    let (firewall, ips) = try_join!(firewall(job), ips(job))?;
    let around = Around { firewall, ips };
    match (&job.step.action, found) {
        (Action::Replace { .. }, Some(server)) if !is_new(job, &server)? => {
            in_stock(job).await?;
            delete(job, &server).await?;
            let made = create(job, &around).await?;
            address::forget_former(job, job.name(), job.text("location")?).await?;
            settle(job, made, &around).await
        }
        (_, Some(server)) => settle(job, server, &around).await,
        (_, None) => {
            let made = create(job, &around).await?;
            settle(job, made, &around).await
        }
    }
}

/// What stands around a machine.
struct Around {
    /// Its rule set.
    firewall: u64,
    /// The host's addresses where it shall be, by type.
    ips: BTreeMap<String, PrimaryIp>,
}

/// Returns the machine with the mark; two are never guessed between.
async fn one(job: &Job<'_>) -> Result<Option<Server>, ApplyError> {
    let mut found = job.project.server(job.name()).await?;
    match found.len() {
        0 | 1 => Ok(found.pop()),
        _ => Err(ApplyError::fatal(format!("find {}: two machines carry its mark", job.step.address))
            .help("take the labels off the one that is not the fleet's")),
    }
}

/// Whether a machine that shall be made anew was already, by a run that was killed.
fn is_new(job: &Job<'_>, server: &Server) -> Result<bool, ApplyError> {
    let image = server.image.as_ref().and_then(|image| image.name.as_deref());
    let location = server.location.as_ref().map(|one| one.name.as_str());
    Ok(image == Some(job.text("image")?) && location == Some(job.text("location")?))
}

fn gone(job: &Job<'_>) -> Vec<Observation> {
    vec![Observation { address: job.project.address(Kind::Server, job.name()), state: State::Absent }]
}

async fn delete(job: &Job<'_>, server: &Server) -> Result<(), ApplyError> {
    let client = &job.project.client;
    let protection = server.protection.unwrap_or_default();
    if protection.delete || protection.rebuild {
        let actions = client.protect_server(server.id, false).await?;
        client.wait(&actions).await?;
    }
    job.say("removing the machine");
    let actions = client.delete_server(server.id).await?;
    client.wait(&actions).await?;
    job.project.remember(job.name(), Vec::new()).await;
    Ok(())
}

/// Makes the machine, in the first of the sizes that can be had.
async fn create(job: &Job<'_>, around: &Around) -> Result<Server, ApplyError> {
    let (project, client) = (job.project, &job.project.client);
    let keys = keys(job).await?;
    let Around { firewall, ips } = around;
    let birth = (job.bear)(job.name())?;
    let pins = Pins { current: birth.pin.clone(), next: None, born_with: true };
    let mut labels = with_pins(&names::marks(&project.fleet, job.name()), &pins);
    labels.insert(names::AGENTS.to_owned(), job.text(AGENTS)?.to_owned());
    let name = job.text("name")?;
    let id = |kind: &IpType| ips.get(kind.as_str()).map(|ip| ip.id);
    let mut refused = None;
    for size in sizes(job)? {
        job.say(&format!("making a {size} in {}", job.text("location")?));
        let new = NewServer {
            name,
            server_type: size,
            image: job.text("image")?,
            location: job.text("location")?,
            ssh_keys: &keys,
            firewalls: &[*firewall],
            labels: &labels,
            public_net: PublicNet {
                enable_ipv4: true,
                enable_ipv6: true,
                ipv4: id(&IpType::V4),
                ipv6: id(&IpType::V6),
            },
            user_data: Some(birth.user_data.expose_secret()),
            start_after_create: true,
        };
        match client.create_server(&new).await {
            Ok(made) => {
                project.remember(job.name(), vec![made.what.clone()]).await;
                client.wait(&made.actions).await?;
                return Ok(made.what);
            }
            Err(error) if is_sold_out(&error) => refused = Some(error),
            Err(error) => {
                // the answer may have been lost, or another run made it
                return match one(job).await? {
                    Some(made) => Ok(made),
                    None if error.is(&Code::UniquenessError) => Err(job.foreign(name)),
                    None => Err(error.into()),
                };
            }
        }
    }
    let refused = refused.ok_or_else(|| ApplyError::fatal("make the machine: no size is given"))?;
    Err(ApplyError::from(refused).help("add another size to the list, or another location, or apply again later"))
}

/// Whether the next size of the list may be had though this one cannot.
fn is_sold_out(error: &ApiError) -> bool {
    // some refusals name the field, some only speak of it: "unsupported location for server type"
    let not_sold_there = |refusal: &crate::error::Refusal| {
        let is_named = refusal.fields.iter().any(|field| field.name == "server_type");
        refusal.code == Code::InvalidInput && (is_named || refusal.message.contains("server type"))
    };
    error.is(&Code::ResourceUnavailable)
        || error.is(&Code::PlacementError)
        || error.is(&Code::InvalidServerType)
        || matches!(error, ApiError::Refused(refusal) if not_sold_there(refusal))
}

fn sizes<'a>(job: &'a Job<'_>) -> Result<Vec<&'a str>, ApplyError> {
    match job.after()?.get("size") {
        Some(Value::List(sizes)) => Ok(sizes.iter().filter_map(Value::as_text).collect()),
        _ => Err(ApplyError::fatal("know its size: the plan does not say")),
    }
}

async fn firewall(job: &Job<'_>) -> Result<u64, ApplyError> {
    let name = job.text(FIREWALL)?;
    let found = job.project.client.firewalls(&job.project.ours_of(name)).await?.items;
    found.first().map(|one| one.id).ok_or_else(|| not_there(&format!("firewall/{name}")))
}

/// Something the machine needs is not there. What was just made may not be in every list yet.
fn not_there(what: &str) -> ApplyError {
    ApplyError::new(Class::Conflict, format!("find {what}: it is not there")).help("apply again: it is made first")
}

/// Returns the numbers of the login keys. A machine that is made without one lets nobody in.
async fn keys(job: &Job<'_>) -> Result<Vec<String>, ApplyError> {
    let found = job.project.client.ssh_keys(&job.project.ours()).await?.items;
    let needs = job.ctx.resource(&job.step.address).map_or(&[][..], |resource| &resource.needs);
    for need in needs.iter().filter(|need| need.id.kind == Kind::Sshkey) {
        if found.iter().all(|key| key.labels.get(names::NAME) != Some(&need.id.name)) {
            return Err(not_there(&need.id.to_string()));
        }
    }
    Ok(found.iter().map(|key| key.id.to_string()).collect())
}

/// Returns the host's addresses where it shall be, by type. Both are there: a machine that is made without one gets
/// another that nobody looks after, and one that stands would lose the address it has.
async fn ips(job: &Job<'_>) -> Result<BTreeMap<String, PrimaryIp>, ApplyError> {
    let location = job.text("location")?;
    let all = job.project.client.primary_ips(&job.project.ours_of(job.name())).await?.items;
    let here = |ip: &PrimaryIp| ip.location.as_ref().is_some_and(|one| one.name == location);
    let ips: BTreeMap<_, _> = all.into_iter().filter(here).map(|ip| (ip.kind.as_str().to_owned(), ip)).collect();
    match [IpType::V4, IpType::V6].iter().find(|kind| !ips.contains_key(kind.as_str())) {
        Some(kind) => Err(not_there(&format!("the {} of address/{} in {location}", kind.as_str(), job.name()))),
        None => Ok(ips),
    }
}

/// Sees to it that a machine that stands is as it shall be: what is so already is left alone.
async fn settle(job: &Job<'_>, server: Server, around: &Around) -> Result<Vec<Observation>, ApplyError> {
    let client = &job.project.client;
    let mut server = steady(job, server).await?;
    let (name, agents) = (job.text("name")?, job.text(AGENTS)?);
    if server.name != name || server.labels.get(names::AGENTS).map(String::as_str) != Some(agents) {
        let mut labels = server.labels.clone();
        labels.insert(names::AGENTS.to_owned(), agents.to_owned());
        server = client.update_server(server.id, &Update { name: Some(name), labels: Some(&labels) }).await?;
    }
    settle_firewall(job, &server, around.firewall).await?;
    let size = server.server_type.as_ref().map(|one| one.name.clone()).unwrap_or_default();
    let resize = !sizes(job)?.contains(&size.as_str());
    let readdress = !has(&server, &around.ips);
    if resize || readdress {
        // nothing is turned off for what cannot be had
        if resize {
            in_stock(job).await?;
        }
        refuse_taken(job, &server, &around.ips)?;
        turn_off(job, &server).await?;
        let changed = async {
            if readdress {
                assign(job, &server, &around.ips).await?;
            }
            if resize { change_size(job, &server).await } else { Ok(()) }
        };
        // it comes up again whatever came of it
        let changed = changed.await;
        turn_on(job, &server).await?;
        changed.map_err(|mut error| {
            error.changed = true;
            error
        })?;
    } else if server.status == ServerStatus::Off {
        turn_on(job, &server).await?;
    }
    let protection = server.protection.unwrap_or_default();
    if !(protection.delete && protection.rebuild) {
        let actions = client.protect_server(server.id, true).await?;
        client.wait(&actions).await?;
    }
    let server = until(job, &server, LOOKS_MAX, |one| one.status == ServerStatus::Running).await?;
    job.project.remember(job.name(), vec![server.clone()]).await;
    let actual = Actual { fields: job.after()?.clone(), facts: server_facts(&server), ..Actual::default() };
    Ok(vec![Observation { address: job.project.address(Kind::Server, job.name()), state: State::Present(actual) }])
}

/// Waits until nobody else works on a machine.
async fn steady(job: &Job<'_>, server: Server) -> Result<Server, ApplyError> {
    let is_steady = |one: &Server| !one.locked && matches!(one.status, ServerStatus::Running | ServerStatus::Off);
    if is_steady(&server) { Ok(server) } else { until(job, &server, LOOKS_MAX, is_steady).await }
}

/// Looks at a machine until it is as wanted.
async fn until(
    job: &Job<'_>,
    server: &Server,
    looks_max: u32,
    wanted: impl Fn(&Server) -> bool,
) -> Result<Server, ApplyError> {
    let client = &job.project.client;
    let mut looks = 0;
    loop {
        let Some(found) = client.server(server.id).await? else {
            return Err(ApplyError::new(Class::Conflict, format!("find {} again: it is gone", job.step.address)));
        };
        if wanted(&found) {
            return Ok(found);
        }
        looks += 1;
        if looks >= looks_max {
            let status = found.status;
            return Err(ApplyError::new(Class::Busy, format!("wait for {}: it is still {status}", job.step.address))
                .help("look at the machine's console and its activities, then apply again"));
        }
        client.timing().sleep(LOOK_WAIT).await;
    }
}

async fn settle_firewall(job: &Job<'_>, server: &Server, wanted: u64) -> Result<(), ApplyError> {
    let client = &job.project.client;
    let on = server.public_net.as_ref().and_then(|net| net.firewalls.clone()).unwrap_or_default();
    if on.iter().all(|one| one.id != wanted) {
        let actions = client.apply_firewall(wanted, server.id).await?;
        client.wait(&actions).await?;
    }
    // the right one first: there is no moment without any
    for other in on.iter().filter(|one| one.id != wanted) {
        match client.remove_firewall(other.id, server.id).await {
            Ok(actions) => client.wait(&actions).await?,
            // somebody's, for all machines with some label: it is not this machine's to leave
            Err(error) if error.is(&Code::FirewallManagedByLabelSelector) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Refuses to begin where none of the sizes can be had now, as far as the cloud tells.
async fn in_stock(job: &Job<'_>) -> Result<(), ApplyError> {
    let (sizes, location) = (sizes(job)?, job.text("location")?);
    let types = job.project.client.server_types().await?.items;
    let is_out = |size: &&str| {
        let known = types.iter().find(|one| one.name == **size);
        let there = known.and_then(|one| one.locations.iter().find(|place| place.name == location));
        there.is_some_and(|place| place.available == Some(false))
    };
    if !sizes.is_empty() && sizes.iter().all(is_out) {
        let text = format!("get a {} in {location} for {}: it is sold out", sizes.join(" or a "), job.step.address);
        return Err(ApplyError::fatal(text)
            .help("nothing was touched: add another size to the list, or another location, or apply again later"));
    }
    Ok(())
}

/// Refuses to begin where somebody gave one of the host's addresses to another machine.
fn refuse_taken(job: &Job<'_>, server: &Server, ips: &BTreeMap<String, PrimaryIp>) -> Result<(), ApplyError> {
    match ips.values().find(|ip| ip.assignee_id.is_some_and(|id| id != server.id)) {
        None => Ok(()),
        Some(ip) => Err(ApplyError::fatal(format!(
            "give {} its address {}: another machine has it",
            job.step.address,
            claw_core::text::clean(&ip.ip, 50)
        ))
        .help("take it off that machine in the console, then apply again")),
    }
}

/// Whether a machine has these addresses and no others.
fn has(server: &Server, ips: &BTreeMap<String, PrimaryIp>) -> bool {
    let net = server.public_net.as_ref();
    let v4 = net.and_then(|net| net.ipv4.as_ref()?.id);
    let v6 = net.and_then(|net| net.ipv6.as_ref()?.id);
    v4 == ips.get(IpType::V4.as_str()).map(|ip| ip.id) && v6 == ips.get(IpType::V6.as_str()).map(|ip| ip.id)
}

async fn turn_off(job: &Job<'_>, server: &Server) -> Result<(), ApplyError> {
    let client = &job.project.client;
    job.say("shutting the machine down");
    if server.status != ServerStatus::Off {
        let actions = client.shut_down(server.id).await?;
        client.wait(&actions).await?;
        let off = |one: &Server| one.status == ServerStatus::Off;
        match until(job, server, SHUTDOWN_LOOKS_MAX, off).await {
            Ok(_) => {}
            // it had its time; anything else is no reason to pull the plug
            Err(error) if error.class == Class::Busy => {
                let actions = client.power_off(server.id).await?;
                client.wait(&actions).await?;
                until(job, server, LOOKS_MAX, off).await?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn turn_on(job: &Job<'_>, server: &Server) -> Result<(), ApplyError> {
    let client = &job.project.client;
    job.say("turning the machine on");
    let actions = client.power_on(server.id).await?;
    Ok(client.wait(&actions).await?)
}

/// Gives a machine that is off the first of the sizes that can be had. Its disk stays as it is, so that it can go back.
async fn change_size(job: &Job<'_>, server: &Server) -> Result<(), ApplyError> {
    let client = &job.project.client;
    let mut refused = None;
    for size in sizes(job)? {
        job.say(&format!("changing the machine to a {size}"));
        let changed = match client.change_server_type(server.id, size, false).await {
            Ok(actions) => client.wait(&actions).await,
            Err(error) => Err(error),
        };
        match changed {
            Ok(()) => return Ok(()),
            Err(error) if is_sold_out(&error) => refused = Some(error),
            Err(error) => return Err(error.into()),
        }
    }
    let refused = refused.ok_or_else(|| ApplyError::fatal("change the machine: no size is given"))?;
    Err(ApplyError::from(refused).help("the machine keeps its size; add another to the list, or apply again later"))
}

/// Gives a machine that is off the host's own addresses.
async fn assign(job: &Job<'_>, server: &Server, ips: &BTreeMap<String, PrimaryIp>) -> Result<(), ApplyError> {
    let client = &job.project.client;
    job.say("giving the machine its addresses");
    let net = server.public_net.as_ref();
    let attached = |kind: &IpType| match kind {
        IpType::V4 => net.and_then(|net| net.ipv4.as_ref()?.id),
        _ => net.and_then(|net| net.ipv6.as_ref()?.id),
    };
    for kind in [IpType::V4, IpType::V6] {
        let wanted = ips.get(kind.as_str());
        let current = attached(&kind);
        if current == wanted.map(|ip| ip.id) {
            continue;
        }
        if let Some(current) = current {
            let actions = client.unassign_primary_ip(current).await?;
            client.wait(&actions).await?;
        }
        if let Some(wanted) = wanted {
            let actions = client.assign_primary_ip(wanted.id, server.id).await?;
            client.wait(&actions).await?;
        }
    }
    Ok(())
}
