//! `claw sandbox`: the simulated world itself.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use claw_core::name::{Kind, ResourceId};
use claw_sim::Poke as EnginePoke;
use claw_sim::hetzner::{Handle, Poke};

use super::Outcome;
use crate::args::Global;
use crate::error::CommandError;
use crate::exit;
use crate::render;
use crate::session;
use crate::setup::Setup;
use crate::wiring::serve::Serving;
use crate::wiring::{self, CloudPoke};

/// Poke, serve or forget the simulated world
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
    /// Keep a simulated cloud up, for other clients
    Serve(Serve),
}

/// Keep a simulated cloud up, for other clients
///
/// The Hetzner Cloud's API on a port of this machine: `HCLOUD_ENDPOINT=http://127.0.0.1:8181/v1` leads hcloud and the
/// official libraries there. With a fleet file here that names a cloud, it is the sandbox's own project; else an empty one
/// that is forgotten in the end.
#[derive(Debug, Args)]
struct Serve {
    /// Where: an address of this machine itself.
    #[arg(long, default_value = "127.0.0.1:8181", value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// What is added to every answer: 50ms, 1s.
    #[arg(long, default_value = "0ms", value_parser = duration)]
    latency: Duration,
    /// Have requests go wrong: the seed, and how often each misfortune strikes, out of 1000.
    #[arg(long, value_name = "SEED:RATE", value_parser = faults)]
    faults: Option<(u64, u64)>,
    /// Begin with that many machines of somebody else's.
    #[arg(long, default_value_t = 0, value_name = "NUMBER")]
    scale: usize,
    /// Note every request in this file; - for standard error.
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// The cloud provider, where the fleet has several.
    #[arg(long)]
    provider: Option<String>,
}

fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let number: u64 = number.parse().map_err(|_| "write a number and ms or s: 50ms".to_owned())?;
    match unit {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        _ => Err("write a number and ms or s: 50ms".to_owned()),
    }
}

fn faults(text: &str) -> Result<(u64, u64), String> {
    let help = || "write a seed and a rate out of 1000: 7:20".to_owned();
    let (seed, rate) = text.split_once(':').ok_or_else(help)?;
    let rate: u64 = rate.parse().map_err(|_| help())?;
    if rate > 1000 {
        return Err("a rate is at most 1000 of 1000".to_owned());
    }
    Ok((seed.parse().map_err(|_| help())?, rate))
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
    /// Turn a machine off by hand, at its cloud
    PowerOff {
        /// The host.
        host: String,
    },
    /// Write a machine's disk anew by hand, at its cloud
    Rebuild {
        /// The host.
        host: String,
    },
    /// Take a firewall off all machines by hand
    Detach {
        /// The rule set: ssh.
        firewall: String,
    },
    /// Set the records of a name by hand; without values they go
    Record {
        /// The zone.
        zone: String,
        /// The name in it; @ for the zone itself.
        name: String,
        /// The type.
        kind: String,
        /// What it shall say.
        values: Vec<String>,
    },
    /// Have a size run out at the cloud: cx23@fsn1, cx23@*
    SellOut {
        /// Size and location.
        what: String,
    },
    /// Have it in stock again
    Restock {
        /// Size and location.
        what: String,
    },
    /// Have the cloud's token only read
    ReadOnly {
        /// Let it write again.
        #[arg(long)]
        off: bool,
    },
    /// Make a machine by hand that is nobody's
    Stranger {
        /// What it is called.
        name: String,
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
            SandboxCommand::Serve(serve) => serve.run(global, setup),
            SandboxCommand::Poke(poke) => {
                let text = poke.done(global, setup)?;
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

impl Serve {
    fn run(self, global: &Global, setup: &Setup) -> Outcome {
        if !self.listen.ip().is_loopback() {
            return Err(CommandError::usage(format!("{} is not an address of this machine itself", self.listen))
                .help("a simulated cloud lets everybody in: use 127.0.0.1:PORT"));
        }
        let project = match setup.fleet_file.exists() {
            true => own_project(global, setup, self.provider.as_deref())?,
            false => None,
        };
        let serving = Serving {
            listen: self.listen,
            latency: self.latency,
            faults: self.faults,
            scale: self.scale,
            log: self.log.as_deref(),
        };
        wiring::serve::run(&serving, project)
    }
}

/// Returns the sandbox's project of the fleet here, if it has one.
fn own_project(global: &Global, setup: &Setup, named: Option<&str>) -> Result<Option<Handle>, CommandError> {
    let (fleet, _) = session::fleet_and_vault(global, setup)?;
    let clouds: Vec<&str> = fleet.clouds().collect();
    let name = match (named, clouds.as_slice()) {
        (Some(name), _) => name.to_owned(),
        (None, []) => return Ok(None),
        (None, [only]) => (*only).to_owned(),
        (None, _) => {
            return Err(CommandError::usage("the fleet has several cloud providers").help("say which: --provider NAME"));
        }
    };
    wiring::simulated_cloud(&fleet, &name, &setup.state_folder(true)).map(Some)
}

impl PokeCommand {
    /// Does it, and returns what happened.
    fn done(self, global: &Global, setup: &Setup) -> Result<String, CommandError> {
        let name = |host: &str| -> Result<String, CommandError> {
            let (fleet, _) = session::fleet_and_vault(global, setup)?;
            let id = fleet.host_id(host).unwrap_or(host).to_owned();
            Ok(format!("claw-{}-{id}", fleet.meta.id))
        };
        let known = match self {
            Self::PowerOff { host } => CloudPoke::Known(Poke::PowerOff(name(&host)?)),
            Self::Rebuild { host } => CloudPoke::Known(Poke::Rebuild(name(&host)?)),
            Self::Remove { resource } if resource.kind == Kind::Server => {
                CloudPoke::Known(Poke::Delete(name(&resource.name)?))
            }
            Self::Detach { firewall } => CloudPoke::Known(Poke::Detach(name(&firewall)?)),
            Self::Record { zone, name, kind, values } => CloudPoke::Known(Poke::Records(zone, name, kind, values)),
            Self::SellOut { what } => CloudPoke::Known(Poke::SellOut(what)),
            Self::Restock { what } => CloudPoke::Known(Poke::Restock(what)),
            Self::ReadOnly { off } => CloudPoke::Known(Poke::ReadOnly(!off)),
            Self::Stranger { name } => CloudPoke::Stranger(name),
            other => {
                return other.meaning()?.apply(&session::world(setup)?).map_err(|error| {
                    CommandError::from_error(exit::FAILED, &error).help("`claw status --sandbox` lists what is there")
                });
            }
        };
        let project = own_project(global, setup, None)?;
        let project = project.ok_or_else(|| CommandError::usage("the fleet here has no cloud provider"))?;
        wiring::poke_cloud(&project, &known)
    }

    fn meaning(self) -> Result<EnginePoke, CommandError> {
        Ok(match self {
            Self::Kill { agent } => EnginePoke::Kill(agent),
            Self::Remove { resource } => EnginePoke::Remove(resource),
            Self::Set { resource, field, value } => {
                let json = serde_json::from_str(&value).unwrap_or_else(|_| value.clone().into());
                EnginePoke::Set(resource, field, json)
            }
            Self::Foreign { resource } => EnginePoke::Foreign(resource),
            Self::Fail { resource, times } => EnginePoke::Fail(resource, times),
            Self::Down { place } => EnginePoke::Down(place),
            Self::Up { place } => EnginePoke::Up(place),
            _ => return Err(CommandError::usage("that is done to a cloud")),
        })
    }
}
