//! Reads `catalog.toml`: what is known of OpenClaw without asking it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use claw_core::plan::Effect;
use serde::Deserialize;

#[derive(Deserialize)]
struct Catalog {
    reload: Reload,
    keys: BTreeMap<String, String>,
    consoles: BTreeMap<String, String>,
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
    CATALOG.keys.get(provider).map(String::as_str)
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
        let known: Vec<&String> = CATALOG.keys.values().collect();
        assert!(CATALOG.consoles.keys().all(|key| known.contains(&key)));
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
