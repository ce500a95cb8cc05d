//! What an image says of itself: how its programs are started, and which layers it is made of.
//!
//! Sources: OCI image specification, config.md; for health checks, Docker's Image Specification
//! v1.2, of which the OCI one leaves them out.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Platform;

/// The shell of a health check that is one line of text, where the image names none.
const SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// How an image is meant to be run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageConfig {
    /// The program, and the first of its arguments.
    pub entrypoint: Vec<String>,
    /// Further arguments, or program and arguments if there is no entrypoint.
    pub command: Vec<String>,
    /// The environment, `PATH` too.
    pub environment: BTreeMap<String, String>,
    /// The folder in which it starts; `/` if it names none.
    pub folder: String,
    /// Whom it runs as, `user` or `user:group`, by name or number; root if it names nobody.
    pub user: Option<String>,
    /// The signal that asks it to end, `SIGTERM` or a number for example.
    pub stop_signal: Option<String>,
    /// How to see whether it is well.
    pub healthcheck: Option<Healthcheck>,
    /// Ports that it listens to, `80/tcp` for example.
    pub exposed: BTreeSet<String>,
    /// Folders that it means to be kept apart from its own files.
    pub volumes: BTreeSet<String>,
    /// What is noted on it.
    pub labels: BTreeMap<String, String>,
}

/// How to see whether a container is well. What is not named is up to whoever runs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Healthcheck {
    /// The program and its arguments; all is well if it ends with status 0.
    pub run: Vec<String>,
    /// How long between two looks.
    pub interval: Option<Duration>,
    /// How long a look may take.
    pub timeout: Option<Duration>,
    /// How long failures do not count, from the start.
    pub start_period: Option<Duration>,
    /// How many failures in a row make it unhealthy.
    pub retries: Option<u32>,
}

/// What an image says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Which machines it is for.
    pub platform: Platform,
    /// How it is meant to be run.
    pub config: ImageConfig,
    /// The digests of its layers as they are when unpacked, the lowest first.
    pub layers: Vec<String>,
}

/// Why what an image says of itself is not understood.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It is not of the form that the specification gives.
    #[error("the configuration of the image is not understood: {0}")]
    Form(#[from] serde_json::Error),
    /// Something in it makes no sense.
    #[error("the configuration of the image makes no sense: {0}")]
    Sense(String),
}

impl Description {
    /// Reads the configuration of an image, a JSON document.
    ///
    /// # Errors
    /// If it is not of the form that the specification gives.
    pub fn read(json: &[u8]) -> Result<Self, ConfigError> {
        let document: Document = serde_json::from_slice(json)?;
        let words = [&document.os, &document.architecture];
        let platform = words.map(String::as_str).join("/");
        let platform = match &document.variant {
            Some(variant) if !variant.is_empty() => format!("{platform}/{variant}"),
            _ => platform,
        };
        let platform =
            platform.parse::<Platform>().map_err(|error| ConfigError::Sense(error.to_string()))?;
        let config = document.config.unwrap_or_default().finish();
        Ok(Self { platform, config, layers: document.rootfs.diff_ids })
    }
}

#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    variant: Option<String>,
    config: Option<Written>,
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    #[serde(default)]
    diff_ids: Vec<String>,
}

/// The part about running it. What is there may be `null` as well.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Written {
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    env: Option<Vec<String>>,
    working_dir: Option<String>,
    user: Option<String>,
    stop_signal: Option<String>,
    healthcheck: Option<WrittenHealthcheck>,
    exposed_ports: Option<BTreeMap<String, serde_json::Value>>,
    volumes: Option<BTreeMap<String, serde_json::Value>>,
    labels: Option<BTreeMap<String, String>>,
    shell: Option<Vec<String>>,
}

/// Times are in nanoseconds; 0 is not named.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[derive(Default)]
struct WrittenHealthcheck {
    test: Option<Vec<String>>,
    interval: Option<u64>,
    timeout: Option<u64>,
    start_period: Option<u64>,
    retries: Option<u32>,
}

