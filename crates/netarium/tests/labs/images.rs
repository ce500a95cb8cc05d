//! Nodes that are made from images of others: from a registry, from files, and from Docker.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Mutex;

use netarium::event::Event;
use netarium::image::{ImageEvent, PullOptions, PulledRecord, Store};
use netarium::lab::{GivenImages, Pull, UpOptions};
use netarium_core::model::Image;
use serde_json::{Value, json};

use crate::docker::{self, DOCKER, docker};
use crate::lab::{TestLab, in_words, run, wait_until};
use crate::others::{Layer, Made, Registry, replace};
use crate::owner;
use crate::process::{log, state};

/// Tells the images of a test from all others.
const LABEL: &str = "test";

fn label(mark: &str) -> String {
    format!("{mark} {}", std::process::id())
}

/// What the image runs: it says what it sees, and then serves.
const SCRIPT: &str = r#"
echo "$GREETING from $PWD"
while read -r name value rest; do [ "$name" != Uid: ] || echo "user $value"; done </proc/self/status
echo * all/*
read -r one <linked; read -r two <turns; read -r three <again; echo "$one $two $three"
[ -e /dev/null ] && [ ! -e made ] && echo devices of its own
: >/tmp/up
exec netarium-probe http-echo --port 8080
"#;

/// Three layers: what the second hides and the third puts elsewhere is in the first.
fn layers(mark: &str, second: Layer) -> Vec<Layer> {
    let first = Layer::of_the_shell(mark)
        .folder("app", 0o755)
        .file("app/gone", "gone\n", 0o644)
        .file("app/kept", "kept\n", 0o644)
        .file("app/all/one", "one\n", 0o644)
        .file("app/turns/inner", "inner\n", 0o644)
        .device("app/made");
    let second = second
        .file("app/.wh.gone", "", 0)
        .file("app/all/.wh..wh..opq", "", 0)
        .file("app/all/two", "two\n", 0o644)
        .hard_link("app/linked", "app/kept");
    let third = Layer::new().file("app/turns", "file\n", 0o644).link("app/again", "all/two");
    vec![first, second, third]
}

fn config(mark: &str, script: &str) -> Value {
    json!({
        "Labels": {LABEL: label(mark)},
        "Entrypoint": ["/bin/sh", "-c"], "Cmd": [script],
        "Env": ["PATH=/usr/local/bin:/bin", "GREETING=hello"], "WorkingDir": "/app",
        "Healthcheck": {"Test": ["CMD", "/bin/sh", "-c", "[ -e /tmp/up ]"], "Interval": 20_000_000},
    })
}

fn image(mark: &str) -> Made {
    image_over(mark, Layer::new())
}

/// The same, with more in the second layer.
fn image_over(mark: &str, second: Layer) -> Made {
    let mut config = config(mark, SCRIPT);
    config["User"] = "app".into();
    Made::new(layers(mark, second), &config)
}

/// An image that says a word, and then nothing more.
fn saying(mark: &str, word: &str) -> Made {
    let script = format!("echo {word}; : >/tmp/up; exec netarium-probe http-echo --port 8080");
    Made::new(vec![Layer::of_the_shell(mark)], &config(mark, &script))
}

/// Two nodes of one image, of which one starts when the other is well.
fn body(image: &str) -> String {
    format!(
        "
image: '{image}'
segments: {{lan: 10.0.0.0/24}}
nodes:
  alice: {{interfaces: {{lan: 10.0.0.1}}, after: {{bob: ready}}}}
  bob: {{interfaces: {{lan: 10.0.0.2}}}}
"
    )
}

fn lab(name: &str, image: &str) -> TestLab {
    TestLab::at(owner::data(), name, &body(image))
}

/// What is in the store.
fn store() -> Store {
    Store::at(&owner::data().images()).unwrap()
}

/// What Docker has been given, by its names.
fn given() -> Vec<String> {
    let format = "{{.Repository}}:{{.Tag}}";
    let words = ["image", "ls", "--filter", "label=io.netarium.image", "--format", format];
    docker(&words).lines().map(str::to_owned).collect()
}

/// Removes from the store what a test has had pulled.
fn forget(mark: &str) {
    let label = label(mark);
    let is_ours = |it: &PulledRecord| it.config.labels.get(LABEL) == Some(&label);
    run(store().remove_pulled(is_ours)).unwrap();
}

/// Brings a lab up, and counts the layers that came for it.
fn layers_of_up(lab: &TestLab, pull: Pull) -> Result<usize, String> {
    let count = Mutex::new(0);
    let report = |event| {
        if let Event::Image { event: ImageEvent::LayerDone { .. }, .. } = event {
            *count.lock().unwrap() += 1;
        }
    };
    let options = UpOptions { pull, ..UpOptions::default() };
    let up = run(lab.lab.up(&lab.file(), options, &report));
    lab.note();
    up.map_err(|error| in_words(&error))?;
    Ok(count.into_inner().unwrap())
}

/// Asserts that both nodes run what the image says, as it says, and reach each other.
pub(crate) fn assert_runs_as_it_says(lab: &TestLab) {
    let script = "i=0; while read -r inside out count; do i=$((i + count)); done \
                  </proc/self/uid_map; echo $i";
    let user = if lab.sh("bob", script) == "1\n" { 0 } else { 1000 };
    let said = format!(
        "hello from /app\nuser {user}\nagain all kept linked turns all/two\nkept file two\n\
         devices of its own\n"
    );
    for node in ["alice", "bob"] {
        wait_until("it has written", || log(lab, node).lines().count() >= 5);
        assert_eq!(log(lab, node), said);
        assert_eq!(state(lab, node), netarium_core::control::ServiceState::Ready);
    }
    lab.ok("alice", &["netarium-probe", "http", "--address", "10.0.0.2", "--port", "8080"]);
    lab.assert_healthy();
    assert_eq!(lab.up(), [""; 0]);
}

pub(crate) fn an_image_of_a_registry_runs_as_it_says_and_is_unpacked_once() {
    let registry = Registry::start();
    let name = registry.put("test/app:1", &image("registry"));
    let lab = lab("images-registry", &name);
    assert_eq!(layers_of_up(&lab, Pull::Missing), Ok(3));
    assert_runs_as_it_says(&lab);
    let record = store().pulled().unwrap().into_iter().find(|it| it.names().contains(&name));
    let record = record.unwrap();
    assert!(record.lost().iter().any(|it| it.starts_with("1 devices")));
    assert_eq!(lab.lab.images_in_use().unwrap(), BTreeSet::from([record.digest]));
    lab.down();
    assert_eq!(lab.lab.images_in_use().unwrap(), BTreeSet::new());
    // From now on it is there, whether its registry is or not.
    registry.leave();
    assert_eq!(layers_of_up(&lab, Pull::Missing), Ok(0));
    assert_runs_as_it_says(&lab);
    let error = layers_of_up(&lab, Pull::Always).unwrap_err();
    assert!(error.contains("cannot reach"), "{error}");
    lab.assert_healthy();
    lab.down();
    forget("registry");
}

pub(crate) fn a_tag_means_what_it_meant_until_it_is_pulled_again() {
    let registry = Registry::start();
    let name = registry.put("test/app:latest", &saying("tag", "first"));
    let lab = lab("images-tag", &name);
    assert!(layers_of_up(&lab, Pull::Never).unwrap_err().contains("is not there"));
    lab.assert_nothing_left();
    assert!(registry.asked().is_empty());
    assert_eq!(layers_of_up(&lab, Pull::Missing), Ok(1));
    let init = lab.init("bob");
    registry.put("test/app:latest", &saying("tag", "second"));
    let asked = registry.asked();
    assert_eq!(layers_of_up(&lab, Pull::Missing), Ok(0));
    assert_eq!((registry.asked(), lab.init("bob")), (asked, init));
    assert_eq!(layers_of_up(&lab, Pull::Always), Ok(0), "the layer is the same");
    assert_ne!(lab.init("bob"), init);
    wait_until("it has written", || log(&lab, "bob") == "second\n");
    lab.assert_healthy();
    lab.down();
    forget("tag");
}

pub(crate) fn a_mirror_is_asked_first_and_the_registry_for_what_that_has_not() {
    let (registry, mirror) = (Registry::start(), Registry::start());
    registry.has_mirror(&mirror);
    let image = Made::new(vec![Layer::of_the_shell("mirror")], &config("mirror", "exit"));
    let pull = |name: &str| {
        let reference = name.parse().unwrap();
        let image = Image::Registry { reference, platform: None };
        run(store().pull(&image, PullOptions::default(), &|_| ())).unwrap()
    };
    let there = registry.put("test/there:1", &image);
    mirror.put("test/there:1", &image);
    assert!(pull(&there).names().contains(&there), "it is known by the name that was asked for");
    assert_eq!(
        (registry.asked().len(), mirror.asked().len()),
        (0, 3),
        "manifest, config and layer"
    );
    let other = registry.put("test/other:1", &image);
    pull(&other);
    assert!(mirror.asked().iter().any(|it| it.contains("test/other")));
    assert!(registry.asked().iter().any(|it| it.contains("test/other/manifests/1")));
    mirror.leave();
    registry.put("test/other:1", &saying("mirror", "another"));
    assert_ne!(pull(&other).digest, pull(&there).digest);
    forget("mirror");
}

pub(crate) fn an_image_that_is_not_for_this_machine_or_not_there_is_told() {
    let registry = Registry::start();
    let foreign = Made::of_processor(
        "s390x",
        vec![Layer::of_the_shell("foreign")],
        &config("foreign", "exit"),
    );
    let name = registry.put("test/foreign:1", &foreign);
    let mut lab = lab("images-foreign", &name);
    let error = in_words(&lab.try_up(UpOptions::default()).unwrap_err());
    assert!(error.contains(&name) && error.contains("only for linux/s390x"), "{error}");
    lab.replace("test/foreign:1", "test/missing:1");
    let error = in_words(&lab.try_up(UpOptions::default()).unwrap_err());
    assert!(error.contains("has no image") && error.contains("test/missing:1"), "{error}");
    lab.assert_nothing_left();
    assert!(!store().pulled().unwrap().iter().any(|it| it.names().contains(&name)));
    lab.down();
}

pub(crate) fn archives_run_as_they_say_and_anew_when_they_change() {
    for (form, file) in [("oci-archive", "image.oci"), ("docker-archive", "image.saved")] {
        let archive = |image: &Made| match form {
            "oci-archive" => image.oci_archive(),
            _ => image.docker_archive("test/app:1"),
        };
        let mut lab = TestLab::in_folder(&format!("images-{form}"), "");
        lab.rewrite(|text| text.replace("image: host\n", &body(&format!("{form}:{file}"))));
        replace(&lab.beside(file), &archive(&image(form)));
        lab.up();
        assert_runs_as_it_says(&lab);
        replace(&lab.beside(file), &archive(&saying(form, form)));
        lab.up();
        wait_until("it has written", || log(&lab, "bob") == format!("{form}\n"));
        lab.down();
        fs::remove_dir_all(lab.beside("").as_path()).unwrap();
        forget(form);
    }
}

pub(crate) fn links_of_an_image_lead_nowhere_outside() {
    let mut lab = TestLab::in_folder("images-links", "");
    lab.put("victim", "as it was");
    let (folder, victim) = (lab.beside(""), lab.beside("victim"));
    let (folder, victim) = (folder.to_str().unwrap(), victim.to_str().unwrap());
    let layer = Layer::of_the_shell("links").folder("usr/local/bin", 0o755).folder("inside", 0o755);
    let layer = layer.link("usr/local/bin/netarium-probe", victim).link("var", "/inside");
    let layer = ["dev", "proc", "sys"].iter().fold(layer, |layer, name| layer.link(name, folder));
    let script = ": >/tmp/up; echo /inside/*/*; exec netarium-probe http-echo --port 8080";
    let image = Made::new(vec![layer], &config("links", script));
    replace(&lab.beside("image.oci"), &image.oci_archive());
    lab.rewrite(|text| text.replace("image: host\n", &body("oci-archive:image.oci")));
    lab.up();
    lab.ok("alice", &["netarium-probe", "http", "--address", "10.0.0.2", "--port", "8080"]);
    assert_eq!(lab.sh("bob", "[ -c /dev/null ] && [ -d /proc/1 ] && [ -d /sys/class ]"), "");
    lab.assert_healthy();
    lab.down();
    assert_eq!(fs::read_to_string(victim).unwrap(), "as it was");
    let mut there: Vec<_> =
        fs::read_dir(folder).unwrap().map(|it| it.unwrap().file_name()).collect();
    there.sort();
    assert_eq!(there, ["image.oci", "victim"]);
    fs::remove_dir_all(folder).unwrap();
    forget("links");
}

