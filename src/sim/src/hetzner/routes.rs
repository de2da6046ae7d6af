//! Which paths there are, and with which methods. The API refuses an unknown path before anything else.

/// A path that exists.
pub(super) struct Route {
    /// The methods it takes, separated by spaces.
    pub methods: &'static str,
}

/// Collections with actions: their own, and those of each entry.
const WITH_ACTIONS: &[&str] = &[
    "certificates",
    "firewalls",
    "floating_ips",
    "images",
    "load_balancers",
    "networks",
    "primary_ips",
    "servers",
    "volumes",
    "zones",
];
/// Collections that are only looked at.
const READ_ONLY: &[&str] =
    &["actions", "datacenters", "isos", "load_balancer_types", "locations", "pricing", "server_types"];
/// Collections without actions.
const PLAIN: &[&str] = &["placement_groups", "ssh_keys"];

const SERVER_COMMANDS: &[&str] = &[
    "add_to_placement_group",
    "attach_iso",
    "attach_to_network",
    "change_alias_ips",
    "change_dns_ptr",
    "change_protection",
    "change_type",
    "create_image",
    "detach_from_network",
    "detach_iso",
    "disable_backup",
    "disable_rescue",
    "enable_backup",
    "enable_rescue",
    "poweroff",
    "poweron",
    "reboot",
    "rebuild",
    "remove_from_placement_group",
    "request_console",
    "reset",
    "reset_password",
    "shutdown",
];
const LOAD_BALANCER_COMMANDS: &[&str] = &[
    "add_service",
    "add_target",
    "attach_to_network",
    "change_algorithm",
    "change_dns_ptr",
    "change_protection",
    "change_type",
    "delete_service",
    "detach_from_network",
    "disable_public_interface",
    "enable_public_interface",
    "remove_target",
    "update_service",
];
const RRSET_COMMANDS: &[&str] =
    &["add_records", "change_protection", "change_ttl", "remove_records", "set_records", "update_records"];

/// Returns the route of a path below `/v1`.
pub(super) fn route(segments: &[&str]) -> Option<Route> {
    let (first, rest) = segments.split_first()?;
    let actions = WITH_ACTIONS.contains(first);
    let methods = match rest {
        [] if READ_ONLY.contains(first) => "GET",
        [] if *first == "images" => "GET",
        [] if actions || PLAIN.contains(first) => "GET POST",
        [""] => return None,
        ["actions"] if actions => "GET",
        [_] if *first == "pricing" => return None,
        [_] if READ_ONLY.contains(first) => "GET",
        [_] if actions || PLAIN.contains(first) => "GET PUT DELETE",
        ["actions", _] if actions => "GET",
        [_, "actions"] if actions => "GET",
        [_, "actions", command] if actions => match commands(first).contains(command) {
            true => "POST",
            false if command.parse::<u64>().is_ok() => "GET",
            false => return None,
        },
        [_, "metrics"] if ["servers", "load_balancers"].contains(first) => "GET",
        [_, "members"] if *first == "networks" => "GET",
        [_, "zonefile"] if *first == "zones" => "GET",
        [_, "rrsets"] if *first == "zones" => "GET POST",
        [_, "rrsets", _, _] if *first == "zones" => "GET PUT DELETE",
        [_, "rrsets", _, _, "actions", command] if *first == "zones" && RRSET_COMMANDS.contains(command) => "POST",
        _ => return None,
    };
    Some(Route { methods })
}

fn commands(collection: &str) -> &'static [&'static str] {
    match collection {
        "certificates" => &["retry"],
        "firewalls" => &["apply_to_resources", "remove_from_resources", "set_rules"],
        "floating_ips" | "primary_ips" => &["assign", "change_dns_ptr", "change_protection", "unassign"],
        "images" => &["change_protection"],
        "load_balancers" => LOAD_BALANCER_COMMANDS,
        "networks" => {
            &["add_route", "add_subnet", "change_ip_range", "change_protection", "delete_route", "delete_subnet"]
        }
        "servers" => SERVER_COMMANDS,
        "volumes" => &["attach", "change_protection", "detach", "resize"],
        "zones" => &["change_primary_nameservers", "change_protection", "change_ttl", "import_zonefile"],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_methods() {
        let table = [
            ("servers", Some("GET POST")),
            ("servers/1", Some("GET PUT DELETE")),
            ("servers/1/actions/poweron", Some("POST")),
            ("servers/1/actions/7", Some("GET")),
            ("servers/actions", Some("GET")),
            ("servers/1/actions/fly", None),
            ("ssh_keys/1/actions", None),
            ("zones/a.de/rrsets/www/A", Some("GET PUT DELETE")),
            ("zones/a.de/rrsets/www/A/actions/set_records", Some("POST")),
            ("pricing", Some("GET")),
            ("pricing/1", None),
            ("images", Some("GET")),
            ("networks/1/members", Some("GET")),
            ("nothing", None),
            ("servers/", None),
            ("", None),
        ];
        for (path, methods) in table {
            let segments: Vec<&str> = path.split('/').collect();
            assert_eq!(route(&segments).map(|route| route.methods), methods, "{path}");
        }
    }
}
