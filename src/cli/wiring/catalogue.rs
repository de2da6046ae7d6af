//! What clouds sell, as far as it is known without asking them. Knows no price: only a cloud's API does.

use claw_core::fleet::ProviderKind;
use claw_hetzner::{CATALOG, CONSOLE};

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
    match cloud {
        ProviderKind::Hetzner => CATALOG.locations.iter().map(|place| place.name.clone()).collect(),
        ProviderKind::Docker => Vec::new(),
    }
}

/// Returns the sizes a cloud sells at a location; all of them where the location is unknown.
pub fn sizes(cloud: ProviderKind, location: &str) -> Vec<Size> {
    let sold = match cloud {
        ProviderKind::Hetzner => CATALOG.sizes_at(location),
        ProviderKind::Docker => Vec::new(),
    };
    sold.into_iter().map(|(name, memory_mib)| Size { name: name.to_owned(), memory_mib }).collect()
}

/// Returns where a value is taken back and made anew: the console of the provider whose token it is, else of whom its name
/// says.
pub fn console(key: &str, token_of: Option<ProviderKind>) -> Option<&'static str> {
    match token_of {
        Some(ProviderKind::Hetzner) => Some(CONSOLE),
        _ => claw_openclaw::catalog::console(key),
    }
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
