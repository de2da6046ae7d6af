//! Between claw's fields and the engine's bodies, both ways. Calls nothing.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, HostConfig, HostConfigLogConfig, Mount, MountType, PortBinding,
    RestartPolicy, RestartPolicyNameEnum,
};
use claw_core::value::{Fields, Value};
use claw_openclaw::layout;

use crate::names::{ENV_LABEL, HARDENING_LABEL, Names, Role};
use crate::rules::{nano_cpus, show_cpus, show_memory};

/// How long a gateway may take to stop, in seconds: OpenClaw drains busy turns for up to 315.
pub const STOP_SECONDS: i64 = 330;
const PIDS_MAX: i64 = 512;
const MEBIBYTE: i64 = 1024 * 1024;

/// Returns the body that creates an agent's gateway.
pub fn gateway_body(names: &Names, fields: &Fields) -> ContainerCreateBody {
    let text = |key: &str| fields.get(key).and_then(Value::as_text).unwrap_or_default().to_owned();
    let own_env = text_map(fields.get("env"));
    let mut env: BTreeMap<String, String> =
        layout::ENVIRONMENT.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    env.extend(own_env.clone());
    let mut labels = names.labels(Role::Gateway);
    labels.insert(HARDENING_LABEL.to_owned(), text("hardening"));
    labels.insert(ENV_LABEL.to_owned(), own_env.keys().cloned().collect::<Vec<_>>().join(","));
    let port = match fields.get("port") {
        Some(Value::Number(port)) => port.to_string(),
        _ => String::new(),
    };
    let binding = PortBinding { host_ip: Some("127.0.0.1".to_owned()), host_port: Some(port) };
    let container_port = format!("{}/tcp", layout::GATEWAY_PORT);
    ContainerCreateBody {
        // a killed gateway's lease on its state is only taken over at once by one with the same host name
        hostname: Some(names.agent().to_owned()),
        image: Some(text("image")),
        cmd: Some(layout::COMMAND.map(str::to_owned).to_vec()),
        user: Some(format!("{0}:{0}", layout::UID)),
        env: Some(env.into_iter().map(|(key, value)| format!("{key}={value}")).collect()),
        labels: Some(labels),
        exposed_ports: Some(vec![container_port.clone()]),
        stop_timeout: Some(STOP_SECONDS),
        host_config: Some(HostConfig {
            mounts: Some(vec![
                mount(names, Role::State, layout::STATE, false),
                mount(names, Role::Config, layout::CONFIG, true),
                mount(names, Role::Secrets, layout::SECRETS, true),
            ]),
            network_mode: Some(names.of(Role::Network)),
            port_bindings: Some([(container_port, Some(vec![binding]))].into()),
            cap_drop: Some(vec!["ALL".to_owned()]),
            security_opt: Some(vec!["no-new-privileges:true".to_owned()]),
            readonly_rootfs: Some(true),
            tmpfs: Some([("/tmp".to_owned(), "rw,nosuid,nodev,size=256m,mode=1777".to_owned())].into()),
            init: Some(true),
            pids_limit: Some(PIDS_MAX),
            memory: Some(parse_memory(&text("memory"))),
            nano_cpus: Some(nano_cpus(text("cpus").parse().unwrap_or_default())),
            restart_policy: Some(RestartPolicy {
                name: Some(RestartPolicyNameEnum::UNLESS_STOPPED),
                maximum_retry_count: None,
            }),
            log_config: Some(HostConfigLogConfig {
                typ: Some("json-file".to_owned()),
                config: Some(
                    [("max-size", "10m"), ("max-file", "3")]
                        .map(|(key, value)| (key.to_owned(), value.to_owned()))
                        .into(),
                ),
            }),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    }
}

/// Returns the body of the anchor. Its root stays writable: only so can the owner of a volume's root be set through it.
pub fn anchor_body(names: &Names, image: &str) -> ContainerCreateBody {
    ContainerCreateBody {
        image: Some(image.to_owned()),
        cmd: Some(vec!["true".to_owned()]),
        labels: Some(names.labels(Role::Anchor)),
        host_config: Some(HostConfig {
            mounts: Some(vec![
                mount(names, Role::State, layout::STATE, false),
                mount(names, Role::Config, layout::CONFIG, false),
                mount(names, Role::Secrets, layout::SECRETS, false),
            ]),
            network_mode: Some("none".to_owned()),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    }
}

/// Returns the body of a one-shot container that runs a script as root over the agent's volumes, without a network.
pub fn helper_body(names: &Names, image: &str, script: &str, aside: bool) -> ContainerCreateBody {
    let mut body = anchor_body(names, image);
    body.labels = Some(names.labels(Role::Helper));
    body.entrypoint = Some(vec!["/bin/sh".to_owned(), "-c".to_owned()]);
    body.cmd = Some(vec![script.to_owned()]);
    body.user = Some("0:0".to_owned());
    body.env =
        Some(vec!["HOME=/tmp".to_owned(), "OPENCLAW_STATE_DIR=/tmp/state".to_owned(), "OPENCLAW_OFFLINE=1".to_owned()]);
    if let Some(host) = &mut body.host_config {
        host.cap_drop = Some(vec!["ALL".to_owned()]);
        host.cap_add = Some(["CHOWN", "DAC_OVERRIDE", "FOWNER"].map(str::to_owned).to_vec());
        host.security_opt = Some(vec!["no-new-privileges:true".to_owned()]);
        host.pids_limit = Some(PIDS_MAX);
        if aside && let Some(mounts) = &mut host.mounts {
            mounts.push(mount(names, Role::Aside, "/claw/aside", false));
        }
    }
    body
}

fn mount(names: &Names, role: Role, target: &str, read_only: bool) -> Mount {
    Mount {
        typ: Some(MountType::VOLUME),
        source: Some(names.of(role)),
        target: Some(target.to_owned()),
        read_only: Some(read_only),
        ..Mount::default()
    }
}

/// Returns a gateway's fields as `rules` writes them, but for `status`.
pub fn gateway_fields(inspect: &ContainerInspectResponse) -> Fields {
    let config = inspect.config.as_ref();
    let host = inspect.host_config.as_ref();
    let labels = config.and_then(|config| config.labels.clone()).unwrap_or_default();
    let label = |key: &str| labels.get(key).map(String::as_str).unwrap_or_default();
    let env: HashMap<&str, &str> = config
        .and_then(|config| config.env.as_deref())
        .unwrap_or_default()
        .iter()
        .filter_map(|pair| pair.split_once('='))
        .collect();
    let own = label(ENV_LABEL)
        .split(',')
        .filter(|name| !name.is_empty())
        .filter_map(|name| env.get(name).map(|value| (name.to_owned(), Value::from(*value))));
    let memory = host.and_then(|host| host.memory).unwrap_or_default();
    let mut fields = Fields::from([
        ("image".to_owned(), config.and_then(|config| config.image.clone()).unwrap_or_default().into()),
        ("memory".to_owned(), show_memory(u64::try_from(memory / MEBIBYTE).unwrap_or_default()).into()),
        ("cpus".to_owned(), show_cpus(host.and_then(|host| host.nano_cpus).unwrap_or_default()).into()),
        ("env".to_owned(), Value::map(own)),
        ("hardening".to_owned(), label(HARDENING_LABEL).into()),
    ]);
    if let Some(port) = wanted_port(inspect) {
        fields.insert("port".to_owned(), u64::from(port).into());
    }
    fields
}

/// Returns the host port the container asks for; `None` when the engine picks.
fn wanted_port(inspect: &ContainerInspectResponse) -> Option<u16> {
    let bindings = inspect.host_config.as_ref()?.port_bindings.as_ref()?;
    first_port(bindings).filter(|port| *port != 0)
}

/// Returns the host port a running gateway is reached at.
pub fn published_port(inspect: &ContainerInspectResponse) -> Option<u16> {
    first_port(inspect.network_settings.as_ref()?.ports.as_ref()?)
}

fn first_port(ports: &HashMap<String, Option<Vec<PortBinding>>>) -> Option<u16> {
    let bindings = ports.get(&format!("{}/tcp", layout::GATEWAY_PORT))?.as_ref()?;
    bindings.iter().find_map(|binding| binding.host_port.as_ref()?.parse().ok())
}

fn text_map(value: Option<&Value>) -> BTreeMap<String, String> {
    match value {
        Some(Value::Map(map)) => {
            map.iter().filter_map(|(key, value)| Some((key.clone(), value.as_text()?.to_owned()))).collect()
        }
        _ => BTreeMap::new(),
    }
}

fn parse_memory(text: &str) -> i64 {
    let unit = if text.ends_with("GiB") { 1024 * MEBIBYTE } else { MEBIBYTE };
    text.trim_end_matches(|c: char| !c.is_ascii_digit()).parse::<i64>().unwrap_or_default() * unit
}
