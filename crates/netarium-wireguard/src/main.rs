//! WireGuard in user space, one process for all WireGuard interfaces of a node.
//!
//! Its arguments are configuration files in the form of wg(8), each named after its interface. That
//! interface is a TUN device that is there already: routes and firewall were placed on it before,
//! and stay when this program ends. When everything is open it gives up what it does not need any
//! more. What it does then is said and changed as wg(8) does it, over the sockets of
//! <https://www.wireguard.com/xplatform/>.

mod privileges;
mod tun;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use gotatun::device::uapi::UapiServer;
use gotatun::device::{Device, DeviceBuilder, Peer};
use gotatun::udp::socket::UdpSocketFactory;
use gotatun::x25519::{PublicKey, StaticSecret};
use ipnetwork::IpNetwork;
use netarium_core::wireguard::{Conf, ConfError};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::timeout;

use tun::Tun;

/// What the kernel keeps of packets that we have not read yet, in bytes: with the default of 208 KiB
/// a fast TCP stream loses some.
const RECEIVE_BUFFER: usize = 4 << 20;

/// How long it is waited for the first answer before that is said.
const GREETING: Duration = Duration::from_secs(5);

type Wireguard = Device<(UdpSocketFactory, Tun, Tun)>;

/// Why an interface is not served.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{0} names no interface")]
    Name(PathBuf),
    #[error("cannot read {path}: {source}", path = path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{path}: {source}", path = path.display())]
    Conf { path: PathBuf, source: ConfError },
    #[error("cannot open the TUN device {name}: {source}")]
    Tun { name: String, source: io::Error },
    #[error("cannot listen to wg(8) for {name}: {reason}")]
    Socket { name: String, reason: String },
    #[error("{name}: {source}")]
    Device { name: String, source: gotatun::device::Error },
    #[error("the TUN device {name} is gone")]
    Gone { name: String },
    #[error("cannot give up privileges: {0}")]
    Privileges(io::Error),
    #[error("cannot begin: {0}")]
    Begin(io::Error),
}

/// An interface that is about to be served: everything that needs privileges is done.
struct Opened {
    name: String,
    conf: Conf,
    tun: File,
    mtu: u16,
}

fn main() -> ExitCode {
    let paths: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    if paths.is_empty() {
        eprintln!("usage: netarium-wireguard CONFIGURATION-FILE…");
        return ExitCode::from(2);
    }
    match run(&paths) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("netarium-wireguard: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(paths: &[PathBuf]) -> Result<(), Error> {
    let opened = paths.iter().map(|path| open(path)).collect::<Result<Vec<_>, _>>()?;
    // Before there are threads: the kernel takes privileges from each thread for itself.
    privileges::give_up().map_err(Error::Privileges)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(Error::Begin)?.block_on(serve(opened))
}

fn open(path: &Path) -> Result<Opened, Error> {
    let name = path.file_stem().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| Error::Name(path.to_owned()))?.to_owned();
    let text = std::fs::read_to_string(path)
        .map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let conf =
        Conf::parse(&text).map_err(|source| Error::Conf { path: path.to_owned(), source })?;
    let (tun, mtu) =
        tun::open(&name).map_err(|source| Error::Tun { name: name.clone(), source })?;
    Ok(Opened { name, conf, tun, mtu })
}

/// Serves all interfaces until it is told to end or one is gone.
async fn serve(opened: Vec<Opened>) -> Result<(), Error> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Begin)?;
    let mut devices = Vec::new();
    for one in opened {
        devices.push(start(one).await?);
    }
    let mut running = JoinSet::new();
    for (name, mut device, peer) in devices {
        running.spawn(async move {
            greet(&name, &device, &peer).await;
            device.wait().await;
            name
        });
    }
    tokio::select! {
        ended = running.join_next() => match ended {
            Some(Ok(name)) => Err(Error::Gone { name }),
            _ => Ok(()),
        },
        _ = terminate.recv() => Ok(()),
    }
}

async fn start(opened: Opened) -> Result<(String, Wireguard, PublicKey), Error> {
    let Opened { name, conf, tun, mtu } = opened;
    let tun = Tun::new(tun, mtu).map_err(|source| Error::Tun { name: name.clone(), source })?;
    let api = UapiServer::default_unix_socket(&name, None, None)
        .map_err(|error| Error::Socket { name: name.clone(), reason: error.to_string() })?;
    let peer = PublicKey::from(*conf.peer.bytes());
    let device = DeviceBuilder::new()
        .with_default_udp()
        .udp_recv_buffer_size(RECEIVE_BUFFER)
        .with_ip(tun)
        .with_private_key(StaticSecret::from(*conf.private.bytes()))
        .with_listen_port(conf.port)
        .with_peer(peer_of(&conf, peer))
        .with_uapi(api)
        .build()
        .await
        .map_err(|source| Error::Device { name: name.clone(), source })?;
    eprintln!("{name} listens to UDP port {}, its peer is {}", conf.port, conf.endpoint);
    Ok((name, device, peer))
}

/// Whichever end comes second finds the first one listening: nobody waits for a second try. Later
/// tries are made by the library itself.
async fn greet(name: &str, device: &Wireguard, peer: &PublicKey) {
    match timeout(GREETING, device.force_handshake(peer)).await {
        Ok(Ok(())) => eprintln!("{name} has shaken hands with its peer"),
        Ok(Err(error)) => eprintln!("{name} cannot shake hands with its peer: {error}"),
        Err(_) => eprintln!("{name} has no answer from its peer yet"),
    }
}

fn peer_of(conf: &Conf, key: PublicKey) -> Peer {
    let networks = conf
        .carry
        .iter()
        .filter_map(|prefix| IpNetwork::new(prefix.addr(), prefix.prefix_len()).ok());
    let mut peer = Peer::new(key).with_endpoint(conf.endpoint).with_allowed_ips(networks);
    peer.keepalive = Some(conf.keepalive);
    peer.preshared_key = conf.preshared.as_ref().map(|key| *key.bytes());
    peer
}
