//! Labs made from Compose files: the project's test beds, copied and not changed, and what scripts do
//! in them.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use netarium::image::Store;
use netarium::image::outgoing::{Packing, pack};
use netarium::lab::UpOptions;
use netarium_core::control::ServiceState;
use netarium_core::model::{Engine, Recipe};

use crate::docker;
use crate::lab::{TestLab, in_words, name, run, wait_until};
use crate::owner;

/// What the scripts of the test beds need.
const PACKAGES: [&str; 8] = [
    "busybox",
    "iproute2",
    "iptables",
    "iputils-ping",
    "libcharon-extra-plugins",
    "libstrongswan-standard-plugins",
    "strongswan-charon",
    "strongswan-starter",
];

/// The image of the test beds in a file, as others hand theirs on. It is built once, and kept.
pub(crate) fn archive() -> PathBuf {
    if let Some(path) = std::env::var_os(owner::ARCHIVE) {
        return path.into();
    }
    let recipe = Recipe {
        name: name("testbed"),
        suite: "bookworm".to_owned(),
        packages: PACKAGES.map(str::to_owned).into(),
    };
    let folder = owner::data().path().to_owned();
    let path = folder.join(format!("testbed-{}.tar", &recipe.digest()[..16]));
    let _lock = owner::lock(&owner::data(), &recipe.name);
    if !path.exists() {
        let store = Store::at(&owner::data().images()).unwrap();
        run(store.build(&recipe, &|_| ())).unwrap();
        let built = store.built("testbed").unwrap();
        let packed = run(pack(&store, &built, &Packing::default(), &|_| ())).unwrap();
        packed.export(&"vpn-testbed:latest".parse().unwrap(), &path).unwrap();
    }
    path
}

/// A folder for a Compose file, with the image and the variables that somebody would put there.
fn folder(lab: &str) -> PathBuf {
    let folder = owner::data().path().join("compose").join(lab);
    fs::remove_dir_all(&folder).ok();
    fs::create_dir_all(folder.parent().unwrap()).unwrap();
    folder
}

fn fill(folder: &std::path::Path, lab: &str) {
    fs::copy(archive(), folder.join("testbed.tar")).unwrap();
    let variables = format!("COMPOSE_PROJECT_NAME={lab}\nIMAGE=oci-archive:testbed.tar\n");
    write(&folder.join(".env"), &variables);
}

fn write(path: &std::path::Path, text: &str) {
    use std::io::Write;
    File::create(path).unwrap().write_all(text.as_bytes()).unwrap();
}

/// A lab of a test on an engine, which has its name.
fn lab_on(engine: Engine, bed: &str) -> TestLab {
    let (data, lab) = match engine {
        Engine::Native => (owner::data(), format!("compose-{bed}")),
        Engine::Docker => (docker::data(), format!("docker-compose-{bed}")),
    };
    let path = folder(&lab).join("docker-compose.yml");
    TestLab::of_compose(data, &lab, path, engine)
}

/// A test bed of the project.
fn bed(engine: Engine, bed: &str) -> TestLab {
    let lab = lab_on(engine, bed);
    owner::copy(&owner::test_beds().join(bed), &lab.beside(""));
    fill(&lab.beside(""), lab.lab.name().as_str());
    lab
}

/// A lab of a Compose file of a test's own.
fn written(engine: Engine, name: &str, text: &str) -> TestLab {
    let lab = lab_on(engine, name);
    fs::create_dir_all(lab.beside("")).unwrap();
    fill(&lab.beside(""), lab.lab.name().as_str());
    rewrite(&lab, text);
    lab
}

fn rewrite(lab: &TestLab, text: &str) {
    write(&lab.beside("docker-compose.yml"), text);
}

/// Waits longer than for what happens on one machine: two daemons that begin at the same time may
/// have to ask each other again and again.
fn wait_long(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
    }
}

/// The lab is up, healthy, and there is nothing more to do, whatever its scripts have changed.
fn assert_settled(lab: &TestLab) {
    lab.assert_healthy();
    assert_eq!(lab.up(), [""; 0], "a second up has something to do");
}

fn down(lab: &TestLab) {
    lab.down();
    if lab.file().model.engine == Some(Engine::Docker) {
        assert_eq!(docker::containers(lab), Vec::<String>::new());
    }
    fs::remove_dir_all(lab.beside("")).unwrap();
}

