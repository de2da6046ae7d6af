//! What a host consists of, and what an agent on it consists of, which is what its engine's rules say. Looks at nothing.

use std::sync::Arc;

use claw_core::desired::Resource;
use claw_core::name::{Address, Kind, ResourceId};
use claw_core::plan::Effect;
use claw_core::problem::Problem;
use claw_core::provider::{AgentSpec, HostSpec, Rules};
use claw_core::ssh::{PublicKey, Standing};
use claw_core::value::{Change, Fields, Value};

use crate::access::{Block, OTHERS};
use crate::script::{self, GUARD_VERSION};

/// The field that says which host key it shows.
pub const HOST_KEY: &str = "host_key";
/// What that is on a machine that a cloud made: nobody else ever had it.
pub const OWN: &str = "its own";

/// The rules of machines with SSH.
pub struct HostRules {
    engine: Arc<dyn Rules>,
}

impl HostRules {
    /// Returns the rules of hosts whose engine has these.
    pub fn new(engine: Arc<dyn Rules>) -> Self {
        Self { engine }
    }
}

impl Rules for HostRules {
    fn declare(&self, agent: AgentSpec<'_>) -> Result<Vec<(ResourceId, Resource)>, Vec<Problem>> {
        self.engine.declare(agent)
    }

    fn declare_host(&self, host: HostSpec<'_>) -> Result<Vec<(ResourceId, Resource)>, Vec<Problem>> {
        let access = ResourceId::new(Kind::Access, host.id);
        let needs = vec![Address { id: access.clone(), place: host.key.to_owned() }];
        Ok(vec![
            (access, Resource { fields: access_fields(host), ..Resource::default() }),
            (
                ResourceId::new(Kind::Host, host.id),
                Resource { fields: host_fields(host), needs, ..Resource::default() },
            ),
        ])
    }

    fn weigh(&self, id: &ResourceId, changes: &[Change]) -> Effect {
        if id.kind.is_of_host() { Effect::None } else { self.engine.weigh(id, changes) }
    }
}

/// Who may log in: the key claw has, the one it moves to, and people. A key it left is in nobody's block.
fn access_fields(host: HostSpec<'_>) -> Fields {
    let control = host.control.iter().filter(|key| key.standing != Standing::Retired);
    let operators = host.fleet.ssh.operators.iter();
    let block = Block {
        control: control.map(|key| key.public.clone()).collect(),
        operators: operators.filter_map(|(name, text)| Some((name.clone(), text.parse().ok()?))).collect(),
        // in front of a cloud's machine stands a firewall
        from: if host.fleet.cloud_of(host.table).is_some() {
            Vec::new()
        } else {
            host.table.allow_from.clone().unwrap_or_else(|| host.fleet.ssh.allow_from.clone())
        },
    };
    let mut fields = block.fields();
    if host.table.exclusive == Some(true) {
        fields.insert(OTHERS.to_owned(), Value::List(Vec::new()));
    }
    fields
}

fn host_fields(host: HostSpec<'_>) -> Fields {
    let user = host.table.user.as_deref().unwrap_or("root");
    let sshd = script::sshd(user).map(|(directive, value)| (directive.to_owned(), value.into()));
    let mut fields = Fields::from([
        ("folders".to_owned(), "present".into()),
        ("engine".to_owned(), "running".into()),
        ("updates".to_owned(), "on".into()),
        ("guard".to_owned(), GUARD_VERSION.into()),
        ("sshd".to_owned(), Value::map(sshd)),
    ]);
    if user != "root" {
        fields.insert("engine_user".to_owned(), user.into());
    }
    if host.fleet.cloud_of(host.table).is_some() {
        fields.insert(HOST_KEY.to_owned(), OWN.into());
    }
    let key = host.table.host_key_next.as_ref().or(host.table.host_key.as_ref());
    if let Some(key) = key.and_then(|text| text.parse::<PublicKey>().ok()) {
        fields.insert(HOST_KEY.to_owned(), key.fingerprint().into());
    }
    fields
}
