//! What a node runs by itself: what its image says, and what is said in its place, as one service.
//!
//! Entrypoint and command are put together as Docker does it
//! (<https://docs.docker.com/reference/dockerfile/#understand-how-cmd-and-entrypoint-interact>).

use std::collections::{BTreeMap, BTreeSet};

use crate::image::ImageConfig;
use crate::model::{MAIN, Main, MainReady, Node, Readiness, Restart, Service, Stop};
use crate::name::Name;
use crate::signal;
use crate::user::User;

/// The services of a node, its own program among them. What an image says of the environment
/// counts for all of them.
pub(super) fn services(node: &Node, image: Option<&ImageConfig>) -> Vec<Service> {
    let bare = ImageConfig { folder: "/".to_owned(), ..ImageConfig::default() };
    let image = image.unwrap_or(&bare);
    let main = match &node.main {
        Some(main) => service(main, image),
        None if node.services.is_empty() => service(&Main::of_image(Restart::OnFailure), image),
        None => None,
    };
    let others = node.services.iter().map(|service| {
        let environment = over(&image.environment, &service.environment);
        Service { environment, ..service.clone() }
    });
    main.into_iter().chain(others).collect()
}

/// A node's own program; `None` if there is nothing to run.
fn service(main: &Main, image: &ImageConfig) -> Option<Service> {
    let run = run(main, image);
    if run.is_empty() {
        return None;
    }
    let user = main.user.clone().or_else(|| image.user.as_deref().map(user));
    let ready = match &main.ready {
        MainReady::Given(ready) => ready.clone(),
        MainReady::Image(change) => {
            change.of(image.healthcheck.as_ref()).map_or(Readiness::Started, Readiness::Command)
        }
    };
    let signal = image.stop_signal.as_deref().and_then(signal::number);
    Some(Service {
        name: Name::new(MAIN).expect("a word of small letters is a name"),
        run,
        environment: over(&image.environment, &main.environment),
        folder: main.folder.clone().unwrap_or_else(|| absolute(&image.folder)),
        user,
        after: BTreeSet::new(),
        restart: main.restart,
        ready,
        stop: Stop { signal: main.stop.signal.or(signal), ..main.stop },
    })
}

/// An entrypoint of one's own takes the image's command away; an empty one takes the image's
/// entrypoint away and leaves the command.
fn run(main: &Main, image: &ImageConfig) -> Vec<String> {
    let own_command = main.command.as_ref().filter(|words| !words.is_empty());
    let (entrypoint, command) = match &main.entrypoint {
        Some(entrypoint) if !entrypoint.is_empty() => (entrypoint, None),
        Some(entrypoint) => (entrypoint, Some(&image.command)),
        None => (&image.entrypoint, Some(&image.command)),
    };
    entrypoint.iter().chain(own_command.or(command).into_iter().flatten()).cloned().collect()
}

fn over(
    image: &BTreeMap<String, String>,
    own: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    image.iter().chain(own).map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// The user of an image. Whether the node knows such a one shows when it is looked up there.
fn user(word: &str) -> User {
    match word.split_once(':') {
        Some((name, group)) => User { name: name.to_owned(), group: Some(group.to_owned()) },
        None => User { name: word.to_owned(), group: None },
    }
}

/// Engines begin at the root where an image names a folder without one.
fn absolute(folder: &str) -> String {
    if folder.starts_with('/') { folder.to_owned() } else { format!("/{folder}") }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::image::Healthcheck;
    use crate::model::{Health, HealthChange};

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn pairs(text: &str) -> BTreeMap<String, String> {
        let pair = |it: &str| it.split_once('=').map(|(a, b)| (a.to_owned(), b.to_owned()));
        text.split_whitespace().filter_map(pair).collect()
    }

    fn image() -> ImageConfig {
        ImageConfig {
            entrypoint: words("/run"),
            command: words("serve --fast"),
            environment: pairs("PATH=/opt/bin:/bin LEVEL=info"),
            folder: "srv".to_owned(),
            user: Some("app:4".to_owned()),
            stop_signal: Some("SIGQUIT".to_owned()),
            healthcheck: Some(Healthcheck {
                run: words("ask me"),
                interval: Some(Duration::from_secs(2)),
                timeout: None,
                start_period: None,
                retries: Some(5),
            }),
            ..ImageConfig::default()
        }
    }

    fn bare() -> Main {
        Main::of_image(Restart::Never)
    }

    fn made(main: &Main) -> Service {
        service(main, &image()).unwrap()
    }

    #[test]
    fn an_image_runs_what_it_says() {
        let made = made(&bare());
        assert_eq!(made.run, words("/run serve --fast"));
        assert_eq!(made.environment, pairs("PATH=/opt/bin:/bin LEVEL=info"));
        assert_eq!(made.folder, "/srv");
        assert_eq!(made.user, User::parse("app:4"));
        assert_eq!(made.stop, Stop { signal: Some(3), grace: None });
        let health = Health { interval: 2_000, retries: 5, ..Health::of(words("ask me")) };
        assert_eq!(made.ready, Readiness::Command(health));
    }

    #[test]
    fn entrypoint_and_command_are_put_together_as_docker_does() {
        let with = |entrypoint: Option<&str>, command: Option<&str>| {
            let (entrypoint, command) = (entrypoint.map(words), command.map(words));
            run(&Main { entrypoint, command, ..bare() }, &image()).join(" ")
        };
        assert_eq!(with(None, Some("other")), "/run other");
        assert_eq!(with(Some("sh -c"), None), "sh -c");
        assert_eq!(with(Some("sh -c"), Some("true")), "sh -c true");
        assert_eq!(with(Some(""), None), "serve --fast");
        assert_eq!(with(Some(""), Some("other")), "other");
        assert_eq!(with(None, Some("")), "/run serve --fast");
    }

    #[test]
    fn what_is_said_counts_over_what_the_image_says() {
        let main = Main {
            environment: pairs("LEVEL=debug MORE=1"),
            folder: Some("/tmp".to_owned()),
            user: User::parse("root"),
            stop: Stop { signal: Some(2), grace: Some(10) },
            ready: MainReady::Image(HealthChange { timeout: Some(9), ..HealthChange::default() }),
            ..bare()
        };
        let made = made(&main);
        assert_eq!(made.environment, pairs("PATH=/opt/bin:/bin LEVEL=debug MORE=1"));
        assert_eq!((made.folder.as_str(), made.user), ("/tmp", User::parse("root")));
        assert_eq!(made.stop, main.stop);
        let health = Health::of(words("ask me"));
        let health = Health { interval: 2_000, retries: 5, timeout: 9, ..health };
        assert_eq!(made.ready, Readiness::Command(health));
    }

    #[test]
    fn a_check_of_an_image_can_be_switched_off_and_one_of_ones_own_needs_no_image() {
        let main = Main { ready: MainReady::Given(Readiness::Started), ..bare() };
        assert_eq!(made(&main).ready, Readiness::Started);
        let change = HealthChange { run: Some(words("look")), ..HealthChange::default() };
        let main =
            Main { command: Some(words("serve")), ready: MainReady::Image(change), ..bare() };
        let made = service(&main, &ImageConfig::default()).unwrap();
        assert_eq!(made.ready, Readiness::Command(Health::of(words("look"))));
        assert_eq!(made.folder, "/");
    }

    #[test]
    fn where_nothing_is_said_nothing_runs() {
        assert_eq!(service(&bare(), &ImageConfig::default()), None);
    }
}
