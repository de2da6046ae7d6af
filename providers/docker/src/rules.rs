//! What an agent on an engine consists of, and what a change to it costs. Looks at nothing.

use std::collections::BTreeMap;

use claw_core::desired::Resource;
use claw_core::fleet::ResourcesTable;
use claw_core::name::{Address, Kind, ResourceId};
use claw_core::plan::Effect;
use claw_core::problem::Problem;
use claw_core::provider::{AgentSpec, Rules};
use claw_core::text::memory_mib;
use claw_core::value::{Change, Fields, SecretValue, Value};
use claw_openclaw::{catalog, config, layout};
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

/// The hardening every gateway gets. A new number makes new containers.
pub const HARDENING: &str = "1";
/// The memory of an agent that does not say: OpenClaw's own figure, and 1 GiB is too little.
const MEMORY_DEFAULT: &str = "2GiB";
/// The cores of an agent that does not say.
const CPUS_DEFAULT: f64 = 2.0;
/// Beginnings of variables that load code into the gateway, or lead it to other files.
const RISKY: [&str; 6] = ["LD_", "NODE_EXTRA_CA", "NODE_OPTIONS", "NODE_PATH", "NODE_TLS", "OPENCLAW_"];
/// Below this OpenClaw does not start, in MiB.
const MEMORY_MIB_MIN: u64 = 64;
/// The largest workspace claw seeds, in bytes: it travels through the engine's API whole.
const WORKSPACE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The rules of Docker engines.
#[derive(Clone, Copy, Debug, Default)]
pub struct DockerRules;

impl Rules for DockerRules {
    fn declare(&self, spec: AgentSpec<'_>) -> Result<Vec<(ResourceId, Resource)>, Vec<Problem>> {
        let mut problems = Vec::new();
        let container = container_fields(spec, &mut problems);
        check_workspace(spec, &mut problems);
        let rendered = match config::render(spec) {
            Ok(rendered) => rendered,
            Err(found) => {
                problems.extend(found);
                return Err(problems);
            }
        };
        if !problems.is_empty() {
            return Err(problems);
        }
        let config = rendered.config.into_iter().map(|(key, value)| (key, Value::from(value))).collect();
        let secrets = rendered.secrets.into_iter().map(|(key, source)| {
            (key, Value::Secret(Box::new(SecretValue { source: Some(source), fingerprint: None })))
        });
        let mut kinds: Vec<(Kind, Fields)> = vec![
            (Kind::Network, fields([("driver", "bridge".into())])),
            (Kind::Volume, ["state", "config", "secrets"].map(|name| (name.to_owned(), "present".into())).into()),
            (Kind::Anchor, fields([("prepared", true.into())])),
            (Kind::Secrets, secrets.collect()),
            (Kind::Config, config),
            (Kind::Container, container),
        ];
        if !spec.seeds.is_empty() {
            kinds.push((
                Kind::Workspace,
                spec.seeds.iter().map(|(path, bytes)| (path.clone(), digest(bytes).into())).collect(),
            ));
        }
        let declared: Vec<Kind> = kinds.iter().map(|(kind, _)| *kind).collect();
        Ok(kinds.into_iter().map(|(kind, fields)| resource(spec, kind, fields, &declared)).collect())
    }

    fn weigh(&self, id: &ResourceId, changes: &[Change]) -> Effect {
        match id.kind {
            // its state is gone: an empty one in its place is a loss that somebody has to allow
            Kind::Volume if changes.iter().any(|change| change.path == "state") => Effect::Replace,
            Kind::Secrets => Effect::Hot,
            Kind::Config => {
                changes.iter().map(|change| catalog::reload_effect(&change.path)).max().unwrap_or(Effect::None)
            }
            Kind::Container if changes.iter().all(|change| change.path == "unfinished") => Effect::None,
            Kind::Container
                if changes.iter().all(|change| ["status", "unfinished"].contains(&change.path.as_str())) =>
            {
                Effect::Restart
            }
            Kind::Container => Effect::Replace,
            _ => Effect::None,
        }
    }
}

