//! Listens to segments while the other checks ask: at every interface of a segment, what that
//! interface sends is counted, so that each frame is counted once, where it comes from.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use netarium_core::model::{Check, Model, Probe};
use netarium_core::name::{InterfaceName, Name};
use netarium_core::outcome;
use netarium_core::verdict::Heard;
use rustix::pipe::PipeFlags;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::{next, probe};
use crate::engine::native::run::Running;
use crate::failure::Failure;
use crate::folder::{LabFolder, NodeFolder};

/// All that listen, each with its segment.
pub(super) struct Listening {
    listeners: Vec<Listener>,
    /// What those heard that have ended before.
    heard: BTreeMap<Name, Vec<Heard>>,
}

/// One interface that is listened to, or that nobody could listen to.
struct Listener {
    spot: Spot,
    capture: Result<Capture, String>,
}

/// Where somebody listens, and for how long it may take to begin, and to end.
#[derive(Clone)]
struct Spot {
    segment: Name,
    node: Name,
    interface: InterfaceName,
    frames: Frames,
    patience: Duration,
}

/// Which frames of an interface are heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Frames {
    Sent,
    Received,
}

/// Which ends of a frame's way are listened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ears {
    /// The one that it is sent from, so that it is counted once.
    Senders,
    /// Both. While one of them is dead or only just born, the other hears it.
    BothEnds,
}

/// A capture that is ready. It ends when its input does.
struct Capture {
    running: Running,
    input: OwnedFd,
}

impl Listening {
    /// Begins to listen wherever one of these checks wants it. When this returns, no frame escapes
    /// any more.
    pub(super) async fn begin(
        lab: &LabFolder,
        model: &Model,
        checks: &[&Check],
        ears: Ears,
        limit: &Arc<Semaphore>,
    ) -> Self {
        let listeners = begin_all(lab, spots(model, checks, ears), limit).await;
        Self { listeners, heard: BTreeMap::new() }
    }

    /// Ends listening. What was heard, by segment, in the order of node and interface.
    pub(super) async fn end(mut self) -> BTreeMap<Name, Vec<Heard>> {
        self.end_where(|_| true).await;
        self.heard.values_mut().for_each(|all| all.sort_by(|one, other| one.at.cmp(&other.at)));
        self.heard
    }

    /// Ends listening in a node that is about to die. What it sends from now on, others receive.
    pub(super) async fn pause(&mut self, node: &Name) {
        self.end_where(|spot| spot.node == *node).await;
    }

    /// Begins to listen again in a node that has come back.
    pub(super) async fn resume(
        &mut self,
        lab: &LabFolder,
        model: &Model,
        checks: &[&Check],
        node: &Name,
        limit: &Arc<Semaphore>,
    ) {
        let mut spots = spots(model, checks, Ears::BothEnds);
        spots.retain(|spot| spot.node == *node);
        self.listeners.extend(begin_all(lab, spots, limit).await);
    }

    async fn end_where(&mut self, is_wanted: impl Fn(&Spot) -> bool) {
        let mut tasks = JoinSet::new();
        let all = std::mem::take(&mut self.listeners);
        let (ending, staying) = all.into_iter().partition(|it| is_wanted(&it.spot));
        self.listeners = staying;
        let ending: Vec<Listener> = ending;
        for Listener { spot, capture } in ending {
            tasks.spawn(async move {
                let capture = match capture {
                    Ok(capture) => tokio::time::timeout(spot.patience, end(capture))
                        .await
                        .unwrap_or_else(|_| Err("the capture did not end in time".to_owned())),
                    Err(reason) => Err(reason),
                };
                (spot.segment.clone(), Heard { at: spot.place(), capture })
            });
        }
        while let Some((segment, it)) = next(&mut tasks).await {
            self.heard.entry(segment).or_default().push(it);
        }
    }
}

impl Spot {
    fn place(&self) -> String {
        let way = match self.frames {
            Frames::Sent => "",
            Frames::Received => " (received)",
        };
        format!("{}:{}{way}", self.node, self.interface)
    }
}

