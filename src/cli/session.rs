//! From the command line to a compiled fleet, and on to what is observed: the path every command walks.

pub mod keys;
pub mod stale;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use claw_core::compile::{Surroundings, compile, percent};
use claw_core::desired::Desired;
use claw_core::fleet::{self, Fleet, SourceFile};
use claw_core::name::{Address, Kind};
use claw_core::observed::Observed;
use claw_core::plan::{Inputs, Plan, Policy, Rollout, Share, plan};
use claw_core::problem::{Location, Problem, did_you_mean};
use claw_core::provider::Rulebook;
use claw_core::secret::{Destinations, SecretError, SecretName};
use claw_core::ssh::{ControlKey, Standing};
use claw_core::text::days;
use claw_engine::audit::Audit;
use claw_engine::{load, observe};
use claw_sim::World;
use claw_vault::{AskPassphrase, Identities, Places, Recipient, Vault};
use secrecy::SecretString;

use crate::args::Global;
use crate::error::CommandError;
use crate::exit;
use crate::setup::{self, Setup};
use crate::wiring;

/// The identity an example carries; claw accepts it in the sandbox only.
pub const SANDBOX_IDENTITY: &str = "sandbox-identity.txt";

/// How long what was done is kept, in days, unless the fleet says.
const HISTORY_DAYS: i32 = 90;

/// A compiled fleet and what belongs to it.
pub struct Session {
    /// The fleet as written.
    pub fleet: Fleet,
    /// Its files.
    pub sources: Vec<SourceFile>,
    /// What it asks for.
    pub desired: Desired,
    /// What is odd about it and stops nothing.
    pub warnings: Vec<Problem>,
    /// Its secrets.
    pub vault: Vault,
    /// What its providers know.
    pub rules: Rulebook,
    /// Who serves its places.
    pub providers: observe::Providers,
    /// Secrets that could not be had.
    pub unresolved: BTreeMap<Address, SecretError>,
    /// claw's own login keys, as the fleet's files have them.
    pub control_keys: Vec<ControlKey>,
    /// Why their private halves are not at hand; `None` when they are.
    locked_keys: Option<SecretError>,
    /// Where what is done is recorded.
    pub audit: Arc<Audit>,
    /// Whether the world is the simulated one.
    pub sandbox: bool,
}

/// A fleet whose files are right, before anything is asked of the world.
pub struct Checked {
    /// The fleet as written.
    pub fleet: Fleet,
    /// Its files.
    pub sources: Vec<SourceFile>,
    /// What is odd about it and stops nothing.
    pub warnings: Vec<Problem>,
    /// The profiles on disk.
    pub profiles: Vec<String>,
    /// What it asks for.
    pub desired: Desired,
    /// What its providers know.
    pub rules: Rulebook,
    vault: Vault,
    control_keys: Vec<ControlKey>,
}

impl Checked {
    /// Returns the fleet's secrets.
    pub fn vault(&self) -> &Vault {
        &self.vault
    }

    /// Compiles the fleet that some files say, or returns everything that is wrong with it and them.
    pub fn of(files: (Vec<SourceFile>, Vec<Problem>), global: &Global, setup: &Setup) -> Result<Self, CommandError> {
        Self::with(files, setup, &|| identities(global, setup))
    }

    /// Compiles the fleet in a folder with nobody's identity: what a stranger wrote is looked at, and nothing opened.
    pub fn unopened(setup: &Setup) -> Result<Self, CommandError> {
        Self::with(load::fleet_files(&setup.fleet_file), setup, &|| Ok(None))
    }

