//! `claw rotate ssh`: claw's own login key. Begin, apply, finish, apply; `--now` does all of it from this machine.

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use claw_core::name::{Address, Kind, ResourceId};
use claw_core::observed::{Observed, Seen};
use claw_core::provider::access::CONTROL;
use claw_core::ssh::{ControlKey, PublicKey, Standing};
use claw_core::text::clean;
use claw_core::value::Value;
use serde_json::json;

use super::super::Outcome;
use super::super::apply::{Consent, carry_out, take_lock};
use super::super::plan::Scope;
use super::{done, next, recipients, record};
use crate::args::Global;
use crate::error::CommandError;
use crate::exit;
use crate::render::{self, style, table};
use crate::session::{self, Session};
use crate::setup::{self, Setup};

/// Replace claw's own login key, without ever being shut out
///
/// `claw rotate ssh` makes the next key: commit. `claw apply` puts it beside the old one and logs in with it, host by host.
/// `claw rotate ssh --finish` makes it the current one, once every host has let it in: commit. The next `claw apply` removes
/// the old one, only where the new one is proven. Hosts that are off stay pending: a later apply finishes them.
#[derive(Debug, Args)]
pub struct Ssh {
    /// Make the next key the current one.
    #[arg(long, conflicts_with = "now")]
    finish: bool,
    /// Do all of it now, from this machine.
    #[arg(long)]
    now: bool,
    /// The current key is in wrong hands: do all of it now, and do not wait for hosts that cannot be reached.
    #[arg(long, conflicts_with = "finish")]
    compromised: bool,
    /// Finish although this host has not let the new key in. Can be repeated.
    #[arg(long = "leave", value_name = "HOST")]
    leave: Vec<String>,
    #[command(flatten)]
    consent: Consent,
}

/// How a host stands in a rotation.
struct Row {
    host: String,
    /// The keys it lets in; `None` where it could not be seen.
    holds: Option<BTreeSet<PublicKey>>,
    /// Whether the key that shall stay let us in just now, and why not.
    proven: Result<(), String>,
    left: bool,
}

impl Ssh {
    /// Runs it.
    pub fn run(self, global: &Global, setup: &Setup) -> Outcome {
        super::super::announce_sandbox(global);
        let (fleet, vault) = session::fleet_and_vault(global, setup)?;
        let keys = vault.control_keys()?;
        if !keys.iter().any(|key| key.standing == Standing::Current) {
            let key = vault.control_begin(&session::recipients(&fleet, "claw")?, &setup::today())?;
            done(format_args!("claw has a login key now: {}", key.public.fingerprint()));
            next(&["commit secrets/claw.toml", "claw apply"]);
            return Ok(exit::DONE);
        }
        if self.now || self.compromised {
            self.consent.refuse_unasked(setup)?;
            return self.all_now(global, setup);
        }
        let session = Session::open(global, setup)?;
        if self.finish {
            let _lock = take_lock(global, setup)?;
            return self.finish(global, setup, session);
        }
        if keys.iter().any(|key| key.standing == Standing::Next) {
            let (_, rows) = self.look(session, Standing::Next)?;
            show(global, &rows, &keys);
            let pending = rows.iter().any(|row| row.proven.is_err());
            next(&[if pending { "claw apply" } else { "claw rotate ssh --finish" }]);
            return Ok(if pending { exit::PENDING } else { exit::DONE });
        }
        begin(&session)?;
        next(&["commit secrets/claw.toml", "claw apply", "claw rotate ssh --finish"]);
        Ok(exit::DONE)
    }

    /// Every phase from this machine. Where an earlier one broke off, it goes on.
    fn all_now(&self, global: &Global, setup: &Setup) -> Outcome {
        let _lock = take_lock(global, setup)?;
        let mut session = Session::open(global, setup)?;
        if self.compromised && session.control_keys.iter().any(|key| key.standing == Standing::Next) {
            // it lay in the same file as the one that leaked
            session.vault.control_discard()?;
            session = Session::open(global, setup)?;
        }
        let mut finished = false;
        if !session.control_keys.iter().any(|key| key.standing == Standing::Next) {
            let (session, rows) = self.look(session, Standing::Current)?;
            // a leaked key is replaced in any case
            finished = !self.compromised && is_unfinished(&session, &rows);
            if !finished {
                begin(&session)?;
            }
        }
        if finished {
            return self.last_phase(exit::DONE, global, setup);
        }
        let first = self.apply_access(global, setup)?;
        let (session, mut rows) = self.look(Session::open(global, setup)?, Standing::Next)?;
        if self.compromised {
            for row in rows.iter_mut().filter(|row| row.proven.is_err()) {
                row.left = true;
            }
        }
        if rows.iter().any(|row| row.proven.is_err() && !row.left) {
            show(global, &rows, &session.control_keys);
            return Err(CommandError::new(exit::PARTIAL, "the new key is not proven everywhere: the old one stays").help(
                "reach the other hosts and run this again, or name those to leave behind: --leave HOST; --compromised does not wait",
            ));
        }
        session.vault.control_finish(&recipients(&session)?)?;
        record(&session, "claw", "the next login key is the current one");
        drop(session);
        self.last_phase(first, global, setup)
    }

