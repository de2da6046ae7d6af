//! A server of a few lines for tests: it answers what a function says and remembers what was asked.
//!
//! It knows nothing of the API; each test scripts what matters to it.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use claw_core::provider::BoxFuture;
use claw_net::http::{self, Call, Limits};
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::client::{Client, Event};
use crate::timing::Timing;

pub const TOKEN: &str = "t0ken-nobody-may-see";
pub const TOKEN_FROM: &str = "env HCLOUD_TOKEN";

/// What was asked.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    pub path: String,
    pub query: Vec<(String, String)>,
    pub body: Value,
}

impl Asked {
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    pub fn page(&self) -> u32 {
        self.one("page").and_then(|text| text.parse().ok()).unwrap_or(1)
    }

    pub fn one(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub fn ids(&self) -> Vec<u64> {
        self.query.iter().filter(|(key, _)| key == "id").map(|(_, value)| value.parse().unwrap()).collect()
    }
}

/// What is answered.
pub struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: String,
    cut: bool,
    after: Duration,
}

impl Reply {
    pub fn json(status: u16, body: Value) -> Self {
        Self::text(status, &body.to_string())
    }

    pub fn text(status: u16, body: &str) -> Self {
        Self { status, headers: Vec::new(), body: body.to_owned(), cut: false, after: Duration::ZERO }
    }

    pub fn error(status: u16, code: &str) -> Self {
        let message = format!("\u{1b}[31mno:\u{1b}[0m {code}");
        Self::json(status, json!({ "error": { "code": code, "message": message, "details": null } }))
    }

    pub fn header(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }

    /// Promises more than comes.
    pub fn cut(mut self) -> Self {
        self.cut = true;
        self
    }

    /// Comes after a while of real time.
    pub fn after(mut self, millis: u64) -> Self {
        self.after = Duration::from_millis(millis);
        self
    }
}

/// The stub, its client, and what both have seen.
pub struct Bed {
    pub client: Client,
    pub timing: FakeTiming,
    pub events: Arc<Mutex<Vec<Event>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Bed {
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    pub fn lines(&self) -> Vec<String> {
        self.asked().iter().map(Asked::line).collect()
    }
}

/// Starts a stub that answers what the function says about each request and the number of those before it.
pub async fn bed(answer: impl Fn(&Asked, usize) -> Reply + Send + Sync + 'static) -> Bed {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/v1", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (seen, answer) = (asked.clone(), Arc::new(answer));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, seen.clone(), answer.clone()));
        }
    });
    let events = Arc::new(Mutex::new(Vec::new()));
    let timing = FakeTiming::default();
    let limits = Limits { call_seconds: 5, body_bytes_max: 256 * 1024, ..Limits::default() };
    let token = Some(SecretString::from(TOKEN.to_owned()));
    let setup = http::Setup { base: &base, token, limits, observer: Arc::new(|_: &Call| {}) };
    let told = events.clone();
    let tell = Arc::new(move |event: &Event| told.lock().unwrap().push(event.clone()));
    let client = Client::new(http::Client::new(setup).unwrap(), TOKEN_FROM, tell, Arc::new(timing.clone()));
    Bed { client, timing, events, asked }
}

async fn serve<F: Fn(&Asked, usize) -> Reply>(mut stream: TcpStream, seen: Arc<Mutex<Vec<Asked>>>, answer: Arc<F>) {
    let Some(asked) = request(&mut stream).await else { return };
    let before = {
        let mut seen = seen.lock().unwrap();
        seen.push(asked.clone());
        seen.len() - 1
    };
    let reply = answer(&asked, before);
    tokio::time::sleep(reply.after).await;
    let length = reply.body.len() + if reply.cut { 10 } else { 0 };
    let mut text = format!("HTTP/1.1 {} Said\r\nConnection: close\r\n", reply.status);
    if reply.status != 204 {
        text += &format!("Content-Length: {length}\r\n");
    }
    for (name, value) in &reply.headers {
        text += &format!("{name}: {value}\r\n");
    }
    text += &format!("\r\n{}", reply.body);
    let _ = stream.write_all(text.as_bytes()).await;
    let _ = stream.shutdown().await;
}

async fn request(stream: &mut TcpStream) -> Option<Asked> {
    let mut bytes = Vec::new();
    let head_length = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..head_length].to_vec()).unwrap().to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.map_or(0, |text| text.parse().unwrap());
    while bytes.len() < head_length + length {
        stream.read_buf(&mut bytes).await.ok()?;
    }
    assert!(head.contains(&format!("authorization: bearer {TOKEN}")), "the token comes along");
    let head = String::from_utf8(bytes[..head_length].to_vec()).unwrap();
    let mut words = head.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let pair = |text: &str| {
        let (name, value) = text.split_once('=').unwrap();
        (name.to_owned(), value.replace('+', " ").replace("%3A", ":").replace("%3D", "=").replace("%2C", ","))
    };
    Some(Asked {
        method,
        path: path.strip_prefix("/v1").unwrap().to_owned(),
        query: query.split('&').filter(|text| !text.is_empty()).map(pair).collect(),
        body: serde_json::from_slice(&bytes[head_length..]).unwrap_or(Value::Null),
    })
}

/// A clock that moves when somebody sleeps, and chance that is always 1. All who sleep share it.
#[derive(Clone, Default)]
pub struct FakeTiming {
    state: Arc<Mutex<(Duration, Vec<Duration>)>>,
}

impl FakeTiming {
    /// Returns all waits.
    pub fn waits(&self) -> Vec<Duration> {
        self.state.lock().unwrap().1.clone()
    }

    pub fn waits_ms(&self) -> Vec<u128> {
        self.waits().iter().map(Duration::as_millis).collect()
    }
}

impl Timing for FakeTiming {
    fn now(&self) -> Duration {
        self.state.lock().unwrap().0
    }

    fn unix_seconds(&self) -> u64 {
        1_800_000_000 + self.now().as_secs()
    }

    fn sleep(&self, wait: Duration) -> BoxFuture<'static, ()> {
        let state = self.state.clone();
        let until = self.now() + wait;
        state.lock().unwrap().1.push(wait);
        Box::pin(async move {
            // others get their turn before the clock moves
            tokio::time::sleep(Duration::from_millis(3)).await;
            let mut state = state.lock().unwrap();
            state.0 = state.0.max(until);
        })
    }

    fn chance(&self) -> f64 {
        1.0
    }
}

/// An element of a list that is whole.
pub fn ssh_key(id: u64) -> Value {
    json!({
        "id": id, "name": format!("key-{id}"), "fingerprint": "aa:bb", "public_key": "ssh-ed25519 AAAA", "labels": {},
        "created": "2026-11-01T00:00:00+00:00", "a_field_of_tomorrow": { "deep": [1] },
    })
}

/// A running action.
pub fn action(id: u64, status: &str, progress: u32) -> Value {
    json!({
        "id": id, "command": "create_server", "status": status, "progress": progress, "started": "2026-11-01T00:00:00Z",
        "finished": null, "resources": [{ "id": 1, "type": "server" }], "error": null,
    })
}
