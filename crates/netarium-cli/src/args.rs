//! The command line as it is typed. Nothing is looked up or decided here.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;
use netarium::bench::Contender;
use netarium::certificates::Reason;
use netarium_core::image::{Platform, Reference};
use netarium_core::model::Engine;
use netarium_core::name::Name;
use netarium_core::user::User;

/// Virtual networks out of containers: bring a lab up, check it, take it down
#[derive(Debug, Parser)]
#[command(name = "netarium", version, max_term_width = 100, subcommand_required = true)]
#[command(arg_required_else_help = true, after_help = AFTER_HELP)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) output: Output,
}

const AFTER_HELP: &str = "\
A LAB is the path of a lab file or of its folder, or the name of a lab that is up. Without one it
is lab.yaml in the current folder.

Exit codes: 0 fine, 1 a check failed or the lab is not healthy, 2 wrong usage or a mistake in the
lab file, 3 the machine refused.";

/// How results are shown.
#[derive(Clone, Copy, Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct Output {
    /// Print data as JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print nothing but data and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Tell every step
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,
    /// When to use colours
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: Color,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Bring a lab up, or to what its file says now
    Up(Up),
    /// Take a lab down
    Down(Down),
    /// List the labs that are up
    Ls,
    /// Show a lab's nodes, their interfaces and services
    Ps(OneLab),
    /// Tell whether a lab is healthy, else what differs and why
    Status(OneLab),
    /// Show what `up` would do
    Plan(Plan),
    /// Look for mistakes in a lab file
    Validate(OneLab),
    /// Print all that is known about a lab as JSON
    Inspect(OneLab),
    /// Run a program in a node
    Exec(Exec),
    /// Open a shell in a node
    Shell(OpenShell),
    /// Show what a node's services wrote
    Logs(Logs),
    /// Find out whether the lab does what its file demands
    Check(Check),
    /// Measure what a lab costs: how long it takes to come up and go down, and its memory
    Bench(Bench),
    /// Tell what this machine has and lacks
    Doctor,
    /// Show, revoke and renew the certificates of a lab
    #[command(subcommand)]
    Pki(Pki),
    /// Manage images
    #[command(subcommand)]
    Image(Image),
    /// Write the lab file of a routed network of some shape and size
    #[command(subcommand)]
    Generate(Generate),
    /// Write a lab as other programs take it
    #[command(subcommand)]
    Export(Export),
    /// Print the JSON Schema of the lab file
    Schema,
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write the manual pages
    Man {
        /// The folder to write them into, one file for each command
        #[arg(value_hint = ValueHint::DirPath)]
        folder: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct OneLab {
    /// Path of a lab file, a Compose file or its folder, or name of a lab that is up
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) lab: Option<String>,
    #[command(flatten)]
    pub(crate) compose: Compose,
}

/// How Compose files are read.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Compose files")]
pub(crate) struct Compose {
    /// A Compose file, each over those before it; may be given several times
    #[arg(short, long = "file", value_name = "FILE", conflicts_with = "lab")]
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) files: Vec<PathBuf>,
    /// A profile whose services belong to the lab; may be given several times
    #[arg(long = "profile", value_name = "NAME", value_hint = ValueHint::Other)]
    pub(crate) profiles: Vec<String>,
    /// A file of variables, in place of .env; may be given several times
    #[arg(long = "env-file", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) variables: Vec<PathBuf>,
    /// Leave out what is not supported, with a warning
    #[arg(long)]
    pub(crate) lenient: bool,
    /// Pass over `privileged`, with a warning: no node has more rights than others
    #[arg(long)]
    pub(crate) allow_privileged: bool,
}

/// What makes the nodes of a lab.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct OnEngine {
    /// What makes the nodes: native or docker [default: as the lab file says, else native]
    #[arg(long, env = "NETARIUM_ENGINE", hide_env = true, value_name = "ENGINE")]
    #[arg(value_parser = engine)]
    pub(crate) engine: Option<Engine>,
}

#[derive(Debug, Args)]
pub(crate) struct Plan {
    #[command(flatten)]
    pub(crate) lab: OneLab,
    #[command(flatten)]
    pub(crate) on: OnEngine,
}

#[derive(Debug, Args)]
pub(crate) struct Up {
    #[command(flatten)]
    pub(crate) lab: OneLab,
    #[command(flatten)]
    pub(crate) on: OnEngine,
    /// After a failure, leave what was made for looking at
    #[arg(long)]
    pub(crate) keep: bool,
    /// How long services and tunnels may take to be ready: 500ms, 60s, 2m
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub(crate) timeout: Duration,
    /// When images of others are pulled
    #[arg(long, value_name = "WHEN", default_value = "missing")]
    pub(crate) pull: Pull,
}

