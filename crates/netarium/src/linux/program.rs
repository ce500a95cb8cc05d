//! The one place where programs are started: by name, with an argument list, never through a
//! shell. What they write to stderr is kept for the error.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use rustix::fs::{Access, access};

/// How many lines of a failed program's stderr an error shows.
const LAST_LINES: usize = 12;

/// A program and what it is started with.
#[derive(Debug)]
pub(crate) struct Program {
    name: OsString,
    command: Command,
}

/// Why a program did not do its work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProgramError {
    /// It is not on this machine.
    #[error("cannot find {name}")]
    Missing {
        /// The program.
        name: String,
    },
    /// The kernel did not start it.
    #[error("cannot start {name}")]
    Start {
        /// The program.
        name: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// It ended with an error.
    #[error("{name} failed with {status}{}{stderr}", if stderr.is_empty() { "" } else { ":\n" })]
    Failed {
        /// The program.
        name: String,
        /// How it ended.
        status: ExitStatus,
        /// The last lines it wrote to stderr.
        stderr: String,
    },
}

impl ProgramError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { name } => Some(format!("apt install {}", package_of(name))),
            Self::Start { .. } | Self::Failed { .. } => None,
        }
    }
}

impl Program {
    /// A program that is looked for in `PATH` and where the system's own programs are, unless `name`
    /// is a path.
    pub(crate) fn new(name: impl AsRef<OsStr>) -> Self {
        let name = name.as_ref().to_owned();
        // What is found nowhere, the kernel says so of.
        let path = find(&name).unwrap_or_else(|| PathBuf::from(&name));
        #[expect(clippy::disallowed_methods, reason = "this is the home of started programs")]
        let mut command = Command::new(path);
        command.arg0(&name);
        command.stdin(Stdio::null());
        Self { name, command }
    }

    /// Whether a program of this name would be found.
    pub(crate) fn is_there(name: &str) -> bool {
        find(OsStr::new(name)).is_some()
    }

    /// Adds an argument.
    pub(crate) fn arg(mut self, word: impl AsRef<OsStr>) -> Self {
        self.command.arg(word);
        self
    }

    /// Adds arguments.
    pub(crate) fn args(mut self, words: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.command.args(words);
        self
    }

    /// Calls the program by another name than that of its file.
    pub(crate) fn arg0(mut self, name: impl AsRef<OsStr>) -> Self {
        self.command.arg0(name);
        self
    }

    /// Sets a variable of its environment.
    pub(crate) fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.command.env(key, value);
        self
    }

    /// Puts it into a process group of its own, so that Ctrl-C does not reach it.
    pub(crate) fn own_group(mut self) -> Self {
        self.command.process_group(0);
        self
    }

    /// Gives it something to read.
    pub(crate) fn stdin(mut self, from: impl Into<Stdio>) -> Self {
        self.command.stdin(from);
        self
    }

    /// Takes what it writes to stdout somewhere.
    pub(crate) fn stdout(mut self, to: impl Into<Stdio>) -> Self {
        self.command.stdout(to);
        self
    }

    /// Takes what it writes to stderr somewhere.
    pub(crate) fn stderr(mut self, to: impl Into<Stdio>) -> Self {
        self.command.stderr(to);
        self
    }

    /// Starts it from a process without a tokio runtime, and does not wait.
    ///
    /// # Errors
    /// If it is missing or cannot be started.
    pub(crate) fn start_now(mut self) -> Result<Child, ProgramError> {
        self.command.spawn().map_err(|error| failed_start(&self.name, error))
    }

    /// Becomes the program: the calling process goes on as that. Only an error comes back.
    pub(crate) fn become_it(mut self) -> ProgramError {
        let error = self.command.exec();
        failed_start(&self.name, error)
    }

    /// Runs it to its end from a process without a tokio runtime.
    ///
    /// # Errors
    /// If it is missing, cannot be started or fails.
    pub(crate) fn run_now(mut self) -> Result<Output, ProgramError> {
        let output = self.command.output().map_err(|error| failed_start(&self.name, error))?;
        checked(&self.name, output)
    }

    /// Starts it and does not wait. It goes on when the child is dropped.
    ///
    /// # Errors
    /// If it is missing or cannot be started.
    pub(crate) fn start_detached(self) -> Result<tokio::process::Child, ProgramError> {
        let Self { name, command } = self;
        let mut command = tokio::process::Command::from(command);
        command.spawn().map_err(|error| failed_start(&name, error))
    }

    /// Runs it to its end. It is killed when the future is dropped.
    ///
    /// # Errors
    /// If it is missing, cannot be started or fails.
    pub(crate) async fn run(self) -> Result<Output, ProgramError> {
        let Self { name, command } = self;
        let mut command = tokio::process::Command::from(command);
        let output = command.kill_on_drop(true).output().await;
        checked(&name, output.map_err(|error| failed_start(&name, error))?)
    }
}

/// Where a program is. An ordinary user's `PATH` does not have the folders of the system's programs,
/// and nft(8) is there.
fn find(name: &OsStr) -> Option<PathBuf> {
    if name.as_bytes().contains(&b'/') {
        return Some(PathBuf::from(name));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|path| access(path, Access::EXEC_OK).is_ok() && path.is_file())
}

fn failed_start(name: &OsStr, source: io::Error) -> ProgramError {
    let name = name.to_string_lossy().into_owned();
    if source.kind() == io::ErrorKind::NotFound {
        ProgramError::Missing { name }
    } else {
        ProgramError::Start { name, source }
    }
}

fn checked(name: &OsStr, output: Output) -> Result<Output, ProgramError> {
    if output.status.success() {
        return Ok(output);
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let stderr = lines[lines.len().saturating_sub(LAST_LINES)..].join("\n");
    let name = String::from_utf8_lossy(name.as_bytes()).into_owned();
    Err(ProgramError::Failed { name, status: output.status, stderr })
}

/// The Debian package of a program that we start.
fn package_of(program: &str) -> &str {
    match program {
        "newuidmap" | "newgidmap" => "uidmap",
        "nft" => "nftables",
        "ip" => "iproute2",
        "pasta" => "passt",
        "qemu-aarch64-static" | "qemu-x86_64-static" => "qemu-user-static",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_named_with_its_package() {
        let error = Program::new("newuidmap-that-is-not-there").run_now().unwrap_err();
        assert_eq!(error.to_string(), "cannot find newuidmap-that-is-not-there");
        let missing = ProgramError::Missing { name: "newgidmap".to_owned() };
        assert_eq!(missing.hint().as_deref(), Some("apt install uidmap"));
    }

    #[test]
    fn a_failed_program_shows_the_last_lines_of_its_stderr() {
        let error = Program::new("ls").env("LC_ALL", "C").arg("/not-there").run_now().unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("ls failed with exit status: 2:\n"), "{text}");
        assert!(text.contains("No such file or directory"), "{text}");
    }
}
