//! Files and volumes of a node, as written.

use schemars::JsonSchema;

use super::Word;
use super::decode::{Table, truth, word};
use super::tree::{Tree, Value};
use crate::problem::{Place, Placed, Problem, Problems};
use crate::schema;

/// A file of a node: its text, or a table.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(rename = "FileTable", deny_unknown_fields)]
#[non_exhaustive]
pub struct File {
    /// What is in it.
    #[schemars(with = "Option<schema::Scalar>")]
    pub text: Option<Word>,
    /// A file or folder below the lab's folder that it is a copy of.
    #[schemars(with = "Option<schema::RelativePath>")]
    pub from: Option<Word>,
    /// Its permission bits, in octal. Default: those of what it is a copy of, else 0644.
    #[schemars(with = "Option<schema::FileMode>")]
    pub mode: Option<Word>,
    /// Its user in the node, with a group if it is not the user's own. Default: root.
    #[schemars(with = "Option<schema::User>")]
    pub owner: Option<Word>,
}

impl File {
    pub(super) fn read(tree: &Tree, problems: &mut Problems) -> Option<Self> {
        let place = tree.place;
        if let Value::Scalar(text) = &tree.value {
            let text = Some(Placed { value: text.clone(), place });
            return Some(Self { text, from: None, mode: None, owner: None });
        }
        if let Value::Nothing | Value::List(_) = tree.value {
            let hint = "write its text, or {from: ./path} (an empty file is \"\")";
            problems.add(Problem::new("a file must be text or a table").at(place).hint(hint));
            return None;
        }
        let mut table = Table::open("a file", tree, problems)?;
        let mut take = |key| table.take(key).and_then(|tree| word(key, tree, problems));
        let (text, from) = (take("text"), take("from"));
        let (mode, owner) = (take("mode"), take("owner"));
        let is_one = table.has("text") != table.has("from");
        table.close(problems);
        if !is_one {
            let hint = "write {text: …} or {from: ./path}";
            problems.add(Problem::new("a file has text or from").at(place).hint(hint));
            return None;
        }
        Some(Self { text, from, mode, owner })
    }
}

/// A folder that a node shares with the lab or the host.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(rename = "VolumeTable", deny_unknown_fields)]
#[non_exhaustive]
pub struct Volume {
    /// A name, for a folder that the lab keeps; or a folder of the host, `./path` below the lab's
    /// folder or absolute.
    #[schemars(with = "Option<schema::VolumeSource>")]
    pub source: Option<Word>,
    /// In place of a source: so much memory, which is empty when the node is made.
    #[schemars(with = "Option<schema::Memory>")]
    pub memory: Option<Word>,
    /// Where it is in the node.
    #[schemars(with = "schema::AbsolutePath")]
    pub target: Word,
    /// Whether the node may change what is in it. Default: `false` for a folder of the host, else
    /// `true`.
    #[schemars(with = "Option<bool>")]
    pub write: Option<Placed<bool>>,
}

impl Volume {
    pub(super) fn read(tree: &Tree, problems: &mut Problems) -> Option<Self> {
        if let Value::Scalar(text) = &tree.value {
            return Self::read_short(text, tree.place, problems);
        }
        let mut table = Table::open("a volume", tree, problems)?;
        let memory = table.take("memory").and_then(|tree| word("memory", tree, problems));
        let source = match table.has("memory") {
            true => table.take("source"),
            false => table.need("source", problems),
        };
        if let Some(tree) = source.filter(|_| table.has("memory")) {
            problems.at(tree.place, "a volume has a source or memory");
        }
        let source = source.and_then(|tree| word("source", tree, problems));
        let target = table.need("target", problems).and_then(|tree| word("target", tree, problems));
        let write = table.take("write").and_then(|tree| truth("write", tree, problems));
        table.close(problems);
        source.as_ref().or(memory.as_ref())?;
        Some(Self { source, memory, target: target?, write })
    }

    fn read_short(text: &str, place: Place, problems: &mut Problems) -> Option<Self> {
        let placed = |value: &str| Placed { value: value.to_owned(), place };
        match text.split(':').collect::<Vec<_>>()[..] {
            [source, target] => {
                let (source, memory) = (Some(placed(source)), None);
                Some(Self { source, memory, target: placed(target), write: None })
            }
            [source, target, _] => {
                let problem = Problem::new(format!("{text} has one colon too many")).at(place);
                let hint = format!("write {{source: {source}, target: {target}, write: true}}");
                problems.add(problem.hint(hint));
                None
            }
            _ => {
                let problem = Problem::new(format!("{text} is no volume")).at(place);
                problems.add(problem.hint("write SOURCE:TARGET, ./site:/srv/site for example"));
                None
            }
        }
    }
}
