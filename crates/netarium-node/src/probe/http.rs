//! One HTTP/1.1 GET request (RFC 9110, RFC 9112), and no more: no redirect is followed, nothing
//! is kept open.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use netarium_core::outcome::{LONGEST_BODY, Outcome, Reached, Response};
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::arguments::{Arguments, UsageError};
use super::connection;
use super::deadline::{Deadline, Waited};
use super::refusal;
use super::token::Token;

/// The most that is read before the head of a response has ended, in bytes.
const LONGEST_HEAD: usize = 32 * 1024;
/// The most that is read at all, with whatever is around the parts of a body.
const LONGEST_MESSAGE: usize = 1024 * 1024;

/// A request.
pub(crate) struct Get {
    to: SocketAddr,
    host: String,
    path: String,
    token: Option<Token>,
    timeout: Duration,
}

impl Get {
    /// Reads the arguments.
    ///
    /// # Errors
    /// If they are wrong, or would break the request's lines.
    pub(crate) fn from_arguments(arguments: &mut Arguments) -> Result<Self, UsageError> {
        let address: IpAddr = arguments.required("address", "address")?;
        let port: u16 = arguments.option_or("port", 80, "port")?;
        let host = arguments.option("host").unwrap_or_else(|| address.to_string());
        let path = arguments.option("path").unwrap_or_else(|| "/".to_owned());
        let token = arguments.token()?;
        let timeout = arguments.timeout()?;
        arguments.end()?;
        let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if !plain(&host) || host.is_empty() {
            return Err(UsageError::Value { value: host, wanted: "host" });
        }
        if !plain(&path) || !path.starts_with('/') {
            return Err(UsageError::Value { value: path, wanted: "path beginning with /" });
        }
        Ok(Self { to: (address, port).into(), host, path, token, timeout })
    }

    /// Whom it asks.
    pub(super) fn to(&self) -> SocketAddr {
        self.to
    }

    /// How long it waits.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// What it sends.
    pub(super) fn text(&self) -> String {
        let host = if self.host.contains(':') && !self.host.starts_with('[') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        let port = match self.to.port() {
            80 => String::new(),
            port => format!(":{port}"),
        };
        format!(
            "GET {} HTTP/1.1\r\nHost: {host}{port}\r\nUser-Agent: netarium-probe\r\n\
             Accept: */*\r\nConnection: close\r\n\r\n",
            self.path
        )
    }
}

/// Asks.
pub(crate) fn run(get: &Get) -> Outcome {
    let deadline = Deadline::new(get.timeout);
    exchange(get, &deadline).unwrap_or_else(|outcome| outcome)
}

fn exchange(get: &Get, deadline: &Deadline) -> Result<Outcome, Outcome> {
    let socket = connection::open(get.to, get.token, deadline)?;
    send_all(&socket, get.text().as_bytes(), get.to, deadline)?;
    let mut received = Vec::new();
    loop {
        let before = received.len();
        receive_more(&socket, &mut received, get.to, deadline)?;
        let end = if received.len() == before { Stream::Ended } else { Stream::Open };
        match response(&received, end) {
            Ok(Some(response)) => {
                let response = Some(response);
                return Ok(Outcome::Reached(Reached { millis: deadline.millis(), response }));
            }
            Ok(None) if received.len() > LONGEST_MESSAGE => {
                return Err(Outcome::Broken(HttpError::TooLong.to_string()));
            }
            Ok(None) => {}
            Err(error) => return Err(Outcome::Broken(error.to_string())),
        }
    }
}

fn lost(errno: Errno, to: SocketAddr) -> Outcome {
    refusal::from_errno(errno, to.ip())
        .unwrap_or_else(|| Outcome::Broken(format!("the connection broke: {errno}")))
}

/// What is said of somebody who takes a connection and does not answer: that is no silence.
fn mute(deadline: &Deadline) -> Outcome {
    let millis = deadline.millis();
    Outcome::Broken(format!("the connection was made, but no response came in {millis:.0} ms"))
}

