//! What is done, by kind. Every step looks before it touches, so that one begun again goes on where it was.

pub mod address;
pub mod dns;
pub mod firewall;
mod resolve;
pub mod server;
pub mod sshkey;

use claw_core::machine::Bear;
use claw_core::plan::Step;
use claw_core::provider::{ApplyError, StepContext};
use claw_core::value::{Fields, Value};
use claw_net::dns::Ask;

use crate::project::Project;

/// One step, and what it needs.
pub struct Job<'a> {
    pub project: &'a Project,
    pub step: &'a Step,
    pub ctx: StepContext<'a>,
    pub bear: &'a Bear,
    pub names: &'a dyn Ask,
}

impl Job<'_> {
    /// The name of the resource.
    pub fn name(&self) -> &str {
        &self.step.address.id.name
    }

    /// The fields it shall have.
    pub fn after(&self) -> Result<&Fields, ApplyError> {
        self.step.action.after().ok_or_else(|| ApplyError::fatal("know what it shall be: it is to go"))
    }

    /// One of them that is a text.
    pub fn text(&self, field: &str) -> Result<&str, ApplyError> {
        let text = self.after()?.get(field).and_then(Value::as_text);
        text.ok_or_else(|| ApplyError::fatal(format!("know its {field}: the plan does not say")))
    }

    /// Says what goes on.
    pub fn say(&self, text: &str) {
        (self.ctx.progress)(text);
    }

    /// Something without the fleet's mark has the name.
    pub fn foreign(&self, called: &str) -> ApplyError {
        let called = claw_core::text::clean(called, 80);
        ApplyError::fatal(format!(
            "make {}: something without this fleet's mark has the name {called}",
            self.step.address
        ))
        .help("claw never touches it: rename or remove it in the console, or adopt it")
    }
}
