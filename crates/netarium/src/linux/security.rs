//! Asks the kernel for IPsec ESP, by adding a security association as our tunnels have it and
//! removing it again (xfrm, ip-xfrm(8)).
//!
//! strongSwan keeps the associations of tunnels; nothing here is for them. To be called in a network
//! namespace of its own, as root of it.

use std::io;

use netlink_sys::protocols::NETLINK_XFRM;
use netlink_sys::{Socket, SocketAddr};

/// Adds a security association (linux/xfrm.h).
const NEW_SA: u16 = 0x10;
/// Removes one.
const DELETE_SA: u16 = 0x11;
/// The attribute with an algorithm that encrypts and authenticates.
const AEAD: u16 = 18;
/// A negative acknowledgement, or a positive one with the number 0 (linux/netlink.h).
const ERROR: u16 = 2;
/// `NLM_F_REQUEST | NLM_F_ACK`
const REQUEST: u16 = 1 | 4;

const HEADER: usize = 16;
const FROM: [u8; 4] = [192, 0, 2, 1];
const TO: [u8; 4] = [192, 0, 2, 2];
const SPI: u32 = 0x6e65_7461;
const FAMILY: u16 = 2;
const ESP: u8 = 50;
const TUNNEL: u8 = 1;

/// Adds and removes an association with AES in Galois/Counter mode (RFC 4106), which makes the
/// kernel load ESP and the cipher.
///
/// # Errors
/// `EPROTONOSUPPORT` where the kernel has no IPsec or no ESP, `ENOSYS` where it has no such cipher.
pub(super) fn try_association() -> io::Result<()> {
    let mut socket = Socket::new(NETLINK_XFRM)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    request(&socket, &message(NEW_SA, &[association(), attribute(AEAD, &cipher())].concat()))?;
    request(&socket, &message(DELETE_SA, &name()))
}

fn request(socket: &Socket, message: &[u8]) -> io::Result<()> {
    socket.send(message, 0)?;
    let (answer, _) = socket.recv_from_full()?;
    verdict(&answer)
}

/// Reads an acknowledgement.
fn verdict(answer: &[u8]) -> io::Result<()> {
    let odd = || io::Error::new(io::ErrorKind::InvalidData, "an answer that is no acknowledgement");
    let kind = answer.get(4..6).and_then(|bytes| bytes.try_into().ok()).map(u16::from_ne_bytes);
    let code = answer.get(HEADER..HEADER + 4).and_then(|bytes| bytes.try_into().ok());
    match (kind, code.map(i32::from_ne_bytes)) {
        (Some(ERROR), Some(0)) => Ok(()),
        (Some(ERROR), Some(code)) => Err(io::Error::from_raw_os_error(code.wrapping_neg())),
        _ => Err(odd()),
    }
}

/// `struct nlmsghdr` and what follows.
fn message(kind: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER + body.len()).expect("a message here is short");
    let mut bytes = Vec::from(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(REQUEST.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend(body);
    bytes
}

/// `struct nlattr` and its value; all values here are a multiple of four bytes.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).expect("an attribute here is short");
    [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat()
}

/// `struct xfrm_usersa_info`: a tunnel between two addresses of RFC 5737, for all packets, without
/// an end.
fn association() -> Vec<u8> {
    let mut bytes = vec![0; 224];
    // The selector begins with 40 bytes of addresses and ports: all of them.
    put(&mut bytes, 40, &FAMILY.to_ne_bytes());
    // Its name (struct xfrm_id), and where from.
    put(&mut bytes, 56, &TO);
    put(&mut bytes, 72, &SPI.to_be_bytes());
    put(&mut bytes, 76, &[ESP]);
    put(&mut bytes, 80, &FROM);
    // Bytes and packets, soft and hard, have no limit; a time of 0 is none either.
    put(&mut bytes, 96, &[0xff; 32]);
    put(&mut bytes, 212, &FAMILY.to_ne_bytes());
    put(&mut bytes, 214, &[TUNNEL]);
    bytes
}

/// `struct xfrm_usersa_id`.
fn name() -> Vec<u8> {
    let mut bytes = vec![0; 24];
    put(&mut bytes, 0, &TO);
    put(&mut bytes, 16, &SPI.to_be_bytes());
    put(&mut bytes, 20, &FAMILY.to_ne_bytes());
    put(&mut bytes, 22, &[ESP]);
    bytes
}

/// `struct xfrm_algo_aead`: a name, the bits of the key and of the check value, and a key of 128 bits
/// with the 32 bits of salt that RFC 4106 adds. Nothing is ever encrypted with it.
fn cipher() -> Vec<u8> {
    let mut bytes = vec![0; 64 + 4 + 4 + 20];
    put(&mut bytes, 0, b"rfc4106(gcm(aes))");
    put(&mut bytes, 64, &160_u32.to_ne_bytes());
    put(&mut bytes, 68, &128_u32.to_ne_bytes());
    bytes
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acknowledgement_tells_its_number() {
        let answer = |code: i32| [&message(ERROR, &[])[..], &code.to_ne_bytes()].concat();
        assert!(verdict(&answer(0)).is_ok());
        let refused = verdict(&answer(-libc::EPROTONOSUPPORT)).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EPROTONOSUPPORT));
    }

    #[test]
    fn an_odd_answer_is_an_error() {
        for bytes in [&[][..], &[0; 20], &message(ERROR, &[])] {
            assert_eq!(verdict(bytes).unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
    }
}