/// When images of others are pulled, in the words of Docker Compose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Pull {
    /// Those that are not there, and files that have changed
    Missing,
    /// All: a name may mean another image now
    Always,
    /// None
    Never,
}

#[derive(Debug, Args)]
pub(crate) struct Down {
    #[command(flatten)]
    pub(crate) lab: OneLab,
    /// All labs that are up
    #[arg(long, conflicts_with = "lab")]
    pub(crate) all: bool,
    /// Remove their volumes with names, too, and all that is in them
    #[arg(long)]
    pub(crate) volumes: bool,
}

/// Names a node of a lab.
#[derive(Debug, Args)]
pub(crate) struct InLab {
    /// Path or name of the lab [default: lab.yaml, else the only lab that is up]
    #[arg(short, long, value_name = "LAB", value_hint = ValueHint::AnyPath)]
    pub(crate) lab: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Exec {
    #[command(flatten)]
    pub(crate) lab: InLab,
    /// Make no terminal, also if there is one here
    #[arg(short = 'T', long)]
    pub(crate) no_terminal: bool,
    /// Set a variable of the environment
    #[arg(short, long = "env", value_name = "NAME=VALUE", value_parser = variable)]
    pub(crate) environment: Vec<(String, String)>,
    /// The folder to start in [default: /root]
    #[arg(short = 'w', long, value_hint = ValueHint::Other)]
    pub(crate) folder: Option<String>,
    /// The user of the node to run as [default: root]
    #[arg(short, long, value_name = "USER[:GROUP]", value_parser = user)]
    pub(crate) user: Option<User>,
    /// The node
    pub(crate) node: String,
    /// The program and its arguments; there is no shell
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    #[arg(value_name = "PROGRAM", value_hint = ValueHint::CommandWithArguments)]
    pub(crate) program: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct OpenShell {
    #[command(flatten)]
    pub(crate) lab: InLab,
    /// The node
    pub(crate) node: String,
}

#[derive(Debug, Args)]
pub(crate) struct Logs {
    #[command(flatten)]
    pub(crate) lab: InLab,
    /// Go on with what is written from now on, until Ctrl-C
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Begin with the last lines of each service, this many
    #[arg(short = 'n', long, value_name = "NUMBER")]
    pub(crate) lines: Option<usize>,
    /// The node
    pub(crate) node: String,
    /// One service only
    pub(crate) service: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    #[command(flatten)]
    pub(crate) lab: OneLab,
    /// Only checks of this name or group; * and ? stand for letters; may be given several times
    #[arg(long, value_name = "PATTERN", value_hint = ValueHint::Other)]
    pub(crate) only: Vec<String>,
    /// Make those checks too that disturb the lab: kill nodes, cut links, change keys
    #[arg(long)]
    pub(crate) dynamic: bool,
    /// Write the results to this file as well, as JUnit XML
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) junit: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// Paths of lab files or their folders, or names of labs; several are brought up at the same time
    #[arg(value_name = "LAB", value_hint = ValueHint::AnyPath)]
    pub(crate) labs: Vec<String>,
    /// What makes the nodes: native, docker, or docker-compose with the lab as it is exported; several,
    /// with this option again or commas between, take turns [default: as the lab file says, else native]
    #[arg(long = "engine", env = "NETARIUM_ENGINE", hide_env = true, value_name = "ENGINE")]
    #[arg(value_parser = contender, value_delimiter = ',')]
    pub(crate) engines: Vec<Contender>,
    /// How often it is brought up, besides once to make it ready
    #[arg(long, value_name = "NUMBER", default_value = "5")]
    pub(crate) runs: std::num::NonZeroU32,
    /// Instead, how long it takes once from no image to checks that have passed
    #[arg(long, conflicts_with = "runs")]
    pub(crate) cold: bool,
    /// Instead, the memory of the lab, which is up, as it is now
    #[arg(long, conflicts_with_all = ["runs", "cold"])]
    pub(crate) memory: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Generate {
    /// A hub and leaves around it
    Star(Generated),
    /// Each node has two neighbours
    Ring(Generated),
    /// Each node has some nodes below it
    Tree {
        #[command(flatten)]
        wanted: Generated,
        /// How many nodes are below each
        #[arg(long, value_name = "NUMBER", default_value = "2")]
        degree: std::num::NonZeroU32,
    },
    /// Two stages of switches, every leaf linked to every spine, and hosts
    Clos(Generated),
    /// Each node is linked to one of the others by chance; half as many links are spare
    Random {
        #[command(flatten)]
        wanted: Generated,
        /// The same seed gives the same network
        #[arg(long, value_name = "NUMBER", default_value = "1")]
        seed: u64,
    },
}

/// What is wanted of a network of any shape.
#[derive(Debug, Args)]
pub(crate) struct Generated {
    /// How many nodes it has, all told
    #[arg(short, long, value_name = "NUMBER")]
    pub(crate) nodes: u32,
    /// The name of the lab [default: its shape and number of nodes]
    #[arg(long)]
    pub(crate) name: Option<Name>,
    /// The image of all nodes
    #[arg(long, default_value = "host")]
    pub(crate) image: String,
    /// The file to write, which must not be there yet [default: standard output]
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Export {
    /// Write a folder that Docker Compose brings up, and say what it cannot express
    Compose(ExportCompose),
}

#[derive(Debug, Args)]
pub(crate) struct ExportCompose {
    #[command(flatten)]
    pub(crate) lab: OneLab,
    /// The folder to write: new, empty, or written by this before [default: LAB-compose]
    #[arg(short, long, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    pub(crate) output: Option<PathBuf>,
    /// Give the engine that DOCKER_HOST names the images that it cannot pull
    #[arg(long)]
    pub(crate) load: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Pki {
    /// Show certificates: the chain, names, dates, what is revoked
    Show {
        /// Path or name of the lab [default: lab.yaml, else the only lab that is up]
        #[arg(value_hint = ValueHint::AnyPath)]
        lab: Option<String>,
        /// One node only
        node: Option<String>,
    },
    /// Revoke the certificate of a node: nobody believes it from now on
    ///
    /// A tunnel that stands stays until its ends must show again who they are.
    Revoke {
        #[command(flatten)]
        lab: InLab,
        /// Why: key-compromise, affiliation-changed, superseded, cessation-of-operation,
        /// privilege-withdrawn
        #[arg(long, value_name = "WORD", default_value_t)]
        reason: Reason,
        /// Close tunnels that stand
        #[arg(long)]
        now: bool,
        /// The node
        node: String,
    },
    /// Give a node a new key and certificate, and open its tunnels anew
    Renew {
        #[command(flatten)]
        lab: InLab,
        /// The node
        node: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Image {
    /// List the images on this machine
    Ls,
    /// Build an image, also if it is there already
    Build {
        /// An image of the lab file, or `base`; a lab file or its folder stands for all its images
        /// [default: those of lab.yaml]
        #[arg(value_name = "IMAGE|LAB")]
        name: Option<String>,
        /// The lab file whose `images` has it [default: lab.yaml]
        #[arg(short, long, value_name = "LAB", value_hint = ValueHint::AnyPath)]
        lab: Option<PathBuf>,
        /// Which machines it is for: linux/amd64, linux/arm64 or both, with a comma between them
        /// [default: this one]
        #[arg(long, value_name = "PLATFORM", value_delimiter = ',')]
        platform: Vec<Platform>,
    },
    /// Write an image that was built to a file that `docker load` and `podman load` take
    Export {
        /// Its name, digest, or the beginning of its digest
        image: String,
        /// The file; - is standard output
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// What it is called there [default: its name]
        #[arg(long = "as", value_name = "NAME[:TAG]")]
        called: Option<Reference>,
        #[command(flatten)]
        packing: Packing,
    },
    /// Send an image that was built to a registry
    Push {
        /// Its name, digest, or the beginning of its digest
        image: String,
        /// What it is to be called there: registry.example.org/name:tag
        #[arg(value_name = "REGISTRY/NAME:TAG")]
        called: Reference,
        /// Speak to the registry without TLS
        #[arg(long)]
        plain_http: bool,
        #[command(flatten)]
        packing: Packing,
    },
    /// Pull an image that others have made, also if it is there already
    Pull {
        /// debian:12, ghcr.io/owner/name:tag, docker-daemon:NAME, oci-archive:FILE or
        /// docker-archive:FILE
        image: String,
        /// Which machines it is to be for, linux/arm64 for example [default: this one's kind]
        #[arg(long, value_name = "OS/ARCH")]
        platform: Option<Platform>,
        /// Speak to its registry without TLS
        #[arg(long)]
        plain_http: bool,
    },
    /// Show what an image is made of and what it runs
    Inspect {
        /// A name, a digest, or the beginning of a digest
        image: String,
    },
    /// Remove the images that no lab uses which is up
    Prune {
        /// Images built from packages, too
        #[arg(short, long)]
        all: bool,
        /// Say what would be removed, and remove nothing
        #[arg(short = 'n', long)]
        dry_run: bool,
        /// native: leave alone what labs have given to Docker; docker: fail if Docker does not answer
        /// [default: what Docker was given, too, if it answers]
        #[arg(long, env = "NETARIUM_ENGINE", hide_env = true, value_name = "ENGINE")]
        #[arg(value_parser = engine)]
        engine: Option<Engine>,
    },
    /// Remove images
    Rm {
        /// Names, digests, or beginnings of digests
        #[arg(required = true)]
        images: Vec<String>,
    },
}

/// How an image is packed.
#[derive(Debug, Args)]
pub(crate) struct Packing {
    /// Which machines it is for, with commas between them [default: all that it is built for]
    #[arg(long, value_name = "PLATFORM", value_delimiter = ',')]
    pub(crate) platform: Vec<Platform>,
    /// How layers are compressed; zstd is smaller and faster, but Docker before 23 cannot read it
    #[arg(long, value_name = "WAY", default_value = "gzip")]
    pub(crate) compression: Compression,
    /// A folder whose files go on top, as root's; {arch} in it stands for amd64, arm64
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    pub(crate) with: Option<PathBuf>,
    /// The program that its containers run, and again for each argument
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    pub(crate) entrypoint: Vec<String>,
    /// What they are told when they are told nothing else, again for each word [default: a shell]
    #[arg(long = "cmd", value_name = "WORD", allow_hyphen_values = true)]
    pub(crate) command: Vec<String>,
    /// Say something of it
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = variable)]
    pub(crate) labels: Vec<(String, String)>,
}

/// How layers are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Compression {
    /// What everybody can read.
    Gzip,
    /// Smaller and faster.
    Zstd,
}

/// A time like `500ms`, `60s` or `2m`; a number alone is seconds.
fn duration(word: &str) -> Result<Duration, String> {
    let digits = word.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(word.len());
    let (number, unit) = word.split_at(digits);
    let millis = match unit {
        "ms" => 1,
        "" | "s" => 1000,
        "m" | "min" => 60_000,
        _ => return Err("a time is a number with ms, s or m: 500ms, 60s, 2m".to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| "a time begins with a number".to_owned())?;
    let time = number.checked_mul(millis).filter(|time| *time <= 86_400_000);
    time.map(Duration::from_millis).ok_or_else(|| "that is longer than a day".to_owned())
}

fn engine(word: &str) -> Result<Engine, String> {
    let known = Engine::ALL.into_iter().find(|engine| engine.as_str() == word);
    known.ok_or_else(|| "an engine is native or docker".to_owned())
}

fn contender(word: &str) -> Result<Contender, String> {
    let known = Contender::ALL.into_iter().find(|it| it.to_string() == word);
    known.ok_or_else(|| "what is measured is native, docker or docker-compose".to_owned())
}

fn user(word: &str) -> Result<User, String> {
    User::parse(word).ok_or_else(|| "a user is a name or a number, and :GROUP if wanted".to_owned())
}

fn variable(word: &str) -> Result<(String, String), String> {
    match word.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("a variable is set like NAME=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_time_has_a_unit_or_is_in_seconds() {
        for (word, millis) in [("500ms", 500), ("60s", 60_000), ("2m", 120_000), ("7", 7000)] {
            assert_eq!(duration(word), Ok(Duration::from_millis(millis)), "{word}");
        }
        for word in ["", "s", "1h", "-1s", "1.5s", "99999999999999999999s", "2000000s"] {
            assert!(duration(word).is_err(), "{word}");
        }
    }

    #[test]
    fn what_follows_a_node_belongs_to_the_program() {
        let words = ["netarium", "exec", "-l", "lab", "alice", "ping", "-c", "1", "--json", "bob"];
        let Command::Exec(exec) = Arguments::parse_from(words).command else { panic!() };
        assert_eq!(exec.program, ["ping", "-c", "1", "--json", "bob"]);
        let words = ["netarium", "exec", "alice", "--", "ls", "-l"];
        let Command::Exec(exec) = Arguments::parse_from(words).command else { panic!() };
        assert_eq!(exec.program, ["ls", "-l"]);
    }
}
