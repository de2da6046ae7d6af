//! `claw sandbox`: the simulated world itself.

use clap::{Args, Subcommand};
use claw_core::name::ResourceId;
use claw_sim::Poke;

use super::Outcome;
use crate::args::Global;
use crate::error::CommandError;
use crate::exit;
use crate::render;
use crate::session;
use crate::setup::Setup;

/// Poke or forget the simulated world
///
/// Every command takes --sandbox and then works in a simulated world, kept in .claw/sandbox beside the fleet file.
#[derive(Debug, Args)]
pub struct Sandbox {
    #[command(subcommand)]
    command: SandboxCommand,
}

#[derive(Debug, Subcommand)]
enum SandboxCommand {
    /// Change something behind claw's back
    #[command(subcommand)]
    Poke(PokeCommand),
    /// Forget the simulated world
    Reset,
}

#[derive(Debug, Subcommand)]
enum PokeCommand {
    /// Kill an agent's gateway
    Kill {
        /// The agent.
        agent: String,
    },
    /// Remove a resource
    Remove {
        /// The resource: container/pete.
        resource: ResourceId,
    },
    /// Change a field of a resource by hand
    Set {
        /// The resource: config/pete.
        resource: ResourceId,
        /// The field: agents.defaults.model.primary.
        field: String,
        /// Its new value, JSON or text.
        value: String,
    },
    /// Put something without the fleet's mark in a resource's place
    Foreign {
        /// The resource.
        resource: ResourceId,
    },
    /// Have the next changes of a resource fail
    Fail {
        /// The resource.
        resource: ResourceId,
        /// How many.
        #[arg(default_value_t = 1)]
        times: u32,
    },
    /// Have an engine not answer
    Down {
        /// The provider.
        place: String,
    },
    /// Have an engine answer again
    Up {
        /// The provider.
        place: String,
    },
}

impl Sandbox {
    /// Runs it.
    pub fn run(self, global: &Global, setup: &Setup) -> Outcome {
        match self.command {
            SandboxCommand::Reset => {
                let folder = setup.state_folder(true);
                match std::fs::remove_dir_all(&folder) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        Err(CommandError::failed(format!("failed to remove {}: {error}", folder.display())))
                    }
                    _ => {
                        render::out("the simulated world is empty again");
                        Ok(exit::DONE)
                    }
                }
            }
            SandboxCommand::Poke(poke) => {
                let done = poke.meaning().apply(&session::world(setup)?);
                let text = done.map_err(|error| {
                    CommandError::from_error(exit::FAILED, &error).help("`claw status --sandbox` lists what is there")
                })?;
                if global.json {
                    render::json(&serde_json::json!({ "done": text }));
                } else {
                    render::out(text);
                }
                Ok(exit::DONE)
            }
        }
    }
}

impl PokeCommand {
    fn meaning(self) -> Poke {
        match self {
            Self::Kill { agent } => Poke::Kill(agent),
            Self::Remove { resource } => Poke::Remove(resource),
            Self::Set { resource, field, value } => {
                let json = serde_json::from_str(&value).unwrap_or_else(|_| value.clone().into());
                Poke::Set(resource, field, json)
            }
            Self::Foreign { resource } => Poke::Foreign(resource),
            Self::Fail { resource, times } => Poke::Fail(resource, times),
            Self::Down { place } => Poke::Down(place),
            Self::Up { place } => Poke::Up(place),
        }
    }
}
