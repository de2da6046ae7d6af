//! Keeps credentials at home: whoever may edit the fleet file must not send a key elsewhere with it. Each secret may go to
//! the hosts its profile says, else to the usual hosts of its name, else to those of providers claw knows.

use std::collections::BTreeSet;

use claw_core::problem::{Location, Problem};
use claw_core::secret::{SecretName, SecretSource, is_among};
use serde_json::{Map, Value as Json};
use url::{Host, Url};

use super::Renderer;
use crate::catalog;

/// The tables of settings whose entries each talk to somebody of their own. Elsewhere a whole section counts as one.
const ENTRIES: [&[&str]; 5] =
    [&["models", "providers"], &["channels"], &["plugins", "entries"], &["mcp", "servers"], &["skills", "entries"]];
/// Sections that are claw's own: the gateway's token goes to nobody.
const OWN: [&str; 2] = ["gateway", "secrets"];
/// Addresses at which others find the agent: nothing is sent there.
const INBOUND: [&str; 4] = ["advertisedUrl", "publicUrl", "webhookPublicUrl", "webhookUrl"];
/// Settings that name a host without a scheme.
const HOST_KEYS: [&str; 5] = ["address", "domain", "host", "hostname", "server"];
/// Ends of settings' names whose text is an address in whatever form.
const URL_ENDS: [&str; 4] = ["url", "root", "endpoint", "apibase"];
/// What makes a text an address for those who send there, slashes or not.
const SCHEMES: [&str; 4] = ["http:", "https:", "ws:", "wss:"];
/// Ends of variables' names by which libraries are sent elsewhere.
const ENV_ENDS: [&str; 6] = ["_API_BASE", "_API_ROOT", "_API_URL", "_BASE_URL", "_ENDPOINT", "_PROXY"];

/// Where something is sent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    /// A host, lower case.
    Host(String),
    /// Nobody can tell, and why.
    Anywhere(&'static str),
}

impl Renderer<'_> {
    /// Refuses settings and variables that would send a secret where it may not go.
    pub(super) fn check_destinations(&mut self, config: &Map<String, Json>) {
        let mut parts = Vec::new();
        for (section, value) in config.iter().filter(|(section, _)| !OWN.contains(&section.as_str())) {
            split(&mut vec![section.clone()], value, &mut parts);
        }
        for (path, part) in parts {
            let mut found = Found::default();
            found.walk(&mut path.clone(), part);
            let names: Vec<SecretName> = found.secrets.iter().filter_map(|key| self.source(key)).collect();
            if let [models, providers, provider] = path.as_slice()
                && (models.as_str(), providers.as_str()) == ("models", "providers")
                && part.get("baseUrl").is_none()
            {
                let usual = catalog::provider_hosts(provider).first().cloned();
                found
                    .targets
                    .extend(usual.map(|host| (Target::Host(host), [path.as_slice(), &["apiKey".to_owned()]].concat())));
            }
            for (target, at) in &found.targets {
                names.iter().for_each(|name| self.check_one(name, target, &["settings"], at));
            }
        }
        self.check_env();
    }

    /// A variable that sends a library elsewhere sends every secret of the agent there.
    fn check_env(&mut self) {
        let names: BTreeSet<SecretName> = self.secrets.values().filter_map(profile_secret).cloned().collect();
        for (variable, value) in &self.spec.table.env {
            if sends_elsewhere(variable)
                && let Some(target) = target_of(value, true)
            {
                names.iter().for_each(|name| self.check_one(name, &target, &["env"], std::slice::from_ref(variable)));
            }
        }
    }

    fn check_one(&mut self, name: &SecretName, target: &Target, table: &[&str], path: &[String]) {
        let own = self.spec.destinations.get(name);
        let allowed = own.cloned().or_else(|| catalog::hosts_of(&name.key).map(<[String]>::to_vec));
        let allowed = allowed.unwrap_or_else(catalog::all_hosts);
        let (message, host) = match target {
            Target::Host(host) if is_among(&allowed, host) || is_loopback(host) => return,
            Target::Anywhere(_) if allowed.iter().any(|one| one == "*") => return,
            Target::Host(host) => (format!("{name} may not be sent to {host}"), host.as_str()),
            Target::Anywhere(why) => (format!("{name} would go to {why}, which may send it anywhere"), "'*'"),
        };
        let steps: Vec<&str> = table.iter().copied().chain(path.iter().map(String::as_str)).collect();
        let at = self.endpoint_at(path).or_else(|| self.key_at(name, path)).or_else(|| self.at(&steps));
        let now = match allowed.as_slice() {
            [] => "it may go to nobody".to_owned(),
            [one] => format!("it may go to {one}"),
            [one, ..] => format!("it may go to {one} and {} more", allowed.len() - 1),
        };
        let help = format!("{now}; whoever can read it may say otherwise: `claw secret allow {name} {host}`");
        self.problems.push(Problem::error("destination", message).at(at).help(help));
    }

    /// A model server of the fleet's own `endpoints` is written there.
    fn endpoint_at(&self, path: &[String]) -> Option<Location> {
        let [models, providers, name, ..] = path else { return None };
        let own = models == "models" && providers == "providers" && self.spec.table.endpoints.contains_key(name);
        own.then(|| self.at(&["endpoints", name, "url"])).flatten()
    }

    /// A key that `keys` puts in another's place is written there.
    fn key_at(&self, name: &SecretName, path: &[String]) -> Option<Location> {
        let steps: Vec<&str> =
            ["agents", self.spec.key, "settings"].into_iter().chain(path.iter().map(String::as_str)).collect();
        let own = self.spec.fleet.tree.exact(&steps).is_some();
        let text = format!("secret:{name}");
        let (usual, _) = self.spec.table.keys.iter().find(|(_, one)| **one == text).filter(|_| !own)?;
        self.at(&["keys", usual])
    }

    fn source(&self, key: &str) -> Option<SecretName> {
        self.secrets.get(key).and_then(profile_secret).cloned()
    }
}

