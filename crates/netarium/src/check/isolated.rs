//! Looks for ways from a node to the machine that it runs on: by the machine's addresses, by
//! interfaces, by namespaces.
//!
//! The only proof that the machine was reached is an answer that nobody else can give, since a lab
//! may use the machine's own addresses for itself. So somebody listens here for as long as the check
//! takes, on each address of the machine and on a port that the kernel chooses.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use netarium_core::model::{Answer, Engine, Model, Probe, Reach, Url};
use netarium_core::name::{InterfaceName, Name};
use netarium_core::outcome::{Outcome, Reached};
use netarium_core::verdict::{self, Attempt, Isolation};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::ask::{self, Asker};
use super::next;
use super::result::Found;
use crate::engine::native::look::{NodeLink, Origin, Question};
use crate::engine::native::node::recorded;
use crate::failure::Failure;
use crate::lab::Lab;
use crate::linux::netlink::{Netlink, NetlinkError};

/// The namespaces that a node must not share with the machine. Containers of Docker have the machine's
/// user namespace, which is no network.
const NAMESPACES: [&str; 7] = ["net", "mnt", "pid", "user", "ipc", "uts", "cgroup"];

/// How many programs one node runs for it at the same time.
const AT_ONCE: usize = 8;

/// Looks from one node. Each address may take `timeout` milliseconds.
pub(super) async fn look(
    lab: &Lab,
    model: &Model,
    node: &Name,
    interfaces: &BTreeSet<InterfaceName>,
    timeout: u32,
) -> Found {
    let mut found = Isolation::default();
    match shared(lab, node) {
        Ok(shared) => found.shared = shared,
        Err(reason) => found.unknown.push(reason),
    }
    match links(lab, node).await {
        Ok(links) => note_links(&mut found, &links, interfaces),
        Err(reason) => found.unknown.push(reason),
    }
    match attempts(lab, model, node, timeout).await {
        Ok(attempts) => found.attempts = attempts,
        Err(reason) => found.unknown.push(reason),
    }
    let (passed, seen) = verdict::isolated(&found);
    Found::once(passed, seen)
}

/// The kinds of namespaces that the node has from the machine.
fn shared(lab: &Lab, node: &Name) -> Result<Vec<String>, String> {
    let process = recorded(&lab.folder().node(node)).map_err(|it| Failure::of(&it).to_string())?;
    let process = process.ok_or_else(|| format!("node {node} does not run"))?;
    let of = |whose: &str, kind: &str| {
        let path = format!("/proc/{whose}/ns/{kind}");
        fs::read_link(&path).map_err(|error| format!("cannot read {path}: {error}"))
    };
    let mut shared = Vec::new();
    let is_judged = |kind: &&str| *kind != "user" || lab.engine() != Some(Engine::Docker);
    for kind in NAMESPACES.into_iter().filter(is_judged) {
        if of(&process.pid.to_string(), kind)? == of("self", kind)? {
            shared.push(kind.to_owned());
        }
    }
    Ok(shared)
}

async fn links(lab: &Lab, node: &Name) -> Result<Vec<NodeLink>, String> {
    let question = Question { links: [node.clone()].into(), ..Question::default() };
    let mut sight = lab.look(question).await.map_err(|error| Failure::of(&error).to_string())?;
    sight.links.remove(node).unwrap_or_else(|| Err("nobody looked at the interfaces".to_owned()))
}

/// Which links there are, and which should not be. Programs of the node may make interfaces of
/// their own, as the daemon of a tunnel does.
fn note_links(found: &mut Isolation, links: &[NodeLink], own: &BTreeSet<InterfaceName>) {
    for NodeLink { name, origin } in links {
        found.interfaces.push(name.clone());
        match origin {
            Origin::Made => {}
            Origin::Hardware => found.foreign.push(format!("{name} is a device of the machine")),
            Origin::OnMachine => {
                found.foreign.push(format!("{name} hangs on an interface of the machine"));
            }
        }
    }
    let missing = own.iter().filter(|own| links.iter().all(|link| link.name != own.as_str()));
    found.unknown.extend(missing.map(|own| format!("the node has no interface {own}")));
}

