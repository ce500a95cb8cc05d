//! Starting nodes that wait for others: all of them are wired by then, and each is started as soon
//! as those that it comes after are as it wants them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use netarium_core::control::{Reply, Request, ServiceState, ServiceStatus};
use netarium_core::model::{Condition, MAIN};
use netarium_core::name::Name;
use netarium_core::object::{self, Object};
use netarium_core::plan::Step;

use super::{Apply, StepError, failed};
use crate::engine::native::control::Control;
use crate::engine::native::worker::{After, Answer, gone};
use crate::failure::Failure;
use crate::linux::stage::Call;

/// How long between two looks at those that are waited for.
const PAUSE: Duration = Duration::from_millis(5);

type Result<T> = std::result::Result<T, Failure>;

/// A step with its number.
type Numbered<'a> = (usize, &'a Step);

/// A node that is not started yet.
struct Late<'a> {
    init: (usize, &'a Step, &'a object::Init),
    services: Vec<Numbered<'a>>,
    after: &'a BTreeMap<Name, Condition>,
}

/// Whether a node is as another one wants it.
#[derive(Debug, PartialEq, Eq)]
enum Met {
    Yes,
    NotYet,
    /// It will not be, for this reason.
    Never(String),
}

/// Takes the steps that start nodes which wait for others out of `steps`.
fn split<'a>(
    steps: Vec<Numbered<'a>>,
    order: &'a After,
) -> (Vec<Numbered<'a>>, BTreeMap<Name, Late<'a>>) {
    let mut late = BTreeMap::new();
    let mut rest = Vec::new();
    // A service comes after the first process of its node.
    for (number, step) in steps {
        let waiting = match step {
            Step::Create(Object::Init(init)) => order.get(&init.node).map(|after| {
                let init = (number, step, init);
                late.insert(init.2.node.clone(), Late { init, services: vec![], after });
            }),
            Step::Create(Object::Service(it)) => {
                late.get_mut(&it.node).map(|late| late.services.push((number, step)))
            }
            _ => None,
        };
        if waiting.is_none() {
            rest.push((number, step));
        }
    }
    (rest, late)
}

impl Apply<'_> {
    /// Does these steps, those that start nodes which wait for others last.
    ///
    /// # Errors
    /// The first step that could not be done; or that what a node waits for cannot come, or has not
    /// come in time.
    pub(super) fn run_in_order(&mut self, steps: Vec<Numbered<'_>>, call: &Call) -> Result<()> {
        let order = self.after();
        let (rest, mut late) = split(steps, order);
        for group in super::group::groups(&rest) {
            self.execute_group(group, call)?;
        }
        let mut talks = BTreeMap::new();
        while !late.is_empty() {
            let ripe = self.ripe(&late, &mut talks, call)?;
            if ripe.is_empty() {
                if Instant::now() >= self.deadline {
                    return Err(self.too_late(&late, &mut talks, call));
                }
                std::thread::sleep(PAUSE);
                continue;
            }
            let started: Vec<Late<'_>> = ripe.iter().filter_map(|name| late.remove(name)).collect();
            let inits: Vec<_> = started.iter().map(|late| late.init).collect();
            self.start_nodes(&inits, call)?;
            for (number, step) in started.into_iter().flat_map(|late| late.services) {
                self.execute(step).map_err(|error| failed(step, &error))?;
                self.done(number, step, call)?;
            }
        }
        Ok(())
    }

    /// The nodes that have nothing to wait for any more.
    fn ripe(
        &mut self,
        late: &BTreeMap<Name, Late<'_>>,
        talks: &mut BTreeMap<Name, Control>,
        call: &Call,
    ) -> Result<Vec<Name>> {
        let mut seen = BTreeMap::new();
        let mut ripe = Vec::new();
        for (name, node) in late {
            let mut is_ripe = true;
            for (other, condition) in node.after {
                match self.met(other, *condition, late, talks, &mut seen) {
                    Met::Yes => {}
                    Met::NotYet => is_ripe = false,
                    Met::Never(why) => return Err(unmet(name, other, why, call)),
                }
            }
            if is_ripe {
                ripe.push(name.clone());
            }
        }
        Ok(ripe)
    }

    fn met(
        &mut self,
        other: &Name,
        condition: Condition,
        late: &BTreeMap<Name, Late<'_>>,
        talks: &mut BTreeMap<Name, Control>,
        seen: &mut BTreeMap<Name, std::result::Result<Vec<ServiceStatus>, String>>,
    ) -> Met {
        if late.contains_key(other) {
            return Met::NotYet;
        }
        if condition == Condition::Started {
            return Met::Yes;
        }
        let services = seen.entry(other.clone()).or_insert_with(|| self.ask_services(other, talks));
        match services {
            Ok(services) => judge(condition, services),
            Err(why) => Met::Never(why.clone()),
        }
    }

    /// How the services of a node are, on a conversation that is kept.
    fn ask_services(
        &mut self,
        node: &Name,
        talks: &mut BTreeMap<Name, Control>,
    ) -> std::result::Result<Vec<ServiceStatus>, String> {
        let words = |error: StepError| Failure::of(&error).to_string();
        if !talks.contains_key(node) {
            let control = self.node(node).and_then(|it| Ok(it.control()?)).map_err(words)?;
            talks.insert(node.clone(), control);
        }
        match talks[node].ask(&Request::Status).map_err(|error| words(error.into()))? {
            Reply::Services(services) => Ok(services),
            _ => Ok(vec![]),
        }
    }

    /// What is told when the time is over: of the first node, what it has waited for.
    fn too_late(
        &mut self,
        late: &BTreeMap<Name, Late<'_>>,
        talks: &mut BTreeMap<Name, Control>,
        call: &Call,
    ) -> Failure {
        let seconds = self.patience.as_secs();
        let mut seen = BTreeMap::new();
        for (name, node) in late {
            for (other, condition) in node.after {
                if !late.contains_key(other)
                    && self.met(other, *condition, late, talks, &mut seen) != Met::Yes
                {
                    let why = format!("{} after {seconds} s", missing(other, *condition));
                    return unmet(name, other, why, call);
                }
            }
        }
        Failure::of(&StepError::NotReady(seconds))
    }
}

