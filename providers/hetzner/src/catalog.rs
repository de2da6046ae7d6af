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

/// Systems that machines can begin with.
#[derive(Debug, Deserialize)]
pub struct Images {
    /// Those that claw can make a host of.
    pub known: Vec<String>,
}

/// All that is known.
#[derive(Debug, Deserialize)]
pub struct Catalog {
    /// Sizes by name.
    pub sizes: BTreeMap<String, Size>,
    /// Sizes that are not sold any more, and what took their place.
    pub retired: BTreeMap<String, String>,
    /// Locations by name.
    pub locations: BTreeMap<String, Location>,
    /// Systems.
    pub images: Images,
}

impl Catalog {
    /// Returns the sizes that are sold at a location, with their memory in MiB; all where the location is not known.
    pub fn sizes_at(&self, location: &str) -> Vec<(&str, u64)> {
        let outside = self.locations.get(location).is_some_and(|place| !place.eu);
        let sold = self.sizes.iter().filter(|(_, size)| !(outside && size.eu));
        sold.map(|(name, size)| (name.as_str(), size.memory)).collect()
    }
}

/// The catalogue.
pub static CATALOG: LazyLock<Catalog> = LazyLock::new(|| {
    toml::from_str(include_str!("../catalog.toml")).expect("the catalogue is part of the program and tested")
});