pub(super) fn send_all(
    socket: &OwnedFd,
    mut bytes: &[u8],
    to: SocketAddr,
    deadline: &Deadline,
) -> Result<(), Outcome> {
    while !bytes.is_empty() {
        match send(socket, bytes, SendFlags::NOSIGNAL) {
            Ok(sent) => bytes = bytes.get(sent..).unwrap_or_default(),
            Err(Errno::AGAIN) => {
                if deadline.wait(socket, PollFlags::OUT) == Waited::TooLong {
                    return Err(mute(deadline));
                }
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(lost(errno, to)),
        }
    }
    Ok(())
}

/// Waits for more and adds it; nothing is added if the other side has ended.
fn receive_more(
    socket: &OwnedFd,
    received: &mut Vec<u8>,
    to: SocketAddr,
    deadline: &Deadline,
) -> Result<(), Outcome> {
    let mut bytes = [0; 16 * 1024];
    loop {
        if deadline.wait(socket, PollFlags::IN) == Waited::TooLong {
            return Err(mute(deadline));
        }
        match recv(socket, &mut bytes[..], RecvFlags::empty()) {
            Ok((length, _)) => {
                received.extend_from_slice(bytes.get(..length).unwrap_or_default());
                return Ok(());
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(errno) => return Err(lost(errno, to)),
        }
    }
}

/// Why something is no HTTP response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HttpError {
    /// The first line is not `HTTP/1.x` and a status code.
    #[error("what came back is not HTTP/1.1")]
    NotHttp,
    /// A header line has no name, or a length is no number.
    #[error("a line of the response's head makes no sense")]
    Head,
    /// The length of a part of the body is no number.
    #[error("a chunk of the response's body makes no sense")]
    Chunk,
    /// The connection was closed before all had come.
    #[error("the response ended too early")]
    Early,
    /// It is no success.
    #[error("the response has status {0}")]
    Status(u16),
    /// It does not end.
    #[error("the response is too long")]
    TooLong,
}

/// Whether more may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Open,
    Ended,
}

/// How the end of a body is known (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    None,
    Length(usize),
    Chunked,
    UntilEnd,
}

/// Reads a response from all that has come so far. `None` if more is needed.
///
/// # Errors
/// If it is none, or will never be a whole one.
pub(crate) fn response(mut bytes: &[u8], stream: Stream) -> Result<Option<Response>, HttpError> {
    loop {
        let Some((head, rest)) = whole_head(bytes, stream)? else { return Ok(None) };
        let (status, framing) = read_head(head)?;
        // Interim responses come before the real one (RFC 9110 section 15.2).
        if (100..200).contains(&status) {
            bytes = rest;
            continue;
        }
        return Ok(read_body(rest, framing, stream)?.map(|(body, cut)| Response {
            status,
            body: String::from_utf8_lossy(&body).into_owned(),
            cut,
        }));
    }
}

/// The head of a response with status 2xx: how its body ends, and how much of that is there. `None`
/// if more is needed.
///
/// # Errors
/// If it is none, or has another status.
pub(super) fn head(bytes: &[u8], stream: Stream) -> Result<Option<(Framing, usize)>, HttpError> {
    let Some((head, rest)) = whole_head(bytes, stream)? else { return Ok(None) };
    match read_head(head)? {
        (200..300, framing) => Ok(Some((framing, rest.len()))),
        (status, _) => Err(HttpError::Status(status)),
    }
}

/// The head of a message, and what comes after it.
type Parts<'a> = (&'a [u8], &'a [u8]);

/// The parts of a response, as soon as its head is whole. `None` if more is needed.
fn whole_head(bytes: &[u8], stream: Stream) -> Result<Option<Parts<'_>>, HttpError> {
    match (split_head(bytes), stream) {
        (Some(parts), _) => Ok(Some(parts)),
        _ if !could_be_http(bytes) => Err(HttpError::NotHttp),
        (None, Stream::Ended) => Err(HttpError::Early),
        (None, Stream::Open) if bytes.len() > LONGEST_HEAD => Err(HttpError::TooLong),
        (None, Stream::Open) => Ok(None),
    }
}

