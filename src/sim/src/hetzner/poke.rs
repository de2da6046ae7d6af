//! Changes made behind everybody's back, so that drift can be seen: what a person does in the console.

use std::collections::BTreeMap;

use super::Cloud;
use super::state::{Record, Status};

/// What to do to the project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Poke {
    /// Switch a server off.
    PowerOff(String),
    /// Delete a server, whatever protects it.
    Delete(String),
    /// Give a server another name: the old one, the new one.
    Rename(String, String),
    /// Set a label of a server, or with nothing remove it: server, key, value.
    Relabel(String, String, Option<String>),
    /// Write a server's disk anew with its own image.
    Rebuild(String),
    /// Detach a firewall, by name, from everything.
    Detach(String),
    /// Set the records of a name in a zone: zone, name, type, values; without values the set is removed.
    Records(String, String, String, Vec<String>),
    /// Have a size run out at a place, as `cx23@fsn1`, `cx23@*` or `*@fsn1`.
    SellOut(String),
    /// Have it in stock again.
    Restock(String),
    /// Let a token in no more.
    Revoke(String),
    /// Let every token read only, or write again.
    ReadOnly(bool),
    /// Have the next actions of a command end in an error: the command as actions name it, and how many.
    FailNext(String, u32),
}

/// The poke hit nothing.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("find {0} in the simulated project")]
pub struct PokeError(pub String);

impl Cloud {
    /// Does it, at a moment in milliseconds since 1970. Returns what happened, in words.
    pub fn poke(&mut self, poke: &Poke, now_ms: u64) -> Result<String, PokeError> {
        self.settle(now_ms);
        match poke {
            Poke::PowerOff(name) => {
                self.poked_server(name, |server| server.status = Status::Off)?;
                Ok(format!("{name} is off"))
            }
            Poke::Delete(name) => {
                let id = self.poked_server(name, |_| {})?;
                self.remove_server(id);
                Ok(format!("{name} is gone"))
            }
            Poke::Rename(old, new) => {
                self.poked_server(old, |server| server.name.clone_from(new))?;
                Ok(format!("{old} is called {new}"))
            }
            Poke::Relabel(name, key, value) => {
                self.poked_server(name, |server| relabel(&mut server.labels, key, value.as_deref()))?;
                Ok(format!("the label {key} of {name} is changed"))
            }
            Poke::Rebuild(name) => {
                self.poked_server(name, |server| {
                    server.rebuilt += 1;
                    server.status = Status::Running;
                })?;
                Ok(format!("{name} has a new disk"))
            }
            Poke::Detach(name) => {
                let firewall = self.firewalls.values_mut().find(|firewall| firewall.name == *name);
                let firewall = firewall.ok_or_else(|| PokeError(format!("the firewall {name}")))?;
                firewall.servers.clear();
                firewall.selectors.clear();
                Ok(format!("the firewall {name} guards nothing"))
            }
            Poke::Records(zone, name, kind, values) => self.poke_records(zone, name, kind, values),
            Poke::SellOut(what) => {
                self.settings.sold_out.insert(what.clone());
                Ok(format!("{what} is out of stock"))
            }
            Poke::Restock(what) => {
                let known = self.settings.sold_out.remove(what);
                if known { Ok(format!("{what} is in stock")) } else { Err(PokeError(format!("{what} out of stock"))) }
            }
            Poke::Revoke(token) => {
                self.settings.revoked.insert(token.clone());
                Ok("the token is not let in any more".to_owned())
            }
            Poke::ReadOnly(on) => {
                self.settings.read_only = *on;
                Ok(if *on { "tokens may only read" } else { "tokens may write" }.to_owned())
            }
            Poke::FailNext(command, times) => {
                self.settings.failing.insert(command.clone(), *times);
                Ok(format!("the next {times} actions {command} fail"))
            }
        }
    }

    fn poked_server(&mut self, name: &str, edit: impl FnOnce(&mut super::state::Server)) -> Result<u64, PokeError> {
        let found = self.servers.values_mut().find(|server| server.name == name);
        let server = found.ok_or_else(|| PokeError(format!("the server {name}")))?;
        edit(server);
        Ok(server.id)
    }

    fn poke_records(&mut self, zone: &str, name: &str, kind: &str, values: &[String]) -> Result<String, PokeError> {
        let now_ms = self.now_ms;
        let found = self.zones.values_mut().find(|found| found.name == zone);
        let zone = found.ok_or_else(|| PokeError(format!("the zone {zone}")))?;
        let id = format!("{name}/{kind}");
        let records: Vec<Record> = values.iter().map(|value| Record { value: value.clone(), comment: None }).collect();
        match zone.rrsets.get_mut(&id) {
            Some(_) if records.is_empty() => drop(zone.rrsets.remove(&id)),
            Some(rrset) => rrset.records = records,
            None if records.is_empty() => return Err(PokeError(format!("{id} in {}", zone.name))),
            None => zone.put(name, kind, records, None, now_ms),
        }
        zone.count_up(now_ms);
        Ok(format!("{id} of {} is changed", zone.name))
    }
}

fn relabel(labels: &mut BTreeMap<String, String>, key: &str, value: Option<&str>) {
    match value {
        Some(value) => labels.insert(key.to_owned(), value.to_owned()),
        None => labels.remove(key),
    };
}
