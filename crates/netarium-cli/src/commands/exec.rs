//! `exec` and `shell`: programs in a node, on a terminal or with the streams of this command.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use netarium::lab::Lab;
use netarium::session::{Program, RunningProgram, SessionError, Streams};
use netarium_core::control::Exit;
use netarium_core::name::Name;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;

use super::Context;
use crate::args::{Exec, OpenShell};
use crate::choose::{self, Otherwise};
use crate::ending::Ending;
use crate::interrupt::Interrupts;
use crate::print;
use crate::terminal::{self, Raw};

/// What is known of our terminal and matters to programs on it.
const OF_TERMINAL: [&str; 4] = ["TERM", "COLORTERM", "LANG", "NO_COLOR"];

/// The shell that people like, where it is there, else the one that is always there.
const SHELL: &str = "if command -v bash >/dev/null 2>&1; then exec bash; else exec sh; fi";

/// Runs a program in a node.
///
/// # Errors
/// If the lab is not up, the node does not run, or the program cannot be started.
pub(crate) async fn exec(context: &Context, arguments: Exec) -> anyhow::Result<Ending> {
    let lab = choose::lab(&context.data, arguments.lab.lab.as_deref(), Otherwise::OnlyLab)?;
    let node = lab.node(&arguments.node)?;
    let program = Program {
        argv: arguments.program,
        environment: arguments.environment.into_iter().collect(),
        folder: arguments.folder,
        user: arguments.user,
    };
    if terminal::is_there() && !arguments.no_terminal {
        on_terminal(&lab, &node, program).await
    } else {
        with_streams(&lab, &node, program).await
    }
}

/// Opens a shell in a node.
///
/// # Errors
/// As [`exec`].
pub(crate) async fn shell(context: &Context, arguments: OpenShell) -> anyhow::Result<Ending> {
    let lab = choose::lab(&context.data, arguments.lab.lab.as_deref(), Otherwise::OnlyLab)?;
    let node = lab.node(&arguments.node)?;
    let argv = ["sh", "-c", SHELL].map(str::to_owned).to_vec();
    let program = Program { argv, ..Program::default() };
    if terminal::is_there() {
        on_terminal(&lab, &node, program).await
    } else {
        with_streams(&lab, &node, program).await
    }
}

/// Gives the program our own streams, and passes signals on.
async fn with_streams(lab: &Lab, node: &Name, program: Program) -> anyhow::Result<Ending> {
    let mut interrupts = Interrupts::listen()?;
    let (input, output, error) = (io::stdin(), io::stdout(), io::stderr());
    let streams = Streams::Given([input.as_fd(), output.as_fd(), error.as_fd()]);
    let running = match lab.run(node, program, streams) {
        Ok(running) => Arc::new(running),
        Err(error) => return not_started(error),
    };
    let mut end = wait(&running);
    loop {
        tokio::select! {
            ended = &mut end => return Ok(Ending::Program(ended??)),
            // A program that has just ended needs no signal any more.
            number = interrupts.next() => drop(running.signal(number)),
        }
    }
}

/// Gives the program a terminal of the node, and ours to the person who uses it.
async fn on_terminal(lab: &Lab, node: &Name, mut program: Program) -> anyhow::Result<Ending> {
    add_terminal_variables(&mut program.environment);
    let mut sizes = signal(SignalKind::window_change())?;
    let mut interrupts = Interrupts::listen()?;
    let mut running = match lab.run(node, program, Streams::Terminal(terminal::size())) {
        Ok(running) => running,
        Err(error) => return not_started(error),
    };
    let screen = running.take_terminal().ok_or_else(|| io::Error::other("no terminal came"))?;
    let raw = Raw::enter()?;
    let (over, at_end) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let shown = join_terminals(screen, over)?;
    let running = Arc::new(running);
    let mut end = wait(&running);
    let ended = loop {
        tokio::select! {
            ended = &mut end => break ended?,
            Some(()) = sizes.recv() => drop(running.resize(terminal::size())),
            // Not from a key, since those go to the program: somebody wants this command to end.
            number = interrupts.next() => {
                drop(raw);
                return Ok(Ending::Interrupted(number));
            }
        }
    };
    drop(at_end);
    // What the program showed last comes before the prompt of whoever called us.
    shown.await?;
    drop(raw);
    Ok(Ending::Program(ended?))
}

/// Passes keys one way and the screen the other. The answer is there when the screen is complete.
fn join_terminals(screen: OwnedFd, over: OwnedFd) -> io::Result<JoinHandle<()>> {
    let keys = screen.try_clone()?;
    // It waits for a key until the command ends: nobody waits for it.
    std::thread::spawn(move || terminal::pass_keys(&keys));
    Ok(tokio::task::spawn_blocking(move || terminal::pass_screen(&screen, &over)))
}

fn wait(running: &Arc<RunningProgram>) -> JoinHandle<Result<Exit, SessionError>> {
    let running = Arc::clone(running);
    tokio::task::spawn_blocking(move || running.wait())
}

fn add_terminal_variables(environment: &mut BTreeMap<String, String>) {
    for name in OF_TERMINAL {
        if let Ok(value) = std::env::var(name) {
            environment.entry(name.to_owned()).or_insert(value);
        }
    }
}

/// The node's own words about a program that it cannot run are all there is to say.
fn not_started(error: SessionError) -> anyhow::Result<Ending> {
    match error {
        SessionError::Refused { reason } if reason.starts_with("cannot run ") => {
            print::say(format_args!("{}error:{:#} {reason}", print::BAD, print::BAD));
            Ok(Ending::NoProgram)
        }
        other => Err(other.into()),
    }
}
