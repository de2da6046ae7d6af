//! An engine reached through SSH: its socket and its machine's loopback ports, over the host's one connection. No docker
//! program is needed there, no port is opened.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bollard::errors::Error as Engine;
use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker};
use claw_core::provider::BoxFuture;
use claw_net::ssh::{Connection, SshError};
use claw_openclaw::gateway::Stream;
use hyper::Response;
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{self, HeaderValue};
use hyper_util::rt::TokioIo;

use crate::endpoint::{CALL_SECONDS_MAX, Endpoint};

/// Where the engine listens on its machine.
const SOCKET: &str = "/var/run/docker.sock";
/// What the error of a host begins with that was waited for in vain.
pub const SILENT: &str = "the host does not answer";
/// How many idle channels are kept for the next call: opening one costs a round trip.
const IDLE_MAX: usize = 8;

/// What bollard sends as bodies.
type Body = <BollardRequest as BodyOf>::Body;

/// Names the body of a request, which bollard does not.
pub trait BodyOf {
    /// The body.
    type Body;
}

impl<B> BodyOf for hyper::Request<B> {
    type Body = B;
}

/// The engine of a host.
#[derive(Clone)]
pub struct SshSocket {
    connection: Connection,
    idle: Arc<Mutex<Vec<SendRequest<Body>>>>,
}

impl SshSocket {
    /// Returns the engine of the host a connection leads to.
    pub fn new(connection: Connection) -> Self {
        Self { connection, idle: Arc::default() }
    }

    async fn send(self, mut request: BollardRequest) -> Result<Response<Incoming>, Engine> {
        request.headers_mut().insert(header::HOST, HeaderValue::from_static("engine"));
        while let Some(mut sender) = self.take_idle() {
            match sender.try_send_request(request).await {
                Ok(response) => {
                    self.keep(sender);
                    return Ok(response);
                }
                // the engine closed it while it was idle; nothing was sent
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(error.into_error().into()),
                },
            }
        }
        let mut sender = self.open().await?;
        let response = sender.send_request(request).await?;
        self.keep(sender);
        Ok(response)
    }

    async fn open(&self) -> Result<SendRequest<Body>, Engine> {
        let stream = self.connection.dial_unix(SOCKET).await.map_err(|error| Engine::IOError { err: as_io(error) })?;
        let (sender, channel) = handshake(TokioIo::new(stream)).await?;
        // it ends when the engine or the last of its users lets go
        tokio::spawn(channel.with_upgrades());
        Ok(sender)
    }

    fn take_idle(&self) -> Option<SendRequest<Body>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|sender| !sender.is_closed());
        // one whose answer is still being read is not ready yet
        let ready = idle.iter().position(SendRequest::is_ready)?;
        Some(idle.swap_remove(ready))
    }

    fn keep(&self, sender: SendRequest<Body>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(sender);
        }
    }
}

fn as_io(error: SshError) -> io::Error {
    if matches!(error, SshError::Unreachable { .. } | SshError::TimedOut { .. } | SshError::Blocked { .. }) {
        return io::Error::other(format!("{SILENT}: {}", claw_core::text::chain(&error)));
    }
    let kind = match &error {
        SshError::ForwardingRefused { .. } => io::ErrorKind::ConnectionRefused,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

impl Endpoint for SshSocket {
    fn docker(&self) -> Result<Docker, Engine> {
        let socket = self.clone();
        let transport = move |request: BollardRequest| socket.clone().send(request);
        Docker::connect_with_custom_transport(transport, Some("http://engine"), CALL_SECONDS_MAX, API_DEFAULT_VERSION)
    }

    fn dial<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Box<dyn Stream>>> {
        Box::pin(async move {
            let stream = self.connection.dial_tcp(host, port).await.map_err(as_io)?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        })
    }

    fn label(&self) -> String {
        let target = self.connection.target();
        format!("{} through SSH to {}@{}", SOCKET, target.user, target.place())
    }
}
