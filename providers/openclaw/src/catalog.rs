//! Reads `catalog.toml`: what is known of OpenClaw without asking it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use claw_core::plan::Effect;
use serde::Deserialize;

use crate::probe::Header;

#[derive(Deserialize)]
struct Catalog {
    reload: Reload,
    providers: BTreeMap<String, ModelProvider>,
    channels: BTreeMap<String, Channel>,
    consoles: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct ModelProvider {
    key: String,
    hosts: Vec<String>,
    probe: Option<Place>,
}

/// Where a provider tells whether it takes a key.
#[derive(Deserialize)]
pub struct Place {
    /// What is asked for.
    pub url: String,
    /// How the key is shown.
    pub header: Header,
}

/// A channel people reach an agent through.
#[derive(Deserialize)]
pub struct Channel {
    /// Setting of the channel → the usual name of the token it is.
    pub tokens: BTreeMap<String, String>,
    /// Where its tokens may be sent.
    hosts: Vec<String>,
}

#[derive(Deserialize)]
struct Reload {
    hot: Vec<String>,
    restart: Vec<String>,
}

static CATALOG: LazyLock<Catalog> = LazyLock::new(|| {
    toml::from_str(include_str!("../catalog.toml")).expect("the catalog is part of the program and tested")
});

/// Returns the name a model provider's key goes by, if the provider is known.
pub fn key_name(provider: &str) -> Option<&'static str> {
    CATALOG.providers.get(provider).map(|known| known.key.as_str())
}

/// Returns where a model provider of this name answers, if it is known and has one address.
pub fn provider_hosts(provider: &str) -> &'static [String] {
    CATALOG.providers.get(provider).map_or(&[], |known| &known.hosts)
}

/// Returns where a bundled provider tells whether it takes a key, if there is such a place.
pub fn probe(provider: &str) -> Option<&'static Place> {
    CATALOG.providers.get(provider).and_then(|known| known.probe.as_ref())
}

/// Returns the names of the bundled model providers.
pub fn provider_names() -> impl Iterator<Item = &'static str> {
    CATALOG.providers.keys().map(String::as_str)
}

/// Returns a channel by its name, if claw knows its tokens.
pub fn channel(name: &str) -> Option<&'static Channel> {
    CATALOG.channels.get(name)
}

/// Returns the names of the channels claw knows.
pub fn channel_names() -> impl Iterator<Item = &'static str> {
    CATALOG.channels.keys().map(String::as_str)
}

/// Returns every usual name of a key or token, each with the hosts it is for.
fn usual() -> impl Iterator<Item = (&'static str, &'static [String])> {
    let keys = CATALOG.providers.values().map(|known| (known.key.as_str(), known.hosts.as_slice()));
    let tokens = CATALOG.channels.values().flat_map(|channel| channel.tokens.values().zip(std::iter::repeat(channel)));
    keys.chain(tokens.map(|(name, channel)| (name.as_str(), channel.hosts.as_slice())))
}

/// Returns the usual names of keys and tokens.
pub fn key_names() -> impl Iterator<Item = &'static str> {
    usual().map(|(name, _)| name)
}

/// Returns the hosts a secret of this usual name is for; `None` where the name says nothing.
pub fn hosts_of(key: &str) -> Option<&'static [String]> {
    usual().find(|(name, _)| *name == key).map(|(_, hosts)| hosts)
}

/// Returns every host of a known provider or channel: where a secret may go whose name says nothing.
pub fn all_hosts() -> Vec<String> {
    usual().flat_map(|(_, hosts)| hosts).cloned().collect()
}

/// Returns where a model provider's key is taken back, by the name it goes by.
pub fn console(key: &str) -> Option<&'static str> {
    CATALOG.consoles.get(key).map(String::as_str)
}

/// Returns what a changed setting does to a running gateway; an unknown one restarts it.
pub fn reload_effect(path: &str) -> Effect {
    let longest = |prefixes: &[String]| {
        let matching = prefixes.iter().filter(|prefix| is_below(path, prefix));
        matching.map(String::len).max()
    };
    match (longest(&CATALOG.reload.hot), longest(&CATALOG.reload.restart)) {
        (Some(hot), restart) if Some(hot) > restart => Effect::Hot,
        _ => Effect::Restart,
    }
}

fn is_below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_console_is_of_a_key_that_is_known() {
        let known: Vec<&str> = key_names().collect();
        assert!(CATALOG.consoles.keys().all(|key| known.contains(&key.as_str())));
        assert_eq!(console("NOBODYS_KEY"), None);
    }

    #[test]
    fn the_longest_path_decides_how_a_setting_is_taken_over() {
        assert_eq!(reload_effect("agents.defaults.model.primary"), Effect::Hot);
        assert_eq!(reload_effect("gateway.bind"), Effect::Restart);
        assert_eq!(reload_effect("gateway.http.endpoints.responses.enabled"), Effect::Hot);
        assert_eq!(reload_effect("gatewayish"), Effect::Restart);
    }
}
