//! The socket under [`super::Netlink`] and [`super::wireguard`]: blocking, one request at a time.

use std::io;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST,
    NetlinkDeserializable, NetlinkMessage, NetlinkPayload, NetlinkSerializable,
};
use netlink_sys::SocketAddr;

/// What the kernel says about a request that it refuses.
#[derive(Debug, thiserror::Error)]
#[error("{source}{}", detail(.words.as_deref()))]
pub(crate) struct NetlinkError {
    /// Its explanation, where it has one (NETLINK_EXT_ACK, netlink(7)).
    words: Option<String>,
    /// Its error number.
    #[source]
    source: io::Error,
}

fn detail(words: Option<&str>) -> String {
    words.map_or_else(String::new, |words| format!(": {words}"))
}

impl NetlinkError {
    /// An error with this number and no explanation.
    pub(crate) fn from_errno(errno: i32) -> Self {
        Self { words: None, source: io::Error::from_raw_os_error(errno) }
    }

    /// Whether it is this error number.
    pub(crate) fn is(&self, errno: i32) -> bool {
        self.source.raw_os_error() == Some(errno)
    }
}

impl From<io::Error> for NetlinkError {
    fn from(source: io::Error) -> Self {
        Self { words: None, source }
    }
}

type Result<T> = std::result::Result<T, NetlinkError>;

/// The attribute of an extended acknowledgement that holds a sentence (NLMSGERR_ATTR_MSG).
const SENTENCE: u16 = 1;

/// The length of a netlink message's header.
const HEADER: usize = 16;

/// What can be said to the kernel, and heard from it.
pub(super) trait Message:
    NetlinkSerializable + NetlinkDeserializable + Into<NetlinkPayload<Self>>
{
}

impl<M: NetlinkSerializable + NetlinkDeserializable + Into<NetlinkPayload<M>>> Message for M {}

pub(super) struct Socket {
    socket: netlink_sys::Socket,
    sequence: u32,
}

impl Socket {
    /// Opens a conversation with this part of the kernel (netlink(7)).
    pub(super) fn open(protocol: isize) -> Result<Self> {
        let mut socket = netlink_sys::Socket::new(protocol)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        // An answer repeats only the header of its request, then the kernel's sentence.
        socket.set_cap_ack(true)?;
        socket.set_ext_ack(true)?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Asks for all of something.
    pub(super) fn dump<M: Message>(&mut self, message: M) -> Result<Vec<M>> {
        self.request(message, NLM_F_DUMP)
    }

    /// Asks for one of something.
    pub(super) fn ask<M: Message>(&mut self, message: M) -> Result<Vec<M>> {
        self.request(message, NLM_F_ACK)
    }

    /// Makes what must not be there yet.
    pub(super) fn create<M: Message>(&mut self, message: M) -> Result<()> {
        self.request(message, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL).map(drop)
    }

    /// Makes something, in place of what is there.
    pub(super) fn replace<M: Message>(&mut self, message: M) -> Result<()> {
        self.request(message, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE).map(drop)
    }

    /// Changes or removes what is there.
    pub(super) fn change<M: Message>(&mut self, message: M) -> Result<()> {
        self.request(message, NLM_F_ACK).map(drop)
    }

    fn request<M: Message>(&mut self, message: M, flags: u16) -> Result<Vec<M>> {
        self.sequence += 1;
        let mut packet = NetlinkMessage::from(message);
        packet.header.flags = NLM_F_REQUEST | flags;
        packet.header.sequence_number = self.sequence;
        packet.finalize();
        let mut bytes = vec![0; packet.buffer_len()];
        packet.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        self.answers()
    }

    /// Everything up to the kernel's last word on the request.
    fn answers<M: Message>(&mut self) -> Result<Vec<M>> {
        let mut answers = Vec::new();
        loop {
            let (bytes, _) = self.socket.recv_from_full()?;
            let mut rest = bytes.as_slice();
            while rest.len() >= HEADER {
                let packet = NetlinkMessage::<M>::deserialize(rest).map_err(|error| {
                    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
                })?;
                let length = usize::try_from(packet.header.length).unwrap_or(usize::MAX);
                // Messages are aligned to four bytes; one that claims no length would be read again.
                rest = rest.get(length.max(HEADER).next_multiple_of(4)..).unwrap_or_default();
                if packet.header.sequence_number != self.sequence {
                    continue;
                }
                match packet.payload {
                    NetlinkPayload::InnerMessage(answer) => answers.push(answer),
                    NetlinkPayload::Error(error) if error.code.is_none() => return Ok(answers),
                    NetlinkPayload::Error(error) => {
                        let words = sentence(error.header.get(HEADER..).unwrap_or_default());
                        return Err(NetlinkError { words, source: error.to_io() });
                    }
                    NetlinkPayload::Done(_) => return Ok(answers),
                    _ => {}
                }
            }
        }
    }
}

/// Finds the kernel's sentence among the attributes of an extended acknowledgement.
fn sentence(mut attributes: &[u8]) -> Option<String> {
    while let [a, b, c, d, ..] = *attributes {
        let length = usize::from(u16::from_ne_bytes([a, b]));
        // The two highest bits of the kind are flags.
        let kind = u16::from_ne_bytes([c, d]) & 0x3fff;
        let value = attributes.get(4..length)?;
        if kind == SENTENCE {
            let text = value.strip_suffix(&[0]).unwrap_or(value);
            return Some(String::from_utf8_lossy(text).into_owned());
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_sentence_is_found_after_other_attributes() {
        let mut bytes = vec![8, 0, 2, 0, 1, 2, 3, 4];
        bytes.extend([9, 0, 1, 0]);
        bytes.extend(b"Nope\0\0\0\0");
        assert_eq!(sentence(&bytes).as_deref(), Some("Nope"));
    }

    #[test]
    fn odd_attributes_have_no_sentence() {
        for bytes in [&[][..], &[0, 0, 0, 0], &[3, 0, 1, 0], &[255, 255, 1, 0, 1]] {
            assert_eq!(sentence(bytes), None, "{bytes:?}");
        }
    }
}
