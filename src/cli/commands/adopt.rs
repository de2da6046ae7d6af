//! `claw adopt`: machines of a cloud project that are not the fleet's, and how one becomes it.

use clap::{Args, Subcommand};
use claw_core::compile::is_id;
use claw_core::fleet::Fleet;
use claw_core::ssh::PublicKey;
use claw_core::text::clean;
use claw_engine::load;
use serde_json::json;

use super::Outcome;
use crate::args::Global;
use crate::error::CommandError;
use crate::exit;
use crate::render::{self, style, table};
use crate::session::Checked;
use crate::setup::Setup;
use crate::wiring::{self, Stranger};

/// Take a machine that exists at a cloud into the fleet
///
/// `claw adopt --list` shows what is in the project without this fleet's mark. `claw adopt server NAME --host-key KEY` puts
/// the mark on a machine and its addresses and prints the lines for the fleet file; nothing on the machine is changed before
/// the next apply, whose plan says what that would do.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, arg_required_else_help = true)]
pub struct Adopt {
    /// Show what could be adopted.
    #[arg(long)]
    list: bool,
    /// The cloud provider; needed where the fleet has several.
    #[arg(long)]
    provider: Option<String>,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// A machine
    Server {
        /// What it is called at the cloud.
        name: String,
        /// Its ssh-ed25519 host key: what /etc/ssh/ssh_host_ed25519_key.pub on it says. claw trusts no key on first use.
        #[arg(long, value_name = "KEY")]
        host_key: PublicKey,
        /// What the fleet shall call the host; its name at the cloud unless given.
        #[arg(long = "as", value_name = "NAME")]
        host: Option<String>,
        /// The cloud provider; needed where the fleet has several.
        #[arg(long)]
        provider: Option<String>,
    },
}

impl Adopt {
    /// Runs it.
    pub fn run(self, global: &Global, setup: &Setup) -> Outcome {
        let checked = Checked::of(load::fleet_files(&setup.fleet_file), global, setup)?;
        super::announce_sandbox(global);
        match self.what {
            None => list(&checked, self.provider.as_deref(), global, setup),
            Some(What::Server { name, host_key, host, provider }) => {
                let host = host.unwrap_or_else(|| name.clone());
                let provider = provider.or(self.provider);
                adopt(&checked, provider.as_deref(), (&name, &host_key, &host), global, setup)
            }
        }
    }
}

/// Returns the provider that is meant.
fn cloud(fleet: &Fleet, named: Option<&str>) -> Result<String, CommandError> {
    let clouds: Vec<&str> = fleet.clouds().collect();
    match (named, clouds.as_slice()) {
        (Some(name), _) if fleet.cloud(name).is_some() => Ok(name.to_owned()),
        (Some(name), _) => Err(CommandError::usage(format!("there is no cloud provider `{name}`"))
            .help("declare it in the fleet file: [providers.hetzner]")),
        (None, [only]) => Ok((*only).to_owned()),
        (None, []) => Err(CommandError::usage("the fleet has no cloud provider")
            .help("declare one in the fleet file: [providers.hetzner]")),
        (None, _) => {
            Err(CommandError::usage("the fleet has several cloud providers").help("say which: --provider NAME"))
        }
    }
}

fn list(checked: &Checked, provider: Option<&str>, global: &Global, setup: &Setup) -> Outcome {
    let provider = cloud(&checked.fleet, provider)?;
    let project = wiring::project(&checked.fleet, &provider, setup, checked.vault(), global.sandbox)?;
    let found = super::wait(project.strangers())?.map_err(CommandError::from_step)?;
    if global.json {
        let rows: Vec<_> = found.iter().map(to_json).collect();
        render::json(&json!({ "provider": provider, "servers": rows }));
        return Ok(exit::DONE);
    }
    if found.is_empty() {
        render::out(format_args!("every machine in {provider} is this fleet's"));
        return Ok(exit::DONE);
    }
    let row = |one: &Stranger| {
        let of = one.fleet.as_ref().map(|fleet| format!("of fleet {}", clean(fleet, 40))).unwrap_or_default();
        let text = |text: &str| clean(text, 80);
        let address = one.address.as_deref().map(text).unwrap_or_default();
        vec![text(&one.name), text(&one.size), text(&one.location), address, of]
    };
    let rows: Vec<_> = found.iter().map(row).collect();
    render::out(table::draw(&["SERVER", "SIZE", "LOCATION", "ADDRESS", ""], &rows));
    render::out("\n`claw adopt server NAME --host-key \"ssh-ed25519 …\"` takes one in");
    Ok(exit::DONE)
}

fn adopt(
    checked: &Checked,
    provider: Option<&str>,
    (name, host_key, host): (&str, &PublicKey, &str),
    global: &Global,
    setup: &Setup,
) -> Outcome {
    let fleet = &checked.fleet;
    let provider = cloud(fleet, provider)?;
    if !is_id(host) {
        return Err(CommandError::usage(format!("`{}` cannot be a host's name", clean(host, 80)))
            .help("choose one with --as: up to 32 lower-case letters, digits and dashes, a letter first"));
    }
    if fleet.agents.contains_key(host) && !fleet.is_own(host) {
        return Err(CommandError::usage(format!("`{host}` is an agent")).help("choose another name with --as"));
    }
    let project = wiring::project(fleet, &provider, setup, checked.vault(), global.sandbox)?;
    let pin = wiring::pin_label(host_key);
    let taken = super::wait(project.adopt(name, host, &pin))?.map_err(CommandError::from_step)?;
    let lines = lines(&provider, host, &taken);
    if global.json {
        render::json(&json!({ "provider": provider, "host": host, "server": to_json(&taken), "lines": lines }));
        return Ok(exit::DONE);
    }
    let sign = style::paint(style::GREEN, "✓");
    render::out(format_args!("{sign} {} carries this fleet's mark, as host {host}", clean(name, 80)));
    if fleet.hosts.contains_key(host) {
        render::out("\nNext: `claw plan` says what the fleet file would change on it");
    } else {
        render::out(format_args!("\nAdd it to the fleet file, or the next plan asks to remove it:\n\n{lines}"));
        render::out("Then `claw plan` says what that would change on it. claw logs in with your own key first.");
    }
    Ok(exit::DONE)
}

/// Returns the lines that say in a fleet file what the machine is.
fn lines(provider: &str, host: &str, server: &Stranger) -> String {
    let mut document = toml_edit::DocumentMut::new();
    let mut table = toml_edit::Table::new();
    table.insert("on", toml_edit::value(provider));
    table.insert("size", toml_edit::value(&server.size));
    table.insert("location", toml_edit::value(&server.location));
    if let Some(image) = &server.image {
        table.insert("image", toml_edit::value(image));
    }
    let mut hosts = toml_edit::Table::new();
    hosts.set_implicit(true);
    hosts.insert(host, toml_edit::Item::Table(table));
    document.insert("hosts", toml_edit::Item::Table(hosts));
    document.to_string()
}

fn to_json(one: &Stranger) -> serde_json::Value {
    json!({
        "name": one.name, "size": one.size, "location": one.location, "image": one.image, "address": one.address,
        "fleet": one.fleet,
    })
}
