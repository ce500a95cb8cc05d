//! `logs`: what the services of a node wrote, and what they go on to write.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::mem::MaybeUninit;
use std::path::Path;

use anstyle::{AnsiColor, Style as Paint};
use netarium::lab::Lab;
use netarium::session::LogFile;
use netarium_core::name::Name;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};

use super::Context;
use crate::args::Logs;
use crate::choose::{self, Otherwise};
use crate::ending::Ending;

/// The paints that tell services apart.
const PAINTS: [Paint; 5] = [
    AnsiColor::Cyan.on_default(),
    AnsiColor::Magenta.on_default(),
    AnsiColor::Green.on_default(),
    AnsiColor::Yellow.on_default(),
    AnsiColor::Blue.on_default(),
];

/// Shows what the services of a node wrote.
///
/// # Errors
/// If the lab is not up, or has no such node or service.
pub(crate) fn logs(context: &Context, arguments: &Logs) -> anyhow::Result<Ending> {
    let lab = choose::lab(&context.data, arguments.lab.lab.as_deref(), Otherwise::OnlyLab)?;
    let node = lab.node(&arguments.node)?;
    let wanted = arguments.service.as_deref();
    let files = lab.logs(&node, wanted)?;
    let mut reader = Reader::new(wanted.is_none() && (files.len() > 1 || arguments.follow));
    if files.is_empty() && !arguments.follow {
        context.style.say(format_args!("the services of {node} have written nothing"));
    }
    // Watched before it is read, so that nothing is written unseen in between.
    let watch = arguments.follow.then(|| watch(&lab.logs_folder(&node))).transpose()?;
    reader.widen(&files);
    for file in &files {
        let skip = arguments.lines.map_or(Ok(0), |lines| start_of_last(&file.path, lines))?;
        reader.read(file, Some(skip))?;
    }
    if let Some(watch) = watch {
        follow(&lab, &node, wanted, &mut reader, &watch)?;
    }
    reader.finish()?;
    Ok(Ending::Fine)
}

/// Reads what is added, until the node's folder is gone or Ctrl-C ends the command.
fn follow(
    lab: &Lab,
    node: &Name,
    wanted: Option<&str>,
    reader: &mut Reader,
    watch: &rustix::fd::OwnedFd,
) -> anyhow::Result<()> {
    let mut space = [MaybeUninit::uninit(); 4096];
    let mut events = inotify::Reader::new(watch, &mut space);
    loop {
        let ends = loop {
            let event = rustix::io::retry_on_intr(|| Ok(events.next()?.events()))?;
            // Logs are only ever added to: one is deleted when the node goes.
            if event.intersects(ReadFlags::DELETE | ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF) {
                break true;
            }
            // Many changes may have been told at once: they are read at once.
            if events.is_buffer_empty() {
                break false;
            }
        };
        // The lab may go down in this moment: then there is nothing more to read.
        let Ok(files) = lab.logs(node, wanted) else { return Ok(()) };
        reader.widen(&files);
        for file in &files {
            reader.read(file, None)?;
        }
        if ends {
            return Ok(());
        }
    }
}

fn watch(folder: &Path) -> io::Result<rustix::fd::OwnedFd> {
    let watch = inotify::init(CreateFlags::CLOEXEC)?;
    let changes = WatchFlags::MODIFY
        | WatchFlags::CREATE
        | WatchFlags::DELETE
        | WatchFlags::DELETE_SELF
        | WatchFlags::MOVE_SELF;
    inotify::add_watch(&watch, folder, changes)?;
    // A folder that was empty goes without a word, but not without one in the folder above.
    if let Some(node) = folder.parent() {
        inotify::add_watch(&watch, node, WatchFlags::DELETE)?;
    }
    Ok(watch)
}

/// Reads logs on from where it stopped, and writes whole lines, each with its service before it if
/// there are several.
struct Reader {
    prefixed: bool,
    width: usize,
    open: BTreeMap<Name, Open>,
}

