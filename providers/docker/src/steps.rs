//! The steps, one file per kind. Each is idempotent: it may have been begun before and been killed anywhere.

pub mod anchor;
pub mod config;
pub mod network;
pub mod secrets;
pub mod volume;
pub mod workspace;

use claw_core::name::Kind;
use claw_core::plan::{Action, Step};
use claw_core::provider::{ApplyError, StepContext};
use claw_core::value::Value;

use crate::agent::Agent;
use crate::image::Images;

/// One step and what it uses.
pub struct Job<'a> {
    /// The agent it is about.
    pub agent: Agent<'a>,
    /// The step.
    pub step: &'a Step,
    /// The fleet, secrets and progress.
    pub ctx: StepContext<'a>,
    /// The engine's images.
    pub images: &'a Images,
}

impl Job<'_> {
    /// Ends the helper that a killed run of this step may have left at work: it must not move files under our hands.
    pub async fn end_leftover(&self) -> Result<(), ApplyError> {
        match self.step.address.id.kind {
            kind @ (Kind::Secrets | Kind::Config | Kind::Workspace) => {
                self.agent.remove(&self.agent.names.helper(kind.word())).await
            }
            _ => Ok(()),
        }
    }

    /// Whether nobody saw the files that the running gateway, if there is one, began with: their anchor was gone.
    pub fn is_blind(&self) -> bool {
        matches!(self.step.action, Action::Create { .. })
    }

    /// Returns the agent's image as the fleet wants it, fetched if the engine did not have it.
    pub async fn image(&self) -> Result<String, ApplyError> {
        let container = self.ctx.resource(&self.step.address.sibling(Kind::Container));
        let image = container.and_then(|resource| resource.fields.get("image")).and_then(Value::as_text);
        let image = image.ok_or_else(|| ApplyError::fatal("find the agent's image: it is not declared"))?;
        self.images.ensure(self.agent.docker, image, self.ctx.progress).await?;
        Ok(image.to_owned())
    }
}
