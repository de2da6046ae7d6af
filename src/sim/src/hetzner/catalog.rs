//! What is for sale: locations, server types, images and prices, late in 2026. Constant; what is out of stock lies in
//! the settings.

use std::fmt;

use serde_json::{Value as Json, json};

use super::body::Reference;

/// A place with hosts.
pub(super) struct Location {
    pub id: u64,
    pub name: &'static str,
    pub zone: &'static str,
    city: &'static str,
    country: &'static str,
    description: &'static str,
    latitude: f64,
    longitude: f64,
}

/// A size of server.
pub(super) struct ServerType {
    pub id: u64,
    pub name: &'static str,
    pub cores: u64,
    pub memory_gb: u64,
    pub disk_gb: u64,
    pub arm: bool,
    pub retired: bool,
    /// Net prices in euro, in the EU: per month in cents and per hour in hundredths of a cent.
    month_cents: u64,
    hour_points: u64,
    pub sold: Sold,
}

/// Where a size is sold.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Sold {
    Europe,
    Everywhere,
    Overseas,
}

/// A disk that servers begin with.
pub(super) struct Image {
    pub id: u64,
    pub name: &'static str,
    pub app: bool,
    flavor: &'static str,
    version: &'static str,
    description: &'static str,
    pub arm: bool,
    pub disk_gb: u64,
}

#[rustfmt::skip]
pub(super) const LOCATIONS: [Location; 6] = [
    Location { id: 1, name: "fsn1", zone: "eu-central", city: "Falkenstein", country: "DE", description: "Falkenstein DC Park 1", latitude: 50.47612, longitude: 12.370071 },
    Location { id: 2, name: "nbg1", zone: "eu-central", city: "Nuremberg", country: "DE", description: "Nuremberg DC Park 1", latitude: 49.452102, longitude: 11.076665 },
    Location { id: 3, name: "hel1", zone: "eu-central", city: "Helsinki", country: "FI", description: "Helsinki DC Park 1", latitude: 60.169855, longitude: 24.938379 },
    Location { id: 4, name: "ash", zone: "us-east", city: "Ashburn, VA", country: "US", description: "Ashburn, VA", latitude: 39.045821, longitude: -77.487073 },
    Location { id: 5, name: "hil", zone: "us-west", city: "Hillsboro, OR", country: "US", description: "Hillsboro, OR", latitude: 45.54222, longitude: -122.951924 },
    Location { id: 6, name: "sin", zone: "ap-southeast", city: "Singapore", country: "SG", description: "Singapore", latitude: 1.283333, longitude: 103.833333 },
];

const fn size(id: u64, name: &'static str, shape: [u64; 3], price: [u64; 2], sold: Sold) -> ServerType {
    let [cores, memory_gb, disk_gb] = shape;
    let [month_cents, hour_points] = price;
    let bytes = name.as_bytes();
    let arm = bytes[1] == b'a';
    ServerType { id, name, cores, memory_gb, disk_gb, arm, retired: false, month_cents, hour_points, sold }
}

const fn retired(id: u64, name: &'static str, shape: [u64; 3], price: [u64; 2]) -> ServerType {
    let mut size = size(id, name, shape, price, Sold::Europe);
    size.retired = true;
    size
}

/// Sizes and net prices after 15 June 2026; an hour costs 1/624 of a month.
#[rustfmt::skip]
pub(super) const SERVER_TYPES: [ServerType; 26] = [
    retired(104, "cx22", [2, 4, 40], [379, 61]),
    retired(105, "cx32", [4, 8, 80], [680, 109]),
    retired(106, "cx42", [8, 16, 160], [1640, 263]),
    retired(107, "cx52", [16, 32, 320], [3240, 519]),
    size(45, "cax11", [2, 4, 40], [599, 96], Sold::Europe),
    size(93, "cax21", [4, 8, 80], [999, 160], Sold::Europe),
    size(94, "cax31", [8, 16, 160], [1999, 320], Sold::Europe),
    size(95, "cax41", [16, 32, 320], [3999, 641], Sold::Europe),
    size(96, "ccx13", [2, 8, 80], [4299, 689], Sold::Everywhere),
    size(97, "ccx23", [4, 16, 160], [8599, 1378], Sold::Everywhere),
    size(98, "ccx33", [8, 32, 240], [13849, 2219], Sold::Everywhere),
    size(99, "ccx43", [16, 64, 360], [27599, 4423], Sold::Everywhere),
    size(100, "ccx53", [32, 128, 600], [55199, 8846], Sold::Everywhere),
    size(101, "ccx63", [48, 192, 960], [82799, 13269], Sold::Everywhere),
    size(22, "cpx11", [2, 2, 40], [549, 88], Sold::Overseas),
    size(23, "cpx21", [3, 4, 80], [999, 160], Sold::Overseas),
    size(114, "cx23", [2, 4, 40], [549, 88], Sold::Europe),
    size(115, "cx33", [4, 8, 80], [849, 136], Sold::Europe),
    size(116, "cx43", [8, 16, 160], [1599, 256], Sold::Europe),
    size(117, "cx53", [16, 32, 320], [2949, 473], Sold::Europe),
    size(108, "cpx12", [1, 2, 40], [999, 160], Sold::Everywhere),
    size(109, "cpx22", [2, 4, 80], [1949, 312], Sold::Everywhere),
    size(110, "cpx32", [4, 8, 160], [3549, 569], Sold::Everywhere),
    size(111, "cpx42", [8, 16, 320], [6949, 1114], Sold::Everywhere),
    size(112, "cpx52", [12, 24, 480], [10049, 1610], Sold::Everywhere),
    size(113, "cpx62", [16, 32, 640], [12999, 2083], Sold::Everywhere),
];

