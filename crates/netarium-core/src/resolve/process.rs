//! What a node runs by itself, and how its programs are watched and stopped.

use super::files;
use super::services::{absolute, environment, readiness};
use super::time::time;
use crate::model::{Health, Image, MAIN, Main, MainReady, Restart, Service, Stop};
use crate::problem::{Problem, Problems};
use crate::signal;
use crate::spec::{self, Word};

/// The node's own program, if anything is said of it.
pub(super) fn main(written: &spec::Main, image: &Image, problems: &mut Problems) -> Option<Main> {
    let first = written.keys.first()?;
    for program in [&written.entrypoint, &written.command].into_iter().flatten() {
        words(program, problems);
    }
    let values = |words: &Option<Vec<Word>>| {
        words.as_ref().map(|words| words.iter().map(|word| word.value.clone()).collect())
    };
    let restart = written.restart.as_ref().map_or(Restart::OnFailure, |it| it.value);
    let ready = written.ready.as_ref().map(|ready| readiness(Some(ready), restart, problems));
    let main = Main {
        entrypoint: values(&written.entrypoint),
        command: values(&written.command),
        environment: environment(&written.env, problems),
        folder: written.folder.as_ref().map(|word| absolute(word, problems)),
        user: written.user.as_ref().and_then(|word| files::user("user", word, problems)),
        restart,
        stop: stop(&written.stop, problems),
        ready: ready.map_or_else(MainReady::default, MainReady::Given),
    };
    let has_program = written.keys.iter().any(|it| matches!(it.value, "entrypoint" | "command"));
    if !has_program && !image.is_foreign() {
        let message =
            format!("{} is about a program of the node's own, and it has none", first.value);
        let hint = "write command, or put it into a service";
        problems.add(Problem::new(message).at(first.place).hint(hint));
    }
    Some(main)
}

/// A service cannot be called as the node's own program is.
pub(super) fn check_names(
    main: Option<&Main>,
    written: &[spec::Service],
    services: &[Service],
    problems: &mut Problems,
) {
    let taken = main.is_some() && services.iter().any(|it| it.name.as_str() == MAIN);
    let place = written.iter().find(|it| it.name.value == MAIN).map(|it| it.name.place);
    if let (true, Some(place)) = (taken, place) {
        let problem = Problem::new("the node's own program is the service main").at(place);
        problems.add(problem.hint("give this one another name"));
    }
}

/// What is wrong with the words of a program.
pub(super) fn words(program: &[Word], problems: &mut Problems) {
    if let Some(program) = program.first().filter(|program| program.is_empty()) {
        problems.at(program.place, "the program to run has no name");
    }
    for word in program.iter().filter(|word| word.contains('\0')) {
        problems.at(word.place, "an argument cannot have a NUL character in it");
    }
}

/// How a program is stopped.
pub(super) fn stop(written: &spec::Stop, problems: &mut Problems) -> Stop {
    let signal = written.signal.as_ref().and_then(|word| {
        let number = signal::number(word);
        if number.is_none() {
            let problem = Problem::new(format!("there is no signal {}", word.value));
            problems.add(problem.at(word.place).hint("write SIGINT or a number for example"));
        }
        number
    });
    Stop { signal, grace: written.grace.as_ref().and_then(|word| time(word, 0, problems)) }
}

/// A program that tells whether a service is well.
pub(super) fn health(written: &spec::Health, problems: &mut Problems) -> Health {
    words(&written.command, problems);
    let usual = Health::of(written.command.iter().map(|word| word.value.clone()).collect());
    let mut or = |word: &Option<Word>, least, usual| {
        word.as_ref().and_then(|word| time(word, least, problems)).unwrap_or(usual)
    };
    let (interval, timeout) =
        (or(&written.interval, 1, usual.interval), or(&written.timeout, 1, usual.timeout));
    let start_period = or(&written.start_period, 0, usual.start_period);
    let start_interval = or(&written.start_interval, 1, usual.start_interval);
    let retries = written.retries.as_ref();
    if let Some(retries) = retries.filter(|retries| retries.value == 0) {
        let problem = Problem::new("a service that may not fail once").at(retries.place);
        problems.add(problem.hint("1 is the least: the first failure counts"));
    }
    let retries = retries.map_or(usual.retries, |retries| retries.value);
    Health { interval, timeout, retries, start_period, start_interval, ..usual }
}
