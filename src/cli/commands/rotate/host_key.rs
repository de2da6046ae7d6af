//! `claw rotate host-key`: the key a host shows. Made on the host, where its private half stays; pinned before it is used, in
//! the fleet file, or beside the machine where a cloud made it.

use std::fs;
use std::str::FromStr;

use clap::Args;
use claw_core::ssh::PublicKey;
use toml_edit::{DocumentMut, Item, Value};

use super::super::Outcome;
use super::super::operate::{Subject, find, told};
use super::{done, next, record};
use crate::args::Global;
use crate::error::CommandError;
use crate::exit;
use crate::session::Session;
use crate::setup::Setup;

/// Replace the key a host shows
///
/// `claw rotate host-key HOST` makes the next key on the host and pins it beside the current one: commit. `claw apply` has
/// sshd show it, and puts the old one back where a fresh login does not see it. `--finish` pins the new one only: commit.
///
/// The pins of a machine at a cloud stand in its labels there: nothing is committed, and `claw apply` does all the rest.
#[derive(Debug, Args)]
pub struct HostKey {
    /// The host.
    host: String,
    /// Pin the next key only, once the host shows it.
    #[arg(long)]
    finish: bool,
}

impl HostKey {
    /// Runs it.
    pub fn run(self, global: &Global, setup: &Setup) -> Outcome {
        let mut session = Session::open(global, setup)?;
        let subject = find(&session, &self.host)?;
        let key = session
            .fleet
            .hosts
            .iter()
            .find(|(name, table)| **name == self.host || table.id.as_deref() == Some(self.host.as_str()));
        let Some((key, table)) = key.map(|(key, table)| (key.clone(), table.clone())) else {
            return Err(CommandError::usage(format!("{} is no host", self.host)));
        };
        if session.fleet.cloud_of(&table).is_some() {
            return self.at_a_cloud(&session, &subject, &key);
        }
        if self.finish {
            let Some(pinned) = &table.host_key_next else {
                return Err(CommandError::failed(format!("{key} has no next host key"))
                    .help(format!("begin with `claw rotate host-key {key}`")));
            };
            let wanted = parse(pinned)?;
            let observed = super::super::wait(session.observe())?;
            let id = session.agent_id(&self.host);
            let shown = observed.states.iter().find(|(address, _)| address.id.to_string() == format!("host/{id}"));
            let shown = shown.and_then(|(_, state)| match state {
                claw_core::observed::State::Present(actual) => {
                    actual.fields.get("host_key")?.as_text().map(str::to_owned)
                }
                _ => None,
            });
            if shown.as_deref() != Some(&wanted.fingerprint()) {
                let shown = shown.unwrap_or_else(|| "nothing claw could see".to_owned());
                return Err(CommandError::failed(format!(
                    "{key} shows {shown} and not the next key: nothing was changed"
                ))
                .help("`claw apply` has it show the next key"));
            }
            edit(&session, setup, &key, &[("host_key", Some(&wanted)), ("host_key_next", None)])?;
            record(&session, &key, &format!("host key {} is the pinned one", wanted.fingerprint()));
            done(format_args!("{key} is known by {} now", wanted.fingerprint()));
            next(&["commit the fleet file"]);
            return Ok(exit::DONE);
        }
        if table.host_key_next.is_some() {
            return Err(CommandError::failed(format!("{key} has a next host key already"))
                .help(format!("`claw apply`, then `claw rotate host-key {key} --finish`")));
        }
        let made = super::super::wait(subject.operate()?.new_host_key())?.map_err(told)?;
        edit(&session, setup, &key, &[("host_key_next", Some(&made))])?;
        record(&session, &key, &format!("a next host key was made: {}", made.fingerprint()));
        done(format_args!("{key} has a next host key: {}", made.fingerprint()));
        let finish = format!("claw rotate host-key {key} --finish");
        next(&["commit the fleet file", "claw apply", &finish]);
        Ok(exit::DONE)
    }

    /// Both pins stand beside the machine until it shows the next key: there is nothing to write here, and nothing to finish.
    fn at_a_cloud(&self, session: &Session, subject: &Subject, key: &str) -> Outcome {
        if self.finish {
            return Err(CommandError::failed(format!(
                "there is nothing to finish: the pins of {key} stand at its cloud"
            ))
            .help("`claw apply` has it show the next key and then keeps that pin alone"));
        }
        let made = super::super::wait(subject.operate()?.new_host_key())?.map_err(told)?;
        record(session, key, &format!("a next host key was made: {}", made.fingerprint()));
        done(format_args!("{key} has a next host key: {}", made.fingerprint()));
        next(&["claw apply"]);
        Ok(exit::DONE)
    }
}

fn parse(text: &str) -> Result<PublicKey, CommandError> {
    PublicKey::from_str(text).map_err(|error| CommandError::new(exit::INVALID, format!("the host key: {error}")))
}

/// Sets or removes fields of a host in the file that has its table; every other byte stays.
fn edit(
    session: &Session,
    setup: &Setup,
    host: &str,
    fields: &[(&str, Option<&PublicKey>)],
) -> Result<(), CommandError> {
    let place = session.fleet.tree.key(&["hosts", host]);
    let place = place.ok_or_else(|| CommandError::failed(format!("failed to find the table of {host}")))?;
    let path = setup.beside(&place.file);
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        CommandError::failed(format!("failed to {what} {}: {error}", path.display()))
    };
    let text = fs::read_to_string(&path).map_err(|error| failed("read", &error))?;
    let mut document: DocumentMut =
        text.parse().map_err(|error: toml_edit::TomlError| failed("read", &error.message()))?;
    let table = document.get_mut("hosts").and_then(|hosts| hosts.get_mut(host)).and_then(Item::as_table_like_mut);
    let table = table.ok_or_else(|| failed("find the host in", &"its table is written in an unusual way"))?;
    for (name, key) in fields {
        let Some(key) = key else {
            table.remove(name);
            continue;
        };
        let mut value = Value::from(key.to_string());
        if let Some(old) = table.get(name).and_then(Item::as_value) {
            *value.decor_mut() = old.decor().clone(); // the comment on the line stays
        }
        table.insert(name, Item::Value(value));
    }
    let draft = path.with_extension("toml.new");
    fs::write(&draft, document.to_string()).map_err(|error| failed("write", &error))?;
    fs::rename(&draft, &path).map_err(|error| failed("write", &error))
}
