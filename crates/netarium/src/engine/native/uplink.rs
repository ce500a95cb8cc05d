//! The router between a lab and the host: in the lab's own network namespace, with the segment of the
//! way out on one side and the TAP device of [`super::pasta`] on the other. It is told what to let
//! through by rules of core; nothing is chosen here.

use std::fs;
use std::io;
use std::path::PathBuf;

use ipnet::IpNet;
use netarium_core::address::Mac;
use netarium_core::model::{UPLINK, Via};
use netarium_core::name::InterfaceName;
use netarium_core::object::Uplink;
use netarium_core::uplink::{Transit, rules};

use super::firewall::{self, FirewallError, Found, Place};
use super::pasta;
use super::wiring::link_name;
use crate::folder::LabFolder;
use crate::linux::namespace::NetworkNamespace;
use crate::linux::netlink::{Link, Netlink, NetlinkError};

/// The router's hardware address on the segment. Without one of its own, a bridge changes it with its
/// ports, and nodes lose their gateway for a while.
const MAC: [u8; 6] = [0x02, 0x6e, 0x65, 0x74, 0x61, 0x01];

/// The largest packet to and from pasta.
const MTU: u32 = 1500;

/// Why the router was not set up or taken away.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UplinkError {
    #[error("cannot set up the links of the way out")]
    Netlink(#[from] NetlinkError),
    #[error(transparent)]
    Rules(#[from] FirewallError),
    #[error("cannot find the lab's network namespace")]
    Namespace(#[source] io::Error),
    #[error("cannot write {}", path.display())]
    Setting { path: PathBuf, source: io::Error },
    #[error("cannot end the last pasta")]
    Kill(#[source] io::Error),
    #[error("cannot remove {}", path.display())]
    Remove { path: PathBuf, source: io::Error },
}

type Result<T> = std::result::Result<T, UplinkError>;

/// Sets everything up that pasta does not bring: its rules are there before it is.
///
/// # Errors
/// If the kernel refuses something.
pub(crate) fn prepare(folder: &LabFolder, netlink: &mut Netlink, uplink: &Uplink) -> Result<()> {
    // A worker that was killed may have left one.
    pasta::kill(folder).map_err(UplinkError::Kill)?;
    let link = link_name('s', UPLINK);
    let index = netlink.index(&link)?;
    netlink.settle_link(index, Mac::new(MAC).ok(), MTU)?;
    keep_bridges_apart()?;
    write_settings(&link, has_ipv6(uplink), &[("route_localnet", "1")])?;
    for address in &uplink.gateways {
        add_address(netlink, index, *address)?;
    }
    if has_ipv6(uplink) {
        netlink.take_loopback(index)?;
    }
    let namespace = NetworkNamespace::of_caller().map_err(UplinkError::Namespace)?;
    let place = Place { namespace: &namespace, record: folder.uplink_rules() };
    Ok(firewall::load_one(&place, &rules(uplink, &link))?)
}

/// Joins the router to pasta's device, which is there by now.
///
/// # Errors
/// If it is not, or the kernel refuses something.
pub(crate) fn finish(netlink: &mut Netlink, uplink: &Uplink) -> Result<()> {
    let index = netlink.index(UPLINK)?;
    write_settings(UPLINK, has_ipv6(uplink), &[])?;
    netlink.settle_link(index, None, MTU)?;
    for prefix in &uplink.transit {
        add_address(netlink, index, Transit::Near.within(prefix))?;
        let Ok(interface) = InterfaceName::new(UPLINK) else { continue };
        let via = Via::Gateway { address: Transit::Far.within(prefix).addr(), interface };
        let any = if prefix.addr().is_ipv4() { [0; 4].into() } else { [0_u16; 8].into() };
        let everything = IpNet::new(any, 0).expect("0 is a length of both families");
        netlink.set_route(everything, &via, Some(index))?;
    }
    Ok(())
}

/// Takes the way out away, except its segment. Fine if some of it is gone already.
///
/// # Errors
/// If the kernel refuses something.
pub(crate) fn remove(folder: &LabFolder, netlink: &mut Netlink, uplink: &Uplink) -> Result<()> {
    pasta::kill(folder).map_err(UplinkError::Kill)?;
    match netlink.index(&link_name('s', UPLINK)) {
        Ok(index) => {
            for address in &uplink.gateways {
                gone_is_fine(netlink.delete_address(index, *address))?;
            }
        }
        result => gone_is_fine(result.map(drop))?,
    }
    let namespace = NetworkNamespace::of_caller().map_err(UplinkError::Namespace)?;
    firewall::unload_one(&Place { namespace: &namespace, record: folder.uplink_rules() })?;
    for path in [folder.uplink_rules(), folder.uplink_log()] {
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(UplinkError::Remove { path, source });
            }
            _ => {}
        }
    }
    Ok(())
}

/// What is wrong with the way out; `None` if nothing is. `links` and `addresses` are those of the lab's
/// own network namespace, which the caller is in.
pub(crate) fn look(
    folder: &LabFolder,
    links: &[Link],
    addresses: &[(u32, IpNet)],
    uplink: &Uplink,
) -> Option<String> {
    if !pasta::is_alive(folder) {
        let last = pasta::last_words(folder, 1);
        return Some(match last.first() {
            Some(line) => format!("pasta has ended: {line}"),
            None => "pasta has ended".to_owned(),
        });
    }
    let has = |name: &str, address: IpNet| {
        let index = links.iter().find(|it| it.name == name && it.is_up).map(|it| it.index);
        index.is_some_and(|index| addresses.contains(&(index, address)))
    };
    let link = link_name('s', UPLINK);
    let near = uplink.gateways.iter().all(|it| has(&link, *it));
    if !near || !uplink.transit.iter().all(|it| has(UPLINK, Transit::Near.within(it))) {
        return Some("its links or addresses were changed by somebody else".to_owned());
    }
    let Ok(namespace) = NetworkNamespace::of_caller() else {
        return Some("its rules cannot be looked at".to_owned());
    };
    let place = Place { namespace: &namespace, record: folder.uplink_rules() };
    match firewall::look_at(&place, &rules(uplink, &link)) {
        Found::Unchanged => None,
        Found::Changed(_) | Found::Gone => {
            Some("its rules were changed by somebody else".to_owned())
        }
    }
}

fn has_ipv6(uplink: &Uplink) -> bool {
    uplink.gateways.iter().any(|it| it.addr().is_ipv6())
}

fn add_address(netlink: &mut Netlink, index: u32, address: IpNet) -> Result<()> {
    match netlink.add_address(index, address) {
        Err(error) if error.is(libc::EEXIST) => Ok(()),
        result => Ok(result?),
    }
}

fn gone_is_fine(result: std::result::Result<(), NetlinkError>) -> Result<()> {
    match result {
        Err(error) if error.is(libc::ENODEV) || error.is(libc::EADDRNOTAVAIL) => Ok(()),
        result => Ok(result?),
    }
}

/// What goes over a bridge is none of a router's business, but where br_netfilter is loaded, the
/// kernel shows it to the rules.
fn keep_bridges_apart() -> Result<()> {
    for family in ["iptables", "ip6tables", "arptables"] {
        let key = format!("net/bridge/bridge-nf-call-{family}");
        if PathBuf::from("/proc/sys").join(&key).exists() {
            write_setting(&key, "0")?;
        }
    }
    Ok(())
}

/// Makes a link one that packets are forwarded from. No other link of the namespace is.
fn write_settings(link: &str, ipv6: bool, more: &[(&str, &str)]) -> Result<()> {
    write_setting("net/ipv4/conf/all/rp_filter", "0")?;
    for (key, value) in [("forwarding", "1"), ("rp_filter", "0")].iter().chain(more) {
        write_setting(&format!("net/ipv4/conf/{link}/{key}"), value)?;
    }
    if ipv6 {
        // IPv6 is switched off on every other link here.
        write_setting("net/ipv6/conf/all/forwarding", "1")?;
        for (key, value) in [("accept_ra", "0"), ("accept_dad", "0"), ("disable_ipv6", "0")] {
            write_setting(&format!("net/ipv6/conf/{link}/{key}"), value)?;
        }
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a file of /proc is written, not replaced")]
fn write_setting(key: &str, value: &str) -> Result<()> {
    let path = PathBuf::from("/proc/sys").join(key);
    fs::write(&path, value).map_err(|source| UplinkError::Setting { path, source })
}
