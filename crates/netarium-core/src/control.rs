//! What is said to the first process of a node, and what it answers.
//!
//! The words travel as JSON, one message a packet, over a sequenced-packet socket (unix(7),
//! `SOCK_SEQPACKET`). One connection is one conversation. Nothing here sends anything.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::Service;
use crate::name::Name;
use crate::user::User;

/// The longest message, in bytes.
pub const LONGEST: usize = 128 * 1024;

/// The name under which a node's program is its first process.
pub const INIT: &str = "netarium-init";

/// The name under which it is a probe, found on every node's `PATH`.
pub const PROBE: &str = "netarium-probe";

/// Where the probe is in every node.
pub const PROBE_PATH: &str = "/usr/local/bin/netarium-probe";

/// Where the first process is in a node that another engine starts, which cannot give it a name.
pub const INIT_PATH: &str = "/usr/local/bin/netarium-init";

/// With this word the first process makes its control socket itself, at [`GATE_PATH`], and does
/// nothing for anybody before it is told that its node is wired ([`Request::Open`]).
pub const WAIT: &str = "--wait";

/// The folder that a first process and the one who wires its node share until then.
pub const GATE_FOLDER: &str = "/run/netarium";

/// The control socket in that folder.
pub const GATE_PATH: &str = "/run/netarium/control";

/// Where every node sees the logs of its services.
pub const LOGS_PATH: &str = "/var/log/netarium";

/// The descriptor of the listening control socket that the first process is started with.
pub const CONTROL_FD: i32 = 3;

/// The descriptor of the folder for the services' logs that the first process is started with.
pub const LOGS_FD: i32 = 4;

/// What a node's first process is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// The node is wired: services and programs may start. Answered with [`Reply::Done`]; before
    /// this, a first process that was started with [`WAIT`] answers everything else with
    /// [`Reply::Waiting`].
    Open,
    /// Start a service, in place of one with the same name. Answered with [`Reply::Done`] as soon
    /// as it is taken over, before it is ready.
    Start(Service),
    /// Stop a service and forget it: SIGTERM or the signal that it says, then SIGKILL. Answered when
    /// it has ended.
    Stop(Name),
    /// Tell how the services are. Answered with [`Reply::Services`].
    Status,
    /// Tell how the services are as soon as none of them is waiting or starting any more.
    Settled,
    /// Run a program beside the services, not restarted.
    ///
    /// Without a terminal, standard input, output and error come as three descriptors with this
    /// message. With one, [`Reply::Running`] brings the terminal's controlling side. When the
    /// program has ended, [`Reply::Exited`] follows. If the connection is closed before, the
    /// program gets SIGHUP, then SIGKILL.
    Run(Run),
    /// The terminal of the program run on this connection has a new size. Not answered.
    Resize(TerminalSize),
    /// Send a signal, by its number, to the program run on this connection. Not answered.
    Signal(i32),
}

/// A program to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// Its environment, besides `PATH`, `HOME`, `TERM` and `HOSTNAME`.
    pub environment: BTreeMap<String, String>,
    /// The folder it starts in; `/root` if there is none.
    pub folder: Option<String>,
    /// Whom it runs as; root if there is nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<User>,
    /// The terminal it gets, if it gets one.
    pub terminal: Option<TerminalSize>,
}

/// The size of a terminal, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

/// What a node's first process answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// It is done.
    Done,
    /// The node is not wired yet; see [`Request::Open`].
    Waiting,
    /// It cannot be done.
    Refused(String),
    /// How the services are, in the order of their names.
    Services(Vec<ServiceStatus>),
    /// The program runs; with a terminal, its controlling side comes with this message.
    Running {
        /// Its process number inside the node.
        pid: u32,
    },
    /// The program has ended.
    Exited(Exit),
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    /// With this status.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// How a service is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// The service.
    pub service: Service,
    /// What it is doing.
    pub state: ServiceState,
    /// Its process number inside the node, while it runs.
    pub pid: Option<u32>,
    /// How often it was started again after it had ended.
    pub restarts: u32,
}

/// What a service is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServiceState {
    /// It waits for services that must be ready before.
    Waiting,
    /// Its program runs, or is about to run again, and is not ready.
    Starting,
    /// It runs and is ready.
    Ready,
    /// It runs, but the program that is to tell whether it is well says no, or nothing; why.
    Unhealthy(String),
    /// It has ended with status 0 and is not to be restarted.
    Done,
    /// It has ended otherwise, or could not be started; the reason, with the last thing seen.
    Failed(String),
}
