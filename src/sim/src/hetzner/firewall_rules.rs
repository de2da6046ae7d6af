//! The rules of a firewall: which are taken, and how they are shown.

use serde_json::{Value as Json, json};

use super::body::{Fields, need};
use super::ranges::is_cidr;
use super::refusal::Refusal;
use super::state::Rule;

/// The most rules of a firewall.
const RULES_MAX: usize = 50;
/// The most effective rules: each address range of a rule counts.
const EFFECTIVE_MAX: usize = 500;

/// Returns the rules of a body, checked.
pub(super) fn parse(list: &[Json]) -> Result<Vec<Rule>, Refusal> {
    if list.len() > RULES_MAX {
        return Err(Refusal::invalid("rules", "a firewall has 50 rules at most"));
    }
    let rules = list.iter().map(rule).collect::<Result<Vec<_>, _>>()?;
    let effective: usize = rules.iter().map(|rule| rule.source_ips.len() + rule.destination_ips.len()).sum();
    if effective > EFFECTIVE_MAX {
        return Err(Refusal::invalid("rules", "a firewall has 500 effective rules at most"));
    }
    Ok(rules)
}

fn rule(entry: &Json) -> Result<Rule, Refusal> {
    let fields = Fields::within(entry, "rules")?;
    let direction = need(fields.text("direction")?, "rules.direction")?.to_owned();
    let protocol = need(fields.text("protocol")?, "rules.protocol")?.to_owned();
    let port = fields.text("port")?.map(str::to_owned);
    let description = fields.text("description")?.map(str::to_owned);
    if !["tcp", "udp", "icmp", "esp", "gre"].contains(&protocol.as_str()) {
        return Err(Refusal::invalid("rules.protocol", format!("`{protocol}` is not a protocol")));
    }
    let with_port = ["tcp", "udp"].contains(&protocol.as_str());
    match &port {
        None if with_port => return Err(Refusal::invalid("rules.port", "is required for tcp and udp")),
        Some(_) if !with_port => return Err(Refusal::invalid("rules.port", "is for tcp and udp only")),
        Some(port) if !is_port(port) => return Err(Refusal::invalid("rules.port", format!("`{port}` is not a port"))),
        _ => {}
    }
    if description.as_ref().is_some_and(|text| text.chars().count() > 255) {
        return Err(Refusal::invalid("rules.description", "is longer than 255 characters"));
    }
    let (source_ips, destination_ips) = (ranges(&fields, "source_ips")?, ranges(&fields, "destination_ips")?);
    let missing = match direction.as_str() {
        "in" => source_ips.is_empty().then_some("rules.source_ips"),
        "out" => destination_ips.is_empty().then_some("rules.destination_ips"),
        other => return Err(Refusal::invalid("rules.direction", format!("`{other}` is not a direction"))),
    };
    match missing {
        Some(field) => Err(Refusal::invalid(field, "must not be empty")),
        None => Ok(Rule { direction, protocol, port, source_ips, destination_ips, description }),
    }
}

fn ranges(fields: &Fields, name: &str) -> Result<Vec<String>, Refusal> {
    let list = fields.texts(name)?;
    match list.iter().find(|text| !is_cidr(text)) {
        Some(wrong) => {
            Err(Refusal::invalid(&format!("rules.{name}"), format!("`{wrong}` is not a range in CIDR form")))
        }
        None => Ok(list),
    }
}

fn is_port(text: &str) -> bool {
    let one = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
    match text.split_once('-') {
        Some((low, high)) => matches!((one(low), one(high)), (Some(low), Some(high)) if low <= high),
        None => one(text).is_some(),
    }
}

impl Rule {
    pub fn render(&self) -> Json {
        json!({
            "direction": self.direction, "protocol": self.protocol, "port": self.port, "source_ips": self.source_ips,
            "destination_ips": self.destination_ips, "description": self.description,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_checked() {
        let table = [
            (json!({"direction": "in", "protocol": "tcp", "port": "22", "source_ips": ["0.0.0.0/0", "::/0"]}), true),
            (json!({"direction": "in", "protocol": "tcp", "port": "80-85", "source_ips": ["10.0.0.0/8"]}), true),
            (json!({"direction": "in", "protocol": "icmp", "source_ips": ["0.0.0.0/0"]}), true),
            (json!({"direction": "out", "protocol": "udp", "port": "53", "destination_ips": ["1.1.1.1/32"]}), true),
            (json!({"direction": "in", "protocol": "tcp", "source_ips": ["0.0.0.0/0"]}), false),
            (json!({"direction": "in", "protocol": "icmp", "port": "1", "source_ips": ["0.0.0.0/0"]}), false),
            (json!({"direction": "in", "protocol": "tcp", "port": "85-80", "source_ips": ["0.0.0.0/0"]}), false),
            (json!({"direction": "in", "protocol": "tcp", "port": "0", "source_ips": ["0.0.0.0/0"]}), false),
            (json!({"direction": "in", "protocol": "tcp", "port": "22"}), false),
            (json!({"direction": "in", "protocol": "tcp", "port": "22", "source_ips": ["10.0.0.1/8"]}), false),
            (json!({"direction": "up", "protocol": "tcp", "port": "22", "source_ips": ["0.0.0.0/0"]}), false),
        ];
        for (entry, good) in table {
            assert_eq!(parse(std::slice::from_ref(&entry)).is_ok(), good, "{entry}");
        }
        let many = vec![json!({"direction": "in", "protocol": "icmp", "source_ips": ["0.0.0.0/0"]}); 51];
        assert!(parse(&many).is_err());
    }
}
