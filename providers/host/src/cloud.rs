//! A host on a machine that a cloud makes: found before each look and each step, known by the pins that stand beside it at
//! the cloud, and given a host key of its own at first contact. Knows no cloud.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use claw_core::desired::Desired;
use claw_core::machine::{Found, Locate, Pins, Whereabouts};
use claw_core::name::Kind;
use claw_core::observed::{Observation, Report, State};
use claw_core::operate::{
    Command, Ended, Layer, LogQuery, Operate, OperateError, Operated, Pipe, Power, Target as Who,
};
use claw_core::plan::Step;
use claw_core::provider::{ApplyError, BoxFuture, Class, Provider, StepContext};
use claw_core::secret::Secrets;
use claw_core::ssh::PublicKey;
use claw_net::ssh::{Connection, Key, Network, Patience, Pin, SshError, Target};

use crate::bootstrap::pin_label;
use crate::converge::failed;
use crate::login::Login;
use crate::provider::HostProvider;
use crate::rules::{HOST_KEY, OWN};

/// Makes the provider of the engine that is reached over a connection.
pub type Engine = dyn Fn(Connection) -> Arc<dyn Provider> + Send + Sync;

/// How a machine is logged in to, once it is known where it is.
pub struct Dial {
    /// The connections of this run.
    pub network: Network,
    /// Everything about the machine but its address and its pins.
    pub target: Target,
    /// claw's own keys by their public halves.
    pub control: BTreeMap<PublicKey, Key>,
    /// What runs there.
    pub engine: Box<Engine>,
}

/// A host on a cloud's machine.
pub struct CloudHost {
    place: String,
    fleet: String,
    id: String,
    locate: Arc<dyn Locate>,
    dial: Dial,
    /// The machine as it was found last, and the way to it.
    last: Mutex<Option<(Found, Arc<HostProvider>)>>,
}

/// Where a machine is, and the way to it.
enum Way {
    Nowhere,
    /// It never was logged in to for long, and does not answer yet.
    Unborn(String),
    Away(String),
    To(Found, Arc<HostProvider>),
}

/// Why there is no way to a machine.
enum Shut {
    Login(SshError),
    Other(ApplyError),
}

impl CloudHost {
    /// Returns the provider for a host. `locate` finds its machine.
    pub fn new(place: &str, fleet: &str, id: &str, locate: Arc<dyn Locate>, dial: Dial) -> Self {
        let [place, fleet, id] = [place, fleet, id].map(str::to_owned);
        Self { place, fleet, id, locate, dial, last: Mutex::default() }
    }

    async fn way(&self, patience: Patience) -> Way {
        let found = match self.locate.find().await {
            Ok(Whereabouts::Here(found)) => found,
            Ok(Whereabouts::Nowhere) => return Way::Nowhere,
            Ok(Whereabouts::Away(why)) | Err(why) => return Way::Away(why),
        };
        let (error, silent) = match self.host(&found, patience).await {
            Ok(host) => return Way::To(found, host),
            Err(Shut::Login(error)) => (self.refused(&found, &error), error.is_passing()),
            Err(Shut::Other(error)) => (error, false),
        };
        let help = error.help.map(|help| format!("; {help}")).unwrap_or_default();
        let why = format!("{}{help}", error.reason);
        if silent && found.pins.born_with { Way::Unborn(why) } else { Way::Away(why) }
    }

    /// Says why nobody could log in, as who has a cloud's console would want to hear it.
    fn refused(&self, found: &Found, error: &SshError) -> ApplyError {
        let mut said = failed(&format!("log in to {}", self.place), error);
        let place = &self.place;
        let cause = match error {
            SshError::Blocked { source: Some(source), .. } => source,
            other => other,
        };
        match cause {
            SshError::HostKey { .. } | SshError::KeyRefused { .. } if found.pins.born_with => {
                said.help = Some(format!(
                    "it did not take its user data: look on its console at /var/log/cloud-init-output.log; nothing of \
                     {place} is on it yet, so rebuild it at the cloud with the same user data, or delete it there and \
                     apply again"
                ));
            }
            SshError::HostKey { .. } => {
                said.help = Some(format!(
                    "if {place} was reinstalled on purpose, read its key on its own console (ssh-keygen -lf \
                     /etc/ssh/ssh_host_ed25519_key.pub) and pin it with `claw adopt server`; otherwise somebody is in the \
                     middle: do not log in by other means"
                ));
            }
            _ => {}
        }
        said
    }

