//! `claw destroy`: remove agents, all or some, and everything that belongs to them.

use clap::Args;
use claw_core::plan::Policy;

use super::Outcome;
use super::apply::{Consent, carry_out, take_lock};
use crate::args::Global;
use crate::error::CommandError;
use crate::session::Session;
use crate::setup::Setup;

/// Remove agents and everything that belongs to them
///
/// Without names: every agent of the fleet. What holds data goes only when --allow-destroy names its agent.
#[derive(Debug, Args)]
pub struct Destroy {
    /// The agents to remove; all when none is named.
    agents: Vec<String>,
    /// Allow this agent's data to be lost. Can be repeated; `all` names every agent.
    #[arg(long = "allow-destroy", value_name = "AGENT")]
    allow_destroy: Vec<String>,
    #[command(flatten)]
    consent: Consent,
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
        if let Some(host) = named.iter().find(|id| session.desired.hosts.contains_key(*id)) {
            return Err(CommandError::usage(format!("{host} is a host, and hosts are not destroyed")).help(format!(
                "set state = \"absent\" in [hosts.{host}] and apply: what claw put there is taken off"
            )));
        }
        if let Some(unknown) = named.iter().find(|id| !known(id) && !session.desired.agents.contains_key(*id)) {
            return Err(
                CommandError::usage(format!("there is no agent `{unknown}`")).help("`claw status` lists the agents")
            );
        }
        let mut policy: Policy = session.policy(&named, &self.allow_destroy)?;
        if self.allow_destroy.iter().any(|name| name == "all") {
            policy.allow_destroy.extend(observed.states.keys().map(|address| address.id.name.clone()));
        }
        policy.guard_deletes = false;
        let goes = |id: &str| named.is_empty() || named.iter().any(|name| name == id);
        // a host goes by `state = "absent"`: here it would be taken from under agents that stay
        session.desired.resources.retain(|address, _| address.id.kind.is_of_host() || !goes(&address.id.name));
        let plan = session.plan(&observed, &policy);
        carry_out(global, setup, &session, (&observed, &plan), &self.consent)
    }
}