#[rustfmt::skip]
pub(super) const IMAGES: [Image; 8] = [
    Image { id: 114690387, name: "debian-12", app: false, flavor: "debian", version: "12", description: "Debian 12", arm: false, disk_gb: 5 },
    Image { id: 114690389, name: "debian-12", app: false, flavor: "debian", version: "12", description: "Debian 12", arm: true, disk_gb: 5 },
    Image { id: 310557660, name: "debian-13", app: false, flavor: "debian", version: "13", description: "Debian 13", arm: false, disk_gb: 5 },
    Image { id: 310557661, name: "debian-13", app: false, flavor: "debian", version: "13", description: "Debian 13", arm: true, disk_gb: 5 },
    Image { id: 161547269, name: "ubuntu-24.04", app: false, flavor: "ubuntu", version: "24.04", description: "Ubuntu 24.04", arm: false, disk_gb: 5 },
    Image { id: 161547270, name: "ubuntu-24.04", app: false, flavor: "ubuntu", version: "24.04", description: "Ubuntu 24.04", arm: true, disk_gb: 5 },
    Image { id: 40093247, name: "docker-ce", app: true, flavor: "ubuntu", version: "24.04", description: "docker-ce", arm: false, disk_gb: 40 },
    Image { id: 105888141, name: "docker-ce", app: true, flavor: "ubuntu", version: "24.04", description: "docker-ce", arm: true, disk_gb: 40 },
];

/// Value added tax in percent; gross prices contain it.
const VAT_PERCENT: u64 = 19;
const TERABYTE: u64 = 1_099_511_627_776;

/// An amount of euros, in hundred thousandths.
struct Euro(u64);

impl fmt::Display for Euro {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{:05}00000", self.0 / 100_000, self.0 % 100_000)
    }
}

fn price(net: u64) -> Json {
    let gross = Euro(net * (100 + VAT_PERCENT) / 100);
    json!({ "net": Euro(net).to_string(), "gross": format!("{gross}000000") })
}

const fn cents(cents: u64) -> u64 {
    cents * 1000
}

impl Location {
    pub fn find(reference: &Reference) -> Option<&'static Self> {
        LOCATIONS.iter().find(|place| reference.id() == Some(place.id) || reference.0 == place.name)
    }

    pub fn named(name: &str) -> &'static Self {
        LOCATIONS.iter().find(|place| place.name == name).unwrap_or(&LOCATIONS[0])
    }

    pub fn render(&self) -> Json {
        json!({
            "id": self.id, "name": self.name, "description": self.description, "country": self.country,
            "city": self.city, "latitude": self.latitude, "longitude": self.longitude, "network_zone": self.zone,
        })
    }

    /// Returns the retired wrapping of a location, for clients from before July 2026.
    pub fn render_datacenter(&self) -> Json {
        let types: Vec<u64> = SERVER_TYPES.iter().filter(|size| size.sold_at(self)).map(|size| size.id).collect();
        json!({
            "id": self.id, "name": format!("{}-dc1", self.name), "description": self.description,
            "location": self.render(),
            "server_types": { "available": types, "available_for_migration": types, "supported": types },
        })
    }
}

