//! A small HTTP server that answers who asked, who answers and a value never seen before.
//!
//! One loop serves all connections. Each has its own deadline, so that nobody who is slow keeps
//! others waiting.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use netarium_core::outcome::{Echo, Peer, Server};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType, accept_with, bind,
    getpeername, getsockname, listen, recv, send, shutdown, socket_with, sockopt,
};
use rustix::rand::{GetRandomFlags, getrandom};

use super::arguments::{Arguments, UsageError};

/// How long a connection may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many connections are served at the same time; the oldest makes room for one more.
const MOST: usize = 500;
/// How much of a long body is made at a time, in bytes.
const PIECE: u64 = 64 * 1024;
/// The longest request, in bytes.
const LONGEST: usize = 8 * 1024;

/// What is served, and where.
pub(crate) struct Settings {
    port: u16,
    name: String,
}

impl Settings {
    /// Reads the arguments.
    ///
    /// # Errors
    /// If they are wrong.
    pub(crate) fn from_arguments(arguments: &mut Arguments) -> Result<Self, UsageError> {
        let port = arguments.required("port", "port")?;
        let host = || rustix::system::uname().nodename().to_string_lossy().into_owned();
        let name = arguments.option("name").unwrap_or_else(host);
        arguments.end()?;
        Ok(Self { port, name })
    }
}

/// Serves until it is ended.
pub(crate) fn run(settings: &Settings) -> ExitCode {
    match listener(settings.port) {
        Ok(listener) => serve(&listener, &settings.name),
        Err(error) => {
            eprintln!("netarium-probe: cannot listen to TCP port {}: {error}", settings.port);
            ExitCode::FAILURE
        }
    }
}

/// Listens to IPv6 and IPv4; to IPv4 alone where there is no IPv6.
fn listener(port: u16) -> Result<OwnedFd, Errno> {
    match listen_on((Ipv6Addr::UNSPECIFIED, port).into()) {
        Ok(socket) => Ok(socket),
        Err(Errno::ADDRINUSE) => Err(Errno::ADDRINUSE),
        Err(_) => listen_on((Ipv4Addr::UNSPECIFIED, port).into()),
    }
}

fn listen_on(address: SocketAddr) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, false)?;
    }
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &address)?;
    listen(&socket, 128)?;
    Ok(socket)
}

fn serve(listener: &OwnedFd, name: &str) -> ExitCode {
    let mut connections: Vec<Connection> = Vec::new();
    loop {
        let mut watched = vec![PollFd::new(listener, PollFlags::IN)];
        watched.extend(connections.iter().map(Connection::watched));
        let next = connections.iter().map(|connection| connection.deadline).min();
        let left = next.map(|at| at.saturating_duration_since(Instant::now()));
        let timeout = left.map(|left| Timespec::try_from(left).expect("it is seconds"));
        let some = poll(&mut watched, timeout.as_ref()).is_ok_and(|count| count > 0);
        let ready: Vec<bool> = watched.iter().map(|fd| some && !fd.revents().is_empty()).collect();
        let now = Instant::now();
        let mut place = 0;
        connections.retain_mut(|connection| {
            place += 1;
            connection.deadline > now && (!ready[place] || connection.go_on(name) == State::Open)
        });
        if ready[0]
            && let Ok(socket) = accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)
        {
            if connections.len() >= MOST {
                connections.remove(0);
            }
            connections.push(Connection::new(socket, now));
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Over,
}

enum Phase {
    /// The request is not complete yet.
    Reading(Vec<u8>),
    /// The rest of the answer.
    Writing(Vec<u8>),
    /// All is sent; what still comes is thrown away, since closing now could lose the answer.
    Lingering,
}

struct Connection {
    socket: OwnedFd,
    deadline: Instant,
    phase: Phase,
    /// How many bytes of a long body are still to be made.
    more: u64,
}

impl Connection {
    fn new(socket: OwnedFd, now: Instant) -> Self {
        Self { socket, deadline: now + PATIENCE, phase: Phase::Reading(Vec::new()), more: 0 }
    }

    fn watched(&self) -> PollFd<'_> {
        let events = match self.phase {
            Phase::Writing(_) => PollFlags::OUT,
            Phase::Reading(_) | Phase::Lingering => PollFlags::IN,
        };
        PollFd::new(&self.socket, events)
    }

    /// Does what can be done without waiting.
    fn go_on(&mut self, name: &str) -> State {
        match self.step(name) {
            Ok(state) => state,
            Err(Errno::AGAIN | Errno::INTR) => State::Open,
            Err(_) => State::Over,
        }
    }

    fn step(&mut self, name: &str) -> Result<State, Errno> {
        let mut bytes = [0; 2048];
        match &mut self.phase {
            Phase::Reading(request) => {
                let (length, _) = recv(&self.socket, &mut bytes[..], RecvFlags::empty())?;
                request.extend_from_slice(&bytes[..length]);
                let request = std::mem::take(request);
                match head(&request) {
                    Some(head) => {
                        self.more = long_body(head).unwrap_or(0);
                        self.phase = Phase::Writing(match self.more {
                            0 => self.answer(head, name),
                            length => beginning("200 OK", "application/octet-stream", length),
                        });
                        self.step(name)
                    }
                    None if length == 0 => Ok(State::Over),
                    None if request.len() > LONGEST => {
                        self.phase = Phase::Writing(message("431 Too Large", "", Content::Sent));
                        self.step(name)
                    }
                    None => {
                        self.phase = Phase::Reading(request);
                        Ok(State::Open)
                    }
                }
            }
            Phase::Writing(rest) => {
                let sent = send(&self.socket, rest, SendFlags::NOSIGNAL)?;
                rest.drain(..sent);
                if rest.is_empty() && self.more > 0 {
                    let piece = self.more.min(PIECE);
                    self.more -= piece;
                    rest.resize(usize::try_from(piece).unwrap_or(0), b'.');
                    // Whoever goes on reading is given more time.
                    self.deadline = Instant::now() + PATIENCE;
                } else if rest.is_empty() {
                    shutdown(&self.socket, Shutdown::Write)?;
                    self.phase = Phase::Lingering;
                }
                Ok(State::Open)
            }
            Phase::Lingering => {
                let (length, _) = recv(&self.socket, &mut bytes[..], RecvFlags::empty())?;
                Ok(if length == 0 { State::Over } else { State::Open })
            }
        }
    }

    fn answer(&self, head: &str, name: &str) -> Vec<u8> {
        let Some((method, path)) = request_line(head) else {
            return message("400 Bad Request", "", Content::Sent);
        };
        let mut fresh = [0; 16];
        let client = getpeername(&self.socket).ok().flatten().and_then(end);
        let server = getsockname(&self.socket).ok().and_then(end);
        let filled = getrandom(&mut fresh[..], GetRandomFlags::empty());
        let (Some(client), Some(server), Ok(16)) = (client, server, filled) else {
            return message("500 Internal Server Error", "", Content::Sent);
        };
        let echo = Echo {
            client,
            server: Server { name: name.to_owned(), address: server.address, port: server.port },
            method: method.to_owned(),
            path: path.to_owned(),
            fresh: fresh.iter().map(|byte| format!("{byte:02x}")).collect(),
        };
        let text = serde_json::to_string(&echo).expect("an answer is plain data") + "\n";
        message("200 OK", &text, if method == "HEAD" { Content::Left } else { Content::Sent })
    }
}

