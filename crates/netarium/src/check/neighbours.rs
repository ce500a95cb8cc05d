//! Whether the kernel has run out of room for neighbours.
//!
//! All network namespaces of a machine share one table for ARP and one for neighbour discovery, of
//! 1,024 entries unless somebody raises it. Where it is full, packets vanish without a word, and a
//! check that wants silence would be content for the wrong reason.

use std::fs;

/// How the kernel counts, for each of the two tables: since the machine started, per processor.
const COUNTERS: [&str; 2] = ["/proc/net/stat/arp_cache", "/proc/net/stat/ndisc_cache"];

/// What is said where it has happened.
const WORDS: &str = "the kernel's table of neighbours was full meanwhile: raise \
     net.ipv4.neigh.default.gc_thresh3 (and net.ipv6) on this machine";

/// How often there was no room, at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Neighbours(u64);

impl Neighbours {
    /// Now. Where the kernel does not tell, as inside a container, it counts as never.
    pub(super) fn now() -> Self {
        let texts = COUNTERS.iter().filter_map(|path| fs::read_to_string(path).ok());
        Self(texts.map(|text| overflows(&text)).sum())
    }

    /// What to say if there was no room since then.
    pub(super) fn trouble_since(self) -> Option<&'static str> {
        (Self::now() != self).then_some(WORDS)
    }
}

/// The sum of the column `table_fulls`, in hexadecimal digits.
fn overflows(text: &str) -> u64 {
    let mut lines = text.lines().map(str::split_ascii_whitespace);
    let column = lines.next().and_then(|mut words| words.position(|word| word == "table_fulls"));
    let Some(column) = column else { return 0 };
    let counts = lines.filter_map(|mut words| u64::from_str_radix(words.nth(column)?, 16).ok());
    counts.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overflows_of_all_processors_are_counted() {
        assert_eq!(
            overflows("entries  hits table_fulls\n00000001 00000002 00000010\n1 2 0a\n"),
            26
        );
        assert_eq!(overflows("entries hits\n1 2\n"), 0);
        assert_eq!(overflows(""), 0);
    }
}