/// Whether a variable of this name sends libraries elsewhere.
pub fn sends_elsewhere(variable: &str) -> bool {
    let upper = variable.to_ascii_uppercase();
    ENV_ENDS.iter().any(|end| upper.ends_with(end)) || upper.contains("_ENDPOINT_URL")
}

fn profile_secret(source: &SecretSource) -> Option<&SecretName> {
    match source {
        SecretSource::Profile(name) => Some(name),
        SecretSource::GatewayToken(_) => None,
    }
}

/// Takes settings apart into what talks to somebody of its own.
fn split<'a>(path: &mut Vec<String>, value: &'a Json, parts: &mut Vec<(Vec<String>, &'a Json)>) {
    let leads = ENTRIES.iter().any(|entry| entry.len() >= path.len() && path.iter().zip(*entry).all(|(a, b)| a == b));
    match value.as_object().filter(|_| leads) {
        Some(map) => {
            for (key, inner) in map {
                path.push(key.clone());
                split(path, inner, parts);
                path.pop();
            }
        }
        None => parts.push((path.clone(), value)),
    }
}

/// What a part of the settings refers to, and whom it talks to.
#[derive(Default)]
struct Found {
    secrets: BTreeSet<String>,
    targets: BTreeSet<(Target, Vec<String>)>,
}

impl Found {
    fn walk(&mut self, path: &mut Vec<String>, value: &Json) {
        let key = path.last().map(String::as_str).unwrap_or_default();
        match value {
            Json::Object(map) if map.get("provider").is_some_and(|one| one == "claw") && map.contains_key("id") => {
                let id = map.get("id").and_then(Json::as_str).unwrap_or_default();
                self.secrets.insert(id.trim_start_matches('/').to_owned());
            }
            Json::Object(map) => {
                for (key, inner) in map {
                    path.push(key.clone());
                    self.walk(path, inner);
                    path.pop();
                }
            }
            Json::Array(items) if key == "command" => self.command(path, items.is_empty()),
            Json::Array(items) => items.iter().for_each(|item| self.walk(path, item)),
            Json::String(text) if key == "command" => self.command(path, text.is_empty()),
            Json::String(text) if !INBOUND.contains(&key) => {
                let lower = key.to_ascii_lowercase();
                let bare = HOST_KEYS.contains(&key) || URL_ENDS.iter().any(|end| lower.ends_with(end));
                let found = target_of(text, bare);
                self.targets.extend(found.map(|target| (target, path.clone())));
            }
            _ => {}
        }
    }

    fn command(&mut self, path: &[String], none: bool) {
        if !none {
            self.targets.insert((Target::Anywhere("a command"), path.to_vec()));
        }
    }
}

/// Returns whom a text means, if it is an address. `bare` ones need no scheme.
fn target_of(text: &str, bare: bool) -> Option<Target> {
    // what a parser of addresses skips must not hide one
    let text: String = text.trim().chars().filter(|letter| !['\t', '\r', '\n'].contains(letter)).collect();
    let text = text.as_str();
    if text.contains("${") {
        return Some(Target::Anywhere("an address put together from variables"));
    }
    let lower = text.to_ascii_lowercase();
    let is_url = text.contains("://") || SCHEMES.iter().any(|scheme| lower.starts_with(scheme));
    let url = match is_url {
        true => Url::parse(text),
        // `node` and `auto` are words, not hosts
        false if bare && text.contains(['.', ':']) => Url::parse(&format!("https://{text}")),
        false => return None,
    };
    match url.as_ref().map(Url::host) {
        Ok(Some(Host::Domain(name))) => Some(Target::Host(name.trim_end_matches('.').to_ascii_lowercase())),
        Ok(Some(Host::Ipv4(ip))) => Some(Target::Host(ip.to_string())),
        Ok(Some(Host::Ipv6(ip))) => Some(Target::Host(ip.to_string())),
        // what is no address to us may be one to somebody else
        Ok(None) | Err(_) => Some(Target::Anywhere("an address that does not read")),
    }
}

/// The agent's own container, or where it listens: what is sent there does not leave it.
fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback() || ip.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_the_one_who_sends_there_reads_it() {
        let host = |text: &str| match target_of(text, false) {
            Some(Target::Host(host)) => host,
            other => format!("{other:?}"),
        };
        assert_eq!(host("https://api.anthropic.com@evil.example/v1"), "evil.example");
        assert_eq!(host("https://api.anthropic.com\\@evil.example/"), "api.anthropic.com");
        assert_eq!(host("HTTPS://API.Evil.Example.:8443/x"), "api.evil.example");
        assert_eq!(host("http://0x7f000001/"), "127.0.0.1");
        assert_eq!(host("wss://[::1]:9/"), "::1");
        assert_eq!(host("https://"), "Some(Anywhere(\"an address that does not read\"))");
        assert_eq!(host("https:/evil.example/v1"), "evil.example");
        assert_eq!(host("HTTPS:evil.example"), "evil.example");
        assert_eq!(host("https:\\\\evil.example/v1"), "evil.example");
        assert_eq!(host("ht\ttps:/\n/evil.example"), "evil.example");
        assert_eq!(target_of("node", true), None);
        assert_eq!(target_of("just a text", false), None);
        assert_eq!(target_of("imap.example:993", true), Some(Target::Host("imap.example".to_owned())));
        assert!(matches!(target_of("https://${HOST}/", false), Some(Target::Anywhere(_))));
    }
}