impl Written {
    fn finish(self) -> ImageConfig {
        let named = |word: Option<String>| word.filter(|word| !word.is_empty());
        let variable = |text: String| match text.split_once('=') {
            Some((name, value)) => (name.to_owned(), value.to_owned()),
            None => (text, String::new()),
        };
        let shell = self.shell.filter(|shell| !shell.is_empty());
        let shell = shell.unwrap_or_else(|| SHELL.map(str::to_owned).to_vec());
        ImageConfig {
            entrypoint: self.entrypoint.unwrap_or_default(),
            command: self.cmd.unwrap_or_default(),
            environment: self.env.unwrap_or_default().into_iter().map(variable).collect(),
            folder: named(self.working_dir).unwrap_or_else(|| "/".to_owned()),
            user: named(self.user),
            stop_signal: named(self.stop_signal),
            healthcheck: self.healthcheck.and_then(|it| it.finish(shell)),
            exposed: self.exposed_ports.unwrap_or_default().into_keys().collect(),
            volumes: self.volumes.unwrap_or_default().into_keys().collect(),
            labels: self.labels.unwrap_or_default(),
        }
    }
}

impl WrittenHealthcheck {
    /// Nothing if there is none, or none any more (`NONE`).
    fn finish(self, mut shell: Vec<String>) -> Option<Healthcheck> {
        let test = self.test.unwrap_or_default();
        let (kind, words) = test.split_first()?;
        let run = match kind.as_str() {
            "CMD" => words.to_vec(),
            "CMD-SHELL" => {
                shell.extend(words.iter().cloned());
                shell
            }
            _ => return None,
        };
        if run.is_empty() {
            return None;
        }
        let time =
            |nanoseconds: Option<u64>| nanoseconds.filter(|it| *it > 0).map(Duration::from_nanos);
        Some(Healthcheck {
            run,
            interval: time(self.interval),
            timeout: time(self.timeout),
            start_period: time(self.start_period),
            retries: self.retries.filter(|it| *it > 0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_read_with_all_that_it_says() {
        let json = br#"{"architecture":"arm64","os":"linux","variant":"v8","config":{
            "User":"www:www","ExposedPorts":{"80/tcp":{}},"Env":["PATH=/bin","EMPTY=","ODD"],
            "Entrypoint":["/bin/run","--fast"],"Cmd":["go"],"Volumes":{"/data":{}},
            "WorkingDir":"/srv","Labels":{"a":"b"},"StopSignal":"SIGINT",
            "Healthcheck":{"Test":["CMD-SHELL","true || false"],"Interval":1000000000,"Retries":2},
            "Unknown":1},"rootfs":{"type":"layers","diff_ids":["sha256:1","sha256:2"]},"history":[]}"#;
        let read = Description::read(json).unwrap();
        assert_eq!(read.platform.to_string(), "linux/arm64/v8");
        assert_eq!(read.layers, ["sha256:1", "sha256:2"]);
        let config = read.config;
        assert_eq!(config.entrypoint, ["/bin/run", "--fast"]);
        assert_eq!(config.environment["PATH"], "/bin");
        assert_eq!(config.environment["ODD"], "");
        assert_eq!((config.folder.as_str(), config.user.as_deref()), ("/srv", Some("www:www")));
        let health = config.healthcheck.unwrap();
        assert_eq!(health.run, ["/bin/sh", "-c", "true || false"]);
        assert_eq!(health.interval, Some(Duration::from_secs(1)));
        assert_eq!((health.timeout, health.retries), (None, Some(2)));
    }

    #[test]
    fn what_is_null_or_missing_is_nothing() {
        let bare =
            br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;
        let read = Description::read(bare).unwrap();
        assert_eq!(read.config, ImageConfig { folder: "/".to_owned(), ..ImageConfig::default() });
        let null = br#"{"architecture":"amd64","os":"linux","config":{"Cmd":null,"Healthcheck":
            {"Test":["NONE"]},"User":""},"rootfs":{"diff_ids":[]}}"#;
        assert_eq!(Description::read(null).unwrap(), read);
    }

    #[test]
    fn what_is_no_configuration_is_refused() {
        for json in ["", "[]", "{}", r#"{"os":"..","architecture":"a b","rootfs":{}}"#] {
            assert!(Description::read(json.as_bytes()).is_err(), "{json}");
        }
    }
}
