//! Programs are started here and nowhere else: by fork(2) and execve(2), with exactly the
//! environment, the streams and the folder they are given, and with nothing else of ours.
//!
//! It waits until the program runs or cannot, and never longer; it watches nothing.

use std::collections::BTreeMap;
use std::ffi::{CString, NulError, c_char};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use netarium_core::user::{Account, User};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use super::users;

/// Where programs are looked for that are named without a slash.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A program to start, as leader of a process group of its own, with a terminal also of a session.
pub(crate) struct Program<'a> {
    /// The program and its arguments.
    pub argv: &'a [String],
    /// Its environment, besides what every program gets.
    pub environment: &'a BTreeMap<String, String>,
    /// The folder it starts in.
    pub folder: &'a str,
    /// Whom it runs as; root if there is nobody.
    pub user: Option<&'a User>,
    /// Its standard input, output and error.
    pub streams: [BorrowedFd<'a>; 3],
    /// What its standard input is.
    pub input: Input,
}

/// What the standard input of a program is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// A terminal, which becomes the controlling one of its session.
    Terminal,
    /// Anything else.
    Stream,
}

/// Why a program does not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LaunchError {
    /// There is not even a name.
    #[error("no program is named")]
    Nothing,
    /// The kernel ends texts with a zero byte.
    #[error("a zero byte cannot be part of a program's arguments, environment or folder")]
    Zero(#[from] NulError),
    /// There are too many processes or descriptors, or too little memory.
    #[error("cannot start a process: {}", plain(.0))]
    Process(#[source] io::Error),
    /// The folder it starts in cannot be entered.
    #[error("cannot run {program} in {folder}: {}", plain(.source))]
    Folder { program: String, folder: String, source: io::Error },
    /// Whom it is to run as is not there, or cannot be found out.
    #[error("cannot run {program} as {user}: {reason}")]
    User { program: String, user: String, reason: String },
    /// The terminal cannot become its own.
    #[error("cannot run {program} on a terminal: {}", plain(.source))]
    Terminal { program: String, source: io::Error },
    /// It cannot be executed.
    #[error("cannot run {program}: {}", plain(.source))]
    Execute { program: String, source: io::Error },
}

/// The system's own words without the number that Rust adds.
fn plain(error: &io::Error) -> String {
    plain_text(&error.to_string())
}

fn plain_text(text: &str) -> String {
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// Starts a program and returns its process number.
///
/// # Errors
/// If it does not run; then no process of it is left.
pub(crate) fn launch(program: &Program<'_>) -> Result<u32, LaunchError> {
    let name = program.argv.first().filter(|name| !name.is_empty()).ok_or(LaunchError::Nothing)?;
    let account = program.user.map(|user| find(name, user)).transpose()?;
    let environment = environment(program, account.as_ref());
    let path = environment.get("PATH").map_or(PATH, String::as_str);
    let variable = |(key, value): (&String, &String)| CString::new(format!("{key}={value}"));
    let prepared = Prepared {
        candidates: candidates(name, path)?,
        argv: Texts::new(program.argv.iter().map(|word| CString::new(word.as_str())))?,
        environment: Texts::new(environment.iter().map(variable))?,
        folder: CString::new(program.folder)?,
        streams: program.streams.map(|stream| stream.as_raw_fd()),
        input: program.input,
        account,
    };
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).map_err(process)?;
    let pid = fork(&prepared, writer.as_raw_fd()).map_err(LaunchError::Process)?;
    drop(writer);
    match first_failure(&reader).map_err(process)? {
        None => Ok(pid),
        Some((step, errno)) => {
            wait_for(pid);
            let source = io::Error::from_raw_os_error(errno);
            let (user, folder) = (program.user, program.folder.to_owned());
            let program = name.clone();
            Err(match step {
                USER => {
                    let user = user.map_or_else(String::new, ToString::to_string);
                    LaunchError::User { program, user, reason: plain(&source) }
                }
                FOLDER => LaunchError::Folder { program, folder, source },
                TERMINAL => LaunchError::Terminal { program, source },
                EXECUTE => LaunchError::Execute { program, source },
                _ => LaunchError::Process(source),
            })
        }
    }
}

fn process(errno: Errno) -> LaunchError {
    LaunchError::Process(errno.into())
}

fn find(program: &str, user: &User) -> Result<Account, LaunchError> {
    users::find(user).map_err(|error| {
        let (program, user) = (program.to_owned(), user.to_string());
        LaunchError::User { program, user, reason: plain_text(&error.to_string()) }
    })
}

/// What every program gets, and over it what it is given.
fn environment(program: &Program<'_>, account: Option<&Account>) -> BTreeMap<String, String> {
    let system = rustix::system::uname();
    let terminal = match program.input {
        Input::Terminal => "xterm-256color",
        Input::Stream => "dumb",
    };
    let home = account.map_or("/root", |it| it.home.as_deref().unwrap_or("/"));
    let usual = [
        ("PATH", PATH.to_owned()),
        ("HOME", home.to_owned()),
        ("TERM", terminal.to_owned()),
        ("HOSTNAME", system.nodename().to_string_lossy().into_owned()),
    ];
    let mut all: BTreeMap<_, _> = usual.map(|(key, value)| (key.to_owned(), value)).into();
    all.extend(program.environment.clone());
    all
}

/// The files that may be meant by a program's name, in the order in which they are tried.
fn candidates(name: &str, path: &str) -> Result<Vec<CString>, NulError> {
    if name.contains('/') {
        return Ok(vec![CString::new(name)?]);
    }
    let folders = path.split(':').filter(|folder| !folder.is_empty());
    folders.map(|folder| CString::new(format!("{folder}/{name}"))).collect()
}

/// Everything the new process needs, made before there is one: between fork and exec it makes
/// nothing but system calls.
struct Prepared {
    candidates: Vec<CString>,
    argv: Texts,
    environment: Texts,
    folder: CString,
    streams: [RawFd; 3],
    input: Input,
    account: Option<Account>,
}

/// Texts in the form execve(2) wants them, and who owns them.
struct Texts {
    pointers: Vec<*const c_char>,
    _owners: Vec<CString>,
}

impl Texts {
    fn new(texts: impl Iterator<Item = Result<CString, NulError>>) -> Result<Self, NulError> {
        let owners = texts.collect::<Result<Vec<_>, _>>()?;
        let ends = std::iter::once(std::ptr::null());
        let pointers = owners.iter().map(|text| text.as_ptr()).chain(ends).collect();
        Ok(Self { pointers, _owners: owners })
    }
}

/// The steps that may fail in the new process.
const STREAMS: u8 = 1;
const TERMINAL: u8 = 2;
const FOLDER: u8 = 3;
const EXECUTE: u8 = 4;
const USER: u8 = 5;

/// The kernel's `struct sigaction` for the default action: nothing but zeroes.
const DEFAULT: [u64; 8] = [0; 8];

#[expect(unsafe_code, reason = "std's Command would bring its own ways with signals and errors")]
fn fork(prepared: &Prepared, report: RawFd) -> io::Result<u32> {
    // SAFETY: this program has one thread, so no lock can be held by another one in the child,
    // and the child goes nowhere but into `become_program`.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            let (step, errno) = become_program(prepared);
            let mut message = [step, 0, 0, 0, 0];
            message[1..].copy_from_slice(&errno.to_ne_bytes());
            // SAFETY: the buffer is as long as is said; _exit runs nothing of the parent's.
            unsafe {
                libc::write(report, message.as_ptr().cast(), message.len());
                libc::_exit(127)
            }
        }
        pid => Ok(u32::try_from(pid).expect("fork returns -1, 0 or a process number")),
    }
}

