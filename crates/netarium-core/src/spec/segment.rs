//! Segments and images, as written.

use schemars::JsonSchema;

use super::Word;
use super::decode::{Table, choice, number, word, words};
use super::tree::{Tree, Value};
use crate::model::Driver;
use crate::problem::{Placed, Problems};
use crate::schema;

/// A Debian system made from packages, or with `from` an image that others have made.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[non_exhaustive]
pub struct Recipe {
    /// An image that others have made, as `image` names it. Such one has neither suite nor packages.
    #[schemars(with = "Option<schema::Image>")]
    pub from: Option<Word>,
    /// Which machines that image is for. Default: this one's kind.
    #[schemars(with = "Option<schema::Platform>")]
    pub platform: Option<Word>,
    /// The Debian release. Default: `bookworm`.
    #[schemars(with = "Option<schema::Suite>")]
    pub suite: Option<Word>,
    /// Debian packages besides the essential ones.
    #[schemars(with = "Option<schema::OneOrMany<schema::Package>>")]
    pub packages: Vec<Word>,
}

impl Recipe {
    pub(super) fn read(tree: &Tree, problems: &mut Problems) -> Option<Self> {
        let mut table = Table::open("an image", tree, problems)?;
        let from = table.take("from").and_then(|tree| word("from", tree, problems));
        let platform = table.take("platform").and_then(|tree| word("platform", tree, problems));
        let suite = table.take("suite").and_then(|tree| word("suite", tree, problems));
        let packages = match table.take("packages") {
            Some(Tree { value: Value::Nothing, .. }) | None => Vec::new(),
            Some(tree) => words("packages", tree, problems),
        };
        table.close(problems);
        Some(Self { from, platform, suite, packages })
    }
}

/// A segment in its long form.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(
    rename = "SegmentTable",
    deny_unknown_fields,
    transform = schema::also_prefix
)]
#[non_exhaustive]
pub struct Segment {
    /// The prefixes in use on it, `10.0.0.0/24` for example. `prefix` is the same.
    #[schemars(with = "Option<schema::OneOrMany<schema::Prefix>>")]
    pub prefixes: Vec<Word>,
    /// How the kernel makes it. Default: `macvlan`.
    #[schemars(with = "Option<Driver>")]
    pub driver: Option<Placed<Driver>>,
    /// The largest packet in bytes, 68 to 65535, with IPv6 at least 1280. Default: 1500.
    #[schemars(with = "Option<u32>", range(min = 68, max = 65535))]
    pub mtu: Option<Placed<u32>>,
}

const DRIVERS: [(&str, Driver); 3] =
    [("macvlan", Driver::Macvlan), ("bridge", Driver::Bridge), ("veth", Driver::Veth)];

impl Segment {
    pub(super) fn read(tree: &Tree, problems: &mut Problems) -> Option<Self> {
        if let Value::Scalar(_) | Value::List(_) = tree.value {
            let prefixes = words("prefix", tree, problems);
            return Some(Self { prefixes, driver: None, mtu: None });
        }
        let mut table = Table::open("a segment", tree, problems)?;
        let prefixes = table.take_words("prefix", "prefixes", problems);
        let driver =
            table.take("driver").and_then(|tree| choice("driver", tree, &DRIVERS, problems));
        let mtu = table.take("mtu").and_then(|tree| number("mtu", tree, problems));
        table.close(problems);
        Some(Self { prefixes, driver, mtu })
    }
}
