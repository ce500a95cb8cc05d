//! The generation of a network namespace's nftables: a number that the kernel counts up with every
//! transaction in it (`NFT_MSG_GETGEN`, linux/netfilter/nf_tables.h). Asking for it costs nothing
//! beside listing a table.

use std::io;

use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr};

/// `NFNL_SUBSYS_NFTABLES` and `NFT_MSG_GETGEN`.
const GET_GENERATION: u16 = 10 << 8 | 16;
/// `NFNL_SUBSYS_NFTABLES` and `NFT_MSG_NEWGEN`, which is the answer.
const GENERATION: u16 = 10 << 8 | 15;
/// `NFTA_GEN_ID`: a number, most significant byte first.
const NUMBER: u16 = 1;

const REQUEST: u16 = libc::NLM_F_REQUEST as u16;
/// Length, kind, flags, sequence number, port; then family, version and resource id (nfgenmsg).
const HEADERS: usize = 16 + 4;

/// The generation of the nftables in the caller's network namespace.
///
/// # Errors
/// If the kernel has no nftables, or does not say.
pub(crate) fn nftables_generation() -> io::Result<u32> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut request = Vec::with_capacity(HEADERS);
    request.extend((HEADERS as u32).to_ne_bytes());
    request.extend(GET_GENERATION.to_ne_bytes());
    request.extend(REQUEST.to_ne_bytes());
    request.resize(HEADERS, 0);
    socket.send(&request, 0)?;
    let (answer, _) = socket.recv_from_full()?;
    number(&answer).ok_or_else(|| io::Error::other("the kernel does not tell its generation"))
}

/// Finds the number in the answer.
fn number(answer: &[u8]) -> Option<u32> {
    let kind = answer.get(4..6)?;
    let mut attributes = answer.get(HEADERS..)?;
    if kind != GENERATION.to_ne_bytes() {
        return None;
    }
    while let [a, b, c, d, ..] = *attributes {
        let length = usize::from(u16::from_ne_bytes([a, b]));
        if u16::from_ne_bytes([c, d]) == NUMBER {
            let value = attributes.get(4..length)?;
            return Some(u32::from_be_bytes(value.try_into().ok()?));
        }
        // One that claims to have no length would be read again.
        attributes = attributes.get(length.max(4).next_multiple_of(4)..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_found_behind_other_attributes() {
        let mut answer = vec![0; HEADERS];
        answer[4..6].copy_from_slice(&GENERATION.to_ne_bytes());
        for (kind, value) in [(2_u16, 7_u32), (NUMBER, 12)] {
            answer.extend(8_u16.to_ne_bytes());
            answer.extend(kind.to_ne_bytes());
            answer.extend(value.to_be_bytes());
        }
        assert_eq!(number(&answer), Some(12));
    }

    #[test]
    fn an_answer_that_is_an_error_or_cut_off_has_no_number() {
        let mut answer = vec![0; HEADERS];
        assert_eq!(number(&answer), None);
        answer[4..6].copy_from_slice(&GENERATION.to_ne_bytes());
        answer.extend([8, 0, 1, 0, 1]);
        assert_eq!(number(&answer), None);
        assert_eq!(number(&answer[..7]), None);
    }
}