fn could_be_http(bytes: &[u8]) -> bool {
    let start = b"HTTP/1.";
    let length = bytes.len().min(start.len());
    bytes[..length] == start[..length]
}

fn split_head(bytes: &[u8]) -> Option<Parts<'_>> {
    let place = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    Some((&bytes[..place], &bytes[place + 4..]))
}

fn read_head(head: &[u8]) -> Result<(u16, Framing), HttpError> {
    let head = std::str::from_utf8(head).map_err(|_| HttpError::Head)?;
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().splitn(3, ' ');
    let version = words.next().unwrap_or_default();
    let status = words.next().filter(|code| code.len() == 3).and_then(|code| code.parse().ok());
    let Some(status) = status.filter(|_| matches!(version, "HTTP/1.1" | "HTTP/1.0")) else {
        return Err(HttpError::NotHttp);
    };
    let mut framing = Framing::UntilEnd;
    for line in lines {
        let (name, value) = line.split_once(':').ok_or(HttpError::Head)?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("transfer-encoding") && value.eq_ignore_ascii_case("chunked") {
            framing = Framing::Chunked;
        } else if name.eq_ignore_ascii_case("content-length") && framing != Framing::Chunked {
            framing = Framing::Length(value.parse().map_err(|_| HttpError::Head)?);
        }
    }
    if matches!(status, 204 | 304) {
        framing = Framing::None;
    }
    Ok((status, framing))
}

/// The body and whether there was more of it.
type Body = (Vec<u8>, bool);

fn read_body(bytes: &[u8], framing: Framing, stream: Stream) -> Result<Option<Body>, HttpError> {
    let (body, complete) = match framing {
        Framing::None => (Vec::new(), true),
        Framing::Chunked => unchunk(bytes)?,
        Framing::Length(length) => {
            let body = bytes.get(..length).unwrap_or(bytes);
            (body.to_vec(), body.len() == length)
        }
        Framing::UntilEnd => (bytes.to_vec(), stream == Stream::Ended),
    };
    if body.len() > LONGEST_BODY {
        return Ok(Some((body[..LONGEST_BODY].to_vec(), true)));
    }
    match stream {
        _ if complete => Ok(Some((body, false))),
        Stream::Ended => Err(HttpError::Early),
        Stream::Open => Ok(None),
    }
}

