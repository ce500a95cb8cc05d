//! What is written, and that the kernel keeps to it.

use std::process::Stdio;

use super::*;
use crate::linux::program::Program;

fn files(controller: Controller, amount: u64, version: Version) -> Vec<(&'static str, String)> {
    Limit { controller, amount }.files(version)
}

fn text(file: &'static str, text: &str) -> (&'static str, String) {
    (file, text.to_owned())
}

#[test]
fn each_version_has_its_own_files() {
    use Controller::{Cpu, Memory, Pids};
    use Version::{One, Two};
    assert_eq!(files(Memory, 4096, One), [text("memory.limit_in_bytes", "4096")]);
    assert_eq!(files(Memory, 4096, Two), [text("memory.max", "4096")]);
    assert_eq!(files(Pids, 7, One), [text("pids.max", "7")]);
    assert_eq!(files(Pids, 7, Two), [text("pids.max", "7")]);
    let expected = [text("cpu.cfs_period_us", "100000"), text("cpu.cfs_quota_us", "150000")];
    assert_eq!(files(Cpu, 1500, One), expected);
    assert_eq!(files(Cpu, 1500, Two), [text("cpu.max", "150000 100000")]);
}

#[test]
fn a_small_share_of_a_processor_is_not_less_than_the_kernel_takes() {
    for (millicpus, expected) in [(0, "1000 1000000"), (1, "1000 1000000"), (10, "1000 100000")] {
        assert_eq!(
            files(Controller::Cpu, millicpus, Version::Two),
            [text("cpu.max", expected)],
            "{millicpus}"
        );
    }
}

#[test]
fn what_is_not_permitted_is_a_plain_sentence_and_the_unexpected_an_error() {
    let failed = |errno| CgroupError::Make {
        path: PathBuf::from("/x"),
        source: io::Error::from_raw_os_error(errno),
    };
    let why = excused(failed(libc::EACCES)).unwrap().unwrap_err();
    let node = Name::new("x").unwrap();
    let unlimited = Unlimited { node, controller: Controller::Memory, why };
    assert_eq!(unlimited.to_string(), "node x: no memory limit: this user may not make cgroups");
    assert!(matches!(excused(failed(libc::ENOSPC)), Err(CgroupError::Make { .. })));
}

#[test]
fn in_version_2_every_cgroup_above_a_node_passes_the_controller_on() {
    // An ordinary folder takes whatever is written to its files.
    let base = std::env::temp_dir().join(format!("netarium-cgroup-{}", std::process::id()));
    fs::create_dir(&base).unwrap();
    let place = Place { version: Version::Two, base: base.clone() };
    let (lab, node) = (Name::new("lab").unwrap(), Name::new("node").unwrap());
    let limit = Limit { controller: Controller::Pids, amount: 7 };
    place.keep(&limit, &lab, &node, 42).unwrap().unwrap();
    let read = |path: &str| fs::read_to_string(base.join(path)).ok();
    for above in ["", "netarium/", "netarium/lab/"] {
        let passed_on = read(&format!("{above}cgroup.subtree_control"));
        assert_eq!(passed_on.as_deref(), Some("+pids"), "{above}");
    }
    assert_eq!(read("netarium/lab/node/cgroup.subtree_control"), None);
    assert_eq!(read("netarium/lab/node/pids.max").as_deref(), Some("7"));
    assert_eq!(read("netarium/lab/node/cgroup.procs").as_deref(), Some("42"));
    fs::remove_dir_all(&base).unwrap();
}

#[test]
fn a_process_under_a_limit_of_one_cannot_fork_and_no_cgroup_is_left() {
    let cgroups = Cgroups::of_host();
    let lab = Name::new(&format!("test-{}", std::process::id())).unwrap();
    let node = Name::new("node").unwrap();
    // It forks when it is given a line.
    let xargs = Program::new("xargs").env("LC_ALL", "C").arg("true").stdin(Stdio::piped());
    let mut child = xargs.stderr(Stdio::piped()).start_now().unwrap();
    let limits = Limits { memory: Some(64 << 20), millicpus: Some(500), pids: Some(1) };
    let unlimited = cgroups.limit(&lab, &node, &limits, child.id()).unwrap();
    let mut input = child.stdin.take().unwrap();
    io::Write::write_all(&mut input, b"line\n").unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();

    let node_folders = || {
        let below = |base: &PathBuf| base.join(OURS).join(lab.as_str()).join(node.as_str());
        cgroups.bases.iter().map(below).filter(|it| it.exists()).count()
    };
    let made = node_folders();
    let errors = cgroups.remove_node(&lab, &node);
    let left = node_folders();
    let errors: Vec<_> = errors.into_iter().chain(cgroups.remove(&lab)).collect();
    assert!(errors.is_empty(), "{errors:?}");
    assert_eq!(left, 0);
    assert!(cgroups.bases.iter().all(|base| !base.join(OURS).join(lab.as_str()).exists()));

    let refused = cgroups.possible().filter(|(_, possible)| possible.is_err()).count();
    assert_eq!(unlimited.len(), refused, "{unlimited:?}");
    if unlimited.iter().any(|it| it.controller == Controller::Pids) {
        // Where this user cannot limit anything, nothing is limited.
        assert!(output.status.success(), "{words}");
    } else {
        assert!(made > 0);
        assert!(words.contains("Resource temporarily unavailable"), "{words}");
    }
}

#[test]
fn a_process_that_has_ended_cannot_be_limited() {
    let cgroups = Cgroups::of_host();
    let lab = Name::new(&format!("test-ended-{}", std::process::id())).unwrap();
    let node = Name::new("node").unwrap();
    let mut child = Program::new("true").start_now().unwrap();
    child.wait().unwrap();
    let limits = Limits { pids: Some(1), ..Limits::default() };
    let kept = cgroups.limit(&lab, &node, &limits, child.id());
    let errors = cgroups.remove(&lab);
    assert!(errors.is_empty(), "{errors:?}");
    match kept {
        Ok(unlimited) => assert_eq!(unlimited.len(), 1),
        Err(error) => assert!(error.to_string().ends_with("cgroup.procs"), "{error}"),
    }
}
