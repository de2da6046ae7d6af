//! What a reviewer must know before a change of the fleet file is merged, as problems with their places. Compares the file
//! in the folder with the one in a commit; needs no identity and no network.

use std::collections::BTreeSet;

use claw_core::fleet::{Fleet, HostState, HostTable, ProviderKind, SourceFile};
use claw_core::problem::{Location, Problem};
use claw_vault::{Recipient, Vault};

use super::Version;
use super::profiles::{Pair, Profiles, read};
use crate::error::CommandError;
use crate::git::{Commit, Repository};
use crate::session::{recipients, stale};
use crate::setup::Setup;

/// How many names a problem says before it only counts.
const NAMES_SHOWN: usize = 20;

/// What was found, and the files it is in.
pub type Found = (Vec<Problem>, Vec<SourceFile>);

/// Compares the fleet in the folder with the one at `reference`.
pub fn compare(reference: &str, setup: &Setup, head: &Fleet, vault: &Vault) -> Result<Found, CommandError> {
    let repository = Repository::of(&setup.root)?;
    let version = Version::of(repository.commit(reference)?, setup)?;
    let base = version.fleet()?;
    let of_base = Vault::open(&version.setup.secrets_folder(), &base.meta.id, None, &version.setup.known)?;
    let before = read(&version.setup, &of_base).map_err(|error| version.blame(error))?;
    let now = read(setup, vault)?;
    let change = Change { base: &base, head, commit: &version.commit, main: main_file(setup) };
    let mut problems = change.credentials();
    problems.extend(change.identity());
    problems.extend(change.logins());
    problems.extend(change.vanished_hosts());
    problems.extend(change.vanished_providers());
    problems.extend(change.readers(&before, &now));
    for (name, profile) in &now {
        let wanted = recipients(head, name).unwrap_or_default();
        let pair = Pair { name, base: before.get(name), head: profile, recipients: &wanted };
        problems.extend(pair.problems(head, &version.commit)?);
    }
    if repository.is_shallow()? {
        let message = "this clone is shallow: values that were removed long ago and put back cannot be told";
        problems.push(Problem::warning("history-cut", message).help("fetch the whole history: in CI, fetch-depth: 0"));
    }
    Ok((problems, now.into_values().map(|profile| profile.source).collect()))
}

fn main_file(setup: &Setup) -> String {
    setup.fleet_file.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

struct Change<'a> {
    base: &'a Fleet,
    head: &'a Fleet,
    commit: &'a Commit,
    main: String,
}

