//! The client: one base address, one token, one pool of connections.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Url, redirect};
use secrecy::{ExposeSecret, SecretString};

use crate::http::{Call, HttpError, Method, Observer, Request, Response, install_crypto};

/// What one call may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// For name, connection and TLS together.
    pub connect_seconds: u64,
    /// Between two pieces of an answer.
    pub read_seconds: u64,
    /// For the whole call.
    pub call_seconds: u64,
    /// The size of an answer's body.
    pub body_bytes_max: usize,
}

impl Default for Limits {
    /// Enough for an API on another continent. A page of a list is rarely larger than 1 MiB.
    fn default() -> Self {
        Self { connect_seconds: 10, read_seconds: 30, call_seconds: 60, body_bytes_max: 8 * 1024 * 1024 }
    }
}

/// What a client is made of.
pub struct Setup<'a> {
    /// `https://host/prefix`; plain `http` only to this machine itself.
    pub base: &'a str,
    /// Sent with every request as `Authorization: Bearer`; none where it is `None`.
    pub token: Option<SecretString>,
    /// What a call may take.
    pub limits: Limits,
    /// Hears every call.
    pub observer: Arc<dyn Observer>,
}

/// Sends requests to one API. Clones share connections and counters.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    http: reqwest::Client,
    base: Url,
    host: String,
    authorization: Option<HeaderValue>,
    limits: Limits,
    observer: Arc<dyn Observer>,
    calls: AtomicU64,
}

impl Client {
    /// Returns a client. Proxies are taken from the environment (`HTTPS_PROXY`, `NO_PROXY`), trust from the system.
    ///
    /// # Errors
    /// [`HttpError::Setup`] for an address that is not https, or a token that no header can carry.
    pub fn new(setup: Setup<'_>) -> Result<Self, HttpError> {
        install_crypto();
        let base = base(setup.base)?;
        let host = base.host_str().unwrap_or_default().to_owned();
        let limits = setup.limits;
        let builder = reqwest::Client::builder()
            .user_agent(concat!("claw/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .referer(false)
            .https_only(base.scheme() == "https")
            .connect_timeout(Duration::from_secs(limits.connect_seconds))
            .read_timeout(Duration::from_secs(limits.read_seconds))
            .timeout(Duration::from_secs(limits.call_seconds));
        // nothing may stand between this machine and itself
        let builder = if is_loopback(&base) { builder.no_proxy() } else { builder };
        // without TLS nobody has to be trusted, and reading whom the system trusts takes a while
        let builder = if base.scheme() == "http" { builder.tls_certs_only([]) } else { builder };
        let http = builder.build().map_err(|error| HttpError::Setup { why: error.without_url().to_string() })?;
        let authorization = setup.token.map(|token| bearer(&token)).transpose()?;
        let calls = AtomicU64::new(0);
        let observer = setup.observer;
        Ok(Self { shared: Arc::new(Shared { http, base, host, authorization, limits, observer, calls }) })
    }

    /// Sends a request and returns the answer, whatever its status; redirects are an error.
    ///
    /// # Errors
    /// One per phase; [`HttpError::may_have_arrived`] tells whether the server may have acted.
    pub async fn send(&self, request: &Request) -> Result<Response, HttpError> {
        let url = self.url(request)?;
        let number = self.shared.calls.fetch_add(1, Ordering::Relaxed) + 1;
        let begun = Instant::now();
        let mut status = None;
        let answer = self.exchange(request, url, &mut status).await;
        let millis = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.shared.observer.heard(&Call { number, method: request.method, path: request.path(), status, millis });
        answer
    }

    /// Returns how many requests were sent.
    pub fn calls(&self) -> u64 {
        self.shared.calls.load(Ordering::Relaxed)
    }

    /// Returns the server's name.
    pub fn host(&self) -> &str {
        &self.shared.host
    }

    async fn exchange(&self, request: &Request, url: Url, seen: &mut Option<u16>) -> Result<Response, HttpError> {
        let shared = &*self.shared;
        let failed = |error: reqwest::Error| HttpError::of(&error, &shared.host, shared.limits.call_seconds);
        let mut outgoing = shared.http.request(method(request.method), url).header(ACCEPT, "application/json");
        if let Some(authorization) = &shared.authorization {
            outgoing = outgoing.header(AUTHORIZATION, authorization.clone());
        }
        if let Some(json) = &request.json {
            outgoing = outgoing.header(CONTENT_TYPE, "application/json").body(json.clone());
        }
        let mut answer = outgoing.send().await.map_err(failed)?;
        let status = answer.status().as_u16();
        *seen = Some(status);
        if answer.status().is_redirection() {
            return Err(HttpError::Redirected { host: shared.host.clone(), status });
        }
        let headers = std::mem::take(answer.headers_mut());
        let bytes_max = shared.limits.body_bytes_max;
        let mut body = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(failed)? {
            if body.len() + piece.len() > bytes_max {
                return Err(HttpError::TooLarge { host: shared.host.clone(), bytes_max });
            }
            body.extend_from_slice(&piece);
        }
        Ok(Response { status, body, headers })
    }

    fn url(&self, request: &Request) -> Result<Url, HttpError> {
        // an address would silently lose such a segment, and the request would mean something else
        if request.segments.iter().any(|segment| matches!(segment.as_str(), "" | "." | "..")) {
            return Err(HttpError::Setup { why: format!("{:?} is no path", request.path()) });
        }
        let mut url = self.shared.base.clone();
        let base = || HttpError::Setup { why: "the address cannot have a path".into() };
        url.path_segments_mut().map_err(|()| base())?.pop_if_empty().extend(&request.segments);
        if !request.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&request.query);
        }
        Ok(url)
    }
}

impl fmt::Debug for Client {
    /// Says where to, and nothing of the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("host", &self.shared.host).finish_non_exhaustive()
    }
}

/// Returns the base address, if bytes may leave for it.
fn base(text: &str) -> Result<Url, HttpError> {
    let wrong = |why: String| HttpError::Setup { why };
    let url = Url::parse(text).map_err(|error| wrong(format!("{text:?} is no address: {error}")))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("the API's address may not carry a user or a password".into()));
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        _ => Err(wrong(format!("{text:?} is not https; plain http goes to this machine itself only"))),
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn bearer(token: &SecretString) -> Result<HeaderValue, HttpError> {
    let bad = || HttpError::Setup {
        why: "the token is empty, or holds a space, a line end or a letter that no token has".into(),
    };
    let text = token.expose_secret();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(bad());
    }
    let mut value = HeaderValue::from_str(&format!("Bearer {text}")).map_err(|_| bad())?;
    value.set_sensitive(true);
    Ok(value)
}

fn method(method: Method) -> reqwest::Method {
    match method {
        Method::Get => reqwest::Method::GET,
        Method::Post => reqwest::Method::POST,
        Method::Put => reqwest::Method::PUT,
        Method::Patch => reqwest::Method::PATCH,
        Method::Delete => reqwest::Method::DELETE,
    }
}
