//! Inside the nodes of a lab that is up: programs that people run beside the services, how the
//! services are, and what they wrote.
//!
//! A node's first process is asked; nothing of the lab is changed. Everything here waits for
//! answers: asynchronous callers put it on a thread of its own.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;

use netarium_core::control::{Exit, Reply, Request, Run, ServiceStatus, TerminalSize};
use netarium_core::model::Node;
use netarium_core::name::Name;
use netarium_core::problem::suggestion;
use netarium_core::user::User;

use crate::engine::native::control::{Control, ControlError};
use crate::lab::{Lab, LabError, State};

/// What a program's standard input, output and error are.
#[derive(Clone, Copy, Debug)]
pub enum Streams<'a> {
    /// These descriptors, in this order.
    Given([BorrowedFd<'a>; 3]),
    /// A terminal of the node, of this size.
    Terminal(TerminalSize),
}

/// A program to run in a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// The program and its arguments. There is no shell.
    pub argv: Vec<String>,
    /// Its environment, besides `PATH`, `HOME`, `TERM` and `HOSTNAME`: names with values.
    pub environment: BTreeMap<String, String>,
    /// The folder it starts in; `/root` if there is none.
    pub folder: Option<String>,
    /// Whom it runs as; root if there is nobody.
    pub user: Option<User>,
}

/// The nodes that are meant by a word: the one of that name, else those with such an alias.
fn called<'n>(nodes: &'n BTreeMap<Name, Node>, word: &str) -> Vec<&'n Name> {
    if let Some(name) = nodes.keys().find(|name| name.as_str() == word) {
        return vec![name];
    }
    nodes.iter().filter(|(_, node)| node.aliases.contains(word)).map(|(name, _)| name).collect()
}

/// A program that runs in a node. Dropping it hangs up: the program gets SIGHUP, then SIGKILL.
#[derive(Debug)]
pub struct RunningProgram {
    control: Control,
    terminal: Option<OwnedFd>,
    pid: u32,
}

/// What a service of a node wrote, its standard output and error.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogFile {
    /// The service.
    pub service: Name,
    /// The file, which is only ever added to.
    pub path: PathBuf,
}

/// Why nothing can be done in a node.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The lab is not up.
    #[error("lab {0} is not up")]
    NotUp(Name),
    /// The lab was up.
    #[error("lab {0} does not run any more: its keeper was killed")]
    Killed(Name),
    /// What the lab is cannot be read.
    #[error("cannot find out which nodes lab {lab} has")]
    Lab {
        /// The lab.
        lab: Name,
        /// Why.
        source: Box<LabError>,
    },
    /// There is no such node.
    #[error("lab {lab} has no node {node}")]
    NoSuchNode {
        /// The lab.
        lab: Name,
        /// The word that names no node.
        node: String,
        /// The node that was probably meant.
        hint: Option<String>,
    },
    /// There is no such service.
    #[error("node {node} has no service {service}")]
    NoSuchService {
        /// The node.
        node: Name,
        /// The word that names no service.
        service: String,
        /// The service that was probably meant.
        hint: Option<String>,
    },
    /// The node is there, but its first process is not.
    #[error("node {node} does not run")]
    NotRunning {
        /// The node.
        node: Name,
        /// What was seen.
        source: ControlError,
    },
    /// The first process of the node says no.
    #[error("{reason}")]
    Refused {
        /// Why.
        reason: String,
    },
    /// The conversation broke off.
    #[error("cannot talk to node {node}")]
    Talk {
        /// The node.
        node: Name,
        /// Why.
        source: ControlError,
    },
    /// The node ended while the program ran.
    #[error("the program's node has gone")]
    Gone(#[source] ControlError),
    /// The logs cannot be read.
    #[error("cannot read {}", path.display())]
    Logs {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

type Result<T> = std::result::Result<T, SessionError>;

impl SessionError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotUp(_) => Some("`netarium up` brings it up".to_owned()),
            Self::Killed(_) | Self::NotRunning { .. } => Some(
                "`netarium status` tells what is wrong with the lab, `netarium up` repairs it"
                    .to_owned(),
            ),
            Self::NoSuchNode { hint, .. } | Self::NoSuchService { hint, .. } => hint.clone(),
            _ => None,
        }
    }
}

impl Lab {
    /// Whether the lab, as it was last brought up, has a node called `word`.
    ///
    /// # Errors
    /// If the lab is not up.
    pub fn has_node(&self, word: &str) -> Result<bool> {
        Ok(!called(&self.nodes()?, word).is_empty())
    }

    /// The node called `word`, by its name or by one of its aliases.
    ///
    /// # Errors
    /// If the lab is not up, has no such node, or several with this alias.
    pub fn node(&self, word: &str) -> Result<Name> {
        let nodes = self.nodes()?;
        let hint = match called(&nodes, word).as_slice() {
            [node] => return Ok((*node).clone()),
            [] => {
                let aliases = nodes.values().flat_map(|node| &node.aliases).map(String::as_str);
                let near = |it: &String| it.starts_with("did you mean");
                let of_aliases = suggestion(word, aliases.collect()).filter(near);
                let names = nodes.keys().map(Name::as_str).collect();
                let of_names = suggestion(word, names);
                let is_near = of_names.as_ref().is_some_and(near);
                if is_near { of_names } else { of_aliases.or(of_names) }
            }
            several => {
                let names: Vec<&str> = several.iter().map(|name| name.as_str()).collect();
                Some(format!("it is an alias of {}", names.join(" and ")))
            }
        };
        Err(SessionError::NoSuchNode { lab: self.name().clone(), node: word.to_owned(), hint })
    }

