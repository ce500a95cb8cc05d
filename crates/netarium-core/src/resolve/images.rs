//! Images: the recipes of the file, the built-in one, and the host's own file system.

use std::collections::BTreeMap;

use super::names;
use crate::compose::Given;
use crate::image::{Platform, Reference};
use crate::model::{Image, Recipe};
use crate::name::Name;
use crate::problem::{Problem, Problems};
use crate::spec::{self, Spec, Word};

/// The Debian release of an image that names none.
const SUITE: &str = "bookworm";

/// What stands before the name of an image that Docker has.
const DOCKER_DAEMON: &str = "docker-daemon:";

/// What the built-in image `base` has: what people reach for in a network lab.
pub const BASE_PACKAGES: [&str; 19] = [
    "bubblewrap",
    "ca-certificates",
    "curl",
    "iperf3",
    "iproute2",
    "iputils-ping",
    "less",
    "libcharon-extra-plugins",
    "libstrongswan-extra-plugins",
    "libstrongswan-standard-plugins",
    "netcat-openbsd",
    "nftables",
    "passt",
    "procps",
    "strongswan-charon",
    "strongswan-swanctl",
    "tcpdump",
    "traceroute",
    "vim-tiny",
];

/// The images that a node can name.
pub(super) struct Images {
    /// What each word stands for; nothing if it had a problem.
    known: BTreeMap<String, Option<Image>>,
    open: bool,
    default: Option<Image>,
}

impl Images {
    pub(super) fn resolve(spec: &Spec, problems: &mut Problems) -> Self {
        let mut known: BTreeMap<String, Option<Image>> =
            BTreeMap::from([("base".to_owned(), base()), ("host".to_owned(), Some(Image::Host))]);
        for (word, written) in &spec.images {
            if known.contains_key(word.value.as_str()) {
                let message = format!("the image {} is built in", word.value);
                let hint = "call yours something else";
                problems.add(Problem::new(message).at(word.place).hint(hint));
                continue;
            }
            let name = names::part("image", word, problems);
            let recipe = name.zip(written.as_ref()).map(|(name, it)| recipe(name, it, problems));
            known.insert(word.value.clone(), recipe.map(Image::Recipe));
        }
        let mut images = Self { known, open: spec.unread.contains(&"images"), default: base() };
        if let Some(word) = &spec.image {
            images.default = images.find(word, problems);
        }
        images
    }

    /// The image of a node.
    pub(super) fn of(&self, word: Option<&Word>, problems: &mut Problems) -> Option<Image> {
        match word {
            Some(word) => self.find(word, problems),
            None => self.default.clone(),
        }
    }

    fn find(&self, word: &Word, problems: &mut Problems) -> Option<Image> {
        match self.known.get(word.value.as_str()) {
            Some(image) => image.clone(),
            None => {
                if !self.open {
                    problems.unknown("image", word, self.known.keys().map(String::as_str));
                }
                None
            }
        }
    }
}

/// The image of a node of a Compose file: the name of one in a registry, whatever images of that name
/// there are besides.
pub(super) fn foreign(given: &Given, problems: &mut Problems) -> Option<Image> {
    let platform = given.platform.as_ref().and_then(|word| match word.parse::<Platform>() {
        Ok(platform) => Some(platform),
        Err(error) => {
            let problem = Problem::new(error.to_string()).at(word.place).hint(error.hint());
            problems.add(problem);
            None
        }
    });
    let word = given.image.as_ref()?;
    if let Some(name) = word.strip_prefix(DOCKER_DAEMON) {
        return Some(Image::DockerDaemon { name: name.to_owned() });
    }
    match word.parse::<Reference>() {
        Ok(reference) => Some(Image::Registry { reference, platform }),
        Err(error) => {
            problems.add(Problem::new(error.to_string()).at(word.place).hint(error.hint()));
            None
        }
    }
}

/// The built-in image, and those that a lab file tells how to make, whether a node uses them or not.
/// What has a mistake is left out.
pub fn recipes(spec: Option<&Spec>) -> Vec<Recipe> {
    let known = match spec {
        Some(spec) => Images::resolve(spec, &mut Problems::default()).known,
        None => BTreeMap::from([("base".to_owned(), base())]),
    };
    let recipe = |image| if let Image::Recipe(recipe) = image { Some(recipe) } else { None };
    known.into_values().flatten().filter_map(recipe).collect()
}

fn base() -> Option<Image> {
    let packages = BASE_PACKAGES.iter().map(|package| (*package).to_owned()).collect();
    let name = Name::new("base").ok()?;
    Some(Image::Recipe(Recipe { name, suite: SUITE.to_owned(), packages }))
}

fn recipe(name: Name, written: &spec::Recipe, problems: &mut Problems) -> Recipe {
    let suite = written.suite.as_ref();
    if let Some(word) = suite.filter(|word| !is_suite(word)) {
        let problem = Problem::new(format!("{:?} is no Debian release", word.value));
        problems.add(problem.at(word.place).hint("a release is a word like bookworm"));
    }
    for word in written.packages.iter().filter(|word| !is_package(word)) {
        let problem = Problem::new(format!("{:?} is no Debian package", word.value));
        let hint = "a package is made of a-z, 0-9, +, - and ., and has two letters at least";
        problems.add(problem.at(word.place).hint(hint));
    }
    let packages = written.packages.iter().map(|word| word.value.clone()).collect();
    let suite = suite.map_or(SUITE, |word| &word.value).to_owned();
    Recipe { name, suite, packages }
}

fn is_suite(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase())
}

/// Debian Policy, section 5.6.1.
fn is_package(word: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    word.len() >= 2
        && word.bytes().next().is_some_and(letter)
        && word.bytes().all(|byte| letter(byte) || matches!(byte, b'+' | b'-' | b'.'))
}
