//! Interfaces: their names, hardware addresses, MTUs and addresses.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::{Context, lookup, segments};
use crate::address::Mac;
use crate::model::{Interface, Segment};
use crate::name::{InterfaceName, Name};
use crate::problem::{Place, Placed, Problem, Problems};
use crate::spec::{self, Word};

/// What of each segment is taken, by which node and where.
#[derive(Default)]
pub(super) struct Taken {
    addresses: BTreeMap<(Name, IpAddr), (Name, Place)>,
    macs: BTreeMap<(Name, Mac), (Name, Place)>,
}

/// The interfaces of a node, and whether something about them is missing.
pub(super) fn resolve(
    node: &Name,
    written: &spec::Node,
    context: &Context<'_>,
    taken: &mut Taken,
    problems: &mut Problems,
) -> (Vec<Interface>, bool) {
    let mut interfaces = Vec::new();
    let mut broken = false;
    let mut named: BTreeMap<InterfaceName, Place> = BTreeMap::new();
    for (index, written) in written.interfaces.iter().enumerate() {
        let name = name(index, written, problems);
        if let Some(name) = &name {
            let place = written.name.as_ref().map_or(written.segment.place, |word| word.place);
            if let Some(first) = named.insert(name.clone(), place) {
                let message = format!("two interfaces of {node} are called {name}");
                let hint = "without a name they are eth0, eth1, … in the order written";
                let problem = Problem::new(message).at(place).hint(hint);
                problems.add(problem.note(first, "the first is here"));
            }
        }
        match interface(node, name, written, context, taken, problems) {
            Some((interface, whole)) => {
                broken |= !whole;
                interfaces.push(interface);
            }
            None => broken = true,
        }
    }
    (interfaces, broken)
}

fn name(index: usize, written: &spec::Interface, problems: &mut Problems) -> Option<InterfaceName> {
    let Some(word) = &written.name else {
        return InterfaceName::new(&format!("eth{index}")).ok();
    };
    match InterfaceName::new(word) {
        Ok(name) => Some(name),
        Err(error) => {
            let message = format!("{:?} is no name for an interface", word.value);
            problems.add(Problem::new(message).at(word.place).hint(error.to_string()));
            None
        }
    }
}

/// One interface, and whether all of its addresses are there.
fn interface(
    node: &Name,
    name: Option<InterfaceName>,
    written: &spec::Interface,
    context: &Context<'_>,
    taken: &mut Taken,
    problems: &mut Problems,
) -> Option<(Interface, bool)> {
    let explicit = written.mac.as_ref().map(|word| mac(word, problems));
    let segment_name = context.segment_names.find(&written.segment, problems)?;
    let segment = context.segments.get(&segment_name)?;
    let on = Placed { value: segment_name.clone(), place: written.segment.place };
    let found: Vec<_> =
        written.addresses.iter().map(|word| address(word, &on, segment, problems)).collect();
    let whole = found.iter().all(Option::is_some);
    for address in found.iter().flatten() {
        taken.address(&on, address, node, problems);
    }
    let addresses: Vec<IpNet> = found.iter().flatten().map(|address| address.value).collect();
    let mtu = mtu(written, segment, &on, &addresses, problems);
    let name = name?;
    let mac = match explicit {
        Some(mac) => mac?,
        None => {
            Placed { value: Mac::derive(&context.lab, node, &name), place: written.segment.place }
        }
    };
    taken.mac(&on, &mac, node, problems);
    let aliases = lookup::aliases(node, &written.aliases, &context.node_names, problems);
    let (segment, mac) = (segment_name, mac.value);
    Some((Interface { name, segment, mac, mtu, addresses, aliases }, whole))
}

fn mac(word: &Word, problems: &mut Problems) -> Option<Placed<Mac>> {
    match Mac::parse(word) {
        Ok(value) => Some(Placed { value, place: word.place }),
        Err(error) => {
            let problem =
                Problem::new(format!("{} is no MAC address for an interface", word.value));
            problems.add(problem.at(word.place).hint(error.to_string()));
            None
        }
    }
}

fn mtu(
    written: &spec::Interface,
    segment: &Segment,
    on: &Name,
    addresses: &[IpNet],
    problems: &mut Problems,
) -> u32 {
    let ipv6 = addresses.iter().any(|address| address.addr().is_ipv6());
    let Some(mtu) = &written.mtu else {
        // A segment with prefixes knows by itself whether it has IPv6.
        if segment.prefixes.is_empty() && ipv6 {
            let mtu = Placed { value: segment.mtu, place: written.segment.place };
            segments::check_mtu(&mtu, ipv6, problems);
        }
        return segment.mtu;
    };
    segments::check_mtu(mtu, ipv6, problems);
    if mtu.value > segment.mtu {
        let message = format!("an mtu of {} is more than segment {on} has", mtu.value);
        let hint = format!("segment {on} has {}", segment.mtu);
        problems.add(Problem::new(message).at(mtu.place).hint(hint));
    }
    mtu.value
}

