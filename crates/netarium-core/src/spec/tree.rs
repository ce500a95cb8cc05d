//! YAML as a tree in which everything has its place.
//!
//! Nothing here knows what a lab is. Scalars stay as they are written: whether `8080` is a number
//! or a word is decided by the one who asks for it. Aliases are copied, merge keys (`<<`) are
//! merged, within limits, so that a small file cannot become a huge tree.

use std::collections::BTreeMap;

use granit_parser::{
    ErrorKind, Event, Marker, Parser, ScalarStyle, ScanError, Span, StrInput, StructureStyle,
};

use crate::problem::{Place, Placed, Problem};

/// How deep lists and tables may stand in each other.
const DEEPEST: usize = 32;

/// How many values all aliases together may copy.
const MOST_COPIES: usize = 100_000;

/// A value of a YAML file.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    /// Where it is. For a list or table over several lines: where its first item is.
    pub(crate) place: Place,
    /// What it is.
    pub(crate) value: Value,
}

/// What a value is.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// Nothing at all, `~` or `null`.
    Nothing,
    /// A scalar, as text.
    Scalar(String),
    /// A sequence.
    List(Vec<Tree>),
    /// A mapping, in the order written, with keys that may be there twice.
    Table(Vec<(Placed<String>, Tree)>),
}

impl Tree {
    /// The same tree in another file.
    pub(crate) fn in_file(mut self, file: usize) -> Self {
        self.place = self.place.in_file(file);
        match &mut self.value {
            Value::Nothing | Value::Scalar(_) => {}
            Value::List(items) => {
                *items = std::mem::take(items).into_iter().map(|it| it.in_file(file)).collect();
            }
            Value::Table(entries) => {
                for (key, value) in entries {
                    key.place = key.place.in_file(file);
                    let tree = Self { place: value.place, value: Value::Nothing };
                    *value = std::mem::replace(value, tree).in_file(file);
                }
            }
        }
        self
    }
}

/// Reads `text`; `None` is a file without a value.
pub(crate) fn grow(text: &str) -> Result<Option<Tree>, Problem> {
    let mut options = granit_parser::options! {
        disallow_directives: true,
        flow_nesting_limit: DEEPEST,
        block_nesting_limit: DEEPEST,
    };
    options.set_emit_comments(false);
    let parser = Parser::new_from_str_with_options(text, options);
    let mut grower = Grower { parser, anchors: BTreeMap::new(), copies: 0 };
    let mut tree = None;
    loop {
        let (event, span) = grower.next()?;
        match event {
            Event::StreamEnd => return Ok(tree),
            Event::DocumentStart(..) if tree.is_some() => {
                return Err(Problem::new("a second YAML document begins here")
                    .at(place(span))
                    .hint("one file is one lab: put it into a file of its own"));
            }
            event if event.is_node() => tree = Some(grower.value(event, span, 0)?),
            _ => {}
        }
    }
}

/// Makes a tree from the parser's events.
struct Grower<'t> {
    parser: Parser<'t, StrInput<'t>>,
    anchors: BTreeMap<usize, Anchored>,
    copies: usize,
}

/// A value that an alias can name.
struct Anchored {
    tree: Tree,
    count: usize,
    depth: usize,
}

