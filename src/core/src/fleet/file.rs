//! The fleet file's shape. The doc comments are the schema's descriptions; nothing here checks a value.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

/// A fleet of OpenClaw agents.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FleetFile {
    /// What the fleet is called and who may read its secrets. Only in the main file.
    pub fleet: Option<FleetTable>,
    /// What every agent and every host has unless it says otherwise.
    #[serde(default)]
    pub defaults: DefaultsTable,
    /// Where agents can run, by a name of your choice.
    #[serde(default)]
    pub providers: BTreeMap<String, ProviderTable>,
    /// Secret profiles that have recipients of their own: `secrets/<name>.toml`.
    #[serde(default)]
    pub secrets: BTreeMap<String, ProfileTable>,
    /// Machines that agents run on, by a name of your choice.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, HostTable>")]
    pub hosts: BTreeMap<String, Json>,
    /// How machines are logged in to, and who may.
    #[serde(default)]
    pub ssh: SshTable,
    /// DNS zones, by name: where they are served and what stands in them besides the agents' own names.
    #[serde(default)]
    pub dns: BTreeMap<String, ZoneTable>,
    /// Limits on what one apply may do.
    #[serde(default)]
    pub policy: PolicyTable,
    /// How changes reach running agents: some first, never too many at once.
    #[serde(default)]
    pub rollout: RolloutTable,
    /// The agents, by name.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, AgentTable>")]
    pub agents: BTreeMap<String, Json>,
}

/// What every agent and every host has unless it says otherwise.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DefaultsTable {
    /// Any key of an agent. Tables merge; arrays and values are replaced by the agent's own.
    #[serde(default)]
    #[schemars(with = "AgentTable")]
    pub agent: Map<String, Json>,
    /// Any key of a host. Tables merge; arrays and values are replaced by the host's own.
    #[serde(default)]
    #[schemars(with = "HostTable")]
    pub host: Map<String, Json>,
}

/// What the fleet is called and who may read its secrets.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FleetTable {
    /// A name for people.
    pub name: String,
    /// The ownership mark: 4 to 12 lower-case letters and digits, random, written by `claw init`. Never change it.
    pub id: String,
    /// Who can read secrets: age recipients (`age1…`), ssh-ed25519 or ssh-rsa public keys.
    #[serde(default)]
    pub recipients: Vec<String>,
    /// More files of the same shape, as patterns relative to this file.
    #[serde(default)]
    pub include: Vec<String>,
    /// How long `claw history` keeps what was done: `"90d"` by default.
    pub history: Option<String>,
}

/// A place where agents can run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProviderTable {
    /// What it is; the provider's own name where that is a kind.
    pub kind: Option<ProviderKind>,
    /// How a Docker engine is reached: `unix:///path/to/docker.sock`. Without it: `DOCKER_HOST`, else the usual socket.
    pub endpoint: Option<String>,
    /// Where a cloud's API token is: `"env:NAME"`, or `"secret:PROFILE/KEY"`. `"env:HCLOUD_TOKEN"` for Hetzner unless given.
    pub token: Option<String>,
}

/// The kinds of provider there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProviderKind {
    /// A Docker engine, 20.10 or newer.
    Docker,
    /// A project of the Hetzner Cloud: servers and DNS zones.
    Hetzner,
}

impl ProviderKind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::Docker, Self::Hetzner];

    /// Returns the word for it, which is also the name a provider of it has unless it says otherwise.
    pub fn word(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Hetzner => "hetzner",
        }
    }

    /// Whether it makes machines.
    pub fn is_cloud(self) -> bool {
        self == Self::Hetzner
    }

    /// Whether it serves DNS zones.
    pub fn has_zones(self) -> bool {
        self == Self::Hetzner
    }
}

/// A DNS zone and what stands in it besides the agents' own names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ZoneTable {
    /// The provider that serves it.
    pub provider: Option<String>,
    /// How long answers are kept, in seconds, unless a record says otherwise: 300 by default.
    pub ttl: Option<u32>,
    /// Records besides those that `domain` makes.
    #[serde(default)]
    pub records: Vec<RecordTable>,
}