/// An address of an interface, with the length of the segment's prefix that it is in.
fn address(
    word: &Word,
    on: &Name,
    segment: &Segment,
    problems: &mut Problems,
) -> Option<Placed<IpNet>> {
    let (address, length) = match (word.parse::<IpAddr>(), word.parse::<IpNet>()) {
        (Ok(address), _) => (address, None),
        (_, Ok(net)) => (net.addr(), Some(net.prefix_len())),
        _ => {
            let problem = Problem::new(format!("{} is no address", word.value)).at(word.place);
            problems.add(problem.hint("write 10.0.0.1 or fd00::1"));
            return None;
        }
    };
    let net = match segment.prefixes.iter().find(|prefix| prefix.contains(&address)) {
        Some(prefix) => inside(address, length, *prefix),
        None => outside(address, length, on, segment),
    };
    match net.and_then(usable) {
        Ok(value) => Some(Placed { value, place: word.place }),
        Err(problem) => {
            problems.add(problem.at(word.place));
            None
        }
    }
}

fn inside(address: IpAddr, length: Option<u8>, prefix: IpNet) -> Result<IpNet, Problem> {
    if length.is_some_and(|length| length != prefix.prefix_len()) {
        let message = format!("{address} is on {prefix}, which has another length");
        return Err(Problem::new(message).hint(format!("write {address}")));
    }
    IpNet::new(address, prefix.prefix_len()).map_err(|error| Problem::new(error.to_string()))
}

fn outside(
    address: IpAddr,
    length: Option<u8>,
    on: &Name,
    segment: &Segment,
) -> Result<IpNet, Problem> {
    if !segment.prefixes.is_empty() {
        let prefixes: Vec<String> = segment.prefixes.iter().map(IpNet::to_string).collect();
        let message = format!("{address} is outside of segment {on}");
        let hint = format!("segment {on} has {}", prefixes.join(" and "));
        return Err(Problem::new(message).hint(hint));
    }
    let length = length.ok_or_else(|| {
        let example = if address.is_ipv4() { 24 } else { 64 };
        Problem::new(format!("segment {on} has no prefix, so {address} needs a length"))
            .hint(format!("write {address}/{example} for example"))
    })?;
    IpNet::new(address, length).map_err(|error| Problem::new(error.to_string()))
}

/// Refuses the addresses that mean something else on a link.
fn usable(net: IpNet) -> Result<IpNet, Problem> {
    let address = net.addr();
    let roomy = net.addr().is_ipv4() && net.prefix_len() < 31;
    let reason = if segments::unfit(address) {
        "no interface can have it".to_owned()
    } else if roomy && address == net.network() {
        format!("it is the network address of {}", net.trunc())
    } else if roomy && address == net.broadcast() {
        format!("it is the broadcast address of {}", net.trunc())
    } else {
        return Ok(net);
    };
    Err(Problem::new(format!("{address} is no address for a node")).hint(reason))
}

impl Taken {
    fn address(
        &mut self,
        segment: &Name,
        address: &Placed<IpNet>,
        node: &Name,
        problems: &mut Problems,
    ) {
        let key = (segment.clone(), address.addr());
        match self.addresses.get(&key) {
            Some((owner, first)) => {
                let message = format!("{} is taken on segment {segment}", address.addr());
                problems.add(repeated(message, owner, *first, address.place));
            }
            None => {
                self.addresses.insert(key, (node.clone(), address.place));
            }
        }
    }

    fn mac(&mut self, segment: &Name, mac: &Placed<Mac>, node: &Name, problems: &mut Problems) {
        let key = (segment.clone(), mac.value);
        match self.macs.get(&key) {
            Some((owner, first)) => {
                let message = format!("{} is taken on segment {segment}", mac.value);
                problems.add(repeated(message, owner, *first, mac.place));
            }
            None => {
                self.macs.insert(key, (node.clone(), mac.place));
            }
        }
    }
}

fn repeated(message: String, owner: &Name, first: Place, place: Place) -> Problem {
    Problem::new(message)
        .at(place)
        .hint(format!("{owner} has it"))
        .note(first, format!("{owner} has it here"))
}
