//! Networks of the engine's own in place of segments of ours: made before the first container is, removed
//! after the last.
//!
//! A macvlan network needs a parent link in the network namespace of the engine, which is the host's unless
//! the engine runs elsewhere. It gets one end of a veth pair of ours, so that hosts without dummy links have
//! one, too, and so that its MTU can be chosen. Who holds the other end of the engine's socket tells where
//! that namespace is.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use bollard::models::{
    EndpointIpamConfig, EndpointSettings, Ipam, IpamConfig, NetworkConnectRequest,
    NetworkCreateRequest,
};
use bollard::query_parameters::ListNetworksOptions;
use ipnet::IpNet;
use netarium_core::engine_network::{EngineDriver, EngineNetwork};
use netarium_core::name::Name;
use netarium_core::object::{self, Object, Port, SegmentLink};
use netarium_core::plan::Step;

use super::client::{Client, is_conflict, is_missing};
use super::error::EngineError;
use super::form::{DATA, LAB};
use crate::engine::native::wiring::{delete, link_name};
use crate::linux::namespace::NetworkNamespace;
use crate::linux::netlink::{Kind, Netlink, NetlinkError, NewLink};
use crate::linux::packet;

/// The label that names the segment.
const SEGMENT: &str = "io.netarium.segment";

/// How much of the name of a parent says whose it is. Its rank fits behind that: the kernel's names have 15
/// bytes.
const OF_LAB: usize = 11;

type Result<T> = std::result::Result<T, EngineError>;

/// The networks of one lab.
pub(crate) struct Networks<'a> {
    pub(crate) client: &'a Client,
    pub(crate) lab: &'a Name,
    /// The data folder of its owner: labs of other folders are others.
    pub(crate) data: PathBuf,
}

/// How a container is put on a network.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) network: String,
    addresses: Vec<IpNet>,
}

impl Endpoint {
    pub(super) fn settings(&self) -> EndpointSettings {
        let of = |is_ipv4: bool| {
            let found = self.addresses.iter().find(|it| it.addr().is_ipv4() == is_ipv4);
            found.map(|it| it.addr().to_string())
        };
        EndpointSettings {
            ipam_config: Some(EndpointIpamConfig {
                ipv4_address: of(true),
                ipv6_address: of(false),
                ..EndpointIpamConfig::default()
            }),
            ..EndpointSettings::default()
        }
    }

    /// Puts a container that was not started yet on the network.
    pub(super) async fn join(&self, client: &Client, container: &str) -> Result<()> {
        let request = NetworkConnectRequest {
            container: container.to_owned(),
            endpoint_config: Some(self.settings()),
        };
        let joined = client.docker.connect_network(&self.network, request).await;
        joined.map_err(client.refused(format!("put {container} on network {}", self.network)))
    }
}

/// The networks that each node is on, in the order of its interfaces, as the steps and what is there say.
pub(crate) fn endpoints(
    lab: &Name,
    steps: &[Step],
    networks: &BTreeMap<Name, EngineNetwork>,
) -> BTreeMap<Name, Vec<Endpoint>> {
    let mut all: BTreeMap<Name, Vec<Endpoint>> = BTreeMap::new();
    let created = || {
        steps.iter().filter_map(|step| match step {
            Step::Create(object) => Some(object),
            _ => None,
        })
    };
    for object in created() {
        let Object::Interface(it) = object else { continue };
        let Some(network) = networks.get(&it.segment).filter(|_| it.port == Port::Network) else {
            continue;
        };
        let addresses = created().filter_map(|object| match object {
            Object::Address(address) if address.node == it.node && address.interface == it.name => {
                Some(address.address)
            }
            _ => None,
        });
        let endpoint =
            Endpoint { network: network.name(lab, &it.segment), addresses: addresses.collect() };
        all.entry(it.node.clone()).or_default().push(endpoint);
    }
    for endpoints in all.values_mut() {
        endpoints.sort_by(|one, other| one.network.cmp(&other.network));
    }
    all
}

