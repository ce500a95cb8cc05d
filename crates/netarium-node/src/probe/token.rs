//! A mark by which a request is known again where it arrives, whatever was translated on the way.
//!
//! Translation changes addresses, ports and the identifier of a ping, but neither what a request
//! carries nor the number that a TCP connection begins with.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::str::FromStr;

use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};

use crate::kernel;

/// The mark: eight bytes, sixteen hexadecimal digits for whoever passes it on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token([u8; 8]);

impl Token {
    /// One that nobody has seen.
    ///
    /// # Errors
    /// If the kernel has no random numbers.
    pub(crate) fn random() -> Result<Self, Errno> {
        let mut bytes = [0; 8];
        getrandom(&mut bytes[..], GetRandomFlags::empty())?;
        Ok(Self(bytes))
    }

    /// As a ping carries it.
    pub(crate) fn bytes(self) -> [u8; 8] {
        self.0
    }

    /// As a datagram carries it.
    pub(crate) fn line(self) -> String {
        format!("netarium {:016x}\n", u64::from_be_bytes(self.0))
    }

    /// The number that a TCP connection begins with. The kernel takes zero for none.
    pub(crate) fn sequence(self) -> u32 {
        let [a, b, c, d, ..] = self.0;
        u32::from_be_bytes([a, b, c, d]) | 1
    }

    /// Has a TCP socket that is not connected yet begin with this mark's number (`TCP_REPAIR`,
    /// tcp(7)): what the kernel finds there, it keeps.
    ///
    /// # Errors
    /// Without `CAP_NET_ADMIN`.
    pub(crate) fn mark(self, socket: &OwnedFd) -> io::Result<()> {
        const TCP_SEND_QUEUE: i32 = 2;
        /// Off, without a packet that would be sent to the other end.
        const OFF: i32 = -1;
        let set = |option, value: &i32| {
            kernel::set_option(socket.as_fd(), libc::IPPROTO_TCP, option, value)
        };
        set(libc::TCP_REPAIR, &1)?;
        set(libc::TCP_REPAIR_QUEUE, &TCP_SEND_QUEUE)?;
        set(libc::TCP_QUEUE_SEQ, &self.sequence().cast_signed())?;
        set(libc::TCP_REPAIR, &OFF)
    }
}

impl FromStr for Token {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let fits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u64::from_str_radix(text, 16).ok().filter(|_| fits).ok_or(())?;
        Ok(Self(number.to_be_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_sixteen_digits() {
        let token: Token = "00000002deadbeef".parse().unwrap();
        assert_eq!(token.bytes(), [0, 0, 0, 2, 0xde, 0xad, 0xbe, 0xef]);
        assert_eq!(token.sequence(), 3);
        assert_eq!(token.line(), "netarium 00000002deadbeef\n");
        for wrong in ["", "1", "+000000000000001", "000000000000000g", "00000000000000001"] {
            assert!(wrong.parse::<Token>().is_err(), "{wrong}");
        }
    }
}