    fn with(
        (sources, problems): (Vec<SourceFile>, Vec<Problem>),
        setup: &Setup,
        identities: Who<'_>,
    ) -> Result<Self, CommandError> {
        let (fleet, sources, vault, mut problems) = typed(sources, problems, setup, identities)?;
        let misshapen = !problems.is_empty();
        problems.extend(wiring::check_endpoints(&fleet));
        let (profiles, destinations) = profile_keys(&vault, &mut problems);
        problems.extend(wiring::check_tokens(&fleet, &destinations));
        let names = profiles.keys().cloned().collect();
        let folders = fleet
            .agents
            .iter()
            .filter_map(|(key, agent)| Some((agent.workspace.as_deref()?, fleet.agent_field(key, "workspace"))));
        let (workspaces, found) = load::workspaces(&setup.root, folders);
        problems.extend(found);
        problems.extend(check_recipients(&fleet));
        let rules = wiring::rulebook(&fleet);
        let control_keys = if fleet.hosts.is_empty() { Vec::new() } else { vault.control_keys()? };
        if !problems.is_empty() {
            vault.recognise(fleet.agents.keys().map(String::as_str));
        }
        let around = Surroundings { profiles, destinations, workspaces, control_keys: control_keys.clone() };
        let (desired, mut warnings) = match compile(&fleet, &around, &rules) {
            Ok(compiled) if problems.is_empty() => compiled,
            Ok(_) => return Err(CommandError::invalid(problems, sources)),
            Err(more) => {
                vault.recognise(fleet.agents.keys().map(String::as_str));
                // what was left out for its shape is not missing
                problems.extend(more.into_iter().filter(|problem| !misshapen || problem.code != "missing-key"));
                return Err(CommandError::invalid(problems, sources));
            }
        };
        warnings.extend(keys::due(&fleet, &control_keys));
        warnings.extend(stale::due(&fleet, &vault));
        Ok(Self { fleet, sources, warnings, profiles: names, desired, vault, rules, control_keys })
    }
}

impl Session {
    /// Loads and compiles the fleet, or returns everything that is wrong with it.
    pub fn open(global: &Global, setup: &Setup) -> Result<Self, CommandError> {
        let Checked { fleet, sources, warnings, desired, vault, rules, control_keys, .. } =
            Checked::of(load::fleet_files(&setup.fleet_file), global, setup)?;
        let (opened, locked_keys) = keys::open(&vault, &control_keys);
        let audit = Arc::new(audit(global, setup, &fleet));
        let wanted = control_keys.iter().filter(|key| key.standing != Standing::Retired);
        let public: Vec<_> = wanted.map(|key| key.public.clone()).collect();
        let providers = if global.sandbox {
            wiring::simulated(&fleet, &world(setup)?, &setup.state_folder(true), &public)?
        } else {
            let control = wiring::ControlKeys { public, opened: &opened };
            wiring::providers(&fleet, setup, &vault, &control, &audit)?
        };
        let unresolved = BTreeMap::new();
        Ok(Self {
            fleet,
            sources,
            desired,
            warnings,
            vault,
            rules,
            providers,
            unresolved,
            control_keys,
            locked_keys,
            audit,
            sandbox: global.sandbox,
        })
    }

    /// Looks at the world, with the fleet's secrets resolved for comparing.
    pub async fn observe(&mut self) -> Observed {
        self.unresolved = self.desired.resolve(&self.vault);
        if let Some(error) = &self.locked_keys {
            // a public key that nobody holds against its private half may be anybody's
            let access = self.desired.resources.keys().filter(|address| address.id.kind == Kind::Access);
            self.unresolved.extend(access.map(|address| (address.clone(), error.clone())));
        }
        observe::observe(&self.providers, &self.desired, &self.vault).await
    }

    /// Plans against what was observed.
    pub fn plan(&self, observed: &Observed, policy: &Policy) -> Plan {
        let Self { desired, unresolved, rules, .. } = self;
        plan(Inputs { desired, unresolved, observed, rules, policy })
    }

    /// Returns the limits of the fleet and the command line.
    pub fn policy(&self, targets: &[String], allow_destroy: &[String]) -> Result<Policy, CommandError> {
        let limit = self.fleet.policy.delete_max.as_deref().and_then(percent);
        let policy = Policy {
            delete_max_percent: limit.unwrap_or(Policy::default().delete_max_percent),
            rollout: self.rollout(),
            allow_destroy: allow_destroy.iter().map(|name| self.agent_id(name)).collect(),
            today: setup::today(),
            targets: targets.iter().map(|name| self.agent_id(name)).collect(),
            ..Policy::default()
        };
        Ok(policy)
    }