impl Networks<'_> {
    /// The prefixes that the engine has in use for others, each with the name of its network.
    ///
    /// # Errors
    /// If the engine does not tell.
    pub(crate) async fn of_others(&self) -> Result<Vec<(String, IpNet)>> {
        let mut found = Vec::new();
        for network in self.list(HashMap::new()).await? {
            let labels = network.labels.unwrap_or_default();
            let name = network.name.unwrap_or_default();
            if self.labels().iter().all(|(key, value)| labels.get(*key) == Some(value)) {
                continue;
            }
            let configs = network.ipam.and_then(|it| it.config).unwrap_or_default();
            let prefixes = configs.into_iter().filter_map(|it| it.subnet?.parse().ok());
            found.extend(prefixes.map(|prefix: IpNet| (name.clone(), prefix)));
        }
        Ok(found)
    }

    /// Makes the networks of the segments that are to be made.
    ///
    /// # Errors
    /// The first that could not be made.
    pub(crate) async fn make(&self, steps: &[Step]) -> Result<()> {
        for step in steps {
            let Step::Create(Object::Segment(segment)) = step else { continue };
            if let (SegmentLink::Network, Some(network)) = (segment.link, &segment.network) {
                self.make_one(segment, network).await?;
            }
        }
        Ok(())
    }

    async fn make_one(&self, segment: &object::Segment, network: &EngineNetwork) -> Result<()> {
        let name = network.name(self.lab, &segment.name);
        let mut options = HashMap::new();
        match network.driver {
            EngineDriver::Macvlan => {
                let parent = self.parent(network);
                self.in_engine(|netlink| make_parent(netlink, &parent, segment.mtu))?;
                options.insert("parent".to_owned(), parent.inner);
            }
            EngineDriver::Bridge => {
                let mtu = segment.mtu.to_string();
                options.insert("com.docker.network.driver.mtu".to_owned(), mtu);
            }
        }
        let request = self.request(&name, segment, network, options);
        let made = match self.client.docker.create_network(request.clone()).await {
            Err(error) if is_conflict(&error) => {
                // One that was not taken away.
                self.remove_one(&name).await?;
                self.client.docker.create_network(request).await
            }
            result => result,
        };
        made.map(drop).map_err(self.client.refused(format!("create network {name}")))
    }

    fn request(
        &self,
        name: &str,
        segment: &object::Segment,
        network: &EngineNetwork,
        options: HashMap<String, String>,
    ) -> NetworkCreateRequest {
        let config = network.subnets.iter().map(|(prefix, gateway)| IpamConfig {
            subnet: Some(prefix.to_string()),
            gateway: Some(gateway.to_string()),
            ..IpamConfig::default()
        });
        let mut labels: HashMap<String, String> =
            self.labels().into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        labels.insert(SEGMENT.to_owned(), segment.name.to_string());
        NetworkCreateRequest {
            name: name.to_owned(),
            driver: Some(network.driver.as_str().to_owned()),
            // Where nodes send packets is for the lab to say, not for the engine.
            internal: Some(true),
            enable_ipv6: Some(network.subnets.iter().any(|(prefix, _)| prefix.addr().is_ipv6())),
            ipam: Some(Ipam { config: Some(config.collect()), ..Ipam::default() }),
            options: Some(options),
            labels: Some(labels),
            ..NetworkCreateRequest::default()
        }
    }

    /// Removes every network that bears the labels of this lab, and the parents of all. Says whether there
    /// was a network. Parents are there before their networks: they are looked for where a network is, or
    /// where the lab is `on_record` as one that has them.
    ///
    /// # Errors
    /// If the engine does not let go of one.
    pub(crate) async fn remove_all(&self, on_record: Recorded) -> Result<bool> {
        let wanted = self.labels().map(|(key, value)| format!("{key}={value}"));
        let filters = HashMap::from([("label".to_owned(), wanted.to_vec())]);
        let found = self.list(filters).await?;
        for network in &found {
            self.remove_one(network.name.as_deref().unwrap_or_default()).await?;
        }
        if !found.is_empty() || on_record == Recorded::WithNetworks {
            let whose = self.parents();
            self.in_engine(|netlink| remove_parents(netlink, &whose))?;
        }
        Ok(!found.is_empty())
    }

    async fn remove_one(&self, name: &str) -> Result<()> {
        match self.client.docker.remove_network(name).await {
            Err(error) if is_missing(&error) => Ok(()),
            result => result.map_err(self.client.refused(format!("remove network {name}"))),
        }
    }

    async fn list(
        &self,
        filters: HashMap<String, Vec<String>>,
    ) -> Result<Vec<bollard::models::Network>> {
        let options = ListNetworksOptions { filters: Some(filters) };
        let listed = self.client.docker.list_networks(Some(options)).await;
        listed.map_err(self.client.refused("list its networks"))
    }

    fn labels(&self) -> [(&'static str, String); 2] {
        [(LAB, self.lab.to_string()), (DATA, self.data.display().to_string())]
    }

    /// What the names of all parents of the lab begin with. They have to be found by their names: a call
    /// that was killed has had no time to mark them.
    fn parents(&self) -> String {
        let mut name = link_name('m', &format!("{}/{}", self.data.display(), self.lab));
        name.truncate(OF_LAB);
        name
    }

    fn parent(&self, network: &EngineNetwork) -> Parent {
        let inner = format!("{}{:03x}", self.parents(), network.rank);
        Parent { outer: inner.replacen('m', "n", 1), inner }
    }

    /// Does something in the network namespace that the engine is in.
    fn in_engine(
        &self,
        work: impl FnOnce(&mut Netlink) -> std::result::Result<(), NetlinkError> + Send,
    ) -> Result<()> {
        let unreachable =
            |source| EngineError::Namespace { place: self.client.place.clone(), source };
        let namespace = self.client.place.network().map_err(unreachable)?;
        let done = namespace.enter(|| work(&mut Netlink::open()?)).map_err(unreachable)?;
        let place = || self.client.place.clone();
        done.map_err(|error| EngineError::Parent { place: place(), source: error.into() })
    }
}

