//! How registries are reached that are not reached as all others: a small file of JSON, in the
//! words of Docker's own.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::error::PullError;

/// The variable that names the file.
const VARIABLE: &str = "NETARIUM_REGISTRIES";

/// The file of the machine.
const OF_MACHINE: &str = "/etc/netarium/registries.json";

/// How registries are reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Settings {
    /// Registries that are spoken to without TLS, each with its port.
    pub(super) plain_http: Vec<String>,
    /// Registries that are asked before another one, by that.
    pub(super) mirrors: BTreeMap<String, Vec<String>>,
}

impl Settings {
    /// Reads the file that `NETARIUM_REGISTRIES` names, else that of the user, else that of the
    /// machine. Without any, all registries are reached as usual.
    ///
    /// # Errors
    /// If it cannot be read or understood, or the one that is named is not there.
    pub(crate) fn read() -> Result<Self, PullError> {
        let named = std::env::var_os(VARIABLE).map(PathBuf::from);
        if let Some(path) = named.filter(|path| !path.as_os_str().is_empty()) {
            let missing = || PullError::Settings {
                path: path.clone(),
                text: format!("{VARIABLE} names it, and it is not there"),
            };
            return read(&path)?.ok_or_else(missing);
        }
        for path in of_user().into_iter().chain([PathBuf::from(OF_MACHINE)]) {
            if let Some(settings) = read(&path)? {
                return Ok(settings);
            }
        }
        Ok(Self::default())
    }

    /// Whether a registry is spoken to without TLS.
    pub(super) fn is_plain(&self, registry: &str) -> bool {
        self.plain_http.iter().any(|it| it == registry)
    }

    /// Those that are asked for the images of `registry`, in order, itself last.
    pub(super) fn ways_to<'a>(&'a self, registry: &'a str) -> Vec<&'a str> {
        let mirrors = self.mirrors.get(registry).into_iter().flatten().map(String::as_str);
        mirrors.chain([registry]).collect()
    }
}

fn of_user() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).map(PathBuf::from).filter(|it| it.is_absolute());
    let folder = variable("XDG_CONFIG_HOME").or_else(|| Some(variable("HOME")?.join(".config")))?;
    Some(folder.join("netarium/registries.json"))
}

fn read(path: &Path) -> Result<Option<Settings>, PullError> {
    let fault = |text: String| PullError::Settings { path: path.to_owned(), text };
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fault(error.to_string())),
    };
    let settings: Settings =
        serde_json::from_slice(&text).map_err(|error| fault(error.to_string()))?;
    let hosts = settings.plain_http.iter().chain(settings.mirrors.values().flatten());
    for host in hosts.chain(settings.mirrors.keys()) {
        // With any image on it, it must be a registry.
        let image = format!("{host}/image").parse::<netarium_core::image::Reference>();
        if host != "docker.io" && !image.is_ok_and(|image| image.registry() == host) {
            return Err(fault(format!("{host:?} is no registry: write its host name and port")));
        }
    }
    Ok(Some(settings))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Settings, String> {
        let name = format!("netarium-registries-{}-{}", std::process::id(), text.len());
        let path = std::env::temp_dir().join(name);
        io::Write::write_all(&mut fs::File::create(&path).unwrap(), text.as_bytes()).unwrap();
        let read = read(&path).map_err(|error| error.to_string());
        fs::remove_file(&path).unwrap();
        read.map(Option::unwrap_or_default)
    }

    #[test]
    fn mirrors_are_asked_first_and_plain_is_who_is_named() {
        let settings = parsed(
            r#"{"plain-http": ["localhost:5000"], "mirrors": {"docker.io": ["a.org", "b.org:1"]}}"#,
        );
        let settings = settings.unwrap();
        assert_eq!(settings.ways_to("docker.io"), ["a.org", "b.org:1", "docker.io"]);
        assert_eq!(settings.ways_to("ghcr.io"), ["ghcr.io"]);
        assert!(settings.is_plain("localhost:5000") && !settings.is_plain("localhost"));
    }

    #[test]
    fn what_is_not_understood_is_said() {
        for (text, told) in [
            (r#"{"plain": []}"#, "unknown field `plain`"),
            (r#"{"plain-http": ["http://a.org"]}"#, "\"http://a.org\" is no registry"),
            (r#"{"mirrors": {"docker.io": ["a/b"]}}"#, "\"a/b\" is no registry"),
        ] {
            let error = parsed(text).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
    }
}
