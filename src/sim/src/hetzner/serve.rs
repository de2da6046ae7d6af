//! The simulated API on a loopback port: HTTP/1.1 with connections that stay open. Decides nothing about answers.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::header::AUTHORIZATION;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::Cloud;
use super::body::{Request, Response};
use super::faults::{CloudFaults, Outcome, Weather};

/// The largest body that is read.
const BODY_MAX: usize = 1024 * 1024;
/// How long a client may take for the head of a request.
const HEAD: Duration = Duration::from_secs(30);
/// Requests that are remembered.
const LOG_MAX: usize = 10_000;

/// How the API is served.
#[derive(Default)]
pub struct Options {
    /// Added to every answer.
    pub latency: Duration,
    /// What goes wrong, if anything shall.
    pub faults: Option<CloudFaults>,
    /// Told of every request, once it has taken effect and before its answer leaves.
    pub log: Option<LogSink>,
    /// Asked before a request is looked at. One that it refuses has no effect and no answer: the connection closes.
    pub door: Option<Door>,
    /// Has every answer in its hands on its way out, as a newer API or something in between would.
    pub bend: Option<Bend>,
}

/// Changes an answer.
pub type Bend = Box<dyn Fn(&Request, &mut Response) + Send + Sync>;

/// Lets a request in, or not.
pub type Door = Box<dyn Fn(&Request) -> bool + Send + Sync>;

/// Is told of every request.
pub type LogSink = Box<dyn Fn(&LogLine) + Send + Sync>;

/// One request that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// The method.
    pub method: String,
    /// The path with its query.
    pub target: String,
    /// The status; 0 where the connection was closed before the answer was whole.
    pub status: u16,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

impl fmt::Display for LogLine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = Cloud::written(self.at_ms);
        write!(out, "{at} {} {} {} {} ms", self.method, self.target, self.status, self.took_ms)
    }
}

/// The project while it is served; clones are the same project.
#[derive(Clone)]
pub struct Handle(Arc<Shared>);

struct Shared {
    cloud: Mutex<Cloud>,
    log: Mutex<VecDeque<LogLine>>,
    clock: Box<dyn Fn() -> u64 + Send + Sync>,
    changed: Box<dyn Fn(&Cloud) + Send + Sync>,
}

impl Handle {
    /// Takes a project. `clock` returns milliseconds since 1970; `changed` is called with the project after every change,
    /// so that it can be kept.
    pub fn new(
        cloud: Cloud,
        clock: impl Fn() -> u64 + Send + Sync + 'static,
        changed: impl Fn(&Cloud) + Send + Sync + 'static,
    ) -> Self {
        let (cloud, log) = (Mutex::new(cloud), Mutex::default());
        Self(Arc::new(Shared { cloud, log, clock: Box::new(clock), changed: Box::new(changed) }))
    }

    /// Looks at the project, or changes it, at the present moment. Counts as a change.
    pub fn with<T>(&self, edit: impl FnOnce(&mut Cloud, u64) -> T) -> T {
        let mut cloud = self.lock();
        let now_ms = (self.0.clock)();
        cloud.settle(now_ms);
        let result = edit(&mut cloud, now_ms);
        (self.0.changed)(&cloud);
        result
    }

    /// Looks at the project at the present moment, and changes nothing.
    pub(super) fn look<T>(&self, see: impl FnOnce(&Cloud, u64) -> T) -> T {
        let now_ms = (self.0.clock)();
        see(&self.lock(), now_ms)
    }

    /// Looks at the project at the present moment. Is no change.
    pub fn read<T>(&self, read: impl FnOnce(&Cloud) -> T) -> T {
        let mut cloud = self.lock();
        cloud.settle((self.0.clock)());
        read(&cloud)
    }

    /// Answers a request without a wire, and without faults.
    pub fn call(&self, request: &Request) -> Response {
        let mut cloud = self.lock();
        let response = cloud.handle(request, (self.0.clock)());
        self.tell(&cloud, request);
        response
    }

