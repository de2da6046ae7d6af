//! What a fleet already says about an agent that is not in it yet: its defaults, what most agents have, what there is to
//! choose from. Asks nobody and decides nothing.

use std::collections::BTreeMap;

use claw_core::fleet::{self, AgentTable, Fleet, HostState, HostTable, ProviderKind, SourceFile};
use claw_core::money::Money;
use claw_core::problem::{Location, line_column};
use claw_core::text::memory_mib;

use super::Said;
use crate::ask::Choice;
use crate::wiring::catalogue;

/// What an agent may use of the memory where nobody says, in MiB.
const MEMORY_MIB: u64 = 2048;

/// Faces for agents; which one an agent gets follows from its name.
const FACES: [&str; 40] = [
    "🦊", "🐻", "🐼", "🐨", "🦁", "🐯", "🐸", "🐵", "🐔", "🐧", "🦉", "🦅", "🐺", "🐗", "🦄", "🐝", "🐞", "🦋", "🐌",
    "🐢", "🦎", "🐙", "🦑", "🦐", "🦀", "🐬", "🐳", "🦈", "🐊", "🦓", "🦒", "🐘", "🦏", "🐫", "🦔", "🦇", "🦜", "🦩",
    "🦚", "🐿️",
];

/// A fleet, as one looks at it who adds an agent.
pub struct Known<'a> {
    /// The fleet.
    pub fleet: &'a Fleet,
    /// Its files.
    pub sources: &'a [SourceFile],
    /// The profiles on disk.
    profiles: &'a [String],
    /// An agent and a host that say nothing themselves: the defaults.
    agent: AgentTable,
    host: HostTable,
}

impl<'a> Known<'a> {
    /// Looks at a fleet.
    pub fn new(fleet: &'a Fleet, sources: &'a [SourceFile], profiles: &'a [String]) -> Self {
        let blank = SourceFile { path: String::new(), text: "[agents.\"\"]\n[hosts.\"\"]\n".to_owned() };
        let with_blank: Vec<SourceFile> = sources.iter().cloned().chain([blank]).collect();
        let with_blank = fleet::load(&with_blank).0;
        let (agent, host) = with_blank.map(|mut all| (all.agents.remove(""), all.hosts.remove(""))).unwrap_or_default();
        Self { fleet, sources, profiles, agent: agent.unwrap_or_default(), host: host.unwrap_or_default() }
    }

    /// Whether every agent has a key already.
    pub fn says(&self, field: &str) -> bool {
        self.fleet.tree.exact(&["defaults", "agent", field]).is_some()
    }

    /// Whether every host has a key already, or at least those of the agents' own.
    pub fn host_says(&self, field: &str) -> bool {
        self.fleet.tree.exact(&["defaults", "host", field]).is_some() || self.agent.host.contains_key(field)
    }

    /// Returns the location that machines have where nobody says.
    pub fn default_location(&self) -> Option<&str> {
        self.agent.host.get("location").and_then(|text| text.as_str()).or(self.host.location.as_deref())
    }

    /// Returns the places there are.
    pub fn places(&self) -> Vec<Choice> {
        let providers = self.fleet.providers.iter().map(|(name, table)| {
            let note = match table.kind {
                Some(kind) if kind.is_cloud() => "a machine of its own",
                _ => "a Docker engine",
            };
            Choice::new(name, note)
        });
        let there = self.fleet.hosts.iter().filter(|(_, table)| table.state != Some(HostState::Absent));
        let hosts = there.filter(|(name, _)| !self.fleet.is_own(name)).map(|(name, _)| Choice::new(name, "a host"));
        providers.chain(hosts).collect()
    }

    /// Returns the only place there is, if there is one only.
    pub fn only_place(&self) -> Option<String> {
        let mut places = self.places();
        places.pop().filter(|_| places.is_empty()).map(|place| place.word)
    }

    /// Returns the place an agent comes to, as far as that is said.
    pub fn place<'b>(&'b self, said: &'b Said) -> Option<&'b str> {
        said.on.as_deref().or(self.agent.on.as_deref())
    }

    /// Returns the cloud that makes an agent's machine, if one does.
    pub fn cloud(&self, said: &Said) -> Option<ProviderKind> {
        self.fleet.cloud(self.place(said)?)
    }

    /// Returns the place most agents are at.
    pub fn usual_place(&self) -> Option<String> {
        most_used(self.fleet.agents.values().filter_map(|agent| agent.on.clone()))
    }

    /// Returns the model most agents think with.
    pub fn model(&self) -> Option<String> {
        most_used(self.fleet.agents.values().filter_map(|agent| agent.model.clone()))
    }

    /// Returns the version most agents run.
    pub fn version(&self) -> Option<String> {
        most_used(self.fleet.agents.values().filter_map(|agent| agent.version.clone()))
    }

    /// Returns the profiles an agent may draw from.
    pub fn profiles(&self) -> Vec<Choice> {
        let declared = self.fleet.profiles.keys().filter(|name| *name != "claw" && !self.profiles.contains(name));
        let mut names: Vec<&String> = self.profiles.iter().chain(declared).collect();
        names.sort();
        let note = |name: &String| if self.fleet.profiles.contains_key(name) { "recipients of its own" } else { "" };
        names.into_iter().map(|name| Choice::new(name, note(name))).collect()
    }

    /// Returns the profiles most agents have, else `default` where it is there.
    pub fn secrets(&self) -> Vec<String> {
        let used = self.fleet.agents.values().map(|agent| agent.secrets.clone()).filter(|all| !all.is_empty());
        let default = || self.profiles.iter().filter(|name| *name == "default").cloned().collect();
        most_used(used).unwrap_or_else(default)
    }

