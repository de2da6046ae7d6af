//! What clouds sell, as far as it is known without asking them. Knows no price: only a cloud's API does.

use std::sync::LazyLock;

use claw_core::fleet::ProviderKind;
use toml_edit::{DocumentMut, Item};

/// The catalogue the rules of the Hetzner Cloud go by.
static HETZNER: LazyLock<DocumentMut> = LazyLock::new(|| {
    let text = include_str!("../../../providers/hetzner/catalog.toml");
    text.parse().expect("the catalogue is part of the program and tested")
});

/// A size of machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Size {
    /// The cloud's word for it.
    pub name: String,
    /// In MiB.
    pub memory_mib: u64,
}

/// Returns the places a cloud has machines in.
pub fn locations(cloud: ProviderKind) -> Vec<String> {
    let names = |document: &DocumentMut| entries(document, "locations").map(|(name, _)| name).collect();
    document(cloud).map(names).unwrap_or_default()
}

/// Returns the sizes a cloud sells at a location, in the catalogue's order; all of them where the location is unknown.
pub fn sizes(cloud: ProviderKind, location: &str) -> Vec<Size> {
    let Some(document) = document(cloud) else { return Vec::new() };
    let eu = |item: &Item| item.get("eu").and_then(Item::as_bool).unwrap_or(false);
    let outside = entries(document, "locations").any(|(name, item)| name == location && !eu(item));
    let sold = entries(document, "sizes").filter(|(_, item)| !(outside && eu(item)));
    let size = |(name, item): (String, &Item)| {
        let memory = item.get("memory").and_then(Item::as_integer)?;
        Some(Size { name, memory_mib: memory.try_into().ok()? })
    };
    sold.filter_map(size).collect()
}

fn document(cloud: ProviderKind) -> Option<&'static DocumentMut> {
    match cloud {
        ProviderKind::Hetzner => Some(&HETZNER),
        ProviderKind::Docker => None,
    }
}

fn entries<'a>(document: &'a DocumentMut, section: &str) -> impl Iterator<Item = (String, &'a Item)> {
    let table = document.get(section).and_then(Item::as_table);
    table.into_iter().flat_map(|table| table.iter()).map(|(name, item)| (name.to_owned(), item))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sold_in_the_eu_only_is_not_offered_elsewhere() {
        let names = |location| -> Vec<String> {
            sizes(ProviderKind::Hetzner, location).into_iter().map(|size| size.name).collect()
        };
        assert!(locations(ProviderKind::Hetzner).contains(&"fsn1".to_owned()));
        assert!(names("fsn1").contains(&"cx23".to_owned()) && names("fsn1").contains(&"cpx22".to_owned()));
        assert!(!names("ash").contains(&"cx23".to_owned()) && names("ash").contains(&"cpx22".to_owned()));
        assert_eq!(names("new1"), names("fsn1"));
        assert!(locations(ProviderKind::Docker).is_empty() && sizes(ProviderKind::Docker, "").is_empty());
    }
}
