//! What a service may do: capabilities, devices, a privileged mode. All nodes have the same rights;
//! who asks for no more than those gets them.

use serde::{Deserialize, Serialize};

use super::reader::{Keys, left_out};
use crate::problem::{Problem, Problems};
use crate::spec::Word;

/// The capabilities of every node (capabilities(7)): those of a container, and `NET_ADMIN`.
const HAD: [&str; 15] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// The devices of every node.
const DEVICES: [&str; 8] = [
    "/dev/net/tun",
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
    "/dev/tty",
    "/dev/ptmx",
];

/// Whether `privileged` is passed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Privileged {
    /// It is a mistake.
    #[default]
    Refused,
    /// It is passed over, and said in a warning.
    Allowed,
}

/// Reads what a service asks for.
pub(super) fn read(keys: &mut Keys<'_>, privileged: Privileged, problems: &mut Problems) {
    if let Some(place) = keys.true_at("privileged", problems) {
        let problem = match privileged {
            Privileged::Allowed => Problem::new(
                "privileged gives no more rights than every node has: there is no privileged mode",
            ),
            Privileged::Refused => Problem::new("no node is privileged").hint(
                "every node has NET_ADMIN, NET_RAW and /dev/net/tun, which is what networks need: \
                 leave privileged out, or pass it over with --allow-privileged",
            ),
        };
        match privileged {
            Privileged::Allowed => problems.warn(problem.at(place)),
            Privileged::Refused => problems.add(problem.at(place)),
        }
    }
    for word in keys.words("cap_add", problems) {
        if !has(&word) {
            let message = format!("no node has the capability {}", name_of(&word));
            let hint = "NET_ADMIN and NET_RAW are there";
            problems.unsupported(left_out(message, word.place, hint));
        }
    }
    for word in keys.words("cap_drop", problems) {
        if has(&word) || name_of(&word) == "ALL" {
            let message = format!("the capability {} cannot be dropped", name_of(&word));
            let hint = "all nodes have the same, in a user namespace of the lab's own";
            problems.unsupported(left_out(message, word.place, hint));
        }
    }
    for word in keys.words("devices", problems) {
        let device = word.split(':').next().unwrap_or_default();
        if !DEVICES.contains(&device) {
            let message = format!("no node has the device {device}");
            problems.unsupported(left_out(message, word.place, "/dev/net/tun is there"));
        }
    }
    for word in keys.words("security_opt", problems) {
        // No program in a node gets more rights by what it starts, in any case.
        if !word.starts_with("no-new-privileges") {
            let message = format!("the security option {} is not supported", word.value);
            problems.unsupported(left_out(message, word.place, ""));
        }
    }
}

fn has(word: &Word) -> bool {
    HAD.contains(&name_of(word).as_str())
}

/// `CAP_NET_ADMIN` and `net_admin` are the same.
fn name_of(word: &Word) -> String {
    let upper = word.to_ascii_uppercase();
    upper.strip_prefix("CAP_").unwrap_or(&upper).to_owned()
}
