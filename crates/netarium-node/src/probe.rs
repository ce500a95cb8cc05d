//! The probe, found in every node: finds out one thing and prints it as one line of JSON.
//!
//! It never judges: whether a silence is good or bad, the checker outside says.

mod arguments;
mod capture;
mod classify;
mod connection;
mod deadline;
mod echo;
mod http;
mod ping;
mod refusal;
mod target;
mod token;
mod transfer;
mod udp;
mod watch;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use netarium_core::outcome::Outcome;
use serde::Serialize;

use self::arguments::{Arguments, UsageError};
use self::target::Target;

/// What is printed for people who ask.
const HELP: &str = "\
Find out one thing from inside a node, and print it as one line of JSON.

usage: netarium-probe ping ADDRESS [--count N] [--interval-ms M] [--timeout-ms T]
       netarium-probe tcp ADDRESS PORT [--timeout-ms T]
       netarium-probe udp ADDRESS PORT [--timeout-ms T]
       netarium-probe http --address ADDRESS [--port P] [--host H] [--path /P] [--timeout-ms T]
       netarium-probe http-echo --port P [--name N]
       netarium-probe capture --interface I [--frames received]
       netarium-probe watch --token X
       netarium-probe transfer --address ADDRESS [--port P] [--host H] [--path /P] [--timeout-ms T]

  ping       ICMP echo requests, N of them (3), one every M ms (200), until the first answer
  tcp        a TCP connection
  udp        a UDP datagram, one every 200 ms, until anything comes back
  http       an HTTP/1.1 GET request; no redirect is followed
  http-echo  a server that answers who asked, who answers and a fresh value; /bytes/N has N bytes
  capture    counts what the interface sends or receives, until standard input ends
  transfer   HTTP/1.1 GET requests, read slowly one after another, until standard input ends

  watch      tells where requests with the mark X come from, until standard input ends
Each gives up after T ms (2000). ADDRESS is IPv4 or IPv6. With --token X, sixteen hexadecimal digits,
what ping, tcp, udp and http send bears a mark that no translation changes.

Answers: {\"reached\":…} {\"silent\":…} {\"refused\":…} {\"broken\":…} {\"impossible\":…}
Exit codes: 0 reached, 1 not reached, 2 wrong usage.
";

/// Does what the arguments say.
pub(crate) fn run(words: &[OsString]) -> ExitCode {
    match dispatch(words) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("netarium-probe: {error}\ntry: netarium-probe --help");
            ExitCode::from(2)
        }
    }
}

fn dispatch(words: &[OsString]) -> Result<ExitCode, UsageError> {
    let mut arguments = Arguments::new(words)?;
    let command =
        arguments.next("a command: ping, tcp, udp, http, http-echo, capture, watch or transfer")?;
    match command.as_str() {
        "ping" => Ok(print_outcome(&ping::run(&ping::Ping::from_arguments(&mut arguments)?))),
        "tcp" => Ok(print_outcome(&connection::run(&Target::from_arguments(&mut arguments)?))),
        "udp" => Ok(print_outcome(&udp::run(&Target::from_arguments(&mut arguments)?))),
        "http" => Ok(print_outcome(&http::run(&http::Get::from_arguments(&mut arguments)?))),
        "http-echo" => Ok(echo::run(&echo::Settings::from_arguments(&mut arguments)?)),
        "capture" => Ok(capture::run(&capture::Place::from_arguments(&mut arguments)?)),
        "transfer" => Ok(transfer::run(&http::Get::from_arguments(&mut arguments)?)),
        "watch" => Ok(watch::run(watch::token(&mut arguments)?)),
        "--help" | "-h" | "help" => {
            print_text(HELP);
            Ok(ExitCode::SUCCESS)
        }
        _ => Err(UsageError::Unknown(command)),
    }
}

fn print_outcome(outcome: &Outcome) -> ExitCode {
    print(outcome);
    match outcome {
        Outcome::Reached(_) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// Prints one line of JSON.
fn print(value: &impl Serialize) {
    let text = serde_json::to_string(value).expect("outcomes are plain data");
    print_text(&format!("{text}\n"));
}

/// Prints at once. That nobody reads it any more is no reason to panic: then nobody cares.
fn print_text(text: &str) {
    let mut output = io::stdout().lock();
    output.write_all(text.as_bytes()).and_then(|()| output.flush()).ok();
}