    /// Runs a program in a node, beside its services.
    ///
    /// # Errors
    /// If the node does not run, or the program cannot be started.
    pub fn run(
        &self,
        node: &Name,
        program: Program,
        streams: Streams<'_>,
    ) -> Result<RunningProgram> {
        let (terminal, descriptors) = match &streams {
            Streams::Given(descriptors) => (None, descriptors.as_slice()),
            Streams::Terminal(size) => (Some(*size), [].as_slice()),
        };
        let Program { argv, environment, folder, user } = program;
        let request = Request::Run(Run { argv, environment, folder, user, terminal });
        let control = self.control(node)?;
        control.say(&request, descriptors).map_err(|error| failure(node, error))?;
        let (reply, fds) = control.hear().map_err(|error| failure(node, error))?;
        match reply {
            Reply::Running { pid } => {
                Ok(RunningProgram { control, terminal: fds.into_iter().next(), pid })
            }
            other => Err(unexpected(&other)),
        }
    }

    /// How the services of a node are, in the order of their names.
    ///
    /// # Errors
    /// If the node does not run.
    pub fn services(&self, node: &Name) -> Result<Vec<ServiceStatus>> {
        match self.control(node)?.ask(&Request::Status).map_err(|error| failure(node, error))? {
            Reply::Services(services) => Ok(services),
            other => Err(unexpected(&other)),
        }
    }

    /// What the services of a node wrote so far, in the order of their names; only what `service`
    /// wrote if one is named. They are there as long as the lab is, also if the node has ended.
    ///
    /// # Errors
    /// If the lab has no such node, or the node no such service.
    pub fn logs(&self, node: &Name, service: Option<&str>) -> Result<Vec<LogFile>> {
        self.node(node.as_str())?;
        let folder = self.logs_folder(node);
        let error = |source| SessionError::Logs { path: folder.clone(), source };
        let mut logs = Vec::new();
        for entry in fs::read_dir(&folder).map_err(error)? {
            let path = entry.map_err(error)?.path();
            let name = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".log"));
            if let Some(service) = name.and_then(|name| Name::new(name).ok()) {
                logs.push(LogFile { service, path });
            }
        }
        logs.sort();
        let Some(service) = service else { return Ok(logs) };
        if logs.iter().all(|log| log.service.as_str() != service) {
            let known = logs.iter().map(|log| log.service.as_str()).collect();
            let none = || Some(format!("no service of {node} has written anything"));
            let hint = suggestion(service, known).or_else(none);
            let (node, service) = (node.clone(), service.to_owned());
            return Err(SessionError::NoSuchService { node, service, hint });
        }
        logs.retain(|log| log.service.as_str() == service);
        Ok(logs)
    }

    /// The folder in which the logs of a node's services appear.
    pub fn logs_folder(&self, node: &Name) -> PathBuf {
        self.folder().node(node).logs()
    }

    fn nodes(&self) -> Result<BTreeMap<Name, Node>> {
        let name = self.name().clone();
        match self.file() {
            Ok(file) => Ok(file.model.nodes),
            Err(LabError::NotUp(_)) => Err(SessionError::NotUp(name)),
            Err(error) => Err(SessionError::Lab { lab: name, source: Box::new(error) }),
        }
    }

    fn control(&self, node: &Name) -> Result<Control> {
        Control::connect(&self.folder().node(node).control())
            .map_err(|error| self.why_unreached(node, error))
    }

    /// Why nobody listens on the control socket of a node.
    fn why_unreached(&self, node: &Name, error: ControlError) -> SessionError {
        match self.state() {
            State::Down => SessionError::NotUp(self.name().clone()),
            State::Killed => SessionError::Killed(self.name().clone()),
            State::Up => match self.node(node.as_str()) {
                Ok(_) => SessionError::NotRunning { node: node.clone(), source: error },
                Err(error) => error,
            },
        }
    }
}

impl RunningProgram {
    /// Its process number inside the node.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The controlling side of its terminal, if it has one. What is written there is its input,
    /// what is read there its output. Once taken it is the caller's.
    pub fn take_terminal(&mut self) -> Option<OwnedFd> {
        self.terminal.take()
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// If the node ends before.
    pub fn wait(&self) -> Result<Exit> {
        match self.control.hear().map_err(SessionError::Gone)? {
            (Reply::Exited(exit), _) => Ok(exit),
            (other, _) => Err(unexpected(&other)),
        }
    }

    /// Sends it a signal, by number.
    ///
    /// # Errors
    /// If the node has ended.
    pub fn signal(&self, signal: i32) -> Result<()> {
        self.control.say(&Request::Signal(signal), &[]).map_err(SessionError::Gone)
    }

    /// Tells its terminal a new size.
    ///
    /// # Errors
    /// If the node has ended.
    pub fn resize(&self, size: TerminalSize) -> Result<()> {
        self.control.say(&Request::Resize(size), &[]).map_err(SessionError::Gone)
    }
}

fn failure(node: &Name, error: ControlError) -> SessionError {
    match error {
        ControlError::Refused(reason) => SessionError::Refused { reason },
        source => SessionError::Talk { node: node.clone(), source },
    }
}

fn unexpected(reply: &Reply) -> SessionError {
    SessionError::Refused {
        reason: format!("the node's first process gave a strange answer: {reply:?}"),
    }
}
