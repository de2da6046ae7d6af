//! After a machine was turned off and on: waits until its host answers again and those of its agents that were well are. A
//! run that ended before would leave the next look with a machine that cannot be seen.

use std::time::{Duration, Instant};

use claw_core::desired::Desired;
use claw_core::name::{Address, Kind};
use claw_core::observed::{Observed, Report, Seen, State};
use claw_core::plan::{Action, Effect, Step};
use claw_core::provider::ApplyError;
use claw_core::secret::Secrets;

use crate::observe::Providers;

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
    (desired, observed): (&Desired, &Observed),
    providers: &Providers,
    secrets: &dyn Secrets,
    tell: &(dyn Fn(&str) + Send + Sync),
) -> Result<(), ApplyError> {
    if !turns_on(step) {
        return Ok(());
    }
    let host = desired.hosts.get(&step.address.id.name).filter(|host| host.suspend.is_none() && !host.absent);
    let Some((place, provider)) = host.and_then(|host| Some((&host.name, providers.get(&host.name)?))) else {
        return Ok(());
    };
    tell("waiting for its host and its agents");
    let (begun, mut pause) = (Instant::now(), LOOK_FIRST);
    loop {
        let report = provider.observe(desired, secrets).await;
        let missing = missing(place, &report, desired, observed);
        let Some((why, needed)) = missing else { return Ok(()) };
        if begun.elapsed() >= WAIT_MAX {
            if !needed {
                return Ok(());
            }
            return Err(ApplyError::fatal(format!("see {place} well again after it was turned on: {why}"))
                .help(format!("`claw health host/{place}` says how far it can be reached")));
        }
        tokio::time::sleep(pause).await;
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
