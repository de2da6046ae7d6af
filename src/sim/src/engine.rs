//! An engine that keeps agents in the simulated world. It is stricter than a real one: what needs something that is not
//! there fails, so that a wrong order shows.

use claw_core::desired::Desired;
use claw_core::name::{Address, Kind, ResourceId};
use claw_core::observed::{Observation, Report, State};
use claw_core::operate::Operate;
use claw_core::plan::{Action, Step};
use claw_core::provider::access::SEEN_FROM;
use claw_core::provider::{ApplyError, BoxFuture, Class, Provider, StepContext};
use claw_core::secret::Secrets;
use claw_core::value::Value;

use crate::faults::Faults;
use crate::world::{Place, Thing, World, WorldError};

/// A simulated engine.
pub struct SimEngine {
    pub(crate) place: String,
    pub(crate) world: World,
    faults: Faults,
    now: Box<dyn Fn() -> String + Send + Sync>,
    machine: Option<Box<dyn Fn() -> Machine + Send + Sync>>,
    seen_from: Option<String>,
}

/// The machine an engine is on, where a simulated cloud has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Machine {
    /// There is none.
    Nowhere,
    /// It does not answer, and why.
    Away(String),
    /// It answers. The text changes with its disk: what was on the one before is gone.
    Here(String),
}

impl SimEngine {
    /// Returns the engine of a place. `now` gives the time for what is made.
    pub fn new(place: &str, world: World, faults: Faults, now: impl Fn() -> String + Send + Sync + 'static) -> Self {
        Self { place: place.to_owned(), world, faults, now: Box::new(now), machine: None, seen_from: None }
    }

    /// Puts the engine on a machine that comes and goes.
    #[must_use]
    pub fn on(mut self, machine: impl Fn() -> Machine + Send + Sync + 'static) -> Self {
        self.machine = Some(Box::new(machine));
        self
    }

    /// Has the machine tell from which address it sees us.
    #[must_use]
    pub fn seen_from(mut self, address: &str) -> Self {
        self.seen_from = Some(address.to_owned());
        self
    }

    /// Returns the machine, and forgets what was on another one before it. Under another name it keeps what is on it.
    fn machine(&self) -> Result<Option<Machine>, WorldError> {
        let Some(machine) = self.machine.as_ref().map(|look| look()) else { return Ok(None) };
        let disk = match &machine {
            Machine::Here(disk) => Some(disk.clone()),
            Machine::Nowhere => None,
            Machine::Away(_) => return Ok(Some(machine)),
        };
        if self.world.look(&self.place, |place| place.machine != disk) {
            let kept = disk.as_ref().map(|disk| self.world.take(disk)).transpose()?.flatten();
            let fresh = kept.unwrap_or_else(|| Place { machine: disk.clone(), ..Place::default() });
            self.world.change(&self.place, |place| *place = fresh)?;
        }
        Ok(Some(machine))
    }

    fn report(&self) -> Report {
        match self.machine() {
            Ok(Some(Machine::Away(why))) => {
                return Report { place: self.place.clone(), incomplete: Some(why), ..Report::default() };
            }
            Ok(Some(Machine::Nowhere)) => return Report { place: self.place.clone(), ..Report::default() },
            _ => {}
        }
        let mut report = self.world.look(&self.place, |place| {
            let observations = place.things.iter().map(|(id, thing)| {
                let address = Address { id: id.clone(), place: self.place.clone() };
                let state = State::Present(thing.actual(&address));
                Observation { address, state }
            });
            Report {
                place: self.place.clone(),
                observations: if place.down.is_some() { Vec::new() } else { observations.collect() },
                facts: self.seen_from.iter().map(|from| (SEEN_FROM.to_owned(), from.clone())).collect(),
                incomplete: place.down.clone(),
            }
        });
        if self.faults.strikes(self.faults.cut_permille) {
            report.observations.truncate(report.observations.len() / 2);
            report.incomplete = Some("the answer was cut short".to_owned());
        }
        report
    }