impl<'t> Grower<'t> {
    fn next(&mut self) -> Result<(Event<'t>, Span), Problem> {
        match self.parser.next_event() {
            Some(next) => next.map_err(|error| broken(&error)),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    /// The value that begins with `event`.
    fn value(&mut self, event: Event<'t>, span: Span, depth: usize) -> Result<Tree, Problem> {
        let anchor = event.anchor_id().filter(|&id| id != 0);
        if let Some(tag) = event.tag().filter(|tag| !tag.is_yaml_core_schema()) {
            let message = format!("the tag {} means nothing in a lab file", tag.original());
            return Err(Problem::new(message).at(place(span)));
        }
        let tree = match event {
            Event::Scalar(text, style, _, tag) => {
                let plain = style == ScalarStyle::Plain && tag.is_none();
                let nothing = plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let value = if nothing { Value::Nothing } else { Value::Scalar(text.into_owned()) };
                Tree { place: place(span), value }
            }
            Event::SequenceStart(style, ..) => self.list(style, span, depth)?,
            Event::MappingStart(style, ..) => self.table(style, span, depth)?,
            Event::Alias(id) => return self.alias(id, span, depth),
            _ => return Err(Problem::new("this is no YAML value").at(place(span))),
        };
        if let Some(id) = anchor {
            let (count, deep) = measure(&tree);
            self.anchors.insert(id, Anchored { tree: tree.clone(), count, depth: deep });
        }
        Ok(tree)
    }

    /// A copy of what the alias names.
    fn alias(&mut self, id: usize, span: Span, depth: usize) -> Result<Tree, Problem> {
        let Some(anchored) = self.anchors.get(&id) else {
            return Err(Problem::new("this alias stands inside of what it names").at(place(span)));
        };
        self.copies = self.copies.saturating_add(anchored.count);
        if self.copies > MOST_COPIES {
            let message = format!("the aliases of this file copy more than {MOST_COPIES} values");
            return Err(Problem::new(message).at(place(span)));
        }
        if depth + anchored.depth > 2 * DEEPEST {
            return Err(too_deep(place(span)));
        }
        Ok(anchored.tree.clone())
    }

    fn list(&mut self, style: StructureStyle, span: Span, depth: usize) -> Result<Tree, Problem> {
        let mut items = Vec::new();
        loop {
            let (event, at) = self.next()?;
            if event == Event::SequenceEnd {
                let first = items.first().map(|item: &Tree| item.place);
                return Ok(Tree {
                    place: whole(style, span, at, first),
                    value: Value::List(items),
                });
            }
            items.push(self.value(event, at, depth + 1)?);
        }
    }

    fn table(&mut self, style: StructureStyle, span: Span, depth: usize) -> Result<Tree, Problem> {
        let mut entries: Vec<(Placed<String>, Tree)> = Vec::new();
        let mut merged = Vec::new();
        loop {
            let (event, at) = self.next()?;
            if event == Event::MappingEnd {
                let first = entries.first().map(|(key, _)| key.place);
                add_missing(&mut entries, merged);
                let place = whole(style, span, at, first);
                return Ok(Tree { place, value: Value::Table(entries) });
            }
            let merges =
                matches!(&event, Event::Scalar(text, ScalarStyle::Plain, ..) if text == "<<");
            let key = self.value(event, at, depth + 1)?;
            let (event, at) = self.next()?;
            let value = self.value(event, at, depth + 1)?;
            match key.value {
                Value::Scalar(_) if merges => merged.extend(to_merge(value)?),
                Value::Scalar(text) => {
                    entries.push((Placed { value: text, place: key.place }, value));
                }
                _ => return Err(Problem::new("a key must be a word").at(key.place)),
            }
        }
    }
}

/// The entries that a merge key brings (<https://yaml.org/type/merge.html>).
fn to_merge(tree: Tree) -> Result<Vec<(Placed<String>, Tree)>, Problem> {
    match tree.value {
        Value::Table(entries) => Ok(entries),
        Value::List(items) => {
            let entries: Result<Vec<_>, _> = items.into_iter().map(to_merge).collect();
            Ok(entries?.into_iter().flatten().collect())
        }
        _ => Err(Problem::new("<< merges tables only").at(tree.place)),
    }
}

/// Adds what was merged; what the table says itself goes first, then what was merged earlier.
fn add_missing(entries: &mut Vec<(Placed<String>, Tree)>, merged: Vec<(Placed<String>, Tree)>) {
    if merged.is_empty() {
        return;
    }
    let mut keys: std::collections::BTreeSet<String> =
        entries.iter().map(|(key, _)| key.value.clone()).collect();
    entries.extend(merged.into_iter().filter(|(key, _)| keys.insert(key.value.clone())));
}

/// How many values are in a tree, and how deep it is.
fn measure(tree: &Tree) -> (usize, usize) {
    let inner: Vec<_> = match &tree.value {
        Value::Nothing | Value::Scalar(_) => Vec::new(),
        Value::List(items) => items.iter().map(measure).collect(),
        Value::Table(entries) => entries.iter().map(|(_, value)| measure(value)).collect(),
    };
    inner.iter().fold((1, 1), |(count, depth), (more, deep)| (count + more, depth.max(deep + 1)))
}

/// The place of a list or table: all of it in flow style, its first item in block style, since
/// nobody can see the end of a block.
fn whole(style: StructureStyle, start: Span, end: Span, first: Option<Place>) -> Place {
    match (style, first) {
        (StructureStyle::Block, Some(first)) => first,
        _ => Place { end: offset(end.end), ..place(start) },
    }
}

fn place(span: Span) -> Place {
    let (start, end) = (offset(span.start), offset(span.end));
    Place { file: 0, start, end, line: span.start.line(), column: span.start.col() + 1 }
}

fn offset(marker: Marker) -> usize {
    marker.byte_offset().unwrap_or_else(|| marker.index())
}

fn too_deep(place: Place) -> Problem {
    Problem::new(format!("lists and tables stand more than {DEEPEST} deep in each other")).at(place)
}

/// The parser's own error.
fn broken(error: &ScanError) -> Problem {
    let at = place(Span::empty(*error.marker()));
    if *error.kind() == ErrorKind::RecursionLimitExceeded {
        return too_deep(at);
    }
    let info = error.info();
    let problem = Problem::new(format!("this is no YAML: {info}")).at(at);
    match error.kind() {
        ErrorKind::UnknownAnchor => Problem::new("this alias names no anchor above it").at(at),
        ErrorKind::MappingValueNotAllowed => problem
            .hint("put words with a colon and a space into quotes, and check the indentation"),
        _ if info.contains("tab") => problem.hint("indent with spaces"),
        _ => problem,
    }
}