    /// The new key is the current one: the old one goes, host by host.
    fn last_phase(&self, first: exit::Exit, global: &Global, setup: &Setup) -> Outcome {
        let second = self.apply_access(global, setup)?;
        let (session, mut rows) = self.look(Session::open(global, setup)?, Standing::Current)?;
        tidy(&session, &rows)?;
        rows.iter_mut().for_each(|row| row.left = false);
        show(global, &rows, &session.vault.control_keys()?);
        next(&["commit secrets/claw.toml"]);
        let whole = first == exit::DONE && second == exit::DONE && rows.iter().all(|row| row.proven.is_ok());
        Ok(if whole { exit::DONE } else { exit::PARTIAL })
    }

    /// Puts on every host the login keys that the profile has now.
    fn apply_access(&self, global: &Global, setup: &Setup) -> Outcome {
        let mut session = Session::open(global, setup)?;
        let access = session.desired.resources.keys().filter(|address| address.id.kind == Kind::Access);
        let targets: Vec<String> = access.map(|address| address.id.to_string()).collect();
        if targets.is_empty() {
            return Ok(exit::DONE);
        }
        let scope = Scope { targets, uncommitted_keys: true, ..Scope::default() };
        let (observed, plan) = scope.plan(setup, &mut session)?;
        carry_out(global, setup, &session, (&observed, &plan), &self.consent)
    }

    fn finish(&self, global: &Global, setup: &Setup, session: Session) -> Outcome {
        let keys = session.control_keys.clone();
        let Some(_) = keys.iter().find(|key| key.standing == Standing::Next) else {
            let (session, rows) = self.look(session, Standing::Current)?;
            let dropped = tidy(&session, &rows)?;
            show(global, &rows, &session.vault.control_keys()?);
            if dropped == 0 {
                render::out("nothing to finish: there is no next key, and no old one that nobody needs");
            } else {
                next(&["commit secrets/claw.toml"]);
            }
            return Ok(exit::DONE);
        };
        if !session.sandbox && session::keys::is_uncommitted(setup, &keys) {
            return Err(CommandError::failed("the next key is in no commit yet")
                .help("commit secrets/claw.toml first, so that no key exists on this machine only"));
        }
        let (session, rows) = self.look(session, Standing::Next)?;
        show(global, &rows, &keys);
        if let Some(row) = rows.iter().find(|row| row.proven.is_err() && !row.left) {
            let name = &row.host;
            return Err(CommandError::failed(format!("{name} has not let the new key in: nothing was changed"))
                .help(format!("`claw apply` puts it there; to finish without this host, add --leave {name}")));
        }
        session.vault.control_finish(&recipients(&session)?)?;
        record(&session, "claw", "the next login key is the current one");
        done("the next key is the current one");
        next(&["commit secrets/claw.toml", "claw apply"]);
        Ok(exit::DONE)
    }

    /// Looks at every host and logs in to it with the key of a standing.
    fn look(&self, mut session: Session, standing: Standing) -> Result<(Session, Vec<Row>), CommandError> {
        let observed = super::super::wait(session.observe())?;
        let key = session.control_keys.iter().find(|key| key.standing == standing).map(|key| key.public.clone());
        let mut rows = Vec::new();
        let mut work = Vec::new();
        for (id, card) in &session.desired.hosts {
            let holds = holds(&observed, &session.control_keys, id, &card.name);
            // a host that goes needs no new key, and may need an old one until it is gone
            let left = card.absent || self.leave.iter().any(|name| session.agent_id(name) == *id);
            rows.push(Row { host: card.name.clone(), holds, proven: Ok(()), left });
            let operate = session.providers.get(&card.name).and_then(|provider| provider.operate());
            let key = &key;
            let unseen = observed.incomplete.get(&card.name).cloned();
            work.push(async move {
                match (operate, key, unseen) {
                    (_, _, Some(why)) => Err(why),
                    (Some(operate), Some(key), None) => operate.prove(key).await.map_err(|error| error.reason),
                    _ => Err("there is no way to it".to_owned()),
                }
            });
        }
        let proofs = super::super::wait(futures_util::future::join_all(work))?;
        for (row, proven) in rows.iter_mut().zip(proofs) {
            row.proven = proven;
        }
        Ok((session, rows))
    }
}