fn missing(other: &Name, condition: Condition) -> String {
    match condition {
        Condition::Started => format!("{other} has not been started"),
        Condition::Healthy => format!("{other} is not ready"),
        Condition::Completed => format!("{other} has not done its work"),
    }
}

/// Tells the caller which two nodes it is about, so that it can find the line.
fn unmet(node: &Name, other: &Name, why: String, call: &Call) -> Failure {
    match call.answer(&Answer::Unmet { node: node.clone(), other: other.clone() }) {
        Err(error) => gone(&error),
        Ok(()) => Failure { what: why, causes: vec![], hint: None },
    }
}

/// What the services of a node say about a condition.
fn judge(condition: Condition, services: &[ServiceStatus]) -> Met {
    let ended = |it: &ServiceStatus| match &it.state {
        ServiceState::Failed(reason) => Some(Met::Never(format!("{} {reason}", it.service.name))),
        ServiceState::Unhealthy(reason) if condition == Condition::Healthy => {
            Some(Met::Never(format!("{} is unhealthy: {reason}", it.service.name)))
        }
        _ => None,
    };
    match condition {
        Condition::Started => Met::Yes,
        Condition::Healthy => services.iter().find_map(ended).unwrap_or_else(|| {
            let ready =
                |it: &ServiceStatus| matches!(it.state, ServiceState::Ready | ServiceState::Done);
            if services.iter().all(ready) { Met::Yes } else { Met::NotYet }
        }),
        Condition::Completed => match services.iter().find(|it| it.service.name.as_str() == MAIN) {
            None => Met::Never("it runs nothing of its own that could end".to_owned()),
            Some(main) if main.state == ServiceState::Done => Met::Yes,
            Some(main) => ended(main).unwrap_or(Met::NotYet),
        },
    }
}

#[cfg(test)]
mod tests {
    use netarium_core::model::{Readiness, Restart, Service, Stop};

    use super::*;

    fn status(name: &str, state: ServiceState) -> ServiceStatus {
        let service = Service {
            name: Name::new(name).unwrap(),
            run: vec![],
            environment: BTreeMap::new(),
            folder: "/".to_owned(),
            user: None,
            after: [].into(),
            restart: Restart::Never,
            ready: Readiness::Started,
            stop: Stop::default(),
        };
        ServiceStatus { service, state, pid: None, restarts: 0 }
    }

    #[test]
    fn a_node_is_ready_when_all_that_runs_in_it_is() {
        let judge = |states: &[ServiceState]| {
            let all: Vec<_> = states.iter().map(|state| status("app", state.clone())).collect();
            super::judge(Condition::Healthy, &all)
        };
        assert_eq!(judge(&[]), Met::Yes);
        assert_eq!(judge(&[ServiceState::Ready, ServiceState::Done]), Met::Yes);
        assert_eq!(judge(&[ServiceState::Ready, ServiceState::Starting]), Met::NotYet);
        let failed = ServiceState::Failed("ended with status 1".to_owned());
        let never = Met::Never("app ended with status 1".to_owned());
        assert_eq!(judge(&[ServiceState::Starting, failed]), never);
        let unhealthy = ServiceState::Unhealthy("no".to_owned());
        assert_eq!(judge(&[unhealthy]), Met::Never("app is unhealthy: no".to_owned()));
    }

    #[test]
    fn a_node_has_done_its_work_when_its_own_program_has_ended_well() {
        let judge = |state: ServiceState| {
            let other = status("other", ServiceState::Failed("no".to_owned()));
            super::judge(Condition::Completed, &[status(MAIN, state), other])
        };
        assert_eq!(judge(ServiceState::Done), Met::Yes);
        assert_eq!(judge(ServiceState::Ready), Met::NotYet);
        assert_eq!(judge(ServiceState::Unhealthy("no".to_owned())), Met::NotYet);
        let failed = ServiceState::Failed("ended with status 1".to_owned());
        assert_eq!(judge(failed), Met::Never("main ended with status 1".to_owned()));
        let nothing = super::judge(Condition::Completed, &[status("app", ServiceState::Done)]);
        assert!(matches!(nothing, Met::Never(_)));
    }
}