/// Tries every address of the machine.
async fn attempts(
    lab: &Lab,
    model: &Model,
    node: &Name,
    timeout: u32,
) -> Result<Vec<Attempt>, String> {
    let addresses = addresses().map_err(|error| Failure::of(&error).to_string())?;
    let token = Arc::new(ask::token()?);
    let (limit, mut tasks) = (Arc::new(Semaphore::new(AT_ONCE)), JoinSet::new());
    // Those who answer end with this.
    let mut answering = JoinSet::new();
    for (place, address) in addresses.into_iter().enumerate() {
        let listener = match TcpListener::bind((address, 0)).await {
            Ok(listener) => listener,
            // It has gone, or is not ready to be used.
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => continue,
            Err(error) => return Err(format!("cannot listen on {address}: {error}")),
        };
        let port = listener.local_addr().map_err(|error| error.to_string())?.port();
        let machine = Machine { address, port, is_in_lab: has(model, address) };
        for (how, probe) in machine.probes(node) {
            let asker = Asker { folder: lab.folder().node(node), token: None };
            let (limit, token) = (Arc::clone(&limit), Arc::clone(&token));
            let machine = machine.clone();
            tasks.spawn(async move {
                let _permit = limit.acquire().await;
                let window = Duration::from_millis(timeout.into());
                let outcome = ask::once(&asker, &probe, window).await;
                let outcome = outcome.map(|outcome| machine.meaning(outcome, &token));
                (place, outcome.map(|outcome| Attempt { to: address, how, outcome }))
            });
        }
        let token = Arc::clone(&token);
        answering.spawn(async move { answer(&listener, &token).await });
    }
    let mut made = Vec::new();
    while let Some((place, attempt)) = next(&mut tasks).await {
        made.push((place, attempt?));
    }
    made.sort_by_key(|(place, attempt)| (*place, attempt.how));
    Ok(made.into_iter().map(|(_, attempt)| attempt).collect())
}

fn addresses() -> Result<Vec<IpAddr>, NetlinkError> {
    Netlink::open()?.reachable_addresses()
}

/// Whether a node of the lab has this address.
fn has(model: &Model, address: IpAddr) -> bool {
    let interfaces = model.nodes.values().flat_map(|node| &node.interfaces);
    interfaces.flat_map(|interface| &interface.addresses).any(|own| own.addr() == address)
}

/// Answers everybody who connects with the token, for ever.
async fn answer(listener: &TcpListener, token: &str) {
    let text = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{token}",
        token.len()
    );
    loop {
        if let Ok((mut stream, _)) = listener.accept().await {
            // Whoever has hung up does not want to know.
            stream.write_all(text.as_bytes()).await.ok();
        }
    }
}

/// An address of the machine, and the port on which somebody listens there.
#[derive(Clone, Debug)]
struct Machine {
    address: IpAddr,
    port: u16,
    /// Whether a node of the lab has the same address.
    is_in_lab: bool,
}

impl Machine {
    fn probes(&self, node: &Name) -> [(&'static str, Probe); 2] {
        let Self { address, port, .. } = *self;
        let host = SocketAddr::from((address, port)).to_string();
        let url = Url { host, address, port, path: "/".to_owned() };
        let (from, source, expect) = (node.clone(), None, Reach::Blocked);
        let ping = Probe::Ping { from: from.clone(), to: address, expect, source: None };
        [("ping", ping), ("TCP", Probe::Http { from, url, expect: Answer::Blocked, source })]
    }

    /// What an outcome says about the machine: where the lab has the same address, only the token
    /// tells that it was not a node that answered.
    fn meaning(&self, outcome: Outcome, token: &str) -> Outcome {
        let is_ours = |it: &Reached| it.response.as_ref().is_some_and(|it| it.body == token);
        match outcome {
            Outcome::Reached(reached) if is_ours(&reached) => {
                Outcome::Reached(Reached { response: None, ..reached })
            }
            Outcome::Impossible(reason) => Outcome::Impossible(reason),
            _ if self.is_in_lab => Outcome::Silent { millis: 0.0 },
            outcome => outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use netarium_core::outcome::Response;

    use super::*;

    fn answered(body: &str) -> Outcome {
        let response = Response { status: 200, body: body.to_owned(), cut: false };
        Outcome::Reached(Reached { millis: 1.0, response: Some(response) })
    }

    #[test]
    fn a_node_with_the_machines_address_is_not_taken_for_the_machine() {
        let address = IpAddr::from([192, 0, 2, 1]);
        let meaning = |is_in_lab: bool, outcome| {
            let machine = Machine { address, port: 1, is_in_lab };
            verdict::isolated(&Isolation {
                attempts: vec![Attempt {
                    to: address,
                    how: "TCP",
                    outcome: machine.meaning(outcome, "secret"),
                }],
                ..Isolation::default()
            })
            .0
        };
        assert!(!meaning(true, answered("secret")));
        assert!(meaning(true, answered("other")));
        assert!(!meaning(false, answered("other")));
        assert!(meaning(false, Outcome::Silent { millis: 1.0 }));
    }

    #[test]
    fn devices_of_the_machine_and_what_hangs_on_them_are_foreign() {
        let link = |name: &str, origin| NodeLink { name: name.to_owned(), origin };
        let links = [
            link("lo", Origin::Made),
            link("eth0", Origin::OnMachine),
            link("wlan0", Origin::Hardware),
            link("ipsec0", Origin::Made),
        ];
        let mut found = Isolation::default();
        let own = ["eth0", "eth1"].map(|name| InterfaceName::new(name).unwrap());
        note_links(&mut found, &links, &own.into());
        assert_eq!(found.interfaces, ["lo", "eth0", "wlan0", "ipsec0"]);
        let foreign =
            ["eth0 hangs on an interface of the machine", "wlan0 is a device of the machine"];
        assert_eq!(found.foreign, foreign);
        assert_eq!(found.unknown, ["the node has no interface eth1"]);
    }
}
