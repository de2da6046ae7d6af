//! How an engine is reached. A seam: the local socket here, the same socket through SSH in `over_ssh`.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::{API_DEFAULT_VERSION, Docker};
use claw_core::provider::BoxFuture;
use claw_openclaw::gateway::Stream;
use tokio::net::TcpStream;

/// How long one call may take, in seconds: stopping a busy gateway takes up to 330.
pub const CALL_SECONDS_MAX: u64 = 360;
/// How long a connection to a port may take to open, in seconds.
const DIAL_SECONDS_MAX: u64 = 5;

/// The address at which gateways are published on their machine.
pub const LOOPBACK: &str = "127.0.0.1";

/// A way to an engine and to what its machine reaches.
pub trait Endpoint: Send + Sync {
    /// Returns a client for the engine.
    fn docker(&self) -> Result<Docker, bollard::errors::Error>;

    /// Opens a stream to an address and port as the engine's machine sees them.
    fn dial<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Box<dyn Stream>>>;

    /// Returns what to call it in messages.
    fn label(&self) -> String;
}

/// The engine of this machine.
#[derive(Clone, Debug)]
pub struct LocalSocket {
    path: PathBuf,
}

impl LocalSocket {
    /// Returns the engine at a Unix socket.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Returns the engine an endpoint text names: `unix:///path`. `None` if it names something else.
    pub fn parse(endpoint: &str) -> Option<Self> {
        endpoint.strip_prefix("unix://").filter(|path| path.starts_with('/')).map(|path| Self::new(Path::new(path)))
    }
}

impl Endpoint for LocalSocket {
    fn docker(&self) -> Result<Docker, bollard::errors::Error> {
        Docker::connect_with_unix(&self.path.to_string_lossy(), CALL_SECONDS_MAX, API_DEFAULT_VERSION)
    }

    fn dial<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Box<dyn Stream>>> {
        Box::pin(async move {
            let connect = TcpStream::connect((host, port));
            let stream = tokio::time::timeout(Duration::from_secs(DIAL_SECONDS_MAX), connect).await??;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        })
    }

    fn label(&self) -> String {
        self.path.display().to_string()
    }
}
