//! One host: what it is and who may log in is seen and done here; what runs in its engine is another provider's, over
//! the same connection.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use claw_core::desired::Desired;
use claw_core::name::{Address, Kind, ResourceId};
use claw_core::observed::{Actual, Observation, Owner, Report, State};
use claw_core::operate::Operate;
use claw_core::plan::Step;
use claw_core::provider::access::{SEEN_FROM, UNMANAGED};
use claw_core::provider::{ApplyError, BoxFuture, Provider, StepContext};
use claw_core::secret::Secrets;
use claw_core::ssh::PublicKey;
use claw_core::value::{Fields, Value};

use crate::access::{EDITED, Keys, OTHERS};
use crate::converge::Machine;
use crate::facts::Facts;
use crate::login::Login;
use crate::rules::HOST_KEY;
use crate::script;

/// The most that two clocks may differ before it is said, in seconds.
const SKEW_SECONDS_MAX: i64 = 60;

/// One host of a fleet.
pub struct HostProvider {
    pub(crate) place: String,
    pub(crate) fleet: String,
    pub(crate) id: String,
    pub(crate) login: Login,
    pub(crate) engine: Arc<dyn Provider>,
}

impl HostProvider {
    /// Returns the provider for a host. `engine` serves what runs in its engine.
    pub fn new(place: &str, fleet: &str, id: &str, login: Login, engine: Arc<dyn Provider>) -> Self {
        Self { place: place.to_owned(), fleet: fleet.to_owned(), id: id.to_owned(), login, engine }
    }

    /// Returns the way to the host.
    pub fn login(&self) -> &Login {
        &self.login
    }

    /// Makes the next host key on the host, where its private half stays, and returns it. Nothing shows it yet. Called again
    /// it returns the same one, until that is the key of the login.
    pub async fn next_host_key(&self) -> Result<PublicKey, ApplyError> {
        self.machine().next_host_key().await
    }

    /// Has sshd show a host key that was made on the host, and it alone. A fresh login that takes no other confirms it; else
    /// the host goes back to the one before. Then the one before is gone from the host, also from /etc/ssh: it may have
    /// come from user-data. Safe to call again, also after a kill.
    ///
    /// Until this has returned, the host may show either: both pins have to be on record before it is called, and the
    /// one before may be dropped only afterwards. The login's own connection stays with what it knew; connect anew.
    pub async fn show_host_key(&self, key: &PublicKey) -> Result<(), ApplyError> {
        let login = Login { host_key: key.clone(), ..self.login.clone() };
        Machine { login: &login, ..self.machine() }.show_host_key().await
    }