/// One end of a connection; an IPv4 address that came in over IPv6 is shown as what it is.
fn end(address: rustix::net::SocketAddrAny) -> Option<Peer> {
    let address = SocketAddr::try_from(address).ok()?;
    Some(Peer { address: address.ip().to_canonical(), port: address.port() })
}

/// Everything up to the empty line.
fn head(request: &[u8]) -> Option<&str> {
    let end = request.windows(4).position(|window| window == b"\r\n\r\n")?;
    Some(std::str::from_utf8(&request[..end]).unwrap_or_default())
}

/// The method and the path.
fn request_line(head: &str) -> Option<(&str, &str)> {
    let mut words = head.split("\r\n").next()?.split(' ');
    let (method, path, version) = (words.next()?, words.next()?, words.next()?);
    let named = !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase());
    let valid = named && !path.is_empty() && version.starts_with("HTTP/1.");
    (valid && words.next().is_none()).then_some((method, path))
}

/// How long the body is to be, if the request is for `/bytes/N`.
fn long_body(head: &str) -> Option<u64> {
    let (method, path) = request_line(head)?;
    let digits = path.strip_prefix("/bytes/").filter(|_| method == "GET")?;
    digits.parse().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Whether the body goes with its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    Sent,
    Left,
}

fn message(status: &str, body: &str, content: Content) -> Vec<u8> {
    let mut text = beginning(status, "application/json", body.len() as u64);
    if content == Content::Sent {
        text.extend_from_slice(body.as_bytes());
    }
    text
}

/// An answer before its body.
fn beginning(status: &str, kind: &str, length: u64) -> Vec<u8> {
    let text = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\
         Cache-Control: no-store\r\nConnection: close\r\n\r\n"
    );
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_request_line_is_one() {
        assert_eq!(request_line("GET /x?y HTTP/1.1\r\nHost: z"), Some(("GET", "/x?y")));
        for wrong in
            ["", "GET", "GET / FTP/1", "get / HTTP/1.1", "GET / HTTP/1.1 x", "GET  HTTP/1.1"]
        {
            assert_eq!(request_line(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_long_body_is_as_long_as_the_path_says() {
        assert_eq!(long_body("GET /bytes/100000 HTTP/1.1"), Some(100_000));
        for other in ["GET /bytes/ HTTP/1.1", "GET /bytes/+1 HTTP/1.1", "HEAD /bytes/1 HTTP/1.1"] {
            assert_eq!(long_body(other), None, "{other}");
        }
    }

    #[test]
    fn a_request_is_complete_at_its_empty_line() {
        assert_eq!(head(b"GET / HTTP/1.1\r\nHost: x\r\n"), None);
        assert_eq!(head(b"GET / HTTP/1.1\r\n\r\nbody"), Some("GET / HTTP/1.1"));
    }
}