/// A log that was read so far.
struct Open {
    file: BufReader<File>,
    paint: Paint,
    /// The beginning of a line whose end is not written yet.
    rest: Vec<u8>,
}

impl Reader {
    fn new(prefixed: bool) -> Self {
        Self { prefixed, width: 0, open: BTreeMap::new() }
    }

    /// Makes room for the longest name.
    fn widen(&mut self, files: &[LogFile]) {
        let longest = files.iter().map(|file| file.service.as_str().len()).max().unwrap_or(0);
        self.width = self.width.max(longest);
    }

    /// Writes what is new in a log; the first time, what comes after `skip` bytes.
    fn read(&mut self, log: &LogFile, skip: Option<u64>) -> io::Result<()> {
        if !self.open.contains_key(&log.service) {
            let mut file = File::open(&log.path)?;
            file.seek(SeekFrom::Start(skip.unwrap_or(0)))?;
            let paint = PAINTS[self.open.len() % PAINTS.len()];
            let open = Open { file: BufReader::new(file), paint, rest: vec![] };
            self.open.insert(log.service.clone(), open);
        }
        let (prefixed, width) = (self.prefixed, self.width);
        let Some(open) = self.open.get_mut(&log.service) else { return Ok(()) };
        while open.file.read_until(b'\n', &mut open.rest)? > 0 && open.rest.ends_with(b"\n") {
            open.write(&log.service, prefixed.then_some(width))?;
        }
        Ok(())
    }

    /// Writes lines that have no end.
    fn finish(&mut self) -> io::Result<()> {
        let (prefixed, width) = (self.prefixed, self.width);
        for (service, open) in &mut self.open {
            if !open.rest.is_empty() {
                open.rest.push(b'\n');
                open.write(service, prefixed.then_some(width))?;
            }
        }
        Ok(())
    }
}

impl Open {
    fn write(&mut self, service: &Name, width: Option<usize>) -> io::Result<()> {
        let mut output = anstream::stdout().lock();
        if let Some(width) = width {
            let paint = self.paint;
            write!(output, "{paint}{service:width$} |{paint:#} ")?;
        }
        output.write_all(&self.rest)?;
        self.rest.clear();
        Ok(())
    }
}

/// Where the last `lines` lines of a file begin.
fn start_of_last(path: &Path, lines: usize) -> io::Result<u64> {
    const BLOCK: u64 = 64 * 1024;
    let mut file = File::open(path)?;
    let end = file.seek(SeekFrom::End(0))?;
    let (mut from, mut ends) = (end, 0);
    while from > 0 {
        let length = from.min(BLOCK);
        from -= length;
        let mut block = Vec::new();
        file.seek(SeekFrom::Start(from))?;
        Read::by_ref(&mut file).take(length).read_to_end(&mut block)?;
        for (at, _) in block.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            let after = from + u64::try_from(at).unwrap_or(0) + 1;
            // The end of the last line begins no line.
            if after == end {
                continue;
            }
            ends += 1;
            if ends >= lines {
                return Ok(after);
            }
        }
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, text: &[u8]) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("netarium-{}-{name}", std::process::id()));
        File::create(&path).unwrap().write_all(text).unwrap();
        path
    }

    #[test]
    fn the_last_lines_begin_where_lines_begin() {
        let path = file("last-lines", b"one\ntwo\nthree\n");
        let starts = [1, 2, 3, 9].map(|lines| start_of_last(&path, lines).unwrap());
        std::fs::remove_file(&path).unwrap();
        assert_eq!(starts, [8, 4, 0, 0]);
    }

    #[test]
    fn a_last_line_without_an_end_is_a_line() {
        let path = file("no-end", b"one\ntwo");
        let start = start_of_last(&path, 1).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(start, 4);
    }

    #[test]
    fn the_last_lines_of_a_long_log_are_found_across_blocks() {
        let text = "x".repeat(99) + "\n";
        let path = file("long", text.repeat(2000).as_bytes());
        let start = start_of_last(&path, 1500).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(start, 50_000);
    }
}
