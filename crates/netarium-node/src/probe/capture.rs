//! Listens to one interface and counts what it sends, or what it receives, until standard input
//! ends.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::ExitCode;

use netarium_core::ipsec::DECRYPTED;
use netarium_core::outcome::{Capture, Kind, Listening};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, recv, socket_with};

use super::arguments::{Arguments, UsageError};
use super::classify::Classifier;
use super::print;
use crate::kernel;

/// How many frames of each kind are described.
const SAMPLES: usize = 5;
/// How much of a frame is looked at, in bytes.
const LOOKED_AT: u16 = 256;
/// How much the kernel may keep for us, in bytes, if it allows that much.
const BUFFER: i32 = 16 * 1024 * 1024;

/// What is listened to.
pub(crate) struct Place {
    interface: String,
    frames: Frames,
}

/// Which frames of an interface are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frames {
    Sent,
    /// As they came by the wire: without what the kernel itself has taken out of them.
    Received,
    /// With that.
    Arrived,
}

impl Place {
    /// Reads the arguments.
    ///
    /// # Errors
    /// If they are wrong.
    pub(crate) fn from_arguments(arguments: &mut Arguments) -> Result<Self, UsageError> {
        let interface: String = arguments.required("interface", "interface")?;
        let frames = match arguments.option("frames").as_deref() {
            None | Some("sent") => Frames::Sent,
            Some("received") => Frames::Received,
            Some(other) => {
                let wanted = "choice of frames: sent or received";
                return Err(UsageError::Value { value: other.to_owned(), wanted });
            }
        };
        arguments.end()?;
        // Which names there are, the kernel knows; a longer one it cannot even be asked for.
        if (1..=15).contains(&interface.len()) {
            Ok(Self { interface, frames })
        } else {
            Err(UsageError::Value { value: interface, wanted: "name of an interface" })
        }
    }
}

/// Listens.
pub(crate) fn run(place: &Place) -> ExitCode {
    let listened = listen(place).and_then(|socket| {
        print(&Listening { ready: true });
        count(&socket)
    });
    match listened {
        Ok(capture) => {
            print(&capture);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("netarium-probe: cannot listen to {}: {error}", place.interface);
            ExitCode::FAILURE
        }
    }
}

/// A socket that gets the beginning of every frame that is looked at, and nothing else.
fn listen(place: &Place) -> io::Result<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    // With no protocol yet it gets nothing, so no frame of another interface slips in.
    let socket = socket_with(AddressFamily::PACKET, SocketType::RAW, flags, None)?;
    let index = rustix::net::netdevice::name_to_index(&socket, &place.interface)?;
    enlarge(&socket)?;
    keep(&socket, place.frames)?;
    bind(&socket, index)?;
    Ok(socket)
}

/// Makes the buffer as large as the host lets us: going over its limit takes its own root.
pub(super) fn enlarge(socket: &OwnedFd) -> io::Result<()> {
    let set = |option| kernel::set_option(socket.as_fd(), libc::SOL_SOCKET, option, &BUFFER);
    set(libc::SO_RCVBUFFORCE).or_else(|_| set(libc::SO_RCVBUF))
}

/// Lets the kernel throw away all other frames, and the ends of long ones.
pub(super) fn keep(socket: &OwnedFd, frames: Frames) -> io::Result<()> {
    let step = |code: u32, jt, jf, k| libc::sock_filter {
        code: u16::try_from(code).expect("codes of BPF have sixteen bits"),
        jt,
        jf,
        k,
    };
    const OUTGOING: u32 = libc::PACKET_OUTGOING as u32;
    let kind_of_packet = (libc::SKF_AD_OFF + libc::SKF_AD_PKTTYPE).cast_unsigned();
    let mark = (libc::SKF_AD_OFF + libc::SKF_AD_MARK).cast_unsigned();
    let unwanted = match frames {
        Frames::Received => DECRYPTED,
        // What a node forwards keeps its mark.
        Frames::Sent | Frames::Arrived => 0,
    };
    let (if_sent, if_not) = match frames {
        Frames::Sent => (0, 3),
        Frames::Received | Frames::Arrived => (3, 0),
    };
    let mut steps = [
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, kind_of_packet),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, if_sent, if_not, OUTGOING),
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, mark),
        step(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, 1, 0, unwanted),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, LOOKED_AT.into()),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
    ];
    let length = u16::try_from(steps.len()).expect("there are six");
    let program = libc::sock_fprog { len: length, filter: steps.as_mut_ptr() };
    kernel::set_option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
}

#[expect(unsafe_code, reason = "rustix has no addresses of packet(7)")]
pub(super) fn bind(socket: &OwnedFd, index: u32) -> io::Result<()> {
    let address = libc::sockaddr_ll {
        sll_family: u16::try_from(libc::AF_PACKET).expect("it is 17"),
        sll_protocol: u16::try_from(libc::ETH_P_ALL).expect("it is 3").to_be(),
        sll_ifindex: i32::try_from(index).map_err(io::Error::other)?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let length = u32::try_from(size_of::<libc::sockaddr_ll>()).expect("it is 20");
    // SAFETY: the pointer and the length are those of `address`, which outlives the call.
    let result = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn count(socket: &OwnedFd) -> io::Result<Capture> {
    let mut capture = Capture::default();
    let mut classifier = Classifier::default();
    until_input_ends(socket, || take_all(socket, &mut classifier, &mut capture))?;
    capture.dropped = dropped(socket)?;
    Ok(capture)
}

/// Has all taken that comes to the socket, until standard input ends.
pub(super) fn until_input_ends(
    socket: &OwnedFd,
    mut take_all: impl FnMut() -> io::Result<()>,
) -> io::Result<()> {
    loop {
        let input = rustix::stdio::stdin();
        let mut watched = [PollFd::new(socket, PollFlags::IN), PollFd::new(&input, PollFlags::IN)];
        match poll(&mut watched, None) {
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(errno.into()),
        }
        let told = !watched[1].revents().is_empty();
        let over = told && !matches!(rustix::io::read(input, &mut [0; 64]), Ok(1..));
        // Also after the end has come: what was sent before it is there by now.
        take_all()?;
        if over {
            return Ok(());
        }
    }
}

fn take_all(
    socket: &OwnedFd,
    classifier: &mut Classifier,
    capture: &mut Capture,
) -> io::Result<()> {
    let mut frame = [0; LOOKED_AT as usize];
    // No more than the buffer can hold at a time, so that the end is heard on a busy interface.
    for _ in 0..100_000 {
        match recv(socket, &mut frame[..], RecvFlags::empty()) {
            Ok((length, _)) => {
                let seen = classifier.look(frame.get(..length).unwrap_or(&frame));
                note(capture, seen.kind, seen.line);
            }
            Err(Errno::AGAIN) => return Ok(()),
            // An interface that goes down says so once, and goes on when it is up again.
            Err(Errno::INTR | Errno::NETDOWN) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

fn note(capture: &mut Capture, kind: Kind, line: String) {
    *capture.frames.entry(kind).or_default() += 1;
    let samples = capture.samples.entry(kind).or_default();
    if samples.len() < SAMPLES {
        samples.push(line);
    }
}

/// How many frames did not fit into the buffer.
#[expect(unsafe_code, reason = "rustix has no options of packet(7)")]
fn dropped(socket: &OwnedFd) -> io::Result<u64> {
    let mut statistics = [0_u32; 2];
    let mut length = u32::try_from(size_of::<[u32; 2]>()).expect("it is 8");
    // SAFETY: the pointers are to two numbers and their length, which outlive the call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_STATISTICS,
            statistics.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(statistics[1].into()) }
}