/// What Docker calls an image of the store.
fn tag_of(name: &String) -> String {
    let record = store().pulled().unwrap().into_iter().find(|it| it.names().contains(name));
    let digest = record.unwrap().digest;
    format!("netarium/pulled:{}", &digest["sha256:".len()..][..16])
}

/// What Docker is given is its own until nobody uses it.
pub(crate) fn images_of_others_run_on_docker_as_they_do_here() {
    let registry = Registry::start();
    let name = registry.put("test/app:1", &image("on-docker"));
    let data = docker::data();
    let lab = TestLab::at(data.clone(), "images-docker", &format!("{DOCKER}{}", body(&name)));
    assert_eq!(layers_of_up(&lab, Pull::Missing), Ok(3));
    assert_runs_as_it_says(&lab);
    let first = tag_of(&name);
    assert!(given().contains(&first));

    // Another image of the same name makes the nodes anew, when it is asked for.
    registry.put("test/app:1", &saying("on-docker", "second"));
    assert_eq!(layers_of_up(&lab, Pull::Missing), Ok(0));
    assert_runs_as_it_says(&lab);
    layers_of_up(&lab, Pull::Always).unwrap();
    wait_until("it has written", || log(&lab, "bob") == "second\n");
    let second = tag_of(&name);

    // What a lab uses stays, and what somebody has made of it or calls by a name of their own.
    let spare = run(run(GivenImages::find(&data)).unwrap().spare()).unwrap();
    // The first is called by its digest now.
    let is_first = |it: &PulledRecord| first.ends_with(&it.digest["sha256:".len()..][..16]);
    let records = store().pulled().unwrap();
    let record = records.into_iter().find(is_first).unwrap();
    assert_eq!((record.names(), record.title()), (vec![], record.digest.clone()));
    assert!(spare.iter().any(|it| it.name == first && it.bytes > 100_000), "{spare:?}");
    assert!(!spare.iter().any(|it| it.name == second), "{spare:?}");
    run(run(GivenImages::find(&data)).unwrap().remove_spare()).unwrap();
    assert!(!given().contains(&first) && given().contains(&second));
    lab.assert_healthy();
    docker::down(&lab);
    docker(&["tag", &second, "test/of-ours:1"]);
    run(run(GivenImages::find(&data)).unwrap().remove_spare()).unwrap();
    assert!(given().contains(&second));
    docker(&["image", "rm", "test/of-ours:1"]);
    run(run(GivenImages::find(&data)).unwrap().remove_spare()).unwrap();
    assert!(!given().contains(&second));

    // It is given once more to whoever wants it.
    lab.up();
    wait_until("it has written", || log(&lab, "bob") == "second\n");
    docker::down(&lab);
    forget("on-docker");
}

