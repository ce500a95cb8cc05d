//! Prefixes for networks that name none, and addresses for services that name none: the first that
//! are free, in the order written, so that the same file always gives the same.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::networks::{Network, Pool};
use crate::problem::{Placed, Problem, Problems};

/// Gives every network a prefix of each family that it has and says nothing of.
pub(super) fn choose_prefixes(networks: &mut [Network], problems: &mut Problems) {
    let mut taken: Vec<IpNet> =
        networks.iter().flat_map(|it| &it.pools).map(|pool| pool.subnet.value).collect();
    for network in networks {
        let place = network.key.place;
        let has = |is_ipv4: bool| {
            network.pools.iter().any(|pool| pool.subnet.addr().is_ipv4() == is_ipv4)
        };
        let (v4, v6) = (!has(true), network.ipv6 && !has(false));
        let chosen = [(v4, free(candidates_v4(), &taken)), (v6, free(candidates_v6(), &taken))];
        for (is_asked, prefix) in chosen {
            match prefix {
                Some(value) if is_asked => {
                    taken.push(value);
                    let subnet = Placed { value, place };
                    let reserved = BTreeSet::new();
                    network.pools.push(Pool { subnet, gateway: None, range: None, reserved });
                }
                None if is_asked => {
                    let message = format!("there is no prefix left for {}", network.key.value);
                    problems.add(Problem::new(message).at(place).hint("give it an ipam config"));
                }
                _ => {}
            }
        }
    }
}

/// The pools that Docker takes prefixes from, in its order
/// (<https://docs.docker.com/engine/daemon/#default-address-pools>).
fn candidates_v4() -> impl Iterator<Item = IpNet> {
    let large = (18_u8..32).map(|second| (Ipv4Addr::new(172, second, 0, 0), 16));
    let small = (0_u8..16).map(|third| (Ipv4Addr::new(192, 168, third << 4, 0), 20));
    // Docker has no more; a lab may.
    let more = (0_u8..=255).map(|third| (Ipv4Addr::new(10, 255, third, 0), 24));
    let all = large.chain(small).chain(more);
    all.filter_map(|(address, length)| Ipv4Net::new(address, length).ok()).map(IpNet::from)
}

/// Local prefixes (RFC 4193) of Netarium's own.
fn candidates_v6() -> impl Iterator<Item = IpNet> {
    let address = |number| Ipv6Addr::new(0xfd6e, 0x6574, 0x636f, number, 0, 0, 0, 0);
    (1_u16..=1024).filter_map(move |it| Ipv6Net::new(address(it), 64).ok()).map(IpNet::from)
}

fn free(mut candidates: impl Iterator<Item = IpNet>, taken: &[IpNet]) -> Option<IpNet> {
    candidates.find(|it| taken.iter().all(|other| !overlap(it, other)))
}

fn overlap(one: &IpNet, other: &IpNet) -> bool {
    one.contains(&other.network()) || other.contains(&one.network())
}

/// One prefix of a network, with what of it is taken.
#[derive(Debug)]
pub(super) struct Supply {
    subnet: IpNet,
    range: IpNet,
    taken: BTreeSet<IpAddr>,
    next: IpAddr,
    /// The router of whoever has no other.
    pub(super) gateway: Placed<IpAddr>,
}

impl Supply {
    /// A pool of which these addresses are taken. Without a word about it, the first address is the
    /// router's, as Docker has it.
    pub(super) fn of(pool: &Pool, taken: impl IntoIterator<Item = IpAddr>) -> Option<Self> {
        let subnet = pool.subnet.value;
        let range = pool.range.unwrap_or(subnet);
        let first = fit(range.network(), &subnet)?;
        let gateway = pool.gateway.clone();
        let gateway = gateway.unwrap_or(Placed { value: first, place: pool.subnet.place });
        let taken = taken.into_iter().chain(pool.reserved.iter().copied());
        let taken = taken.chain([gateway.value]).collect();
        Some(Self { subnet, range, taken, next: first, gateway })
    }

    /// Whether it has this address.
    pub(super) fn has(&self, address: IpAddr) -> bool {
        self.subnet.contains(&address)
    }

    /// The family.
    pub(super) fn is_ipv4(&self) -> bool {
        self.subnet.addr().is_ipv4()
    }

    /// The prefix.
    pub(super) fn subnet(&self) -> IpNet {
        self.subnet
    }

    /// The next address that nobody has.
    pub(super) fn take(&mut self) -> Option<IpAddr> {
        loop {
            let address = self.next;
            if !self.range.contains(&address) || fit(address, &self.subnet) != Some(address) {
                return None;
            }
            self.next = after(address)?;
            if self.taken.insert(address) {
                return Some(address);
            }
        }
    }
}

/// The first address from here on that a node can have.
fn fit(address: IpAddr, subnet: &IpNet) -> Option<IpAddr> {
    let is_first = address == subnet.network();
    let is_alone = subnet.prefix_len() == subnet.max_prefix_len();
    let is_pair = subnet.prefix_len() + 1 == subnet.max_prefix_len();
    if is_alone || (is_pair && address.is_ipv4()) {
        return Some(address);
    }
    if is_first {
        return after(address).filter(|it| subnet.contains(it));
    }
    let is_last = address.is_ipv4() && address == subnet.broadcast();
    (!is_last).then_some(address)
}

fn after(address: IpAddr) -> Option<IpAddr> {
    Some(match address {
        IpAddr::V4(address) => Ipv4Addr::from(u32::from(address).checked_add(1)?).into(),
        IpAddr::V6(address) => Ipv6Addr::from(u128::from(address).checked_add(1)?).into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Place;

    fn pool(subnet: &str, range: Option<&str>) -> Pool {
        Pool {
            subnet: Placed { value: subnet.parse().unwrap(), place: Place::default() },
            gateway: None,
            range: range.map(|it| it.parse().unwrap()),
            reserved: BTreeSet::new(),
        }
    }

    fn all(pool: &Pool, taken: &[&str], most: usize) -> Vec<String> {
        let taken = taken.iter().map(|it| it.parse().unwrap());
        let mut supply = Supply::of(pool, taken).unwrap();
        std::iter::from_fn(|| supply.take()).take(most).map(|it| it.to_string()).collect()
    }

    #[test]
    fn addresses_are_given_in_their_order_without_those_that_are_taken() {
        let small = pool("10.0.0.0/29", None);
        assert_eq!(all(&small, &["10.0.0.3"], 9), ["10.0.0.2", "10.0.0.4", "10.0.0.5", "10.0.0.6"]);
        let range = pool("10.0.0.0/24", Some("10.0.0.128/30"));
        assert_eq!(all(&range, &[], 9), ["10.0.0.129", "10.0.0.130", "10.0.0.131"]);
        assert_eq!(all(&pool("fd00::/64", None), &[], 2), ["fd00::2", "fd00::3"]);
        assert_eq!(all(&pool("10.0.0.1/32", None), &[], 2), [""; 0]);
    }
}
