//! Giving up what is needed only to open devices and sockets.

use std::io;

use rustix::thread::{CapabilitySet, CapabilitySets};

/// Takes every capability from the calling thread and all that it starts, for good
/// (capabilities(7)), but the one to listen to a port below 1024.
///
/// # Errors
/// If the kernel refuses.
pub(crate) fn give_up() -> io::Result<()> {
    rustix::thread::set_no_new_privs(true)?;
    rustix::thread::clear_ambient_capability_set()?;
    let few = CapabilitySets {
        effective: CapabilitySet::NET_BIND_SERVICE,
        permitted: CapabilitySet::NET_BIND_SERVICE,
        inheritable: CapabilitySet::empty(),
    };
    Ok(rustix::thread::set_capabilities(None, few)?)
}