    fn rollout(&self) -> Rollout {
        let table = &self.fleet.rollout;
        let default = Rollout::default();
        Rollout {
            canary: table.canary.map_or(default.canary, |count| count as usize),
            max_unavailable: table.max_unavailable.as_deref().and_then(Share::parse).unwrap_or(default.max_unavailable),
        }
    }

    /// Returns the id of an agent or host named by its table's key or its id.
    pub fn agent_id(&self, name: &str) -> String {
        let agent = self.fleet.agents.get(name).and_then(|table| table.id.clone());
        agent.or_else(|| self.fleet.hosts.get(name)?.id.clone()).unwrap_or_else(|| name.to_owned())
    }

    /// Refuses names that are neither in the fleet nor in the world: a typo must not pass for "nothing to do".
    pub fn refuse_unknown<'a>(
        &self,
        observed: &Observed,
        names: impl Iterator<Item = &'a String>,
    ) -> Result<(), CommandError> {
        let known: BTreeSet<String> = observed
            .states
            .keys()
            .chain(self.desired.resources.keys())
            .flat_map(|address| [address.id.name.clone(), address.id.to_string()])
            .chain(self.desired.agents.keys().cloned())
            .chain(self.desired.hosts.keys().cloned())
            .collect();
        for name in names {
            if !known.contains(&self.agent_id(name)) {
                let near = did_you_mean(name, known.iter().map(String::as_str));
                let help = near.map_or_else(
                    || "`claw status` lists the agents".to_owned(),
                    |near| format!("did you mean `{near}`?"),
                );
                return Err(CommandError::usage(format!("there is no agent and no resource `{name}`")).help(help));
            }
        }
        Ok(())
    }
}

/// A fleet as far as its files make sense, the files, its secrets, and what is wrong with the files.
type Read = (Fleet, Vec<SourceFile>, Vault, Vec<Problem>);

/// Finds the identities at hand, once there is something to open.
type Who<'a> = &'a dyn Fn() -> Result<Option<Identities>, CommandError>;

fn read(global: &Global, setup: &Setup) -> Result<Read, CommandError> {
    let (sources, problems) = load::fleet_files(&setup.fleet_file);
    typed(sources, problems, setup, &|| identities(global, setup))
}

fn typed(
    sources: Vec<SourceFile>,
    mut problems: Vec<Problem>,
    setup: &Setup,
    identities: Who<'_>,
) -> Result<Read, CommandError> {
    let (fleet, more) = fleet::load(&sources);
    problems.extend(more);
    let Some(fleet) = fleet else {
        // what cannot be read may be a secret without its quotes, and is about to be shown
        let opened = identities().ok().flatten();
        if let Some(vault) = Vault::of_folder(&setup.secrets_folder(), opened, &setup.known) {
            vault.recognise(std::iter::empty());
        }
        return Err(CommandError::invalid(problems, sources));
    };
    wiring::recognise_tokens(&fleet, &setup.known);
    let vault = Vault::open(&setup.secrets_folder(), &fleet.meta.id, identities()?, &setup.known)?;
    if !problems.is_empty() {
        vault.recognise(fleet.agents.keys().map(String::as_str));
    }
    Ok((fleet, sources, vault, problems))
}

/// Returns the fleet as written and its secrets, without asking whether the fleet makes sense: a missing secret must not
/// keep anybody from storing it.
pub fn fleet_and_vault(global: &Global, setup: &Setup) -> Result<(Fleet, Vault), CommandError> {
    let (fleet, sources, vault, problems) = read(global, setup)?;
    if problems.is_empty() { Ok((fleet, vault)) } else { Err(CommandError::invalid(problems, sources)) }
}

/// Returns the simulated world of this folder.
pub fn world(setup: &Setup) -> Result<World, CommandError> {
    World::open(&setup.state_folder(true)).map_err(|error| CommandError::from_error(exit::FAILED, &error))
}

