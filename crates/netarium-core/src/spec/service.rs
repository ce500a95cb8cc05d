//! Services, as written.

use schemars::JsonSchema;

use super::Word;
use super::decode::{Table, choice, number, word, words};
use super::node::pairs;
use super::process::{Health, Stop};
use super::tree::{Tree, Value};
use crate::model::Restart;
use crate::problem::{Placed, Problem, Problems};
use crate::schema;

/// A program that runs in a node.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[non_exhaustive]
pub struct Service {
    /// Its name, one of a kind in its node.
    #[schemars(with = "schema::Name")]
    pub name: Word,
    /// The program and its arguments. There is no shell.
    #[schemars(with = "Vec<schema::Scalar>", length(min = 1))]
    pub run: Vec<Word>,
    /// Its environment, besides `PATH`, `HOME`, `TERM` and `HOSTNAME`.
    #[schemars(with = "Option<std::collections::BTreeMap<String, schema::Scalar>>")]
    pub env: Vec<(Word, Word)>,
    /// The folder it starts in, an absolute path. Default: `/`.
    #[schemars(with = "Option<schema::AbsolutePath>")]
    pub folder: Option<Word>,
    /// The user of the node that it runs as, with a group if it is not the user's own. Default: root.
    #[schemars(with = "Option<schema::User>")]
    pub user: Option<Word>,
    /// Services of this node that must be ready before it starts.
    #[schemars(with = "Option<schema::OneOrMany<schema::Name>>")]
    pub after: Vec<Word>,
    /// What happens when it ends. Default: `on-failure`.
    #[schemars(with = "Option<Restart>")]
    pub restart: Option<Placed<Restart>>,
    /// When it counts as ready. Default: `started`.
    #[schemars(with = "Option<schema::ReadyForm>")]
    pub ready: Option<Ready>,
    /// How it is stopped.
    #[schemars(with = "Option<Stop>")]
    pub stop: Stop,
}

/// When a service counts as ready.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Ready {
    /// As soon as its program runs.
    Started,
    /// When it has ended with status 0.
    Done(Word),
    /// When something accepts connections to this TCP port.
    Tcp(Placed<u16>),
    /// When something accepts connections to this socket.
    Unix(Word),
    /// When this file is there.
    File(Word),
    /// As long as a program says so.
    Command(Box<Health>),
}

pub(super) const RESTARTS: [(&str, Restart); 3] =
    [("never", Restart::Never), ("on-failure", Restart::OnFailure), ("always", Restart::Always)];

impl Service {
    pub(super) fn read(tree: &Tree, problems: &mut Problems) -> Option<Self> {
        let mut table = Table::open("a service", tree, problems)?;
        let name = table.need("name", problems).and_then(|tree| word("name", tree, problems));
        let run = table.need("run", problems).and_then(|tree| arguments("run", tree, problems));
        let env = table.take("env").map_or_else(Vec::new, |tree| pairs("variable", tree, problems));
        let folder = table.take("folder").and_then(|tree| word("folder", tree, problems));
        let user = table.take("user").and_then(|tree| word("user", tree, problems));
        let after =
            table.take("after").map_or_else(Vec::new, |tree| words("after", tree, problems));
        let restart =
            table.take("restart").and_then(|tree| choice("restart", tree, &RESTARTS, problems));
        let ready = table.take("ready").and_then(|tree| Ready::read(tree, problems));
        let stop = table.take("stop").map(|tree| Stop::read(tree, problems)).unwrap_or_default();
        table.close(problems);
        // A service that runs nothing is kept for its name, which others may come after.
        let run = run.unwrap_or_default();
        Some(Self { name: name?, run, env, folder, user, after, restart, ready, stop })
    }
}

/// What is run. One line of text is a mistake that people make who know Compose.
pub(super) fn arguments(key: &str, tree: &Tree, problems: &mut Problems) -> Option<Vec<Word>> {
    match &tree.value {
        Value::List(items) if !items.is_empty() => {
            Some(items.iter().filter_map(|item| word(key, item, problems)).collect())
        }
        Value::Scalar(text) => {
            let list = text.split_whitespace().collect::<Vec<_>>().join(", ");
            problems.add(
                Problem::new(format!("{key} must be a list of words"))
                    .at(tree.place)
                    .hint(format!("there is no shell: write [{list}]")),
            );
            None
        }
        _ => {
            problems.add(
                Problem::new(format!("{key} must be a list of words"))
                    .at(tree.place)
                    .hint("write [program]"),
            );
            None
        }
    }
}

impl Ready {
    pub(super) fn read(tree: &Tree, problems: &mut Problems) -> Option<Self> {
        let Value::Table(_) = &tree.value else {
            let word = word("ready", tree, problems)?;
            return match word.value.as_str() {
                "started" => Some(Self::Started),
                "done" => Some(Self::Done(word)),
                _ => {
                    let known = [
                        "started",
                        "done",
                        "{tcp: PORT}",
                        "{unix: PATH}",
                        "{file: PATH}",
                        "{command: [PROGRAM]}",
                    ];
                    problems.unknown("readiness", &word, known);
                    None
                }
            };
        };
        let mut table = Table::open("ready", tree, problems)?;
        let tcp = table.take("tcp").and_then(|tree| number("tcp", tree, problems));
        let unix = table.take("unix").and_then(|tree| word("unix", tree, problems));
        let file = table.take("file").and_then(|tree| word("file", tree, problems));
        let kinds = table.in_order(&["tcp", "unix", "file", "command"]);
        let command = match kinds[..] {
            ["command"] => Health::read(&mut table, problems),
            // Said of more than one thing; what belongs to it is looked at when it is one.
            _ => table.take("command").and(None),
        };
        let place = table.place;
        table.close(problems);
        if kinds.len() > 1 {
            problems.at(place, "ready is one thing: tcp, unix, file or command");
            return None;
        }
        tcp.map(Self::Tcp)
            .or(unix.map(Self::Unix))
            .or(file.map(Self::File))
            .or(command.map(|it| Self::Command(Box::new(it))))
    }
}
