//! Labs that cannot be brought up: the reason is told, and nothing is left.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use netarium::folder::DataFolder;
use netarium::lab::{AfterFailure, State, UpOptions};
use netarium::lab_file::{LabFile, LabFileError};

use crate::lab::{TestLab, in_words, name};
use crate::owner;

fn lab_with_service(name: &str, service: &str) -> TestLab {
    let body = format!(
        "
segments:
  lan: 10.0.0.0/24
nodes:
  alice:
    interfaces: {{lan: 10.0.0.1}}
    services: [{service}]
  bob: {{interfaces: {{lan: 10.0.0.2}}}}
"
    );
    TestLab::of_host(name, &body)
}

pub(crate) fn a_service_that_cannot_start_is_named_and_the_lab_undone() {
    let lab = lab_with_service("failure-start", "{name: app, run: [no-such-program]}");
    let error = in_words(&lab.try_up(UpOptions::default()).unwrap_err());
    for words in ["alice/app", "no-such-program"] {
        assert!(error.contains(words), "{words} not in: {error}");
    }
    lab.assert_nothing_left();
    lab.down();
}

pub(crate) fn the_last_words_of_a_service_that_fails_are_kept() {
    let service =
        "{name: app, run: [sh, -c, 'echo last words; exit 3'], restart: never, ready: done}";
    let lab = lab_with_service("failure-words", service);
    let error = in_words(&lab.try_up(UpOptions::default()).unwrap_err());
    assert!(error.contains("alice/app") && error.contains('3'), "{error}");
    let log = lab.lab.failed_logs().join("alice/app.log");
    assert!(fs::read_to_string(log).unwrap().contains("last words"));
    lab.assert_nothing_left();
    lab.down();
}

pub(crate) fn a_change_that_fails_leaves_the_lab_as_it_was() {
    let good = "{name: app, run: [sleep, infinity]}";
    let mut lab = lab_with_service("failure-change", good);
    lab.up();
    let inits = lab.inits(&["alice", "bob"]);
    let bad = "{name: app, run: [sleep, infinity]}, {name: bad, run: [no-such-program]}";
    lab.replace(good, bad);
    lab.rewrite(|text| format!("{text}  carol: {{interfaces: {{lan: 10.0.0.3}}}}\n"));
    let error = in_words(&lab.try_up(UpOptions::default()).unwrap_err());
    assert!(error.contains("alice/bad"), "{error}");
    assert_eq!(lab.inits(&["alice", "bob"]), inits);
    assert!(!lab.folder().join("nodes/carol").exists());
    assert!(lab.ping("alice", "10.0.0.2"));
    lab.assert_healthy();
    assert!(lab.lab.logs_folder(&name("bob")).is_dir());
    assert!(lab.lab.failed_logs().join("alice").is_dir());
    lab.rewrite(|text| {
        let kept = text.lines().filter(|line| !line.contains("carol"));
        kept.map(|line| format!("{line}\n")).collect::<String>().replace(bad, good)
    });
    assert_eq!(lab.up(), Vec::<String>::new());
    lab.assert_healthy();
    lab.down();
}

pub(crate) fn what_failed_can_be_kept_to_be_looked_at() {
    let lab = lab_with_service("failure-keep", "{name: app, run: [no-such-program]}");
    let keep = UpOptions { after_failure: AfterFailure::Keep, ..UpOptions::default() };
    assert!(lab.try_up(keep).is_err());
    let status = lab.status();
    assert_eq!(status.state, State::Up);
    assert!(status.findings.iter().any(|(_, why)| why.contains("no-such-program")), "{status:#?}");
    assert!(lab.ping("alice", "10.0.0.2"));
    lab.down();
}

pub(crate) fn a_lab_file_with_mistakes_creates_nothing() {
    let folder = owner::data().path().join("mistakes");
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join("lab.yaml");
    let text = "name: mistakes\nnodes:\n  alice: {interfaces: {nowhere: 10.0.0.1}}\n  bob: {colour: red}\n";
    let mut file = fs::File::create(&path).unwrap();
    std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    let error = LabFile::read(&path).unwrap_err();
    fs::remove_dir_all(&folder).unwrap();
    let LabFileError::Problems { problems, .. } = error else { panic!("{error}") };
    assert_eq!(problems.len(), 2, "{problems:#?}");
    assert!(!owner::data().labs().join("mistakes").exists());
}

pub(crate) fn taking_down_what_is_not_up_does_nothing() {
    let lab = lab_with_service("failure-down", "{name: app, run: [sleep, infinity]}");
    assert_eq!(lab.status().state, State::Down);
    lab.down();
    lab.up();
    lab.down();
    lab.down();
}

/// A small file system of its own, and the data folder in it.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(name: &str) -> Self {
        let path = owner::data().path().join(name);
        fs::create_dir_all(&path).unwrap();
        let options = "size=16m,mode=755";
        call("mount", &["-t", "tmpfs", "-o", options, "none", path.to_str().unwrap()]);
        Self(path)
    }

    /// Fills the disk but for some bytes.
    fn fill_but(&self, left: u64) {
        let found = rustix::fs::statvfs(&self.0).unwrap();
        let free = found.f_bavail * found.f_frsize;
        let size = (free.saturating_sub(left) / 4096).to_string();
        let to = format!("of={}", self.0.join("filler").display());
        call("dd", &["if=/dev/zero", &to, "bs=4096", &format!("count={size}"), "status=none"]);
    }

    fn empty(&self) {
        fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        call("umount", &[self.0.to_str().unwrap()]);
        fs::remove_dir(&self.0).ok();
    }
}

fn call(program: &str, words: &[&str]) {
    #[expect(clippy::disallowed_methods, reason = "a test prepares the machine")]
    let output = Command::new(program).args(words).output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The kernel lets nobody look under mounts that they did not make, so such a folder is not shown
/// as one.
pub(crate) fn a_host_with_mounts_below_its_folders_is_shown_in_parts() {
    let disk = SmallDisk::mount("host-mount");
    let body = "
segments:
  lan: 10.0.0.0/24
nodes:
  alice: {interfaces: {lan: 10.0.0.1}}
";
    let lab = TestLab::of_host("host-mounts", body);
    lab.up();
    lab.assert_healthy();
    lab.sh(
        "alice",
        "touch /var/log/x /var/cache/x && test -d /var/lib/dpkg && test ! -e /var/tmp/x",
    );
    lab.down();
    drop(disk);
}

pub(crate) fn a_full_disk_is_named_by_its_path() {
    let disk = SmallDisk::mount("small-disk");
    let body = "image: host\nsegments:\n  lan: 10.0.0.0/24\nnodes:\n  alice: {interfaces: {lan: 10.0.0.1}}\n  bob: {interfaces: {lan: 10.0.0.2}}\n";
    let lab = TestLab::at(DataFolder::at(&disk.0), "full", body);
    let mut failed = 0;
    for left in [0, 4096, 3 * 4096, 8 * 4096, 20 * 4096, 4 << 20] {
        disk.fill_but(left);
        match lab.try_up(UpOptions::default()) {
            Ok(_) => lab.assert_healthy(),
            Err(error) => {
                failed += 1;
                let words = in_words(&error);
                let path = disk.0.to_str().unwrap();
                assert!(words.contains("No space left on device"), "{left}: {words}");
                assert!(words.contains(path) || words.contains("/etc/"), "{left}: {words}");
            }
        }
        lab.down();
        disk.empty();
    }
    assert!(failed >= 2, "{failed}");
    lab.up();
    lab.assert_healthy();
    lab.down();
}
