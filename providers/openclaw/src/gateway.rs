//! Asks a gateway over one stream per question. Opens no connection itself: how a port is reached is the engine's.

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value as Json, json};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};

/// The largest answer claw reads, in bytes: an answer of a model fits, a runaway one does not fill the memory.
const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How long one question about the gateway's own state may take.
const ASK_SECONDS_MAX: u64 = 15;

/// A way to a gateway.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Why a gateway gave no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// It could not be reached, or went away.
    #[error("reach the gateway")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It took too long.
    #[error("hear from the gateway within {0} s")]
    Silent(u64),
    /// It refused the token.
    #[error("log in at the gateway: it refuses the token")]
    Unauthorized,
    /// It answered something else than it should.
    #[error("understand the gateway's answer ({status}): {text}")]
    Odd {
        /// The HTTP status.
        status: u16,
        /// What it said, cleaned and cut.
        text: String,
    },
}

/// One answer.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body, JSON where it is.
    pub body: Json,
}

/// Asks for one of the health paths. They answer without a token too, and then keep the version to themselves.
pub async fn get(stream: Box<dyn Stream>, path: &str, token: Option<&SecretString>) -> Result<Answer, AskError> {
    ask(stream, Method::GET, path, token, None, ASK_SECONDS_MAX).await
}

/// Calls an admin method and returns its payload.
pub async fn call(stream: Box<dyn Stream>, token: &SecretString, method: &str) -> Result<Json, AskError> {
    call_with(stream, token, method, json!({})).await
}

/// Calls an admin method with parameters and returns its payload.
pub async fn call_with(
    stream: Box<dyn Stream>,
    token: &SecretString,
    method: &str,
    params: Json,
) -> Result<Json, AskError> {
    let body = json!({ "method": method, "params": params });
    let answer = ask(stream, Method::POST, "/api/v1/admin/rpc", Some(token), Some(body), ASK_SECONDS_MAX).await?;
    match answer {
        Answer { status: 200, body } if body["ok"] == true => Ok(body["payload"].clone()),
        Answer { status, body } => Err(odd(status, &body.to_string())),
    }
}

async fn ask(
    stream: Box<dyn Stream>,
    method: Method,
    path: &str,
    token: Option<&SecretString>,
    body: Option<Json>,
    seconds: u64,
) -> Result<Answer, AskError> {
    let exchange = exchange(stream, method, path, token, body);
    tokio::time::timeout(Duration::from_secs(seconds), exchange).await.map_err(|_| AskError::Silent(seconds))?
}

async fn exchange(
    stream: Box<dyn Stream>,
    method: Method,
    path: &str,
    token: Option<&SecretString>,
    body: Option<Json>,
) -> Result<Answer, AskError> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(unreachable)?;
    let driver = tokio::spawn(connection);
    let mut request = Request::builder().method(method).uri(path).header(header::HOST, "gateway");
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {}", token.expose_secret()));
    }
    if body.is_some() {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    let bytes = body.map(|json| Bytes::from(json.to_string())).unwrap_or_default();
    let request = request.body(Full::new(bytes)).map_err(unreachable)?;
    let response = sender.send_request(request).await.map_err(unreachable);
    let answer = match response {
        Ok(response) => read(response).await,
        Err(error) => Err(error),
    };
    driver.abort();
    answer
}

async fn read(response: hyper::Response<hyper::body::Incoming>) -> Result<Answer, AskError> {
    let status = response.status();
    let bytes = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await.map_err(AskError::Unreachable)?;
    if status == StatusCode::UNAUTHORIZED {
        return Err(AskError::Unauthorized);
    }
    let bytes = bytes.to_bytes();
    let body = serde_json::from_slice(&bytes).map_err(|_| odd(status.as_u16(), &String::from_utf8_lossy(&bytes)))?;
    Ok(Answer { status: status.as_u16(), body })
}

fn unreachable(error: impl std::error::Error + Send + Sync + 'static) -> AskError {
    AskError::Unreachable(Box::new(error))
}

fn odd(status: u16, text: &str) -> AskError {
    AskError::Odd { status, text: claw_core::text::clean(text, 200) }
}

/// What OpenClaw shows instead of a value it takes for secret.
const REDACTED: &str = "__OPENCLAW_REDACTED__";

/// Whether `config.get` says that the gateway runs with this configuration: it calls it valid, it read this very file,
/// and what it read is what it applied. The hashes alone would do for the file before, until it looks again.
pub fn config_applied(state: &Json, wanted: &Json) -> bool {
    let hash = |key: &str| state[key].as_str().filter(|hash| !hash.is_empty());
    let applied = hash("configRevisionHash").is_some() && hash("configRevisionHash") == hash("appliedConfigHash");
    state["valid"] == true && applied && is_shown(&state["parsed"], wanted)
}

fn is_shown(shown: &Json, wanted: &Json) -> bool {
    match (shown, wanted) {
        (Json::String(text), _) if text == REDACTED => true,
        (Json::Object(shown), Json::Object(wanted)) => {
            shown.len() == wanted.len()
                && wanted.iter().all(|(key, value)| shown.get(key).is_some_and(|shown| is_shown(shown, value)))
        }
        (Json::Array(shown), Json::Array(wanted)) => {
            shown.len() == wanted.len() && shown.iter().zip(wanted).all(|(shown, wanted)| is_shown(shown, wanted))
        }
        _ => shown == wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_before_is_not_taken_for_the_new_one() {
        let state = |parsed: Json| json!({ "valid": true, "configRevisionHash": "a", "appliedConfigHash": "a", "parsed": parsed });
        let wanted = json!({ "model": "new", "token": { "id": "/x" }, "list": [1] });
        assert!(config_applied(&state(json!({ "model": "new", "token": { "id": REDACTED }, "list": [1] })), &wanted));
        assert!(!config_applied(&state(json!({ "model": "old", "token": { "id": REDACTED }, "list": [1] })), &wanted));
        assert!(!config_applied(
            &state(json!({ "model": "new", "token": { "id": REDACTED }, "list": [1], "more": 1 })),
            &wanted
        ));
        assert!(!config_applied(&json!({ "valid": true, "parsed": wanted }), &wanted), "no hashes, no proof");
    }
}
