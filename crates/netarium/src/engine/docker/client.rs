//! The engine: where it is, whether it answers, and whether it can be worked with.
//!
//! Everything said to it goes over its API (docs.docker.com/reference/api/engine), at the place that
//! `DOCKER_HOST` names, as Docker's own programs have it.

use std::fmt;
use std::io;
use std::time::Duration;

use bollard::query_parameters::ListContainersOptions;
use bollard::{API_DEFAULT_VERSION, Docker};
use serde::{Deserialize, Serialize};

use super::error::{EngineError, Silence};
use super::networks;
use crate::linux::namespace::NetworkNamespace;

/// Names the place, if it is set.
const VARIABLE: &str = "DOCKER_HOST";

/// Where the engine is if nothing else is said.
const DEFAULT: &str = "unix:///var/run/docker.sock";

/// The API that is needed: that of Docker Engine 20.10, which Debian 12 has.
const OLDEST: (usize, usize) = (1, 41);

/// How long the engine may take to say who it is.
const FIRST_ANSWER: Duration = Duration::from_secs(10);

/// How long it may take for anything else, in seconds: a large image is slow to unpack.
const LONGEST: u64 = 600;

/// Where an engine is, as `DOCKER_HOST` says it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Place(String);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Place {
    /// What `DOCKER_HOST` says, else where Docker is on every machine.
    pub(crate) fn of_caller() -> Self {
        let named = std::env::var(VARIABLE).ok().filter(|it| !it.is_empty());
        Self(named.unwrap_or_else(|| DEFAULT.to_owned()))
    }

    /// As it is on record.
    pub(crate) fn named(words: &str) -> Self {
        Self(words.to_owned())
    }

    /// The network namespace that the engine is in.
    ///
    /// # Errors
    /// If it is on another machine, or not to be seen from here.
    pub(super) fn network(&self) -> io::Result<NetworkNamespace> {
        match self.0.split_once("://") {
            Some(("unix", path)) => networks::of_listener(path),
            _ => Err(io::Error::other("it is not reached by a socket of this machine")),
        }
    }

    fn client(&self) -> Result<Docker, EngineError> {
        let made = match self.0.split_once("://") {
            Some(("unix", path)) => Docker::connect_with_unix(path, LONGEST, API_DEFAULT_VERSION),
            Some(("tcp" | "http", _)) => {
                Docker::connect_with_http(&self.0, LONGEST, API_DEFAULT_VERSION)
            }
            _ => return Err(EngineError::Address(self.clone())),
        };
        made.map_err(|source| EngineError::Silent {
            place: self.clone(),
            silence: Silence::of(&source),
            source: source.into(),
        })
    }
}

/// What an engine says of itself.
#[derive(Clone, Debug)]
pub(crate) struct Greeted {
    pub(crate) version: String,
    pub(crate) api: String,
    /// The release of the kernel that it runs on.
    pub(crate) kernel: String,
}

/// A conversation with an engine.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(super) docker: Docker,
    pub(super) place: Place,
}

impl Client {
    /// Begins a conversation with the engine at `place`.
    ///
    /// # Errors
    /// If nobody answers there, or whoever does cannot do what is needed.
    pub(crate) async fn connect(place: &Place) -> Result<Self, EngineError> {
        // Its containers belong to root, whoever may talk to it.
        if !rustix::process::geteuid().is_root() {
            return Err(EngineError::NotRoot(place.clone()));
        }
        Self::meet(place, FIRST_ANSWER).await
    }

    /// Who answers at `place`, whether this user could work with it or not.
    ///
    /// # Errors
    /// If nobody does, or somebody who is no use.
    pub(crate) async fn greet(place: &Place) -> Result<Greeted, EngineError> {
        let client = Self::meet(place, FIRST_ANSWER).await?;
        let version = client.docker.version().await;
        let version = version.map_err(client.refused("say who it is"))?;
        Ok(Greeted {
            version: version.version.unwrap_or_default(),
            api: version.api_version.unwrap_or_default(),
            kernel: version.kernel_version.unwrap_or_default(),
        })
    }

    /// The same for whoever may use it, and needs none of its containers.
    ///
    /// # Errors
    /// If nobody answers there, or it is too old.
    pub(crate) async fn of_anybody(place: &Place) -> Result<Self, EngineError> {
        Self::meet(place, FIRST_ANSWER).await
    }

    async fn meet(place: &Place, patience: Duration) -> Result<Self, EngineError> {
        let docker = place.client()?;
        let late = |_| EngineError::Late { place: place.clone(), seconds: patience.as_secs() };
        let answered = tokio::time::timeout(patience, docker.version()).await.map_err(late)?;
        let version = answered.map_err(|source| match Silence::of(&source) {
            Silence::Nonsense => {
                EngineError::Nonsense { place: place.clone(), source: source.into() }
            }
            silence => EngineError::Silent { place: place.clone(), silence, source: source.into() },
        })?;
        let api = version.api_version.unwrap_or_default();
        let Some(found) = numbers(&api) else {
            return Err(EngineError::NoEngine { place: place.clone(), api });
        };
        if found < OLDEST {
            let version = version.version.unwrap_or_else(|| "unknown".to_owned());
            return Err(EngineError::Old { place: place.clone(), version, api });
        }
        // From now on in the words that both know.
        let negotiated = docker.negotiate_version().await;
        let docker = negotiated.map_err(|source| EngineError::Nonsense {
            place: place.clone(),
            source: source.into(),
        })?;
        Ok(Self { docker, place: place.clone() })
    }

