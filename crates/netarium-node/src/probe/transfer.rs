//! A transfer that goes on until standard input ends: one HTTP response read bit by bit, and the
//! next one when that is over. Nothing may break it.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use netarium_core::outcome::{Listening, Outcome, Transfer};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use super::deadline::Deadline;
use super::http::{Framing, Get, Stream, head, send_all};
use super::{connection, print};

/// How much is read at a time, in bytes, and how long is waited then: it is to last, not to be fast.
const PIECE: usize = 32 * 1024;
const PAUSE: Duration = Duration::from_millis(5);

/// Transfers. A pause that is longer than the time-out breaks it.
pub(crate) fn run(get: &Get) -> ExitCode {
    let mut transfer = Transfer::default();
    let mut course = Course { get, transfer: &mut transfer, last: Instant::now(), is_over: false };
    let result = course.go();
    transfer.fault = result.err();
    print(&transfer);
    if transfer.fault.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A transfer on its way.
struct Course<'a> {
    get: &'a Get,
    transfer: &'a mut Transfer,
    /// When something came last.
    last: Instant,
    /// Whether standard input has ended. Then one more piece is waited for, as a sign of life.
    is_over: bool,
}

impl Course<'_> {
    fn go(&mut self) -> Result<(), String> {
        loop {
            self.transfer.requests += 1;
            if self.response()? {
                return Ok(());
            }
        }
    }

    /// Reads one response. Says whether that was all.
    fn response(&mut self) -> Result<bool, String> {
        let deadline = Deadline::new(self.get.timeout());
        let to = self.get.to();
        let socket = connection::open(to, None, &deadline).map_err(|it| told(&it))?;
        send_all(&socket, self.get.text().as_bytes(), to, &deadline).map_err(|it| told(&it))?;
        let (mut beginning, mut body) = (Vec::new(), None);
        loop {
            let piece = self.piece(&socket, to)?;
            let ended = piece.is_empty();
            body = match body {
                None => {
                    beginning.extend_from_slice(&piece);
                    let stream = if ended { Stream::Ended } else { Stream::Open };
                    let head = head(&beginning, stream).map_err(|error| error.to_string())?;
                    head.map(|(framing, length)| (framing, length as u64))
                }
                Some((framing, length)) => Some((framing, length + piece.len() as u64)),
            };
            if let Some((framing, length)) = body {
                let complete = match framing {
                    Framing::Length(all) => length >= all as u64,
                    _ => ended,
                };
                if ended && !complete {
                    return Err("the response ended too early".to_owned());
                }
                if complete {
                    self.look_whether_over();
                    return Ok(self.is_over);
                }
            }
            if self.is_over {
                return Ok(true);
            }
            self.look_whether_over();
        }
    }

    /// The next piece; empty if the other side has ended.
    fn piece(&mut self, socket: &OwnedFd, to: SocketAddr) -> Result<Vec<u8>, String> {
        std::thread::sleep(PAUSE);
        let mut bytes = [0; PIECE];
        loop {
            let left = self.get.timeout().saturating_sub(self.last.elapsed());
            let timeout = Timespec::try_from(left).expect("time-outs are at most weeks");
            let came = poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&timeout));
            if left.is_zero() && !came.is_ok_and(|count| count > 0) {
                return Err(format!("nothing came for {} ms", self.get.timeout().as_millis()));
            }
            match recv(socket, &mut bytes[..], RecvFlags::empty()) {
                Ok((length, _)) => {
                    let pause = self.last.elapsed().as_secs_f64() * 1000.0;
                    let longest = &mut self.transfer.longest_pause;
                    *longest = longest.max((pause * 1000.0).round() / 1000.0);
                    let is_first = self.transfer.bytes == 0 && length > 0;
                    self.last = Instant::now();
                    self.transfer.bytes += length as u64;
                    if is_first {
                        print(&Listening { ready: true });
                    }
                    return Ok(bytes[..length].to_vec());
                }
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(errno) => return Err(format!("the connection to {to} broke: {errno}")),
            }
        }
    }

    fn look_whether_over(&mut self) {
        let input = rustix::stdio::stdin();
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let told = poll(&mut [PollFd::new(&input, PollFlags::IN)], Some(&now));
        if told.is_ok_and(|count| count > 0) {
            self.is_over |= !matches!(rustix::io::read(input, &mut [0; 64]), Ok(1..));
        }
    }
}

fn told(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Broken(reason) | Outcome::Impossible(reason) => reason.clone(),
        Outcome::Silent { millis } => format!("no connection in {millis:.0} ms"),
        outcome => serde_json::to_string(outcome).expect("outcomes are plain data"),
    }
}
