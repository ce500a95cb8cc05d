//! Judges what the kernel answered: what a lab can use, and what is done where it cannot.

use std::fs;

use netarium_core::feature::{Feature, Features};

use super::{Finding, State};
use crate::linux::features::{Answers, Tried};

/// One finding for each feature of a lab, and for the mounts of nodes.
pub(super) fn judge(answers: &Answers) -> Vec<Finding> {
    let features = answers.features();
    let judged = answers.features.iter().map(|(it, tried)| feature(*it, tried, &features));
    judged.chain(answers.overlay.as_ref().map(overlay)).chain([proc(&answers.proc)]).collect()
}

fn feature(feature: Feature, tried: &Tried, features: &Features) -> Finding {
    let name = feature.to_string();
    match tried {
        Ok(()) => Finding::present(name, purpose(feature)),
        Err(words) => {
            Finding::of(name, instead(feature, features), format!("{}: {words}", purpose(feature)))
                .hint(remedy(feature))
        }
    }
}

/// What a lab has it for.
fn purpose(feature: Feature) -> &'static str {
    match feature {
        Feature::Macvlan => "interfaces of segments, unless their driver is another",
        Feature::Bridge => "segments with driver bridge",
        Feature::Veth => "segments with driver veth, and the ports of bridges",
        Feature::Dummy => "the link that carries the macvlan interfaces of a segment",
        Feature::Ifb => "the last resort for carrying macvlan interfaces",
        Feature::Esp => "tunnels that the kernel encrypts",
        Feature::Wireguard => "WireGuard tunnels that the kernel encrypts",
        Feature::Tun => "tunnels that are encrypted in user space, and programs of nodes",
        Feature::Ipv6 => "nodes with IPv6 addresses",
    }
}

/// What is done without it; the same choices as in `netarium_core::desired`.
fn instead(feature: Feature, features: &Features) -> State {
    let has = |feature| features.has(feature);
    let fallback = |text: &str| State::Fallback(text.to_owned());
    match feature {
        Feature::Macvlan if has(Feature::Bridge) && has(Feature::Veth) => {
            fallback("segments are bridges")
        }
        Feature::Bridge | Feature::Veth if has(Feature::Macvlan) => State::Warning,
        Feature::Dummy | Feature::Ifb if !has(Feature::Macvlan) => State::Warning,
        Feature::Ifb if has(Feature::Dummy) => fallback("not needed: dummy is there"),
        Feature::Dummy | Feature::Ifb if has(Feature::Veth) => {
            fallback("a veth pair carries macvlan interfaces")
        }
        Feature::Dummy => fallback("an ifb link carries macvlan interfaces"),
        Feature::Esp if has(Feature::Tun) => {
            fallback("strongSwan encrypts in user space (kernel-libipsec)")
        }
        Feature::Wireguard if has(Feature::Tun) => {
            fallback("a program of ours encrypts in user space (gotatun)")
        }
        // Without both no tunnel can be; with ESP those of IPsec can.
        Feature::Wireguard => State::Warning,
        Feature::Tun if has(Feature::Esp) => State::Warning,
        Feature::Ipv6 => State::Warning,
        Feature::Macvlan | Feature::Bridge | Feature::Veth | Feature::Esp | Feature::Tun => {
            State::Missing
        }
        Feature::Ifb => State::Warning,
    }
}

fn remedy(feature: Feature) -> String {
    let (module, option) = match feature {
        Feature::Macvlan => ("macvlan", "MACVLAN"),
        Feature::Bridge => ("bridge", "BRIDGE"),
        Feature::Veth => ("veth", "VETH"),
        Feature::Dummy => ("dummy", "DUMMY"),
        Feature::Ifb => ("ifb", "IFB"),
        Feature::Esp => ("esp4", "INET_ESP, CONFIG_XFRM_USER and CONFIG_CRYPTO_GCM"),
        Feature::Wireguard => ("wireguard", "WIREGUARD"),
        Feature::Tun => ("tun", "TUN"),
        Feature::Ipv6 => ("ipv6", "IPV6"),
    };
    format!("`modprobe {module}` as root, or a kernel with CONFIG_{option}")
}

fn overlay(tried: &Tried) -> Finding {
    match tried {
        Ok(()) => Finding::present("overlayfs", "root file systems of nodes"),
        Err(words) => Finding::of("overlayfs", State::Missing, words).hint(
            "needs Linux 5.11 or later, and a data folder on a local file system with extended \
             attributes, ext4 for example, that others may pass through (see NETARIUM_DATA)",
        ),
    }
}

fn proc(tried: &Tried) -> Finding {
    match tried {
        Ok(()) => Finding::present("proc", "mounted anew in every node"),
        Err(words) => Finding::of("proc", State::Missing, words).hint(
            "a container that hides parts of /proc allows no other: start it with \
             `--security-opt systempaths=unconfined`, or run outside of it",
        ),
    }
}

/// Whether filters can refuse system calls (seccomp(2)).
pub(super) fn seccomp() -> Finding {
    let actions = fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail");
    match actions {
        Ok(actions) if actions.split_ascii_whitespace().any(|it| it == "errno") => {
            Finding::present("seccomp", "nodes may not make system calls that concern the machine")
        }
        Ok(_) | Err(_) => Finding::of("seccomp", State::Missing, "the kernel has no such filters")
            .hint("a kernel with CONFIG_SECCOMP_FILTER"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(feature: Feature, present: &[Feature]) -> State {
        instead(feature, &present.iter().copied().collect())
    }

    #[test]
    fn what_is_missing_is_done_another_way_where_there_is_one() {
        use Feature::{Bridge, Dummy, Esp, Ifb, Macvlan, Tun, Veth, Wireguard};
        let is_fallback = |it: State| matches!(it, State::Fallback(_));
        assert!(is_fallback(state(Dummy, &[Macvlan, Veth])));
        assert!(is_fallback(state(Macvlan, &[Bridge, Veth])));
        assert!(is_fallback(state(Esp, &[Tun])));
        assert!(is_fallback(state(Wireguard, &[Tun])));
        assert_eq!(state(Wireguard, &[Esp]), State::Warning);
        assert_eq!(state(Macvlan, &[Bridge]), State::Missing);
        assert_eq!(state(Esp, &[]), State::Missing);
        assert_eq!(state(Tun, &[Esp]), State::Warning);
        assert_eq!(state(Bridge, &[Macvlan, Dummy]), State::Warning);
        let State::Fallback(text) = state(Dummy, &[Macvlan, Ifb]) else { panic!("no fallback") };
        assert!(text.contains("ifb"), "{text}");
    }

    #[test]
    fn the_kernels_words_and_a_remedy_are_told() {
        let tried = Err("Operation not supported (os error 95)".to_owned());
        let finding = feature(Feature::Dummy, &tried, &Features::default());
        assert!(finding.detail.ends_with(": Operation not supported (os error 95)"));
        assert!(finding.hint.unwrap().contains("CONFIG_DUMMY"));
    }
}
