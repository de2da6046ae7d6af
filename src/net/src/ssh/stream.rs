//! A byte stream over one channel.
//!
//! It does not open the channel. It exists beside the SSH library's own stream because that one reads a broken
//! connection as end of file, leaves writers asleep when the connection dies, and cannot tell when its slot is free.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use russh::client::Msg;
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, ReadHalf, WriteHalf};
use tokio::sync::oneshot;

use crate::ssh::Policy;
use crate::ssh::session::Lease;

/// Bytes in flight each way between a stream and its channel, beyond the channel's own window.
const BUFFER_BYTES: usize = 256 * 1024;
/// The size of one read from the caller: an SSH packet's payload.
const CHUNK_BYTES: usize = 32 * 1024;
/// How many waits make up the time a reader may let its full buffer stand.
const STALL_WAITS: u32 = 10;

/// A two-way byte stream through a server. Dropping it ends the channel: what was written is still sent, then the
/// other side has a moment to finish, then it is closed by force.
pub struct Stream {
    near: DuplexStream,
    broken: Arc<AtomicBool>,
    _dropped: oneshot::Sender<()>,
}

/// What carries bytes between a stream and its channel.
struct Pump {
    read: ChannelReadHalf,
    write: Arc<ChannelWriteHalf<Msg>>,
    broken: Arc<AtomicBool>,
    lease: Lease,
    stall_time: Duration,
    ending_time: Duration,
}

/// Why the way in ended.
enum End {
    Closed,
    Broken,
    Stalled,
}

impl Stream {
    pub(crate) fn over(channel: Channel<Msg>, lease: Lease, policy: &Policy) -> Self {
        let (read, write) = channel.split();
        Self::over_halves(read, Arc::new(write), lease, policy)
    }

    pub(crate) fn over_halves(
        read: ChannelReadHalf,
        write: Arc<ChannelWriteHalf<Msg>>,
        lease: Lease,
        policy: &Policy,
    ) -> Self {
        let (near, far) = tokio::io::duplex(BUFFER_BYTES);
        let (dropped_sender, dropped) = oneshot::channel();
        let broken = Arc::new(AtomicBool::new(false));
        let (stall_time, ending_time) = (policy.stall_time, policy.ending_time);
        tokio::spawn(Pump { read, write, broken: broken.clone(), lease, stall_time, ending_time }.run(far, dropped));
        Self { near, broken, _dropped: dropped_sender }
    }
}

impl Pump {
    async fn run(mut self, far: DuplexStream, mut dropped: oneshot::Receiver<()>) {
        let (from_caller, to_caller) = tokio::io::split(far);
        let end = {
            let mut inward = std::pin::pin!(inward(&mut self.read, to_caller, self.stall_time));
            let mut outward = std::pin::pin!(outward(from_caller, &self.write));
            tokio::select! {
                end = &mut inward => Some(end),
                never = &mut outward => match never {},
                _ = &mut dropped => {
                    let ending = async { tokio::select! { end = &mut inward => end, never = &mut outward => match never {} } };
                    tokio::time::timeout(self.ending_time, ending).await.ok()
                }
            }
        };
        let broke = match end {
            Some(End::Closed) => return,
            Some(End::Broken) => self.lease.session.is_gone(),
            Some(End::Stalled) => true,
            None => false,
        };
        self.broken.store(broke, Ordering::Release);
        // An error means the whole connection is closed.
        let _ = self.write.close().await;
    }
}

/// Returns what taking comes to; nothing when the taker does not get on with it in time.
///
/// Time in which the whole process stood still counts as one short wait: where standard output blocks because somebody
/// reads it slowly, the taker had no chance, and takes on as soon as it can.
pub(crate) async fn taken_within<T>(stall_time: Duration, take: impl Future<Output = T>) -> Option<T> {
    let mut take = std::pin::pin!(take);
    for _ in 0..STALL_WAITS {
        if let Ok(taken) = tokio::time::timeout(stall_time / STALL_WAITS, &mut take).await {
            return Some(taken);
        }
    }
    None
}

/// Carries what the server sends to the caller, or to nowhere once the caller is gone, until the channel is closed.
async fn inward(read: &mut ChannelReadHalf, mut to_caller: WriteHalf<DuplexStream>, stall_time: Duration) -> End {
    let mut is_heard = true;
    loop {
        match read.wait().await {
            Some(ChannelMsg::Data { data }) if is_heard => {
                match taken_within(stall_time, to_caller.write_all(&data)).await {
                    Some(written) => is_heard = written.is_ok(),
                    None => return End::Stalled,
                }
            }
            Some(ChannelMsg::Eof) => {
                // An error means the caller is gone.
                let _ = to_caller.shutdown().await;
                is_heard = false;
            }
            Some(ChannelMsg::Close) => return End::Closed,
            Some(_) => {}
            None => return End::Broken,
        }
    }
}

/// Carries what the caller writes to the server, then end of file. Never returns: the end shows on the way in.
async fn outward(mut from_caller: ReadHalf<DuplexStream>, write: &ChannelWriteHalf<Msg>) -> Infallible {
    loop {
        let mut chunk = Vec::with_capacity(CHUNK_BYTES);
        let is_open = match from_caller.read_buf(&mut chunk).await {
            Ok(count) if count > 0 => write.data_bytes(chunk).await.is_ok(),
            _ => false,
        };
        if !is_open {
            // An error means the whole connection is closed.
            let _ = write.eof().await;
            return std::future::pending().await;
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.near).poll_read(cx, buffer))?;
        let is_end = buffer.filled().len() == before && buffer.remaining() > 0;
        match is_end && self.broken.load(Ordering::Acquire) {
            true => Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionReset, "the ssh connection broke"))),
            false => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.near).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.near).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.near).poll_shutdown(cx)
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stream")
    }
}
