//! What an interface says of itself, in the kernel or in user space, and what that means.

use std::collections::BTreeSet;

use ipnet::IpNet;

use super::{Conf, KEY_LIFETIME, Key};

/// An interface as it says that it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The private key.
    pub private: Option<Key>,
    /// The UDP port.
    pub port: u16,
    /// Its peers.
    pub peers: Vec<SeenPeer>,
}

/// A peer as an interface says that it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeenPeer {
    /// The public key.
    pub key: Option<Key>,
    /// The key that both have known before.
    pub preshared: Option<Key>,
    /// What may come from it, and goes to it.
    pub carry: BTreeSet<IpNet>,
    /// The seconds after which it is sent an empty packet; 0 for never.
    pub keepalive: u16,
    /// When the last handshake was, in seconds since 1970, if there was one.
    pub handshake: Option<u64>,
    /// How many bytes came from it.
    pub received: u64,
    /// How many bytes were sent to it.
    pub sent: u64,
}

impl Seen {
    /// Reads the answer to `get=1` of an interface in user space
    /// (<https://www.wireguard.com/xplatform/>); `None` if it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let mut seen = Self::default();
        let mut is_whole = false;
        for line in text.lines().take_while(|line| !line.is_empty()) {
            let (key, value) = line.split_once('=')?;
            match (key, seen.peers.last_mut()) {
                ("errno", _) => is_whole = value == "0",
                ("private_key", _) => seen.private = Some(Key::from_hex(value)?),
                ("listen_port", _) => seen.port = value.parse().ok()?,
                ("public_key", _) => {
                    let key = Some(Key::from_hex(value)?);
                    seen.peers.push(SeenPeer { key, ..SeenPeer::default() });
                }
                (_, Some(peer)) => peer.read(key, value)?,
                (_, None) => {}
            }
        }
        is_whole.then_some(seen)
    }

    /// Whether it has a peer with which it has a key in common at `now`, in seconds since 1970.
    pub fn stands(&self, now: u64) -> bool {
        let is_fresh = |it: &SeenPeer| it.handshake.is_some_and(|it| it + KEY_LIFETIME > now);
        self.peers.iter().any(is_fresh)
    }

    /// What of it is not as `conf` says, if something is. Where the peer is does not count: that is
    /// wherever it was heard last.
    pub fn differs_from(&self, conf: &Conf) -> Option<&'static str> {
        if self.private.as_ref() != Some(&conf.private) {
            return Some("it has another private key");
        }
        if self.port != conf.port {
            return Some("it listens to another port");
        }
        let [peer] = self.peers.as_slice() else { return Some("it has not one peer") };
        if peer.key.as_ref() != Some(&conf.peer) {
            return Some("it has another peer");
        }
        let carry: BTreeSet<IpNet> = conf.carry.iter().copied().collect();
        if peer.carry != carry {
            return Some("its peer may send and receive something else");
        }
        if peer.preshared != conf.preshared || peer.keepalive != conf.keepalive {
            return Some("its peer has other settings");
        }
        None
    }

    /// What went to and fro, for people who look for the reason why nothing does.
    pub fn traffic(&self) -> String {
        let sent: u64 = self.peers.iter().map(|peer| peer.sent).sum();
        let received: u64 = self.peers.iter().map(|peer| peer.received).sum();
        format!("{sent} bytes sent, {received} received")
    }
}

impl SeenPeer {
    fn read(&mut self, key: &str, value: &str) -> Option<()> {
        match key {
            "preshared_key" => {
                self.preshared = Some(Key::from_hex(value)?).filter(|key| *key.bytes() != [0; 32]);
            }
            "allowed_ip" => drop(self.carry.insert(value.parse().ok()?)),
            "persistent_keepalive_interval" => self.keepalive = value.parse().ok()?,
            "last_handshake_time_sec" => {
                self.handshake = Some(value.parse().ok()?).filter(|seconds| *seconds > 0);
            }
            "rx_bytes" => self.received = value.parse().ok()?,
            "tx_bytes" => self.sent = value.parse().ok()?,
            _ => {}
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> String {
        let (private, public) = ("07".repeat(32), "ff".repeat(32));
        format!(
            "private_key={private}\nlisten_port=51820\nfwmark=0\npublic_key={public}\n\
             preshared_key={}\nendpoint=10.0.0.2:51820\nlast_handshake_time_sec=1000\n\
             last_handshake_time_nsec=5\nrx_bytes=92\ntx_bytes=148\n\
             persistent_keepalive_interval=25\nallowed_ip=10.3.0.0/16\nprotocol_version=1\n\
             errno=0\n\n",
            "00".repeat(32)
        )
    }

    fn conf() -> Conf {
        Conf {
            private: Key::new([7; 32]),
            port: 51820,
            peer: Key::new([0xff; 32]),
            preshared: None,
            endpoint: "10.0.0.2:51820".parse().unwrap(),
            carry: vec!["10.3.0.0/16".parse().unwrap()],
            keepalive: 25,
        }
    }

    #[test]
    fn an_answer_is_read_and_compared() {
        let seen = Seen::parse(&answer()).unwrap();
        assert_eq!(seen.differs_from(&conf()), None);
        assert_eq!(seen.traffic(), "148 bytes sent, 92 received");
        assert!(!format!("{seen:?}").contains("07"));
        let other = Conf { peer: Key::new([1; 32]), ..conf() };
        assert_eq!(seen.differs_from(&other), Some("it has another peer"));
        let other = Conf { preshared: Some(Key::new([1; 32])), ..conf() };
        assert_eq!(seen.differs_from(&other), Some("its peer has other settings"));
    }

    #[test]
    fn a_tunnel_stands_as_long_as_its_key_lives() {
        let seen = Seen::parse(&answer()).unwrap();
        assert!(seen.stands(1000) && seen.stands(1179));
        assert!(!seen.stands(1180));
        let never = answer().replace("time_sec=1000", "time_sec=0");
        assert!(!Seen::parse(&never).unwrap().stands(10));
    }

    #[test]
    fn an_answer_that_is_none_is_refused() {
        for text in ["", "errno=0x\n\n", "nonsense\n\n", "listen_port=70000\nerrno=0\n\n"] {
            assert_eq!(Seen::parse(text), None, "{text}");
        }
        assert_eq!(Seen::parse(&answer().replace("errno=0", "errno=22")), None);
        assert_eq!(Seen::parse(&answer()[..200]), None);
    }
}
