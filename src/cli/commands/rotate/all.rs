//! `claw rotate all --leaked`: takes back what somebody could read. claw changes files, to be committed; what only a person
//! can do is listed. Who stays can open everything at every instant: the fleet file, which says who is meant, changes last.

use std::collections::BTreeMap;
use std::ops::Range;

use clap::Args;
use claw_core::problem::Location;
use claw_core::ssh::Standing;
use claw_engine::audit::Deed;
use claw_engine::load;
use claw_vault::{RESERVED_PROFILE, Recipient, Vault};
use serde_json::json;

use super::super::Outcome;
use super::super::apply::{Consent, take_lock};
use super::reach::{Leaked, Reach};
use crate::args::Global;
use crate::edit::{self, Replaced};
use crate::error::CommandError;
use crate::exit;
use crate::render::{self, style};
use crate::session::{self, Checked, stale};
use crate::setup::{self, Setup};

/// Take back everything that somebody whose key leaked could reach
///
/// Lists it in order, and does what claw can do by itself in the fleet's files: encrypts values anew without them, replaces
/// the fleet's key and with it every gateway token, makes a next login key, takes them out of the fleet file. Commit that;
/// `claw apply` does the rest. Keys of other people's services only a person can replace: they are listed with who uses them.
#[derive(Debug, Args)]
pub struct All {
    /// Whose key leaked: a public key, its fingerprint, or an operator's name.
    #[arg(long, value_name = "RECIPIENT")]
    leaked: String,
    /// Only list it.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask.
    #[arg(short, long)]
    yes: bool,
}

/// What there is to do, in order.
struct Work {
    leaked: Leaked,
    reach: Reach,
    /// Who reads a profile from now on, for those that must be encrypted anew.
    rekey: BTreeMap<String, Vec<Recipient>>,
    /// Who reads the reserved profile from now on.
    members: Vec<Recipient>,
    /// Whether a next login key must be made, and whether one that leaked goes first.
    login_key: Option<bool>,
    /// Where the fleet's files name them.
    named: Vec<Location>,
}

impl All {
    /// Runs it.
    pub fn run(self, global: &Global, setup: &Setup) -> Outcome {
        super::super::announce_sandbox(global);
        let consent = Consent { yes: self.yes, ..Consent::default() };
        if !self.dry_run {
            consent.refuse_unasked(setup)?;
        }
        let checked = Checked::of(load::fleet_files(&setup.fleet_file), global, setup)?;
        let leaked = Leaked::find(&self.leaked, &checked)?;
        let who = stale::person(&checked.fleet, &leaked.print);
        let work = Work::of(leaked, &checked)?;
        let (own, people) = (work.own(), work.people());
        if global.json {
            let values: Vec<_> = work
                .reach
                .values
                .iter()
                .map(|(name, value)| json!({ "name": name, "used_by": value.used_by }))
                .collect();
            render::json(&json!({
                "leaked": { "fingerprint": work.leaked.print, "operators": work.leaked.operators },
                "values": values, "claw": own, "people": people, "dry_run": self.dry_run,
            }));
        } else {
            show(&who, &own, &people, work.reach.is_empty() && work.named.is_empty());
        }
        if self.dry_run || own.is_empty() {
            return Ok(exit::DONE);
        }
        if !consent.given("Change the files?") {
            return Err(CommandError::failed("not agreed: nothing was changed"));
        }
        let _lock = take_lock(global, setup)?;
        let undone = work.carry_out(checked.vault())?;
        work.strike(&checked, setup)?;
        let audit = session::audit(global, setup, &checked.fleet);
        let detail = format!("taken back from {who}");
        audit.record(&Deed { action: "keys", target: "claw", detail: &detail, ..Default::default() });
        for (profile, why) in &undone {
            render::err(format_args!("{} {profile} was not encrypted anew: {why}", style::paint(style::RED, "!")));
        }
        if !undone.is_empty() {
            let print = &work.leaked.print;
            let help =
                format!("who can open those values runs `claw secret rekey`; then run this again: --leaked {print}");
            return Err(CommandError::new(exit::PARTIAL, "some values are still encrypted to them").help(help));
        }
        if !global.json {
            super::done("the files are changed: what is listed for people remains");
        }
        Ok(exit::DONE)
    }
}

