//! The one place where a namespace is entered.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::thread::LinkNameSpaceType;

/// The network namespace of a process of ours.
#[derive(Debug)]
pub(crate) struct NetworkNamespace(OwnedFd);

impl NetworkNamespace {
    /// The network namespace that the process with this number in the host's `/proc` is in.
    ///
    /// # Errors
    /// If there is no such process, or it is not ours.
    pub(crate) fn of(pid: u32) -> io::Result<Self> {
        Ok(Self(File::open(format!("/proc/{pid}/ns/net"))?.into()))
    }

    /// That of the calling process.
    ///
    /// # Errors
    /// If `/proc` is not there.
    pub(crate) fn of_caller() -> io::Result<Self> {
        Ok(Self(File::open("/proc/self/ns/net")?.into()))
    }

    /// Calls `visit` inside, on a thread of its own that then ends.
    ///
    /// # Errors
    /// If the namespace cannot be entered.
    pub(crate) fn enter<T: Send>(&self, visit: impl FnOnce() -> T + Send) -> io::Result<T> {
        std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    move_this_thread(self.0.as_fd())?;
                    Ok(visit())
                })
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

/// The mount namespace of a container that another engine has made.
#[derive(Debug)]
pub(crate) struct MountNamespace(OwnedFd);

impl MountNamespace {
    /// The mount namespace that the process with this number in the host's `/proc` is in.
    ///
    /// # Errors
    /// If there is no such process.
    pub(crate) fn of(pid: u32) -> io::Result<Self> {
        Ok(Self(File::open(format!("/proc/{pid}/ns/mnt"))?.into()))
    }

    /// Calls `visit` inside, on a thread of its own that then ends. Its `/proc` does not have that
    /// thread, whose root folder is that of the container.
    ///
    /// # Errors
    /// If the namespace cannot be entered.
    pub(crate) fn enter<T: Send>(&self, visit: impl FnOnce() -> T + Send) -> io::Result<T> {
        std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    move_this_threads_mounts(self.0.as_fd())?;
                    Ok(visit())
                })
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

/// Calls `visit` in a new network namespace, on a thread of its own. With the thread it ends.
///
/// # Errors
/// If the caller may make none.
pub(crate) fn in_new_network<T: Send>(visit: impl FnOnce() -> T + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        scope
            .spawn(|| {
                give_this_thread_a_network()?;
                Ok(visit())
            })
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

impl AsFd for NetworkNamespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the home of setns: see the module's page")]
fn move_this_thread(namespace: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::thread::move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network))?)
}

#[expect(clippy::disallowed_methods, reason = "a thread of ours that ends with its visit")]
#[expect(unsafe_code, reason = "see SAFETY")]
fn give_this_thread_a_network() -> io::Result<()> {
    // SAFETY: only the network of this thread changes; memory and descriptors stay shared.
    Ok(unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }?)
}

/// The kernel lets a thread into another mount namespace only if it shares its root and working folder
/// with no other thread (setns(2)).
#[expect(clippy::disallowed_methods, reason = "a thread of ours that ends with its visit")]
#[expect(unsafe_code, reason = "see SAFETY")]
fn move_this_threads_mounts(namespace: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: only root and working folder of this thread become its own; memory and descriptors stay
    // shared.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::FS) }?;
    Ok(rustix::thread::move_into_link_name_space(namespace, Some(LinkNameSpaceType::Mount))?)
}
