//! Whom a program runs as: looked up in the node's own files, and become between fork and exec.
//!
//! Another user than root has no capabilities and cannot get any, as with container engines.

use std::fs::File;
use std::io::{self, Read};

use netarium_core::user::{Account, Unknown, User};
use rustix::fs::{Mode, OFlags};

/// The most that is read of a file of users; it belongs to the node, and may be anything.
const LONGEST: u64 = 1 << 20;

/// Why a user is not known.
#[derive(Debug, thiserror::Error)]
pub(super) enum UserError {
    /// The node has no such user or group.
    #[error("{0} in this node")]
    Unknown(#[from] Unknown),
    /// The node's list cannot be read.
    #[error("cannot read {0}: {1}")]
    Read(&'static str, io::Error),
}

/// Looks a user up.
///
/// # Errors
/// If there is no such user or group.
pub(super) fn find(user: &User) -> Result<Account, UserError> {
    Ok(user.find(&text("/etc/passwd")?, &text("/etc/group")?)?)
}

/// A file's text; empty if it is not there. A pipe in its place does not hold us up.
fn text(path: &'static str) -> Result<String, UserError> {
    let read = || -> io::Result<Vec<u8>> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is no file"));
        }
        let mut bytes = Vec::new();
        file.take(LONGEST).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    match read() {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(UserError::Read(path, error)),
    }
}

/// The highest capability that is tried; the kernel says where its own end.
const CAPABILITIES: libc::c_ulong = 64;

/// `_LINUX_CAPABILITY_VERSION_3` (capget(2)).
const CAPABILITY_VERSION: u32 = 0x2008_0522;

/// Makes the calling process a user without any capability, for good. Only system calls are made:
/// it is called between fork and exec. Says whether it is done; if not, errno says why.
///
/// In a lab with a single id the kernel can make nobody of it but root, and the lab's filter
/// answers the calls that would with success: what is taken away then is the capabilities.
#[expect(unsafe_code, reason = "the path from fork to exec is made of bare system calls")]
pub(super) fn become_user(account: &Account) -> bool {
    let (uid, gid) = (account.uid, account.gid);
    // SAFETY: the list of groups is as long as is said; the headers and data of capset are what
    // the kernel wants for its third version, and outlive the call; the rest takes numbers.
    unsafe {
        // The C library's own calls would wake other threads, of which there are none.
        let groups = account.groups.as_ptr();
        if libc::syscall(libc::SYS_setgroups, account.groups.len(), groups) == -1
            || libc::syscall(libc::SYS_setresgid, gid, gid, gid) == -1
        {
            return false;
        }
        if uid == 0 {
            return true;
        }
        for capability in 0..CAPABILITIES {
            // The first that the kernel does not know ends it.
            if libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) == -1 {
                break;
            }
        }
        if libc::syscall(libc::SYS_setresuid, uid, uid, uid) == -1 {
            return false;
        }
        let header: [u32; 2] = [CAPABILITY_VERSION, 0];
        let nothing = [0_u32; 6];
        libc::syscall(libc::SYS_capset, header.as_ptr(), nothing.as_ptr()) == 0
    }
}
