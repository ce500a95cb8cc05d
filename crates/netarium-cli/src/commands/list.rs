//! `ls` and `ps`: which labs there are, and what is in one.

use std::path::PathBuf;
use std::time::SystemTime;

use netarium::lab::{Lab, LabRecord, State};
use netarium::session::SessionError;
use netarium_core::control::{ServiceState, ServiceStatus};
use netarium_core::model::{self, Engine, Model, Published};
use netarium_core::name::Name;
use serde::Serialize;

use super::Context;
use crate::args::OneLab;
use crate::choose::{self, Otherwise};
use crate::ending::Ending;
use crate::print::steps::image;
use crate::print::table::{Cell, Table};
use crate::print::{self, BAD, DIM, Form, GOOD, WARN};
use crate::report::shown_path;

/// A lab in a list.
#[derive(Serialize)]
struct Listed {
    lab: Name,
    state: State,
    nodes: Option<usize>,
    since: Option<u64>,
    engine: Option<Engine>,
    file: Option<PathBuf>,
}

/// A node in a list.
#[derive(Serialize)]
struct Inhabitant<'m> {
    node: &'m Name,
    state: NodeState,
    image: String,
    interfaces: &'m [model::Interface],
    services: Vec<ServiceStatus>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    published: Vec<&'m Published>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum NodeState {
    Up,
    Down,
}

/// Lists the labs that are up.
///
/// # Errors
/// If they cannot be found.
pub(crate) fn ls(context: &Context) -> anyhow::Result<Ending> {
    let labs: Vec<_> = choose::all(&context.data)?.iter().map(listed).collect();
    match context.style.form {
        Form::Json => print::json(&labs)?,
        Form::Text if labs.is_empty() => context.style.say("no lab is up"),
        Form::Text => print::line(labs_table(&labs, now()).render(0))?,
    }
    Ok(Ending::Fine)
}

fn listed(lab: &Lab) -> Listed {
    let LabRecord { file, since, engine, .. } = match lab.record() {
        Some(record) => record,
        None => {
            let (lab, state) = (lab.name().clone(), lab.state());
            return Listed { lab, state, nodes: None, since: None, engine: None, file: None };
        }
    };
    Listed {
        lab: lab.name().clone(),
        state: lab.state(),
        nodes: lab.file().ok().map(|file| file.model.nodes.len()),
        since: Some(since),
        engine: Some(engine),
        file: Some(file),
    }
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs())
}

fn labs_table(labs: &[Listed], now: u64) -> Table<6> {
    let mut table = Table::headed(["LAB", "STATE", "NODES", "AGE", "ENGINE", "FILE"]);
    for lab in labs {
        let (state, paint) = match lab.state {
            State::Up => ("up", GOOD),
            State::Killed => ("killed", BAD),
            State::Down => ("left over", WARN),
        };
        table.row([
            Cell::new(lab.lab.as_str()),
            Cell::painted(state, paint),
            lab.nodes.map(|nodes| nodes.to_string()).unwrap_or_default().into(),
            lab.since.map(|since| print::age(now.saturating_sub(since))).unwrap_or_default().into(),
            lab.engine.map(Engine::as_str).unwrap_or_default().into(),
            lab.file.as_deref().map(shown_path).unwrap_or_default().into(),
        ]);
    }
    table
}

/// Shows the nodes of a lab.
///
/// # Errors
/// If the lab is not up.
pub(crate) fn ps(context: &Context, asked: &OneLab) -> anyhow::Result<Ending> {
    let lab = choose::lab(&context.data, asked, Otherwise::OnlyLab)?;
    let model = lab.file()?.model;
    let nodes = inhabitants(&lab, &model)?;
    match context.style.form {
        Form::Json => print::json(&nodes)?,
        Form::Text => print::line(nodes_table(&nodes).render(0))?,
    }
    Ok(Ending::Fine)
}

fn inhabitants<'m>(lab: &Lab, model: &'m Model) -> Result<Vec<Inhabitant<'m>>, SessionError> {
    let mut nodes = Vec::new();
    for (name, node) in &model.nodes {
        let (state, services) = match lab.services(name) {
            Ok(services) => (NodeState::Up, services),
            // That it has ended is what people want to see here.
            Err(
                SessionError::NotRunning { .. }
                | SessionError::Killed(_)
                | SessionError::Talk { .. },
            ) => (NodeState::Down, vec![]),
            Err(error) => return Err(error),
        };
        let image = image(&node.image);
        let published = published(model, name);
        let interfaces = &node.interfaces;
        nodes.push(Inhabitant { node: name, state, image, interfaces, services, published });
    }
    Ok(nodes)
}

