//! Looking at what is there: what the journal says was made, as the kernel and the daemons have it
//! now.
//!
//! Nothing is judged here. What is gone is left out, what has changed is told as it is, and where
//! somebody knows a reason it becomes a finding.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use netarium_core::control::{Reply, Request, ServiceState, ServiceStatus};
use netarium_core::ipsec::{self, CHARON, Sa};
use netarium_core::model::Via;
use netarium_core::name::{InterfaceName, Name};
use netarium_core::object::{self, Id, Object, Objects, SegmentLink};
use netarium_core::wireguard::conf_path;

use super::control::ControlError;
use super::firewall::{self, Found};
use super::node::{NodeError, RunningNode};
use super::tunnels::{self, TunnelStepError};
use super::worker::Observation;
use super::{journal, placing, uplink, vici, wireguard, wiring};
use crate::failure::Failure;
use crate::folder::LabFolder;
use crate::linux::netlink::{Link, Netlink, NetlinkError, RouteVia};
use crate::pki::{self, Authority, Credential, TunnelSecret};

/// Why it cannot be seen what is there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ObserveError {
    #[error("cannot read the journal {}", path.display())]
    Journal { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Node(#[from] NodeError),
    #[error("cannot ask the kernel about the network")]
    Netlink(#[from] NetlinkError),
    #[error(transparent)]
    Tunnel(#[from] TunnelStepError),
}

type Result<T> = std::result::Result<T, ObserveError>;

/// Looks at the lab whose network namespace the caller is in.
///
/// # Errors
/// If its records cannot be read or the kernel does not talk. That something is gone is no error.
pub(crate) fn observe(folder: &LabFolder, lab: &Name, ids: u32) -> Result<Observation> {
    let path = folder.journal();
    let recorded = journal::replay(&path)
        .map_err(|source| ObserveError::Journal { path: path.clone(), source })?;
    let mut look = Look::at(folder, &recorded, ids)?;
    look.add_certain(lab);
    look.add_revoked(&recorded);
    for (id, object) in recorded.iter() {
        if let Some(found) = look.left_alone(&recorded, object).or_else(|| look.find(object)) {
            look.observation.objects.insert(found);
        } else if matches!(id, Id::Node(_)) {
            look.note(id, "its first process has ended");
        }
    }
    look.add_unexpected(&recorded);
    look.add_tunnels(&recorded)?;
    Ok(look.observation)
}

/// What the kernel and the nodes say, gathered once.
struct Look<'a> {
    folder: &'a LabFolder,
    /// How many ids the lab has.
    ids: u32,
    /// The links of the lab's own namespace.
    segments: Vec<Link>,
    /// The addresses there.
    addresses: Vec<(u32, IpNet)>,
    nodes: BTreeMap<Name, NodeView>,
    observation: Observation,
}

/// A node that runs.
struct NodeView {
    node: RunningNode,
    links: Vec<Link>,
    addresses: Vec<(u32, IpNet)>,
    routes: Vec<(IpNet, RouteVia)>,
    services: Vec<ServiceStatus>,
    /// Whether it was told that it is wired.
    is_open: bool,
}

impl NodeView {
    fn of(mut node: RunningNode, name: &Name) -> Result<Self> {
        let netlink = node.netlink();
        let error = |source| NodeError::Netlink { node: name.clone(), source };
        let links = netlink.links().map_err(error)?;
        let addresses = netlink.addresses().map_err(error)?;
        let routes = netlink.routes().map_err(error)?;
        // A first process that does not answer has no services.
        let asked = node.control().and_then(|control| control.ask(&Request::Status));
        let is_open = !matches!(asked, Err(ControlError::Waiting));
        let services = match asked {
            Ok(Reply::Services(services)) => services,
            _ => vec![],
        };
        Ok(Self { node, links, addresses, routes, services, is_open })
    }

    fn link(&self, name: &InterfaceName) -> Option<&Link> {
        self.links.iter().find(|link| link.name == name.as_str())
    }

    fn interface(&self, index: u32) -> Option<InterfaceName> {
        let link = self.links.iter().find(|link| link.index == index)?;
        InterfaceName::new(&link.name).ok()
    }

    fn setting(&self, key: &str) -> Option<String> {
        let path = Path::new("/proc/sys").join(key);
        let value = self.node.namespace.enter(|| fs::read_to_string(path)).ok()?.ok()?;
        Some(value.trim_end().to_owned())
    }

    fn has_file(&self, path: &str, mode: u32, content: &[u8]) -> bool {
        let read = self.node.root().and_then(|root| root.read(path));
        matches!(read, Ok(Some((found, bytes))) if found == mode && bytes == content)
    }
}

impl<'a> Look<'a> {
    fn at(folder: &'a LabFolder, recorded: &Objects, ids: u32) -> Result<Self> {
        let mut nodes = BTreeMap::new();
        for (id, _) in recorded.iter() {
            let Id::Node(name) = id else { continue };
            match RunningNode::find(folder, name) {
                Ok(node) => drop(nodes.insert(name.clone(), NodeView::of(node, name)?)),
                Err(NodeError::Ended(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let mut netlink = Netlink::open()?;
        let (segments, addresses) = (netlink.links()?, netlink.addresses()?);
        Ok(Self { folder, ids, segments, addresses, nodes, observation: Observation::default() })
    }

    fn note(&mut self, id: &Id, text: impl Into<String>) {
        self.observation.findings.push((id.clone(), text.into()));
    }

    /// What a node was given and its programs own: whatever has become of it, it was given, as long
    /// as the node and what bears it are there.
    fn left_alone(&self, recorded: &Objects, object: &Object) -> Option<Object> {
        let (node, bearer) = object.given_to()?;
        let view = self.nodes.get(node).filter(|_| recorded.leaves_to_programs(node))?;
        let is_borne = bearer.is_none_or(|interface| view.link(interface).is_some());
        is_borne.then(|| object.clone())
    }

    /// The object as it is now, if it is there.
    fn find(&mut self, recorded: &Object) -> Option<Object> {
        match recorded {
            Object::Authority(_) => {
                let authority = Authority::load(&self.folder.pki()).ok()?;
                Some(Object::Authority(authority.object().clone()))
            }
            Object::Segment(it) => self.segment(it).map(Object::Segment),
            Object::Uplink(it) => {
                let wrong = uplink::look(self.folder, &self.segments, &self.addresses, it);
                let is_there = wrong.is_none();
                wrong.into_iter().for_each(|text| self.note(&Id::Uplink, text));
                is_there.then(|| recorded.clone())
            }
            Object::Node(it) => self.nodes.get(&it.name).map(|_| recorded.clone()),
            Object::Sysctl(it) => {
                let value = self.nodes.get(&it.node)?.setting(&it.key)?;
                Some(Object::Sysctl(object::Sysctl { value, ..it.clone() }))
            }
            Object::Firewall(it) => self.firewall(it).map(Object::Firewall),
            Object::Interface(it) => {
                let link = self.nodes.get(&it.node)?.link(&it.name)?;
                Some(Object::Interface(wiring::observed_interface(it, link)))
            }
            Object::TunnelInterface(it) => {
                let link = self.nodes.get(&it.node)?.link(&it.name)?;
                Some(Object::TunnelInterface(wiring::observed_tunnel_interface(it, link)))
            }
            Object::InterfaceSysctl(it) => {
                let key = format!("net/{}/conf/{}/{}", it.family, it.interface, it.key);
                let value = self.nodes.get(&it.node)?.setting(&key)?;
                Some(Object::InterfaceSysctl(object::InterfaceSysctl { value, ..it.clone() }))
            }
            Object::File(it) => self.file(it).map(Object::File),
            Object::Secret(it) => self.secret(it).then(|| recorded.clone()),
            Object::Credential(it) => self.credential(it).then(|| recorded.clone()),
            Object::Key(it) => {
                let key = pki::wireguard::private(&self.folder.pki(), &it.node);
                key.is_ok().then(|| recorded.clone())
            }
            Object::SharedKey(it) => {
                let key = pki::wireguard::shared(&self.folder.pki(), &it.tunnel);
                key.is_ok().then(|| recorded.clone())
            }
            Object::WireguardConf(it) => self.wireguard(it).then(|| recorded.clone()),
            Object::Service(it) => self.service(it).map(Object::Service),
            // These are certain already, or told by the kernel and the daemons all at once.
            Object::Lab(_)
            | Object::Init(_)
            | Object::Address(_)
            | Object::Route(_)
            | Object::Tunnel(_) => None,
        }
    }

    fn segment(&self, recorded: &object::Segment) -> Option<object::Segment> {
        let is_it = |link: &&Link| wiring::segment_of(link).as_ref() == Some(&recorded.name);
        // As long as a container is on it, the engine does not remove it.
        if recorded.link == SegmentLink::Network {
            return Some(recorded.clone());
        }
        // The ends of a pair are in nodes; each bears the mark. Where one is not to be seen, its node
        // has just ended, and the kernel is about to take the other end, too.
        if recorded.link == SegmentLink::Pair {
            let end = |end: &object::End| {
                let link = self.nodes.get(&end.node)?.link(&end.interface).filter(is_it)?;
                let mac = link.mac.unwrap_or(end.mac);
                Some(object::End { mac, mtu: link.mtu, ..end.clone() })
            };
            let ends = recorded.ends.iter().map(end).collect::<Option<_>>()?;
            return Some(object::Segment { ends, ..recorded.clone() });
        }
        let link = self.segments.iter().filter(is_it).find(|link| link.is_up)?;
        Some(object::Segment { mtu: link.mtu, ..recorded.clone() })
    }

    fn firewall(&mut self, recorded: &object::Firewall) -> Option<object::Firewall> {
        let found = firewall::look(&self.nodes.get(&recorded.node)?.node, &recorded.text);
        let id = Id::Firewall(recorded.node.clone());
        match found {
            Found::Unchanged => Some(recorded.clone()),
            Found::Changed(text) => {
                self.note(&id, "its table was changed by somebody else");
                Some(object::Firewall { text, ..recorded.clone() })
            }
            Found::Gone => None,
        }
    }

    fn file(&self, recorded: &object::File) -> Option<object::File> {
        let root = self.nodes.get(&recorded.node)?.node.root().ok()?;
        placing::look(&root, recorded, self.ids)
    }

    fn secret(&self, recorded: &object::Secret) -> bool {
        let secret = TunnelSecret::kept(&self.folder.pki(), recorded);
        let (Some(view), Some(secret)) = (self.nodes.get(&recorded.node), secret) else {
            return false;
        };
        let text = ipsec::secret_conf(&recorded.tunnel, recorded.ends, secret.text());
        view.has_file(&ipsec::secret_file(&recorded.tunnel), 0o600, text.as_bytes())
    }

    fn credential(&self, recorded: &object::Credential) -> bool {
        let Some(view) = self.nodes.get(&recorded.node) else { return false };
        let Ok(credential) = Credential::load(&self.folder.pki(), &recorded.node) else {
            return false;
        };
        let files = credential.files();
        credential.object() == recorded
            && files.iter().all(|it| view.has_file(&it.path, it.mode, it.content.as_bytes()))
    }

    /// Whether an interface into a WireGuard tunnel was told what it should, and not otherwise since. One
    /// that nobody answers for is not judged here.
    fn wireguard(&mut self, recorded: &object::WireguardConf) -> bool {
        let Some(view) = self.nodes.get(&recorded.node) else { return false };
        let Ok(conf) = wireguard::conf(recorded, &self.folder.pki()) else { return false };
        let path = conf_path(&recorded.interface);
        if !view.has_file(&path, 0o600, conf.to_text().as_bytes()) {
            return false;
        }
        let seen = wireguard::look(&view.node, &recorded.interface, recorded.encryption);
        let difference = seen.ok().and_then(|seen| seen.differs_from(&conf));
        if let Some(difference) = difference {
            let id = Id::File(recorded.node.clone(), path);
            self.note(&id, format!("{} was changed: {difference}", recorded.interface));
        }
        difference.is_none()
    }

    fn service(&mut self, recorded: &object::NodeService) -> Option<object::NodeService> {
        let services = &self.nodes.get(&recorded.node)?.services;
        let id = Id::Service(recorded.node.clone(), recorded.service.name.clone());
        let found = services.iter().find(|it| it.service.name == recorded.service.name);
        let Some(found) = found.cloned() else {
            self.note(&id, "its node's first process does not know it");
            return None;
        };
        match found.state {
            ServiceState::Failed(reason) => {
                self.note(&id, reason);
                self.observation.broken.insert(Object::Service(recorded.clone()));
                return None;
            }
            // It is not started again by us: what it lacks may be elsewhere.
            ServiceState::Unhealthy(reason) => {
                self.note(&id, format!("it is unhealthy: {reason}"));
                self.observation.unready.insert(recorded.node.clone());
            }
            ServiceState::Waiting | ServiceState::Starting => {
                self.note(&id, "it is not ready yet");
                self.observation.unready.insert(recorded.node.clone());
            }
            ServiceState::Ready | ServiceState::Done => {}
        }
        Some(object::NodeService { service: found.service, ..recorded.clone() })
    }

    /// Nodes whose certificate is revoked, whether they run or not.
    fn add_revoked(&mut self, recorded: &Objects) {
        let pki = self.folder.pki();
        let Ok(authority) = Authority::load(&pki) else { return };
        for (id, _) in recorded.iter() {
            let Id::Credential(node) = id else { continue };
            if Credential::load(&pki, node).is_ok_and(|it| authority.has_revoked(&it)) {
                self.observation.revoked.insert(node.clone());
                let hint = format!("`netarium pki renew {node}` issues another");
                self.note(id, format!("it is revoked: {hint}"));
            }
        }
    }

    /// What is there without a record, because a worker was killed before it wrote one: the lab that
    /// we are in, and the first processes of nodes. One that waits to be started ends with its
    /// worker, or says that it waits.
    fn add_certain(&mut self, lab: &Name) {
        let objects = &mut self.observation.objects;
        objects.insert(Object::Lab(object::Lab { name: lab.clone() }));
        for (node, _) in self.nodes.iter().filter(|(_, view)| view.is_open) {
            objects.insert(Object::Init(object::Init { node: node.clone() }));
        }
    }

    /// Addresses on our interfaces, and routes that bear our mark, whoever made them.
    fn add_unexpected(&mut self, recorded: &Objects) {
        let mut found = Vec::new();
        for (name, view) in self.nodes.iter().filter(|(it, _)| !recorded.leaves_to_programs(it)) {
            for (index, address) in &view.addresses {
                let Some(interface) = view.interface(*index) else { continue };
                let is_ours = Id::Interface(name.clone(), interface.clone());
                if self.observation.objects.contains(&is_ours) {
                    found.push(Object::Address(object::Address {
                        node: name.clone(),
                        interface,
                        address: *address,
                    }));
                }
            }
            for (to, via) in &view.routes {
                if let Some(via) = self.via(view, *via) {
                    found.push(Object::Route(object::Route { node: name.clone(), to: *to, via }));
                }
            }
        }
        found.into_iter().for_each(|object| self.observation.objects.insert(object));
    }

    fn via(&self, view: &NodeView, via: RouteVia) -> Option<Via> {
        Some(match via {
            RouteVia::Gateway(address, index) => {
                Via::Gateway { address, interface: view.interface(index)? }
            }
            RouteVia::Interface(index) => Via::Interface(view.interface(index)?),
            RouteVia::Unreachable => Via::Unreachable,
            RouteVia::Blackhole => Via::Blackhole,
            RouteVia::Prohibit => Via::Prohibit,
        })
    }

    /// Tunnels stand if both ends say so, of the same association.
    fn add_tunnels(&mut self, recorded: &Objects) -> Result<()> {
        let tunnels: Vec<&object::Tunnel> = recorded
            .iter()
            .filter_map(|(_, object)| match object {
                Object::Tunnel(tunnel) => Some(tunnel),
                _ => None,
            })
            .collect();
        let (tunnels, wireguard): (Vec<_>, Vec<_>) =
            tunnels.into_iter().partition(|it| it.tunnel.ipsec().is_some());
        for it in wireguard {
            match self.missing_wireguard(it) {
                None => self.observation.objects.insert(Object::Tunnel(it.clone())),
                Some(reason) => self.note(&Id::Tunnel(it.tunnel.name.clone()), reason),
            }
        }
        if tunnels.is_empty() {
            return Ok(());
        }
        let runtime = tunnels::runtime()?;
        let mut associations = BTreeMap::new();
        for it in tunnels {
            for node in [&it.tunnel.initiator.node, &it.tunnel.responder.node] {
                if let Some(view) = self.nodes.get(node)
                    && !associations.contains_key(node)
                {
                    let root = view.node.root_path();
                    let heard = runtime.block_on(async {
                        Ok((vici::list_sas(&root).await?, vici::list_traps(&root).await?))
                    });
                    associations.insert(node.clone(), heard);
                }
            }
            let reason = missing(it, &associations);
            match reason {
                None => self.observation.objects.insert(Object::Tunnel(it.clone())),
                Some(reason) => self.note(&Id::Tunnel(it.tunnel.name.clone()), reason),
            }
        }
        Ok(())
    }

    /// Why a WireGuard tunnel does not stand; `None` if both ends say that it does.
    fn missing_wireguard(&self, it: &object::Tunnel) -> Option<String> {
        let wireguard = it.tunnel.wireguard()?;
        for end in it.tunnel.ends() {
            let node = &end.node;
            let Some(view) = self.nodes.get(node) else {
                return Some(format!("{node} does not run"));
            };
            match wireguard::look(&view.node, &wireguard.interface, it.encryption) {
                Ok(seen) if seen.stands(wireguard::now()) => {}
                Ok(seen) => {
                    return Some(format!("{node} has no fresh key for it: {}", seen.traffic()));
                }
                Err(error) => return Some(format!("{node}: {}", Failure::of(&error))),
            }
        }
        None
    }
}

/// What each daemon says: its associations, and the tunnels that it opens when they are needed.
type Associations =
    BTreeMap<Name, std::result::Result<(Vec<Sa>, BTreeSet<String>), vici::TunnelError>>;

/// Why a tunnel does not stand, nor wait for something to carry; `None` if it does.
fn missing(it: &object::Tunnel, associations: &Associations) -> Option<String> {
    let mut sides = Vec::new();
    for node in [&it.tunnel.initiator.node, &it.tunnel.responder.node] {
        let carrying: Vec<&Sa> = match associations.get(node) {
            None => return Some(format!("{node} does not run")),
            Some(Err(_)) => return Some(format!("{CHARON} in {node} does not answer")),
            Some(Ok((_, traps))) if traps.contains(it.tunnel.name.as_str()) => continue,
            Some(Ok((sas, _))) => sas.iter().filter(|sa| sa.carries(&it.tunnel.name)).collect(),
        };
        if carrying.is_empty() {
            return Some(format!("{node} has no association for it"));
        }
        sides.push(carrying);
    }
    let [one, other] = sides.as_slice() else { return None };
    let joined = one.iter().any(|sa| other.iter().any(|other| sa.is_joined_to(other)));
    (!joined).then(|| "its two ends have different associations".to_owned())
}
