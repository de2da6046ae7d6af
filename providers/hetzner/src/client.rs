//! The client: one token, one project. All its calls share a rate limit, a bound on what is in flight and a poller.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use claw_net::http::{self, Method, Request, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::actions::Poller;
use crate::error::{ApiError, Refusal};
use crate::pace::Pace;
use crate::retry::{self, Repeat};
use crate::timing::Timing;

/// Where the API is.
pub const API: &str = "https://api.hetzner.cloud/v1";
/// The host it is on.
pub const API_HOST: &str = "api.hetzner.cloud";
/// Requests in flight at once: lists come in quickly, and a project's limit is not gone before we hear of it.
const IN_FLIGHT_MAX: usize = 24;

/// What takes longer than a call should, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// All requests of the project wait, because its rate limit is nearly used up.
    Paused {
        /// For so long.
        seconds: u64,
        /// Requests that were left.
        remaining: u64,
    },
    /// A call is tried again.
    Retrying {
        /// `GET /servers`.
        operation: String,
        /// Why.
        why: String,
        /// After this wait.
        wait: Duration,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Paused { seconds, remaining } => {
                write!(f, "pausing {seconds} s: the project's rate limit has {remaining} requests left")
            }
            Self::Retrying { why, wait, .. } => write!(f, "trying again in {:.1} s: {why}", wait.as_secs_f64()),
        }
    }
}

/// Hears what takes long. Called from async code: it must return quickly.
pub type Tell = Arc<dyn Fn(&Event) + Send + Sync>;

/// Speaks with one project. Clones are the same client: there is one per token.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    http: http::Client,
    token_from: Arc<str>,
    tell: Tell,
    timing: Arc<dyn Timing>,
    pace: Pace,
    in_flight: Semaphore,
    poller: Poller,
}

impl Client {
    /// Returns a client. `token_from` says where the token comes from ("env HCLOUD_TOKEN"), for who must correct it.
    pub fn new(http: http::Client, token_from: &str, tell: Tell, timing: Arc<dyn Timing>) -> Self {
        Self {
            shared: Arc::new(Shared {
                http,
                token_from: Arc::from(token_from),
                tell,
                timing,
                pace: Pace::default(),
                in_flight: Semaphore::new(IN_FLIGHT_MAX),
                poller: Poller::default(),
            }),
        }
    }

    /// Checks that the API knows the token. Whether it may also write shows at the first change only.
    ///
    /// # Errors
    /// [`Code::Unauthorized`](crate::Code::Unauthorized), or what keeps us from the API.
    pub async fn check(&self) -> Result<(), ApiError> {
        let request = Request::new(Method::Get, ["ssh_keys"]).query("per_page", 1);
        self.call(&request, Repeat::Read).await.map(|_: Value| ())
    }

    /// Returns how many requests were sent.
    pub fn calls(&self) -> u64 {
        self.shared.http.calls()
    }

    pub(crate) fn timing(&self) -> &dyn Timing {
        &*self.shared.timing
    }

    pub(crate) fn poller(&self) -> &Poller {
        &self.shared.poller
    }

    /// Sends a request, again where that is right, and returns what the answer holds.
    pub(crate) async fn call<T: DeserializeOwned>(&self, request: &Request, repeat: Repeat) -> Result<T, ApiError> {
        let answer = self.answer(request, repeat).await?;
        serde_json::from_slice(&answer.body).map_err(|error| ApiError::Unreadable {
            operation: operation(request),
            why: claw_core::text::clean(&error.to_string(), 200),
            may_have_happened: repeat != Repeat::Read,
        })
    }

    /// Sends a request, again where that is right; the answer's body does not matter.
    pub(crate) async fn answer(&self, request: &Request, repeat: Repeat) -> Result<Response, ApiError> {
        let mut failed = 0;
        let mut doubt = false;
        loop {
            let error = match self.once(request, repeat).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error.after_doubt(doubt),
            };
            failed += 1;
            doubt = error.may_have_happened();
            let Some(wait) = retry::wait(repeat, &error, failed, self.timing().chance()) else { return Err(error) };
            (self.shared.tell)(&Event::Retrying { operation: operation(request), why: error.shown(), wait });
            self.timing().sleep(wait).await;
        }
    }

    async fn once(&self, request: &Request, repeat: Repeat) -> Result<Response, ApiError> {
        let shared = &*self.shared;
        let changes = repeat != Repeat::Read;
        let _place = shared.in_flight.acquire().await.expect("the semaphore is never closed");
        shared.pace.pass(self.timing()).await;
        let answer = shared.http.send(request).await.map_err(|source| ApiError::NoAnswer {
            operation: operation(request),
            may_have_happened: changes && source.may_have_arrived(),
            source,
        })?;
        shared.pace.learn(&answer, self.timing(), &shared.tell);
        if (200..300).contains(&answer.status) {
            return Ok(answer);
        }
        let refusal = Refusal::read(&operation(request), changes, &answer, &shared.token_from);
        Err(ApiError::Refused(Box::new(refusal)))
    }
}

impl fmt::Debug for Client {
    /// Says where to and whose token, never the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shared = &*self.shared;
        f.debug_struct("Client")
            .field("http", &shared.http)
            .field("token_from", &shared.token_from)
            .finish_non_exhaustive()
    }
}

/// Returns what a request does, for people.
pub(crate) fn operation(request: &Request) -> String {
    claw_core::text::clean(&format!("{} {}", request.method(), request.path()), 200)
}

/// Returns a body.
pub(crate) fn json(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).expect("requests are plain structs with text keys")
}

#[cfg(test)]
mod tests;