async fn begin_all(lab: &LabFolder, spots: Vec<Spot>, limit: &Arc<Semaphore>) -> Vec<Listener> {
    let mut tasks = JoinSet::new();
    for spot in spots {
        let (folder, limit) = (lab.node(&spot.node), Arc::clone(limit));
        tasks.spawn(async move {
            let _permit = limit.acquire().await;
            let begun = tokio::time::timeout(spot.patience, begin(&folder, &spot));
            let late = || Err("the capture was not ready in time".to_owned());
            let capture = begun.await.unwrap_or_else(|_| late());
            Listener { spot, capture }
        });
    }
    let mut listeners = Vec::new();
    while let Some(listener) = next(&mut tasks).await {
        listeners.push(listener);
    }
    listeners
}

/// Every interface on a segment that a check listens on, once for each way.
fn spots(model: &Model, checks: &[&Check], ears: Ears) -> Vec<Spot> {
    let ways = match ears {
        Ears::Senders => &[Frames::Sent][..],
        Ears::BothEnds => &[Frames::Sent, Frames::Received],
    };
    let mut patience: BTreeMap<&Name, u32> = BTreeMap::new();
    for check in checks {
        if let Probe::Only { segment, .. } = &check.probe {
            let longest = patience.entry(segment).or_default();
            *longest = check.timeout.max(*longest);
        }
    }
    let interfaces = model
        .nodes
        .iter()
        .flat_map(|(name, node)| node.interfaces.iter().map(move |interface| (name, interface)));
    let spot = |(node, interface): (&Name, &netarium_core::model::Interface)| {
        Some(Spot {
            segment: interface.segment.clone(),
            node: node.clone(),
            interface: interface.name.clone(),
            frames: Frames::Sent,
            patience: Duration::from_millis((*patience.get(&interface.segment)?).into()),
        })
    };
    let spots = interfaces.filter_map(spot);
    spots
        .flat_map(|spot| ways.iter().map(move |way| Spot { frames: *way, ..spot.clone() }))
        .collect()
}

async fn begin(folder: &NodeFolder, spot: &Spot) -> Result<Capture, String> {
    let (theirs, input) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)
        .map_err(|error| format!("cannot make a pipe to the node: {error}"))?;
    let frames = match spot.frames {
        Frames::Sent => "sent",
        Frames::Received => "received",
    };
    let interface = format!("--interface={}", spot.interface);
    let arguments = vec!["capture".to_owned(), interface, format!("--frames={frames}")];
    let mut running = probe::start(folder, arguments, theirs.as_fd()).await?;
    drop(theirs);
    let line = running.line().await.map_err(|error| Failure::of(&error).to_string())?;
    match serde_json::from_slice(&line) {
        Ok(outcome::Listening { ready: true }) => Ok(Capture { running, input }),
        // It has ended already, and says why.
        _ => end(Capture { running, input })
            .await
            .and_then(|_| Err("the capture is not ready".to_owned())),
    }
}

async fn end(capture: Capture) -> Result<outcome::Capture, String> {
    drop(capture.input);
    let ended = capture.running.end().await.map_err(|error| Failure::of(&error).to_string())?;
    probe::answer(&ended)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_interface_of_a_segment_is_listened_to_once_with_the_longest_patience() {
        let lab = "
name: three
segments: {left: 10.0.0.0/24, right: 10.0.1.0/24}
nodes:
  a: {interfaces: {left: 10.0.0.1}}
  b: {interfaces: {left: 10.0.0.2, right: 10.0.1.2}}
checks:
  - {on: left, only: [icmp], timeout: 1s}
  - {on: left, only: [icmp, tcp], timeout: 2s}
  - {from: a, ping: b}
";
        let model = netarium_core::resolve::load(lab.as_bytes(), "three").unwrap();
        let all: Vec<_> = model.checks.iter().collect();
        let listened: Vec<_> = spots(&model, &all, Ears::Senders)
            .iter()
            .map(|it| format!("{}:{} {}", it.node, it.interface, it.patience.as_millis()))
            .collect();
        assert_eq!(listened, ["a:eth0 2000", "b:eth0 2000"]);
        assert!(spots(&model, &all[2..], Ears::BothEnds).is_empty());
        let both = spots(&model, &all, Ears::BothEnds);
        let places: Vec<String> = both.iter().map(Spot::place).collect();
        assert_eq!(places, ["a:eth0", "a:eth0 (received)", "b:eth0", "b:eth0 (received)"]);
    }
}
