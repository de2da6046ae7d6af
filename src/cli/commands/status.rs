//! `claw status`: the registry of agents.

use std::collections::BTreeMap;

use clap::Args;
use claw_core::desired::HostCard;
use claw_core::name::{Address, Kind, ResourceId};
use claw_core::observed::{Observed, Owner, Seen};
use claw_core::provider::cloud::{IPV4, IPV6};
use claw_core::text::clean;
use claw_core::value::Value;
use serde::Serialize;

use super::Outcome;
use crate::args::Global;
use crate::exit;
use crate::render::{self, style, table};
use crate::session::Session;
use crate::setup::Setup;

/// List the agents: what they are, where they run, how they are
#[derive(Debug, Args)]
pub struct Status {}

/// One agent.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    id: String,
    emoji: Option<String>,
    purpose: Option<String>,
    place: String,
    host: String,
    image: String,
    version: Option<String>,
    port: Option<String>,
    health: String,
    created: Option<String>,
    declared: bool,
}

impl Status {
    /// Runs it.
    pub fn run(self, global: &Global, setup: &Setup) -> Outcome {
        let mut session = Session::open(global, setup)?;
        super::announce_sandbox(global);
        let observed = super::wait(session.observe())?;
        let rows = rows(&session, &observed);
        if global.json {
            render::json(&serde_json::json!({
                "fleet": session.fleet.meta.name, "agents": rows, "hosts": hosts(&session, &observed),
                "unseen": observed.incomplete,
            }));
            return Ok(exit::DONE);
        }
        let cells: Vec<Vec<String>> = rows.iter().map(cells).collect();
        if !cells.is_empty() || session.fleet.hosts.is_empty() {
            render::out(table::draw(&["", "NAME", "ON", "VERSION", "HEALTH", "CREATED", "PURPOSE"], &cells));
            if !session.fleet.hosts.is_empty() {
                render::out("");
            }
        }
        let hosts: Vec<Vec<String>> = hosts(&session, &observed).iter().map(host_cells).collect();
        if !hosts.is_empty() {
            render::out(table::draw(&["HOST", "ADDRESS", "STATE", "SYSTEM", "MEMORY", "DISK FREE", ""], &hosts));
        }
        for (place, why) in &observed.incomplete {
            render::out(format_args!(
                "\n{} {place} could not be seen: {}",
                style::paint(style::YELLOW, "!"),
                clean(why, 900)
            ));
        }
        Ok(exit::DONE)
    }
}

/// One host.
#[derive(Debug, Serialize)]
struct HostRow {
    name: String,
    id: String,
    address: String,
    state: &'static str,
    facts: BTreeMap<String, String>,
}

fn hosts(session: &Session, observed: &Observed) -> Vec<HostRow> {
    let row = |(id, card): (&String, &HostCard)| {
        let address = Address { id: ResourceId::new(Kind::Host, id.clone()), place: card.name.clone() };
        let state = match observed.seen(&address) {
            Seen::Unknown(_) => "unknown",
            Seen::Absent => "not a host yet",
            Seen::Present(actual) if actual.owner == Owner::Foreign => "another fleet's",
            Seen::Present(_) if card.suspend.is_some() => "left alone",
            Seen::Present(_) => "ours",
        };
        let facts = observed.facts.get(&card.name).cloned().unwrap_or_default();
        let at_cloud = card.server(id).and_then(|server| match observed.seen(&server) {
            Seen::Present(actual) => actual.facts.get(IPV4).or_else(|| actual.facts.get(IPV6)).cloned(),
            _ => None,
        });
        let address = at_cloud.unwrap_or_else(|| card.address.clone());
        HostRow { name: card.name.clone(), id: id.clone(), address, state, facts }
    };
    session.desired.hosts.iter().map(row).collect()
}

fn host_cells(row: &HostRow) -> Vec<String> {
    let fact = |key: &str| row.facts.get(key).cloned().unwrap_or_default();
    let mebibytes = |key: &str| row.facts.get(key).map(|text| format!("{text} MiB")).unwrap_or_default();
    let clock = row.facts.get("clock_skew_s").map(|seconds| format!("its clock is {seconds} s off"));
    vec![
        row.name.clone(),
        row.address.clone(),
        row.state.to_owned(),
        fact("system"),
        mebibytes("memory_mib"),
        mebibytes("disk_free_mib"),
        clock.unwrap_or_default(),
    ]
}

fn rows(session: &Session, observed: &Observed) -> Vec<Row> {
    let declared = session.desired.agents.iter().map(|(id, card)| {
        let address = |kind| Address { id: ResourceId::new(kind, id.clone()), place: card.place.clone() };
        let mut row = row(observed, &address(Kind::Container), &address(Kind::Anchor));
        row.name = card.name.clone();
        row.emoji = card.emoji.clone();
        row.purpose = card.purpose.clone();
        row.declared = true;
        if row.image.is_empty() {
            row.image = card.image.clone();
        }
        if let Some(suspend) = &card.suspend {
            row.health = format!("{} (left alone until {})", row.health, suspend.until);
        }
        row
    });
    let orphans = observed.orphans(&session.desired).filter(|(address, _)| address.id.kind == Kind::Container);
    declared.chain(orphans.map(|(address, _)| row(observed, address, &address.sibling(Kind::Anchor)))).collect()
}

fn row(observed: &Observed, container: &Address, anchor: &Address) -> Row {
    let mut row = Row {
        name: container.id.name.clone(),
        id: container.id.name.clone(),
        emoji: None,
        purpose: None,
        place: container.place.clone(),
        // a bare engine is its own host; machines come with their own names
        host: container.place.clone(),
        image: String::new(),
        version: None,
        port: None,
        health: "not there".to_owned(),
        created: None,
        declared: false,
    };
    match observed.seen(container) {
        Seen::Absent => {}
        Seen::Unknown(_) => row.health = "unknown".to_owned(),
        Seen::Present(actual) if actual.owner == Owner::Foreign => {
            row.health = "something foreign is in its place".to_owned()
        }
        Seen::Present(actual) => {
            let text = |key: &str| actual.fields.get(key).and_then(Value::as_text).map(|text| clean(text, 100));
            row.health = text("status").unwrap_or_else(|| "half-made".to_owned());
            row.image = text("image").unwrap_or_default();
            row.port = actual.facts.get("port").cloned();
            let tag = row.image.rsplit_once(':').map(|(_, tag)| tag.to_owned());
            row.version = actual.facts.get("version").cloned().or(tag);
            row.created = actual.created.clone();
        }
    }
    if let Seen::Present(actual) = observed.seen(anchor)
        && actual.created.is_some()
    {
        row.created = actual.created.clone(); // a container is replaced now and then, its anchor is not
    }
    row
}

fn cells(row: &Row) -> Vec<String> {
    let name = if row.declared { row.name.clone() } else { format!("{} (not in the fleet)", row.name) };
    let day = row.created.as_deref().map(|date| date.chars().take(10).collect()).unwrap_or_default();
    vec![
        row.emoji.clone().unwrap_or_default(),
        name,
        row.place.clone(),
        row.version.clone().unwrap_or_default(),
        row.health.clone(),
        day,
        row.purpose.clone().unwrap_or_default(),
    ]
}