/// Puts the chunks of a body together (RFC 9112 section 7.1), as many as there are, and says
/// whether the last one is among them. What follows on the last one is of no interest here.
fn unchunk(mut bytes: &[u8]) -> Result<(Vec<u8>, bool), HttpError> {
    let mut body = Vec::new();
    loop {
        let Some(end) = bytes.windows(2).position(|window| window == b"\r\n") else {
            return if bytes.len() > 1024 { Err(HttpError::Chunk) } else { Ok((body, false)) };
        };
        let line = std::str::from_utf8(&bytes[..end]).map_err(|_| HttpError::Chunk)?;
        let digits = line.split(';').next().unwrap_or_default().trim();
        let length = u32::from_str_radix(digits, 16).map_err(|_| HttpError::Chunk)? as usize;
        if length == 0 {
            return Ok((body, true));
        }
        let rest = &bytes[end + 2..];
        body.extend_from_slice(rest.get(..length).unwrap_or(rest));
        match rest.get(length..length + 2) {
            Some(b"\r\n") => bytes = &rest[length + 2..],
            Some(_) => return Err(HttpError::Chunk),
            None => return Ok((body, false)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, stream: Stream) -> Result<Option<(u16, String, bool)>, HttpError> {
        let response = response(text.as_bytes(), stream)?;
        Ok(response.map(|response| (response.status, response.body, response.cut)))
    }

    fn whole(status: u16, body: &str) -> Result<Option<(u16, String, bool)>, HttpError> {
        Ok(Some((status, body.to_owned(), false)))
    }

    #[test]
    fn a_body_ends_where_its_length_says() {
        let text = "HTTP/1.1 200 OK\r\ncontent-LENGTH:  5\r\n\r\nhello";
        assert_eq!(read(text, Stream::Open), whole(200, "hello"));
        for length in 0..text.len() {
            assert_eq!(read(&text[..length], Stream::Open), Ok(None));
            assert_eq!(read(&text[..length], Stream::Ended), Err(HttpError::Early));
        }
    }

    #[test]
    fn a_body_without_a_length_ends_with_the_connection() {
        let text = "HTTP/1.0 404 Not Found\r\nServer: x\r\n\r\nnothing here";
        assert_eq!(read(text, Stream::Open), Ok(None));
        assert_eq!(read(text, Stream::Ended), whole(404, "nothing here"));
    }

    #[test]
    fn a_body_in_chunks_is_put_together() {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let text = format!("{head}5\r\nhello\r\n6;name=value\r\n world\r\n0\r\n\r\n");
        assert_eq!(read(&text, Stream::Open), whole(200, "hello world"));
        assert_eq!(read(&format!("{head}5\r\nhel"), Stream::Open), Ok(None));
        assert_eq!(read(&format!("{head}5\r\nhel"), Stream::Ended), Err(HttpError::Early));
        assert_eq!(read(&format!("{head}x\r\n"), Stream::Open), Err(HttpError::Chunk));
        assert_eq!(read(&format!("{head}2\r\nhello"), Stream::Open), Err(HttpError::Chunk));
    }

    #[test]
    fn a_response_without_a_body_is_complete_at_once() {
        assert_eq!(read("HTTP/1.1 204 No Content\r\n\r\n", Stream::Open), whole(204, ""));
    }

    #[test]
    fn an_interim_response_is_passed_over() {
        let text = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(read(text, Stream::Open), whole(200, ""));
    }

    #[test]
    fn a_long_body_is_cut() {
        let body = "x".repeat(LONGEST_BODY);
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", LONGEST_BODY + 10);
        assert_eq!(read(&format!("{head}{body}"), Stream::Open), Ok(None));
        let text = format!("{head}{body}y");
        assert_eq!(read(&text, Stream::Open), Ok(Some((200, body.clone(), true))));
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LONGEST_BODY}\r\n\r\n");
        assert_eq!(read(&format!("{head}{body}"), Stream::Open), whole(200, &body));
    }

    #[test]
    fn what_is_not_http_is_told_at_once() {
        assert_eq!(read("SSH-2.0-OpenSSH", Stream::Open), Err(HttpError::NotHttp));
        assert_eq!(read("HTTP/1.1 2x0 OK\r\n\r\n", Stream::Open), Err(HttpError::NotHttp));
        assert_eq!(read("HTTP/1.1 200 OK\r\nno colon\r\n\r\n", Stream::Open), Err(HttpError::Head));
        let endless = format!("HTTP/1.1 200 OK\r\n{}", "x".repeat(LONGEST_HEAD));
        assert_eq!(read(&endless, Stream::Open), Err(HttpError::TooLong));
    }

    #[test]
    fn an_ipv6_address_is_in_brackets_in_the_request() {
        let words = ["--address", "fd00::1", "--port", "8080", "--path", "/x?y"];
        let mut arguments = Arguments::new(&words.map(Into::into)).unwrap();
        let get = Get::from_arguments(&mut arguments).unwrap();
        assert!(get.text().starts_with("GET /x?y HTTP/1.1\r\nHost: [fd00::1]:8080\r\n"));
    }

    #[test]
    fn a_path_cannot_add_lines_to_the_request() {
        let words = ["--address", "10.0.0.1", "--path", "/x\r\nHost: y"];
        let mut arguments = Arguments::new(&words.map(Into::into)).unwrap();
        assert!(matches!(Get::from_arguments(&mut arguments), Err(UsageError::Value { .. })));
    }
}
