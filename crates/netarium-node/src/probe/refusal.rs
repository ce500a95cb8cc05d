//! Who says that there is no way, and why: ICMP errors and the kernel's own words for them.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd};

use netarium_core::outcome::{Icmp, Outcome, Reason};
use rustix::io::Errno;

use crate::kernel;

/// What an ICMP error says (RFC 792, RFC 1812 5.2.7.1); `None` if it is no error about the way.
pub(crate) fn reason_v4(kind: u8, code: u8) -> Option<Reason> {
    match (kind, code) {
        (3, 0 | 6 | 8 | 11) => Some(Reason::NetworkUnreachable),
        (3, 2) => Some(Reason::ProtocolUnreachable),
        (3, 3) => Some(Reason::PortUnreachable),
        (3, 4) => Some(Reason::TooBig),
        (3, 9 | 10 | 13 | 14 | 15) => Some(Reason::Prohibited),
        (3, _) => Some(Reason::HostUnreachable),
        (11, _) => Some(Reason::TimeExceeded),
        _ => None,
    }
}

/// What an ICMPv6 error says (RFC 4443); `None` if it is no error about the way.
pub(crate) fn reason_v6(kind: u8, code: u8) -> Option<Reason> {
    match (kind, code) {
        (1, 0) => Some(Reason::NetworkUnreachable),
        (1, 1 | 5 | 6) => Some(Reason::Prohibited),
        (1, 4) => Some(Reason::PortUnreachable),
        (1, _) => Some(Reason::HostUnreachable),
        (2, _) => Some(Reason::TooBig),
        (3, _) => Some(Reason::TimeExceeded),
        (4, 1) => Some(Reason::ProtocolUnreachable),
        _ => None,
    }
}

/// What an error of the kernel says about the way to `to`, if anything. A reset can only have
/// come from there; everything else is the node's own word, unless an ICMP error says more.
pub(crate) fn from_errno(errno: Errno, to: IpAddr) -> Option<Outcome> {
    let refused = |by, reason| Some(Outcome::Refused { by, reason, icmp: None });
    match errno {
        Errno::CONNREFUSED => refused(Some(to), Reason::ConnectionRefused),
        Errno::CONNRESET | Errno::PIPE => refused(Some(to), Reason::ConnectionReset),
        Errno::NETUNREACH | Errno::ADDRNOTAVAIL => refused(None, Reason::NetworkUnreachable),
        Errno::HOSTUNREACH => refused(None, Reason::HostUnreachable),
        Errno::ACCESS => refused(None, Reason::Prohibited),
        Errno::PERM => Some(filtered()),
        Errno::MSGSIZE => refused(None, Reason::TooBig),
        _ => None,
    }
}

/// What an ICMP error says. That a host is not found on a segment of the node's own, the kernel tells
/// by an error from the node to itself, which is nobody's word but its own.
pub(crate) fn by_icmp(by: Option<IpAddr>, reason: Reason, icmp: Icmp) -> Outcome {
    if reason == Reason::HostUnreachable && by.is_some_and(is_own) {
        return Outcome::Refused { by: None, reason, icmp: None };
    }
    Outcome::Refused { by, reason, icmp: Some(icmp) }
}

/// Whether an address is one of the node's own: only those can be bound.
fn is_own(address: IpAddr) -> bool {
    std::net::UdpSocket::bind((address, 0)).is_ok()
}

/// What is said when the node's own firewall drops what it sends.
pub(crate) fn filtered() -> Outcome {
    Outcome::Refused { by: None, reason: Reason::Filtered, icmp: None }
}

/// Lets the kernel keep the ICMP errors that come for a socket; see [`from_queue`].
pub(crate) fn keep_errors(socket: &impl AsFd, to: IpAddr) -> io::Result<()> {
    let (level, option) = match to {
        IpAddr::V4(_) => (libc::SOL_IP, libc::IP_RECVERR),
        IpAddr::V6(_) => (libc::SOL_IPV6, libc::IPV6_RECVERR),
    };
    kernel::set_option(socket.as_fd(), level, option, &1_i32)
}

/// The ICMP error that came for a socket, if one did: who sent it and what it says.
#[expect(unsafe_code, reason = "rustix does not read these control messages")]
pub(crate) fn from_queue(socket: &impl AsFd) -> Option<Outcome> {
    let mut space = [0_u64; 64];
    // SAFETY: msghdr is plain data for which zeroes are valid.
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_control = space.as_mut_ptr().cast();
    message.msg_controllen = size_of::<[u64; 64]>();
    let flags = libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT;
    // SAFETY: the message has no buffers, and room for control messages that outlives the call.
    // Each control message is looked at only as far as its own length goes, by copies that need
    // no alignment.
    unsafe {
        if libc::recvmsg(socket.as_fd().as_raw_fd(), &raw mut message, flags) == -1 {
            return None;
        }
        let mut header = libc::CMSG_FIRSTHDR(&raw const message);
        while !header.is_null() {
            let length = (*header).cmsg_len.saturating_sub(libc::CMSG_LEN(0) as usize);
            let data = std::slice::from_raw_parts(libc::CMSG_DATA(header), length);
            match ((*header).cmsg_level, (*header).cmsg_type) {
                (libc::SOL_IP, libc::IP_RECVERR) | (libc::SOL_IPV6, libc::IPV6_RECVERR) => {
                    return extended_error(data);
                }
                _ => header = libc::CMSG_NXTHDR(&raw const message, header),
            }
        }
    }
    None
}

/// Reads a `struct sock_extended_err` and the offender's address behind it (ip(7)).
fn extended_error(data: &[u8]) -> Option<Outcome> {
    let (origin, kind, code) = (*data.get(4)?, *data.get(5)?, *data.get(6)?);
    let offender = data.get(16..)?;
    let (by, reason) = match origin {
        libc::SO_EE_ORIGIN_ICMP => {
            let bytes: [u8; 4] = offender.get(4..8)?.try_into().ok()?;
            (IpAddr::from(Ipv4Addr::from(bytes)), reason_v4(kind, code)?)
        }
        libc::SO_EE_ORIGIN_ICMP6 => {
            let bytes: [u8; 16] = offender.get(8..24)?.try_into().ok()?;
            (IpAddr::from(Ipv6Addr::from(bytes)), reason_v6(kind, code)?)
        }
        _ => return None,
    };
    Some(by_icmp(Some(by), reason, Icmp { kind, code }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ways_to_say_no_are_told_apart() {
        assert_eq!(reason_v4(3, 1), Some(Reason::HostUnreachable));
        assert_eq!(reason_v4(3, 3), Some(Reason::PortUnreachable));
        assert_eq!(reason_v4(3, 13), Some(Reason::Prohibited));
        assert_eq!(reason_v4(0, 0), None);
        assert_eq!(reason_v6(1, 0), Some(Reason::NetworkUnreachable));
        assert_eq!(reason_v6(1, 1), Some(Reason::Prohibited));
        assert_eq!(reason_v6(129, 0), None);
    }

    #[test]
    fn the_sender_of_an_icmp_error_is_read_from_behind_it() {
        let mut data = [0; 32];
        data[4..7].copy_from_slice(&[libc::SO_EE_ORIGIN_ICMP, 3, 10]);
        data[20..24].copy_from_slice(&[10, 1, 0, 1]);
        let by = Some(IpAddr::from([10, 1, 0, 1]));
        let icmp = Some(Icmp { kind: 3, code: 10 });
        let expected = Outcome::Refused { by, reason: Reason::Prohibited, icmp };
        assert_eq!(extended_error(&data), Some(expected));
        assert_eq!(extended_error(&data[..20]), None);
    }
}
