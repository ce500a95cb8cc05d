# What people and CI run; `make` alone lists it. Needs GNU make and any POSIX shell.
#
# Nothing is measured or decided here: that is what the `netarium` command is for.

SHELL = /bin/sh
.DEFAULT_GOAL = help
.SUFFIXES:

CARGO = cargo
LAB = labs/site-to-site/lab.yaml
LABS_TOGETHER = labs/site-to-site labs/host-to-host labs/ipv6-site-to-site
RUNS = 5
# What `make bench` and `make bench-tunnel` measure; a debug build will do to try them.
NETARIUM = target/release/netarium

# Programs that are not part of Rust, one version each, so that everybody's check says the same.
DENY_VERSION = 0.20.2
FUZZ_SECONDS = 60

# To build: a linker and a C compiler (for the cryptography of certificates), and a static C library
# (for the program of nodes). To run: what makes images, what loads firewalls, what leads out, and what
# gives an ordinary user more ids than one. The network tools that labs use are in their images, not on this machine.
PACKAGES = gcc libc6-dev mmdebstrap nftables passt uidmap
# What tests look at the kernel with, or run inside of nodes whose image is the host.
TEST_PACKAGES = bash bubblewrap iproute2 passt passwd procps python3-minimal util-linux
# What root runs tests beside (.ci/daemons); none of it is started as a service of this machine.
DAEMON_PACKAGES = containerd docker-compose docker-registry docker.io
# What packs a virtual machine and runs it.
VM_PACKAGES = bash e2fsprogs kmod libarchive-tools qemu-system-x86 squashfs-tools util-linux
# What makes releases: Debian's own Rust, which compiles for both, and its linkers and C libraries.
RELEASE_PACKAGES = dpkg-dev file gcc-aarch64-linux-gnu libc6-dev-arm64-cross libstd-rust-web-dev \
  libstd-rust-web-dev:arm64 qemu-user-static rustc-web
VERSION = $(shell sed -n '/^.workspace.package/,/^$$/s/^version = "\(.*\)"/\1/p' Cargo.toml)
# Labs to bring up there, by the names of their folders; all if there is none.
VM_LABS =

# What a file may grow to, in lines.
LONGEST_SOURCE = 600
LONGEST_LAB = 100
LONGEST_README = 200

IS_ROOT := $(filter 0,$(shell id -u))

.PHONY: help
help: ## list the targets
	@echo 'usage: make TARGET'
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  \1	\2/p' Makefile | expand -t 16

.PHONY: demo
demo: setup build ## bring the site-to-site lab up, check it, and say what to try next
	@$(NETARIUM) --json image ls | grep -q '"base"' || $(NETARIUM) image build base
	@echo
	$(NETARIUM) up $(LAB)
	@echo
	$(NETARIUM) check $(LAB)
	@echo
	@$(NETARIUM) bench --memory $(LAB)
	@echo
	@echo 'The lab is up. Try:'
	@echo '  $(NETARIUM) exec --lab $(LAB) client-a1 -- curl -s http://10.3.0.2:8080/'
	@echo '  $(NETARIUM) shell --lab $(LAB) gateway-a'
	@echo '  $(NETARIUM) status $(LAB)'
	@echo 'Take it down: $(NETARIUM) down $(LAB)'

.PHONY: setup
setup: ## install the Debian packages that are missing, if any
	@.ci/packages $(PACKAGES)

.PHONY: build
build: ## build the release
	$(CARGO) build --release --locked --package netarium-cli

.PHONY: test
test: setup $(if $(IS_ROOT),test-users) ## run all tests, as root those of ordinary users too
	@.ci/packages $(TEST_PACKAGES) $(if $(IS_ROOT),$(DAEMON_PACKAGES))
	@CARGO='$(CARGO)' .ci/test

# Root tries what ordinary users do as two of them: one with subordinate ids (subuid(5)), one
# without. An ordinary user tries it as what they are.
.PHONY: test-users
test-users: ## make the two ordinary users as which root runs tests
	@.ci/test-users

# The kernel of this machine may lack what labs can use, ESP above all; Debian's has it. What `make
# test` has built is good enough: the release would take longer to build than it would save.
.PHONY: test-vm
test-vm: setup ## bring all labs up under Debian's own kernel, in a virtual machine
	@.ci/packages $(VM_PACKAGES)
	$(CARGO) build --locked --package netarium-cli
	@.ci/vm/run target/debug/netarium $(VM_LABS)

.PHONY: release
release: setup ## make binaries, Debian packages and the container image, for amd64 and arm64
	@.ci/packages $(RELEASE_PACKAGES)
	@CARGO='$(CARGO)' .ci/release/make $(VERSION)

