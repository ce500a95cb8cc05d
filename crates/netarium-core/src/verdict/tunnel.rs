//! What the daemons at the two ends of a tunnel say of it, and what that means for a check.

use serde::{Deserialize, Serialize};

use super::Verdict;
use crate::ipsec::{Sa, allows_any};
use crate::model::TunnelState;
use crate::name::Name;

/// One end of a tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// The node.
    pub node: Name,
    /// What its daemon says, or why it could not be asked.
    pub associations: Result<Vec<Sa>, String>,
}

/// One end of a WireGuard tunnel: its node, and what its interface says, or why nobody answers for it.
pub type WireguardEnd = (Name, Result<Handshake, String>);

/// What an interface says of its peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handshake {
    /// Whether it has a key in common with it.
    pub stands: bool,
    /// What went to and fro, in words.
    pub traffic: String,
}

/// Judges a WireGuard tunnel by what both ends say.
pub fn wireguard(expect: &TunnelState, ends: &[WireguardEnd; 2]) -> (Verdict, String) {
    let describe = |(node, end): &WireguardEnd| match end {
        Err(reason) => format!("{node}: {reason}"),
        Ok(it) if it.stands => format!("{node}: a fresh key, {}", it.traffic),
        Ok(it) => format!("{node}: no fresh key, {}", it.traffic),
    };
    let seen: Vec<String> = ends.iter().map(describe).collect();
    let wanted = matches!(expect, TunnelState::Wireguard { .. });
    let fits = |(_, end): &WireguardEnd| end.as_ref().is_ok_and(|it| it.stands == wanted);
    let verdict = if ends.iter().all(fits) { Verdict::Passes } else { Verdict::FailsSoFar };
    (verdict, seen.join("; "))
}

/// Judges a tunnel by what both ends say: what it means, and what was seen, in words.
pub fn tunnel(name: &Name, expect: &TunnelState, ends: &[End; 2]) -> (Verdict, String) {
    let seen: Vec<String> = ends.iter().map(|end| describe(name, end)).collect();
    let seen = seen.join("; ");
    let carrying = |end: &End| {
        let all = end.associations.as_deref().unwrap_or_default();
        all.iter().filter(|sa| sa.carries(name)).cloned().collect::<Vec<_>>()
    };
    let [here, there] = [&ends[0], &ends[1]].map(carrying);
    match expect {
        TunnelState::Down => {
            let asked = ends.iter().all(|end| end.associations.is_ok());
            let down = asked && here.is_empty() && there.is_empty();
            (if down { Verdict::Passes } else { Verdict::FailsSoFar }, seen)
        }
        // These have no associations.
        TunnelState::Wireguard { .. } | TunnelState::WireguardDown { .. } => (Verdict::Fails, seen),
        TunnelState::Ipsec { ike, esp } => {
            let joined = |sa: &&Sa| there.iter().any(|other| sa.is_joined_to(other));
            let Some(sa) = here.iter().find(joined) else {
                let apart = !here.is_empty() && !there.is_empty();
                let apart = if apart { "the ends have different associations; " } else { "" };
                return (Verdict::FailsSoFar, format!("{apart}{seen}"));
            };
            let fits = allows_any(ike, &sa.algorithms)
                && sa.carrying(name).all(|child| allows_any(esp, &child.algorithms));
            (if fits { Verdict::Passes } else { Verdict::Fails }, seen)
        }
    }
}

/// How one end has the tunnel.
fn describe(name: &Name, End { node, associations }: &End) -> String {
    let all = match associations {
        Err(reason) => return format!("{node}: {reason}"),
        Ok(all) => all,
    };
    let of_tunnel: Vec<String> =
        all.iter().filter(|sa| sa.tunnel == name.as_str()).map(association).collect();
    match of_tunnel.as_slice() {
        [] => format!("{node}: no association"),
        words => format!("{node}: {}", words.join(", and ")),
    }
}