fn nodes_table(nodes: &[Inhabitant<'_>]) -> Table<6> {
    let heads = ["NODE", "STATE", "IMAGE", "INTERFACES", "ADDRESSES", "SERVICES"];
    let mut table = Table::headed(heads);
    for node in nodes {
        let state = match node.state {
            NodeState::Up => Cell::painted("up", GOOD),
            NodeState::Down => Cell::painted("down", BAD),
        };
        let (interfaces, addresses) = interface_cells(node.interfaces);
        table.row([
            Cell::new(node.node.as_str()),
            state,
            node.image.as_str().into(),
            interfaces,
            addresses,
            Cell::of_lines(
                node.services.iter().map(service_line).chain(node.published.iter().map(port_line)),
            ),
        ]);
    }
    table
}

/// Interfaces and their addresses, side by side: an interface with two addresses takes two lines.
fn interface_cells(interfaces: &[model::Interface]) -> (Cell, Cell) {
    let plain = anstyle::Style::new();
    let (mut names, mut addresses) = (Vec::new(), Vec::new());
    for interface in interfaces {
        names.push((format!("{}@{}", interface.name, interface.segment), plain));
        addresses.extend(interface.addresses.iter().map(|address| (address.to_string(), plain)));
        let lines = names.len().max(addresses.len());
        names.resize(lines, (String::new(), plain));
        addresses.resize(lines, (String::new(), plain));
    }
    (Cell::of_lines(names), Cell::of_lines(addresses))
}

fn service_line(status: &ServiceStatus) -> (String, anstyle::Style) {
    let name = &status.service.name;
    let (state, paint) = match &status.state {
        ServiceState::Ready => ("ready".to_owned(), GOOD),
        ServiceState::Done => ("done".to_owned(), DIM),
        ServiceState::Waiting => ("waiting".to_owned(), WARN),
        ServiceState::Starting => ("starting".to_owned(), WARN),
        ServiceState::Unhealthy(reason) => (format!("unhealthy: {reason}"), BAD),
        ServiceState::Failed(reason) => (format!("failed: {reason}"), BAD),
    };
    let restarts = match status.restarts {
        0 => String::new(),
        number => format!(", restarted {number}×"),
    };
    (format!("{name} {state}{restarts}"), paint)
}

/// The ports of the host that lead to a node.
fn published<'m>(model: &'m Model, node: &Name) -> Vec<&'m Published> {
    let all = model.uplink.iter().flat_map(|uplink| &uplink.published);
    all.filter(|it| it.node == *node).collect()
}

fn port_line(published: &&Published) -> (String, anstyle::Style) {
    let from = std::net::SocketAddr::new(published.address, published.port);
    (format!("{from}/{} to port {}", published.protocol, published.to), DIM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labs_are_listed_with_age_and_file() {
        let lab = |name: &str, state, since, file: &str| Listed {
            lab: Name::new(name).unwrap(),
            state,
            nodes: Some(2),
            since: Some(since),
            engine: Some(Engine::Native),
            file: Some(PathBuf::from(file)),
        };
        let labs = [
            lab("hello", State::Up, 1000, "/labs/hello/lab.yaml"),
            lab("office", State::Killed, 100, "/labs/office/lab.yaml"),
        ];
        let table = labs_table(&labs, 1030).render(0);
        assert_eq!(
            anstream::adapter::strip_str(&table).to_string(),
            "LAB     STATE   NODES  AGE     ENGINE  FILE\n\
             hello   up      2      30 s    native  /labs/hello/lab.yaml\n\
             office  killed  2      15 min  native  /labs/office/lab.yaml"
        );
    }

    #[test]
    fn each_address_stands_beside_its_interface() {
        let text = "image: host\nsegments: {lan: [10.0.0.0/24, \"fd00::/64\"], wan: 10.1.0.0/24}\n\
                    nodes:\n  a: {interfaces: {lan: [10.0.0.1, \"fd00::1\"], wan: 10.1.0.1}}\n";
        let model = netarium_core::resolve::load(text.as_bytes(), "lab").unwrap();
        let (node, written) = model.nodes.iter().next().unwrap();
        let row = Inhabitant {
            node,
            state: NodeState::Up,
            image: image(&written.image),
            interfaces: &written.interfaces,
            services: vec![],
            published: published(&model, node),
        };
        let table = nodes_table(&[row]).render(0);
        assert_eq!(
            anstream::adapter::strip_str(&table).to_string(),
            "NODE  STATE  IMAGE  INTERFACES  ADDRESSES    SERVICES\n\
             a     up     host   eth0@lan    10.0.0.1/24\n\
             \u{20}                               fd00::1/64\n\
             \u{20}                   eth1@wan    10.1.0.1/24"
        );
    }
}