fn resource(spec: AgentSpec<'_>, kind: Kind, fields: Fields, declared: &[Kind]) -> (ResourceId, Resource) {
    let needs = kind
        .needs()
        .iter()
        .filter(|need| declared.contains(need))
        .map(|need| Address { id: ResourceId::new(*need, spec.id), place: spec.place.to_owned() });
    let files = if kind == Kind::Workspace { spec.seeds.clone() } else { BTreeMap::new() };
    (ResourceId::new(kind, spec.id), Resource { fields, needs: needs.collect(), files, of: None })
}

fn fields<const N: usize>(pairs: [(&str, Value); N]) -> Fields {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// Returns the digest a file is known by.
pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", HEXLOWER.encode(&Sha256::digest(bytes)))
}

fn container_fields(spec: AgentSpec<'_>, problems: &mut Vec<Problem>) -> Fields {
    let at = |field: &str| spec.fleet.agent_field(spec.key, field);
    let image = image(spec, problems);
    let ResourcesTable { memory, cpus } = &spec.table.resources;
    let memory = memory.as_deref().unwrap_or(MEMORY_DEFAULT);
    let mebibytes = memory_mib(memory).filter(|mib| *mib >= MEMORY_MIB_MIN);
    if mebibytes.is_none() {
        problems.push(
            Problem::error("memory", format!("`{memory}` is not an amount of memory an agent can have"))
                .at(at("resources"))
                .help(format!("write whole MiB or GiB, {MEMORY_MIB_MIN}MiB at least: \"2GiB\"")),
        );
    }
    let cpus = cpus.unwrap_or(CPUS_DEFAULT);
    if !(0.01..=1024.0).contains(&cpus) {
        problems.push(
            Problem::error("cpus", format!("{cpus} is not a number of cores an agent can have"))
                .at(at("resources"))
                .help("write 0.01 to 1024"),
        );
    }
    for name in spec.table.env.keys() {
        check_variable(spec, name, problems);
    }
    let env = spec.table.env.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str())));
    let mut all = fields([
        ("image", image.into()),
        ("memory", show_memory(mebibytes.unwrap_or_default()).into()),
        ("cpus", show_cpus(nano_cpus(cpus)).into()),
        ("env", Value::map(env)),
        ("hardening", HARDENING.into()),
        ("status", "healthy".into()),
    ]);
    if let Some(port) = spec.table.port {
        if port < 1024 {
            let problem = Problem::error("port", format!("port {port} is reserved for the system"));
            problems.push(problem.at(at("port")).help("take 1024 or above, or leave it out and the engine picks one"));
        }
        all.insert("port".to_owned(), u64::from(port).into());
    }
    all
}

fn image(spec: AgentSpec<'_>, problems: &mut Vec<Problem>) -> String {
    let at = |field: &str| spec.fleet.agent_field(spec.key, field);
    match (&spec.table.image, &spec.table.version) {
        (Some(image), _) => {
            let last = image.rsplit('/').next().unwrap_or_default();
            if image.contains(char::is_whitespace) || !(last.contains(':') || last.contains('@')) {
                problems.push(
                    Problem::error("image", format!("`{image}` does not say which version"))
                        .at(at("image"))
                        .help("pin it with a tag or a digest: \"registry.example/openclaw:2026.9.6\""),
                );
            } else if last.ends_with(":latest") {
                problems.push(
                    Problem::error("image", "`:latest` is another image every week")
                        .at(at("image"))
                        .help("pin a version, or a digest"),
                );
            }
            image.clone()
        }
        (None, Some(version)) => {
            if version == "latest"
                || version.is_empty()
                || !version.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
            {
                problems.push(
                    Problem::error("version", format!("`{version}` is not an OpenClaw version"))
                        .at(at("version"))
                        .help("pin one: version = \"2026.9.6\""),
                );
            }
            format!("{}:{version}", layout::IMAGE)
        }
        (None, None) => {
            problems.push(
                Problem::error("missing-key", format!("agent `{}` has no `version`", spec.key))
                    .at(at("version"))
                    .help("pin the OpenClaw it runs: version = \"2026.9.6\", or `image` with a full reference"),
            );
            String::new()
        }
    }
}

