//! Doing the steps. Nothing is chosen here: a step names everything that it needs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use netarium_core::control::{Reply, Request, ServiceState};
use netarium_core::name::Name;
use netarium_core::object::{self, ImageRef, Object};
use netarium_core::plan::Step;

use super::control::ControlError;
use super::firewall::{self, FirewallError};
use super::group::{self, Group};
use super::journal::Journal;
use super::node::{NodeError, RunningNode};
use super::tunnels::{self, TunnelStepError};
use super::wiring;
use super::worker::{Answer, Order, gone, write_record};
use crate::failure::Failure;
use crate::linux::launch::{self, Begun, Blueprint, LaunchError, Waiting};
use crate::linux::mount::RootFolders;
use crate::linux::netlink::{Netlink, NetlinkError};
use crate::linux::packet;
use crate::linux::process::{self, Process};
use crate::linux::seccomp;
use crate::linux::stage::Call;
use crate::pki::{Authority, Credential, PkiError};

/// How long an interface may have to wait for the last one with its address to be gone.
const LAST_ONE_GONE: Duration = Duration::from_secs(5);

/// Why a step was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StepError {
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
    Pki(#[from] PkiError),
    #[error(transparent)]
    Tunnel(#[from] TunnelStepError),
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot remove {}", path.display())]
    Remove { path: PathBuf, source: io::Error },
    #[error("cannot make the filter for system calls of nodes: {0}")]
    Seccomp(String),
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
    filters: seccomp::Filters,
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
    pub(crate) fn begin(order: &'a Order, ids: u32, patience: Duration) -> Result<Self> {
        let path = order.folder.journal();
        let journal = Journal::open(&path).map_err(|source| StepError::Write { path, source })?;
        Ok(Self {
            order,
            ids,
            patience,
            deadline: Instant::now() + patience,
            segments: Netlink::open()?,
            filters: seccomp::filters(ids).map_err(|it| StepError::Seccomp(it.to_string()))?,
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
        for group in group::groups(&rest) {
            self.execute_group(group, call)?;
        }
        self.open_tunnels(&tunnels, call)?;
        self.started.extend(unready.iter().cloned());
        self.wait_for_services()
    }

    /// Does steps of one kind that do not wait for each other.
    fn execute_group(&mut self, group: Group<'_>, call: &Call) -> std::result::Result<(), Failure> {
        match group {
            Group::Nodes(nodes) => self.create_nodes(&nodes, call),
            Group::Inits(inits) => self.start_nodes(&inits, call),
            Group::Settings(node, settings) => self.write_settings(node, &settings, call),
            Group::One(number, step) => {
                self.execute(step).map_err(|error| failed(step, &error))?;
                self.done(number, step, call)
            }
        }
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
            Step::Create(object) | Step::Replace(object) => self.make(object),
            Step::Remove(object) => self.remove(object),
        }
    }

    fn make(&mut self, object: &Object) -> Result<()> {
        match object {
            // The keeper was started on the way here.
            Object::Lab(_) => silence_segments(),
            // These are not made one by one.
            Object::Node(_) | Object::Sysctl(_) | Object::Init(_) | Object::Tunnel(_) => Ok(()),
            Object::Authority(it) => {
                let authority = Authority::create(it, SystemTime::now())?;
                authority.save(&self.order.folder.pki())?;
                self.authority = Some(authority);
                Ok(())
            }
            Object::Segment(it) => Ok(wiring::create_segment(&mut self.segments, it)?),
            Object::Firewall(it) => Ok(firewall::load(self.node(&it.node)?, &it.text)?),
            Object::Interface(it) => self.create_interface(it),
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
            Object::File(it) => {
                write_file(self.node(&it.node)?, &it.path, it.mode, it.content.as_bytes())
            }
            Object::Service(it) => {
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
            Object::Segment(it) => Ok(wiring::remove_segment(&mut self.segments, it)?),
            Object::Node(it) => self.remove_node(&it.name),
            Object::Sysctl(it) => {
                // The lab's own namespace has what every new one has.
                let value = read_setting(&it.key)?;
                write_setting(self.node(&it.node)?, &it.key, &value)
            }
            Object::Firewall(it) => Ok(firewall::unload(self.node(&it.node)?)?),
            Object::Interface(it) => Ok(wiring::remove_interface(self.node(&it.node)?, it)?),
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
            Object::Credential(it) => {
                let credential = Credential::load(&self.order.folder.pki(), &it.node)?;
                let paths = credential.files().into_iter().map(|file| file.path);
                let paths: Vec<String> = paths.collect();
                paths.iter().try_for_each(|path| remove_file(self.node(&it.node)?, path))
            }
            Object::File(it) => remove_file(self.node(&it.node)?, &it.path),
            Object::Service(it) => {
                let stop = Request::Stop(it.service.name.clone());
                self.node(&it.node)?.control()?.ask(&stop)?;
                Ok(())
            }
            Object::Tunnel(it) => {
                let ends = [&it.tunnel.initiator.node, &it.tunnel.responder.node];
                let ends: Vec<PathBuf> = ends
                    .into_iter()
                    .filter_map(|node| self.node(node).ok().map(|node| node.root_path()))
                    .collect();
                Ok(tunnels::close(&it.tunnel, &ends)?)
            }
        }
    }

    fn node(&mut self, name: &Name) -> Result<&mut RunningNode> {
        if !self.nodes.contains_key(name) {
            self.nodes.insert(name.clone(), RunningNode::find(&self.order.folder, name)?);
        }
        Ok(self.nodes.get_mut(name).expect("it was put in if it was not there"))
    }

    /// Nodes put their root file systems together side by side.
    fn create_nodes(
        &mut self,
        nodes: &[(usize, &Step, &object::Node)],
        call: &Call,
    ) -> std::result::Result<(), Failure> {
        let mut begun = Vec::new();
        for (number, step, node) in nodes {
            let one = self.begin_node(node).map_err(|error| failed(step, &error))?;
            begun.push((*number, *step, *node, one));
        }
        let mut born = Vec::new();
        for (number, step, node, one) in begun {
            let pid = self.finish_node(node, one).map_err(|error| failed(step, &error))?;
            born.push((node, pid));
            self.done(number, step, call)?;
        }
        announce(&born, call)
    }

    fn begin_node(&mut self, node: &object::Node) -> Result<Begun> {
        let folder = self.order.folder.node(&node.name);
        let remove = |source| StepError::Remove { path: folder.path().to_owned(), source };
        remove_all(folder.path()).map_err(remove)?;
        for path in [folder.upper(), folder.work(), folder.merged(), folder.logs()] {
            create_folder(&path).map_err(|source| StepError::Write { path, source })?;
        }
        let control = folder.control();
        let control = packet::listen(&control)
            .map_err(|source| StepError::Write { path: control, source })?;
        let blueprint = Blueprint {
            hostname: node.name.to_string(),
            root: RootFolders {
                lower: lower_folder(&self.order.images, &node.image),
                upper: folder.upper(),
                work: folder.work(),
                merged: folder.merged(),
                hidden: self.order.hidden.clone(),
            },
            program: self.order.program.clone(),
            logs: folder.logs(),
            control,
            ids: self.ids,
        };
        Ok(launch::begin(&blueprint, &self.filters)?)
    }

    fn finish_node(&mut self, node: &object::Node, begun: Begun) -> Result<u32> {
        let waiting = begun.finish()?;
        let folder = self.order.folder.node(&node.name);
        let path = folder.process();
        let written = Process::of(waiting.child.pid)
            .and_then(|process| write_record(&path, &process).map(|()| process));
        let process = written.map_err(|source| StepError::Write { path, source })?;
        let mut running = RunningNode::open(folder, process, &node.name)?;
        let loopback = running.netlink().index("lo")?;
        running.netlink().set_up(loopback)?;
        self.nodes.insert(node.name.clone(), running);
        self.waiting.insert(node.name.clone(), waiting);
        Ok(process.pid)
    }

    /// First processes are executed side by side.
    fn start_nodes(
        &mut self,
        inits: &[(usize, &Step, &object::Init)],
        call: &Call,
    ) -> std::result::Result<(), Failure> {
        let mut started = Vec::new();
        for (number, step, init) in inits {
            let waiting = self.waiting.remove(&init.node);
            let waiting = waiting.ok_or_else(|| StepError::Started(init.node.clone()));
            let waiting = waiting
                .and_then(|waiting| waiting.start().map(|()| waiting).map_err(StepError::from))
                .map_err(|error| failed(step, &error))?;
            started.push((*number, *step, waiting));
        }
        for (number, step, waiting) in started {
            waiting.started().map_err(|error| failed(step, &error.into()))?;
            self.done(number, step, call)?;
        }
        Ok(())
    }

    /// A namespace is entered once for all settings of a node.
    fn write_settings(
        &mut self,
        node: &Name,
        settings: &[(usize, &Step, &object::Sysctl)],
        call: &Call,
    ) -> std::result::Result<(), Failure> {
        let Some((_, first, _)) = settings.first() else { return Ok(()) };
        let write = || -> Vec<Result<()>> {
            let write = |(_, _, it): &(usize, &Step, &object::Sysctl)| {
                write_proc(&setting_path(&it.key), &it.value)
            };
            settings.iter().map(write).collect()
        };
        let written = self.node(node).and_then(|node| in_network(node, write));
        let written = written.map_err(|error| failed(first, &error))?;
        for ((number, step, _), result) in settings.iter().zip(written) {
            result.map_err(|error| failed(step, &error))?;
            self.done(*number, step, call)?;
        }
        Ok(())
    }

    /// Interfaces are removed one by one before the node is killed: the kernel takes its time over
    /// those of a namespace that ends, and a new one could not have their addresses meanwhile.
    fn remove_node(&mut self, name: &Name) -> Result<()> {
        let node = self.node(name)?;
        for link in node.netlink().links()? {
            if link.name != "lo" {
                match node.netlink().delete_link(link.index) {
                    // Those that belong to a program go with it.
                    Err(error) if error.is(libc::EOPNOTSUPP) || error.is(libc::ENODEV) => {}
                    result => result?,
                }
            }
        }
        let path = node.folder.path().to_owned();
        let killed = node.process.kill();
        self.nodes.remove(name);
        killed.and_then(|()| remove_all(&path)).map_err(|source| StepError::Remove { path, source })
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

    fn issue(&mut self, credential: &object::Credential) -> Result<()> {
        let folder = self.order.folder.pki();
        let authority = match self.authority.take() {
            Some(authority) => authority,
            None => Authority::load(&folder)?,
        };
        let issued = authority.issue(credential)?;
        self.authority = Some(authority);
        issued.save(&folder)?;
        let node = self.node(&credential.node)?;
        issued
            .files()
            .iter()
            .try_for_each(|file| write_file(node, &file.path, file.mode, file.content.as_bytes()))
    }

    fn open_tunnels(
        &mut self,
        steps: &[(usize, &Step, &object::Tunnel)],
        call: &Call,
    ) -> std::result::Result<(), Failure> {
        let Some((_, first, _)) = steps.first() else { return Ok(()) };
        let mut ends = BTreeMap::new();
        for (_, step, it) in steps {
            for node in [&it.tunnel.initiator.node, &it.tunnel.responder.node] {
                let end = self.tunnel_end(node).map_err(|error| failed(step, &error))?;
                ends.insert(node.clone(), end);
            }
        }
        let tunnels = steps.iter().map(|(_, _, it)| (*it).clone()).collect();
        let opened = tunnels::open(tunnels, ends, self.deadline, |tunnel, established| {
            let step = steps.iter().find(|(_, _, it)| it.tunnel.name == *tunnel);
            step.map_or(Ok(()), |(number, step, _)| {
                self.done(*number, step, call)?;
                let algorithms = established.sa.algorithms.clone();
                let answer = Answer::Opened { step: *number, algorithms, tries: established.tries };
                call.answer(&answer).map_err(|error| gone(&error))
            })
        });
        opened.map_err(|error| match error {
            tunnels::OpenError::Tunnels(failures) => {
                let errors = failures.iter().map(ToString::to_string).collect::<Vec<_>>();
                Failure { what: "cannot open all tunnels".to_owned(), causes: errors, hint: None }
            }
            tunnels::OpenError::Prepare(error) => failed(first, &StepError::Tunnel(error)),
            tunnels::OpenError::Record(failure) => failure,
        })
    }

    fn tunnel_end(&mut self, name: &Name) -> Result<tunnels::End> {
        let credential = Credential::load(&self.order.folder.pki(), name)?;
        let node = self.node(name)?;
        Ok(tunnels::End { root: node.root_path(), control: node.folder.control(), credential })
    }

    /// Waits until the services of nodes where some were started are ready, and fails with the first that
    /// is not.
    fn wait_for_services(&mut self) -> std::result::Result<(), Failure> {
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
            match heard.map_err(|error| Failure::of(&error).while_doing(what("")))? {
                None => {
                    let error = StepError::NotReady(self.patience.as_secs());
                    return Err(Failure::of(&error).while_doing(what("")));
                }
                Some((Reply::Services(services), _)) => {
                    for it in services {
                        if let ServiceState::Failed(reason) = it.state {
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

fn failed(step: &Step, error: &StepError) -> Failure {
    Failure::of(error).while_doing(format!("cannot {step}"))
}

/// Tells the caller which nodes were created, and waits for its word if limits hang on it.
fn announce(born: &[(&object::Node, u32)], call: &Call) -> std::result::Result<(), Failure> {
    let limited = born.iter().any(|(node, _)| !node.limits.is_none());
    let pids = born.iter().map(|(node, pid)| (node.name.clone(), *pid)).collect();
    call.answer(&Answer::Born(pids)).map_err(|error| gone(&error))?;
    if limited { call.wait_for_word().map_err(|error| gone(&error)) } else { Ok(()) }
}

fn is_still_there(error: &NetlinkError) -> bool {
    [libc::EBUSY, libc::EEXIST, libc::EADDRINUSE].into_iter().any(|errno| error.is(errno))
}

fn lower_folder(images: &Path, image: &ImageRef) -> PathBuf {
    match image {
        ImageRef::Host => PathBuf::from("/"),
        ImageRef::Stored { digest, .. } => images.join(digest).join(crate::image::ROOTFS),
    }
}

fn create_folder(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    // What a node sees of `upper` is its root folder, which others than root may pass through.
    fs::DirBuilder::new().recursive(true).mode(0o755).create(path)
}

fn remove_all(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// The lab's own network namespace has no use for IPv6: its links would speak without being asked.
fn silence_segments() -> Result<()> {
    let path = Path::new("/proc/sys/net/ipv6/conf/default/disable_ipv6");
    if path.exists() { write_proc(path, "1") } else { Ok(()) }
}

fn interface_key(setting: &object::InterfaceSysctl, interface: &str) -> String {
    format!("net/{}/conf/{interface}/{}", setting.family, setting.key)
}

fn setting_path(key: &str) -> PathBuf {
    Path::new("/proc/sys").join(key)
}

fn read_setting(key: &str) -> Result<String> {
    let path = setting_path(key);
    let value = fs::read_to_string(&path).map_err(|source| StepError::Write { path, source })?;
    Ok(value.trim_end().to_owned())
}

fn write_setting(node: &RunningNode, key: &str, value: &str) -> Result<()> {
    in_network(node, || write_proc(&setting_path(key), value))?
}

/// `/proc/sys/net` shows the settings of the network namespace of whoever looks.
fn in_network<T: Send>(node: &RunningNode, visit: impl FnOnce() -> T + Send) -> Result<T> {
    node.namespace.enter(visit).map_err(|source| StepError::Write {
        path: node.root_path().with_file_name("ns/net"),
        source,
    })
}

#[expect(clippy::disallowed_methods, reason = "a file of /proc is written, not replaced")]
fn write_proc(path: &Path, value: &str) -> Result<()> {
    fs::write(path, value).map_err(|source| StepError::Write { path: path.to_owned(), source })
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
