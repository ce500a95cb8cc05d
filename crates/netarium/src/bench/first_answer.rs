//! Asks by HTTP from inside a node, again and again, until the answer that is wanted has come.
//!
//! Who asks for what is taken from the lab's own checks: for each tunnel the first HTTP check that
//! wants an answer from the other end. A lab without tunnels has all its HTTP checks asked.

use std::io::{self, Read};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use netarium_core::control::{PROBE, Reply, Request, Run};
use netarium_core::model::{Answer, Interface, Model, Probe, Tunnel, TunnelEnd, Url};
use netarium_core::name::Name;
use netarium_core::outcome::{Outcome, Response};

use super::{BenchError, Result};
use crate::engine::native::control::{Control, ControlError};
use crate::lab::Lab;

/// How long is asked.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long one question may wait for its answer: a packet that was lost because the tunnel did not
/// stand is not sent again for a second (RFC 6298), a new question is.
const QUESTION: &str = "100";

/// The time between two questions, so that asking does not take the processor from the lab: no
/// figure is finer.
const PAUSE: Duration = Duration::from_millis(2);

/// Someone who asks.
pub(super) struct Asker {
    what: String,
    from: Name,
    url: Url,
    expect: Answer,
    control: PathBuf,
}

/// Why a question could not be asked. While a lab comes up that is nothing to end for.
#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error(transparent)]
    Control(#[from] ControlError),
    #[error(transparent)]
    Pipe(#[from] io::Error),
}

impl Asker {
    /// All who ask in a lab.
    pub(super) fn all(lab: &Lab, model: &Model) -> Vec<Self> {
        let asker = |what: &str, (from, url, expect): (&Name, &Url, &Answer)| Self {
            what: what.to_owned(),
            from: from.clone(),
            url: url.clone(),
            expect: expect.clone(),
            control: lab.folder().node(from).control(),
        };
        if model.tunnels.is_empty() {
            let named =
                model.checks.iter().filter_map(|check| Some((check, wanted(&check.probe)?)));
            return named.map(|(check, question)| asker(&check.name, question)).collect();
        }
        let questions: Vec<_> =
            model.checks.iter().filter_map(|check| wanted(&check.probe)).collect();
        let through = |(name, tunnel): (&Name, &Tunnel)| {
            let is_carried = |(from, url, _): &&(&Name, &Url, &Answer)| {
                let asks: &[Interface] =
                    model.nodes.get(*from).map_or(&[], |node| node.interfaces.as_slice());
                carries(tunnel, asks, url.address)
            };
            questions.iter().find(is_carried).map(|question| asker(name.as_str(), *question))
        };
        model.tunnels.iter().filter_map(through).collect()
    }

    /// Asks until the answer has come, and says how long after `began` that was.
    pub(super) fn until_answered(self, began: Instant) -> Result<(String, Duration)> {
        self.until_answered_by(began, |asker| asker.ask().ok())
    }

    /// The same, with another way to ask.
    pub(super) fn until_answered_by(
        self,
        began: Instant,
        mut ask: impl FnMut(&Self) -> Option<Outcome>,
    ) -> Result<(String, Duration)> {
        let first = Instant::now();
        while first.elapsed() < PATIENCE {
            if ask(&self).is_some_and(|outcome| self.is_wanted(&outcome)) {
                return Ok((self.what, began.elapsed()));
            }
            std::thread::sleep(PAUSE);
        }
        let url = format!("http://{}:{}{}", self.url.host, self.url.port, self.url.path);
        Err(BenchError::NoAnswer { from: self.from, url, within: PATIENCE })
    }

    /// Asks once, by the probe that is in every node.
    fn ask(&self) -> std::result::Result<Outcome, AskError> {
        let control = Control::connect(&self.control)?;
        let (mut answer, output) = io::pipe()?;
        let nothing = std::fs::File::options().read(true).write(true).open("/dev/null")?;
        let streams = [nothing.as_fd(), output.as_fd(), nothing.as_fd()];
        control.say(&Request::Run(self.run()), &streams)?;
        drop(output);
        while !matches!(control.hear()?.0, Reply::Exited(_)) {}
        let mut text = String::new();
        answer.read_to_string(&mut text)?;
        Ok(serde_json::from_str(&text).map_err(io::Error::from)?)
    }

    /// The node that asks.
    pub(super) fn from(&self) -> &Name {
        &self.from
    }

    fn run(&self) -> Run {
        Run {
            argv: self.words(),
            environment: [].into(),
            folder: Some("/".to_owned()),
            user: None,
            terminal: None,
        }
    }

    /// The question, as the probe is asked it.
    pub(super) fn words(&self) -> Vec<String> {
        let url = &self.url;
        let (address, port) = (url.address.to_string(), url.port.to_string());
        let words = [
            [PROBE, "http"],
            ["--address", &address],
            ["--port", &port],
            ["--host", &url.host],
            ["--path", &url.path],
            ["--timeout-ms", QUESTION],
        ];
        words.as_flattened().iter().map(|word| (*word).to_owned()).collect()
    }

    fn is_wanted(&self, outcome: &Outcome) -> bool {
        let Outcome::Reached(reached) = outcome else { return false };
        match (&self.expect, &reached.response) {
            (
                Answer::Response { status, body },
                Some(Response { status: came, body: text, .. }),
            ) => status == came && body.as_ref().is_none_or(|wanted| text.contains(wanted)),
            _ => false,
        }
    }
}

/// The question of a check that wants an HTTP answer.
fn wanted(probe: &Probe) -> Option<(&Name, &Url, &Answer)> {
    match probe {
        Probe::Http { from, url, expect: expect @ Answer::Response { .. }, .. } => {
            Some((from, url, expect))
        }
        _ => None,
    }
}

/// Whether what goes from a node with these interfaces to `to` goes through the tunnel.
fn carries(tunnel: &Tunnel, from: &[Interface], to: IpAddr) -> bool {
    let is_behind =
        |end: &TunnelEnd, address: IpAddr| end.carry.iter().any(|prefix| prefix.contains(&address));
    let ends = [(&tunnel.initiator, &tunnel.responder), (&tunnel.responder, &tunnel.initiator)];
    ends.into_iter().any(|(near, far)| {
        let mut addresses = from.iter().flat_map(|interface| &interface.addresses);
        is_behind(far, to) && addresses.any(|address| is_behind(near, address.addr()))
    })
}