    /// The number of the first process of the first container that is listed and runs.
    ///
    /// # Errors
    /// If the engine does not tell.
    pub(crate) async fn first_process(
        &self,
        which: ListContainersOptions,
    ) -> Result<Option<u32>, EngineError> {
        let listed = self.docker.list_containers(Some(which)).await;
        let listed = listed.map_err(self.refused("list containers"))?;
        let Some(id) = listed.into_iter().find_map(|it| it.id) else { return Ok(None) };
        let found = match self.docker.inspect_container(&id, None).await {
            Err(error) if is_missing(&error) => return Ok(None),
            result => result.map_err(self.refused("look at a container"))?,
        };
        let pid = found.state.and_then(|state| state.pid).and_then(|pid| u32::try_from(pid).ok());
        Ok(pid.filter(|pid| *pid != 0))
    }

    /// What the engine said to something that was asked of it.
    pub(super) fn refused(
        &self,
        what: impl Into<String>,
    ) -> impl Fn(bollard::errors::Error) -> EngineError {
        let (place, what) = (self.place.clone(), what.into());
        move |source| EngineError::Refused {
            place: place.clone(),
            what: what.clone(),
            source: source.into(),
        }
    }
}

fn numbers(api: &str) -> Option<(usize, usize)> {
    let (major, minor) = api.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Whether the engine said that there is no such thing.
pub(super) fn is_missing(error: &bollard::errors::Error) -> bool {
    status(error) == Some(404)
}

/// Whether the engine said that there is such a thing already, or that it is busy with it.
pub(super) fn is_conflict(error: &bollard::errors::Error) -> bool {
    status(error) == Some(409)
}

fn status(error: &bollard::errors::Error) -> Option<u16> {
    match error {
        bollard::errors::Error::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixListener;

    use super::*;

    /// What comes of asking somebody who gives this answer to everything; none: who says nothing.
    fn met(name: &str, answer: Option<&'static str>) -> EngineError {
        let name = format!("netarium-engine-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let listener = UnixListener::bind(&path).unwrap();
        let engine = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut question = [0; 4096];
            assert!(stream.read(&mut question).unwrap() > 0);
            if let Some(answer) = answer {
                stream.write_all(answer.as_bytes()).unwrap();
                return;
            }
            // Until the other side has lost its patience.
            while stream.read(&mut question).is_ok_and(|length| length > 0) {}
        });
        let place = Place::named(&format!("unix://{}", path.display()));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let met = runtime.block_on(Client::meet(&place, Duration::from_millis(200)));
        // With it the connection is closed.
        drop(runtime);
        engine.join().unwrap();
        std::fs::remove_file(&path).unwrap();
        let error = met.unwrap_err();
        assert!(error.to_string().contains(&place.to_string()), "{error}");
        assert!(error.hint().is_some(), "{error}");
        error
    }

    #[test]
    fn who_is_no_engine_is_told_apart() {
        assert!(matches!(met("silent", None), EngineError::Late { .. }));
        let nonsense = met("nonsense", Some("220 mail.example ESMTP\r\n"));
        assert!(matches!(nonsense, EngineError::Nonsense { .. }), "{nonsense:?}");
        let page = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>";
        assert!(matches!(met("page", Some(page)), EngineError::Nonsense { .. }));
        let other = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
        assert!(matches!(met("other", Some(other)), EngineError::NoEngine { .. }));
        let gone = met("gone", Some(""));
        assert!(matches!(gone, EngineError::Nonsense { .. }), "{gone:?}");
    }

    #[test]
    fn an_engine_that_is_too_old_says_how_old() {
        let old = "HTTP/1.1 200 OK\r\nContent-Length: 42\r\n\r\n\
                   {\"Version\":\"19.03.15\",\"ApiVersion\":\"1.40\"}";
        let words = met("old", Some(old)).to_string();
        assert!(words.contains("version 19.03.15, API 1.40, and 1.41 is needed"), "{words}");
    }

    #[test]
    fn where_nobody_is_it_is_told_which_place_was_tried() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let meet = |place: &str| {
            runtime
                .block_on(Client::meet(&Place::named(place), Duration::from_secs(5)))
                .unwrap_err()
        };
        let missing = meet("unix:///not-there/docker.sock");
        assert!(matches!(missing, EngineError::Silent { silence: Silence::Missing, .. }));
        assert!(missing.hint().unwrap().contains("apt install docker.io"));
        let closed = meet("tcp://127.0.0.1:1");
        assert!(matches!(closed, EngineError::Silent { silence: Silence::Refused, .. }));
        assert!(matches!(meet("ssh://somewhere"), EngineError::Address(_)));
    }

    #[test]
    fn the_words_for_an_api_are_compared_as_numbers() {
        assert_eq!(numbers("1.41"), Some((1, 41)));
        assert!(numbers("1.9").is_some_and(|it| it < OLDEST));
        assert!(numbers("2.0").is_some_and(|it| it > OLDEST));
        assert_eq!(numbers("one"), None);
    }
}
