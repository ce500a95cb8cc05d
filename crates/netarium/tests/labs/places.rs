//! Labs side by side, and in odd places.

use std::fs;
use std::path::PathBuf;

use netarium::folder::DataFolder;
use netarium::lab::Lab;

use crate::lab::{TestLab, run};
use crate::owner;

const PAIR: &str = "
segments:
  lan: 10.0.0.0/24
nodes:
  alice: {interfaces: {lan: 10.0.0.1}}
  bob: {interfaces: {lan: 10.0.0.2}}
";

pub(crate) fn two_labs_and_two_segments_may_have_the_same_prefix() {
    let body = "
segments:
  one: 10.0.0.0/24
  two: 10.0.0.0/24
nodes:
  alice: {interfaces: {one: 10.0.0.1}}
  bob: {interfaces: {one: 10.0.0.2}}
  carol: {interfaces: {two: 10.0.0.1}}
  dave: {interfaces: {two: 10.0.0.3}}
";
    let first = TestLab::of_host("same-prefix-1", body);
    let second = TestLab::of_host("same-prefix-2", PAIR);
    first.up();
    second.up();
    for lab in [&first, &second] {
        lab.assert_healthy();
        assert!(lab.ping("alice", "10.0.0.2"));
        assert!(!lab.ping("alice", "10.0.0.3"), "10.0.0.3 is on another segment");
    }
    assert!(first.ping("carol", "10.0.0.3"));
    first.down();
    second.assert_healthy();
    assert!(second.ping("alice", "10.0.0.2"));
    second.down();
}

/// The path of a socket has 107 bytes at most (unix(7)).
pub(crate) fn long_names_in_a_deep_folder_work() {
    let deep = Folder::new("deep", &["a-folder-with-a-long-name"; 8].join("/"));
    let name = "a-lab-with-a-name-as-long-as-names-can-be-which-is-63-letters-x";
    let long = "a-node-with-a-name-as-long-as-names-can-be-which-is-63-letters-";
    let node = format!("{}y", &long[..62]);
    assert_eq!((name.len(), node.len()), (63, 63));
    let body = format!(
        "image: host
segments:
  {node}: 10.0.0.0/24
  short: {{prefix: 10.1.0.0/24, driver: bridge}}
nodes:
  {node}:
    interfaces:
      {node}: {{address: 10.0.0.1, name: fifteen-letters}}
      short: 10.1.0.1
    services: [{{name: {node}, run: [sleep, infinity]}}]
  bob: {{interfaces: {{{node}: 10.0.0.2, short: 10.1.0.2}}}}
"
    );
    let lab = TestLab::at(DataFolder::at(deep.path()), name, &body);
    lab.up();
    lab.assert_healthy();
    assert!(lab.ping("bob", "10.0.0.1"));
    assert!(lab.ping("bob", "10.1.0.1"));
    assert_eq!(lab.ok(&node, &["cat", "/proc/sys/kernel/hostname"]).trim_end(), node);
    assert_eq!(lab.services(&node).len(), 1);
    lab.down();
}

pub(crate) fn labs_of_one_owner_are_listed_and_taken_down_apart() {
    let folder = Folder::new("listed", "data, with: odd\\letters");
    let data = DataFolder::at(folder.path());
    let names = || {
        let all = Lab::all(&data).unwrap();
        all.iter().map(|lab| lab.name().to_string()).collect::<Vec<_>>()
    };
    let body = format!("image: host\n{PAIR}");
    let first = TestLab::at(data.clone(), "first", &body);
    let second = TestLab::at(data.clone(), "second", &body);
    assert_eq!(names(), Vec::<String>::new());
    first.up();
    second.up();
    assert_eq!(names(), ["first", "second"]);
    first.down();
    assert_eq!(names(), ["second"]);
    second.assert_healthy();
    assert!(second.ping("alice", "10.0.0.2"));
    second.down();
    assert_eq!(names(), Vec::<String>::new());
    assert!(!run(second.lab.down(&|_| ())).unwrap());
}

/// A data folder of a test's own, below that of its owner so that the lab's root can reach it.
struct Folder {
    top: PathBuf,
    path: PathBuf,
}

impl Folder {
    fn new(test: &str, below: &str) -> Self {
        let top = owner::data().path().join(test);
        fs::remove_dir_all(&top).ok();
        let path = top.join(below);
        fs::create_dir_all(&path).unwrap();
        Self { top, path }
    }

    fn path(&self) -> PathBuf {
        self.path.clone()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.top).ok();
    }
}
