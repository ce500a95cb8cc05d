//! The services of a node as values: events go in, actions come out.
//!
//! It decides when a service starts, when it is asked whether it is ready, when it is started
//! again and when it is given up. It makes no system call and reads no clock: whoever calls it
//! says what time it is, as the time since some moment in the past.

use std::collections::BTreeMap;
use std::time::Duration;

use netarium_core::control::{Exit, ServiceState, ServiceStatus};
use netarium_core::model::{Health, Readiness, Restart, Service};
use netarium_core::name::Name;

use super::health::{Deed, Verdict, Watch};

/// The pause before a service is started again for the first time; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause before a service is started again.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A service that ran this long has not failed fast, and its pauses begin anew.
const LONG_RUN: Duration = Duration::from_secs(10);
/// A service that failed fast this often in a row is given up.
const FAILURES: u32 = 5;
/// The pause after the first unsuccessful question whether a service is ready; it doubles too.
const FIRST_QUESTION: Duration = Duration::from_millis(5);
/// The longest pause between two such questions.
const LONGEST_QUESTION: Duration = Duration::from_millis(100);
/// How long a service may take to end after it was told to, if it says nothing else.
pub(crate) const GRACE: Duration = Duration::from_secs(2);

/// Something that has happened.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A service is wanted, in place of one with the same name.
    Start(Service),
    /// A service is wanted no more.
    Stop(Name),
    /// A program that was to be launched runs.
    Launched { name: Name, pid: u32 },
    /// A program that was to be launched cannot be; why.
    NotLaunched { name: Name, reason: String, obstacle: Obstacle },
    /// A service was asked whether it is ready.
    Asked { name: Name, ready: Answer },
    /// The check of a service has ended; the process of the run that it was about, and why the
    /// service is not well, if it is not.
    Checked { name: Name, run: u32, fault: Option<String> },
    /// A process has ended; the last line it logged.
    Ended { pid: u32, exit: Exit, last_words: Option<String> },
    /// Time has passed.
    Time,
    /// The node is about to be shut down: services that say how they are stopped are stopped so.
    Farewell,
    /// The node is shut down: every service has been told to end, and none is started any more.
    Close,
}

/// Whether another attempt to launch a program could end otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// No: there is no such program, for example.
    Lasting,
    /// Yes: there are too many processes just now, for example.
    Passing,
}

/// Whether a service is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Ready,
    NotYet,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Launch its program, then say [`Event::Launched`] or [`Event::NotLaunched`].
    Launch(Service),
    /// Find out whether it is ready, then say [`Event::Asked`].
    Ask(Name, Readiness),
    /// Run the check of a service whose first process is this, then say [`Event::Checked`].
    Check(Service, Health, u32),
    /// End the check of a service that runs; that it has ended is to be said all the same.
    EndCheck(Name),
    /// Send a signal to a process and its group.
    Signal { pid: u32, signal: i32 },
    /// Send a signal to a process alone.
    Tell { pid: u32, signal: i32 },
    /// Tell those who wait for it that this service has ended and is forgotten.
    Gone(Name),
}

/// All services of a node.
#[derive(Debug, Default)]
pub(crate) struct Services {
    entries: BTreeMap<Name, Entry>,
    closing: bool,
}

#[derive(Debug)]
struct Entry {
    service: Service,
    phase: Phase,
    restarts: u32,
    /// How often in a row it has ended after a short run.
    short_runs: u32,
    /// How often in a row it has failed after a short run.
    failures: u32,
    /// Whether it has ever ended with status 0.
    succeeded: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Phase {
    /// Until the services that it needs are ready.
    Waiting,
    /// Between the action and the event that answers it.
    Launching,
    Running(Run),
    /// Until it is started again.
    Pausing {
        until: Duration,
    },
    Stopping {
        pid: u32,
        kill_at: Option<Duration>,
        then: Then,
    },
    Done,
    Failed(String),
}

#[derive(Debug, PartialEq, Eq)]
struct Run {
    pid: u32,
    since: Duration,
    ready: bool,
    ask_at: Option<Duration>,
    pause: Duration,
    /// Its health, if a program tells that.
    watch: Option<Watch>,
}

#[derive(Debug, PartialEq, Eq)]
enum Then {
    Forget,
    Replace(Box<Service>),
}

impl Services {
    /// Takes note of an event and says what is to be done, in this order.
    pub(crate) fn handle(&mut self, now: Duration, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Start(service) => self.start(now, service, &mut actions),
            Event::Stop(name) => self.stop(now, &name, &mut actions),
            Event::Launched { name, pid } => self.launched(now, &name, pid),
            Event::NotLaunched { name, reason, obstacle } => {
                self.not_launched(now, &name, reason, obstacle);
            }
            Event::Asked { name, ready } => self.asked(now, &name, ready),
            Event::Ended { pid, exit, last_words } => {
                self.ended(now, pid, exit, last_words.as_deref(), &mut actions);
            }
            Event::Checked { name, run, fault } => self.checked(now, &name, run, fault),
            Event::Time => {}
            Event::Farewell => self.say_farewell(now, &mut actions),
            Event::Close => self.close(now),
        }
        self.go_on(now, &mut actions);
        actions
    }