    fn change(&self, step: &Step) -> Result<(), ApplyError> {
        match self.machine().map_err(broken)? {
            Some(Machine::Away(why)) => return Err(ApplyError::new(Class::Retry, format!("reach the machine: {why}"))),
            Some(Machine::Nowhere) => return Err(ApplyError::fatal("reach the machine: there is none")),
            _ => {}
        }
        if self.faults.strikes(self.faults.before_permille) {
            return Err(ApplyError::new(Class::Retry, "reach the engine: connection reset"));
        }
        let created = (self.now)();
        let changed = self.world.change(&self.place, |place| apply(place, step, created)).map_err(broken)?;
        changed?;
        if self.faults.strikes(self.faults.after_permille) {
            return Err(ApplyError::new(Class::Retry, "hear from the engine: timed out"));
        }
        Ok(())
    }
}

fn broken(error: WorldError) -> ApplyError {
    let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
    ApplyError::fatal(format!("{error}{cause}"))
}

fn apply(place: &mut Place, step: &Step, created: String) -> Result<(), ApplyError> {
    if let Some(why) = &place.down {
        return Err(ApplyError::new(Class::Retry, format!("reach the engine: {why}")));
    }
    let id = &step.address.id;
    if let Some(left) = place.failing.get_mut(id).filter(|left| **left > 0) {
        *left -= 1;
        return Err(ApplyError::fatal("change it: the sandbox was told to fail here"));
    }
    if place.things.get(id).is_some_and(|thing| thing.foreign) {
        return Err(ApplyError::fatal(format!("use the name of {id}: something without this fleet's mark has it")));
    }
    let sibling = |kind: Kind| ResourceId::new(kind, id.name.clone());
    match &step.action {
        Action::Delete { .. } => {
            let ours = |kind: Kind| place.things.get(&sibling(kind)).is_some_and(|thing| !thing.foreign);
            // seeded files are no object of the engine: a gateway goes on without them
            let user = Kind::ALL
                .into_iter()
                .filter(|_| id.kind != Kind::Workspace)
                .find(|kind| kind.needs().contains(&id.kind) && ours(*kind));
            if let Some(user) = user {
                return Err(ApplyError::fatal(format!("remove {id}: {user}/{} uses it", id.name)));
            }
            place.things.remove(id);
        }
        Action::Create { after } | Action::Update { after, .. } | Action::Replace { after, .. } => {
            let missing = id
                .kind
                .needs()
                .iter()
                .find(|need| **need != Kind::Workspace && !place.things.contains_key(&sibling(**need)));
            if let Some(missing) = missing {
                return Err(ApplyError::fatal(format!("make {id}: {missing}/{} is not there", id.name)));
            }
            refuse_bad_image(place, id, after.get("image").and_then(Value::as_text))?;
            let created = place.things.get(id).map_or(created, |thing| thing.created.clone());
            place.things.insert(id.clone(), Thing::new(after, created));
        }
    }
    Ok(())
}

/// Two kinds of image misbehave, so that failures can be tried: tags that end in `missing` and in `broken`.
fn refuse_bad_image(place: &Place, id: &ResourceId, image: Option<&str>) -> Result<(), ApplyError> {
    match image {
        Some(image) if image.ends_with("missing") => Err(ApplyError::fatal(format!("pull {image}: manifest unknown"))
            .help("there is no such version: look at `version` or `image`")),
        Some(image) if image.ends_with("broken") => {
            let mut error = ApplyError::fatal(format!("start {}: stopped, exit 1", id.name));
            error.rolled_back = place.things.contains_key(id);
            Err(error)
        }
        _ => Ok(()),
    }
}

impl Provider for SimEngine {
    fn observe<'a>(&'a self, _desired: &'a Desired, _secrets: &'a dyn Secrets) -> BoxFuture<'a, Report> {
        Box::pin(async move { self.report() })
    }

    fn apply<'a>(
        &'a self,
        step: &'a Step,
        ctx: StepContext<'a>,
    ) -> BoxFuture<'a, Result<Vec<Observation>, ApplyError>> {
        Box::pin(async move {
            if step.address.id.kind == Kind::Container && !step.action.is_delete() {
                (ctx.progress)("starting the gateway");
            }
            self.change(step).map(|()| Vec::new())
        })
    }

    fn operate(&self) -> Option<&dyn Operate> {
        Some(self)
    }
}