    /// Logs in, which tells the whole host key of which the cloud keeps the pin only.
    async fn host(&self, found: &Found, patience: Patience) -> Result<Arc<HostProvider>, Shut> {
        let known = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((_, host)) = known.filter(|(last, _)| last == found) {
            return Ok(host);
        }
        let what = format!("log in to {}", self.place);
        let pins = [Some(&found.pins.current), found.pins.next.as_ref()].into_iter().flatten();
        let pins: Result<Vec<Pin>, _> = pins.map(|label| Pin::from_label(label)).collect();
        let pins = pins.map_err(|error| Shut::Other(failed(&what, &error)))?;
        let target = Target { address: found.address.clone(), pins, ..self.dial.target.clone() };
        let connection = self.dial.network.connection(&target).with_patience(Patience::STEADY);
        connection.with_patience(patience).open().await.map_err(Shut::Login)?;
        let shown = Login::shown(&connection);
        let unseen = || Shut::Other(ApplyError::new(Class::Retry, format!("{what}: no host key was shown")));
        let host_key = shown.ok_or_else(unseen)?;
        let engine = (self.dial.engine)(connection.clone());
        let (user, control) = (target.user.clone(), self.dial.control.clone());
        let login = Login { user, control, host_key, connection };
        let host = Arc::new(HostProvider::new(&self.place, &self.fleet, &self.id, login, engine));
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((found.clone(), Arc::clone(&host)));
        Ok(host)
    }

    async fn look(&self, desired: &Desired, secrets: &dyn Secrets) -> Report {
        let empty = Report { place: self.place.clone(), ..Report::default() };
        let (found, host) = match self.way(Patience::QUICK).await {
            // with the machine, everything on it is gone: that is known, not unknown
            Way::Nowhere => return empty,
            // what boots for the first time has nothing of ours on it: agents come after the first contact
            Way::Unborn(_) => return empty,
            Way::Away(why) => return Report { incomplete: Some(why), ..empty },
            Way::To(found, host) => (found, host),
        };
        let mut report = host.observe(desired, secrets).await;
        let standing = match &found.pins {
            Pins { next: Some(_), .. } => "on its way to a new one",
            Pins { born_with: true, .. } => "the one from its user data",
            _ => OWN,
        };
        for observation in report.observations.iter_mut().filter(|one| one.address.id.kind == Kind::Host) {
            if let State::Present(actual) = &mut observation.state {
                actual.fields.insert(HOST_KEY.to_owned(), standing.into());
            }
        }
        report
    }

    async fn step(&self, step: &Step, ctx: StepContext<'_>) -> Result<Vec<Observation>, ApplyError> {
        (ctx.progress)("waiting for the machine");
        let (found, host) = match self.way(Patience::STEADY).await {
            Way::Nowhere => {
                return Err(ApplyError::fatal(format!("find the machine of {}: there is none", self.place))
                    .help("apply again: the machine is made first"));
            }
            Way::Unborn(why) | Way::Away(why) => {
                return Err(ApplyError::fatal(format!("reach the machine of {}: {why}", self.place)));
            }
            Way::To(found, host) => (found, host),
        };
        let seen = host.apply(step, ctx).await?;
        if step.address.id.kind == Kind::Host && !step.action.is_delete() {
            (ctx.progress)("giving it a host key of its own");
            self.settle_host_key(&found, &host).await?;
        }
        Ok(seen)
    }

    /// Sees to it that the machine shows a key that never was in user data, and that its pin alone is kept. Both pins are
    /// kept beside the machine before it shows the other key, so it can be found at every instant.
    async fn settle_host_key(&self, found: &Found, host: &HostProvider) -> Result<(), ApplyError> {
        let shown = Login::shown(&host.login().connection).map(|key| pin_label(&key));
        let Pins { current, next, born_with } = &found.pins;
        if next.is_none() && !born_with {
            return Ok(());
        }
        let key = if next.is_some() && *next == shown {
            host.login().host_key.clone() // it got this far before
        } else {
            host.next_host_key().await?
        };
        let label = pin_label(&key);
        let both = Pins { current: current.clone(), next: Some(label.clone()), born_with: *born_with };
        if both != found.pins {
            self.locate.pin(both).await?;
        }
        host.show_host_key(&key).await?;
        self.locate.pin(Pins { current: label, next: None, born_with: false }).await?;
        // what comes next logs in with the new pin
        host.login().connection.close().await;
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(())
    }

