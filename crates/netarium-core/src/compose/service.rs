//! A service of a Compose file, as written.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::build;
use super::joins::{self, Join};
use super::reader::{self, Keys, left_out};
use super::rights::{self, Privileged};
use super::volumes::{self, Mount};
use super::{ports, running};
use crate::model::{Condition, Dns, Main};
use crate::problem::{Placed, Problem, Problems};
use crate::spec::decode::{entries, list, word};
use crate::spec::tree::{Tree, Value};
use crate::spec::{Limits, Word};

/// A service.
#[derive(Debug)]
pub(super) struct Service {
    /// Its key.
    pub(super) key: Word,
    /// What it is made from.
    pub(super) image: Option<Word>,
    /// What its image is built from.
    pub(super) build: Option<build::Written>,
    /// Which machines the image is for.
    pub(super) platform: Option<Word>,
    /// The networks that it joins; `None` if nothing is said.
    pub(super) joins: Option<Vec<Join>>,
    /// What it runs.
    pub(super) main: Main,
    /// What it starts after.
    pub(super) after: Vec<Dependency>,
    /// What it calls itself.
    pub(super) hostname: Option<String>,
    /// What else it is called.
    pub(super) aliases: BTreeSet<String>,
    /// What is shown to it.
    pub(super) mounts: Vec<Mount>,
    /// What of the host leads to it.
    pub(super) publish: Vec<Word>,
    /// Kernel settings.
    pub(super) sysctls: Vec<(Word, Word)>,
    /// How much of the machine it may use.
    pub(super) limits: Limits,
    /// Names that it knows besides.
    pub(super) hosts: BTreeMap<String, BTreeSet<IpAddr>>,
    /// The name servers that it asks.
    pub(super) dns: Option<Dns>,
}

/// What a service starts after.
#[derive(Debug)]
pub(super) struct Dependency {
    /// The key of the other.
    pub(super) service: Word,
    /// What of the other it waits for.
    pub(super) condition: Condition,
    /// Whether the other must be there.
    pub(super) is_required: bool,
}

/// Keys that have another meaning for an engine, and none for a lab.
const PASSED_OVER: [&str; 10] = [
    "annotations",
    "attach",
    "develop",
    "expose",
    "extends",
    "labels",
    "label_file",
    "logging",
    "profiles",
    "pull_policy",
];

/// Keys that Compose knows and Netarium cannot do, with what to do instead.
const REFUSED: [(&str, &str); 44] = [
    ("blkio_config", ""),
    ("cgroup", ""),
    ("cgroup_parent", ""),
    ("configs", "show the file as a volume"),
    ("cpu_count", "write cpus"),
    ("cpu_percent", "write cpus"),
    ("cpu_period", "write cpus"),
    ("cpu_quota", "write cpus"),
    ("cpu_rt_period", ""),
    ("cpu_rt_runtime", ""),
    ("cpu_shares", "write cpus"),
    ("cpuset", "write cpus"),
    ("credential_spec", ""),
    ("device_cgroup_rules", ""),
    ("domainname", "write the whole name as hostname"),
    ("external_links", "services of another lab cannot be reached"),
    ("gpus", ""),
    ("group_add", ""),
    ("ipc", "every node has its own"),
    ("isolation", ""),
    ("mem_reservation", "write mem_limit"),
    ("mem_swappiness", ""),
    ("memswap_limit", ""),
    ("models", ""),
    ("net", "write network_mode"),
    ("oom_kill_disable", ""),
    ("oom_score_adj", ""),
    ("pid", "every node has its own"),
    ("post_start", ""),
    ("pre_stop", ""),
    ("provider", ""),
    ("read_only", ""),
    ("runtime", ""),
    ("secrets", "show the file as a volume"),
    ("shm_size", ""),
    ("storage_opt", ""),
    ("ulimits", ""),
    ("use_api_socket", "no node reaches an engine"),
    ("userns_mode", "every lab has its own"),
    ("uts", "every node has its own"),
    ("volume_driver", ""),
    ("volumes_from", "name the volumes again"),
    ("cpu_rt", ""),
    ("log_driver", "`netarium logs` shows what it writes"),
];

