//! What takes its time: tunnels until they stand, services until they are ready.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use netarium_core::control::{Reply, Request, ServiceState};
use netarium_core::ipsec;
use netarium_core::model::{Auth, Tunnel};
use netarium_core::name::Name;
use netarium_core::object;
use netarium_core::plan::Step;
use netarium_core::wireguard::ALGORITHMS;

use super::{Apply, Result, StepError, failed, write_file};
use crate::engine::native::vici::SharedWith;
use crate::engine::native::worker::{Answer, gone};
use crate::engine::native::{tunnels, wireguard};
use crate::failure::Failure;
use crate::linux::stage::Call;
use crate::pki::{Credential, TunnelSecret};

/// How long between two looks whether a tunnel stands.
const PAUSE: Duration = Duration::from_millis(5);

/// One end of a WireGuard tunnel: whether it has a key in common with the other, and what it says.
struct Side {
    stands: bool,
    words: String,
}

impl Apply<'_> {
    pub(super) fn open_tunnels(
        &mut self,
        steps: &[(usize, &Step, &object::Tunnel)],
        call: &Call,
    ) -> std::result::Result<(), Failure> {
        let (ipsec, wireguard): (Vec<_>, Vec<_>) =
            steps.iter().copied().partition(|(_, _, it)| it.tunnel.ipsec().is_some());
        self.open_ipsec(&ipsec, call)?;
        // These open themselves meanwhile.
        self.await_wireguard(&wireguard, call)
    }

    fn open_ipsec(
        &mut self,
        steps: &[(usize, &Step, &object::Tunnel)],
        call: &Call,
    ) -> std::result::Result<(), Failure> {
        let Some((_, first, _)) = steps.first() else { return Ok(()) };
        let mut ends = BTreeMap::new();
        for (_, step, it) in steps {
            for end in it.tunnel.ends() {
                let secret = self.secret(&it.tunnel, &end.node);
                if !ends.contains_key(&end.node) {
                    let found = self.tunnel_end(&end.node).map_err(|error| failed(step, &error))?;
                    ends.insert(end.node.clone(), found);
                }
                if let Some(known) = ends.get_mut(&end.node) {
                    known.secrets.extend(secret);
                }
            }
        }
        let nodes: Vec<Name> = ends.keys().cloned().collect();
        let tunnels = steps.iter().map(|(_, _, it)| (*it).clone()).collect();
        let opened = tunnels::open(tunnels, ends, self.deadline, |tunnel, established| {
            let step = steps.iter().find(|(_, _, it)| it.tunnel.name == *tunnel);
            step.map_or(Ok(()), |(number, step, _)| {
                self.done(*number, step, call)?;
                let Some(established) = established else { return Ok(()) };
                let algorithms = established.sa.algorithms.to_string();
                let answer = Answer::Opened { step: *number, algorithms, tries: established.tries };
                call.answer(&answer).map_err(|error| gone(&error))
            })
        });
        // From now on a daemon that was killed reads its files when it is started again.
        for node in nodes {
            let marked = self.node(&node).and_then(|it| write_file(it, ipsec::LOADED, 0o600, b""));
            marked.map_err(|error| failed(first, &error))?;
        }
        opened.map_err(|error| match error {
            tunnels::OpenError::Tunnels(failures) => {
                let errors = failures.iter().map(ToString::to_string).collect::<Vec<_>>();
                Failure { what: "cannot open all tunnels".to_owned(), causes: errors, hint: None }
            }
            tunnels::OpenError::Prepare(error) => failed(first, &StepError::Tunnel(error)),
            tunnels::OpenError::Record(failure) => failure,
        })
    }

    /// Waits until both ends of each tunnel have a key in common.
    fn await_wireguard(
        &mut self,
        steps: &[(usize, &Step, &object::Tunnel)],
        call: &Call,
    ) -> std::result::Result<(), Failure> {
        let mut failures = Vec::new();
        for (number, step, it) in steps {
            let sides = loop {
                let sides = self.wireguard_sides(it).map_err(|error| failed(step, &error))?;
                let is_late = Instant::now() >= self.deadline;
                if is_late || sides.iter().all(|side| side.stands) {
                    break sides;
                }
                std::thread::sleep(PAUSE);
            };
            if sides.iter().all(|side| side.stands) {
                self.done(*number, step, call)?;
                let algorithms = ALGORITHMS.to_owned();
                let answer = Answer::Opened { step: *number, algorithms, tries: 1 };
                call.answer(&answer).map_err(|error| gone(&error))?;
            } else {
                let words: Vec<String> = sides.into_iter().map(|side| side.words).collect();
                let name = &it.tunnel.name;
                failures.push(format!("tunnel {name} is not up: {}", words.join("; ")));
            }
        }
        if failures.is_empty() {
            return Ok(());
        }
        Err(Failure { what: "cannot open all tunnels".to_owned(), causes: failures, hint: None })
    }

    fn wireguard_sides(&mut self, it: &object::Tunnel) -> Result<Vec<Side>> {
        let Some(wireguard) = it.tunnel.wireguard() else { return Ok(vec![]) };
        let mut sides = Vec::new();
        for end in it.tunnel.ends() {
            let node = self.node(&end.node)?;
            let seen = wireguard::look(node, &wireguard.interface, it.encryption);
            sides.push(match seen {
                Ok(seen) => Side {
                    stands: seen.stands(wireguard::now()),
                    words: format!("{}: {}", end.node, seen.traffic()),
                },
                Err(error) => {
                    let failure = Failure::of(&error).to_string();
                    Side { stands: false, words: format!("{}: {failure}", end.node) }
                }
            });
        }
        Ok(sides)
    }

    fn tunnel_end(&mut self, name: &Name) -> Result<tunnels::End> {
        let credential = Credential::load(&self.order.folder.pki(), name)?;
        let node = self.node(name)?;
        let (root, control) = (node.root_path(), node.folder.control());
        Ok(tunnels::End { root, control, credential, secrets: Vec::new() })
    }

    /// The secret of a tunnel, if it has one, as the daemon of `node` is told it.
    fn secret(&self, tunnel: &Tunnel, node: &Name) -> Option<SharedWith> {
        let Auth::Psk(secret) = &tunnel.ipsec()?.auth else { return None };
        let (own, peer) = tunnel.seen_from(node)?;
        let ends = [own.address, peer.address];
        let (node, tunnel, secret) = (node.clone(), tunnel.name.clone(), secret.clone());
        let shared = object::Secret { node, tunnel, ends, secret };
        let secret = TunnelSecret::kept(&self.order.folder.pki(), &shared)?;
        Some(SharedWith { tunnel: shared.tunnel, ends, secret })
    }

    /// Waits until the services of nodes where some were started are ready, and fails with the first that
    /// is not.
    pub(super) fn wait_for_services(&mut self) -> std::result::Result<(), Failure> {
        let mut conversations = Vec::new();
        for name in std::mem::take(&mut self.started) {
            let what = || format!("cannot wait for the services of {name}");
            let asked = self.node(&name).and_then(|node| {
                let control = node.control()?;
                control.say(&Request::Settled, &[])?;
                Ok(control)
            });
            let control = asked.map_err(|error| Failure::of(&error).while_doing(what()))?;
            conversations.push((name, control));
        }
        for (name, control) in conversations {
            let left = self.deadline.saturating_duration_since(Instant::now());
            let heard = control
                .wait(left)
                .and_then(|is_there| if is_there { control.hear().map(Some) } else { Ok(None) });
            let what = |service: &str| format!("cannot bring service {name}/{service} up");
            let all = || format!("cannot bring the services of {name} up");
            match heard.map_err(|error| Failure::of(&error).while_doing(all()))? {
                None => {
                    let error = StepError::NotReady(self.patience.as_secs());
                    return Err(Failure::of(&error).while_doing(all()));
                }
                Some((Reply::Services(services), _)) => {
                    for it in services {
                        let reason = match it.state {
                            ServiceState::Failed(reason) => Some(reason),
                            ServiceState::Unhealthy(reason) => {
                                Some(format!("it is unhealthy: {reason}"))
                            }
                            _ => None,
                        };
                        if let Some(reason) = reason {
                            let error = StepError::ServiceFailed(reason);
                            let service = it.service.name.to_string();
                            return Err(Failure::of(&error).while_doing(what(&service)));
                        }
                    }
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}
