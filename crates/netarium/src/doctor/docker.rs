//! Docker, which `--engine docker` has make the nodes, and which nothing else needs.

use super::{Finding, State};
use crate::engine::docker::client::{Client, Greeted, Place};
use crate::engine::docker::error::{EngineError, Silence};

const NAME: &str = "docker";

/// Whether an engine answers where the environment says, and is of use to this user.
pub(super) async fn engine() -> Finding {
    let place = Place::of_caller();
    let is_root = rustix::process::geteuid().is_root();
    judge(&place, Client::greet(&place).await, is_root)
}

fn judge(place: &Place, greeted: Result<Greeted, EngineError>, is_root: bool) -> Finding {
    let Greeted { version, api, kernel } = match greeted {
        Ok(greeted) => greeted,
        Err(error) => return of_error(&error),
    };
    let detail = format!("version {version}, API {api}, at {place}");
    let own = rustix::system::uname().release().to_string_lossy().into_owned();
    if kernel != own {
        let detail = format!("{detail}, on another machine: its kernel is {kernel}");
        let hint = "nodes of --engine docker are wired from here: run netarium where Docker runs";
        return Finding::of(NAME, State::Absent, detail).hint(hint);
    }
    if !is_root {
        let detail = format!("{detail}; its containers belong to root, and this is another user");
        return Finding::of(NAME, State::Absent, detail).hint("only root can use --engine docker");
    }
    Finding::present(NAME, format!("{detail}: --engine docker can be used"))
}

fn of_error(error: &EngineError) -> Finding {
    let state = match error {
        EngineError::Silent {
            silence: Silence::Missing | Silence::Refused | Silence::Forbidden,
            ..
        } => State::Absent,
        _ => State::Warning,
    };
    let hint = error.hint().map(|hint| format!("only --engine docker needs it: {hint}"));
    Finding { hint, ..Finding::of(NAME, state, error.to_string()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_is_of_use_to_root_of_its_own_machine() {
        let place = Place::named("unix:///run/docker.sock");
        let greeted = |kernel: &str| {
            let (version, api) = ("20.10.24".to_owned(), "1.41".to_owned());
            Ok(Greeted { version, api, kernel: kernel.to_owned() })
        };
        let own = rustix::system::uname().release().to_string_lossy().into_owned();
        let found = judge(&place, greeted(&own), true);
        assert_eq!(found.state, State::Present);
        let told = "version 20.10.24, API 1.41, at unix:///run/docker.sock: --engine docker";
        assert!(found.detail.starts_with(told), "{found:?}");
        let found = judge(&place, greeted(&own), false);
        assert_eq!(found.state, State::Absent);
        assert!(found.detail.contains("belong to root"), "{found:?}");
        let found = judge(&place, greeted("6.1.0-other"), true);
        assert!(found.detail.contains("another machine: its kernel is 6.1.0-other"), "{found:?}");
    }

    #[test]
    fn that_there_is_no_engine_is_no_fault() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let look = |place: &str| {
            let place = Place::named(place);
            judge(&place, runtime.block_on(Client::greet(&place)), true)
        };
        let found = look("unix:///not-there/docker.sock");
        assert_eq!(found.state, State::Absent);
        assert!(found.detail.contains("no engine answers at unix:///not-there"), "{found:?}");
        assert!(found.hint.unwrap().starts_with("only --engine docker needs it: "));
        assert_eq!(look("ssh://somewhere").state, State::Warning);
    }
}
