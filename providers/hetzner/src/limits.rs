//! What Hetzner Cloud allows, as its API reference says it (docs.hetzner.cloud, the section named at each).

/// Letters of a label's value (Labels).
pub const LABEL_VALUE_LETTERS_MAX: usize = 63;
/// Bytes of a server's user data (Servers, create).
pub const USER_DATA_BYTES_MAX: usize = 32 * 1024;
/// Rules of one firewall (Firewalls).
pub const RULES_PER_FIREWALL_MAX: usize = 50;
/// Rules that may act on one server, all its firewalls together (Firewalls).
pub const RULES_PER_SERVER_MAX: usize = 500;
/// Values of one record set (Zone RRSets).
pub const RECORDS_PER_SET_MAX: usize = 50;
/// The smallest time to live of a record set, in seconds (Zone RRSets).
pub const TTL_SECONDS_MIN: u32 = 60;
/// The largest (Zone RRSets).
pub const TTL_SECONDS_MAX: u32 = 2_147_483_647;
/// Elements of a page (Pagination).
pub const PER_PAGE_MAX: u32 = 50;
/// Record sets of a page (Zone RRSets, list).
pub const RRSETS_PER_PAGE_MAX: u32 = 100;
/// Requests an hour of one project; a used one comes back after a second (Rate Limiting).
pub const REQUESTS_PER_HOUR: u32 = 3600;
