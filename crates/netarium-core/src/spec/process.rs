//! What a node runs by itself, and when: as written.

use schemars::JsonSchema;

use super::Word;
use super::decode::{Table, choice, entries, number, word, words};
use super::node::pairs;
use super::service::{RESTARTS, Ready, arguments};
use super::tree::{Tree, Value};
use crate::model::{Condition, Restart};
use crate::problem::{Placed, Problems};
use crate::schema;

/// What a node runs by itself: the keys of a node that are about it.
#[derive(Clone, Debug, Default, JsonSchema)]
#[non_exhaustive]
pub struct Main {
    /// The keys that are there, each where its value is.
    #[schemars(skip)]
    pub(crate) keys: Vec<Placed<&'static str>>,
    /// What it runs, in place of the image's entrypoint and command. There is no shell.
    #[schemars(with = "Option<Vec<schema::Scalar>>", length(min = 1))]
    pub entrypoint: Option<Vec<Word>>,
    /// What follows on the entrypoint, in place of the image's command; without an entrypoint, the
    /// program and its arguments. There is no shell.
    #[schemars(with = "Option<Vec<schema::Scalar>>", length(min = 1))]
    pub command: Option<Vec<Word>>,
    /// The environment of that, over the image's.
    #[schemars(with = "Option<std::collections::BTreeMap<String, schema::Scalar>>")]
    pub env: Vec<(Word, Word)>,
    /// The folder that it starts in, an absolute path. Default: the image's, else `/`.
    #[schemars(with = "Option<schema::AbsolutePath>")]
    pub folder: Option<Word>,
    /// The user of the node that it runs as. Default: the image's, else root.
    #[schemars(with = "Option<schema::User>")]
    pub user: Option<Word>,
    /// What happens when it ends. Default: `on-failure`.
    #[schemars(with = "Option<Restart>")]
    pub restart: Option<Placed<Restart>>,
    /// When it counts as ready. Default: as the image's health check says, else `started`.
    #[schemars(with = "Option<schema::ReadyForm>")]
    pub ready: Option<Ready>,
    /// How it is stopped.
    #[schemars(with = "Option<Stop>")]
    pub stop: Stop,
}

impl Main {
    pub(super) fn read(table: &mut Table<'_>, problems: &mut Problems) -> Self {
        let mut main = Self::default();
        let keys = ["entrypoint", "command", "env", "folder", "user", "restart", "ready", "stop"];
        for key in keys {
            let Some(tree) = table.take(key) else { continue };
            main.keys.push(Placed { value: key, place: tree.place });
            match key {
                "entrypoint" => main.entrypoint = arguments(key, tree, problems),
                "command" => main.command = arguments(key, tree, problems),
                "env" => main.env = pairs("variable", tree, problems),
                "folder" => main.folder = word(key, tree, problems),
                "user" => main.user = word(key, tree, problems),
                "restart" => main.restart = choice(key, tree, &RESTARTS, problems),
                "ready" => main.ready = Ready::read(tree, problems),
                _ => main.stop = Stop::read(tree, problems),
            }
        }
        main
    }
}

/// How a program is stopped.
#[derive(Clone, Debug, Default, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[non_exhaustive]
pub struct Stop {
    /// The signal that it gets. Default: that of its image, else SIGTERM, which its children get
    /// too.
    #[schemars(with = "Option<schema::Signal>")]
    pub signal: Option<Word>,
    /// How long it may then take, also when its node or the lab is taken down. Default: 2 seconds,
    /// and nothing when those are.
    #[schemars(with = "Option<schema::Duration>")]
    pub grace: Option<Word>,
}

impl Stop {
    pub(super) fn read(tree: &Tree, problems: &mut Problems) -> Self {
        let Some(mut table) = Table::open("stop", tree, problems) else {
            return Self::default();
        };
        let signal = table.take("signal").and_then(|tree| word("signal", tree, problems));
        let grace = table.take("grace").and_then(|tree| word("grace", tree, problems));
        table.close(problems);
        Self { signal, grace }
    }
}

/// A program that tells by its status whether a service is well.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub struct Health {
    /// The program and its arguments. There is no shell.
    #[schemars(with = "Vec<schema::Scalar>", length(min = 1))]
    pub command: Vec<Word>,
    /// The pause between two runs. Default: 30 seconds.
    #[schemars(with = "Option<schema::Duration>")]
    pub interval: Option<Word>,
    /// How long a run may take. Default: 30 seconds.
    #[schemars(with = "Option<schema::Duration>")]
    pub timeout: Option<Word>,
    /// After so many failures in a row it is unhealthy. Default: 3.
    #[schemars(with = "Option<u32>", range(min = 1))]
    pub retries: Option<Placed<u32>>,
    /// How long failures do not count at first. Default: not at all.
    #[schemars(with = "Option<schema::Duration>")]
    pub start_period: Option<Word>,
    /// The longest pause before the first success. Default: 1 second.
    #[schemars(with = "Option<schema::Duration>")]
    pub start_interval: Option<Word>,
}

impl Health {
    /// Reads what stands beside `command` in a table.
    pub(super) fn read(table: &mut Table<'_>, problems: &mut Problems) -> Option<Self> {
        let command = table.take("command").map(|tree| arguments("command", tree, problems));
        let mut time = |key| table.take(key).and_then(|tree| word(key, tree, problems));
        let (interval, timeout) = (time("interval"), time("timeout"));
        let (start_period, start_interval) = (time("start-period"), time("start-interval"));
        let retries = table.take("retries").and_then(|tree| number("retries", tree, problems));
        let command = command??;
        Some(Self { command, interval, timeout, retries, start_period, start_interval })
    }
}

/// The nodes that a node comes after, and what of them it waits for, if that is said.
pub type After = Vec<(Word, Option<Placed<Condition>>)>;

/// The words for what a node waits for.
const CONDITIONS: [(&str, Condition); 3] = [
    ("started", Condition::Started),
    ("ready", Condition::Healthy),
    ("done", Condition::Completed),
];

pub(super) fn after(tree: &Tree, problems: &mut Problems) -> After {
    let Value::Table(_) = &tree.value else {
        return words("after", tree, problems).into_iter().map(|word| (word, None)).collect();
    };
    let nodes = entries("node", tree, problems).unwrap_or_default();
    let read = |(name, tree): (&Word, &Tree)| {
        (name.clone(), choice("condition", tree, &CONDITIONS, problems))
    };
    nodes.into_iter().map(read).collect()
}