    /// Returns the name an agent would have in the zone that most domains of the fleet lie in, where its place has an
    /// address that a name can lead to.
    pub fn domain(&self, name: &str, said: &Said) -> Option<String> {
        let place = self.place(said)?;
        let host = self.fleet.hosts.get(place).filter(|_| !self.fleet.is_own(place));
        let reached = host.is_some_and(|host| {
            let address = host.address.as_deref().unwrap_or_default();
            address.parse::<std::net::IpAddr>().is_ok() || self.fleet.cloud_of(host).is_some()
        });
        if !reached && self.fleet.cloud(place).is_none() {
            return None;
        }
        let zone_of = |domain: &String| domain.split_once('.').map(|(_, zone)| zone.to_ascii_lowercase());
        let domains = self.fleet.agents.values().filter_map(|agent| zone_of(agent.domain.as_ref()?));
        let used = most_used(domains.filter(|zone| self.fleet.dns.contains_key(zone)));
        let zone = used.or_else(|| self.fleet.dns.keys().next().cloned())?;
        Some(format!("{}.{zone}", name.to_ascii_lowercase()))
    }

    /// Returns an agent's face: the same one for the same name in the same fleet, and one that nobody has while there are
    /// enough.
    pub fn emoji(&self, name: &str) -> &'static str {
        // FNV-1a: a hash that is the same everywhere and for ever
        let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        let first = hash as usize % FACES.len();
        let mut faces = (first..first + FACES.len()).map(|at| FACES[at % FACES.len()]);
        let taken = |face: &str| self.fleet.agents.values().any(|agent| agent.emoji.as_deref() == Some(face));
        faces.find(|face| !taken(face)).unwrap_or(FACES[first])
    }

    /// Returns the locations of a cloud, and the one that most machines of the fleet are at.
    pub fn locations(&self, cloud: ProviderKind) -> (Vec<Choice>, Option<String>) {
        let known = catalogue::locations(cloud);
        let used = most_used(self.machines(cloud).filter_map(|host| host.location.clone()));
        let default = used.or_else(|| known.first().cloned());
        (known.into_iter().map(|name| Choice::new(name, "")).collect(), default)
    }

    /// Returns the sizes a cloud sells at a location, with what they cost a month as far as that is known, the cheapest
    /// first; and the one that most machines of the fleet have, else the first that is large enough.
    pub fn sizes(
        &self,
        cloud: ProviderKind,
        location: &str,
        said: &Said,
        prices: &BTreeMap<String, Money>,
    ) -> (Vec<Choice>, Option<String>) {
        let mut sizes = catalogue::sizes(cloud, location);
        sizes.sort_by_key(|size| (prices.get(&size.name).is_none(), prices.get(&size.name).copied(), size.memory_mib));
        let memory = said.memory.as_deref().or(self.agent.resources.memory.as_deref());
        let wanted = memory.and_then(memory_mib).unwrap_or(MEMORY_MIB);
        let large = sizes.iter().find(|size| size.memory_mib > wanted).map(|size| size.name.clone());
        let used = most_used(self.machines(cloud).filter_map(|host| host.size.as_ref()?.texts().first().cloned()));
        let used = used.filter(|used| sizes.iter().any(|size| size.name == *used));
        let note = |size: &catalogue::Size| {
            let memory = format!("{:>3} GiB", size.memory_mib / 1024);
            prices.get(&size.name).map_or(memory.clone(), |price| format!("{memory}  €{price} a month"))
        };
        (sizes.iter().map(|size| Choice::new(&size.name, note(size))).collect(), used.or(large))
    }

    fn machines(&self, cloud: ProviderKind) -> impl Iterator<Item = &'a HostTable> {
        let fleet = self.fleet;
        fleet.hosts.values().filter(move |host| host.on.as_deref().and_then(|on| fleet.cloud(on)) == Some(cloud))
    }

    /// Returns what has a name or id already, and where it stands.
    pub fn taken(&self, word: &str) -> Option<String> {
        let tree = &self.fleet.tree;
        let agents = self.fleet.agents.iter().map(|(key, table)| ("agents", "an agent", key, &table.id));
        let hosts = self.fleet.hosts.iter().filter(|(key, _)| !self.fleet.is_own(key));
        let hosts = hosts.map(|(key, table)| ("hosts", "a host", key, &table.id));
        agents.chain(hosts).find_map(|(section, what, key, id)| {
            let (told, at) = if key == word {
                (format!("`{key}` is {what} already"), tree.key(&[section, key]))
            } else if id.as_deref() == Some(word) {
                (format!("`{word}` is the id of `{key}` already"), tree.exact(&[section, key, "id"]))
            } else {
                return None;
            };
            Some(at.map_or(told.clone(), |at| format!("{told}, in {}", self.place_of(&at))))
        })
    }

    /// Returns file and line.
    fn place_of(&self, at: &Location) -> String {
        let text = self.sources.iter().find(|source| source.path == at.file).map_or("", |source| source.text.as_str());
        format!("{}:{}", at.file, line_column(text, at.start).0)
    }
}

/// Returns what comes up most often; of equals the least.
fn most_used<T: Ord>(all: impl Iterator<Item = T>) -> Option<T> {
    let mut counts: BTreeMap<T, usize> = BTreeMap::new();
    for one in all {
        *counts.entry(one).or_default() += 1;
    }
    let most = counts.values().copied().max()?;
    counts.into_iter().find(|(_, count)| *count == most).map(|(one, _)| one)
}
