//! Asks every provider what it sees, all at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use claw_core::desired::Desired;
use claw_core::observed::{Observed, Report};
use claw_core::provider::Provider;
use claw_core::secret::Secrets;
use futures_util::StreamExt;

/// How long a provider may take to look at everything, in seconds.
const OBSERVE_SECONDS_MAX: u64 = 120;

/// How many places are looked at side by side: more logins at once only wait for each other.
const PLACES_AT_ONCE: usize = 64;

/// The providers of a fleet by place.
pub type Providers = BTreeMap<String, Arc<dyn Provider>>;

/// Returns what the providers saw. A place without a provider, or one that does not answer in time, is unknown.
pub async fn observe(providers: &Providers, desired: &Desired, secrets: &dyn Secrets) -> Observed {
    let looks = desired.places.iter().map(|place| async move {
        let unseen = |why: String| Report { place: place.clone(), incomplete: Some(why), ..Report::default() };
        let Some(provider) = providers.get(place) else { return unseen("there is no provider for it".to_owned()) };
        let limit = Duration::from_secs(OBSERVE_SECONDS_MAX);
        match tokio::time::timeout(limit, provider.observe(desired, secrets)).await {
            Ok(report) => report,
            Err(_) => unseen(format!("it did not answer within {OBSERVE_SECONDS_MAX} s")),
        }
    });
    Observed::fold(futures_util::stream::iter(looks).buffer_unordered(PLACES_AT_ONCE).collect().await)
}
