//! `up` in a process of its own, so that it can be killed.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};

use netarium::event::Event;
use netarium::folder::DataFolder;
use netarium::lab::{Lab, UpOptions};
use netarium::lab_file::LabFile;

use crate::lab::{run, wait_until};
use crate::traces;

/// The first argument of such a process; the second is the data folder. The text of the lab file
/// comes over standard input.
const UP: &str = "up-of-a-test";

/// If this process was started as such, brings the lab up and tells every event on a line.
pub(crate) fn run_if_child() -> Option<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() != Some(UP) {
        return None;
    }
    let data = DataFolder::at(arguments.next().unwrap());
    let mut text = Vec::new();
    std::io::stdin().read_to_end(&mut text).unwrap();
    let file = LabFile::of_text("/lab.yaml".as_ref(), text, "unnamed").unwrap();
    let lab = Lab::named(&data, &file.model.lab);
    let report = |event: Event| {
        // Nobody may listen any more.
        writeln!(std::io::stdout(), "{event:?}").ok();
    };
    match run(lab.up(&file, UpOptions::default(), &report)) {
        Ok(_) => Some(ExitCode::SUCCESS),
        Err(error) => {
            writeln!(std::io::stdout(), "{}", crate::lab::in_words(&error)).ok();
            Some(ExitCode::FAILURE)
        }
    }
}

/// An `up` that runs.
pub(crate) struct Up {
    process: Child,
    events: BufReader<ChildStdout>,
}

impl Up {
    /// Starts it.
    pub(crate) fn start(data: &DataFolder, text: &str) -> Self {
        #[expect(clippy::disallowed_methods, reason = "the test program starts itself")]
        let mut process = Command::new("/proc/self/exe")
            .arg(UP)
            .arg(data.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        process.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let events = BufReader::new(process.stdout.take().unwrap());
        Self { process, events }
    }

    /// Waits for the next event; `None` if it has ended.
    pub(crate) fn next(&mut self) -> Option<String> {
        let mut line = String::new();
        (self.events.read_line(&mut line).unwrap() > 0).then(|| line.trim_end().to_owned())
    }

    /// Waits for an event that begins with these words.
    pub(crate) fn wait_for(&mut self, words: &str) {
        while let Some(event) = self.next() {
            if event.starts_with(words) {
                return;
            }
        }
        panic!("up ended and never said {words}");
    }

    /// Kills it (SIGKILL). Says whether it had not ended before. Its stages must end with it.
    pub(crate) fn kill(mut self) -> bool {
        let runs = self.process.try_wait().unwrap().is_none();
        let stages = traces::stages_of(self.process.id());
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        wait_until("the stages of a killed up have ended", || {
            traces::still_stages(&stages).is_empty()
        });
        runs
    }

    /// Waits for its end. Says whether it succeeded, and tells the events that are left.
    pub(crate) fn finish(mut self) -> (bool, Vec<String>) {
        let mut events = Vec::new();
        while let Some(event) = self.next() {
            events.push(event);
        }
        (self.process.wait().unwrap().success(), events)
    }
}