fn site_to_site(engine: Engine) {
    let lab = bed(engine, "site-to-site");
    assert!(!lab.up().is_empty());
    for client in ["client-a1", "client-a2", "client-b1", "client-b2"] {
        wait_long("the server answers through the tunnel", || {
            let url = "http://10.3.0.2:8080/";
            lab.run(client, &["timeout", "2", "busybox", "wget", "-q", "-O", "-", url]).text
                == "server-s1\n"
        });
    }
    // The Internet knows no way to the sites, so that there is none but the tunnels.
    assert!(!lab.run("router", &["ip", "route", "get", "10.3.0.2"]).is_ok());
    for gateway in ["gateway-a", "gateway-b"] {
        let status = lab.ok(gateway, &["ipsec", "status"]);
        assert!(status.contains("INSTALLED, TUNNEL"), "{status}");
    }
    assert_settled(&lab);
    // What the scripts have set is as they have set it.
    assert!(lab.sh("gateway-a", "ip -4 addr show eth1").contains("10.1.0.1/16"));
    assert!(lab.sh("gateway-a", "ip route").contains("default via 172.26.26.1 "));
    assert!(!lab.sh("router", "ip route").contains("default"));
    assert!(lab.sh("gateway-s", "iptables -S").contains("-P INPUT DROP"));
    down(&lab);
}

fn ipv6(engine: Engine) {
    let lab = bed(engine, "ipv6");
    lab.up();
    for client in ["client-a1", "client-a2", "client-b1", "client-b2"] {
        wait_until("the server answers", || {
            lab.run(client, &["ping", "-c", "1", "-W", "1", "fc00:4300:c::2"]).is_ok()
        });
    }
    assert_settled(&lab);
    down(&lab);
}

fn no_ipam(engine: Engine) {
    let lab = bed(engine, "no-ipam");
    lab.up();
    for client in ["client-a1", "client-a2", "client-b1", "client-b2"] {
        wait_until("the server answers", || {
            lab.run(client, &["ping", "-c", "1", "-W", "1", "10.3.0.2"]).is_ok()
        });
    }
    // The cloud lets nobody pass but for its own.
    assert!(lab.sh("gateway-s", "iptables -S").contains("-P FORWARD DROP"));
    assert_settled(&lab);
    down(&lab);
}

pub(crate) fn a_test_bed_with_ipsec_runs_as_it_is() {
    site_to_site(Engine::Native);
}

pub(crate) fn test_beds_of_ipv6_and_without_addresses_run_as_they_are() {
    ipv6(Engine::Native);
    no_ipam(Engine::Native);
}

pub(crate) fn test_beds_run_as_they_are_on_docker() {
    ipv6(Engine::Docker);
    no_ipam(Engine::Docker);
    site_to_site(Engine::Docker);
}

/// What people write first: a server that is well before its client asks it.
const SERVED: &str = r#"
services:
  web_Server:
    image: ${IMAGE}
    container_name: the.web
    entrypoint: ["/bin/sh", "-c"]
    command: ["echo $$COLOUR of $$(hostname) > /tmp/index.html; exec busybox httpd -f -p 80 -h /tmp"]
    environment: {COLOUR: red}
    hostname: www
    healthcheck: {test: "busybox wget -q -O /dev/null http://127.0.0.1/", interval: 1s}
    stop_grace_period: 1s
    networks: {back: {aliases: [shop]}}
  client:
    image: ${IMAGE}
    working_dir: /tmp
    command: >
      -c 'for name in web_Server the.web shop; do busybox wget -q -O - http://$$name/; done;
      pwd; exec sleep infinity'
    entrypoint: /bin/sh
    depends_on: {web_Server: {condition: service_healthy}}
    networks: [back]
networks: {back: {internal: true}}
"#;

fn served(engine: Engine) {
    let lab = written(engine, "served", SERVED);
    lab.up();
    let log = || {
        let logs = lab.lab.logs(&name("client"), Some("main")).unwrap();
        fs::read_to_string(&logs[0].path).unwrap()
    };
    let told = "red of www\n".repeat(3) + "/tmp\n";
    wait_until("the client has asked by every name", || log() == told);
    for word in ["web_Server", "the.web", "web-server"] {
        assert_eq!(lab.lab.node(word).unwrap(), name("web-server"));
    }
    let hint = lab.lab.node("web_server").unwrap_err().hint();
    assert_eq!(hint.as_deref(), Some("did you mean web-server?"));
    assert_eq!(lab.services("web-server")[0].state, ServiceState::Ready);
    assert_settled(&lab);
    down(&lab);
}

pub(crate) fn services_are_started_named_and_told_as_compose_does_it() {
    served(Engine::Native);
}

pub(crate) fn services_are_started_named_and_told_on_docker() {
    served(Engine::Docker);
}

/// A script that owns what it was given, and one that leaves it as it is.
const CHANGED: &str = r#"
services:
  changer:
    image: ${IMAGE}
    entrypoint: ["/bin/sh", "-ec"]
    command:
      - |
        ip addr flush dev eth0
        ip addr add 10.9.0.9/24 dev eth0
        ip route add blackhole 192.0.2.0/24
        echo nameserver 192.0.2.53 > /etc/resolv.conf
        echo 10.9.0.1 peer >> /etc/hosts
        echo done; exec sleep infinity
    networks: {lan: {ipv4_address: 10.1.0.2}}
  other:
    image: ${IMAGE}
    entrypoint: [sleep, infinity]
    networks: {lan: {ipv4_address: 10.1.0.3}}
networks:
  lan: {driver: macvlan, ipam: {config: [{subnet: 10.1.0.0/24}]}}