/// Of Docker, on both engines; anew when Docker has another one of that name.
pub(crate) fn images_of_docker_run_on_both_engines() {
    let load = |image: &Made| {
        let path = std::env::temp_dir().join(format!("netarium-saved-{}", std::process::id()));
        replace(&path, &image.docker_archive("test/of-docker:1"));
        docker(&["load", "--input", path.to_str().unwrap()]);
        fs::remove_file(&path).unwrap();
    };
    for (engine, data) in [("", owner::data()), (DOCKER, docker::data())] {
        // Docker knows no hard links to what is in another layer.
        load(&image_over("of-docker", Layer::new().file("app/kept", "kept\n", 0o644)));
        let body = format!("{engine}{}", body("docker-daemon:test/of-docker:1"));
        let lab = TestLab::at(data, &format!("images-of-docker{}", engine.len()), &body);
        lab.up();
        assert_runs_as_it_says(&lab);
        load(&saying("of-docker", "another"));
        lab.up();
        wait_until("it has written", || log(&lab, "bob") == "another\n");
        lab.down();
        docker(&["image", "rm", "test/of-docker:1"]);
        let error = layers_of_up(&lab, Pull::Always).unwrap_err();
        assert!(
            error.contains("of-docker") && error.contains("cannot take it from Docker"),
            "{error}"
        );
        forget("of-docker");
    }
}
