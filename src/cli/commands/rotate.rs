//! `claw rotate`: new login keys, host keys, gateway tokens and fleet keys, as commits: what is new is committed before it is used, and
//! what is old goes only where the new one is proven. Where a rotation stands is read from the hosts and the encrypted
//! profile; nothing else remembers it.

mod all;
mod host_key;
mod reach;
mod ssh;

use clap::{Args, Subcommand};

use super::{Outcome, done, next};
use crate::args::Global;
use crate::error::CommandError;
use crate::exit;
use crate::session::{self, Session};
use crate::setup::{self, Setup};

/// Replace keys and tokens
#[derive(Debug, Args)]
pub struct Rotate {
    #[command(subcommand)]
    command: RotateCommand,
}

#[derive(Debug, Subcommand)]
enum RotateCommand {
    Ssh(ssh::Ssh),
    HostKey(host_key::HostKey),
    /// Replace an agent's gateway token: the next apply delivers it, without a restart
    Token {
        /// The agent.
        agent: String,
    },
    /// Replace the fleet's key: everything it vouches for is signed anew, and every gateway token changes
    ///
    /// Look at what the secret files hold first: whatever the old key vouches for, the new one will. A run that was killed
    /// is finished by the next one.
    FleetKey,
    All(all::All),
}

impl Rotate {
    /// Runs it.
    pub fn run(self, global: &Global, setup: &Setup) -> Outcome {
        match self.command {
            RotateCommand::Ssh(ssh) => ssh.run(global, setup),
            RotateCommand::HostKey(key) => key.run(global, setup),
            RotateCommand::Token { agent } => token(&agent, global, setup),
            RotateCommand::FleetKey => fleet_key(global, setup),
            RotateCommand::All(all) => all.run(global, setup),
        }
    }
}

fn token(name: &str, global: &Global, setup: &Setup) -> Outcome {
    let session = Session::open(global, setup)?;
    let id = session.agent_id(name);
    if !session.desired.agents.contains_key(&id) {
        return Err(CommandError::usage(format!("there is no agent `{name}`")).help("`claw status` lists the agents"));
    }
    let generation = session.vault.bump_gateway_token(&id)?;
    record(&session, &id, &format!("gateway token, generation {generation}"));
    done(format_args!("the gateway token of {name} is of generation {generation} now"));
    next(&["commit secrets/claw.toml", "claw apply"]);
    Ok(exit::DONE)
}

fn fleet_key(global: &Global, setup: &Setup) -> Outcome {
    super::announce_sandbox(global);
    let (fleet, vault) = session::fleet_and_vault(global, setup)?;
    let moved = vault.rotate_fleet_key(&session::recipients(&fleet, "claw")?, &setup::today())?;
    let detail = format!("the fleet key was replaced, {} values signed anew", moved.values);
    let audit = session::audit(global, setup, &fleet);
    audit.record(&claw_engine::audit::Deed { action: "keys", target: "claw", detail: &detail, ..Default::default() });
    let again = if moved.finished { "; this finished an earlier run" } else { "" };
    done(format_args!("the fleet has a new key, {} values are signed with it{again}", moved.values));
    for name in &moved.held {
        crate::render::out(format_args!("  {name} was held and stays so: `claw secret accept {name}`, or set it anew"));
    }
    next(&["commit secrets/", "claw apply, which gives every agent its new gateway token"]);
    Ok(exit::DONE)
}

fn record(session: &Session, target: &str, detail: &str) {
    session.audit.record(&claw_engine::audit::Deed { action: "keys", target, detail, ..Default::default() });
}

/// Returns who may read the reserved profile.
fn recipients(session: &Session) -> Result<Vec<claw_vault::Recipient>, CommandError> {
    session::recipients(&session.fleet, "claw")
}
