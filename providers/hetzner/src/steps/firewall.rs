//! Who reaches machines: one rule set for all that have the same.

use claw_core::observed::Observation;
use claw_core::provider::ApplyError;
use claw_core::provider::access::FROM;
use claw_core::value::Value;

use super::Job;
use crate::error::Code;
use crate::names;
use crate::ops::NewFirewall;
use crate::wire::{Action, Direction, Protocol, Rule};

/// Does a step about a rule set.
pub async fn apply(job: &Job<'_>) -> Result<Vec<Observation>, ApplyError> {
    let (project, client) = (job.project, &job.project.client);
    let standing = client.firewalls(&project.ours_of(job.name())).await?.items;
    if job.step.action.is_delete() {
        for firewall in standing {
            client.delete_firewall(firewall.id).await?;
        }
        return Ok(Vec::new());
    }
    let rules = rules(job)?;
    let actions: Vec<Action> = match standing.first() {
        Some(firewall) => client.set_firewall_rules(firewall.id, &rules).await?,
        None => {
            let name = names::name(&project.fleet, job.name());
            let labels = names::marks(&project.fleet, job.name());
            match client.create_firewall(&NewFirewall { name: &name, labels: &labels, rules: &rules }).await {
                Ok(made) => made.actions,
                Err(error) => match client.firewalls(&project.ours_of(job.name())).await?.items.first() {
                    Some(made) => client.set_firewall_rules(made.id, &rules).await?,
                    None if error.is(&Code::UniquenessError) => return Err(job.foreign(&name)),
                    None => return Err(error.into()),
                },
            }
        }
    };
    client.wait(&actions).await?;
    Ok(Vec::new())
}

/// Returns the rules that the fields ask for.
fn rules(job: &Job<'_>) -> Result<Vec<Rule>, ApplyError> {
    let anywhere = || vec!["0.0.0.0/0".to_owned(), "::/0".to_owned()];
    let from = match job.after()?.get(FROM) {
        Some(Value::List(ranges)) => ranges.iter().filter_map(Value::as_text).map(str::to_owned).collect(),
        _ => anywhere(),
    };
    let rule = |protocol, port: Option<&str>, source_ips, text: &str| Rule {
        direction: Direction::In,
        protocol,
        port: port.map(str::to_owned),
        source_ips,
        destination_ips: Vec::new(),
        description: Some(text.to_owned()),
    };
    Ok(vec![rule(Protocol::Tcp, Some("22"), from, "SSH"), rule(Protocol::Icmp, None, anywhere(), "ping")])
}
