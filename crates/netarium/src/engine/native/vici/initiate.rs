//! Opening a tunnel, until it stands or a deadline has passed.

use std::path::Path;
use std::time::Duration;

use netarium_core::ipsec::{Sa, Section, values_message};
use netarium_core::model::Tunnel;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::TunnelError;
use super::client::Client;
use super::reason::Reasons;

/// The pauses between tries: long enough for a daemon that has just been started again, short
/// enough that nobody notices one.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
];

/// How often a refusal is believed to be an accident. Both ends are loaded before the first try,
/// so that a second and third no means no, and waiting for the deadline is of no use.
const REFUSALS: usize = 3;

/// How long lines of the other end's log may be on their way when it has already refused.
const LAST_WORDS: Duration = Duration::from_millis(50);

/// How long after the deadline a daemon may still say that it is too late.
const GRACE: Duration = Duration::from_secs(1);

/// A tunnel that stands at both ends.
#[derive(Debug)]
pub(crate) struct Established {
    /// It, as the initiator sees it.
    pub(crate) sa: Sa,
    /// How often it was tried; 0 if it stood already.
    pub(crate) tries: usize,
}

/// The two daemons between which a tunnel is opened.
struct Ends<'a> {
    tunnel: &'a Tunnel,
    initiator: Client,
    responder: Client,
}

/// How a try ended without a tunnel.
enum Failure {
    /// An end says no.
    Refused(String),
    /// Nobody has said no, but the time is over or a daemon went away.
    Other(TunnelError),
}

impl From<TunnelError> for Failure {
    fn from(error: TunnelError) -> Self {
        Self::Other(error)
    }
}

/// Opens `tunnel` between the daemons of two nodes, the root folders of which are given. One that
/// stands at both ends already is left alone.
///
/// # Errors
/// If it does not stand at `deadline`, or an end has refused it several times, with the reasons
/// that the daemons give.
pub(crate) async fn initiate(
    tunnel: &Tunnel,
    initiator: &Path,
    responder: &Path,
    deadline: Instant,
) -> Result<Established, TunnelError> {
    let mut refusals = 0;
    let mut tries = 0;
    loop {
        let failure =
            match timeout_at(deadline + GRACE, attempt(tunnel, initiator, responder, deadline))
                .await
            {
                Ok(Ok(Attempt::Stood(sa))) => return Ok(Established { sa, tries }),
                Ok(Ok(Attempt::Opened(sa))) => return Ok(Established { sa, tries: tries + 1 }),
                Ok(Err(failure)) => failure,
                Err(_) => Failure::Other(down(
                    tunnel,
                    format!("{} does not answer", tunnel.initiator.node),
                )),
            };
        tries += 1;
        let pause = PAUSES[(tries - 1).min(PAUSES.len() - 1)];
        let too_late = Instant::now() + pause >= deadline;
        match failure {
            Failure::Refused(reason) => {
                refusals += 1;
                if too_late || refusals == REFUSALS {
                    return Err(down(tunnel, reason));
                }
            }
            Failure::Other(error) if too_late => return Err(error),
            Failure::Other(_) => {}
        }
        sleep(pause).await;
    }
}

/// How a try ended with a tunnel.
enum Attempt {
    Stood(Sa),
    Opened(Sa),
}

async fn attempt(
    tunnel: &Tunnel,
    initiator: &Path,
    responder: &Path,
    deadline: Instant,
) -> Result<Attempt, Failure> {
    let mut ends = Ends {
        tunnel,
        responder: Client::connect(responder).await?,
        initiator: Client::connect(initiator).await?,
    };
    if let Some(sa) = ends.standing().await? {
        return Ok(Attempt::Stood(sa));
    }
    // What is left of a try, or of a tunnel whose other end was killed, would be taken for it.
    ends.initiator.terminate(&tunnel.name).await?;
    ends.open(deadline).await?;
    match ends.standing().await? {
        Some(sa) => Ok(Attempt::Opened(sa)),
        None => Err(Failure::Refused("it was closed as soon as it was open".to_owned())),
    }
}

impl Ends<'_> {
    /// The tunnel as the initiator sees it, if it stands at both ends.
    async fn standing(&mut self) -> Result<Option<Sa>, TunnelError> {
        let name = &self.tunnel.name;
        let here = super::list(&mut self.initiator).await?;
        if !here.iter().any(|sa| sa.carries(name)) {
            return Ok(None);
        }
        let there = super::list(&mut self.responder).await?;
        let joined = |sa: &Sa| there.iter().any(|it| it.carries(name) && it.is_joined_to(sa));
        Ok(here.into_iter().find(|sa| sa.carries(name) && joined(sa)))
    }

    /// Has the initiator open the tunnel, with an ear to both logs.
    async fn open(&mut self, deadline: Instant) -> Result<(), Failure> {
        let name = &self.tunnel.name;
        let (mut here, mut there) = (Reasons::default(), Reasons::default());
        self.responder.listen("log").await?;
        self.initiator.listen("control-log").await?;

        let left = deadline.saturating_duration_since(Instant::now()).as_millis().max(1);
        let message = values_message(&[
            ("ike", name.as_str()),
            ("child", name.as_str()),
            ("timeout", &left.to_string()),
            ("loglevel", "1"),
        ]);
        let mut note = |event: Section| here.note(&event, name);
        let answer = {
            let asking = self.initiator.call("initiate", message, "control-log", &mut note);
            let listening = listen(&mut self.responder, |event| there.note(&event, name));
            tokio::select! {
                answer = asking => answer?,
                never = listening => match never {},
            }
        };
        if answer.get("success") == Some("yes") {
            return Ok(());
        }
        let last_words = listen(&mut self.responder, |event| there.note(&event, name));
        if let Ok(never) = timeout(LAST_WORDS, last_words).await {
            match never {}
        }
        // A daemon that got no answer would go on trying, and meet the next try.
        self.initiator.terminate(name).await?;
        Err(Failure::Refused(self.told(&here, &there, &answer)))
    }

    /// The reasons of both ends, and the answer's own if it adds something.
    fn told(&self, here: &Reasons, there: &Reasons, answer: &Section) -> String {
        let ends = [(here, &self.tunnel.initiator), (there, &self.tunnel.responder)];
        let mut told: Vec<String> =
            ends.iter().filter_map(|(reasons, end)| reasons.told_by(&end.node)).collect();
        let own = answer.get("errmsg").unwrap_or("nobody gives a reason");
        if told.is_empty() || own.contains("not established after") {
            told.push(own.to_owned());
        }
        told.join(", ")
    }
}

/// Gives each line of a daemon's log to `note`, for ever. A daemon that went away has none.
async fn listen(client: &mut Client, mut note: impl FnMut(Section)) -> std::convert::Infallible {
    while let Ok(event) = client.event("log").await {
        note(event);
    }
    std::future::pending().await
}

fn down(tunnel: &Tunnel, reason: String) -> TunnelError {
    TunnelError::Down { tunnel: tunnel.name.clone(), reason }
}
