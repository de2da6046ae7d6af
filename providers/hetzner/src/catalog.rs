//! Reads `catalog.toml`: what is known of the Hetzner Cloud without asking it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

/// A size of machine.
#[derive(Debug, Deserialize)]
pub struct Size {
    /// What it is called.
    pub name: String,
    /// In MiB.
    pub memory: u64,
    /// Whether it is sold in the EU only.
    #[serde(default)]
    pub eu: bool,
}

/// A place where machines stand.
#[derive(Debug, Deserialize)]
pub struct Location {
    /// What it is called.
    pub name: String,
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
    /// Sizes, in the order in which they are offered.
    pub sizes: Vec<Size>,
    /// Sizes that are not sold any more, and what took their place.
    pub retired: BTreeMap<String, String>,
    /// Locations, in the order in which they are offered.
    pub locations: Vec<Location>,
    /// Systems.
    pub images: Images,
}

impl Catalog {
    /// Returns a location by name.
    pub fn location(&self, name: &str) -> Option<&Location> {
        self.locations.iter().find(|place| place.name == name)
    }

    /// Returns a size by name.
    pub fn size(&self, name: &str) -> Option<&Size> {
        self.sizes.iter().find(|size| size.name == name)
    }

    /// Returns the sizes that are sold at a location, with their memory in MiB; all where the location is not known.
    pub fn sizes_at(&self, location: &str) -> Vec<(&str, u64)> {
        let outside = self.location(location).is_some_and(|place| !place.eu);
        let sold = self.sizes.iter().filter(|size| !(outside && size.eu));
        sold.map(|size| (size.name.as_str(), size.memory)).collect()
    }
}

/// The catalogue.
pub static CATALOG: LazyLock<Catalog> = LazyLock::new(|| {
    toml::from_str(include_str!("../catalog.toml")).expect("the catalogue is part of the program and tested")
});
