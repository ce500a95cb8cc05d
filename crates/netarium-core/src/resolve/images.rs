//! Images: the recipes of the file, the built-in one, the host's own file system, and what others
//! have made.
//!
//! A word that the file or we give a meaning has that. Any other with `:`, `/` or `@` in it is an
//! image of others; one without is a slip of the fingers, since nobody could tell it from one.

use std::collections::BTreeMap;

use super::{Context, files, names};
use crate::compose::Given;
use crate::image::{Platform, Reference};
use crate::model::{Archive, ArchiveForm, Build, Image, Node, Recipe};
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
pub(super) struct Images<'s> {
    /// The folder of the lab file, in which archives are.
    folder: &'s str,
    /// What each word stands for; nothing if it had a problem.
    known: BTreeMap<String, Option<Image>>,
    open: bool,
    default: Option<Image>,
}

impl<'s> Images<'s> {
    pub(super) fn resolve(spec: &Spec, folder: &'s str, problems: &mut Problems) -> Self {
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
            let image = name.zip(written.as_ref()).and_then(|(name, it)| match &it.from {
                Some(from) => others(from, it, folder, problems),
                None => Some(Image::Recipe(recipe(name, it, problems))),
            });
            known.insert(word.value.clone(), image);
        }
        let open = spec.unread.contains(&"images");
        let mut images = Self { folder, known, open, default: base() };
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
            None if word.contains([':', '/', '@']) => foreign(word, None, self.folder, problems),
            None => {
                if !self.open {
                    problems.unknown("image", word, self.known.keys().map(String::as_str));
                    let with_tag = format!("{}:latest", word.value);
                    if with_tag.parse::<Reference>().is_ok() {
                        problems.also_hint(|| format!("{with_tag} would be that of a registry"));
                    }
                }
                None
            }
        }
    }
}

/// An image of others that the file gives a name of its own.
fn others(
    from: &Word,
    written: &spec::Recipe,
    folder: &str,
    problems: &mut Problems,
) -> Option<Image> {
    let spare = [written.suite.as_ref(), written.packages.first()];
    if let Some(word) = spare.into_iter().flatten().next() {
        let problem = Problem::new("an image that others have made has no suite and no packages");
        problems.add(problem.at(word.place).hint("leave out from, or all else but platform"));
    }
    let platform = match &written.platform {
        Some(word) => Some(platform(word, problems)?),
        None => None,
    };
    foreign(from, platform, folder, problems)
}

/// The image of a node of a Compose file, which is one of others whatever the lab calls its own.
pub(super) fn given(
    given: &Given,
    node: &Name,
    context: &Context<'_>,
    problems: &mut Problems,
) -> Option<Image> {
    let folder = &context.sources.folder;
    let platform = match &given.platform {
        Some(word) => Some(platform(word, problems)?),
        None => None,
    };
    if given.build.is_some() {
        // As Compose calls it.
        let name = match &given.image {
            Some(word) => match word.parse::<Reference>() {
                Ok(reference) => reference.familiar(),
                Err(error) => {
                    let problem = Problem::new(error.to_string()).at(word.place);
                    problems.add(problem.hint(error.hint()));
                    return None;
                }
            },
            None => format!("{}-{node}:latest", context.lab),
        };
        return Some(Image::DockerDaemon { name });
    }
    foreign(given.image.as_ref()?, platform, folder, problems)
}

/// What Docker builds before the nodes can be made, by the names of the images.
pub(super) fn builds(
    spec: &Spec,
    nodes: &BTreeMap<Name, Node>,
    folder: &str,
    problems: &mut Problems,
) -> BTreeMap<String, Build> {
    let mut builds: BTreeMap<String, Build> = BTreeMap::new();
    for (word, written) in &spec.nodes {
        let given = written.as_ref().and_then(|node| node.given.as_ref());
        let node = nodes.iter().find(|(name, _)| name.as_str() == word.value);
        let (Some(given), Some((_, node))) = (given, node) else { continue };
        let (Some(build), Image::DockerDaemon { name }) = (&given.build, &node.image) else {
            continue;
        };
        let platform = given.platform.as_ref().and_then(|word| word.parse().ok());
        let build = Build { beneath: folder.to_owned(), platform, ..build.clone() };
        if builds.get(name).is_some_and(|other| *other != build) {
            let problem = Problem::new(format!("the image {name} is built in two ways"));
            problems.add(problem.at(word.place).hint("call one of them something else"));
        }
        builds.insert(name.clone(), build);
    }
    builds
}

fn platform(word: &Word, problems: &mut Problems) -> Option<Platform> {
    match word.parse() {
        Ok(platform) => Some(platform),
        Err(error) => {
            let error: crate::image::PlatformError = error;
            problems.add(Problem::new(error.to_string()).at(word.place).hint(error.hint()));
            None
        }
    }
}

/// An image of others: in a registry, in Docker, or in a file beside the lab file.
fn foreign(
    word: &Word,
    platform: Option<Platform>,
    folder: &str,
    problems: &mut Problems,
) -> Option<Image> {
    if let Some(name) = word.strip_prefix(DOCKER_DAEMON) {
        let is_id = name.len() >= 12 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_id = is_id || name.strip_prefix("sha256:").is_some_and(|hex| hex.len() == 64);
        let parsed = if is_id { None } else { name.parse::<Reference>().err() };
        if let Some(error) = parsed {
            problems.add(Problem::new(error.to_string()).at(word.place).hint(error.hint()));
            return None;
        }
        return Some(Image::DockerDaemon { name: name.to_owned() });
    }
    if let Some((form, path, name)) = ArchiveForm::split(word) {
        let name = name.map(str::to_owned);
        if let Some(fault) = files::fault_below(path) {
            let problem = Problem::new(format!("{path} {fault}")).at(word.place);
            problems.add(problem.hint("archives are in the folder of the lab file, ./image.tar"));
            return None;
        }
        let (beneath, path) = (Some(folder.to_owned()), path.to_owned());
        return Some(Image::Archive(Archive { form, beneath, path, name, platform }));
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
        Some(spec) => Images::resolve(spec, "", &mut Problems::default()).known,
        None => BTreeMap::from([("base".to_owned(), base())]),
    };
    let recipe = |image| if let Image::Recipe(recipe) = image { Some(recipe) } else { None };
    known.into_values().flatten().filter_map(recipe).collect()
}

/// The built-in image.
pub(crate) fn base() -> Option<Image> {
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
    if let Some(word) = &written.platform {
        let problem = Problem::new("platform is for images that others have made").at(word.place);
        problems.add(problem.hint("write from, or leave platform out"));
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