impl Change<'_> {
    /// Where a path of the fleet file stands, else what it would stand in, else the file.
    fn at(&self, path: &[&str]) -> Location {
        let tree = &self.head.tree;
        let whole = Location { file: self.main.clone(), start: 0, end: 0 };
        let above = || (1..path.len()).rev().find_map(|end| tree.key(&path[..end]));
        tree.exact(path).or_else(above).unwrap_or(whole)
    }

    fn identity(&self) -> Option<Problem> {
        let (before, now) = (&self.base.meta.id, &self.head.meta.id);
        if before == now {
            return None;
        }
        let message =
            format!("fleet.id changes from {before} to {now}: everything that stands would be somebody else's");
        let help = "claw would make all of it a second time and leave the first one running; put the id back";
        Some(Problem::warning("fleet-id-changed", message).at(self.at(&["fleet", "id"])).help(help))
    }

    /// Credentials that would come from somewhere else, or go somewhere else.
    fn credentials(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (name, now) in &self.head.providers {
            let Some(before) = self.base.providers.get(name) else { continue };
            let kinds = [before.kind, now.kind].map(|kind| kind.map(|kind| kind.word().to_owned()));
            let [was, is] = kinds;
            let fields = [
                ("kind", &was, &is),
                ("token", &before.token, &now.token),
                ("endpoint", &before.endpoint, &now.endpoint),
            ];
            for (field, was, is) in fields {
                if was == is {
                    continue;
                }
                let said = |value: &Option<String>| {
                    value.as_ref().map_or("the default".to_owned(), |text| format!("\"{text}\""))
                };
                let message = format!("providers.{name}.{field} changes from {} to {}", said(was), said(is));
                let help = match field {
                    "token" => "whose account is that? What stands at the old one is not seen with another",
                    "endpoint" => {
                        "what runs at the old one is not looked after any more, and secrets go to the new one"
                    }
                    _ => "what stands there is not seen any more",
                };
                let at = self.at(&["providers", name, field]);
                problems.push(Problem::warning("provider-changed", message).at(at).help(help));
            }
        }
        problems
    }

    /// People who could log in to machines, and so read all that lies there.
    fn logins(&self) -> Vec<Problem> {
        let before = &self.base.ssh.operators;
        let is_new = |(name, key): &(&String, &String)| before.get(*name) != Some(key);
        let problem = |(name, _): (&String, &String)| {
            let message = format!("operator `{name}` could log in to every host, and read what the agents there hold");
            let at = self.at(&["ssh", "operators", name]);
            Problem::warning("operator-added", message).at(at).help("do you know whose key that is?")
        };
        self.head.ssh.operators.iter().filter(is_new).map(problem).collect()
    }

    /// Machines that nobody could find any more: they are listed by their entry only.
    fn vanished_hosts(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let id = |key: &str, table: &HostTable| table.id.clone().unwrap_or_else(|| key.to_owned());
        for (key, before) in self.base.hosts.iter().filter(|(_, table)| self.base.cloud_of(table).is_none()) {
            let known = id(key, before);
            let now = self.head.hosts.iter().find(|(key, table)| id(key, table) == known);
            match now {
                Some((_, now)) if self.head.cloud_of(now).is_none() => {
                    if now.address != before.address {
                        let said = |table: &HostTable| table.address.clone().unwrap_or_default();
                        let message = format!("host `{key}` moves from {} to {}", said(before), said(now));
                        let help = "if that is another machine, what is on the first one stays there and nobody looks after it";
                        let at = self.at(&["hosts", key, "address"]);
                        problems.push(Problem::warning("host-moved", message).at(at).help(help));
                    }
                }
                _ if before.state == Some(HostState::Absent) => {}
                _ => {
                    let title = self.commit.title();
                    let message =
                        format!("host `{key}` is in {title} and just vanished: claw would never look at it again");
                    let help = format!(
                        "give [hosts.{key}] state = \"absent\" first and apply, so that claw takes off it what it put there; \
                         then remove the table"
                    );
                    problems.push(Problem::error("vanished", message).at(self.at(&["hosts", key])).help(help));
                }
            }
        }
        problems
    }

    /// Engines and accounts that were in use and that nobody could look at any more.
    fn vanished_providers(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (name, before) in &self.base.providers {
            let same = |(_, now): (&String, &claw_core::fleet::ProviderTable)| now == before;
            if self.head.providers.contains_key(name) || self.head.providers.iter().any(same) {
                continue;
            }
            let on = |on: &Option<String>| on.as_ref() == Some(name);
            let agents =
                self.base.agents.iter().filter(|(_, table)| on(&table.on)).map(|(key, _)| format!("agents.{key}"));
            let hosts = self.base.hosts.iter().filter(|(key, table)| on(&table.on) && !self.base.is_own(key));
            let zones =
                self.base.dns.iter().filter(|(_, zone)| on(&zone.provider)).map(|(zone, _)| format!("dns.\"{zone}\""));
            let used: Vec<String> = agents.chain(hosts.map(|(key, _)| format!("hosts.{key}"))).chain(zones).collect();
            if used.is_empty() {
                continue;
            }
            let what = if before.kind == Some(ProviderKind::Docker) { "engine" } else { "account" };
            let message = format!(
                "{what} `{name}` is in {} and just vanished, with what is on it: {}",
                self.commit.title(),
                list(&used)
            );
            let help = format!(
                "keep [providers.{name}], remove what is on it and apply; then remove the table: claw cannot see what it \
                 has no entry for"
            );
            problems.push(Problem::error("vanished", message).at(self.at(&["providers", name])).help(help));
        }
        problems
    }

    /// Who could read what from now on, and who should not have read what.
    fn readers(&self, before: &Profiles, now: &Profiles) -> Vec<Problem> {
        let mut problems = Vec::new();
        let names: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
        for name in names {
            let of = |fleet: &Fleet| recipients(fleet, name).unwrap_or_default();
            let (was, is) = (of(self.base), of(self.head));
            let entries = now.get(name).map(|profile| profile.file.entries.as_slice()).unwrap_or_default();
            for (index, added) in is.iter().enumerate().filter(|(_, one)| !was.contains(one)) {
                let values: Vec<String> = entries.iter().map(|entry| format!("{name}/{}", entry.key)).collect();
                if values.is_empty() {
                    continue;
                }
                let who = stale::person(self.head, &added.fingerprint());
                let message = format!("these values would become readable to {who}: {}", list(&values));
                let help = "do you know whose key that is? Ask them over another channel than this change";
                problems.push(Problem::warning("reader-added", message).at(self.recipient_at(name, index)).help(help));
            }
            for removed in was.iter().filter(|one| !is.contains(one)) {
                let print = removed.fingerprint();
                let left = |recipients: &[Recipient]| {
                    let could = entries.iter().filter(|entry| entry.former_readers(recipients).contains(&print));
                    could.map(|entry| format!("{name}/{}", entry.key)).collect::<Vec<_>>()
                };
                let values = left(&is);
                if values.is_empty() {
                    continue;
                }
                let who = stale::person(self.base, &print);
                let message =
                    format!("{who} is removed and could read these values, which need rotation: {}", list(&values));
                let help = format!("`claw rotate all --leaked {print} --dry-run` lists what to change, in order");
                problems.push(
                    Problem::warning("reader-removed", message).at(self.recipient_at(name, usize::MAX)).help(help),
                );
            }
        }
        problems
    }

    fn recipient_at(&self, profile: &str, index: usize) -> Location {
        let own = ["secrets", profile, "recipients"];
        let path: &[&str] = if self.head.profiles.contains_key(profile) { &own } else { &["fleet", "recipients"] };
        self.head.tree.item(path, index).unwrap_or_else(|| self.at(path))
    }
}

fn list(names: &[String]) -> String {
    let shown = names.iter().take(NAMES_SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMES_SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
