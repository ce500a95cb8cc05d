//! Signals by their names (signal(7)).

/// The names of Linux's signals on every processor that Netarium runs on; the first is number 1.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// The first and the last of the signals without a meaning of their own, as the C library counts
/// them.
const REALTIME: [i32; 2] = [34, 64];

/// The number of a signal, `SIGTERM`, `TERM`, `15` or `SIGRTMIN+3` for example.
pub fn number(word: &str) -> Option<i32> {
    let [first, last] = REALTIME;
    if let Ok(number) = word.parse::<u8>() {
        return Some(i32::from(number)).filter(|number| (1..=last).contains(number));
    }
    let name = word.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let offset = |text: &str, sign: char| match text {
        "" => Some(0),
        _ => text.strip_prefix(sign)?.parse::<u8>().ok().map(i32::from),
    };
    let found = if let Some(rest) = name.strip_prefix("RTMIN") {
        first + offset(rest, '+')?
    } else if let Some(rest) = name.strip_prefix("RTMAX") {
        last - offset(rest, '-')?
    } else {
        let place = NAMES.iter().position(|known| *known == name)?;
        return i32::try_from(place).ok().map(|place| place + 1);
    };
    Some(found).filter(|number| (first..=last).contains(number))
}

/// What people call a signal.
pub fn name(number: i32) -> String {
    let place = usize::try_from(number - 1).ok();
    match place.and_then(|place| NAMES.get(place)) {
        Some(name) => format!("SIG{name}"),
        None => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names_and_numbers() {
        for (word, signal) in [
            ("SIGTERM", 15),
            ("term", 15),
            ("15", 15),
            ("SIGWINCH", 28),
            ("SIGSYS", 31),
            ("SIGRTMIN", 34),
            ("RTMIN+3", 37),
            ("SIGRTMAX-1", 63),
        ] {
            assert_eq!(number(word), Some(signal), "{word}");
        }
        for word in ["", "0", "65", "SIG", "SIGNAL", "SIGRTMIN+31", "SIGRTMIN-1", "-15", "RTMINX"] {
            assert_eq!(number(word), None, "{word}");
        }
        assert_eq!(name(3), "SIGQUIT");
        assert_eq!(name(37), "37");
    }
}
