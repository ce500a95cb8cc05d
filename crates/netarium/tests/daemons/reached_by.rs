//! Where tests reach the Docker Engine and the registry that `.ci/daemons` runs them beside.
//!
//! Tests never use a Docker that they find on the machine: it is somebody's.

/// What a daemon of the tests is reached by: `NETARIUM_TEST_DOCKER` is the engine's socket as
/// `unix:///…`, `NETARIUM_TEST_REGISTRY` is `127.0.0.1:PORT`, over plain HTTP, for the engine too.
pub(crate) fn reached_by(daemon: &str) -> String {
    std::env::var(daemon).unwrap_or_else(|_| {
        panic!("{daemon} is not set: run this test by `make test`, or below `.ci/daemons`, as root")
    })
}
