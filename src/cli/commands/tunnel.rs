//! `claw tunnel`: a port of an agent on this machine, for as long as the command runs.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use clap::Args;
use claw_core::operate::{Channel, Input, Pipe};
use claw_core::provider::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;

use super::Outcome;
use super::operate::{Subject, find, open, recorded};
use crate::args::Global;
use crate::error::CommandError;
use crate::exit;
use crate::render;
use crate::setup::Setup;

/// How many connections may be open through one tunnel: a browser takes six.
const CONNECTIONS_MAX: usize = 64;

/// Open a port of an agent on this machine
///
/// Prints the local address and passes connections on until ^C. Nothing but this machine can use it.
#[derive(Debug, Args)]
pub struct Tunnel {
    /// The agent, and a port in its container: pete, pete:3000. Its gateway when no port is given.
    name: String,
    /// The port on this machine; a free one unless given.
    #[arg(long, default_value_t = 0, value_name = "PORT")]
    local_port: u16,
}

impl Tunnel {
    /// Runs it.
    pub fn run(self, global: &Global, setup: &Setup) -> Outcome {
        let session = open(global, setup)?;
        let (name, port) = match self.name.split_once(':') {
            None => (self.name.as_str(), 0),
            Some((name, port)) => {
                let parsed = port.parse().ok().filter(|port| *port != 0);
                let odd =
                    || CommandError::usage(format!("`{port}` is no port")).help("write AGENT:PORT, as in pete:3000");
                (name, parsed.ok_or_else(odd)?)
            }
        };
        let subject = find(&session, name)?;
        subject.agent()?;
        let outcome = super::wait(serve(subject.clone(), port, self.local_port))?;
        recorded(&session, "tunnel", &subject, &format!("port {port}"), Ok(()))?;
        outcome?;
        Ok(exit::DONE)
    }
}

async fn serve(subject: Subject, port: u16, local: u16) -> Result<(), CommandError> {
    let failed = |error: io::Error| {
        CommandError::failed(format!("failed to listen on port {local} of this machine: {error}"))
            .help("leave --local-port out and a free one is taken")
    };
    let listener = TcpListener::bind(("127.0.0.1", local)).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    // listened for before anybody can know that there is something to end, and all the time
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    if poll_fn(|ctx| Poll::Ready(interrupted.as_mut().poll(ctx).is_ready())).await {
        return Ok(());
    }
    render::out(format_args!("http://{address}"));
    render::err(format_args!("{} is there until ^C", subject.name));
    let turns = std::sync::Arc::new(tokio::sync::Semaphore::new(CONNECTIONS_MAX));
    loop {
        let (stream, _) = tokio::select! {
            accepted = listener.accept() => accepted.map_err(failed)?,
            _ = &mut interrupted => return Ok(()),
        };
        let Ok(turn) = std::sync::Arc::clone(&turns).acquire_owned().await else { return Ok(()) };
        let subject = subject.clone();
        tokio::spawn(async move {
            let (Ok(operate), Ok(agent)) = (subject.operate(), subject.agent()) else { return };
            let _ = stream.set_nodelay(true);
            let (read, write) = tokio::io::split(stream);
            let socket = Socket { read: Mutex::new(read), write: Mutex::new(write) };
            if let Err(error) = operate.connect(agent, port, &socket).await {
                render::err(format_args!("failed to {}", error.reason));
            }
            drop(turn);
        });
    }
}

/// A near end that is a connection on this machine.
struct Socket {
    read: Mutex<ReadHalf<TcpStream>>,
    write: Mutex<WriteHalf<TcpStream>>,
}

impl Pipe for Socket {
    fn read(&self) -> BoxFuture<'_, Input> {
        Box::pin(async {
            let mut piece = vec![0; 32 * 1024];
            match self.read.lock().await.read(&mut piece).await {
                Ok(0) | Err(_) => Input::End,
                Ok(length) => {
                    piece.truncate(length);
                    Input::Bytes(piece)
                }
            }
        })
    }

    fn write<'a>(&'a self, _: Channel, bytes: &'a [u8]) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move { self.write.lock().await.write_all(bytes).await })
    }
}
