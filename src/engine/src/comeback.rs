//! After a machine was turned off and on: waits until its host answers again and those of its agents that were well are. A
//! run that ended before would leave the next look with a machine that cannot be seen.

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use claw_core::desired::Desired;
use claw_core::name::{Address, Kind};
use claw_core::observed::{Observed, Report, Seen, State};
use claw_core::plan::{Action, Effect, Step};
use claw_core::provider::ApplyError;

use crate::apply::{Run, waited};

/// How long a machine may take from being turned on until its agents are well: systems boot in one minute, images of
/// agents that start all at once take the rest.
const WAIT_MAX: Duration = Duration::from_secs(180);
/// The wait before the second look; each further one doubles it. Below what logins that fail are blocked for.
const LOOK_FIRST: Duration = Duration::from_secs(1);
const LOOK_LONGEST: Duration = Duration::from_secs(16);
/// What of a machine, and of a container, says whether it runs.
const STATUS: &str = "status";

/// Whether a step turns a machine on that was made before.
fn turns_on(step: &Step) -> bool {
    let Action::Update { changes, .. } = &step.action else { return false };
    let powered = changes.iter().any(|change| change.path == STATUS);
    step.address.id.kind == Kind::Server && (step.effect == Effect::Reboot || powered)
}

/// Waits for what is on the machine of a step, if the step turned one on. An error says who did not come back.
pub async fn wait(
    step: &Step,
    run: &Run<'_>,
    stop: &AtomicBool,
    tell: &(dyn Fn(&str) + Send + Sync),
) -> Result<(), ApplyError> {
    if !turns_on(step) {
        return Ok(());
    }
    let (desired, observed) = (run.desired, run.observed);
    let host = desired.hosts.get(&step.address.id.name).filter(|host| host.suspend.is_none() && !host.absent);
    let Some((place, provider)) = host.and_then(|host| Some((&host.name, run.providers.get(&host.name)?))) else {
        return Ok(());
    };
    tell("waiting for its host and its agents");
    let (begun, mut pause) = (Instant::now(), LOOK_FIRST);
    loop {
        let report = provider.observe(desired, run.secrets).await;
        let missing = missing(place, &report, desired, observed);
        let Some((why, needed)) = missing else { return Ok(()) };
        if begun.elapsed() >= WAIT_MAX {
            if !needed {
                return Ok(());
            }
            return Err(ApplyError::fatal(format!("see {place} well again after it was turned on: {why}"))
                .help(format!("`claw health host/{place}` says how far it can be reached")));
        }
        // who asks to stop does not want to wait for it
        if !waited(stop, u64::try_from(pause.as_millis()).unwrap_or(u64::MAX)).await {
            return Ok(());
        }
        pause = (pause * 2).min(LOOK_LONGEST);
    }
}

/// Returns what of a place is not back, and whether that must be: an agent that nobody saw well before may have been ill.
fn missing(place: &str, report: &Report, desired: &Desired, observed: &Observed) -> Option<(String, bool)> {
    if let Some(why) = &report.incomplete {
        return Some((why.clone(), true));
    }
    let containers = desired.resources.iter().filter(|(at, _)| at.place == place && at.id.kind == Kind::Container);
    for (address, resource) in containers {
        let Some(wanted) = resource.fields.get(STATUS) else { continue };
        let was_well = match observed.seen(address) {
            Seen::Present(actual) => actual.fields.get(STATUS) == Some(wanted),
            // it is made by a step of its own
            Seen::Absent => continue,
            Seen::Unknown(_) => false,
        };
        let status = status(address, report);
        match status {
            Some(Ok(status)) if status == *wanted => {}
            // one that was ill, or is not there: the next plan says so
            Some(Ok(_)) | None if !was_well && matches!(observed.seen(address), Seen::Present(_)) => {}
            Some(Ok(status)) => {
                let word = status.as_text().unwrap_or("not well");
                return Some((format!("{} is {word}", address.id), was_well));
            }
            Some(Err(why)) => return Some((format!("{}: {why}", address.id), was_well)),
            None => return Some((format!("{} is gone", address.id), was_well)),
        }
    }
    None
}

fn status(address: &Address, report: &Report) -> Option<Result<claw_core::value::Value, String>> {
    let found = report.observations.iter().find(|one| one.address == *address)?;
    match &found.state {
        State::Present(actual) => actual.fields.get(STATUS).cloned().map(Ok),
        State::Unknown { why } => Some(Err(why.clone())),
        State::Absent => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use claw_core::desired::Resource;
    use claw_core::name::ResourceId;
    use claw_core::observed::{Actual, Observation};
    use claw_core::value::{Change, Fields, Value};

    use super::*;

    fn at(name: &str) -> Address {
        Address { id: ResourceId::new(Kind::Container, name), place: "attic".to_owned() }
    }

    fn with(status: &str) -> Fields {
        BTreeMap::from([(STATUS.to_owned(), status.into())])
    }

    fn present(status: &str) -> State {
        State::Present(Actual { fields: with(status), ..Actual::default() })
    }

    /// Returns what is missing where ann shall be well, was so before, and is so now.
    fn judged(before: Option<State>, now: Option<State>) -> Option<(String, bool)> {
        let mut desired = Desired::default();
        desired.resources.insert(at("ann"), Resource { fields: with("healthy"), ..Resource::default() });
        let states = before.map(|state| (at("ann"), state)).into_iter().collect();
        let observed = Observed { states, ..Observed::default() };
        let observations = now.map(|state| Observation { address: at("ann"), state }).into_iter().collect();
        missing("attic", &Report { place: "attic".to_owned(), observations, ..Report::default() }, &desired, &observed)
    }

    #[test]
    fn who_was_well_is_waited_for_and_who_was_ill_is_not() {
        let unknown = || State::Unknown { why: "no answer".to_owned() };
        let told = |why: &str, needed| Some((why.to_owned(), needed));
        assert_eq!(judged(Some(present("healthy")), Some(present("healthy"))), None);
        assert_eq!(
            judged(Some(present("healthy")), Some(present("starting"))),
            told("container/ann is starting", true)
        );
        assert_eq!(judged(Some(present("healthy")), None), told("container/ann is gone", true));
        assert_eq!(judged(Some(present("healthy")), Some(unknown())), told("container/ann: no answer", true));
        assert_eq!(judged(Some(present("unhealthy: bad key")), Some(present("unhealthy: bad key"))), None);
        // nobody saw it: it is waited for, and no failure
        assert_eq!(judged(Some(unknown()), Some(present("starting"))), told("container/ann is starting", false));
        // it is not there yet, and a step of its own makes it
        assert_eq!(judged(None, None), None);
    }

    #[test]
    fn only_what_turns_a_machine_on_is_followed_by_a_wait() {
        let id = ResourceId::new(Kind::Server, "attic");
        let step = |effect, path: &str| {
            let change =
                Change { path: path.to_owned(), before: Some(Value::from("a")), after: Some(Value::from("b")) };
            let action = Action::Update { before: Fields::new(), after: Fields::new(), changes: vec![change] };
            let address = Address { id: id.clone(), place: "cloud".to_owned() };
            Step { address, action, effect, needs: Vec::new(), wave: None, cost: None }
        };
        assert!(turns_on(&step(Effect::Reboot, "size")) && turns_on(&step(Effect::None, "status")));
        assert!(!turns_on(&step(Effect::None, "name")));
    }
}
