//! Files that are put into nodes, and whom services run as.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use netarium::lab::UpOptions;
use netarium::lab_file::LabFileError;

use crate::lab::{TestLab, in_words};

/// A node with a file of each sort.
const NODE: &str = r##"
nodes:
  alice:
    files:
      /etc/app.conf: "text of the file\n"
      /etc/app/key: {from: ./key, mode: 0600, owner: "33:0"}
      /srv/data: {from: key}
      /srv/www: {from: ./www}
      /usr/local/bin/hello: {text: "#!/bin/sh\necho hello\n", mode: 0755}
"##;

fn lab(name: &str) -> TestLab {
    let lab = TestLab::in_folder(name, NODE);
    lab.put("key", [0, 255, 10, 13, 128]);
    fs::set_permissions(lab.beside("key"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::create_dir_all(lab.beside("www/empty")).unwrap();
    lab.put("www/index.html", "index");
    symlink("index.html", lab.beside("www/link.html")).unwrap();
    lab
}

pub(crate) fn files_come_from_the_lab_file_and_its_folder() {
    let lab = lab("files-from");
    lab.up();
    assert_eq!(lab.ok("alice", &["cat", "/etc/app.conf"]), "text of the file\n");
    assert_eq!(lab.ok("alice", &["hello"]), "hello\n");
    let bytes = "od -An -tu1 /etc/app/key && od -An -tu1 /srv/data";
    assert_eq!(lab.sh("alice", bytes), "   0 255  10  13 128\n".repeat(2));
    let owner = if lab.has_ids("alice") { "33" } else { "0" };
    let stat = ["stat", "-c", "%a %u %g", "/etc/app/key", "/etc/app.conf", "/srv/data"];
    assert_eq!(lab.ok("alice", &stat), format!("600 {owner} 0\n644 0 0\n640 0 0\n"));
    let found = lab.sh("alice", "cd /srv/www && find . -type d -o -type f | sort | tr '\\n' ' '");
    assert_eq!(found, ". ./empty ./index.html ./link.html ");
    lab.assert_healthy();
    assert_eq!(lab.up(), Vec::<String>::new());
    lab.down();
}

pub(crate) fn a_source_that_changes_changes_its_file_only() {
    let mut lab = lab("files-change");
    lab.put("lab.yaml", lab.file().text);
    lab.up();
    let init = lab.init("alice");
    lab.put("www/index.html", "another");
    // The lab is compared with what it was made from, until it is brought up again.
    lab.assert_healthy();
    assert!(lab.lab.file().unwrap().is_outdated());
    let changed = ["index.html", "link.html"].map(|it| format!("replace file alice:/srv/www/{it}"));
    assert_eq!(lab.up(), changed);
    assert_eq!(lab.ok("alice", &["cat", "/srv/www/link.html"]), "another");
    assert!(!lab.lab.file().unwrap().is_outdated());

    for by_hand in ["echo >> /etc/app/key", "chmod 644 /etc/app/key"] {
        lab.sh("alice", by_hand);
        assert_eq!(lab.ailments(), ["replace file alice:/etc/app/key"], "{by_hand}");
        lab.up();
    }
    lab.sh("alice", "rm -r /srv/www/empty");
    assert_eq!(lab.up(), ["create file alice:/srv/www/empty"]);
    // The disk may have changed or gone meanwhile: the lab has what it was made from.
    fs::remove_file(lab.beside("key")).unwrap();
    lab.sh("alice", "rm /srv/data");
    assert_eq!(lab.ailments(), ["create file alice:/srv/data"]);
    lab.put("key", "new");
    lab.replace("mode: 0600", "mode: 0400");
    assert_eq!(lab.up(), ["replace file alice:/etc/app/key", "create file alice:/srv/data"]);
    lab.rewrite(|text| {
        text.lines().filter(|it| !it.contains("www")).map(|it| format!("{it}\n")).collect()
    });
    assert_eq!(lab.up().len(), 4);
    assert!(!lab.run("alice", &["ls", "/srv/www"]).is_ok());
    assert_eq!(lab.init("alice"), init, "the node was made anew");
    lab.assert_healthy();
    lab.down();
}

pub(crate) fn sources_that_are_missing_or_lead_out_are_named_with_their_place() {
    let mut lab = lab("files-missing");
    fs::create_dir(lab.beside("inside")).unwrap();
    symlink("/etc/passwd", lab.beside("out")).unwrap();
    symlink("..", lab.beside("www/up")).unwrap();
    lab.rewrite(|text| {
        text.lines().take(2).map(|it| format!("{it}\n")).collect::<String>()
            + "nodes:\n  alice:\n    files:\n      /a: {from: ./none}\n      /b: {from: ./out}\n      \
               /c: {from: ./www}\n    volumes: ['./none:/d', './out:/e', './key:/f', './inside:/g']\n"
    });
    let problems = match lab.try_file() {
        Err(LabFileError::Problems { problems, .. }) => problems,
        other => panic!("{other:?}"),
    };
    let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let expected = [
        "6:18: cannot read ./none: No such file or directory",
        "7:18: cannot read ./out: it leads out of its folder",
        "8:18: cannot read ./www: up: it leads out of its folder",
        "9:15: cannot use ./none: No such file or directory",
        "9:28: cannot use ./out: it leads out of its folder",
        "9:40: cannot use ./key: Not a directory",
    ];
    assert_eq!(said, expected);
    lab.down();
}

/// A service that tells who it is and waits.
const WHO: &str = r#"
nodes:
  alice:
    services:
      - {name: who, run: [sh, -c, "id -u; id -g; pwd; echo $HOME $LEVEL; grep ^Cap /proc/self/status; exec sleep 1000"], user: www-data, folder: /srv, env: {LEVEL: debug}}
"#;

pub(crate) fn a_service_runs_as_its_user_and_has_no_capabilities() {
    let lab = TestLab::of_host("files-user", WHO);
    lab.up();
    let seen =
        lab.run_as("alice", Some("www-data:adm"), &["sh", "-c", "id -u; id -g; touch /etc/x"]);
    if lab.has_ids("alice") {
        assert!(seen.text.starts_with("33\n4\n") && !seen.is_ok(), "{seen:?}");
    }
    let log = lab.folder().join("nodes/alice/logs/who.log");
    crate::lab::wait_until("it has said all", || {
        fs::read_to_string(&log).is_ok_and(|it| it.contains("CapAmb"))
    });
    let said = fs::read_to_string(&log).unwrap();
    let id = if lab.has_ids("alice") { "33" } else { "0" };
    assert!(said.starts_with(&format!("{id}\n{id}\n/srv\n/var/www debug\n")), "{said}");
    let sets: Vec<&str> = said.lines().filter(|it| it.starts_with("Cap")).collect();
    assert_eq!(sets.len(), 5);
    assert!(sets.iter().all(|it| it.ends_with("\t0000000000000000")), "{said}");
    lab.assert_healthy();
    lab.down();
}

pub(crate) fn a_user_that_a_node_does_not_have_is_named() {
    let mut lab = TestLab::of_host("files-no-user", WHO);
    lab.replace("user: www-data", "user: nobody-here");
    let error = in_words(&lab.try_up(UpOptions::default()).unwrap_err());
    let expected = "cannot run sh as nobody-here: there is no user nobody-here in this node";
    assert!(error.contains("alice/who") && error.contains(expected), "{error}");
    lab.assert_nothing_left();
    lab.replace("user: nobody-here", "user: www-data:nobodies");
    let error = in_words(&lab.try_up(UpOptions::default()).unwrap_err());
    assert!(error.contains("there is no group nobodies in this node"), "{error}");
    lab.down();
}
