//! Secrets that the two ends of a tunnel share, as swanctl(8) reads them.

use std::fmt::Write;
use std::net::IpAddr;

use crate::ipsec::Section;
use crate::name::Name;

/// What the daemon calls the secret of a tunnel.
pub fn secret_id(tunnel: &Name) -> String {
    format!("ike-{tunnel}")
}

/// Where swanctl(8) finds the secret of a tunnel.
pub fn secret_file(tunnel: &Name) -> String {
    format!("/etc/swanctl/conf.d/netarium-{tunnel}.conf")
}

/// The text of that file. The secret is in hexadecimal digits, so that no letter of it means
/// anything there.
pub fn secret_conf(tunnel: &Name, ends: [IpAddr; 2], secret: &str) -> String {
    let mut digits = String::from("0x");
    for byte in secret.bytes() {
        write!(digits, "{byte:02x}").expect("a string takes any text");
    }
    let [own, peer] = ends;
    let shared = Section::new().value("id-1", own).value("id-2", peer).value("secret", digits);
    let id = crate::ipsec::Key(secret_id(tunnel));
    Section::new().section("secrets", Section::new().section(id, shared)).to_text()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_letter_of_a_secret_means_anything() {
        let ends = ["10.0.0.1".parse().unwrap(), "fd00::2".parse().unwrap()];
        assert_eq!(
            secret_conf(&Name::new("t").unwrap(), ends, "a }\n"),
            "secrets {\n    ike-t {\n        id-1 = 10.0.0.1\n        id-2 = fd00::2\n        \
             secret = 0x61207d0a\n    }\n}\n"
        );
    }
}