/// Whether a rotation broke off after its new key had become the current one: a host that was seen lets an old one in.
fn is_unfinished(session: &Session, rows: &[Row]) -> bool {
    let mut retired = session.control_keys.iter().filter(|key| key.standing == Standing::Retired);
    retired.any(|key| rows.iter().any(|row| row.holds.as_ref().is_some_and(|holds| holds.contains(&key.public))))
}

fn begin(session: &Session) -> Result<(), CommandError> {
    let key = session.vault.control_begin(&recipients(session)?, &setup::today())?;
    let fingerprint = key.public.fingerprint();
    record(session, "claw", &format!("a next login key was made: {fingerprint}"));
    done(format_args!("the next key is {fingerprint}, in secrets/claw.toml"));
    Ok(())
}

/// Returns which of claw's keys a host lets in; `None` where it could not be seen.
fn holds(observed: &Observed, keys: &[ControlKey], id: &str, place: &str) -> Option<BTreeSet<PublicKey>> {
    let address = Address { id: ResourceId::new(Kind::Access, id), place: place.to_owned() };
    match observed.seen(&address) {
        Seen::Unknown(_) => None,
        Seen::Absent => Some(BTreeSet::new()),
        Seen::Present(actual) => {
            let Some(Value::Map(control)) = actual.fields.get(CONTROL) else { return Some(BTreeSet::new()) };
            let known: BTreeMap<String, &PublicKey> =
                keys.iter().map(|key| (key.public.fingerprint(), &key.public)).collect();
            Some(control.keys().filter_map(|fingerprint| known.get(fingerprint).copied().cloned()).collect())
        }
    }
}

/// Drops the retired keys that no host lets in any more. One that could not be seen may.
fn tidy(session: &Session, rows: &[Row]) -> Result<usize, CommandError> {
    let mut dropped = 0;
    for key in session.control_keys.iter().filter(|key| key.standing == Standing::Retired) {
        let needed = |row: &Row| row.holds.as_ref().is_none_or(|holds| holds.contains(&key.public));
        if !rows.iter().any(needed) {
            session.vault.control_drop(key)?;
            record(session, "claw", &format!("a retired login key was dropped: {}", key.public.fingerprint()));
            done(format_args!("dropped the old key {}: no host lets it in any more", key.public.fingerprint()));
            dropped += 1;
        }
    }
    Ok(dropped)
}

/// Prints how every host stands.
fn show(global: &Global, rows: &[Row], keys: &[ControlKey]) {
    let word = |standing: Standing| match standing {
        Standing::Current => "current",
        Standing::Next => "next",
        Standing::Retired => "retired",
    };
    let held = |row: &Row| -> Vec<&str> {
        let here = |key: &&ControlKey| row.holds.as_ref().is_some_and(|holds| holds.contains(&key.public));
        keys.iter().filter(here).map(|key| word(key.standing)).collect()
    };
    if global.json {
        let hosts: Vec<_> = rows
            .iter()
            .map(|row| {
                let why = row.proven.as_ref().err().map(|why| clean(why, 300));
                json!({ "host": row.host, "seen": row.holds.is_some(), "holds": held(row), "proven": why.is_none(), "why": why })
            })
            .collect();
        render::json(&json!({ "hosts": hosts, "keys": keys }));
        return;
    }
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let holds = if row.holds.is_some() { held(row).join(", ") } else { "not seen".to_owned() };
            let state = match &row.proven {
                Ok(()) => "proven by a login".to_owned(),
                Err(why) if row.left => format!("left behind: {}", clean(why, 120)),
                Err(why) => format!("pending: {}", clean(why, 120)),
            };
            vec![row.host.clone(), holds, state]
        })
        .collect();
    if cells.is_empty() {
        render::out(style::paint(style::DIM, "the fleet has no hosts"));
    } else {
        render::out(table::draw(&["HOST", "LETS IN", "NEW KEY"], &cells));
    }
}