    pub(crate) fn machine(&self) -> Machine<'_> {
        Machine { login: &self.login, fleet: &self.fleet, id: &self.id }
    }

    async fn look(&self, desired: &Desired, secrets: &dyn Secrets) -> Report {
        let facts = match self.machine().facts_soon().await {
            Ok(facts) => facts,
            Err(error) => {
                let help = error.help.map(|help| format!("; {help}")).unwrap_or_default();
                let incomplete = Some(format!("{}{help}", error.reason));
                return Report { place: self.place.clone(), incomplete, ..Report::default() };
            }
        };
        // without an engine there is nothing in it: that is known, not unknown
        let may_look = self.login.user == "root" || facts.engine_user;
        let empty = Report { place: self.place.clone(), ..Report::default() };
        let mut report = match (facts.engine_installed, may_look) {
            (false, _) => empty,
            (true, true) => self.engine.observe(desired, secrets).await,
            (true, false) => {
                let user = &self.login.user;
                let why = format!(
                    "{user} may not use the engine yet; what is done about the host allows it, then plan again"
                );
                Report { incomplete: Some(why), ..empty }
            }
        };
        let keys = facts.keys.as_ref().map(|text| Keys::read(text, &self.fleet)).map_err(String::clone);
        report.facts = self.place_facts(&facts, &keys);
        for (kind, state) in self.states(desired, &facts, &keys) {
            report.observations.push(Observation { address: self.address(kind), state });
        }
        report
    }

    fn address(&self, kind: Kind) -> Address {
        Address { id: ResourceId::new(kind, self.id.clone()), place: self.place.clone() }
    }

    fn states(&self, desired: &Desired, facts: &Facts, keys: &Result<Keys, String>) -> Vec<(Kind, State)> {
        let ours = format!("{} {}", self.fleet, self.id);
        if facts.mark.as_ref().is_some_and(|mark| *mark != ours) {
            let foreign = || State::Present(Actual { owner: Owner::Foreign, ..Actual::default() });
            return vec![(Kind::Host, foreign()), (Kind::Access, foreign())];
        }
        // said outright: what the engine hides is not the host's own absence
        let host = if facts.mark.is_some() { present(self.host_fields(facts)) } else { State::Absent };
        let mut states = vec![(Kind::Host, host)];
        let keys = match keys {
            Ok(keys) => keys,
            Err(why) => {
                let why = format!("{}/.ssh/authorized_keys: {why}", facts.home);
                states.push((Kind::Access, State::Unknown { why }));
                return states;
            }
        };
        if keys.block.is_none() {
            states.push((Kind::Access, State::Absent));
        }
        if let Some(block) = &keys.block {
            let mut fields = block.fields();
            let wanted = desired.resources.get(&self.address(Kind::Access));
            if wanted.is_some_and(|wanted| wanted.fields.contains_key(OTHERS)) {
                let others = keys.others.iter().map(|text| Value::from(text.as_str())).collect();
                fields.insert(OTHERS.to_owned(), Value::List(others));
            }
            if keys.edited {
                fields.insert(EDITED.to_owned(), "by hand".into());
            }
            if facts.armed {
                fields.insert("unconfirmed".to_owned(), "a change waits for its confirmation".into());
            }
            states.push((Kind::Access, present(fields)));
        }
        states
    }

    fn host_fields(&self, facts: &Facts) -> Fields {
        let wanted = script::sshd(&self.login.user);
        let sshd = wanted.map(|(directive, _)| {
            let found = facts.sshd.get(directive).map_or("(unknown)", String::as_str);
            (directive.to_owned(), Value::from(found))
        });
        let mut fields = Fields::from([("sshd".to_owned(), Value::map(sshd))]);
        let mut note = |is: bool, key: &str, value: &str| {
            if is {
                fields.insert(key.to_owned(), value.into());
            }
        };
        note(facts.folders, "folders", "present");
        note(facts.engine_installed, "engine", if facts.engine_running { "running" } else { "stopped" });
        note(facts.engine_user && self.login.user != "root", "engine_user", &self.login.user);
        note(facts.updates, "updates", "on");
        note(facts.armed, "unconfirmed", "a change waits for its confirmation");
        if let Some(guard) = &facts.guard {
            note(true, "guard", guard);
        }
        if let Some(shown) = self.login.connection.report().pin_fingerprint {
            note(true, HOST_KEY, &shown);
        }
        fields
    }

    fn place_facts(&self, facts: &Facts, keys: &Result<Keys, String>) -> BTreeMap<String, String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let skew = facts.clock_s - i64::try_from(now).unwrap_or_default();
        let report = self.login.connection.report();
        let mut found = BTreeMap::from([
            ("system".to_owned(), facts.system.clone()),
            ("machine".to_owned(), facts.machine.clone()),
            ("memory_mib".to_owned(), facts.memory_mib.to_string()),
            ("disk_free_mib".to_owned(), facts.disk_mib.to_string()),
        ]);
        let mut note = |key: &str, value: Option<String>| {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                found.insert(key.to_owned(), value);
            }
        };
        note(SEEN_FROM, Some(facts.from.clone()));
        note("clock_skew_s", (skew.abs() > SKEW_SECONDS_MAX).then(|| skew.to_string()));
        note(UNMANAGED, keys.as_ref().ok().map(|keys| keys.others.join("\n")));
        note("latency_ms", report.latency_ms.map(|millis| millis.to_string()));
        note("login_key", report.key_fingerprint);
        found
    }
}

fn present(fields: Fields) -> State {
    State::Present(Actual { fields, ..Actual::default() })
}

impl Provider for HostProvider {
    fn observe<'a>(&'a self, desired: &'a Desired, secrets: &'a dyn Secrets) -> BoxFuture<'a, Report> {
        Box::pin(self.look(desired, secrets))
    }

    fn apply<'a>(
        &'a self,
        step: &'a Step,
        ctx: StepContext<'a>,
    ) -> BoxFuture<'a, Result<Vec<Observation>, ApplyError>> {
        Box::pin(async move {
            match step.address.id.kind {
                Kind::Host => self.machine().host(step, ctx).await.map(|()| Vec::new()),
                Kind::Access => self.machine().access(step, ctx).await.map(|()| Vec::new()),
                _ => self.engine.apply(step, ctx).await,
            }
        })
    }

    fn operate(&self) -> Option<&dyn Operate> {
        Some(self)
    }
}
