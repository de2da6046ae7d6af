//! What can be typed. The doc comments are the help; each command's own words stand in its file.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::commands;

/// Keeps a fleet of OpenClaw agents exactly as a git-reviewed fleet.toml says.
///
/// `claw plan` shows the difference between the file and the world, `claw apply` removes it, `claw drift` watches that it
/// stays removed. Add --sandbox to any command to try it in a simulated world.
#[derive(Debug, Parser)]
#[command(name = "claw", version, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    /// What holds for every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What holds for every command.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// Work in this folder.
    #[arg(short = 'C', long = "directory", global = true, value_name = "FOLDER")]
    pub folder: Option<PathBuf>,
    /// The fleet file.
    #[arg(short = 'f', long, global = true, default_value = "fleet.toml", value_name = "FILE")]
    pub fleet: PathBuf,
    /// Use the built-in simulated world in .claw/sandbox instead of the real one.
    #[arg(long, global = true)]
    pub sandbox: bool,
    /// Print facts as JSON.
    #[arg(long, global = true)]
    pub json: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    Init(commands::init::Init),
    New(Box<commands::new::New>),
    Check(commands::check::Check),
    Plan(commands::plan::PlanArgs),
    Apply(commands::apply::Apply),
    Drift(commands::drift::Drift),
    Diff(commands::diff::Diff),
    Destroy(commands::destroy::Destroy),
    Status(commands::status::Status),
    Show(commands::show::Show),
    Cost(commands::cost::CostArgs),
    Adopt(commands::adopt::Adopt),
    Graph(commands::graph::Graph),
    Schema(commands::schema::Schema),
    Secret(commands::secret::Secret),
    Identity(commands::identity::IdentityArgs),
    Ssh(commands::exec::Ssh),
    Exec(commands::exec::Exec),
    Logs(commands::logs::Logs),
    Cp(commands::cp::Cp),
    Tunnel(commands::tunnel::Tunnel),
    Chat(commands::chat::Chat),
    /// Restart gateways by hand, and wait until they are healthy
    Restart(commands::power::Named),
    /// Start gateways by hand, and wait until they are healthy
    Start(commands::power::Named),
    /// Stop gateways by hand
    Stop(commands::power::Named),
    Health(commands::health::Health),
    Rotate(commands::rotate::Rotate),
    History(commands::history::History),
    Sandbox(commands::sandbox::Sandbox),
    Completions(commands::completions::Completions),
}
