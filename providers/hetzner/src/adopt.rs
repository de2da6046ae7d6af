//! Machines of a project that are not the fleet's, and how one becomes it: it gets the mark, and nothing else changes.

use std::collections::BTreeMap;

use claw_core::machine::Pins;
use claw_core::money::Money;
use claw_core::provider::{ApplyError, Class};
use claw_core::text::clean;

use crate::machine::with_pins;
use crate::names;
use crate::ops::Update;
use crate::pages::Filter;
use crate::project::Project;
use crate::wire::Server;

/// A machine of the project that is not the fleet's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stranger {
    /// What it is called, as it came.
    pub name: String,
    /// Its size.
    pub size: String,
    /// Where it stands.
    pub location: String,
    /// The system it began with, if that has a name.
    pub image: Option<String>,
    /// Its IPv4 address, if it has one.
    pub address: Option<String>,
    /// Another fleet whose mark it carries.
    pub fleet: Option<String>,
}

/// Returns every machine of the project that does not carry the fleet's mark.
pub async fn strangers(project: &Project) -> Result<Vec<Stranger>, ApplyError> {
    let servers = project.client.servers(&Filter::all()).await?.items;
    let mut found: Vec<Stranger> =
        servers.iter().filter(|server| !project.is_ours(&server.labels)).map(stranger).collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// Marks a machine as a host's. Its addresses become the host's, too, so that it keeps them. `pin` is that of the host key
/// it shows. Safe to do again.
pub async fn adopt(project: &Project, name: &str, host: &str, pin: &str) -> Result<Stranger, ApplyError> {
    let what = format!("adopt {}", clean(name, 80));
    let fatal = |text: &str| ApplyError::fatal(format!("{what}: {text}"));
    let found = project.client.servers(&Filter::named(name)).await?.items;
    let Some(server) = found.into_iter().next() else {
        return Err(fatal("there is no machine of that name").help("`claw adopt --list` shows them"));
    };
    if let Some(other) = server.labels.get(names::FLEET).filter(|fleet| **fleet != project.fleet) {
        return Err(fatal(&format!("it carries the mark of fleet {}", clean(other, 40)))
            .help(format!("take its label {} off first, if that fleet is no more", names::FLEET)));
    }
    let standing = project.server(host).await?;
    if standing.iter().any(|one| one.id != server.id) {
        return Err(fatal(&format!("{host} has a machine already")).help("give it another id: --as NAME"));
    }
    // the addresses first: a marked machine without them would be given others
    let net = server.public_net.as_ref();
    let ids = net.map(|net| [net.ipv4.as_ref().and_then(|ip| ip.id), net.ipv6.as_ref().and_then(|ip| ip.id)]);
    let ips = project.client.primary_ips(&Filter::all()).await?.items;
    for ip in ips.iter().filter(|ip| ids.into_iter().flatten().flatten().any(|id| id == ip.id)) {
        let mut labels = ip.labels.clone();
        labels.extend(names::marks(&project.fleet, host));
        project.client.update_primary_ip(ip.id, &Update { name: None, labels: Some(&labels) }).await?;
        if ip.auto_delete == Some(true) {
            project.client.set_auto_delete(ip.id, false).await?;
        }
    }
    let mut labels = server.labels.clone();
    labels.extend(names::marks(&project.fleet, host));
    let labels = with_pins(&labels, &Pins { current: pin.to_owned(), next: None, born_with: false });
    let marked = project.client.update_server(server.id, &Update { name: None, labels: Some(&labels) }).await?;
    if !project.is_ours(&marked.labels) {
        return Err(ApplyError::new(Class::Conflict, format!("{what}: the mark did not stay")));
    }
    Ok(stranger(&server))
}

/// Returns what each size costs a month at a location, net.
pub async fn prices(project: &Project, location: &str) -> Result<BTreeMap<String, Money>, ApplyError> {
    let types = project.client.server_types().await?.items;
    let price = |one: &crate::wire::ServerType| {
        let there = one.prices.iter().find(|price| price.location == location)?;
        Some((one.name.clone(), Money::parse(&there.price_monthly.as_ref()?.net)?))
    };
    Ok(types.iter().filter_map(price).collect())
}

fn stranger(server: &Server) -> Stranger {
    let named = |one: &Option<crate::wire::NamedRef>| one.as_ref().map(|one| one.name.clone()).unwrap_or_default();
    Stranger {
        name: server.name.clone(),
        size: named(&server.server_type),
        location: named(&server.location),
        image: server.image.as_ref().and_then(|image| image.name.clone()),
        address: server.public_net.as_ref().and_then(|net| Some(net.ipv4.as_ref()?.ip.clone())),
        fleet: server.labels.get(names::FLEET).cloned(),
    }
}