"#;

pub(crate) fn what_scripts_change_is_theirs_and_what_the_file_changes_is_made_anew() {
    let lab = written(Engine::Native, "changed", CHANGED);
    lab.up();
    let has = |address: &str| lab.sh("changer", "ip -4 addr show eth0").contains(address);
    wait_until("the script is done", || lab.sh("changer", "cat /etc/hosts").contains("peer"));
    let before = lab.inits(&["changer", "other"]);
    assert_settled(&lab);
    assert!(has("10.9.0.9/24") && !has("10.1.0.2/24"));
    assert_eq!(lab.sh("changer", "cat /etc/resolv.conf"), "nameserver 192.0.2.53\n");

    // An interface is the lab's, with what it bore.
    lab.sh("changer", "ip link delete eth0");
    assert!(lab.ailments().iter().any(|step| step == "create interface changer:eth0"));
    lab.up();
    assert!(has("10.1.0.2/24"));
    assert_eq!(lab.inits(&["changer", "other"]), before);

    // A script never runs twice on what it has left.
    for (words, others) in [("10.1.0.2}", "10.1.0.4}"), ("echo done;", "echo well;")] {
        let before = lab.inits(&["changer", "other"]);
        let text = fs::read_to_string(lab.beside("docker-compose.yml")).unwrap();
        rewrite(&lab, &text.replace(words, others));
        lab.up();
        let after = lab.inits(&["changer", "other"]);
        assert!(before[0] != after[0] && before[1] == after[1], "{before:?} {after:?}");
        wait_until("the script is done again", || has("10.9.0.9/24") && !has("10.1.0"));
        assert_settled(&lab);
    }
    assert!(lab.sh("other", "cat /etc/hosts").contains("10.1.0.4"), "it hears of the others");
    let nodes: BTreeSet<String> = lab.file().model.nodes.keys().map(ToString::to_string).collect();
    assert_eq!(nodes, BTreeSet::from(["changer", "other"].map(str::to_owned)));
    down(&lab);
}

/// One service that is built, and one that is built with more to say about it.
const BUILT: &str = r#"
services:
  plain:
    build: parts
    networks: [lan]
  asked:
    build: {context: ./parts, dockerfile: more/Dockerfile, args: [WORD=asked], target: first}
    image: netarium-test/built:asked
    networks: [lan]
networks: {lan: {internal: true}}
"#;

const RECIPE: &str = "FROM vpn-testbed AS first
ARG WORD=plain
ENV WORD=$WORD
COPY said /
COPY folder /folder/
ENTRYPOINT [\"/bin/sh\", \"-c\"]
CMD [\"cat /said; echo $WORD; exec sleep infinity\"]
";

fn built(engine: Engine) {
    let lab = written(engine, "built", BUILT);
    let parts = lab.beside("parts");
    fs::create_dir_all(parts.join("more")).unwrap();
    fs::create_dir_all(parts.join("folder")).unwrap();
    write(&parts.join("Dockerfile"), RECIPE);
    write(&parts.join("more/Dockerfile"), &format!("{RECIPE}FROM first\nENV WORD=last\n"));
    write(&parts.join("said"), "hello\n");
    std::os::unix::fs::symlink("/etc/passwd", parts.join("folder/link")).unwrap();
    let log = |node: &str| {
        let logs = lab.lab.logs(&name(node), None).unwrap();
        logs.first().map_or_else(String::new, |log| fs::read_to_string(&log.path).unwrap())
    };
    lab.up();
    wait_until("both have spoken", || {
        log("plain") == "hello\nplain\n" && log("asked") == "hello\nasked\n"
    });
    // What a link leads to is not sent.
    assert_eq!(lab.sh("plain", "readlink /folder/link"), "/etc/passwd\n");
    assert_settled(&lab);
    let before = lab.inits(&["plain", "asked"]);
    write(&parts.join("more/Dockerfile"), &RECIPE.replace("cat /said", "echo other"));
    lab.up();
    wait_until("it is made anew", || log("asked") == "other\nasked\n");
    let after = lab.inits(&["plain", "asked"]);
    assert!(before[0] == after[0] && before[1] != after[1], "{before:?} {after:?}");

    write(&parts.join("Dockerfile"), "FROM vpn-testbed\nCOPY not-there /\n");
    let error = in_words(&lab.try_up(UpOptions::default()).unwrap_err());
    for words in ["-built-plain", "COPY not-there", "not found"] {
        assert!(error.contains(words), "{words} not in: {error}");
    }
    write(&parts.join(".dockerignore"), "said\n");
    let error = in_words(&lab.try_up(UpOptions::default()).unwrap_err());
    assert!(error.contains(".dockerignore"), "{error}");
    down(&lab);
}

pub(crate) fn what_docker_builds_runs_on_both_engines() {
    docker::docker(&["load", "--quiet", "--input", archive().to_str().unwrap()]);
    built(Engine::Native);
    built(Engine::Docker);
}
