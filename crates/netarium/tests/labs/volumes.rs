//! Folders that nodes share with each other and with the host.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

use netarium::lab::UpOptions;

use crate::lab::{TestLab, in_words, run};

pub(crate) fn volumes_with_names_are_shared_and_outlast_their_lab() {
    let mut lab = TestLab::of_host(
        "volumes-named",
        "
nodes:
  alice: {volumes: [data:/var/lib/app]}
  bob: {volumes: [{source: data, target: /data, write: false}]}
",
    );
    run(lab.lab.remove_volumes(&|_| ())).unwrap();
    lab.up();
    lab.sh("alice", "echo one > /var/lib/app/file");
    assert_eq!(lab.ok("bob", &["cat", "/data/file"]), "one\n");
    assert!(!lab.run("bob", &["touch", "/data/other"]).is_ok());
    let mounts = lab.ok("alice", &["cat", "/proc/self/mountinfo"]);
    let line = mounts.lines().find(|it| it.contains(" /var/lib/app ")).unwrap();
    assert!(line.contains("nosuid") && line.contains("nodev"), "{line}");
    assert!(run(lab.lab.remove_volumes(&|_| ())).is_err());
    lab.assert_healthy();
    let init = lab.init("bob");
    // Another place makes the node anew, and no other.
    lab.replace("data:/var/lib/app", "data:/var/lib/web");
    let steps = lab.up();
    assert!(steps.contains(&"create node alice".to_owned()), "{steps:?}");
    assert_eq!(lab.init("bob"), init);
    assert_eq!(lab.ok("alice", &["cat", "/var/lib/web/file"]), "one\n");
    lab.down();

    let volumes = lab.lab.volumes().unwrap();
    assert_eq!(volumes.keys().map(|it| it.as_str()).collect::<Vec<_>>(), ["data"]);
    lab.up();
    assert_eq!(lab.ok("bob", &["cat", "/data/file"]), "one\n");
    lab.down();
    assert!(run(lab.lab.remove_volumes(&|_| ())).unwrap());
    assert!(lab.lab.volumes().unwrap().is_empty());
    assert!(!run(lab.lab.remove_volumes(&|_| ())).unwrap());

    // A lab that does not come up leaves none.
    lab.replace("alice: {", "alice: {services: [{name: a, run: [no-such-program]}], ");
    assert!(lab.try_up(UpOptions::default()).is_err());
    assert!(lab.lab.volumes().unwrap().is_empty());
    lab.assert_nothing_left();
}

/// A node with two folders of the host.
const SHARING: &str = "
nodes:
  alice:
    volumes: ['./site:/srv/site', {source: ./out, target: /out, write: true}]
";

fn sharing(name: &str) -> TestLab {
    let lab = TestLab::in_folder(name, SHARING);
    for folder in ["site", "out"] {
        fs::create_dir(lab.beside(folder)).unwrap();
    }
    lab.put("site/page", "page");
    fs::set_permissions(lab.beside("site/page"), fs::Permissions::from_mode(0o600)).unwrap();
    lab
}

pub(crate) fn folders_of_the_host_are_read_only_unless_told() {
    let lab = sharing("volumes-host");
    let is_root = rustix::process::geteuid().is_root();
    let owner = if is_root { 33 } else { rustix::process::geteuid().as_raw() };
    if is_root {
        chown(lab.beside("out"), Some(33), Some(33)).unwrap();
    }
    lab.up();
    // It is the owner's alone, and root of the node is the owner.
    assert_eq!(lab.ok("alice", &["cat", "/srv/site/page"]), "page");
    assert_eq!(lab.ok("alice", &["stat", "-c", "%u %g", "/srv/site/page", "/out"]), "0 0\n0 0\n");
    for line in ["touch /srv/site/new", "rm /srv/site/page", "chmod 644 /srv/site/page"] {
        assert!(!lab.run("alice", &["sh", "-c", line]).is_ok(), "{line}");
    }
    lab.sh("alice", "echo written > /out/file && test ! -e /out/..data");
    assert_eq!(fs::read_to_string(lab.beside("out/file")).unwrap(), "written\n");
    assert_eq!(fs::metadata(lab.beside("out/file")).unwrap().uid(), owner);
    let mounts = lab.ok("alice", &["cat", "/proc/self/mountinfo"]);
    for place in [" /srv/site ", " /out "] {
        let line = mounts.lines().find(|it| it.contains(place)).unwrap();
        assert!(line.contains("nosuid") && line.contains("nodev"), "{line}");
    }
    lab.assert_healthy();
    lab.down();
    assert_eq!(fs::read_to_string(lab.beside("site/page")).unwrap(), "page");
}

pub(crate) fn what_a_node_writes_is_never_of_the_hosts_root() {
    let lab = sharing("volumes-root");
    let error = in_words(&lab.try_up(UpOptions::default()).unwrap_err());
    assert!(error.contains("./out belongs to root, and nothing that a node writes may"), "{error}");
    lab.assert_nothing_left();
    lab.down();
}