/// A set of records with one name and type.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RecordTable {
    /// The name within the zone: `"www"`, `"@"` for the zone itself, `"*"` for any.
    pub name: String,
    /// What kind of records.
    #[serde(rename = "type")]
    pub kind: RecordKind,
    /// What they say, as in a zone file: `["10 mail.example.org."]`. TXT texts stand without quotes.
    pub values: Vec<String>,
    /// How long answers are kept, in seconds.
    pub ttl: Option<u32>,
}

/// The kinds of DNS record claw writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "they are the names of DNS")]
pub enum RecordKind {
    #[default]
    A,
    Aaaa,
    Cname,
    Txt,
    Mx,
    Srv,
    Caa,
}

impl RecordKind {
    /// Returns its name in DNS.
    pub fn word(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::Aaaa => "AAAA",
            Self::Cname => "CNAME",
            Self::Txt => "TXT",
            Self::Mx => "MX",
            Self::Srv => "SRV",
            Self::Caa => "CAA",
        }
    }
}

/// One text, or several in the order of preference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Preferred {
    /// Just this one.
    One(String),
    /// The first that can be had.
    AnyOf(Vec<String>),
}

impl JsonSchema for Preferred {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Preferred".into()
    }

    // not `anyOf`, in which the place of a mistake is lost
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "array"], "items": { "type": "string" } })
    }
}

impl Preferred {
    /// Returns them, the best first.
    pub fn texts(&self) -> &[String] {
        match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::AnyOf(texts) => texts,
        }
    }
}

/// How machines are logged in to, and who may.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SshTable {
    /// The addresses that may log in, as `192.0.2.7` or `203.0.113.0/24`; from anywhere unless given.
    #[serde(default)]
    pub allow_from: Vec<String>,
    /// How old claw's control key may become before plan and drift ask for a new one: `"90d"`.
    pub rotate_every: Option<String>,
    /// People who may log in, by name: their ssh-ed25519 public keys.
    #[serde(default)]
    pub operators: BTreeMap<String, String>,
    /// The machine through which the others are reached.
    pub jump: Option<JumpTable>,
}

/// A machine through which others are reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JumpTable {
    /// Its name or address.
    pub address: String,
    /// Its SSH port, 22 by default.
    pub port: Option<u16>,
    /// Who logs in there; `root` by default.
    pub user: Option<String>,
    /// Its host key: what `ssh-keyscan -t ed25519 ADDRESS` prints, compared with what the machine itself says.
    pub host_key: String,
}

/// A machine that agents run on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HostTable {
    /// What it is known by; the table's key unless given. Keep it when you rename the table.
    pub id: Option<String>,
    /// How claw comes by it: `"ssh"`, a machine that already exists, or a cloud provider, which makes it.
    pub on: Option<String>,
    /// Its size at the cloud, or several of which the first that can be had is taken: `["cx23", "cpx22"]`. One of them
    /// that it already has stays.
    pub size: Option<Preferred>,
    /// Where the cloud makes it: `"fsn1"`.
    pub location: Option<String>,
    /// The system it begins with: `"debian-12"` by default.
    pub image: Option<String>,
    /// Its name or address.
    pub address: Option<String>,
    /// Its SSH port, 22 by default.
    pub port: Option<u16>,
    /// Who logs in: root, or somebody who may use sudo without a password. `root` by default.
    pub user: Option<String>,
    /// Its ssh-ed25519 host key. claw trusts no key on first use.
    pub host_key: Option<String>,
    /// The host key it is moving to; written by `claw rotate host-key`.
    pub host_key_next: Option<String>,
    /// The addresses that may log in here, instead of `ssh.allow_from` and within it.
    pub allow_from: Option<Vec<String>>,
    /// Remove every login key that claw did not put there.
    pub exclusive: Option<bool>,
    /// The machine through which it is reached, instead of `ssh.jump`.
    pub jump: Option<JumpTable>,
    /// Leave it and its agents alone for a while.
    pub suspend: Option<SuspendTable>,
    /// `"absent"` takes off it what claw put there; remove the table after the next apply.
    pub state: Option<HostState>,
}

/// What shall become of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HostState {
    /// It is looked after.
    Present,
    /// claw takes off it what it put there.
    Absent,
}

