//! A conversation with an agent over its gateway's HTTP. The answer comes in pieces and is passed on as it comes.

use std::time::Duration;

use claw_core::operate::{Channel, Pipe};
use claw_core::text::{Stripper, clean};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value as Json, json};

use crate::gateway::Stream;

/// How long an agent may say nothing before claw gives up, in seconds: tools it uses take minutes.
const SILENT_SECONDS_MAX: u64 = 600;
/// The longest line of an answer, in bytes.
const LINE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Why a conversation broke off.
#[derive(Debug, thiserror::Error)]
pub enum ChatError {
    /// The gateway could not be reached, or went away.
    #[error("reach the gateway: {0}")]
    Unreachable(String),
    /// It said nothing for too long.
    #[error("hear from the agent within {SILENT_SECONDS_MAX} s")]
    Silent,
    /// It refused claw's token.
    #[error("log in at the gateway: it refuses the token")]
    Unauthorized,
    /// It answered with an error, or with something else than an answer.
    #[error("get an answer ({status}): {text}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What it said, cleaned and cut.
        text: String,
    },
    /// The near side does not take it any more.
    #[error("pass the answer on: {0}")]
    Near(std::io::Error),
}

/// Says something in a conversation and gives the answer to the pipe, without what a terminal would obey.
pub async fn chat(
    stream: Box<dyn Stream>,
    token: &SecretString,
    conversation: &str,
    message: &str,
    pipe: &dyn Pipe,
) -> Result<(), ChatError> {
    let body = json!({
        "model": "openclaw", "stream": true, "user": conversation,
        "messages": [{ "role": "user", "content": message }],
    });
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(unreachable)?;
    let driver = tokio::spawn(connection);
    let request = Request::builder()
        .method(Method::POST)
        .uri("/v1/chat/completions")
        .header(header::HOST, "gateway")
        .header(header::AUTHORIZATION, format!("Bearer {}", token.expose_secret()))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body.to_string())))
        .map_err(unreachable)?;
    let outcome = match limited(sender.send_request(request)).await? {
        Ok(response) => read(response, pipe).await,
        Err(error) => Err(unreachable(error)),
    };
    driver.abort();
    outcome
}

async fn limited<T>(work: impl Future<Output = T>) -> Result<T, ChatError> {
    tokio::time::timeout(Duration::from_secs(SILENT_SECONDS_MAX), work).await.map_err(|_| ChatError::Silent)
}

fn unreachable(error: impl std::fmt::Display) -> ChatError {
    ChatError::Unreachable(clean(&error.to_string(), 200))
}

async fn read(response: Response<Incoming>, pipe: &dyn Pipe) -> Result<(), ChatError> {
    let status = response.status();
    if status == StatusCode::UNAUTHORIZED {
        return Err(ChatError::Unauthorized);
    }
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let streams = kind.starts_with("text/event-stream") && status.is_success();
    let mut answer = Answer { pipe, stripper: Stripper::default(), said: false };
    let mut body = response.into_body();
    let mut buffer: Vec<u8> = Vec::new();
    while let Some(frame) = limited(body.frame()).await? {
        buffer.extend_from_slice(&frame.map_err(unreachable)?.into_data().unwrap_or_default());
        if buffer.len() > LINE_BYTES_MAX {
            return Err(refused(status, "it sends too much at once"));
        }
        while streams && let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = buffer.drain(..=end).collect();
            answer.event(status, &line).await?;
        }
    }
    if !streams {
        answer.whole(status, &buffer).await?;
    }
    if answer.said { Ok(()) } else { Err(refused(status, "the answer is empty")) }
}

/// An answer on its way to the near side.
struct Answer<'a> {
    pipe: &'a dyn Pipe,
    stripper: Stripper,
    said: bool,
}

impl Answer<'_> {
    /// Takes a line of an event stream.
    async fn event(&mut self, status: StatusCode, line: &[u8]) -> Result<(), ChatError> {
        let text = String::from_utf8_lossy(line);
        let Some(data) = text.trim().strip_prefix("data:").map(str::trim) else { return Ok(()) };
        if data == "[DONE]" {
            return Ok(());
        }
        let json: Json = serde_json::from_str(data).map_err(|_| refused(status, data))?;
        if !json["error"].is_null() {
            return Err(refused(status, json["error"]["message"].as_str().unwrap_or(data)));
        }
        self.say(json["choices"][0]["delta"]["content"].as_str().unwrap_or_default()).await
    }

    /// Takes an answer that came whole, or an error.
    async fn whole(&mut self, status: StatusCode, body: &[u8]) -> Result<(), ChatError> {
        let json: Json = serde_json::from_slice(body).map_err(|_| refused(status, &String::from_utf8_lossy(body)))?;
        match json["choices"][0]["message"]["content"].as_str() {
            Some(text) if status.is_success() => self.say(text).await,
            _ => Err(refused(status, json["error"]["message"].as_str().unwrap_or(&json.to_string()))),
        }
    }

    async fn say(&mut self, text: &str) -> Result<(), ChatError> {
        let shown = self.stripper.push(text.as_bytes());
        self.said |= !text.is_empty();
        self.pipe.write(Channel::Out, shown.as_bytes()).await.map_err(ChatError::Near)
    }
}

fn refused(status: StatusCode, text: &str) -> ChatError {
    ChatError::Refused { status: status.as_u16(), text: clean(text, 300) }
}