impl Work {
    fn of(leaked: Leaked, checked: &Checked) -> Result<Self, CommandError> {
        let reach = Reach::of(&leaked, checked)?;
        let fleet = &checked.fleet;
        let staying = |profile: &str| -> Result<Vec<Recipient>, CommandError> {
            let left = leaked.without(session::recipients(fleet, profile)?);
            if left.is_empty() {
                let message = format!("nobody else may read {profile}: without them its values would be lost");
                let help = "add another recipient to the fleet file and run `claw secret rekey` first";
                return Err(CommandError::new(exit::INVALID, message).help(help));
            }
            Ok(left)
        };
        let members = staying(RESERVED_PROFILE)?;
        if !checked.vault().is_member(&members) {
            let message =
                "the identity at hand is none of those that stay: it could not open the fleet's key afterwards";
            let help = "let somebody who stays run this; or add a new recipient of yours, `claw secret rekey`, and name its identity in \
                        CLAW_IDENTITY";
            return Err(CommandError::new(exit::INVALID, message).help(help));
        }
        let mut rekey = BTreeMap::new();
        for profile in &reach.profiles {
            rekey.insert(profile.clone(), staying(profile)?);
        }
        let next_leaked = reach.login_keys.contains("ssh_next");
        let has_next = checked.vault().control_keys()?.iter().any(|key| key.standing == Standing::Next);
        let wants_next = reach.login_keys.contains("ssh_current") && !has_next || next_leaked;
        let login_key = wants_next.then_some(next_leaked);
        let named = named(&leaked, checked);
        for path in fleet.profiles.keys() {
            staying(path)?; // a list that would be empty
        }
        Ok(Self { leaked, reach, rekey, members, login_key, named })
    }

    /// Whether single gateway tokens must change: a new fleet key changes all of them.
    fn tokens(&self) -> &[String] {
        if self.reach.fleet_key { &[] } else { &self.reach.agents }
    }

    /// Returns what claw does by itself, in order.
    fn own(&self) -> Vec<String> {
        let mut steps: Vec<String> =
            self.rekey.keys().map(|profile| format!("encrypt the values of {profile} anew, without them")).collect();
        if self.reach.fleet_key {
            steps.push("make a new fleet key: everything is signed anew, and every gateway token changes".to_owned());
        }
        if !self.tokens().is_empty() {
            let agents = self.tokens().join(", ");
            steps.push(format!("make new gateway tokens for those on machines they could log in to: {agents}"));
        }
        match self.login_key {
            Some(true) => steps.push("forget the next login key, which leaked too, and make another".to_owned()),
            Some(false) => steps.push("make a next login key; the current one stays until that is proven".to_owned()),
            None => {}
        }
        let mut files: Vec<&str> = self.named.iter().map(|at| at.file.as_str()).collect();
        files.dedup();
        if !files.is_empty() {
            steps.push(format!("take them out of {}", files.join(", ")));
        }
        steps
    }

    /// Returns what only people can do, in order.
    fn people(&self) -> Vec<String> {
        let mut steps = Vec::new();
        if !self.own().is_empty() {
            steps.push("commit what changed, then `claw apply`".to_owned());
        }
        if self.reach.login_keys.iter().any(|key| !key.starts_with("ssh_retired_")) {
            steps.push("`claw rotate ssh --finish`, commit, `claw apply`: the old login key goes from every host; faster, from this \
                        machine alone: `claw rotate ssh --compromised`".to_owned());
        }
        steps.extend(self.reach.values.iter().map(|(name, value)| value.task(name)));
        steps.extend(self.reach.hosts.iter().map(|host| {
            format!(
                "{host}: they could log in; look at who did, and give it a new host key: `claw rotate host-key {host}`"
            )
        }));
        if !self.reach.is_empty() {
            steps.push("take their access to the repository; its history stays readable to them, which is why values are replaced \
                        and not only encrypted anew".to_owned());
        }
        steps
    }

