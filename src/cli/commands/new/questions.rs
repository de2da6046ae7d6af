//! The questions about a new agent, in their order: each with what is usual here, none that the fleet answers already.

use std::collections::BTreeMap;

use claw_core::compile::is_id;
use claw_core::money::Money;

use super::Said;
use super::known::Known;
use crate::ask::{self, Ask};
use crate::error::CommandError;

/// Returns what sizes cost a month, by size, at a provider's location. Empty where that cannot be had.
pub type Prices<'a> = &'a dyn Fn(&str, &str) -> BTreeMap<String, Money>;

/// Asks for what was not said and returns the agent's name.
pub fn answer(
    ask: Ask<'_>,
    known: &Known<'_>,
    prices: Prices<'_>,
    name: Option<String>,
    said: &mut Said,
) -> Result<String, CommandError> {
    let head = format!(
        "A new agent of {}. Enter takes what stands in brackets, {} means none, ^C ends without a change.\n\n",
        known.fleet.meta.name,
        ask::NOTHING
    );
    let mut head = Some(head);
    let ask: Ask<'_> = &mut |prompt: &str| {
        let head = head.take().unwrap_or_default();
        ask(&format!("{head}{prompt}"))
    };
    let name = match name {
        Some(name) => name,
        None => ask_name(ask, known)?,
    };
    if said.on.is_none() && !known.says("on") {
        said.on = known.only_place();
        if said.on.is_none() {
            let (places, usual) = (known.places(), known.usual_place());
            let default = usual.or_else(|| Some(places.first()?.word.clone()));
            said.on = Some(ask::one_of(ask, ("Where it runs", "Place"), &places, default.as_deref(), false)?);
        }
    }
    ask_machine(ask, known, prices, said)?;
    let plain = |_: &str| Ok(());
    if said.domain.is_none()
        && !known.says("domain")
        && let Some(domain) = known.domain(&name, said)
    {
        said.domain = ask::text(ask, "Domain", Some(&domain), true, &plain)?;
    }
    if said.version.is_none() && !known.says("version") && !known.says("image") {
        said.version = ask::text(ask, "OpenClaw version", known.version().as_deref(), false, &plain)?;
    }
    if said.model.is_none() && !known.says("model") {
        let model = |answer: &str| match answer.split_once('/') {
            Some((provider, model)) if !provider.is_empty() && !model.is_empty() => Ok(()),
            _ => Err("Write provider and model: anthropic/claude-sonnet-5.".to_owned()),
        };
        said.model = ask::text(ask, "Model", known.model().as_deref(), false, &model)?;
    }
    let profiles = known.profiles();
    if said.secrets.is_empty() && !known.says("secrets") && !profiles.is_empty() {
        let words = ("Secret profiles it may draw from, with commas between", "Profiles");
        said.secrets = ask::some_of(ask, words, &profiles, &known.secrets())?;
    }
    if said.emoji.is_none() && !known.says("emoji") {
        said.emoji = ask::text(ask, "Emoji", Some(known.emoji(&name)), true, &plain)?;
    }
    if said.purpose.is_none() && !known.says("purpose") {
        said.purpose = ask::text(ask, "What it is for", None, true, &plain)?;
    }
    Ok(name)
}

fn ask_name(ask: Ask<'_>, known: &Known<'_>) -> Result<String, CommandError> {
    let check = |answer: &str| match known.taken(answer) {
        Some(taken) => Err(format!("{taken}.")),
        None if is_id(answer) => Ok(()),
        None => Err("A name has up to 32 lower-case letters, digits and dashes, a letter first.".to_owned()),
    };
    Ok(ask::text(ask, "Name", None, false, &check)?.unwrap_or_default())
}

/// Asks what machine a cloud shall make.
fn ask_machine(ask: Ask<'_>, known: &Known<'_>, prices: Prices<'_>, said: &mut Said) -> Result<(), CommandError> {
    let Some(cloud) = known.cloud(said) else { return Ok(()) };
    let place = known.place(said).unwrap_or_default().to_owned();
    if said.location.is_none() && !known.host_says("location") {
        let (locations, default) = known.locations(cloud);
        let words = ("Where its machine stands", "Location");
        said.location = Some(ask::one_of(ask, words, &locations, default.as_deref(), true)?);
    }
    if said.size.is_empty() && !known.host_says("size") {
        let location =
            said.location.clone().or_else(|| known.default_location().map(str::to_owned)).unwrap_or_default();
        let prices = prices(&place, &location);
        let (sizes, default) = known.sizes(cloud, &location, said, &prices);
        let words = ("What machine it gets", "Size");
        said.size = vec![ask::one_of(ask, words, &sizes, default.as_deref(), true)?];
    }
    Ok(())
}

#[cfg(test)]
mod tests;