/// Whether a lab is known to have networks of the engine's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recorded {
    /// It is.
    WithNetworks,
    /// It has segments of ours, or nothing is known of it.
    Without,
}

/// The two ends of a veth pair.
struct Parent {
    inner: String,
    outer: String,
}

/// What a worker that was killed has left is removed first.
fn make_parent(
    netlink: &mut Netlink,
    parent: &Parent,
    mtu: u32,
) -> std::result::Result<(), NetlinkError> {
    delete(netlink, &parent.inner)?;
    let link = NewLink { mtu: Some(mtu), ..NewLink::named(&parent.inner) };
    let peer = NewLink { mtu: Some(mtu), ..NewLink::named(&parent.outer) };
    netlink.add_link(&link, Kind::Veth(&peer))?;
    let outer = netlink.index(&parent.outer)?;
    netlink.set_up(outer)
}

/// Removes all links whose names begin like this, with their other ends.
fn remove_parents(netlink: &mut Netlink, whose: &str) -> std::result::Result<(), NetlinkError> {
    let links = netlink.links()?;
    let parents = links.iter().filter(|link| link.name.starts_with(whose));
    parents.into_iter().try_for_each(|link| delete(netlink, &link.name))
}

/// The network namespace of whoever listens at a socket.
///
/// # Errors
/// If nobody does, or it cannot be seen from here.
pub(super) fn of_listener(path: &str) -> io::Result<NetworkNamespace> {
    let socket = UnixStream::connect(path)?.into();
    let unseen = || io::Error::other("it runs where its processes cannot be seen");
    NetworkNamespace::of(packet::peer(&socket)?.ok_or_else(unseen)?)
}
