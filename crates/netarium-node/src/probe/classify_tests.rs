//! Frames made here, and what they are taken for.

use etherparse::{
    IpFragOffset, Ipv4Header, Ipv6FragmentHeader, PacketBuilder, PacketBuilderStep, VlanId,
    ip_number,
};

use super::*;

const A: [u8; 4] = [172, 26, 26, 26];
const B: [u8; 4] = [172, 26, 26, 1];

fn ethernet() -> PacketBuilderStep<etherparse::Ethernet2Header> {
    PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
}

fn udp_frame(from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    ethernet().ipv4(A, B, 64).udp(from, to).write(&mut frame, payload).unwrap();
    frame
}

/// An Ethernet header and what follows on it.
fn frame(ether_type: u16, parts: &[&[u8]]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
    frame.extend(ether_type.to_be_bytes());
    for part in parts {
        frame.extend(*part);
    }
    frame
}

fn ipv4_frame(protocol: IpNumber, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap();
    let header = Ipv4Header::new(length, 64, protocol, A, B).unwrap();
    frame(0x0800, &[&header.to_bytes(), payload])
}

/// An IPv6 header from one link-local address to another, and what follows on it.
fn ipv6_frame(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut header = vec![0x60, 0, 0, 0];
    header.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
    header.extend([next, 255]);
    for last in [1, 2] {
        header.extend([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
    }
    frame(0x86dd, &[&header, payload])
}

fn look(frame: &[u8]) -> (Kind, String) {
    let seen = Classifier::default().look(frame);
    (seen.kind, seen.line)
}

fn kind(frame: &[u8]) -> Kind {
    look(frame).0
}

#[test]
fn address_resolution_is_arp() {
    let arp = [&[0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1][..], &A, &[0; 6], &B];
    let line = "ARP who has 172.26.26.1, tell 172.26.26.26".to_owned();
    assert_eq!(look(&frame(0x0806, &arp)), (Kind::Arp, line));
}

#[test]
fn port_500_is_ike() {
    let line = "172.26.26.26.500 > 172.26.26.1.500: IKE, length 68".to_owned();
    assert_eq!(look(&udp_frame(500, 500, &[1; 40])), (Kind::Ike, line));
}

#[test]
fn wireguard_is_known_by_the_form_of_its_messages_on_every_port() {
    let message = |number: u8, length: usize| {
        let mut message = vec![7; length];
        message[..4].copy_from_slice(&[number, 0, 0, 0]);
        message
    };
    for (number, length) in [(1, 148), (2, 92), (3, 64), (4, 32), (4, 1452)] {
        let seen = kind(&udp_frame(51820, 7, &message(number, length)));
        assert_eq!(seen, Kind::Wireguard, "{number} {length}");
    }
    for (number, length) in [(1, 147), (2, 93), (3, 65), (4, 31), (5, 148), (0, 148)] {
        let seen = kind(&udp_frame(51820, 51820, &message(number, length)));
        assert_eq!(seen, Kind::Udp, "{number} {length}");
    }
    assert_eq!(kind(&udp_frame(51820, 51820, &[4, 0, 0])), Kind::Udp);
}

#[test]
fn port_4500_is_ike_with_the_marker_and_esp_without() {
    assert_eq!(kind(&udp_frame(4500, 4500, &[0, 0, 0, 0, 1, 2, 3, 4])), Kind::Ike);
    assert_eq!(kind(&udp_frame(4500, 4500, &[0xc0, 1, 2, 3, 0, 0, 0, 1, 9])), Kind::Esp);
    assert_eq!(kind(&udp_frame(4500, 61000, &[0xff])), Kind::Esp, "a keepalive");
    let (kind, line) = look(&udp_frame(4500, 4500, &[0xc0, 1, 2, 3, 0, 0, 0, 9, 9]));
    assert_eq!(kind, Kind::Esp);
    assert!(line.ends_with("ESP spi 0xc0010203 seq 9 in UDP, length 37"), "{line}");
}

#[test]
fn protocol_50_is_esp() {
    assert_eq!(
        kind(&ipv4_frame(
            ip_number::ENCAPSULATING_SECURITY_PAYLOAD,
            &[0xc0, 1, 2, 3, 0, 0, 0, 1, 0, 0]
        )),
        Kind::Esp
    );
    assert_eq!(kind(&ipv6_frame(50, &[0xc0, 1, 2, 3, 0, 0, 0, 1])), Kind::Esp);
}

#[test]
fn other_transports_are_what_they_are() {
    assert_eq!(kind(&udp_frame(53, 3333, b"x")), Kind::Udp);
    let mut tcp = Vec::new();
    ethernet().ipv4(A, B, 64).tcp(40000, 80, 1, 1000).syn().write(&mut tcp, &[]).unwrap();
    let line = "172.26.26.26.40000 > 172.26.26.1.80: TCP [S], length 40".to_owned();
    assert_eq!(look(&tcp), (Kind::Tcp, line));
    let mut echo = Vec::new();
    ethernet().ipv4(A, B, 64).icmpv4_echo_request(1, 2).write(&mut echo, b"x").unwrap();
    assert_eq!(kind(&echo), Kind::Icmp);
    assert_eq!(kind(&ipv4_frame(ip_number::GRE, &[0; 8])), Kind::Other);
}

#[test]
fn discovery_and_groups_are_not_icmp() {
    for discovery in 133..=137 {
        assert_eq!(kind(&ipv6_frame(58, &[discovery, 0, 0, 0, 0, 0, 0, 0])), Kind::Ndp);
    }
    assert_eq!(kind(&ipv6_frame(58, &[128, 0, 0, 0, 0, 0, 0, 0])), Kind::Icmp);
    assert_eq!(kind(&ipv6_frame(58, &[1, 0, 0, 0, 0, 0, 0, 0])), Kind::Icmp);
    for group in [130, 131, 132, 143] {
        // A router alert in a hop-by-hop header comes before it.
        let report = [58, 0, 5, 2, 0, 0, 1, 0, group, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(kind(&ipv6_frame(0, &report)), Kind::Group, "{group}");
    }
    assert_eq!(kind(&ipv4_frame(ip_number::IGMP, &[0x22, 0, 0, 0])), Kind::Group);
}

#[test]
fn vlan_tags_are_looked_through() {
    let mut tagged = Vec::new();
    let vlan = VlanId::try_new(7).unwrap();
    ethernet().single_vlan(vlan).ipv4(A, B, 64).udp(500, 500).write(&mut tagged, &[1; 40]).unwrap();
    assert_eq!(kind(&tagged), Kind::Ike);
}

#[test]
fn later_fragments_are_known_by_the_first() {
    let part = |offset: u16, more, number, payload: &[u8]| {
        let length = u16::try_from(payload.len()).unwrap();
        let mut header = Ipv4Header::new(length, 64, ip_number::UDP, A, B).unwrap();
        header.identification = number;
        header.more_fragments = more;
        header.fragment_offset = IpFragOffset::try_new(offset).unwrap();
        frame(0x0800, &[&header.to_bytes(), payload])
    };
    let ike = udp_frame(500, 500, &[1; 56])[34..].to_vec();
    let mut classifier = Classifier::default();
    assert_eq!(classifier.look(&part(0, true, 9, &ike)).kind, Kind::Ike);
    assert_eq!(classifier.look(&part(8, false, 9, &[1; 20])).kind, Kind::Ike);
    assert_eq!(classifier.look(&part(8, false, 8, &[1; 20])).kind, Kind::Udp, "of another packet");
    let fragment = |offset, more| {
        let offset = IpFragOffset::try_new(offset).unwrap();
        Ipv6FragmentHeader::new(ip_number::UDP, offset, more, 77).to_bytes()
    };
    let first = [&fragment(0, true)[..], &ike].concat();
    let later = [&fragment(8, false)[..], &[1; 20]].concat();
    assert_eq!(classifier.look(&ipv6_frame(44, &first)).kind, Kind::Ike);
    assert_eq!(classifier.look(&ipv6_frame(44, &later)).kind, Kind::Ike);
}

#[test]
fn what_is_cut_off_is_still_known_and_nothing_is_too_short_to_look_at() {
    let mut cut = udp_frame(4500, 4500, &[7; 1400]);
    cut.truncate(256);
    assert_eq!(kind(&cut), Kind::Esp);
    let full = udp_frame(4500, 4500, &[0xff]);
    for length in 0..full.len() {
        look(&full[..length]);
    }
    assert_eq!(
        look(&frame(0x88cc, &[&[0; 46]])),
        (Kind::Other, "ether type 0x88cc, 60 bytes".into())
    );
}

#[test]
fn an_icmp_error_about_a_tunnels_packet_belongs_to_it() {
    let quoted = |protocol: u8, payload: &[u8]| {
        let mut packet = vec![0x45, 0, 0, 84, 0, 0, 0, 0, 64, protocol, 0, 0];
        packet.extend(A);
        packet.extend(B);
        packet.extend(payload);
        let mut frame = Vec::new();
        let mut error = vec![3, 0, 0, 0, 0, 0, 0, 0];
        error.extend(packet);
        let step = ethernet().ipv4(B, A, 64);
        step.write(&mut frame, ip_number::ICMP, &error).unwrap();
        Classifier::default().look(&frame)
    };
    let udp = |port: u16| [port.to_be_bytes(), port.to_be_bytes(), [0, 20], [0, 0]].concat();
    let esp = quoted(50, &[0, 0, 0, 1, 0, 0, 0, 2]);
    assert_eq!(esp.kind, Kind::Esp);
    assert!(esp.line.contains("ICMP type 3 code 0 about ESP spi 0x00000001"), "{}", esp.line);
    assert_eq!(quoted(17, &udp(500)).kind, Kind::Ike);
    assert_eq!(quoted(17, &[udp(4500), vec![1, 2, 3, 4]].concat()).kind, Kind::Esp);
    for (protocol, payload) in [(17, udp(53)), (1, vec![8, 0, 0, 0]), (6, udp(500)), (50, vec![])] {
        let seen = quoted(protocol, &payload);
        let wanted = if protocol == 50 { Kind::Esp } else { Kind::Icmp };
        assert_eq!(seen.kind, wanted, "{protocol}: {}", seen.line);
    }
}
