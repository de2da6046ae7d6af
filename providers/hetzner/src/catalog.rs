//! Reads `catalog.toml`: what is known of the Hetzner Cloud without asking it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

/// A size of machine.
#[derive(Debug, Deserialize)]
pub struct Size {
    /// In MiB.
    pub memory: u64,
    /// Whether it is sold in the EU only.
    #[serde(default)]
    pub eu: bool,
}

/// A place where machines stand.
#[derive(Debug, Deserialize)]
pub struct Location {
    /// Whether it is in the EU.
    pub eu: bool,
}

#[derive(Debug, Deserialize)]
pub struct Images {
    pub known: Vec<String>,
}

/// All that is known.
#[derive(Debug, Deserialize)]
pub struct Catalog {
    pub sizes: BTreeMap<String, Size>,
    pub retired: BTreeMap<String, String>,
    pub locations: BTreeMap<String, Location>,
    pub images: Images,
}

/// The catalogue.
pub static CATALOG: LazyLock<Catalog> = LazyLock::new(|| {
    toml::from_str(include_str!("../catalog.toml")).expect("the catalogue is part of the program and tested")
});