fn check_variable(spec: AgentSpec<'_>, name: &str, problems: &mut Vec<Problem>) {
    let path = ["agents", spec.key, "env", name];
    let at = spec.fleet.tree.key(&path).or_else(|| spec.fleet.agent_field(spec.key, "env"));
    let value = spec.table.env.get(name).map(String::as_str).unwrap_or_default();
    let valid = !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !name.starts_with(|c: char| c.is_ascii_digit());
    if !valid || value.contains(['\n', '\0']) {
        problems.push(Problem::error("env", format!("`{name}` is not a variable a container can have")).at(at.clone()));
    }
    if layout::ENVIRONMENT.iter().any(|(own, _)| *own == name) {
        let problem = Problem::error("env", format!("`{name}` is set by claw")).at(at.clone());
        problems.push(problem.help("remove it"));
    }
    if RISKY.iter().any(|risky| name.starts_with(risky)) && !layout::ENVIRONMENT.iter().any(|(own, _)| *own == name) {
        let problem = Problem::error("env", format!("`{name}` would change what runs in the container")).at(at.clone());
        problems.push(
            problem.help("remove it: whoever edits the fleet file must not load code beside the agent's secrets"),
        );
    }
    if value.starts_with("secret:") {
        problems.push(
            Problem::error("env", format!("`{name}` would put a secret into the container's environment"))
                .at(at)
                .help("anyone who can inspect the container reads its environment, and so does every tool of the agent; refer to the secret in `settings`"),
        );
    }
}

fn check_workspace(spec: AgentSpec<'_>, problems: &mut Vec<Problem>) {
    let bytes: usize = spec.seeds.values().map(|content| content.len()).sum();
    if bytes > WORKSPACE_BYTES_MAX {
        problems.push(
            Problem::error("workspace", format!("the workspace has {} MiB", bytes / 1024 / 1024))
                .at(spec.fleet.agent_field(spec.key, "workspace"))
                .help("claw seeds up to 16 MiB; fetch large files from inside the agent"),
        );
    }
}

/// Returns an amount of MiB in the largest whole unit.
pub fn show_memory(mebibytes: u64) -> String {
    if mebibytes.is_multiple_of(1024) { format!("{}GiB", mebibytes / 1024) } else { format!("{mebibytes}MiB") }
}

/// Returns cores in billionths, rounded: what is cut off instead comes back as another number.
pub fn nano_cpus(cores: f64) -> i64 {
    (cores * 1e9).round() as i64
}

/// Returns billionths of a core as cores.
pub fn show_cpus(nano: i64) -> String {
    format!("{}", nano as f64 / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_of_memory_are_whole_and_have_a_unit() {
        assert_eq!(memory_mib("2GiB").map(show_memory), Some("2GiB".into()));
        assert_eq!(memory_mib("1536MiB").map(show_memory), Some("1536MiB".into()));
        assert_eq!(memory_mib("2048MiB").map(show_memory), Some("2GiB".into()));
        assert_eq!(memory_mib("2"), None);
        assert_eq!(memory_mib("2GB"), None);
    }

    #[test]
    fn cores_survive_the_way_through_the_engine() {
        assert_eq!(show_cpus(2_000_000_000), "2");
        assert_eq!(show_cpus(500_000_000), "0.5");
        for hundredths in 1..6_400 {
            let shown = show_cpus(nano_cpus(f64::from(hundredths) / 100.0));
            let back = show_cpus(nano_cpus(shown.parse().unwrap_or_default()));
            assert_eq!(shown, back);
        }
    }
}
