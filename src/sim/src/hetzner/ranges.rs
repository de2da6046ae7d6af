//! Addresses: ranges in CIDR form, and the addresses that the simulator hands out, all from ranges for documentation.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A range of IPv4 addresses, such as `10.0.0.0/16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Range {
    base: u32,
    bits: u32,
}

impl Range {
    fn mask(self) -> u32 {
        u32::MAX.checked_shl(32 - self.bits).unwrap_or(0)
    }

    pub fn contains(self, address: Ipv4Addr) -> bool {
        u32::from(address) & self.mask() == self.base
    }

    pub fn holds(self, inner: Self) -> bool {
        inner.bits >= self.bits && inner.base & self.mask() == self.base
    }

    pub fn overlaps(self, other: Self) -> bool {
        self.holds(other) || other.holds(self)
    }

    pub fn is_private(self) -> bool {
        ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"]
            .iter()
            .any(|range| range.parse::<Self>().is_ok_and(|range| range.holds(self)))
    }

    /// Returns the addresses for hosts, without the first, which is the gateway's, and the last.
    pub fn hosts(self) -> impl Iterator<Item = Ipv4Addr> {
        let last = self.base | !self.mask();
        (self.base.saturating_add(2)..last).map(Ipv4Addr::from)
    }

    pub fn gateway(self) -> Ipv4Addr {
        Ipv4Addr::from(self.base.saturating_add(1))
    }

    /// Returns the first range of 256 addresses within it that is clear of others.
    pub fn free_subnet(self, taken: &[Self]) -> Option<Self> {
        let bits = self.bits.max(24);
        let count = 1u32 << (bits - self.bits).min(16);
        let step = 1u32.checked_shl(32 - bits).unwrap_or(0);
        let mut candidates = (0..count).map(|nth| Self { base: self.base + nth * step, bits });
        candidates.find(|range| taken.iter().all(|other| !range.overlaps(*other)))
    }
}

impl FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not an IPv4 range");
        let (base, bits) = text.split_once('/').ok_or_else(wrong)?;
        let (base, bits): (Ipv4Addr, u32) = (base.parse().map_err(|_| wrong())?, bits.parse().map_err(|_| wrong())?);
        let range = Self { base: u32::from(base), bits };
        if bits > 32 || range.base & !range.mask() != 0 {
            return Err(wrong());
        }
        Ok(range)
    }
}

impl TryFrom<String> for Range {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Range> for String {
    fn from(range: Range) -> Self {
        range.to_string()
    }
}

impl fmt::Display for Range {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", Ipv4Addr::from(self.base), self.bits)
    }
}

/// Whether a firewall rule may name it: an IPv4 or IPv6 range whose host bits are zero.
pub(super) fn is_cidr(text: &str) -> bool {
    let Some((base, bits)) = text.split_once('/') else { return false };
    match (base.parse::<IpAddr>(), bits.parse::<u32>()) {
        (Ok(IpAddr::V4(_)), Ok(_)) => text.parse::<Range>().is_ok(),
        (Ok(IpAddr::V6(base)), Ok(bits)) if bits <= 128 => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            u128::from(base) & !mask == 0
        }
        _ => false,
    }
}

/// Returns the n-th address there is where those of a range come first.
pub(super) fn ipv4_from(first: Option<&str>, nth: u64) -> Ipv4Addr {
    let range: Option<Range> = first.and_then(|text| text.parse().ok());
    let of_range = range.and_then(|range| range.hosts().nth(usize::try_from(nth).unwrap_or(usize::MAX)));
    of_range.unwrap_or_else(|| ipv4(nth))
}

/// Returns the n-th address there is: first those for documentation, then those of carrier networks.
pub(super) fn ipv4(nth: u64) -> Ipv4Addr {
    const DOCUMENTATION: [[u8; 3]; 3] = [[203, 0, 113], [198, 51, 100], [192, 0, 2]];
    let block = DOCUMENTATION.get(usize::try_from(nth / 254).unwrap_or(usize::MAX));
    let host = u8::try_from(nth % 254 + 1).unwrap_or(u8::MAX);
    if let Some([a, b, c]) = block {
        return Ipv4Addr::new(*a, *b, *c, host);
    }
    let rest = u32::try_from((nth - 3 * 254) % (1 << 22)).unwrap_or(0);
    Ipv4Addr::from(u32::from(Ipv4Addr::new(100, 64, 0, 0)) + rest)
}

/// Returns the n-th network of 2^64 addresses for documentation.
pub(super) fn ipv6(nth: u64) -> Ipv6Addr {
    let [a, b] = [(nth >> 16) as u16, nth as u16];
    Ipv6Addr::new(0x2001, 0xdb8, a, b, 0, 0, 0, 0)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that panics has failed")]
mod tests {
    use super::*;

    #[test]
    fn addresses_do_not_repeat_and_begin_in_documentation_ranges() {
        let all: std::collections::BTreeSet<Ipv4Addr> = (0..2000).map(ipv4).collect();
        assert_eq!(all.len(), 2000);
        assert_eq!(ipv4(0).to_string(), "203.0.113.1");
        assert_eq!(ipv4(253).to_string(), "203.0.113.254");
        assert_eq!(ipv4(254).to_string(), "198.51.100.1");
        assert_eq!(ipv4(762).to_string(), "100.64.0.0");
        let own: Vec<String> = (0..3).map(|nth| ipv4_from(Some("203.0.113.8/29"), nth).to_string()).collect();
        assert_eq!(own, ["203.0.113.10", "203.0.113.11", "203.0.113.12"]);
        assert_eq!((ipv4_from(None, 0), ipv4_from(Some("odd"), 0)), (ipv4(0), ipv4(0)));
        assert_eq!(ipv6(1).to_string(), "2001:db8:0:1::");
    }

    #[test]
    fn ranges_know_what_they_hold() {
        let range: Range = "10.0.0.0/16".parse().unwrap();
        assert!(range.holds("10.0.3.0/24".parse().unwrap()) && !range.holds("10.1.0.0/24".parse().unwrap()));
        assert_eq!(range.free_subnet(&["10.0.0.0/24".parse().unwrap()]).unwrap().to_string(), "10.0.1.0/24");
        assert_eq!(range.hosts().next().unwrap().to_string(), "10.0.0.2");
        assert!("10.0.0.1/16".parse::<Range>().is_err(), "host bits are set");
        for (text, good) in
            [("0.0.0.0/0", true), ("::/0", true), ("1.2.3.4", false), ("fe80::1/64", false), ("::1/128", true)]
        {
            assert_eq!(is_cidr(text), good, "{text}");
        }
    }
}