/// A secret profile with recipients of its own.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProfileTable {
    /// Who can read this profile, instead of the fleet's recipients.
    pub recipients: Vec<String>,
}

/// Limits on what one apply may do.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyTable {
    /// How much of a kind one apply may delete, `"30%"` by default; one is always allowed.
    pub delete_max: Option<String>,
}

/// How changes reach running agents.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RolloutTable {
    /// How many agents get a change before any other does: 1 by default, 0 for none.
    pub canary: Option<u32>,
    /// How many agents may be disturbed at once, those that are ill included: `"20%"` of all by default, or a number; one
    /// always may.
    pub max_unavailable: Option<String>,
}

/// One OpenClaw gateway with its workspace.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentTable {
    /// What it is known by on the machines; the table's key unless given. Keep it when you rename the table.
    pub id: Option<String>,
    /// The provider or the host it runs on. On a cloud it gets a machine of its own.
    pub on: Option<String>,
    /// Keys of the machine of its own, over those in `defaults.host`: `{ size = "cx33" }`.
    #[serde(default)]
    #[schemars(with = "HostTable")]
    pub host: Map<String, Json>,
    /// The DNS name that leads to its machine; one of the fleet's zones holds it.
    pub domain: Option<String>,
    /// The OpenClaw version, pinned: `"2026.9.6"`.
    pub version: Option<String>,
    /// The image instead of a version: a full reference with a tag or digest.
    pub image: Option<String>,
    /// The model it thinks with: `"provider/model"`.
    pub model: Option<String>,
    /// The models it falls back to, in order, when that one fails.
    #[serde(default)]
    pub fallbacks: Vec<String>,
    /// Model servers of your own, by the name that stands before the `/` in `model`.
    #[serde(default)]
    pub endpoints: BTreeMap<String, EndpointTable>,
    /// The channels people reach it through: `"telegram"`, `"slack"`, `"discord"`. Their tokens are taken from its secrets
    /// by their usual names.
    #[serde(default)]
    pub channels: Vec<String>,
    /// Which secret a key or token is, where that is not the last of its profiles with the usual name:
    /// `{ ANTHROPIC_API_KEY = "secret:work/PETES_KEY" }`.
    #[serde(default)]
    pub keys: BTreeMap<String, String>,
    /// OpenClaw's own settings, merged into `openclaw.json`. A text `"secret:PROFILE/KEY"` becomes a reference to that
    /// secret.
    #[serde(default)]
    pub settings: Map<String, Json>,
    /// Secret profiles it may draw from; later ones override earlier ones.
    #[serde(default)]
    pub secrets: Vec<String>,
    /// Environment of the container. Never secrets: anyone who can inspect the container reads it.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// What it is for, one line.
    pub purpose: Option<String>,
    /// One emoji.
    pub emoji: Option<String>,
    /// A folder of files to put in its workspace, relative to the fleet file.
    pub workspace: Option<String>,
    /// What it may use of the machine.
    #[serde(default)]
    pub resources: ResourcesTable,
    /// The port on the machine's loopback address; the engine picks one unless given.
    pub port: Option<u16>,
    /// Leave it alone for a while.
    pub suspend: Option<SuspendTable>,
}

/// A model server of your own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EndpointTable {
    /// Where it answers: `"https://llm.example/v1"`.
    pub url: String,
    /// Which API it speaks, as OpenClaw calls it; `"openai-completions"` by default.
    pub api: Option<String>,
    /// Its key: `"secret:PROFILE/KEY"`. The secret says to which hosts it may go: `claw secret allow`.
    pub key: Option<String>,
    /// The models it has.
    pub models: Vec<String>,
}

/// What an agent may use of the machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResourcesTable {
    /// Memory, `"2GiB"` by default; units MiB and GiB.
    pub memory: Option<String>,
    /// CPU cores, 2 by default; fractions are fine.
    pub cpus: Option<f64>,
}

/// Leave an agent or a host alone for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SuspendTable {
    /// The first day claw looks after it again: 2026-12-01.
    #[schemars(with = "String", extend("format" = "date"))]
    pub until: String,
    /// Why.
    pub reason: Option<String>,
}
