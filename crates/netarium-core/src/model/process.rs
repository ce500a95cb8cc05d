//! What runs in a node, when it counts as ready, and what a node waits for: part of the
//! [`crate::model`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::image::Healthcheck;
use crate::name::Name;
use crate::user::User;

/// The name of the service that a node's own program is.
pub const MAIN: &str = "main";

/// What a node runs by itself, besides its services: what its image says, and what is said in its
/// place. `None` and empty is what the image says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Main {
    /// In place of the image's entrypoint; the image's command then counts for nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// In place of the image's command, which is what follows on the entrypoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// Over the image's environment, and besides it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// The folder it starts in, in place of the image's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// Whom it runs as, in place of the image's user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<User>,
    /// What happens when it ends.
    pub restart: Restart,
    /// How it is stopped; a signal that is not said is the image's.
    #[serde(skip_serializing_if = "Stop::is_usual")]
    pub stop: Stop,
    /// When it counts as ready.
    #[serde(skip_serializing_if = "MainReady::is_of_image")]
    pub ready: MainReady,
}

impl Main {
    /// What an image says and nothing else, but what happens when it ends.
    pub fn of_image(restart: Restart) -> Self {
        Self {
            entrypoint: None,
            command: None,
            environment: BTreeMap::new(),
            folder: None,
            user: None,
            restart,
            stop: Stop::default(),
            ready: MainReady::default(),
        }
    }

    /// Whether it says itself what is run.
    pub fn is_given(&self) -> bool {
        let given = |words: &Option<Vec<String>>| words.as_ref().is_some_and(|it| !it.is_empty());
        given(&self.entrypoint) || given(&self.command)
    }
}

/// When a node's own program counts as ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MainReady {
    /// As the health check of its image says, changed like this; as soon as it runs, if there is
    /// none.
    Image(HealthChange),
    /// As is said here, whatever its image says.
    Given(Readiness),
}

impl Default for MainReady {
    fn default() -> Self {
        Self::Image(HealthChange::default())
    }
}

impl MainReady {
    /// Whether it is what the image says.
    pub fn is_of_image(&self) -> bool {
        *self == Self::default()
    }
}

/// What is said in place of parts of an image's health check. Times are in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HealthChange {
    /// The program and its arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<Vec<String>>,
    /// See [`Health::interval`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<u32>,
    /// See [`Health::timeout`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u32>,
    /// See [`Health::retries`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
    /// See [`Health::start_period`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_period: Option<u32>,
    /// See [`Health::start_interval`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_interval: Option<u32>,
}

impl HealthChange {
    /// What comes of an image's health check; `None` if nobody says what is run.
    pub fn of(&self, image: Option<&Healthcheck>) -> Option<Health> {
        let run = self.run.as_ref().or(image.map(|it| &it.run))?;
        let usual = Health::of(run.clone());
        let time = |own: Option<u32>, get: fn(&Healthcheck) -> Option<Duration>, usual: u32| {
            let millis = |it: Duration| u32::try_from(it.as_millis()).unwrap_or(u32::MAX).max(1);
            own.or_else(|| image.and_then(get).map(millis)).unwrap_or(usual)
        };
        let retries = self.retries.or_else(|| image.and_then(|it| it.retries));
        Some(Health {
            interval: time(self.interval, |it| it.interval, usual.interval),
            timeout: time(self.timeout, |it| it.timeout, usual.timeout),
            retries: retries.unwrap_or(usual.retries),
            start_period: time(self.start_period, |it| it.start_period, usual.start_period),
            start_interval: self.start_interval.unwrap_or(usual.start_interval),
            run: usual.run,
        })
    }
}

/// A program that runs in a node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Service {
    /// Its name, one of a kind in its node.
    pub name: Name,
    /// The program and its arguments. There is no shell.
    pub run: Vec<String>,
    /// Its environment, besides `PATH`, `HOME`, `TERM` and `HOSTNAME`.
    pub environment: BTreeMap<String, String>,
    /// The folder it starts in.
    pub folder: String,
    /// Whom it runs as; root if there is nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<User>,
    /// Services of this node that must be ready before it starts.
    pub after: BTreeSet<Name>,
    /// What happens when it ends.
    pub restart: Restart,
    /// When it counts as ready.
    pub ready: Readiness,
    /// How it is stopped.
    #[serde(default, skip_serializing_if = "Stop::is_usual")]
    pub stop: Stop,
}

/// What happens when a service ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "lab-file", derive(schemars::JsonSchema))]
pub enum Restart {
    /// Nothing. A service that ends with status 0 has done its work.
    Never,
    /// It is started again if its status is not 0 or a signal ended it.
    OnFailure,
    /// It is started again.
    Always,
}

/// When a service counts as ready.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Readiness {
    /// As soon as its program runs.
    Started,
    /// When it has ended with status 0.
    Done,
    /// When something in the node accepts connections to this TCP port of the loopback address.
    Tcp(u16),
    /// When something accepts connections to this socket, an absolute path in the node.
    Unix(String),
    /// When this file is there, an absolute path in the node.
    File(String),
    /// As long as a program that is run again and again ends with status 0.
    Command(Health),
}

/// A program that tells by its status whether a service is well. Times are in milliseconds. What
/// they mean is what container engines make of `HEALTHCHECK`
/// (<https://docs.docker.com/reference/dockerfile/#healthcheck>).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Health {
    /// The program and its arguments, run with the environment, folder and user of the service.
    pub run: Vec<String>,
    /// The pause between two runs.
    pub interval: u32,
    /// How long a run may take before it is killed and counts as failed.
    pub timeout: u32,
    /// After so many failures in a row the service is not well.
    pub retries: u32,
    /// Failures do not count so long after the start of the service, until one run has succeeded.
    pub start_period: u32,
    /// The longest pause between two runs before the first that succeeds.
    pub start_interval: u32,
}

impl Health {
    /// What is run, with the times that container engines take where nothing is said; but
    /// before the first success it is run each second at least, since people wait for it.
    pub fn of(run: Vec<String>) -> Self {
        Self {
            run,
            interval: 30_000,
            timeout: 30_000,
            retries: 3,
            start_period: 0,
            start_interval: 1_000,
        }
    }
}

/// How a service is stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Stop {
    /// The signal that its first process gets, by number. `None`: SIGTERM, to all its processes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// How long it may then take, in milliseconds, also when its node or its lab is taken down.
    /// `None`: a moment, and nothing when those are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace: Option<u32>,
}

impl Stop {
    /// Whether nothing is said of it.
    pub fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

/// What a node waits for that starts after another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Condition {
    /// The other has been started.
    Started,
    /// Everything that runs in the other is ready.
    Healthy,
    /// The other's own program has ended with status 0.
    Completed,
}