    /// Returns the last requests, oldest first.
    pub fn log(&self) -> Vec<LogLine> {
        self.0.log.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Cloud> {
        self.0.cloud.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, cloud: &Cloud, request: &Request) {
        if request.method != "GET" {
            (self.0.changed)(cloud);
        }
    }

    fn remember(&self, line: LogLine) {
        let mut log = self.0.log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.len() == LOG_MAX {
            log.pop_front();
        }
        log.push_back(line);
    }
}

/// What every connection shares.
struct Desk {
    handle: Handle,
    options: Options,
    weather: Option<Mutex<Weather>>,
}

/// Serves a project until it is dropped; its connections end with it.
///
/// # Errors
///
/// Returns one at once if the listener can be reached from elsewhere: this is no service for a network.
pub async fn serve(handle: Handle, listener: TcpListener, options: Options) -> io::Result<()> {
    check_address(listener.local_addr()?.ip())?;
    let weather = options.faults.clone().map(|plan| Mutex::new(Weather::new(plan)));
    let desk = Arc::new(Desk { handle, options, weather });
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(connections.spawn(connection(desk.clone(), stream))),
                // out of file descriptors, most likely: some may come back
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

fn check_address(ip: IpAddr) -> io::Result<()> {
    let elsewhere = || io::Error::new(io::ErrorKind::InvalidInput, "a simulated cloud listens on loopback only");
    if ip.is_loopback() { Ok(()) } else { Err(elsewhere()) }
}

async fn connection(desk: Arc<Desk>, stream: TcpStream) {
    stream.set_nodelay(true).ok();
    let service = service_fn(|request| respond(&desk, request));
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD);
    // a client that goes away, and a fault that closes the connection, both end here
    builder.serve_connection(TokioIo::new(stream), service).await.ok();
}

/// The connection is to be closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("closed by a fault")]
struct Closed;

async fn respond(desk: &Desk, request: hyper::Request<Incoming>) -> Result<hyper::Response<Payload>, Closed> {
    let begun = Instant::now();
    let (head, body) = request.into_parts();
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
    let bearer = head.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let mut asked = Request::new(head.method.as_str(), &target, bearer.unwrap_or_default(), "");
    let outcome = match Limited::new(body, BODY_MAX).collect().await {
        Ok(body) => {
            asked.body = body.to_bytes().to_vec();
            if desk.options.door.as_ref().is_some_and(|door| !door(&asked)) {
                return Err(Closed);
            }
            desk.answer(&asked)
        }
        Err(_) => Outcome::Whole(too_large()),
    };
    if !desk.options.latency.is_zero() {
        tokio::time::sleep(desk.options.latency).await;
    }
    if let Outcome::Hang(time) = outcome {
        tokio::time::sleep(time).await;
    }
    let status = match &outcome {
        Outcome::Whole(response) => response.status,
        Outcome::Cut(_) | Outcome::Close | Outcome::Hang(_) => 0,
    };
    let took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    let line = LogLine { at_ms: (desk.handle.0.clock)(), method: asked.method, target, status, took_ms };
    if let Some(log) = &desk.options.log {
        log(&line);
    }
    desk.handle.remember(line);
    match outcome {
        Outcome::Whole(response) => Ok(on_wire(response, false)),
        Outcome::Cut(response) => Ok(on_wire(response, true)),
        Outcome::Close | Outcome::Hang(_) => Err(Closed),
    }
}

impl Desk {
    fn answer(&self, request: &Request) -> Outcome {
        let mut outcome = self.weathered(request);
        if let (Some(bend), Outcome::Whole(response)) = (&self.options.bend, &mut outcome) {
            bend(request, response);
        }
        outcome
    }

