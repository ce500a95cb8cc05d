//! Doing the steps. Nothing is chosen here: a step names everything that it needs.

mod containers;
mod credentials;
mod nodes;
mod order;
mod ready;
mod settings;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use netarium_core::control::Request;
use netarium_core::ipsec;
use netarium_core::model::{Engine, Nesting};
use netarium_core::name::Name;
use netarium_core::object::{self, Encryption, Object};
use netarium_core::plan::Step;
use netarium_core::wireguard::conf_path;
use zeroize::Zeroizing;

use self::settings::{in_network, interface_key, read_setting, silence_segments, write_setting};
use super::control::ControlError;
use super::farewell;
use super::firewall::{self, FirewallError};
use super::group::{self, Group};
use super::journal::Journal;
use super::node::{NodeError, RunningNode};
use super::placing::{self, Way};
use super::tunnels::{self, TunnelStepError};
use super::uplink::{self, UplinkError};
use super::volumes::Trees;
use super::wireguard::{self, WireguardError};
use super::wiring;
use super::worker::{After, Answer, Order, Task, gone};
use crate::engine::docker::prepare::PrepareError;
use crate::failure::Failure;
use crate::linux::launch::{LaunchError, Waiting};
use crate::linux::netlink::{Netlink, NetlinkError};
use crate::linux::process;
use crate::linux::seccomp;
use crate::linux::stage::Call;
use crate::pki::{self, Authority, Credential, PkiError};

/// How long an interface may have to wait for the last one with its address to be gone.
const LAST_ONE_GONE: Duration = Duration::from_secs(5);

