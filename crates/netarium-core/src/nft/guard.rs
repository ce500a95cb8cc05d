//! Guards: what a tunnel carries never leaves or enters a node in plain, whether the tunnel stands,
//! is being opened, or its daemon was killed.
//!
//! They look at packets as the tunnel sees them: on the way out behind the translation of
//! addresses, on the way in before it.

use ipnet::IpNet;

use super::{NEIGHBOURS, Text, between, set};
use crate::firewall::{Guard, Passage, tidy};

/// The way of a packet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Out,
    In,
}

impl Text {
    /// The two chains, if there is anything to guard.
    pub(super) fn guards(&mut self, guards: &[Guard]) {
        if guards.is_empty() {
            return;
        }
        // Neighbours on one segment that have a tunnel must still find each other.
        let is_ipv6 = |it: &IpNet| it.addr().is_ipv6();
        let finds_neighbours = guards.iter().any(|guard| guard.near.iter().any(is_ipv6));
        for (way, name, hook) in [
            (Way::Out, "guard_out", "postrouting priority srcnat + 1"),
            (Way::In, "guard_in", "prerouting priority raw"),
        ] {
            self.line(1, format!("chain {name} {{"));
            self.line(2, format!("type filter hook {hook}; policy accept;"));
            if finds_neighbours {
                self.line(2, NEIGHBOURS);
            }
            for guard in guards {
                guard.lines(way).iter().for_each(|line| self.line(2, line));
            }
            self.line(1, "}");
        }
    }
}

impl Guard {
    fn lines(&self, way: Way) -> Vec<String> {
        let mut lines = self.encrypted(way);
        for is_ipv4 in [true, false] {
            let of_family = |list: &[IpNet]| -> Vec<IpNet> {
                let own = list.iter().copied().filter(|it| it.addr().is_ipv4() == is_ipv4);
                tidy(&own.collect::<Vec<_>>())
            };
            let (near, far) = (of_family(&self.near), of_family(&self.far));
            if near.is_empty() || far.is_empty() {
                continue;
            }
            let (from, to) = if way == Way::Out { (&near, &far) } else { (&far, &near) };
            let mut words = between(from, to, is_ipv4).unwrap_or_default();
            // What stays behind this end goes by no tunnel, also if that leads everywhere.
            if far.iter().any(|far| near.iter().any(|near| far.contains(near))) {
                let (family, key) =
                    (family(is_ipv4), if way == Way::Out { "daddr" } else { "saddr" });
                words.push(format!("{family} {key} != {}", set(near.iter().map(super::short))));
            }
            lines.push(self.drop(&self.astray(way), &words));
            // The node's own packets would leave with its outer address as long as there is no
            // route into the tunnel.
            let (own, peer) = self.ends;
            let beyond = |it: &IpNet| !it.contains(&own) && !it.contains(&peer);
            let beyond: Vec<IpNet> = far.iter().copied().filter(beyond).collect();
            if way == Way::Out && !beyond.is_empty() {
                let words = between(&[], &beyond, is_ipv4).unwrap_or_default();
                lines.push(self.drop(&self.outwards(), &words));
            }
        }
        lines
    }

    /// What the two ends send each other is encrypted already, where the tunnel carries their own
    /// addresses.
    fn encrypted(&self, way: Way) -> Vec<String> {
        let (own, peer) = self.ends;
        let carries = |list: &[IpNet], end| list.iter().any(|prefix| prefix.contains(end));
        if !carries(&self.near, &own) || !carries(&self.far, &peer) {
            return vec![];
        }
        let (from, to) = if way == Way::Out { (own, peer) } else { (peer, own) };
        let ends = between(&[from.into()], &[to.into()], own.is_ipv4()).unwrap_or_default();
        let ends = ends.join(" ");
        // The other end's port is another one where somebody between them translates addresses.
        let port = if way == Way::Out { "sport" } else { "dport" };
        let mut lines = vec![format!("{ends} udp {port} {} accept", set(&self.ports))];
        if self.passage == Passage::Policy {
            lines.push(format!("{ends} meta l4proto esp accept"));
        }
        lines
    }

    /// The words for packets that do not go by the tunnel.
    fn astray(&self, way: Way) -> String {
        match (&self.passage, way) {
            (Passage::Device(name), Way::Out) => format!("oifname != \"{name}\""),
            (Passage::Device(name), Way::In) => format!("iifname != \"{name}\""),
            (Passage::Policy, Way::Out) => "rt ipsec missing".to_owned(),
            (Passage::Policy, Way::In) => "meta ipsec missing".to_owned(),
        }
    }

    /// The words for packets that leave by the interface of this end's address, but not by the
    /// tunnel.
    fn outwards(&self) -> String {
        let outer = format!("oifname \"{}\"", self.outer);
        match self.passage {
            Passage::Device(_) => outer,
            Passage::Policy => format!("{outer} rt ipsec missing"),
        }
    }

    fn drop(&self, way: &str, words: &[String]) -> String {
        format!("{way} {} drop comment \"tunnel {}\"", words.join(" "), self.tunnel)
    }
}

fn family(is_ipv4: bool) -> &'static str {
    if is_ipv4 { "ip" } else { "ip6" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::firewall::Firewall;
    use crate::name::{InterfaceName, Name};

    fn guard(ends: [&str; 2], near: &[&str], far: &[&str]) -> Guard {
        let prefixes = |words: &[&str]| words.iter().map(|it| it.parse().unwrap()).collect();
        Guard {
            tunnel: Name::new("t").unwrap(),
            passage: Passage::Device("ipsec0".to_owned()),
            ports: vec![500, 4500],
            ends: (ends[0].parse().unwrap(), ends[1].parse().unwrap()),
            outer: InterfaceName::new("eth1").unwrap(),
            near: prefixes(near),
            far: prefixes(far),
        }
    }

    fn text(guards: &[Guard]) -> String {
        crate::nft::render(&Firewall::default(), guards)
    }

    #[test]
    fn what_joins_sites_leaves_by_the_device_or_not_at_all() {
        let ends = ["172.26.26.26", "172.28.28.28"];
        let sites = guard(ends, &["10.1.0.0/16", "fd00:1::/64"], &["10.3.0.0/16", "10.3.1.0/24"]);
        let six = guard(["fd00::1", "fd00::2"], &["fd00:1::/64"], &["fd00:3::/64"]);
        insta::assert_snapshot!(text(&[sites, six]));
    }

    #[test]
    fn what_joins_hosts_lets_them_speak_encrypted() {
        let ends = ["172.16.16.16", "172.30.30.30"];
        let device = guard(ends, &["172.16.16.16/32"], &["172.30.30.30/32"]);
        let policy = Guard { passage: Passage::Policy, ..device.clone() };
        insta::assert_snapshot!(text(&[device, policy]));
    }

    #[test]
    fn what_leads_everywhere_leaves_the_site_alone() {
        insta::assert_snapshot!(text(&[guard(
            ["172.16.0.1", "172.30.0.1"],
            &["10.1.0.0/16"],
            &["0.0.0.0/0"]
        )]));
    }

    #[test]
    fn where_there_is_nothing_to_guard_there_is_no_chain() {
        assert!(!text(&[]).contains("guard"));
    }
}