fn association(sa: &Sa) -> String {
    let mut words = format!("{} for {} s, {}", sa.state, sa.age, sa.algorithms);
    for child in &sa.children {
        words.push_str(&format!(
            ", ESP {} {}, {} bytes in, {} bytes out",
            child.state, child.algorithms, child.bytes_in, child.bytes_out
        ));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipsec::{Algorithms, Child};

    fn name(word: &str) -> Name {
        Name::new(word).unwrap()
    }

    fn sa(state: &str, spi: &str) -> Sa {
        let algorithms = Algorithms {
            encryption: Some("AES_GCM_16".to_owned()),
            key_size: Some("256".to_owned()),
            ..Algorithms::default()
        };
        let child = Child {
            tunnel: "t".to_owned(),
            state: "INSTALLED".to_owned(),
            algorithms: algorithms.clone(),
            spis: ["1", "2"].map(str::to_owned),
            local_ts: vec![],
            remote_ts: vec![],
            bytes_in: 84,
            bytes_out: 168,
        };
        Sa {
            tunnel: "t".to_owned(),
            state: state.to_owned(),
            local: String::new(),
            remote: String::new(),
            algorithms: Algorithms { prf: Some("PRF_HMAC_SHA2_384".to_owned()), ..algorithms },
            age: 7,
            spis: [spi, "b"].map(str::to_owned),
            children: vec![child],
        }
    }

    fn ends(one: Result<Vec<Sa>, String>, other: Result<Vec<Sa>, String>) -> [End; 2] {
        [
            End { node: name("west"), associations: one },
            End { node: name("east"), associations: other },
        ]
    }

    fn judged(ike: &str, ends: &[End; 2]) -> Verdict {
        let esp = "aes256gcm16-ecp384".to_owned();
        tunnel(&name("t"), &TunnelState::Ipsec { ike: ike.to_owned(), esp }, ends).0
    }

    #[test]
    fn a_tunnel_stands_if_both_ends_know_it_as_the_same() {
        let up = || Ok(vec![sa("ESTABLISHED", "a")]);
        let ike = "prfsha384-aes256gcm16-ecp384";
        assert_eq!(judged(ike, &ends(up(), up())), Verdict::Passes);
        for other in [
            Ok(vec![]),
            Ok(vec![sa("CONNECTING", "a")]),
            Ok(vec![sa("ESTABLISHED", "c")]),
            Err("it does not run".to_owned()),
        ] {
            assert_eq!(judged(ike, &ends(up(), other.clone())), Verdict::FailsSoFar, "{other:?}");
        }
        assert_eq!(judged("aes128gcm16-prfsha384", &ends(up(), up())), Verdict::Fails);
    }

    #[test]
    fn a_wireguard_tunnel_stands_if_both_ends_have_a_key_in_common() {
        let end =
            |stands| (name("west"), Ok(Handshake { stands, traffic: "148 bytes sent".to_owned() }));
        let silent = (name("east"), Err("nobody answers".to_owned()));
        let interface = crate::name::InterfaceName::new("wg-t").unwrap();
        let up = TunnelState::Wireguard { interface: interface.clone() };
        let down = TunnelState::WireguardDown { interface };
        assert_eq!(wireguard(&up, &[end(true), end(true)]).0, Verdict::Passes);
        assert_eq!(wireguard(&up, &[end(true), end(false)]).0, Verdict::FailsSoFar);
        assert_eq!(wireguard(&down, &[end(false), end(false)]).0, Verdict::Passes);
        let (verdict, seen) = wireguard(&down, &[end(false), silent]);
        assert_eq!(verdict, Verdict::FailsSoFar);
        assert_eq!(seen, "west: no fresh key, 148 bytes sent; east: nobody answers");
    }

    #[test]
    fn a_tunnel_is_down_only_if_both_ends_say_so() {
        let down = |ends: &[End; 2]| tunnel(&name("t"), &TunnelState::Down, ends).0;
        assert_eq!(down(&ends(Ok(vec![]), Ok(vec![sa("CONNECTING", "a")]))), Verdict::Passes);
        let half = ends(Ok(vec![]), Ok(vec![sa("ESTABLISHED", "a")]));
        assert_eq!(down(&half), Verdict::FailsSoFar);
        assert_eq!(down(&ends(Ok(vec![]), Err(String::new()))), Verdict::FailsSoFar);
    }

    #[test]
    fn state_algorithms_age_and_bytes_are_told_of_both_ends() {
        let ends = ends(Ok(vec![sa("ESTABLISHED", "a")]), Err("it does not run".to_owned()));
        let (_, seen) = tunnel(&name("t"), &TunnelState::Down, &ends);
        let west = "west: ESTABLISHED for 7 s, AES_GCM_16 256 PRF_HMAC_SHA2_384, \
                    ESP INSTALLED AES_GCM_16 256, 84 bytes in, 168 bytes out";
        assert_eq!(seen, format!("{west}; east: it does not run"));
    }
}