/// Reads a service; its environment files were read before.
pub(super) fn read(
    key: &Word,
    tree: &Tree,
    (environment, build): (BTreeMap<String, String>, Option<build::Written>),
    privileged: Privileged,
    problems: &mut Problems,
) -> Option<Service> {
    let mut keys = Keys::open("a service", tree, problems)?;
    let is_built = keys.has("build");
    keys.pass(&["environment", "env_file", "build"]);
    let main = running::read(&mut keys, environment, problems);
    rights::read(&mut keys, privileged, problems);
    let joins = networks(key, &mut keys, problems);
    let (after, aliases) = others(&mut keys, problems);
    let mut service = Service {
        key: key.clone(),
        image: keys.word("image", problems).filter(|image| !image.is_empty()),
        build,
        platform: keys.word("platform", problems),
        joins,
        main,
        after,
        hostname: keys.word("hostname", problems).and_then(|it| joins::host_name(it, problems)),
        aliases,
        mounts: keys.take("volumes").map_or_else(Vec::new, |it| volumes::read(it, problems)),
        publish: keys.take("ports").map_or_else(Vec::new, |tree| ports::read(tree, problems)),
        sysctls: keys.take("sysctls").map_or_else(Vec::new, |tree| pairs(tree, problems)),
        limits: limits(&mut keys, problems),
        hosts: hosts(&mut keys, problems),
        dns: dns(&mut keys, problems),
    };
    if let Some(tree) = keys.take("tmpfs") {
        service.mounts.extend(volumes::read_memory(tree, problems));
    }
    one_replica("scale", keys.word("scale", problems).as_ref(), problems);
    keys.refuse(&REFUSED, problems);
    keys.pass(&PASSED_OVER);
    let place = keys.place();
    keys.close(problems);
    // A build that is written and none has its own problem, unless that was only told.
    let may_be_built = service.build.is_some() || is_built && !problems.is_lenient();
    if service.image.is_none() && !may_be_built {
        problems.at(place, format!("the service {} has neither image nor build", key.value));
    }
    Some(service)
}

fn networks(key: &Word, keys: &mut Keys<'_>, problems: &mut Problems) -> Option<Vec<Join>> {
    let mode = keys.word("network_mode", problems);
    let written = keys.take("networks");
    let mac = keys.word("mac_address", problems).map(joins::mac);
    let mut joined = match (&mode, written) {
        (mode, Some(tree)) => {
            if let Some(mode) = mode {
                joins::of_mode(mode, true, problems);
            }
            Some(joins::read(tree, problems))
        }
        (Some(mode), None) => joins::of_mode(mode, false, problems),
        (None, None) => None,
    };
    if let Some(mac) = mac {
        let default = super::networks::DEFAULT;
        let joins = joined.get_or_insert_with(|| vec![Join::plain(default, key.place)]);
        match joins.as_mut_slice() {
            [only] => only.mac = Some(mac),
            _ => {
                let problem = Problem::new("mac_address is of one network, and there are several");
                problems.add(problem.at(mac.place).hint("write it under the network"));
            }
        }
    }
    joined
}

/// What a service waits for, and by which other names it is known.
fn others(keys: &mut Keys<'_>, problems: &mut Problems) -> (Vec<Dependency>, BTreeSet<String>) {
    let mut after = keys.take("depends_on").map_or_else(Vec::new, |it| dependencies(it, problems));
    for link in keys.words("links", problems) {
        let (service, alias) = link.split_once(':').unwrap_or((&link, &link));
        if alias != service {
            let message = format!("the name {alias} for {service} is not supported");
            let hint = "write it as an alias of its network";
            problems.unsupported(left_out(message, link.place, hint));
        }
        if !after.iter().any(|other| other.service.value == service) {
            let service = Placed { value: service.to_owned(), place: link.place };
            let condition = Condition::Started;
            after.push(Dependency { service, condition, is_required: true });
        }
    }
    let name = keys.word("container_name", problems);
    let name = name.and_then(|word| joins::host_name(word, problems));
    (after, name.into_iter().collect())
}