/// Returns the identities at hand: in the sandbox, the one an example carries comes first.
pub fn identities(global: &Global, setup: &Setup) -> Result<Option<Identities>, CommandError> {
    let carried = setup.root.join(SANDBOX_IDENTITY);
    if global.sandbox
        && let Ok(text) = std::fs::read_to_string(&carried)
    {
        return Ok(Some(Identities::parse(&text, SANDBOX_IDENTITY)?));
    }
    // a pipeline with a terminal has nobody before it
    let person = setup.stdin_terminal && setup.env("CI").is_none();
    let ask: AskPassphrase =
        Arc::new(|file| rpassword::prompt_password(format!("Passphrase of {file}: ")).ok().map(SecretString::from));
    let places = Places {
        named: setup.env("CLAW_IDENTITY"),
        home: setup.home(),
        keychain: &setup.keychain(),
        keychain_by_default: setup.env("CI").is_none(),
        ask: person.then_some(&ask),
    };
    Ok(claw_vault::find(&places)?)
}

/// Returns where what is done is recorded; what is older than the fleet keeps is removed.
pub fn audit(global: &Global, setup: &Setup, fleet: &Fleet) -> Audit {
    let audit = Audit::new(&setup.state_folder(global.sandbox).join("audit"), setup.who(), setup::now, &setup.known);
    let days = fleet.meta.history.as_deref().and_then(days).unwrap_or(HISTORY_DAYS);
    audit.prune(&setup::days_ago(days));
    audit
}

fn profile_keys(vault: &Vault, problems: &mut Vec<Problem>) -> (BTreeMap<String, Vec<String>>, Destinations) {
    let (mut profiles, mut destinations) = (BTreeMap::new(), Destinations::new());
    let mut note = |name: &str, error: &claw_vault::VaultError| {
        let file = format!("secrets/{name}.toml");
        let at = Location { file, start: 0, end: 0 };
        problems.push(Problem::error("profile", crate::error::chain(error)).at(at).help(error.help()));
    };
    let names = vault.profiles().unwrap_or_else(|error| {
        note("", &error);
        Vec::new()
    });
    for name in names {
        match vault.list(&name) {
            Ok(entries) => {
                for entry in entries.iter().filter(|entry| !entry.hosts.is_empty()) {
                    let secret = SecretName { profile: name.clone(), key: entry.key.clone() };
                    destinations.insert(secret, entry.hosts.clone());
                }
                profiles.insert(name, entries.into_iter().map(|entry| entry.key).collect());
            }
            Err(error) => note(&name, &error),
        }
    }
    (profiles, destinations)
}

/// Returns a problem for each recipient in the fleet that is none.
fn check_recipients(fleet: &Fleet) -> Vec<Problem> {
    let own =
        fleet.profiles.iter().map(|(name, table)| (vec!["secrets", name.as_str(), "recipients"], &table.recipients));
    let all = std::iter::once((vec!["fleet", "recipients"], &fleet.meta.recipients)).chain(own);
    let mut problems = Vec::new();
    for (path, recipients) in all {
        for (index, text) in recipients.iter().enumerate() {
            if let Err(error) = text.parse::<claw_vault::Recipient>() {
                let problem = Problem::error("recipient", crate::error::chain(&error));
                problems.push(problem.at(fleet.tree.item(&path, index)).help(error.help()));
            }
        }
    }
    problems
}

/// Returns who may read a profile: its own recipients, else the fleet's.
pub fn recipients(fleet: &Fleet, profile: &str) -> Result<Vec<Recipient>, CommandError> {
    let own = fleet.profiles.get(profile).map(|table| &table.recipients);
    let texts = own.unwrap_or(&fleet.meta.recipients);
    if texts.is_empty() {
        return Err(CommandError::new(exit::INVALID, "the fleet names nobody who may read its secrets")
            .help("`claw identity` shows your public key; put it into [fleet] recipients = [\"age1…\"]"));
    }
    texts.iter().map(|text| text.parse().map_err(CommandError::from)).collect()
}