    /// Changes the secret files. What is readable to those who stay is so at every instant. Returns what could not be done.
    fn carry_out(&self, vault: &Vault) -> Result<Vec<(String, String)>, CommandError> {
        let mut undone = Vec::new();
        for (profile, recipients) in &self.rekey {
            match vault.rekey(profile, recipients) {
                Ok(_) => {}
                // without the fleet's own file nothing below makes sense
                Err(error) if profile == RESERVED_PROFILE => return Err(error.into()),
                Err(error) => undone.push((profile.clone(), crate::error::chain(&error))),
            }
        }
        let today = setup::today();
        if self.reach.fleet_key {
            vault.rotate_fleet_key(&self.members, &today)?;
        }
        for agent in self.tokens() {
            vault.bump_gateway_token(agent)?;
        }
        if let Some(leaked_too) = self.login_key {
            if leaked_too {
                vault.control_discard()?;
            }
            vault.control_begin(&self.members, &today)?;
        }
        Ok(undone)
    }

    /// Takes them out of the fleet's files; comments and everything else stay.
    fn strike(&self, checked: &Checked, setup: &Setup) -> Result<(), CommandError> {
        let mut files: BTreeMap<&str, Vec<Range<usize>>> = BTreeMap::new();
        for at in &self.named {
            files.entry(&at.file).or_default().push(at.start..at.end);
        }
        for (file, spans) in files {
            let failed =
                |why: String| CommandError::new(exit::PARTIAL, format!("failed to take them out of {file}: {why}"));
            let source = checked.sources.iter().find(|source| source.path == file);
            let before =
                source.map(|source| source.text.as_str()).ok_or_else(|| failed("it was not read".to_owned()))?;
            let text = edit::without(before, &spans).map_err(failed)?;
            match edit::replace(&setup.root.join(file), Some(before), &text)
                .map_err(|error| failed(error.to_string()))?
            {
                Replaced::Done => {}
                Replaced::Changed => return Err(failed("it changed meanwhile".to_owned()).help("run this again")),
            }
        }
        Ok(())
    }
}

/// Returns where the fleet's files name them: as a recipient, and as an operator.
fn named(leaked: &Leaked, checked: &Checked) -> Vec<Location> {
    let fleet = &checked.fleet;
    let own =
        fleet.profiles.iter().map(|(name, table)| (vec!["secrets", name.as_str(), "recipients"], &table.recipients));
    let lists = std::iter::once((vec!["fleet", "recipients"], &fleet.meta.recipients)).chain(own);
    let mut found = Vec::new();
    for (path, recipients) in lists {
        let is_them = |text: &str| text.parse::<Recipient>().is_ok_and(|one| one.fingerprint() == leaked.print);
        let at = recipients.iter().enumerate().filter(|(_, text)| is_them(text));
        found.extend(at.filter_map(|(index, _)| fleet.tree.item(&path, index)));
    }
    for name in &leaked.operators {
        let path = ["ssh", "operators", name.as_str()];
        if let (Some(key), Some(value)) = (fleet.tree.key(&path), fleet.tree.exact(&path)) {
            found.push(Location { end: value.end, ..key });
        }
    }
    found
}

fn show(who: &str, own: &[String], people: &[String], nothing: bool) {
    if nothing {
        render::out(format_args!(
            "{who} reads nothing, is noted nowhere as a reader and is no operator: all is done, or it is another key"
        ));
        return;
    }
    let list = |title: &str, steps: &[String], first: usize| {
        if !steps.is_empty() {
            render::out(format_args!("\n{}", style::paint(style::BOLD, title)));
        }
        for (at, step) in steps.iter().enumerate() {
            render::out(format_args!("{:>3}. {step}", first + at));
        }
    };
    render::out(format_args!("What {who} could reach, and what to do about it, in order:"));
    list("claw does, in the files here:", own, 1);
    list("People do:", people, own.len() + 1);
    render::out("");
}
