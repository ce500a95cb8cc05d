//! TUN devices (Documentation/networking/tuntap.rst of the kernel): links whose other end is a program.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// Makes a TUN device in the network namespace of the calling thread, or opens the one that is there.
/// It is gone when its file is closed, unless it was told to stay.
///
/// # Errors
/// If the kernel has no TUN devices, or another program has this one open.
#[expect(unsafe_code, reason = "TUNSETIFF has no safe wrapper")]
pub(crate) fn open(name: &str) -> io::Result<File> {
    let file = File::options().read(true).write(true).open("/dev/net/tun")?;
    // SAFETY: ifreq is plain data for which all zero is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if name.len() >= request.ifr_name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (place, byte) in request.ifr_name.iter_mut().zip(name.bytes()) {
        // Some processors have characters with a sign, others without.
        *place = libc::c_char::from_ne_bytes([byte]);
    }
    request.ifr_ifru.ifru_flags = i16::try_from(libc::IFF_TUN | libc::IFF_NO_PI)
        .map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    // SAFETY: TUNSETIFF reads and writes one ifreq, which outlives the call.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(file) }
}

/// Makes a TUN device that stays when nobody has it open: what is sent into it is dropped then.
///
/// # Errors
/// If it cannot be made.
#[expect(unsafe_code, reason = "TUNSETPERSIST has no safe wrapper")]
pub(crate) fn make(name: &str) -> io::Result<()> {
    let file = open(name)?;
    let stay: libc::c_ulong = 1;
    // SAFETY: TUNSETPERSIST takes a number, no address.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETPERSIST, stay) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