impl ServerType {
    pub fn find(reference: &Reference) -> Option<&'static Self> {
        SERVER_TYPES.iter().find(|size| reference.id() == Some(size.id) || reference.0 == size.name)
    }

    pub fn by_id(id: u64) -> &'static Self {
        SERVER_TYPES.iter().find(|size| size.id == id).unwrap_or(&SERVER_TYPES[0])
    }

    /// Whether the size is offered at a place at all.
    pub fn sold_at(&self, place: &Location) -> bool {
        let europe = place.zone == "eu-central";
        !self.retired
            && match self.sold {
                Sold::Europe => europe,
                Sold::Overseas => !europe,
                Sold::Everywhere => true,
            }
    }

    pub fn architecture(&self) -> &'static str {
        architecture(self.arm)
    }

    /// Returns it with what is in stock: `available` says so per place.
    pub fn render(&self, available: &dyn Fn(&ServerType, &Location) -> bool) -> Json {
        let dedicated = self.name.starts_with("ccx");
        let category = match () {
            () if dedicated => "general_purpose",
            () if self.name.starts_with("cpx") => "regular_purpose",
            () => "cost_optimized",
        };
        let gone = json!({ "announced": "2025-10-16T06:00:00Z", "unavailable_after": "2026-01-01T00:00:00Z" });
        let deprecation = if self.retired { gone } else { Json::Null };
        let places = LOCATIONS.iter().filter(|place| self.retired && place.zone == "eu-central" || self.sold_at(place));
        let places = places.map(|place| {
            let available = available(self, place);
            json!({
                "id": place.id, "name": place.name, "deprecation": deprecation,
                "available": available, "recommended": available && !dedicated,
            })
        });
        json!({
            "id": self.id, "name": self.name, "description": self.name.to_uppercase(), "category": category,
            "cores": self.cores, "memory": self.memory_gb, "disk": self.disk_gb,
            "architecture": self.architecture(), "cpu_type": if dedicated { "dedicated" } else { "shared" },
            "storage_type": "local", "deprecated": self.retired, "deprecation": deprecation,
            "locations": places.collect::<Vec<_>>(), "prices": self.prices(),
        })
    }

    fn prices(&self) -> Vec<Json> {
        let places = LOCATIONS.iter().filter(|place| self.retired && place.zone == "eu-central" || self.sold_at(place));
        let one = |place: &Location| {
            let (traffic_tb, traffic_cents) = match place.zone {
                "eu-central" => (20, 100),
                "ap-southeast" => (1, 740),
                _ => (1, 100),
            };
            json!({
                "location": place.name, "included_traffic": traffic_tb * TERABYTE,
                "price_hourly": price(self.hour_points * 10), "price_monthly": price(cents(self.month_cents)),
                "price_per_tb_traffic": price(cents(traffic_cents)),
            })
        };
        places.map(one).collect()
    }
}

impl Image {
    /// Finds an image by id, or by name for an architecture.
    pub fn find(reference: &Reference, arm: bool) -> Option<&'static Self> {
        let by_id = IMAGES.iter().find(|image| reference.id() == Some(image.id));
        by_id.or_else(|| IMAGES.iter().find(|image| image.name == reference.0 && image.arm == arm))
    }

    pub fn by_id(id: u64) -> Option<&'static Self> {
        IMAGES.iter().find(|image| image.id == id)
    }

    pub fn architecture(&self) -> &'static str {
        architecture(self.arm)
    }

    pub fn kind(&self) -> &'static str {
        if self.app { "app" } else { "system" }
    }

    pub fn render(&self) -> Json {
        json!({
            "id": self.id, "type": self.kind(), "status": "available", "name": self.name,
            "description": self.description, "image_size": null, "disk_size": self.disk_gb,
            "created": "2025-08-15T06:00:00Z", "created_from": null, "bound_to": null, "os_flavor": self.flavor,
            "os_version": self.version, "rapid_deploy": true, "protection": { "delete": false }, "deprecated": null,
            "deprecation": null, "deleted": null, "labels": {}, "architecture": self.architecture(),
        })
    }
}

fn architecture(arm: bool) -> &'static str {
    if arm { "arm" } else { "x86" }
}

/// Returns what `/pricing` says.
pub(super) fn pricing() -> Json {
    let everywhere = |month_cents: u64, hour_points: Option<u64>| -> Vec<Json> {
        let one = |place: &Location| {
            let mut entry = json!({ "location": place.name, "price_monthly": price(cents(month_cents)) });
            if let Some(points) = hour_points {
                entry["price_hourly"] = price(points * 10);
            }
            entry
        };
        LOCATIONS.iter().map(one).collect()
    };
    let types: Vec<Json> =
        SERVER_TYPES.iter().map(|size| json!({ "id": size.id, "name": size.name, "prices": size.prices() })).collect();
    json!({ "pricing": {
        "currency": "EUR", "vat_rate": format!("{VAT_PERCENT}.000000"),
        "image": { "price_per_gb_month": price(1430) },
        "volume": { "price_per_gb_month": price(5700) },
        "server_backup": { "percentage": "20.0000000000" },
        "floating_ip": { "price_monthly": price(cents(300)) },
        "floating_ips": [
            { "type": "ipv4", "prices": everywhere(300, None) },
            { "type": "ipv6", "prices": everywhere(100, None) },
        ],
        "primary_ips": [
            { "type": "ipv4", "prices": everywhere(50, Some(8)) },
            { "type": "ipv6", "prices": everywhere(0, Some(0)) },
        ],
        "server_types": types,
        "load_balancer_types": [],
    } })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that panics has failed")]
mod tests {
    use super::*;

    #[test]
    fn prices_are_decimal_texts() {
        let size = ServerType::find(&Reference("cx23".to_owned())).unwrap();
        let shown = size.render(&|_, _| true);
        assert_eq!(shown["prices"][0]["price_monthly"]["net"], "5.4900000000");
        assert_eq!(shown["prices"][0]["price_hourly"]["net"], "0.0088000000");
        assert_eq!(shown["prices"].as_array().unwrap().len(), 3, "cx sizes are sold in the EU only");
        assert!(shown["memory"].is_u64() && shown["disk"].is_u64(), "some clients parse them as integers");
    }

    #[test]
    fn ids_and_names_are_unique() {
        let mut ids: Vec<u64> = SERVER_TYPES.iter().map(|size| size.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), SERVER_TYPES.len());
        let mut ids: Vec<u64> = IMAGES.iter().map(|image| image.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), IMAGES.len());
    }
}
