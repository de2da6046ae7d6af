//! Images: pulled when the engine does not have them, once for all agents that want one.

use std::collections::BTreeMap;
use std::sync::Arc;

use bollard::query_parameters::CreateImageOptionsBuilder;
use claw_core::provider::ApplyError;
use claw_core::text::clean;
use futures_util::StreamExt;
use tokio::sync::Mutex;

use crate::error::{failed, is_missing};

/// Images being fetched from one engine's registries.
#[derive(Default)]
pub struct Images {
    locks: Mutex<BTreeMap<String, Arc<Mutex<()>>>>,
}

impl Images {
    /// Pulls the image unless the engine has it. Agents that want the same wait for one pull.
    pub async fn ensure(
        &self,
        docker: &bollard::Docker,
        image: &str,
        progress: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<(), ApplyError> {
        let lock = self.locks.lock().await.entry(image.to_owned()).or_default().clone();
        let _one = lock.lock().await;
        match docker.inspect_image(image).await {
            Ok(_) => Ok(()),
            Err(error) if is_missing(&error) => pull(docker, image, progress).await,
            Err(error) => Err(failed(&format!("look for image {image}"), error)),
        }
    }
}

async fn pull(
    docker: &bollard::Docker,
    image: &str,
    progress: &(dyn Fn(&str) + Send + Sync),
) -> Result<(), ApplyError> {
    progress(&format!("pulling {image}"));
    let options = CreateImageOptionsBuilder::default().from_image(image).build();
    let mut stream = Box::pin(docker.create_image(Some(options), None, None));
    let mut layers: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    while let Some(event) = stream.next().await {
        let event = event.map_err(|error| pull_failed(image, failed(&format!("pull {image}"), error)))?;
        if let Some(detail) = event.error_detail {
            let text = clean(&detail.message.unwrap_or_default(), 200);
            return Err(pull_failed(image, ApplyError::fatal(format!("pull {image}: {text}"))));
        }
        if let (Some(layer), Some(detail)) = (event.id, event.progress_detail)
            && let (Some(current), Some(total)) = (detail.current, detail.total)
        {
            layers.insert(layer, (current, total));
            let (done, all) =
                layers.values().fold((0, 0), |(done, all), (current, total)| (done + current, all + total));
            progress(&format!("pulling {image}: {} of {} MB", done / 1_000_000, all / 1_000_000));
        }
    }
    Ok(())
}

fn pull_failed(image: &str, error: ApplyError) -> ApplyError {
    if error.help.is_some() {
        return error;
    }
    error.help(format!(
        "is `{image}` right, and can the engine's machine reach its registry? what was pulled is kept; apply again"
    ))
}
