//! What a service runs, and when it counts as ready: as [`Main`] has it.

use std::collections::BTreeMap;

use super::reader::{self, Keys, left_out};
use super::words;
use crate::model::{HealthChange, Main, MainReady, Readiness, Restart, Stop};
use crate::problem::{Placed, Problem, Problems};
use crate::spec::Word;
use crate::spec::decode::{self, number};
use crate::spec::tree::{Tree, Value};
use crate::user::User;

/// How long a program may take to end that is asked to, where Compose says nothing: milliseconds.
/// See <https://docs.docker.com/reference/compose-file/services/#stop_grace_period>.
const GRACE: u32 = 10_000;

/// Signals by name (signal(7)); those that ask a program to end, or that people use for it.
const SIGNALS: [(&str, i32); 14] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ABRT", 6),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("CONT", 18),
    ("WINCH", 28),
    ("PWR", 30),
];

/// Reads what a service runs, with the environment that it was given.
pub(super) fn read(
    keys: &mut Keys<'_>,
    environment: BTreeMap<String, String>,
    problems: &mut Problems,
) -> Main {
    let entrypoint = keys.take("entrypoint").and_then(|it| line("entrypoint", it, problems));
    let command = keys.take("command").and_then(|it| line("command", it, problems));
    let folder = keys.word("working_dir", problems).and_then(|word| folder(word, problems));
    let user = keys.word("user", problems).and_then(|word| user(&word, problems));
    let restart =
        keys.word("restart", problems).map_or(Restart::Never, |it| restart(&it, problems));
    let signal = keys.word("stop_signal", problems).and_then(|word| signal(&word, problems));
    let grace = keys.word("stop_grace_period", problems);
    let grace = grace.and_then(|it| reader::duration("stop_grace_period", &it, problems));
    let health = keys.take("healthcheck");
    let ready = health.map_or_else(MainReady::default, |tree| health_check(tree, problems));
    // An init process is there anyway; a terminal is where somebody asks for one.
    keys.pass(&["init", "tty", "stdin_open"]);
    Main {
        entrypoint,
        command,
        environment,
        folder,
        user,
        restart,
        stop: Stop { signal, grace: Some(grace.unwrap_or(GRACE)) },
        ready,
    }
}

/// A command: a list of words, or a line that is split into words.
fn line(key: &str, tree: &Tree, problems: &mut Problems) -> Option<Vec<String>> {
    if let Value::List(_) = tree.value {
        let words = decode::words(key, tree, problems);
        return Some(words.into_iter().map(|word| without_nul(word, problems)).collect());
    }
    let word = decode::word(key, tree, problems)?;
    let split = words::split(&word);
    if split.is_none() {
        let problem = Problem::new(format!("a quote in {key} is not closed")).at(word.place);
        problems.add(problem.hint("a line is split into words, and there is no shell"));
    }
    without_nul(word, problems);
    split
}

fn without_nul(word: Word, problems: &mut Problems) -> String {
    if word.contains('\0') {
        problems.at(word.place, "an argument cannot have a NUL character in it");
    }
    word.value
}

fn folder(word: Word, problems: &mut Problems) -> Option<String> {
    if !word.starts_with('/') || word.contains('\0') {
        let problem = Problem::new(format!("{} is no absolute path", word.value)).at(word.place);
        problems.add(problem.hint("it begins with /"));
        return None;
    }
    Some(word.value)
}

fn user(word: &Word, problems: &mut Problems) -> Option<User> {
    let user = User::parse(word);
    if user.is_none() {
        let problem = Problem::new(format!("user {:?} is no user", word.value)).at(word.place);
        problems.add(problem.hint("write user or user:group, by name or number"));
    }
    user
}

fn restart(word: &Word, problems: &mut Problems) -> Restart {
    match word.value.as_str() {
        "no" | "false" | "" => Restart::Never,
        // There is no daemon that would begin again and could know who was stopped.
        "always" | "unless-stopped" => Restart::Always,
        "on-failure" => Restart::OnFailure,
        other if other.starts_with("on-failure:") => {
            let message = format!("restart {other} is not supported");
            let hint = "on-failure starts a program again as often as it fails";
            problems.unsupported(left_out(message, word.place, hint));
            Restart::OnFailure
        }
        _ => {
            let known = ["no", "always", "on-failure", "unless-stopped"];
            problems.unknown("restart", word, known);
            Restart::Never
        }
    }
}

fn signal(word: &Word, problems: &mut Problems) -> Option<i32> {
    let upper = word.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let by_name = SIGNALS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
    let by_number = || name.parse().ok().filter(|number| (1..=64).contains(number));
    let realtime = || {
        let above = name.strip_prefix("RTMIN+").and_then(|it| it.parse::<i32>().ok());
        above.filter(|above| (0..=30).contains(above)).map(|above| 34 + above)
    };
    let found = by_name.or_else(by_number).or_else(realtime);
    if found.is_none() {
        let problem = Problem::new(format!("{} is no signal", word.value)).at(word.place);
        problems.add(problem.hint("write SIGTERM, SIGINT or a number"));
    }
    found
}

fn health_check(tree: &Tree, problems: &mut Problems) -> MainReady {
    let Some(mut keys) = Keys::open("a healthcheck", tree, problems) else {
        return MainReady::default();
    };
    let test = keys.take("test").and_then(|tree| test(tree, problems));
    let mut time = |key: &'static str, problems: &mut Problems| {
        let word = keys.word(key, problems)?;
        // Docker takes its own time where 0 is written.
        reader::duration(key, &word, problems).filter(|time| *time > 0)
    };
    let interval = time("interval", problems);
    let timeout = time("timeout", problems);
    let start_period = time("start_period", problems);
    let start_interval = time("start_interval", problems);
    let retries = keys.take("retries").and_then(|tree| number::<u32>("retries", tree, problems));
    let retries = retries.map(|retries| retries.value).filter(|retries| *retries > 0);
    let is_off = keys.is_true("disable", problems) || matches!(test, Some(Test::None));
    keys.close(problems);
    if is_off {
        return MainReady::Given(Readiness::Started);
    }
    let run = test.and_then(|test| if let Test::Run(words) = test { Some(words) } else { None });
    MainReady::Image(HealthChange { run, interval, timeout, retries, start_period, start_interval })
}

/// What is run to see whether a service is well.
enum Test {
    Run(Vec<String>),
    None,
}

fn test(tree: &Tree, problems: &mut Problems) -> Option<Test> {
    let shell = |text: &str| ["/bin/sh", "-c", text].map(str::to_owned).to_vec();
    let Value::List(_) = &tree.value else {
        let word = decode::word("test", tree, problems)?;
        return Some(Test::Run(shell(&word)));
    };
    let words = decode::words("test", tree, problems);
    let (kind, rest) = words.split_first()?;
    let texts: Vec<String> = rest.iter().map(|word| word.value.clone()).collect();
    match (kind.value.as_str(), texts.as_slice()) {
        ("NONE", _) => Some(Test::None),
        ("CMD", [_, ..]) => Some(Test::Run(texts)),
        ("CMD-SHELL", [text]) => Some(Test::Run(shell(text))),
        ("CMD" | "CMD-SHELL", _) => {
            problems.at(kind.place, format!("behind {} stands what is run", kind.value));
            None
        }
        _ => {
            let Placed { value, place } = kind;
            let problem = Problem::new(format!("a test does not begin with {value}")).at(*place);
            problems.add(problem.hint("it begins with CMD, CMD-SHELL or NONE"));
            None
        }
    }
}
