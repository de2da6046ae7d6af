//! A small HTTP/1.1 server: one thread a connection, keep-alive, bodies with a `Content-Length`. No chunked request
//! bodies (411), no pipelining of more than one request at a time, no TLS, no WebSocket.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

/// A request head larger than this is nobody's we know.
const HEAD_BYTES_MAX: u64 = 32 * 1024;
/// Chat requests carry a conversation at most.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Long enough for a client that keeps its connection between polls.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// One request, whole.
pub(crate) struct Request {
    pub(crate) method: String,
    /// The path without its query.
    pub(crate) path: String,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Whether the peer is on this machine's loopback; through a published port it is not.
    pub(crate) is_local: bool,
}

impl Request {
    /// Returns a header by its name in small letters.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// Returns the token of `Authorization: Bearer`.
    pub(crate) fn bearer(&self) -> Option<&str> {
        let (scheme, token) = self.header("authorization")?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
    }

    fn wants_close(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

/// One answer, whole.
pub(crate) struct Response {
    status: u16,
    content_type: &'static str,
    body: Vec<u8>,
}

impl Response {
    /// Returns an answer with a JSON body.
    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self { status, content_type: "application/json; charset=utf-8", body: body.to_string().into_bytes() }
    }

    /// Returns a whole stream of server-sent events.
    pub(crate) fn events(events: &[String]) -> Self {
        let body: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
        Self { status: 200, content_type: "text/event-stream; charset=utf-8", body: body.into_bytes() }
    }

    /// Returns an error in the form of the chat endpoints.
    pub(crate) fn error(status: u16, message: &str, kind: &str) -> Self {
        Self::json(status, &json!({"error": {"message": message, "type": kind}}))
    }

    /// Returns what an unknown path answers.
    pub(crate) fn not_found() -> Self {
        Self { status: 404, content_type: "text/plain; charset=utf-8", body: b"Not Found".to_vec() }
    }
}

/// Answers every connection of `listener`, for ever.
pub(crate) fn serve(listener: &TcpListener, answer: impl Fn(&Request) -> Response + Send + Sync + 'static) {
    let answer = Arc::new(answer);
    for stream in listener.incoming().flatten() {
        let answer = Arc::clone(&answer);
        // A peer that goes away in the middle is no news.
        std::thread::spawn(move || converse(stream, answer.as_ref()).ok());
    }
}

fn converse(stream: TcpStream, answer: &dyn Fn(&Request) -> Response) -> io::Result<()> {
    stream.set_read_timeout(Some(IDLE_MAX))?;
    stream.set_nodelay(true)?;
    let is_local = stream.peer_addr()?.ip().is_loopback();
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut request = match read_head(&mut reader, is_local)? {
            Head::End => return Ok(()),
            Head::Refused(status) => {
                return write(
                    &mut writer,
                    &Response::error(status, "bad request", "invalid_request_error"),
                    false,
                    true,
                );
            }
            Head::Read(request) => request,
        };
        let length = match body_length(&request) {
            Ok(length) => length,
            Err(status) => {
                return write(&mut writer, &Response::error(status, "bad body", "invalid_request_error"), false, true);
            }
        };
        if request.header("expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue")) {
            writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        request.body.resize(length, 0);
        reader.read_exact(&mut request.body)?;
        let closes = request.wants_close();
        write(&mut writer, &answer(&request), request.method == "HEAD", closes)?;
        if closes {
            return Ok(());
        }
    }
}

enum Head {
    Read(Request),
    /// The peer closed between two requests.
    End,
    /// Not HTTP/1, or too long: the status to answer.
    Refused(u16),
}

fn read_head(reader: &mut BufReader<TcpStream>, is_local: bool) -> io::Result<Head> {
    let mut limited = reader.by_ref().take(HEAD_BYTES_MAX);
    let mut line = String::new();
    if limited.read_line(&mut line)? == 0 {
        return Ok(Head::End);
    }
    let mut words = line.split_whitespace();
    let (Some(method), Some(target), Some(version)) = (words.next(), words.next(), words.next()) else {
        return Ok(Head::Refused(400));
    };
    if !version.starts_with("HTTP/1.") {
        return Ok(Head::Refused(505));
    }
    let path = target.split(['?', '#']).next().unwrap_or_default();
    let mut request =
        Request { method: method.to_owned(), path: path.to_owned(), headers: Vec::new(), body: Vec::new(), is_local };
    if version == "HTTP/1.0" {
        request.headers.push(("connection".to_owned(), "close".to_owned()));
    }
    loop {
        let mut line = String::new();
        if limited.read_line(&mut line)? == 0 {
            return Ok(Head::Refused(431));
        }
        let line = line.trim_end();
        if line.is_empty() {
            return Ok(Head::Read(request));
        }
        let Some((name, value)) = line.split_once(':') else {
            return Ok(Head::Refused(400));
        };
        request.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
}

/// Returns the length of the body, or the status that refuses it.
fn body_length(request: &Request) -> Result<usize, u16> {
    if request.header("transfer-encoding").is_some() {
        return Err(411);
    }
    let length = request.header("content-length").map_or(Ok(0), str::parse).map_err(|_| 400_u16)?;
    if length > BODY_BYTES_MAX { Err(413) } else { Ok(length) }
}

fn write(writer: &mut TcpStream, response: &Response, is_head: bool, closes: bool) -> io::Result<()> {
    let reason = match response.status {
        200 => "OK",
        503 => "Service Unavailable",
        status if status < 500 => "Refused",
        _ => "Error",
    };
    let connection = if closes { "close" } else { "keep-alive" };
    let mut bytes = format!(
        "HTTP/1.1 {} {reason}\r\nContent-Type: {}\r\nContent-Length: {}\r\nCache-Control: no-store\r\nConnection: {connection}\r\n\r\n",
        response.status,
        response.content_type,
        response.body.len(),
    )
    .into_bytes();
    if !is_head {
        bytes.extend_from_slice(&response.body);
    }
    // One write, so that a small answer travels in one packet.
    writer.write_all(&bytes)
}