/// Why a step was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StepError {
    #[error("image {0} is not there")]
    NoImage(String),
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    #[error(transparent)]
    Launch(#[from] LaunchError),
    #[error(transparent)]
    Node(#[from] NodeError),
    #[error(transparent)]
    Control(#[from] ControlError),
    #[error(transparent)]
    Firewall(#[from] FirewallError),
    #[error(transparent)]
    Uplink(#[from] UplinkError),
    #[error(transparent)]
    Pki(#[from] PkiError),
    #[error(transparent)]
    Tunnel(#[from] TunnelStepError),
    #[error(transparent)]
    Wireguard(#[from] WireguardError),
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot remove {}", path.display())]
    Remove { path: PathBuf, source: io::Error },
    #[error("cannot make the filter for system calls of nodes: {0}")]
    Seccomp(String),
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    #[error("the first process of {0} was started before")]
    Started(Name),
    #[error("it is not ready after {0} s")]
    NotReady(u64),
    #[error("{0}")]
    ServiceFailed(String),
}

type Result<T> = std::result::Result<T, StepError>;

/// A worker that does steps.
pub(crate) struct Apply<'a> {
    order: &'a Order,
    /// How many ids the lab has.
    ids: u32,
    patience: Duration,
    deadline: Instant,
    segments: Netlink,
    /// By whether nodes may nest containers; compiled when they are needed.
    filters: BTreeMap<Nesting, seccomp::Filters>,
    /// What the owner of the lab has opened for new nodes, by node and place in it.
    trees: Trees,
    nodes: BTreeMap<Name, RunningNode>,
    waiting: BTreeMap<Name, Waiting>,
    authority: Option<Authority>,
    journal: Journal,
    /// Nodes with services that were started here.
    started: BTreeSet<Name>,
}

impl<'a> Apply<'a> {
    /// Begins in the lab's network namespace.
    ///
    /// # Errors
    /// If the journal cannot be written or the kernel does not talk.
    pub(crate) fn begin(
        order: &'a Order,
        ids: u32,
        trees: Trees,
        patience: Duration,
    ) -> Result<Self> {
        let path = order.folder.journal();
        let journal = Journal::open(&path).map_err(|source| StepError::Write { path, source })?;
        Ok(Self {
            order,
            ids,
            patience,
            deadline: Instant::now() + patience,
            segments: Netlink::open()?,
            filters: BTreeMap::new(),
            trees,
            nodes: BTreeMap::new(),
            waiting: BTreeMap::new(),
            authority: None,
            journal,
            started: BTreeSet::new(),
        })
    }

    /// Does the steps, one by one, but opens tunnels side by side; then waits for services, also
    /// for those of the nodes in `unready`.
    ///
    /// # Errors
    /// The first step that could not be done. What was done before stays.
    pub(crate) fn run(
        &mut self,
        steps: &[Step],
        unready: &BTreeSet<Name>,
        call: &Call,
    ) -> std::result::Result<(), Failure> {
        let mut tunnels = Vec::new();
        let mut rest: Vec<(usize, &Step)> = Vec::new();
        for (number, step) in steps.iter().enumerate() {
            match step {
                Step::Create(Object::Tunnel(tunnel)) => tunnels.push((number, step, tunnel)),
                _ => rest.push((number, step)),
            }
        }
        if self.order.engine == Engine::Docker {
            self.prepare_restarted(steps)?;
        }
        self.run_in_order(rest, call)?;
        self.open_tunnels(&tunnels, call)?;
        self.started.extend(unready.iter().cloned());
        self.wait_for_services()
    }

    /// Does steps of one kind that do not wait for each other.
    fn execute_group(&mut self, group: Group<'_>, call: &Call) -> std::result::Result<(), Failure> {
        match group {
            Group::Nodes(nodes) => match self.order.engine {
                Engine::Native => self.create_nodes(&nodes, call),
                Engine::Docker => self.prepare_nodes(&nodes, call),
            },
            Group::Inits(inits) => self.start_nodes(&inits, call),
            Group::One(number, step @ Step::Remove(Object::Node(it))) => {
                self.remove_node(&it.name).map_err(|error| failed(step, &error))?;
                if self.order.engine == Engine::Docker {
                    Self::let_go(&it.name, call)?;
                }
                self.done(number, step, call)
            }
            Group::Firewalls(firewalls) => self.load_firewalls(&firewalls, call),
            Group::Settings(node, settings) => self.write_settings(node, &settings, call),
            Group::One(number, step @ Step::Create(Object::Uplink(it))) => {
                self.make_uplink((number, step, it), call)
            }
            Group::One(number, step) => {
                self.execute(step).map_err(|error| failed(step, &error))?;
                self.done(number, step, call)
            }
        }
    }

    /// The caller starts pasta on the way.
    fn make_uplink(
        &mut self,
        (number, step, it): (usize, &Step, &object::Uplink),
        call: &Call,
    ) -> std::result::Result<(), Failure> {
        let failed = |error: UplinkError| failed(step, &error.into());
        uplink::prepare(&self.order.folder, &mut self.segments, it).map_err(failed)?;
        call.answer(&Answer::Pasta(number)).map_err(|error| gone(&error))?;
        call.wait_for_word().map_err(|error| gone(&error))?;
        uplink::finish(&mut self.segments, it).map_err(failed)?;
        self.done(number, step, call)
    }

    fn done(
        &mut self,
        number: usize,
        step: &Step,
        call: &Call,
    ) -> std::result::Result<(), Failure> {
        let path = self.order.folder.journal();
        let written = self.journal.add(step);
        written.map_err(|source| failed(step, &StepError::Write { path, source }))?;
        call.answer(&Answer::Did(number)).map_err(|error| gone(&error))
    }

    fn execute(&mut self, step: &Step) -> Result<()> {
        match step {
            Step::Replace(Object::File(it)) => self.place(it, Way::Replace),
            Step::Create(object) | Step::Replace(object) => self.make(object),
            Step::Remove(object) => self.remove(object),
        }
    }

    fn make(&mut self, object: &Object) -> Result<()> {
        match object {
            // The keeper was started on the way here.
            Object::Lab(_) => silence_segments(),
            // These are not made one by one.
            Object::Node(_)
            | Object::Sysctl(_)
            | Object::Firewall(_)
            | Object::Uplink(_)
            | Object::Init(_)
            | Object::Tunnel(_) => Ok(()),
            Object::Authority(it) => {
                let authority = Authority::create(it, SystemTime::now())?;
                authority.save(&self.order.folder.pki())?;
                self.authority = Some(authority);
                Ok(())
            }
            Object::Segment(it) => self.create_segment(it),
            Object::Interface(it) => self.create_interface(it),
            Object::TunnelInterface(it) => self.create_tunnel_interface(it),
            Object::InterfaceSysctl(it) => {
                let key = interface_key(it, it.interface.as_str());
                write_setting(self.node(&it.node)?, &key, &it.value)
            }
            Object::Address(it) => {
                let netlink = self.node(&it.node)?.netlink();
                let index = netlink.index(it.interface.as_str())?;
                Ok(netlink.add_address(index, it.address)?)
            }
            Object::Route(it) => Ok(wiring::set_route(self.node(&it.node)?, it)?),
            Object::Credential(it) => self.issue(it),
            Object::Secret(it) => self.share(it),
            Object::Key(it) => Ok(pki::wireguard::create_node(&self.order.folder.pki(), &it.node)?),
            Object::SharedKey(it) => {
                Ok(pki::wireguard::create_tunnel(&self.order.folder.pki(), &it.tunnel)?)
            }
            Object::WireguardConf(it) => self.set_wireguard(it),
            Object::File(it) => self.place(it, Way::Create),
            Object::Service(it) => {
                if it.service.name == ipsec::service_name() {
                    remove_file(self.node(&it.node)?, ipsec::LOADED)?;
                }
                if it.service.stop.grace.is_some() {
                    let path = self.order.folder.farewell();
                    farewell::note(&self.order.folder, &it.node)
                        .map_err(|source| StepError::Write { path, source })?;
                }
                self.node(&it.node)?.control()?.ask(&Request::Start(it.service.clone()))?;
                self.started.insert(it.node.clone());
                Ok(())
            }
        }
    }

    fn remove(&mut self, object: &Object) -> Result<()> {
        match object {
            // The lab's folder goes with it; the keeper is killed from outside.
            Object::Lab(_) | Object::Authority(_) | Object::Init(_) => Ok(()),
            Object::Segment(it) => self.remove_segment(it),
            Object::Uplink(it) => Ok(uplink::remove(&self.order.folder, &mut self.segments, it)?),
            Object::Node(it) => self.remove_node(&it.name),
            Object::Sysctl(it) => {
                // The lab's own namespace has what every new one has.
                let value = read_setting(&it.key)?;
                write_setting(self.node(&it.node)?, &it.key, &value)
            }
            Object::Firewall(it) => Ok(firewall::unload(self.node(&it.node)?)?),
            Object::Interface(it) => Ok(wiring::remove_interface(self.node(&it.node)?, it)?),
            Object::TunnelInterface(it) => {
                Ok(wiring::delete(self.node(&it.node)?.netlink(), it.name.as_str())?)
            }
            Object::InterfaceSysctl(it) => {
                let node = self.node(&it.node)?;
                let value = in_network(node, || read_setting(&interface_key(it, "default")))??;
                write_setting(node, &interface_key(it, it.interface.as_str()), &value)
            }
            Object::Address(it) => {
                let netlink = self.node(&it.node)?.netlink();
                let index = netlink.index(it.interface.as_str())?;
                Ok(netlink.delete_address(index, it.address)?)
            }
            Object::Route(it) => Ok(self.node(&it.node)?.netlink().delete_route(it.to)?),
            Object::Secret(it) => {
                remove_file(self.node(&it.node)?, &ipsec::secret_file(&it.tunnel))
            }
            Object::Credential(it) => {
                let credential = Credential::load(&self.order.folder.pki(), &it.node)?;
                let paths = credential.files().into_iter().map(|file| file.path);
                let paths: Vec<String> = paths.collect();
                paths.iter().try_for_each(|path| remove_file(self.node(&it.node)?, path))
            }
            Object::Key(it) => Ok(pki::wireguard::remove_node(&self.order.folder.pki(), &it.node)?),
            Object::SharedKey(it) => {
                Ok(pki::wireguard::remove_tunnel(&self.order.folder.pki(), &it.tunnel)?)
            }
            Object::WireguardConf(it) => {
                remove_file(self.node(&it.node)?, &conf_path(&it.interface))
            }
            Object::File(it) => {
                let removed = self.node(&it.node)?.root();
                let removed = removed.and_then(|root| placing::take_away(&root, it));
                let path = PathBuf::from(&it.path);
                removed.map_err(|source| StepError::Remove { path, source })
            }
            Object::Service(it) => {
                let stop = Request::Stop(it.service.name.clone());
                self.node(&it.node)?.control()?.ask(&stop)?;
                Ok(())
            }
            // It goes with its interfaces.
            Object::Tunnel(it) if it.tunnel.wireguard().is_some() => Ok(()),
            Object::Tunnel(it) => self.close_tunnel(it),
        }
    }

    fn close_tunnel(&mut self, it: &object::Tunnel) -> Result<()> {
        let ends = it.tunnel.ends().into_iter();
        let roots = ends.filter_map(|end| self.node(&end.node).ok().map(|node| node.root_path()));
        let roots: Vec<PathBuf> = roots.collect();
        Ok(tunnels::close(&it.tunnel, &roots)?)
    }

    /// The nodes that others come after.
    fn after(&self) -> &'a After {
        static NONE: After = After::new();
        match &self.order.task {
            Task::Apply { after, .. } => after,
            _ => &NONE,
        }
    }

    fn node(&mut self, name: &Name) -> Result<&mut RunningNode> {
        if !self.nodes.contains_key(name) {
            self.nodes.insert(name.clone(), RunningNode::find(&self.order.folder, name)?);
        }
        Ok(self.nodes.get_mut(name).expect("it was put in if it was not there"))
    }

    /// Firewalls are put in place side by side.
    fn load_firewalls(
        &mut self,
        firewalls: &[(usize, &Step, &object::Firewall)],
        call: &Call,
    ) -> std::result::Result<(), Failure> {
        for (_, step, it) in firewalls {
            self.node(&it.node).map_err(|error| failed(step, &error))?;
        }
        let tables = firewalls.iter().map(|(_, _, it)| (&self.nodes[&it.node], it.text.as_str()));
        let loaded = firewall::load(&tables.collect::<Vec<_>>());
        for ((number, step, _), result) in firewalls.iter().zip(loaded) {
            result.map_err(|error| failed(step, &error.into()))?;
            self.done(*number, step, call)?;
        }
        Ok(())
    }

    fn create_segment(&mut self, segment: &object::Segment) -> Result<()> {
        let [first, second] = segment.ends.as_slice() else {
            return Ok(wiring::create_segment(&mut self.segments, segment)?);
        };
        // A worker that was killed may have left it without a mark.
        self.remove_segment(segment)?;
        let inside = [first, second].map(|end| &self.nodes[&end.node].namespace);
        wiring::create_pair(&mut self.segments, [first, second], inside)?;
        [first, second]
            .into_iter()
            .try_for_each(|end| Ok(wiring::mark_end(self.node(&end.node)?, segment, end)?))
    }

    fn remove_segment(&mut self, segment: &object::Segment) -> Result<()> {
        if segment.ends.is_empty() {
            return Ok(wiring::remove_segment(&mut self.segments, segment)?);
        }
        for end in &segment.ends {
            match self.node(&end.node) {
                // Its end went with it, and the other one goes.
                Err(StepError::Node(NodeError::Ended(_))) => {}
                node => wiring::remove_end(node?, end)?,
            }
        }
        Ok(())
    }

    fn create_interface(&mut self, interface: &object::Interface) -> Result<()> {
        self.node(&interface.node)?;
        let node = self.nodes.get_mut(&interface.node).expect("it was found a line before");
        let deadline = Instant::now() + LAST_ONE_GONE;
        loop {
            match wiring::create_interface(&mut self.segments, node, interface) {
                // A node that was killed leaves its interfaces to the kernel for a while.
                Err(error) if is_still_there(&error) && Instant::now() < deadline => {
                    wiring::clear_interface(&mut self.segments, node, interface)?;
                    std::thread::sleep(Duration::from_millis(2));
                }
                result => return Ok(result?),
            }
        }
    }

    /// One that was left by a worker that was killed is removed first: it may be of another kind.
    fn create_tunnel_interface(&mut self, it: &object::TunnelInterface) -> Result<()> {
        let node = self.node(&it.node)?;
        wiring::delete(node.netlink(), it.name.as_str())?;
        Ok(wireguard::create(node, it)?)
    }

    fn set_wireguard(&mut self, it: &object::WireguardConf) -> Result<()> {
        let conf = wireguard::conf(it, &self.order.folder.pki())?;
        let node = self.node(&it.node)?;
        let text = Zeroizing::new(conf.to_text());
        write_file(node, &conf_path(&it.interface), 0o600, text.as_bytes())?;
        match it.encryption {
            Encryption::Kernel => Ok(wireguard::set(node, &it.interface, &conf)?),
            // The program reads the file when it starts.
            Encryption::Userspace => Ok(()),
        }
    }

    fn place(&mut self, file: &object::File, way: Way) -> Result<()> {
        let (lab, ids) = (&self.order.folder, self.ids);
        let root = self.node(&file.node)?.root();
        let placed = root.and_then(|root| placing::place(&root, lab, file, ids, way));
        placed.map_err(|source| StepError::Write { path: PathBuf::from(&file.path), source })
    }
}

fn failed(step: &Step, error: &StepError) -> Failure {
    let hint = match error {
        StepError::Prepare(error) => error.hint(),
        _ => None,
    };
    Failure::of(error).while_doing(format!("cannot {step}")).with_hint(hint)
}

fn is_still_there(error: &NetlinkError) -> bool {
    [libc::EBUSY, libc::EEXIST, libc::EADDRINUSE].into_iter().any(|errno| error.is(errno))
}

fn remove_all(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

fn write_file(node: &RunningNode, path: &str, mode: u32, content: &[u8]) -> Result<()> {
    let written = node.root().and_then(|root| root.write(path, mode, content));
    written.map_err(|source| StepError::Write { path: PathBuf::from(path), source })
}

fn remove_file(node: &RunningNode, path: &str) -> Result<()> {
    let removed = node.root().and_then(|root| root.remove(path));
    removed.map_err(|source| StepError::Remove { path: PathBuf::from(path), source })
}

impl Drop for Apply<'_> {
    /// Nodes that were created and not started would wait for ever.
    fn drop(&mut self) {
        for waiting in self.waiting.values() {
            // They end by themselves, too, when the other end of their gate is closed.
            process::kill(&waiting.child.pidfd).ok();
        }
    }
}