    /// When [`Event::Time`] must come at the latest.
    pub(crate) fn next(&self) -> Option<Duration> {
        self.entries.values().filter_map(|entry| entry.phase.next()).min()
    }

    /// How the services are, in the order of their names.
    pub(crate) fn status(&self) -> Vec<ServiceStatus> {
        let status = |entry: &Entry| ServiceStatus {
            service: entry.service.clone(),
            state: self.state(entry),
            pid: entry.phase.pid(),
            restarts: entry.restarts,
        };
        self.entries.values().map(status).collect()
    }

    /// Whether no service is waiting or starting.
    pub(crate) fn settled(&self) -> bool {
        let open = |state| matches!(state, ServiceState::Waiting | ServiceState::Starting);
        !self.entries.values().any(|entry| open(self.state(entry)))
    }

    /// Whether there is a service of this name.
    pub(crate) fn has(&self, name: &Name) -> bool {
        self.entries.contains_key(name)
    }

    /// The environment of the service called `name`, if there is one.
    pub(crate) fn environment_of(&self, name: &str) -> Option<&BTreeMap<String, String>> {
        let entry = self.entries.iter().find(|(known, _)| known.as_str() == name);
        entry.map(|(_, entry)| &entry.service.environment)
    }

    /// The name of the service that this process is the first of.
    pub(crate) fn name_of(&self, pid: u32) -> Option<&Name> {
        self.entries.iter().find(|(_, entry)| entry.phase.pid() == Some(pid)).map(|(name, _)| name)
    }

