//! A TUN device that somebody else has made (Documentation/networking/tuntap.rst of the kernel).

use std::fs::File;
use std::io::{self, Read, Write};
use std::iter;
use std::sync::Arc;

use gotatun::packet::{Ip, Packet, PacketBufPool};
use gotatun::tun::{IpRecv, IpSend, MtuWatcher};
use tokio::io::unix::AsyncFd;

/// An open TUN device.
#[derive(Clone)]
pub(crate) struct Tun {
    file: Arc<AsyncFd<File>>,
    mtu: u16,
}

/// Opens the device called `name`, and tells the largest packet it takes.
///
/// # Errors
/// If there is no such device, or another program has it open.
pub(crate) fn open(name: &str) -> io::Result<(File, u16)> {
    // Without the device the kernel would make one, with neither routes nor a firewall.
    let mtu = std::fs::read_to_string(format!("/sys/class/net/{name}/mtu"))?;
    let mtu = mtu.trim().parse().map_err(io::Error::other)?;
    let file = File::options().read(true).write(true).open("/dev/net/tun")?;
    rustix::fs::fcntl_setfl(&file, rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NONBLOCK)?;
    attach(&file, name)?;
    Ok((file, mtu))
}

impl Tun {
    /// A device that takes packets of `mtu` bytes.
    ///
    /// # Errors
    /// If it cannot be waited for.
    #[expect(unsafe_code, reason = "see SAFETY")]
    pub(crate) fn new(file: File, mtu: u16) -> io::Result<Self> {
        // SAFETY: a File has its descriptor for itself, always the same one, until it is dropped.
        let file = unsafe { AsyncFd::register(file) }?;
        Ok(Self { file: Arc::new(file), mtu })
    }
}

#[expect(unsafe_code, reason = "TUNSETIFF has no safe wrapper")]
fn attach(file: &File, name: &str) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    // SAFETY: ifreq is plain data for which all zero is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if name.len() >= request.ifr_name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (place, byte) in request.ifr_name.iter_mut().zip(name.bytes()) {
        // Some processors have characters with a sign, others without.
        *place = libc::c_char::from_ne_bytes([byte]);
    }
    request.ifr_ifru.ifru_flags =
        i16::try_from(libc::IFF_TUN | libc::IFF_NO_PI).map_err(io::Error::other)?;
    // SAFETY: TUNSETIFF reads and writes one ifreq, which outlives the call.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

impl IpSend for Tun {
    async fn send(&mut self, packet: Packet<Ip>) -> io::Result<()> {
        let bytes = packet.into_bytes();
        loop {
            let mut ready = self.file.writable().await?;
            match ready.try_io(|file| file.get_ref().write(&bytes)) {
                Ok(result) => return result.map(drop),
                Err(_) => continue,
            }
        }
    }
}

impl IpRecv for Tun {
    async fn recv<'a>(
        &'a mut self,
        pool: &mut PacketBufPool,
    ) -> io::Result<impl Iterator<Item = Packet<Ip>> + Send + 'a> {
        let mut packet = pool.get();
        loop {
            let length = loop {
                let mut ready = self.file.readable().await?;
                match ready.try_io(|file| file.get_ref().read(&mut packet)) {
                    Ok(result) => break result?,
                    Err(_) => continue,
                }
            };
            packet.truncate(length);
            match packet.try_into_ip() {
                Ok(packet) => return Ok(iter::once(packet)),
                // What is no IP packet nobody can send: the next one.
                Err(_) => packet = pool.get(),
            }
        }
    }

    fn mtu(&self) -> MtuWatcher {
        MtuWatcher::new(self.mtu)
    }
}
