//! `claw destroy`: remove agents, all or some, and everything that belongs to them.

use clap::Args;
use claw_core::desired::Desired;
use claw_core::name::Kind;
use claw_core::plan::Policy;

use super::Outcome;
use super::apply::{Consent, carry_out, take_lock};
use crate::args::Global;
use crate::error::CommandError;
use crate::session::Session;
use crate::setup::Setup;

/// Remove agents and everything that belongs to them
///
/// Without names: every agent of the fleet, and everything it has at clouds. What holds data goes only when --allow-destroy
/// names its agent or its host. Machines that claw did not make stay.
#[derive(Debug, Args)]
pub struct Destroy {
    /// The agents, and hosts on clouds, to remove; all when none is named.
    agents: Vec<String>,
    /// Allow the data of this agent or host to be lost. Can be repeated; `all` names every one.
    #[arg(long = "allow-destroy", value_name = "NAME")]
    allow_destroy: Vec<String>,
    #[command(flatten)]
    consent: Consent,
}

/// Refuses to take a machine from under agents that stay.
fn refuse_shared(session: &Session, named: &[String]) -> Result<(), CommandError> {
    for id in named {
        let Some(host) = session.desired.hosts.get(id) else { continue };
        let here = session.desired.agents.iter().filter(|(_, agent)| agent.place == host.name);
        let stays: Vec<&str> =
            here.filter(|(agent, _)| !named.contains(agent)).map(|(_, one)| one.name.as_str()).collect();
        if !stays.is_empty() {
            let text = format!("{} run on {id} and would go with it", stays.join(", "));
            return Err(CommandError::usage(text).help("name them, too, or move them first"));
        }
    }
    Ok(())
}

impl Destroy {
    /// Runs it.
    pub fn run(self, global: &Global, setup: &Setup) -> Outcome {
        let mut session = Session::open(global, setup)?;
        super::announce_sandbox(global);
        self.consent.refuse_unasked(setup)?;
        let _lock = take_lock(global, setup)?;
        let observed = super::wait(session.observe())?;
        let known = |id: &String| observed.states.keys().any(|address| &address.id.name == id);
        let named: Vec<String> = self.agents.iter().map(|name| session.agent_id(name)).collect();
        let existing = |id: &&String| session.desired.hosts.get(*id).is_some_and(|host| host.cloud.is_none());
        if let Some(host) = named.iter().find(existing) {
            return Err(CommandError::usage(format!("{host} is a host, and hosts are not destroyed")).help(format!(
                "set state = \"absent\" in [hosts.{host}] and apply: what claw put there is taken off"
            )));
        }
        if let Some(unknown) = named.iter().find(|id| !known(id) && !session.desired.agents.contains_key(*id)) {
            return Err(
                CommandError::usage(format!("there is no agent `{unknown}`")).help("`claw status` lists the agents")
            );
        }
        refuse_shared(&session, &named)?;
        let mut policy: Policy = session.policy(&named, &self.allow_destroy)?;
        if self.allow_destroy.iter().any(|name| name == "all") {
            policy.allow_destroy.extend(observed.states.keys().map(|address| address.id.name.clone()));
        }
        policy.guard_deletes = false;
        let goes = |id: &str| named.is_empty() || named.iter().any(|name| name == id);
        let Desired { resources, hosts, .. } = &mut session.desired;
        let names = resources.iter().filter(|(_, resource)| resource.of.as_deref().is_some_and(goes));
        let names: Vec<String> = names.map(|(address, _)| address.id.to_string()).collect();
        if !named.is_empty() {
            policy.targets.extend(names);
        }
        let extra: Vec<_> = resources
            .iter()
            .filter(|(address, resource)| address.id.kind == Kind::Dns && resource.of.is_none())
            .map(|(address, resource)| (address.clone(), resource.clone()))
            .collect();
        resources.retain(|address, resource| {
            let name = &address.id.name;
            let clouds = hosts.get(name).is_some_and(|host| host.cloud.is_some());
            // a machine that exists goes by `state = "absent"`: here it would be taken from under agents that stay
            let stays = address.id.kind.is_of_host() && !clouds;
            stays || !(goes(name) || resource.of.as_deref().is_some_and(goes))
        });
        let mut plan = session.plan(&observed, &policy);
        if !plan.held.is_empty() {
            // while something stays, so does what else stands in the zones
            session.desired.resources.extend(extra);
            plan = session.plan(&observed, &policy);
        }
        carry_out(global, setup, &session, (&observed, &plan), &self.consent)
    }
}
