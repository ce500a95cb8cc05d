//! The JSON Schema against lab files: what one takes, the other takes.
//!
//! The checker here knows the part of JSON Schema that the schema uses, and notes which keys were
//! seen, so that a key which the parser has and the schema has not is found, and the reverse.

#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod pretend;

use std::collections::BTreeSet;

use granit_parser::{Event, Parser, ScalarStyle};
use netarium_core::schema::schema;
use pretend::load;
use serde_json::{Map, Value, json};

const EVERY_KEY: &str = include_str!("every-key.yaml");

/// Reads YAML as a program that knows nothing of labs would.
fn yaml(text: &str) -> Value {
    let mut events = Parser::new_from_str(text).map(|event| event.unwrap().0);
    let mut anchors = std::collections::BTreeMap::new();
    let first = events.find(Event::is_node).unwrap();
    value(first, &mut events, &mut anchors)
}

fn value<'t>(
    event: Event<'t>,
    events: &mut impl Iterator<Item = Event<'t>>,
    anchors: &mut std::collections::BTreeMap<usize, Value>,
) -> Value {
    let id = event.anchor_id().unwrap_or(0);
    let made = match event {
        Event::Scalar(text, ScalarStyle::Plain, ..) => match &*text {
            "" => Value::Null,
            text => serde_json::from_str(text).unwrap_or_else(|_| json!(text)),
        },
        Event::Scalar(text, ..) => json!(text),
        Event::Alias(id) => anchors[&id].clone(),
        Event::SequenceStart(..) => {
            let mut items = Vec::new();
            loop {
                match events.next().unwrap() {
                    Event::SequenceEnd => break Value::Array(items),
                    event => items.push(value(event, events, anchors)),
                }
            }
        }
        Event::MappingStart(..) => {
            let mut entries = Map::new();
            loop {
                match events.next().unwrap() {
                    Event::MappingEnd => break Value::Object(entries),
                    Event::Scalar(key, ..) if key == "<<" => {
                        let next = events.next().unwrap();
                        for (key, merged) in value(next, events, anchors).as_object().unwrap() {
                            entries.entry(key.clone()).or_insert(merged.clone());
                        }
                    }
                    Event::Scalar(key, ..) => {
                        let next = events.next().unwrap();
                        let made = value(next, events, anchors);
                        entries.insert(key.into_owned(), made);
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        other => panic!("{other:?}"),
    };
    anchors.insert(id, made.clone());
    made
}

/// Looks whether values fit a schema.
struct Checker {
    root: Value,
    seen: BTreeSet<(String, String)>,
}

impl Checker {
    fn new() -> Self {
        Self { root: schema(), seen: BTreeSet::new() }
    }

    fn fits(&mut self, value: &Value, schema: &Value, table: &str) -> bool {
        if let Some(reference) = schema["$ref"].as_str() {
            let name = reference.rsplit('/').next().unwrap().to_owned();
            let schema = self.root["$defs"][&name].clone();
            return self.fits(value, &schema, &name);
        }
        let choices = schema["anyOf"].as_array().or(schema["oneOf"].as_array());
        if choices.is_some_and(|choices| !choices.iter().any(|it| self.fits(value, it, table))) {
            return false;
        }
        let of_type = |name: &str| match name {
            "string" => value.is_string(),
            "integer" => value.is_u64(),
            "number" => value.is_number(),
            "boolean" => value.is_boolean(),
            "array" => value.is_array(),
            "object" => value.is_object(),
            "null" => value.is_null(),
            _ => panic!("{name}"),
        };
        let typed = match &schema["type"] {
            Value::String(name) => of_type(name),
            Value::Array(names) => names.iter().any(|name| of_type(name.as_str().unwrap())),
            _ => true,
        };
        let constant = schema.get("const").is_none_or(|it| it == value);
        let listed = schema["enum"].as_array().is_none_or(|it| it.contains(value));
        typed && constant && listed && self.items_fit(value, schema, table)
    }

    fn items_fit(&mut self, value: &Value, schema: &Value, table: &str) -> bool {
        match value {
            Value::Array(items) => {
                let fits = |count: &str, wanted: fn(usize, usize) -> bool| {
                    schema[count].as_u64().is_none_or(|it| wanted(items.len(), it as usize))
                };
                fits("minItems", |a, b| a >= b)
                    && fits("maxItems", |a, b| a <= b)
                    && items.iter().all(|item| self.fits(item, &schema["items"], table))
            }
            Value::Object(entries) => {
                let required = schema["required"].as_array();
                required
                    .is_none_or(|it| it.iter().all(|it| entries.contains_key(it.as_str().unwrap())))
                    && entries.iter().all(|(key, value)| self.entry_fits(key, value, schema, table))
            }
            _ => true,
        }
    }

    fn entry_fits(&mut self, key: &str, value: &Value, schema: &Value, table: &str) -> bool {
        if let Some(property) = schema["properties"].get(key) {
            let fits = self.fits(value, property, table);
            if fits {
                self.seen.insert((table.to_owned(), key.to_owned()));
            }
            return fits;
        }
        let named = schema["patternProperties"].as_object().and_then(|it| it.values().next());
        match named.or(schema.get("additionalProperties")) {
            Some(Value::Bool(allowed)) => *allowed,
            Some(inner) => self.fits(value, inner, table),
            None => true,
        }
    }
}

fn accepts(text: &str) -> bool {
    let mut checker = Checker::new();
    let root = checker.root.clone();
    checker.fits(&yaml(text), &root, "Lab")
}

#[test]
fn the_schema_takes_every_lab() {
    for text in [
        include_str!("../../../labs/hello/lab.yaml"),
        include_str!("../../../labs/segments/lab.yaml"),
        include_str!("../../../labs/site-to-site/lab.yaml"),
        EVERY_KEY,
    ] {
        assert!(load(text.as_bytes(), "lab").is_ok(), "{:#?}", load(text.as_bytes(), "lab"));
        assert!(accepts(text), "{text}");
    }
}

#[test]
fn the_schema_has_no_key_that_the_file_of_all_keys_has_not() {
    let mut checker = Checker::new();
    let root = checker.root.clone();
    assert!(checker.fits(&yaml(EVERY_KEY), &root, "Lab"));
    let mut missing = Vec::new();
    let mut look = |table: &str, schema: &Value| {
        for key in schema["properties"].as_object().into_iter().flat_map(Map::keys) {
            if !checker.seen.contains(&(table.to_owned(), key.clone())) {
                missing.push(format!("{table}.{key}"));
            }
        }
    };
    look("Lab", &root);
    for (name, definition) in root["$defs"].as_object().unwrap() {
        look(name, definition);
    }
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_schema_refuses_what_the_parser_refuses() {
    for text in [
        "nods: {one: {}}",
        "nodes: {one: {imagine: x}}",
        "nodes: {one: {forward: 3}}",
        "nodes: {one: {interfaces: 5}}",
        "nodes: {one: {files: {/a: [b]}}}",
        "nodes: {one: {volumes: [{source: a}]}}",
        "nodes: {one: {services: [{name: a, run: sleep}]}}",
        "nodes: {one: {}}\nsegments: {a: {driver: token-ring}}",
        "nodes: {one: {}}\nchecks: [{from: one, ping: one, expect: maybe}]",
    ] {
        assert!(!accepts(text), "{text}");
        assert!(load(text.as_bytes(), "lab").is_err(), "{text}");
    }
}
