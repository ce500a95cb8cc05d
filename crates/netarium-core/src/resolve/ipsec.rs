//! What an IPsec tunnel needs besides its ends: proposals, secrets, times.

use sha2::{Digest, Sha256};

use crate::model::{Auth, Encapsulation, Ipsec, Rekey, SharedSecret, Start, Whereabouts};
use crate::problem::{Problem, Problems};
use crate::spec::{self, Authentication, Word};

/// The proposals of a tunnel that names none.
const IKE: &str = "aes256gcm16-prfsha384-ecp384";
const ESP: &str = "aes256gcm16-ecp384";

/// How long keys are used, and how long silence lasts, in seconds, where nothing is said.
const IKE_KEYS: u32 = 4 * 60 * 60;
const ESP_KEYS: u32 = 60 * 60;
const SILENCE: u32 = 10;

/// The longest secret, in bytes: what fits into one line of a file, and one value of a message.
const LONGEST_SECRET: usize = 256;

/// The words of a tunnel of this kind with every default filled in.
pub(super) fn resolve(written: &spec::Ipsec, problems: &mut Problems) -> Ipsec {
    let rekey = written.rekey.as_ref();
    let keys = |word: Option<&Word>, default, problems: &mut Problems| {
        word.map_or(default, |word| period(word, 10..=7 * 24 * 60 * 60, default, problems))
    };
    Ipsec {
        ike: proposal(written.ike.as_ref(), IKE, problems),
        esp: proposal(written.esp.as_ref(), ESP, problems),
        auth: auth(written.auth.as_ref(), problems),
        start: written.start.as_ref().map_or(Start::Up, |start| start.value),
        rekey: Rekey {
            ike: keys(rekey.and_then(|it| it.ike.as_ref()), IKE_KEYS, problems),
            esp: keys(rekey.and_then(|it| it.esp.as_ref()), ESP_KEYS, problems),
        },
        dpd: written
            .dpd
            .as_ref()
            .map_or(SILENCE, |word| period(word, 1..=60 * 60, SILENCE, problems)),
        encapsulation: match &written.encap {
            Some(encap) if encap.value => Encapsulation::Always,
            _ => Encapsulation::Needed,
        },
        initiator: whereabouts(&written.between, problems),
    }
}

fn proposal(word: Option<&Word>, default: &str, problems: &mut Problems) -> String {
    let Some(word) = word else { return default.to_owned() };
    let part = |part: &str| {
        !part.is_empty() && part.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit())
    };
    if !word.split('-').all(part) {
        let problem = Problem::new(format!("{:?} is no proposal", word.value)).at(word.place);
        problems.add(problem.hint(format!("write {default} for example")));
    }
    word.value.clone()
}

/// A secret is told apart from others by its hash only.
fn auth(written: Option<&Authentication>, problems: &mut Problems) -> Auth {
    match written {
        None | Some(Authentication::Certificate) => Auth::Certificate,
        Some(Authentication::Psk) => Auth::Psk(SharedSecret::Made),
        Some(Authentication::Secret(word)) => {
            if word.is_empty() || word.len() > LONGEST_SECRET {
                let message = format!("a secret of {} bytes is not possible", word.len());
                let problem = Problem::new(message).at(word.place);
                problems.add(problem.hint(format!(
                    "it has 1 to {LONGEST_SECRET}; write auth: psk to have one made"
                )));
            }
            let digest = Sha256::digest(word.as_bytes());
            Auth::Psk(SharedSecret::Given(
                digest.iter().map(|byte| format!("{byte:02x}")).collect(),
            ))
        }
    }
}

/// A time in seconds: `10s`, `5m`, `4h`, `1d`.
fn period(
    word: &Word,
    possible: std::ops::RangeInclusive<u32>,
    default: u32,
    problems: &mut Problems,
) -> u32 {
    let units = [('s', 1), ('m', 60), ('h', 60 * 60), ('d', 24 * 60 * 60)];
    let found = units.into_iter().find_map(|(unit, seconds)| {
        let digits = word.strip_suffix(unit)?;
        let number = digits.bytes().all(|it| it.is_ascii_digit()).then(|| digits.parse::<u32>());
        number?.ok()?.checked_mul(seconds)
    });
    match found {
        Some(seconds) if possible.contains(&seconds) => seconds,
        Some(_) => {
            let message = format!("{} is not possible", word.value);
            let hint = format!("it is {} to {} s", possible.start(), possible.end());
            problems.add(Problem::new(message).at(word.place).hint(hint));
            default
        }
        None => {
            let problem = Problem::new(format!("{} is no time", word.value)).at(word.place);
            problems.add(problem.hint("write 10s, 5m, 4h or 1d"));
            default
        }
    }
}

/// Who opens a tunnel may be hidden behind a translation of addresses; who is waited for by nobody
/// could not be found.
fn whereabouts(between: &[spec::TunnelEnd], problems: &mut Problems) -> Whereabouts {
    let is_hidden = |end: &&spec::TunnelEnd| end.nat.as_ref().is_some_and(|nat| nat.value);
    for end in between.iter().skip(1).filter(is_hidden) {
        let problem = Problem::new(format!("nobody could find {}", end.node.value));
        let place = end.nat.as_ref().map_or(end.node.place, |nat| nat.place);
        problems
            .add(problem.at(place).hint("name it first: it must be the one that opens the tunnel"));
    }
    if between.first().as_ref().is_some_and(is_hidden) {
        Whereabouts::Translated
    } else {
        Whereabouts::Known
    }
}
