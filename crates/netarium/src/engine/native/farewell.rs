//! Taking leave of services that ask for time to end, before their nodes are killed.
//!
//! Only those that say how long they may take get it: everything else of a lab ends at once. What
//! does not answer is not waited for, since a lab must go down whatever state it is in.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use netarium_core::control::{Reply, Request};
use netarium_core::name::Name;

use super::control::Control;
use crate::folder::LabFolder;

/// How long the first process of a node may take to answer.
const ANSWER: Duration = Duration::from_secs(1);

/// The most that is read of the list of nodes.
const LONGEST: u64 = 1 << 20;

/// Notes that a node has a service that asks for time.
///
/// # Errors
/// If that cannot be written.
pub(crate) fn note(folder: &LabFolder, node: &Name) -> io::Result<()> {
    let mut file =
        OpenOptions::new().append(true).create(true).mode(0o600).open(folder.farewell())?;
    writeln!(file, "{node}")
}

/// Stops the services of a lab that ask for time, side by side, and waits for them.
pub(crate) fn of_lab(folder: &LabFolder) {
    let controls: Vec<_> =
        noted(&folder.farewell()).iter().map(|node| folder.node(node).control()).collect();
    let begun: Vec<Leaving> = controls.iter().filter_map(|path| Leaving::begin(path)).collect();
    begun.into_iter().for_each(Leaving::wait);
}

/// Stops the services of the node that is reached at `control`, and waits for them.
pub(crate) fn of_node(control: &Path) {
    if let Some(leaving) = Leaving::begin(control) {
        leaving.wait();
    }
}

/// The nodes that were noted.
fn noted(path: &Path) -> BTreeSet<Name> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(LONGEST).read_to_string(&mut text));
    match read {
        Ok(_) => text.lines().filter_map(|line| Name::new(line).ok()).collect(),
        Err(_) => BTreeSet::new(),
    }
}

/// Services of a node that are ending.
struct Leaving {
    control: Control,
    /// How many have not ended yet.
    count: usize,
    until: Instant,
}

impl Leaving {
    /// Tells the services that ask for time to end; `None` if there are none.
    fn begin(path: &Path) -> Option<Self> {
        fs::metadata(path).ok()?;
        let control = Control::connect(path).ok()?;
        control.say(&Request::Status, &[]).ok()?;
        if !control.wait(ANSWER).ok()? {
            return None;
        }
        let Reply::Services(services) = control.hear().ok()?.0 else { return None };
        let asking = services.iter().filter(|it| it.pid.is_some());
        let asking = asking.filter_map(|it| Some((&it.service.name, it.service.stop.grace?)));
        let (mut count, mut longest) = (0, 0);
        for (name, grace) in asking {
            control.say(&Request::Stop(name.clone()), &[]).ok()?;
            (count, longest) = (count + 1, longest.max(grace));
        }
        let until = Instant::now() + Duration::from_millis(longest.into()) + ANSWER;
        (count > 0).then_some(Self { control, count, until })
    }

    fn wait(self) {
        for _ in 0..self.count {
            let left = self.until.saturating_duration_since(Instant::now());
            let heard = self.control.wait(left).ok().filter(|is_there| *is_there);
            if heard.and_then(|_| self.control.hear().ok()).is_none() {
                return;
            }
        }
    }
}