fn dependencies(tree: &Tree, problems: &mut Problems) -> Vec<Dependency> {
    let entries = entries("service", tree, problems).unwrap_or_default();
    let one = |(name, tree): (&Word, &Tree)| {
        let mut keys = Keys::open("depends_on", tree, problems)?;
        let condition = keys.word("condition", problems);
        let is_required = !keys.is_false("required", problems);
        keys.refuse(&[("restart", "a node stays up when another is made anew")], problems);
        keys.close(problems);
        let condition = match &condition {
            None => Condition::Started,
            Some(word) => match word.value.as_str() {
                "service_started" => Condition::Started,
                "service_healthy" => Condition::Healthy,
                "service_completed_successfully" => Condition::Completed,
                _ => {
                    let known =
                        ["service_started", "service_healthy", "service_completed_successfully"];
                    problems.unknown("condition", word, known);
                    return None;
                }
            },
        };
        Some(Dependency { service: name.clone(), condition, is_required })
    };
    entries.into_iter().filter_map(one).collect()
}

fn pairs(tree: &Tree, problems: &mut Problems) -> Vec<(Word, Word)> {
    let entries = entries("sysctl", tree, problems).unwrap_or_default();
    let pair = |(key, tree): (&Word, &Tree)| Some((key.clone(), word(key, tree, problems)?));
    entries.into_iter().filter_map(pair).collect()
}

/// Limits in the form that a lab file has.
fn limits(keys: &mut Keys<'_>, problems: &mut Problems) -> Limits {
    let mut memory = keys.word("mem_limit", problems);
    let mut cpus = keys.word("cpus", problems);
    let mut pids = keys.word("pids_limit", problems);
    if let Some(tree) = keys.take("deploy") {
        let limits = deploy(tree, problems);
        (memory, cpus, pids) = (limits.0.or(memory), limits.1.or(cpus), limits.2.or(pids));
    }
    let memory = memory.and_then(|word| {
        let bytes = reader::bytes("memory", &word, problems)?;
        (bytes > 0).then(|| Placed { value: bytes.to_string(), place: word.place })
    });
    let cpus = cpus.filter(|word| !word.trim_matches(['0', '.']).is_empty());
    let pids = pids.filter(|word| !matches!(word.value.as_str(), "-1" | "0")).and_then(|word| {
        let number = word.parse().ok();
        if number.is_none() {
            problems.at(word.place, format!("pids {} is no whole number", word.value));
        }
        Some(Placed { value: number?, place: word.place })
    });
    Limits { memory, cpus, pids }
}

type Written = (Option<Word>, Option<Word>, Option<Word>);

fn deploy(tree: &Tree, problems: &mut Problems) -> Written {
    let Some(mut keys) = Keys::open("deploy", tree, problems) else { return Written::default() };
    one_replica("replicas", keys.word("replicas", problems).as_ref(), problems);
    let mut limits = Written::default();
    if let Some(tree) = keys.take("resources")
        && let Some(mut keys) = Keys::open("resources", tree, problems)
    {
        if let Some(tree) = keys.take("limits")
            && let Some(mut keys) = Keys::open("limits", tree, problems)
        {
            let mut take = |key| keys.word(key, problems);
            limits = (take("memory"), take("cpus"), take("pids"));
            keys.refuse(&[("devices", "")], problems);
            keys.close(problems);
        }
        keys.refuse(&[("reservations", "write limits")], problems);
        keys.close(problems);
    }
    keys.refuse(
        &[
            ("restart_policy", "write restart"),
            ("mode", "there is one of each service"),
            ("endpoint_mode", ""),
            ("placement", "there is one machine"),
        ],
        problems,
    );
    // What is said about other clusters and about going over to a new version.
    keys.pass(&["labels", "update_config", "rollback_config"]);
    keys.close(problems);
    limits
}