    /// The processes of all services.
    pub(crate) fn pids(&self) -> impl Iterator<Item = u32> + '_ {
        self.entries.values().filter_map(|entry| entry.phase.pid())
    }

    fn start(&mut self, now: Duration, service: Service, actions: &mut Vec<Action>) {
        let name = service.name.clone();
        match self.entries.get_mut(&name) {
            Some(entry) if entry.phase.pid().is_some() => {
                entry.end(now, Then::Replace(Box::new(service)), actions);
            }
            _ => {
                self.entries.insert(name, Entry::new(service));
            }
        }
    }

    fn stop(&mut self, now: Duration, name: &Name, actions: &mut Vec<Action>) {
        let Some(entry) = self.entries.get_mut(name) else { return };
        if entry.phase.pid().is_some() {
            entry.end(now, Then::Forget, actions);
        } else {
            self.entries.remove(name);
            actions.push(Action::Gone(name.clone()));
        }
    }

    fn launched(&mut self, now: Duration, name: &Name, pid: u32) {
        if let Some(entry) = self.entries.get_mut(name) {
            let ready = &entry.service.ready;
            let asks = matches!(ready, Readiness::Tcp(_) | Readiness::Unix(_) | Readiness::File(_));
            let watch = match ready {
                Readiness::Command(health) => Some(Watch::begin(now, health)),
                _ => None,
            };
            entry.phase = Phase::Running(Run {
                pid,
                since: now,
                ready: entry.service.ready == Readiness::Started,
                ask_at: asks.then_some(now),
                pause: FIRST_QUESTION,
                watch,
            });
        }
    }

    fn not_launched(&mut self, now: Duration, name: &Name, reason: String, obstacle: Obstacle) {
        let Some(entry) = self.entries.get_mut(name) else { return };
        entry.short_runs += 1;
        entry.failures += 1;
        let again = obstacle == Obstacle::Passing && entry.service.restart != Restart::Never;
        entry.phase = if again && entry.failures < FAILURES {
            Phase::Pausing { until: now + pause_after(entry.short_runs) }
        } else {
            Phase::Failed(reason)
        };
    }

    fn asked(&mut self, now: Duration, name: &Name, answer: Answer) {
        let Some(entry) = self.entries.get_mut(name) else { return };
        let Phase::Running(run) = &mut entry.phase else { return };
        match answer {
            Answer::Ready => {
                run.ready = true;
                run.ask_at = None;
            }
            Answer::NotYet => {
                run.ask_at = Some(now + run.pause);
                run.pause = (run.pause * 2).min(LONGEST_QUESTION);
            }
        }
    }

    /// What is said of an earlier run counts for nothing.
    fn checked(&mut self, now: Duration, name: &Name, run: u32, fault: Option<String>) {
        match self.entries.get_mut(name).map(|entry| &mut entry.phase) {
            Some(Phase::Running(Run { pid, watch: Some(watch), .. })) if *pid == run => {
                watch.heard(now, fault);
            }
            _ => {}
        }
    }

    fn ended(
        &mut self,
        now: Duration,
        pid: u32,
        exit: Exit,
        last_words: Option<&str>,
        actions: &mut Vec<Action>,
    ) {
        let Some(name) = self.name_of(pid).cloned() else { return };
        let entry = self.entries.get_mut(&name).expect("name_of has just found it");
        match std::mem::replace(&mut entry.phase, Phase::Waiting) {
            Phase::Running(run) => {
                entry.phase = entry.after(now, &run, exit, last_words);
                if matches!(entry.phase, Phase::Pausing { .. }) {
                    actions.push(Action::Signal { pid, signal: libc::SIGKILL });
                }
            }
            Phase::Stopping { then, .. } => {
                actions.push(Action::Signal { pid, signal: libc::SIGKILL });
                actions.push(Action::Gone(name.clone()));
                match then {
                    Then::Forget => drop(self.entries.remove(&name)),
                    Then::Replace(service) => *entry = Entry::new(*service),
                }
            }
            other => entry.phase = other,
        }
    }

    fn say_farewell(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let wishes = self.entries.values_mut().filter(|entry| !entry.service.stop.is_usual());
        wishes.for_each(|entry| entry.end(now, Then::Forget, actions));
        self.closing = true;
    }

    /// Whether one of those that say how they are stopped still runs.
    pub(crate) fn takes_leave(&self) -> bool {
        let runs = |entry: &Entry| entry.phase.pid().is_some() && !entry.service.stop.is_usual();
        self.entries.values().any(runs)
    }

    fn close(&mut self, now: Duration) {
        self.closing = true;
        for entry in self.entries.values_mut() {
            if let Some(pid) = entry.phase.pid() {
                let kill_at = Some(now + GRACE);
                entry.phase = Phase::Stopping { pid, kill_at, then: Then::Forget };
            }
        }
    }

    /// Does whatever is due: launches, questions and kills.
    fn go_on(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let due: Vec<Name> = self
            .entries
            .iter()
            .filter(|(_, entry)| !self.closing && self.is_due(now, entry))
            .map(|(name, _)| name.clone())
            .collect();
        for (name, entry) in &mut self.entries {
            if due.contains(name) {
                entry.restarts += u32::from(matches!(entry.phase, Phase::Pausing { .. }));
                entry.phase = Phase::Launching;
                actions.push(Action::Launch(entry.service.clone()));
                continue;
            }
            match &mut entry.phase {
                Phase::Running(run) if run.ask_at.is_some_and(|at| at <= now) => {
                    run.ask_at = None;
                    actions.push(Action::Ask(name.clone(), entry.service.ready.clone()));
                }
                Phase::Running(Run { pid, watch: Some(watch), .. }) => {
                    let Readiness::Command(health) = &entry.service.ready else { continue };
                    actions.extend(watch.due(now).map(|deed| match deed {
                        Deed::Run => Action::Check(entry.service.clone(), health.clone(), *pid),
                        Deed::Kill => Action::EndCheck(name.clone()),
                    }));
                }
                Phase::Stopping { pid, kill_at, .. } if kill_at.is_some_and(|at| at <= now) => {
                    *kill_at = None;
                    actions.push(Action::Signal { pid: *pid, signal: libc::SIGKILL });
                }
                _ => {}
            }
        }
    }

    fn is_due(&self, now: Duration, entry: &Entry) -> bool {
        match entry.phase {
            Phase::Waiting => entry.service.after.iter().all(|name| self.is_ready(name)),
            Phase::Pausing { until } => until <= now,
            _ => false,
        }
    }

    fn is_ready(&self, name: &Name) -> bool {
        self.entries.get(name).is_some_and(|entry| {
            matches!(self.state(entry), ServiceState::Ready | ServiceState::Done)
        })
    }

    /// What is told about a service. One that waits for a failed one counts as failed, since
    /// nobody could wait for it to settle; it still starts should the other become ready.
    fn state(&self, entry: &Entry) -> ServiceState {
        match &entry.phase {
            Phase::Waiting => match self.failed_need(entry) {
                Some(name) => ServiceState::Failed(format!("needs {name}, which has failed")),
                None => ServiceState::Waiting,
            },
            Phase::Running(Run { ready: true, .. }) => ServiceState::Ready,
            Phase::Running(Run { watch: Some(watch), .. }) => match watch.verdict() {
                Verdict::Starting => ServiceState::Starting,
                Verdict::Healthy => ServiceState::Ready,
                Verdict::Unhealthy(fault) => ServiceState::Unhealthy(fault.clone()),
            },
            Phase::Launching | Phase::Running(_) | Phase::Pausing { .. } => {
                if entry.service.ready == Readiness::Done && entry.succeeded {
                    ServiceState::Ready
                } else {
                    ServiceState::Starting
                }
            }
            Phase::Stopping { then: Then::Replace(_), .. } => ServiceState::Waiting,
            Phase::Stopping { .. } => ServiceState::Failed("is being stopped".to_owned()),
            Phase::Done => ServiceState::Done,
            Phase::Failed(reason) => ServiceState::Failed(reason.clone()),
        }
    }

    /// A failed service that this one waits for, directly or through others. Each step marks
    /// where it has been, so that services which wait for each other end it too.
    fn failed_need<'a>(&'a self, entry: &'a Entry) -> Option<&'a Name> {
        let mut open: Vec<&Name> = entry.service.after.iter().collect();
        let mut seen: Vec<&Name> = Vec::new();
        while let Some(name) = open.pop() {
            if seen.contains(&name) {
                continue;
            }
            seen.push(name);
            match self.entries.get(name).map(|needed| (&needed.phase, &needed.service)) {
                Some((Phase::Failed(_), _)) => return Some(name),
                Some((Phase::Running(run), _)) if run.is_unwell() => return Some(name),
                Some((Phase::Waiting, service)) => open.extend(&service.after),
                _ => {}
            }
        }
        None
    }
}