/// Turns this process into the program. It returns only if that fails: at which step, and why.
#[expect(unsafe_code, reason = "the path from fork to exec is made of bare system calls")]
fn become_program(prepared: &Prepared) -> (u8, i32) {
    let errno = || io::Error::last_os_error().raw_os_error().unwrap_or(0);
    // SAFETY: all pointers are to texts with a zero byte at their end, and to lists with a null
    // at theirs, which `prepared` keeps alive; the set of signals is filled in before it is used.
    unsafe {
        // Only a session can have a controlling terminal. Without one, a session of its own would
        // have the scheduler share out between this program and what it waits for (sched(7),
        // autogroup).
        match prepared.input {
            Input::Terminal => libc::setsid(),
            Input::Stream => libc::setpgid(0, 0),
        };
        for (target, stream) in (0..).zip(prepared.streams) {
            if libc::dup2(stream, target) == -1 {
                return (STREAMS, errno());
            }
        }
        if prepared.input == Input::Terminal && libc::ioctl(0, libc::TIOCSCTTY, 0) == -1 {
            return (TERMINAL, errno());
        }
        // The C library refuses to touch signals 32 and 33, which it uses itself; a program may
        // have been started with one of them ignored all the same.
        for signal in 1..=libc::SIGRTMAX() {
            let nothing = std::ptr::null_mut::<u8>();
            libc::syscall(libc::SYS_rt_sigaction, signal, DEFAULT.as_ptr(), nothing, 8);
        }
        let mut none = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut());
        if let Some(account) = &prepared.account
            && !users::become_user(account)
        {
            return (USER, errno());
        }
        if libc::chdir(prepared.folder.as_ptr()) == -1 {
            return (FOLDER, errno());
        }
        let mut failure = libc::ENOENT;
        for file in &prepared.candidates {
            let argv = prepared.argv.pointers.as_ptr();
            libc::execve(file.as_ptr(), argv, prepared.environment.pointers.as_ptr());
            match errno() {
                libc::ENOENT | libc::ENOTDIR => {}
                libc::EACCES => failure = libc::EACCES,
                other => return (EXECUTE, other),
            }
        }
        (EXECUTE, failure)
    }
}

/// What the new process says before it becomes the program; nothing, if it does become it.
fn first_failure(reader: &OwnedFd) -> rustix::io::Result<Option<(u8, i32)>> {
    let mut message = [0; 5];
    loop {
        match rustix::io::read(reader, &mut message) {
            Ok(5) => {
                let [step, a, b, c, d] = message;
                return Ok(Some((step, i32::from_ne_bytes([a, b, c, d]))));
            }
            Ok(_) => return Ok(None),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Waits for a process that is about to end, so that it never shows up as an ended one.
fn wait_for(pid: u32) {
    let options = rustix::process::WaitOptions::empty();
    if let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) {
        while matches!(rustix::process::waitpid(Some(pid), options), Err(Errno::INTR)) {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_a_slash_is_not_looked_for() {
        assert_eq!(candidates("./app", PATH), Ok(vec![c"./app".to_owned()]));
    }

    #[test]
    fn a_name_without_a_slash_is_looked_for_in_the_order_of_the_path() {
        let files = candidates("app", "/sbin::/bin").unwrap();
        assert_eq!(files, [c"/sbin/app".to_owned(), c"/bin/app".to_owned()]);
    }
}
