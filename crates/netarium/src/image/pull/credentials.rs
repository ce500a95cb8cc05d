//! Credentials for registries, from where Docker and Podman keep them.
//!
//! They are never written or shown; an error says where they come from. Sources: docker-login(1),
//! containers-auth.json(5), and the protocol of docker-credential-helpers.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::error::PullError;
use crate::linux::program::Program;

/// What Docker calls its own registry where it keeps credentials.
const DOCKERS_OWN: &str = "https://index.docker.io/v1/";

/// What is known of whoever asks a registry.
pub(super) struct Credentials {
    /// User and password, and where they come from.
    pub(super) found: Option<Found>,
    /// Where they were looked for.
    pub(super) looked: Vec<String>,
}

/// User and password, and where they come from.
pub(super) struct Found {
    pub(super) user: String,
    pub(super) password: Zeroizing<String>,
    pub(super) place: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct File {
    auths: BTreeMap<String, Entry>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
}

/// What a credential helper answers.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

impl Credentials {
    /// Looks for credentials for a registry. Programs may be run for it, so this takes its time.
    ///
    /// # Errors
    /// If a file or program that should have them is no use.
    pub(super) fn find(registry: &str) -> Result<Self, PullError> {
        let mut looked = Vec::new();
        for path in places() {
            looked.push(path.display().to_string());
            let Some(file) = read(&path)? else { continue };
            if let Some(found) = file.find(registry, &path)? {
                return Ok(Self { found: Some(found), looked });
            }
        }
        Ok(Self { found: None, looked })
    }
}

/// The files in which credentials may be, in the order in which they count.
fn places() -> Vec<PathBuf> {
    let variable = |name| std::env::var_os(name).map(PathBuf::from).filter(|it| it.is_absolute());
    let home = variable("HOME");
    let config =
        variable("XDG_CONFIG_HOME").or_else(|| home.as_ref().map(|home| home.join(".config")));
    let docker =
        variable("DOCKER_CONFIG").or_else(|| home.as_ref().map(|home| home.join(".docker")));
    let containers = |folder: PathBuf| folder.join("containers/auth.json");
    [
        variable("REGISTRY_AUTH_FILE"),
        docker.map(|folder| folder.join("config.json")),
        variable("XDG_RUNTIME_DIR").map(containers),
        config.map(containers),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn read(path: &Path) -> Result<Option<File>, PullError> {
    let text = match fs::read(path) {
        Ok(text) => Zeroizing::new(text),
        Err(error) if is_absent(&error) => return Ok(None),
        Err(error) => return Err(fault(&path.display().to_string(), error)),
    };
    // What serde says of a mistake may show a part of the file, so only its place is told.
    let file = serde_json::from_slice(&text).map_err(|error| {
        let text =
            format!("it is not understood at line {}, column {}", error.line(), error.column());
        fault(&path.display().to_string(), text)
    });
    file.map(Some)
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

impl File {
    fn find(&self, registry: &str, path: &Path) -> Result<Option<Found>, PullError> {
        let named = |key: &&String| is_for(key, registry);
        if let Some(key) = self.cred_helpers.keys().find(named) {
            return ask(&self.cred_helpers[key], registry);
        }
        if let Some(key) = self.auths.keys().find(named)
            && let Some(found) = self.auths[key].found(path)?
        {
            return Ok(Some(found));
        }
        match self.creds_store.as_deref().filter(|store| !store.is_empty()) {
            Some(store) => ask(store, registry),
            None => Ok(None),
        }
    }
}

/// Whether an entry is for a registry, however it is written.
fn is_for(key: &str, registry: &str) -> bool {
    let host = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let host = host.split('/').next().unwrap_or_default();
    let is_dockers = matches!(host, "index.docker.io" | "registry-1.docker.io");
    host == registry || is_dockers && registry == "docker.io"
}

impl Entry {
    fn found(&self, path: &Path) -> Result<Option<Found>, PullError> {
        let place = path.display().to_string();
        if let Some(auth) = self.auth.as_deref().filter(|auth| !auth.is_empty()) {
            let wrong = || fault(&place, "an entry is not user and password in base64");
            let text = STANDARD.decode(auth.trim()).map(Zeroizing::new).map_err(|_| wrong())?;
            let text = std::str::from_utf8(&text).map_err(|_| wrong())?;
            let (user, password) = text.split_once(':').ok_or_else(wrong)?;
            // Docker has had versions that padded it with zero bytes.
            let password = Zeroizing::new(password.trim_end_matches('\0').to_owned());
            return Ok(Some(Found { user: user.to_owned(), password, place }));
        }
        let both = self.username.clone().zip(self.password.clone());
        Ok(both.map(|(user, password)| Found { user, password: Zeroizing::new(password), place }))
    }
}

/// Asks the program that keeps credentials. Which one it is, the user's own file says.
fn ask(helper: &str, registry: &str) -> Result<Option<Found>, PullError> {
    let place = format!("docker-credential-{helper}");
    if !helper.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
        return Err(fault(&place, "that is no name of a program"));
    }
    let server = if registry == "docker.io" { DOCKERS_OWN } else { registry };
    let (reader, mut writer) = io::pipe().map_err(|error| fault(&place, error))?;
    // A few bytes: a pipe takes them before anybody reads.
    writer.write_all(server.as_bytes()).map_err(|error| fault(&place, error))?;
    drop(writer);
    let program = Program::new(&place).arg("get").stdin(reader).stderr(std::process::Stdio::null());
    let Ok(output) = program.run_now() else {
        // It ends with an error when it has none; one that is missing has none, either, as for
        // Docker, whose file may have come from another machine.
        return Ok(None);
    };
    let stdout = Zeroizing::new(output.stdout);
    let answer: Answer = serde_json::from_slice(&stdout)
        .map_err(|_| fault(&place, "its answer is not understood"))?;
    if answer.username == "<token>" {
        return Err(fault(&place, "it has an identity token, and only passwords are understood"));
    }
    Ok(Some(Found { user: answer.username, password: Zeroizing::new(answer.secret), place }))
}

fn fault(place: &str, text: impl ToString) -> PullError {
    PullError::Credentials { place: place.to_owned(), text: text.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(json: &str, registry: &str) -> Option<(String, String)> {
        let file: File = serde_json::from_str(json).unwrap();
        let found = file.find(registry, Path::new("/config.json")).unwrap()?;
        assert_eq!(found.place, "/config.json");
        Some((found.user, found.password.to_string()))
    }

    #[test]
    fn entries_are_found_however_they_are_written() {
        // anna:secret:with:colons
        let json = r#"{"auths": {"https://index.docker.io/v1/": {"auth": "YW5uYTpzZWNyZXQ6d2l0aDpjb2xvbnM="},
            "localhost:5000": {"username": "bert", "password": "x"}, "ghcr.io": {}}}"#;
        let anna = Some(("anna".to_owned(), "secret:with:colons".to_owned()));
        assert_eq!(find(json, "docker.io"), anna);
        assert_eq!(find(json, "localhost:5000"), Some(("bert".to_owned(), "x".to_owned())));
        for registry in ["ghcr.io", "localhost", "localhost:50", "evil-index.docker.io"] {
            assert_eq!(find(json, registry), None, "{registry}");
        }
    }

    #[test]
    fn a_helper_that_is_a_path_is_not_run() {
        let file: File = serde_json::from_str(r#"{"credsStore": "../../bin/sh"}"#).unwrap();
        let error = file.find("a.org", Path::new("/config.json")).err().unwrap();
        assert!(error.to_string().contains("that is no name of a program"), "{error}");
    }

    #[test]
    fn what_is_no_base64_is_told_without_what_is_in_it() {
        let file: File =
            serde_json::from_str(r#"{"auths": {"a.org": {"auth": "s3cret!"}}}"#).unwrap();
        let error = file.find("a.org", Path::new("/config.json")).err().unwrap().to_string();
        assert!(error.contains("/config.json") && !error.contains("s3cret"), "{error}");
    }
}