impl Run {
    fn is_unwell(&self) -> bool {
        let verdict = self.watch.as_ref().map(Watch::verdict);
        matches!(verdict, Some(Verdict::Unhealthy(_)))
    }
}

impl Entry {
    fn new(service: Service) -> Self {
        let phase = Phase::Waiting;
        Self { service, phase, restarts: 0, short_runs: 0, failures: 0, succeeded: false }
    }

    /// Makes a running service end. One that is ending already keeps its deadline.
    fn end(&mut self, now: Duration, then: Then, actions: &mut Vec<Action>) {
        match &mut self.phase {
            Phase::Stopping { then: old, .. } => *old = then,
            Phase::Running(Run { pid, .. }) => {
                let (pid, stop) = (*pid, &self.service.stop);
                actions.push(match stop.signal {
                    // As container engines do: who asks for a signal knows who gets it.
                    Some(signal) => Action::Tell { pid, signal },
                    None => Action::Signal { pid, signal: libc::SIGTERM },
                });
                let grace = stop.grace.map_or(GRACE, |it| Duration::from_millis(it.into()));
                self.phase = Phase::Stopping { pid, kill_at: Some(now + grace), then };
            }
            _ => {}
        }
    }

    /// The phase that follows on a run.
    fn after(&mut self, now: Duration, run: &Run, exit: Exit, last_words: Option<&str>) -> Phase {
        let success = exit == Exit::Code(0);
        let long = now.saturating_sub(run.since) >= LONG_RUN;
        self.succeeded |= success;
        self.short_runs = if long { 0 } else { self.short_runs + 1 };
        self.failures = if long || success { 0 } else { self.failures + 1 };
        let again = match self.service.restart {
            Restart::Never => false,
            Restart::OnFailure => !success,
            Restart::Always => true,
        };
        if again && self.failures < FAILURES {
            return Phase::Pausing { until: now + pause_after(self.short_runs) };
        }
        if success {
            return Phase::Done;
        }
        let mut reason = ending(exit);
        if again {
            reason += &format!(", {FAILURES} times in a row, and is not started again");
        }
        if let Some(words) = last_words {
            reason += &format!("; the last it said: {words}");
        }
        Phase::Failed(reason)
    }
}

impl Phase {
    fn pid(&self) -> Option<u32> {
        match self {
            Self::Running(Run { pid, .. }) | Self::Stopping { pid, .. } => Some(*pid),
            _ => None,
        }
    }

    fn next(&self) -> Option<Duration> {
        match self {
            Self::Running(run) => run.ask_at.or_else(|| run.watch.as_ref()?.next()),
            Self::Pausing { until } => Some(*until),
            Self::Stopping { kill_at, .. } => *kill_at,
            _ => None,
        }
    }
}

/// The pause after so many short runs in a row.
fn pause_after(short_runs: u32) -> Duration {
    let doubled = 1_u32.checked_shl(short_runs.saturating_sub(1)).unwrap_or(u32::MAX);
    FIRST_PAUSE.saturating_mul(doubled).min(LONGEST_PAUSE)
}

/// How a program ended, in words.
pub(super) fn ending(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => format!("ended with status {code}"),
        Exit::Signal(signal) => format!("was ended by signal {signal}"),
    }
}

#[cfg(test)]
#[path = "services_tests.rs"]
mod tests;