    async fn reach(&self, what: &str) -> Result<Arc<HostProvider>, OperateError> {
        match self.way(Patience::QUICK).await {
            Way::To(_, host) => Ok(host),
            Way::Nowhere => {
                Err(OperateError::new(format!("{what}: {} has no machine yet", self.place))
                    .help("`claw apply` makes it"))
            }
            Way::Unborn(why) | Way::Away(why) => Err(OperateError::new(format!("{what}: {why}"))),
        }
    }
}

impl Provider for CloudHost {
    fn observe<'a>(&'a self, desired: &'a Desired, secrets: &'a dyn Secrets) -> BoxFuture<'a, Report> {
        Box::pin(self.look(desired, secrets))
    }

    fn apply<'a>(
        &'a self,
        step: &'a Step,
        ctx: StepContext<'a>,
    ) -> BoxFuture<'a, Result<Vec<Observation>, ApplyError>> {
        Box::pin(self.step(step, ctx))
    }

    fn operate(&self) -> Option<&dyn Operate> {
        Some(self)
    }
}

impl Operate for CloudHost {
    fn exec<'a>(&'a self, target: &'a Who, command: &'a Command, pipe: &'a dyn Pipe) -> Operated<'a, Ended> {
        Box::pin(async move { self.reach("run a command").await?.exec(target, command, pipe).await })
    }

    fn logs<'a>(&'a self, agent: &'a str, query: &'a LogQuery, pipe: &'a dyn Pipe) -> Operated<'a, ()> {
        Box::pin(async move { self.reach("read the log").await?.logs(agent, query, pipe).await })
    }

    fn connect<'a>(&'a self, agent: &'a str, port: u16, pipe: &'a dyn Pipe) -> Operated<'a, ()> {
        Box::pin(async move { self.reach("connect").await?.connect(agent, port, pipe).await })
    }

    fn pull<'a>(&'a self, target: &'a Who, path: &'a str, pipe: &'a dyn Pipe) -> Operated<'a, ()> {
        Box::pin(async move { self.reach("copy files").await?.pull(target, path, pipe).await })
    }

    fn push<'a>(&'a self, target: &'a Who, folder: &'a str, pipe: &'a dyn Pipe) -> Operated<'a, ()> {
        Box::pin(async move { self.reach("copy files").await?.push(target, folder, pipe).await })
    }

    fn chat<'a>(
        &'a self,
        agent: &'a str,
        conversation: &'a str,
        message: &'a str,
        pipe: &'a dyn Pipe,
    ) -> Operated<'a, ()> {
        Box::pin(async move { self.reach("talk").await?.chat(agent, conversation, message, pipe).await })
    }

    fn power<'a>(&'a self, agent: &'a str, power: Power) -> Operated<'a, ()> {
        Box::pin(async move { self.reach("start or stop it").await?.power(agent, power).await })
    }

    fn health<'a>(&'a self, target: &'a Who) -> BoxFuture<'a, Vec<Layer>> {
        Box::pin(async move {
            match self.reach("find the machine").await {
                Ok(host) => host.health(target).await,
                Err(error) => vec![Layer { name: "connection", outcome: Err(error.reason), took_ms: 0 }],
            }
        })
    }

    fn owner(&self, target: &Who) -> u64 {
        // who owns files is the engine's rule and asks nobody: an engine that is never reached says it, too
        let engine = (self.dial.engine)(self.dial.network.connection(&self.dial.target));
        match (target, engine.operate()) {
            (Who::Agent(_), Some(engine)) => engine.owner(target),
            _ => 0,
        }
    }

    fn prove<'a>(&'a self, key: &'a PublicKey) -> Operated<'a, ()> {
        Box::pin(async move { self.reach("prove a key").await?.prove(key).await })
    }

    /// Makes the next host key and keeps its pin beside the machine: the next apply has it shown.
    fn new_host_key(&self) -> Operated<'_, PublicKey> {
        Box::pin(async move {
            let what = "make a host key";
            let host = self.reach(what).await?;
            let told = |error: ApplyError| OperateError { reason: error.reason, help: error.help };
            let made = host.next_host_key().await.map_err(told)?;
            let Ok(Whereabouts::Here(found)) = self.locate.find().await else {
                return Err(OperateError::new(format!("{what}: the machine is gone")));
            };
            if found.pins.next.is_some() {
                // it may show either now: a third would leave it without the pin of the one it shows
                return Err(OperateError::new(format!("{what}: the machine is on its way to a new one already"))
                    .help("`claw apply` ends that first"));
            }
            self.locate.pin(Pins { next: Some(pin_label(&made)), ..found.pins }).await.map_err(told)?;
            Ok(made)
        })
    }

    fn label(&self) -> String {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().map_or_else(|| self.place.clone(), |(_, host)| host.label())
    }
}
