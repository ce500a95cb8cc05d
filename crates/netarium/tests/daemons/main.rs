//! The Docker Engine and the registry that tests are run beside: both are there, and apart from all
//! others.

#![expect(clippy::unwrap_used, reason = "a test that fails panics")]

mod reached_by;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use reached_by::reached_by;

#[test]
#[ignore = "needs .ci/daemons, which needs root"]
fn the_engine_answers_and_is_of_the_tests_alone() {
    let address = reached_by("NETARIUM_TEST_DOCKER");
    let path = address.strip_prefix("unix://").unwrap();
    let answer = ask(UnixStream::connect(path).unwrap(), "/v1.41/info");
    assert!(answer.starts_with("HTTP/1.0 200 "), "{answer}");
    let folder = path.strip_suffix("/docker.sock").unwrap();
    let root = format!("\"DockerRootDir\":\"{folder}/data\"");
    assert!(answer.contains(&root), "{answer}");
    assert!(answer.contains("\"Driver\":\"overlay2\""), "{answer}");
}

#[test]
#[ignore = "needs .ci/daemons, which needs root"]
fn the_registry_answers_on_the_loopback_address() {
    let address = reached_by("NETARIUM_TEST_REGISTRY");
    assert!(address.starts_with("127.0.0.1:"), "{address}");
    let answer = ask(TcpStream::connect(&address).unwrap(), "/v2/");
    assert!(answer.starts_with("HTTP/1.0 200 "), "{answer}");
}

fn ask(mut stream: impl Read + Write, path: &str) -> String {
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