# No part of CI: a release takes half an hour to build.
.PHONY: test-release
test-release: setup ## try what `make release` has made: packages in a chroot, arm64 in an emulator
	@.ci/packages $(RELEASE_PACKAGES)
	@.ci/release/test $(VERSION)

.PHONY: check
check: fences deny ## see that format, lints, pages, dependencies and lengths are in order
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --workspace --no-deps --locked

.PHONY: fences
fences: ## see that no file has grown too long
	@find crates fuzz -name target -prune -o -name '*.rs' -exec wc -l {} + \
	  | awk '$$2 != "total" && $$1 > $(LONGEST_SOURCE) { print $$2 ": " $$1 " lines, more than $(LONGEST_SOURCE)"; bad = 1 } END { exit bad }'
	@wc -l labs/*/lab.yaml \
	  | awk '$$2 != "total" && $$1 > $(LONGEST_LAB) { print $$2 ": " $$1 " lines, more than $(LONGEST_LAB)"; bad = 1 } END { exit bad }'
	@test ! -e README.md || wc -l README.md \
	  | awk '$$1 > $(LONGEST_README) { print $$2 ": " $$1 " lines, more than $(LONGEST_README)"; exit 1 }'

.PHONY: deny
deny: $(if $(shell $(CARGO) deny --version 2>/dev/null),,cargo-deny) ## see that all dependencies are allowed
	$(CARGO) deny --locked --log-level error check bans licenses sources

# Not part of `check`: deny.toml says why.
.PHONY: advisories
advisories: $(if $(shell $(CARGO) deny --version 2>/dev/null),,cargo-deny) ## look for known vulnerabilities (fetches their list)
	$(CARGO) deny --locked check advisories

# Without optimization it is there in half the time, and fast enough for these few crates.
.PHONY: cargo-deny
cargo-deny:
	CARGO_PROFILE_DEV_DEBUG=0 $(CARGO) install --locked --debug cargo-deny --version $(DENY_VERSION)

.PHONY: bench
bench: setup build ## measure the labs, beside the bars; also as JSON, kept in target/
	@$(NETARIUM) bench $(LAB) --runs $(RUNS) --json >target/bench.json
	@echo
	@$(NETARIUM) bench $(LABS_TOGETHER) --runs $(RUNS) --json >target/bench-together.json
	@echo
	@echo
	@.ci/bench-tunnel $(NETARIUM) $(RUNS) >target/bench-tunnel.json
	@echo
	@$(MAKE) --no-print-directory bench-pull
	@echo
	@$(if $(IS_ROOT),$(MAKE) --no-print-directory bench-engines,echo 'engines are compared as root only')
	@echo
	@cat target/bench.json target/bench-together.json target/bench-tunnel.json target/bench-pull.json \
	  $(if $(IS_ROOT),target/bench-engines.json)

# Two networks side by side, for a minute. Ordinary users have no figure.
.PHONY: bench-tunnel
bench-tunnel: ## measure a TCP stream through the tunnel beside bare charon, with what is built
	@.ci/bench-tunnel $(NETARIUM) $(RUNS) >target/bench-tunnel.json

# The Docker Engine is one of its own, which ends with it.
.PHONY: bench-engines
bench-engines: ## measure native, docker and docker-compose by turns, with what is built
	@.ci/packages $(DAEMON_PACKAGES)
	@.ci/daemons sh -c 'DOCKER_HOST=$$NETARIUM_TEST_DOCKER exec "$$@"' sh \
	  $(NETARIUM) bench $(LAB) --engine native,docker,docker-compose --runs $(RUNS) --json \
	  >target/bench-engines.json

# Beside a Docker Engine and a registry of its own.
.PHONY: bench-pull
bench-pull: ## measure the pull of an image of 250 MB beside docker pull, with what is built
	@$(if $(IS_ROOT),.ci/packages $(DAEMON_PACKAGES))
	@.ci/bench-pull $(NETARIUM) $(RUNS) >target/bench-pull.json

.PHONY: bench-cold
bench-cold: setup build ## measure how long it takes where there is no image yet
	@$(NETARIUM) bench $(LAB) --cold

.PHONY: fuzz
fuzz: ## look for lab files that break the parser or the planner, a minute each
	@.ci/fuzz $(FUZZ_SECONDS)

.PHONY: clean
clean: ## remove what was built; labs and images stay
	$(CARGO) clean
	rm -rf fuzz/target fuzz/corpus fuzz/artifacts
