//! `claw cost`: what the fleet costs a month.

use std::collections::BTreeMap;

use clap::Args;
use claw_core::money::Money;
use claw_core::name::Address;
use claw_core::observed::State;
use claw_core::plan::{Cost, Inputs, Policy, cost_of};
use serde_json::json;

use super::Outcome;
use crate::args::Global;
use crate::exit;
use crate::render::{self, style, table};
use crate::session::Session;
use crate::setup::Setup;

/// Show what the fleet costs a month, thing by thing
///
/// As it stands, and as the fleet file wants it. Prices are the cloud's own, net of tax, asked for now. What was bought at an
/// older price may cost less until it is changed. Traffic beyond what is included, and models, are not counted.
#[derive(Debug, Args)]
pub struct CostArgs {}

impl CostArgs {
    /// Runs it.
    pub fn run(self, global: &Global, setup: &Setup) -> Outcome {
        let mut session = Session::open(global, setup)?;
        super::announce_sandbox(global);
        super::print_warnings(global, &session);
        let observed = super::wait(session.observe())?;
        let Session { desired, unresolved, rules, .. } = &session;
        let policy = Policy::default();
        let inputs = Inputs { desired, unresolved, observed: &observed, rules, policy: &policy };
        let all = desired.resources.keys().chain(observed.states.keys());
        let costs: BTreeMap<&Address, Cost> =
            all.filter_map(|address| Some((address, cost_of(inputs, address)?))).collect();
        let before: Money = costs.values().map(|cost| cost.before).sum();
        let after: Money = costs.values().map(|cost| cost.after).sum();
        let fact = |address: &Address, key: &str| match observed.states.get(address) {
            Some(State::Present(actual)) => actual.facts.get(key).cloned().unwrap_or_default(),
            _ => String::new(),
        };
        if global.json {
            let rows: Vec<_> = costs
                .iter()
                .map(|(address, cost)| {
                    json!({
                        "resource": address.id, "place": address.place, "size": fact(address, "size"),
                        "before": cost.before, "after": cost.after,
                    })
                })
                .collect();
            render::json(&json!({
                "currency": "EUR", "per": "month", "tax": "net", "before": before, "after": after, "resources": rows,
                "unseen": observed.incomplete,
            }));
            return Ok(exit::DONE);
        }
        let euros = |money: Money| if money == Money::ZERO { "-".to_owned() } else { format!("€{money}") };
        let row = |(address, cost): (&&Address, &Cost)| {
            vec![address.to_string(), fact(address, "size"), euros(cost.before), euros(cost.after)]
        };
        let mut rows: Vec<Vec<String>> = costs.iter().map(row).collect();
        rows.push(vec!["all".to_owned(), String::new(), euros(before), euros(after)]);
        render::out(table::draw(&["WHAT", "SIZE", "A MONTH NOW", "AS THE FILE SAYS"], &rows));
        for (place, why) in &observed.incomplete {
            let sign = style::paint(style::YELLOW, "!");
            render::out(format_args!("{sign} {place} could not be seen: {}", claw_core::text::clean(why, 300)));
        }
        Ok(if observed.incomplete.is_empty() { exit::DONE } else { exit::HELD })
    }
}