    fn weathered(&self, request: &Request) -> Outcome {
        let Some(weather) = &self.weather else { return Outcome::Whole(self.handle.call(request)) };
        let mut weather = weather.lock().unwrap_or_else(PoisonError::into_inner);
        let mut cloud = self.handle.lock();
        let outcome = weather.answer(&mut cloud, request, (self.handle.0.clock)());
        self.handle.tell(&cloud, request);
        outcome
    }
}

fn too_large() -> Response {
    let body = br#"{"error":{"code":"invalid_input","details":null,"message":"request body is too large"}}"#;
    let kind = ("Content-Type".to_owned(), "application/json".to_owned());
    Response { status: 413, headers: vec![kind], body: body.to_vec() }
}

fn on_wire(response: Response, cut: bool) -> hyper::Response<Payload> {
    let mut wire = hyper::Response::builder().status(response.status);
    for (name, value) in response.headers {
        wire = wire.header(name, value);
    }
    let fallback = || hyper::Response::new(Payload::new(Vec::new(), false));
    wire.body(Payload::new(response.body, cut)).unwrap_or_else(|_| fallback())
}

/// A body; one that is cut promises all of itself, sends half, and breaks off.
struct Payload {
    promised: u64,
    rest: Option<Bytes>,
    breaks_off: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl Payload {
    fn new(mut body: Vec<u8>, cut: bool) -> Self {
        let promised = u64::try_from(body.len()).unwrap_or(u64::MAX);
        let mut breaks_off = None;
        if cut {
            body.truncate(body.len() / 2);
            // long enough for the first half to be sent before the connection ends
            breaks_off = Some(Box::pin(tokio::time::sleep(Duration::from_millis(20))));
        }
        Self { promised, rest: Some(Bytes::from(body)).filter(|rest| !rest.is_empty()), breaks_off }
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Closed;

    fn poll_frame(mut self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Closed>>> {
        if let Some(bytes) = self.rest.take() {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        match &mut self.breaks_off {
            Some(timer) => timer.as_mut().poll(ctx).map(|()| Some(Err(Closed))),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_none() && self.breaks_off.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.promised)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that panics has failed")]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Sends what a client sends over one connection and returns all that comes back.
    async fn exchange(options: Options, sent: &str) -> (String, Handle) {
        let handle = Handle::new(Cloud::new(), || 1000, |_| {});
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut received = Vec::new();
        let talk = async {
            client.write_all(sent.as_bytes()).await.unwrap();
            client.read_to_end(&mut received).await.ok();
        };
        tokio::select! {
            ended = serve(handle.clone(), listener, options) => ended.unwrap(),
            () = talk => {}
        }
        (String::from_utf8(received).unwrap(), handle)
    }

    fn get(path: &str, connection: &str) -> String {
        format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\nConnection: {connection}\r\n\r\n")
    }

    fn with(faults: CloudFaults) -> Options {
        Options { faults: Some(faults), ..Options::default() }
    }

    #[tokio::test]
    async fn a_connection_takes_several_requests_and_all_are_remembered() {
        let sent = get("/v1/locations?name=fsn1", "keep-alive") + &get("/v1/none", "close");
        let (received, handle) = exchange(Options::default(), &sent).await;
        assert_eq!(received.matches("HTTP/1.1 ").count(), 2, "{received}");
        let log: Vec<(String, u16)> = handle.log().into_iter().map(|line| (line.target, line.status)).collect();
        assert_eq!(log, [("/v1/locations?name=fsn1".to_owned(), 200), ("/v1/none".to_owned(), 404)]);
    }

    #[tokio::test]
    async fn a_cut_body_promises_more_than_comes() {
        let plan = CloudFaults { cut_permille: 1000, ..CloudFaults::none(1) };
        let (received, _) = exchange(with(plan), &get("/v1/locations", "keep-alive")).await;
        let (head, body) = received.split_once("\r\n\r\n").unwrap();
        let promised = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        let promised: usize = promised.unwrap();
        assert!(head.starts_with("HTTP/1.1 200") && !body.is_empty() && body.len() < promised, "{received}");
    }

    #[tokio::test]
    async fn a_held_back_answer_never_comes() {
        let plan = CloudFaults { hang_permille: 1000, hang: Duration::from_millis(1), ..CloudFaults::none(1) };
        let (received, handle) = exchange(with(plan), &get("/v1/locations", "keep-alive")).await;
        assert_eq!((received.as_str(), handle.log()[0].status), ("", 0));
    }

    #[tokio::test]
    async fn a_body_may_have_a_mebibyte() {
        let head = |length: usize| {
            format!(
                "POST /v1/servers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
            )
        };
        for (length, status) in [(BODY_MAX, "HTTP/1.1 400"), (BODY_MAX + 1, "HTTP/1.1 413")] {
            let (received, _) = exchange(Options::default(), &(head(length) + &"x".repeat(length))).await;
            assert!(received.starts_with(status), "{length}: {received}");
        }
    }

    #[test]
    fn it_is_served_on_loopback_only() {
        for (address, good) in
            [("127.0.0.1", true), ("127.1.2.3", true), ("::1", true), ("0.0.0.0", false), ("10.0.0.1", false)]
        {
            assert_eq!(check_address(address.parse().unwrap()).is_ok(), good, "{address}");
        }
    }

    #[test]
    fn every_change_is_told() {
        let count = Arc::new(Mutex::new(0));
        let counted = count.clone();
        let handle = Handle::new(Cloud::new(), || 0, move |_| *counted.lock().unwrap() += 1);
        handle.call(&Request::new("GET", "/v1/servers", "t", ""));
        assert_eq!(*count.lock().unwrap(), 0);
        handle.call(&Request::new("POST", "/v1/placement_groups", "t", r#"{"name":"g","type":"spread"}"#));
        handle.with(|cloud, _| cloud.settings.read_only = true);
        assert_eq!(*count.lock().unwrap(), 2);
    }
}
