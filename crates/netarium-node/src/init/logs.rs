//! The logs of the services: one file each, only ever added to.

use std::os::fd::OwnedFd;

use netarium_core::name::Name;
use rustix::fs::{Mode, OFlags, SeekFrom, openat, seek};
use rustix::io::Errno;

/// How much of the end of a log is looked at for the last words, in bytes.
const TAIL: u64 = 512;

/// Opens the log of a service, to add to it.
///
/// # Errors
/// If it cannot be opened, for example because the disk is full.
pub(crate) fn open(folder: &OwnedFd, service: &Name) -> Result<OwnedFd, Errno> {
    let flags =
        OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    openat(folder, file(service), flags, Mode::RUSR | Mode::WUSR)
}

/// The last line of the log of a service, if it has one.
pub(crate) fn last_words(folder: &OwnedFd, service: &Name) -> Option<String> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let log = openat(folder, file(service), flags, Mode::empty()).ok()?;
    let length = seek(&log, SeekFrom::End(0)).ok()?;
    seek(&log, SeekFrom::Start(length.saturating_sub(TAIL))).ok()?;
    let mut tail = vec![0; usize::try_from(TAIL).expect("it is small")];
    let read = rustix::io::read(&log, &mut tail).ok()?;
    last_line(&String::from_utf8_lossy(tail.get(..read)?))
}

fn file(service: &Name) -> String {
    format!("{service}.log")
}

/// The last line with something on it, without what a terminal would act upon.
pub(super) fn last_line(text: &str) -> Option<String> {
    let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
    Some(line.chars().filter(|letter| !letter.is_control()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_are_the_last_line_that_is_not_empty() {
        assert_eq!(last_line("one\ntwo \n\n"), Some("two".to_owned()));
        assert_eq!(last_line("\n \n"), None);
    }
}