fn one_replica(key: &str, word: Option<&Word>, problems: &mut Problems) {
    if let Some(word) = word.filter(|word| word.value != "1") {
        let problem = Problem::new(format!("{key} {} is not supported", word.value));
        let hint = "every service is one node: write it again under another name";
        problems.add(problem.at(word.place).hint(hint));
    }
}

/// `HOST=ADDRESS` or `HOST:ADDRESS`, the address with or without brackets.
fn hosts(keys: &mut Keys<'_>, problems: &mut Problems) -> BTreeMap<String, BTreeSet<IpAddr>> {
    let mut hosts: BTreeMap<String, BTreeSet<IpAddr>> = BTreeMap::new();
    let items = keys.take("extra_hosts").map_or(&[][..], |it| list("extra_hosts", it, problems));
    for item in items {
        let Some(word) = word("extra_hosts", item, problems) else { continue };
        let split = word.split_once('=').or_else(|| word.split_once(':'));
        let address = split.map(|(_, it)| it.trim_start_matches('[').trim_end_matches(']'));
        if address == Some("host-gateway") {
            let hint = "no node reaches the host";
            problems.unsupported(left_out("host-gateway is not supported", word.place, hint));
            continue;
        }
        match (split, address.and_then(|it| it.parse().ok())) {
            (Some((name, _)), Some(address)) => {
                let name = Placed { value: name.to_owned(), place: word.place };
                if let Some(name) = joins::host_name(name, problems) {
                    hosts.entry(name).or_default().insert(address);
                }
            }
            _ => {
                let problem = Problem::new(format!("{} is no host with address", word.value));
                problems.add(problem.at(word.place).hint("write name=10.0.0.1"));
            }
        }
    }
    hosts
}

fn dns(keys: &mut Keys<'_>, problems: &mut Problems) -> Option<Dns> {
    let servers = keys.words("dns", problems);
    let is_asked = !servers.is_empty();
    let servers = servers.into_iter().filter_map(|word| {
        let address = word.parse().ok();
        if address.is_none() {
            problems.at(word.place, format!("dns {} is no address", word.value));
        }
        address
    });
    let servers = servers.collect();
    let search = keys.words("dns_search", problems);
    let options = keys.words("dns_opt", problems);
    if !is_asked {
        // The name servers of the host are not known here, so that there is nothing to add to.
        for word in search.iter().chain(&options) {
            let problem = Problem::new("dns_search and dns_opt count only with dns");
            problems.unsupported(unsupported_beside(problem, word));
        }
        return None;
    }
    let texts = |words: Vec<Word>| words.into_iter().map(|word| word.value).collect();
    Some(Dns { servers, search: texts(search), options: texts(options) })
}

fn unsupported_beside(problem: Problem, word: &Word) -> Problem {
    problem.at(word.place).hint("name the servers too; --lenient leaves it out")
}

/// The environment of a service: what its files say, and over that what it says itself. A variable
/// without a value has that of whoever brings the lab up, if he has one.
pub(super) fn environment(
    tree: &Tree,
    of_files: Vec<(Word, Word)>,
    mut of_caller: impl FnMut(&str) -> Option<String>,
    problems: &mut Problems,
) -> BTreeMap<String, String> {
    let mut environment: BTreeMap<String, String> =
        of_files.into_iter().map(|(name, value)| (name.value, value.value)).collect();
    let Value::Table(keys) = &tree.value else { return environment };
    let Some((_, tree)) = keys.iter().find(|(key, _)| key.value == "environment") else {
        return environment;
    };
    for (name, tree) in entries("variable", tree, problems).unwrap_or_default() {
        if name.is_empty() || name.contains(['=', '\0']) {
            problems.at(name.place, format!("{:?} is no name for a variable", name.value));
            continue;
        }
        if let Value::Nothing = tree.value {
            match of_caller(name) {
                Some(value) => drop(environment.insert(name.value.clone(), value)),
                None => drop(environment.remove(name.value.as_str())),
            }
            continue;
        }
        let Some(value) = word(name, tree, problems) else { continue };
        if value.contains('\0') {
            problems.at(value.place, "a variable cannot have a NUL character in it");
        }
        environment.insert(name.value.clone(), value.value);
    }
    environment
}
