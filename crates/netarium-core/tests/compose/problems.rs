//! The words and places of problems: one line of Compose file, and what is said about it.

#![expect(clippy::too_many_lines, reason = "a table of cases is as long as it is")]

use super::Files;

/// Asserts that a service, or a file in whole, has exactly these problems.
fn assert_said(cases: &[(&str, &[&str])], said: impl Fn(Files) -> Vec<String>) {
    let mut wrong = String::new();
    for (text, expected) in cases {
        let whole = match text.strip_prefix("service ") {
            Some(service) => format!("services: {{a: {{image: x, {service}}}}}"),
            None => (*text).to_owned(),
        };
        let found = said(Files::of(&whole));
        if found != *expected {
            wrong.push_str(&format!("{text:?}\nsays {found:?}\n"));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn mistakes_are_told_with_their_places() {
    assert_said(
        &[
            ("[]", &["1:1: a Compose file must be a table"]),
            ("services: {}", &["1:11: there are no services"]),
            ("services: []", &["1:11: services must be a table, not a list (write {name: …})"]),
            ("services: {a: {}}", &["1:15: the service a has neither image nor build"]),
            (
                "services: {a: {image: x}}\nnetworks: {n: {driver: weird}}",
                &[
                    "2:24: the network driver weird is not supported (there are bridge, macvlan and ipvlan; --lenient leaves it out)",
                ],
            ),
            (
                "services: {a: {image: x, networks: [n]}}\nnetworks: {n: {driver: weird}}",
                &[
                    "2:24: the network driver weird is not supported (there are bridge, macvlan and ipvlan; --lenient leaves it out)",
                ],
            ),
            (
                "services: {a: {image: x, networks: [n]}}\nnetworks: {n: {external: true}}",
                &[
                    "2:26: a lab has all its networks itself: none can be external (leave external out, and give the network its ipam)",
                ],
            ),
            (
                "services: {a: {image: x, networks: [m]}}\nnetworks: {n: {}}",
                &["1:37: unknown network m (there is only n)"],
            ),
            (
                "services: {a: {image: x, networks: {n: {ipv4_address: 10.1.0.1}}}}\nnetworks: {n: {ipam: {config: [{subnet: 10.0.0.0/24}]}}}",
                &["1:55: 10.1.0.1 is outside of network n (network n has 10.0.0.0/24)"],
            ),
            (
                "services: {a: {image: x, networks: {n: {ipv4_address: \"fd00::1\"}}}}\nnetworks: {n: {}}",
                &["1:55: fd00::1 is no IPv4 address"],
            ),
            (
                "services: {a: {image: x, networks: {n: &n {ipv4_address: 10.0.0.2}}}, b: {image: x, networks: {n: *n}}}\nnetworks: {n: {ipam: {config: [{subnet: 10.0.0.0/24}]}}}",
                &["1:58: 10.0.0.2 is taken on segment n (a has it)"],
            ),
            (
                "services: {a: {image: x, networks: [n]}}\nnetworks: {n: {ipam: {driver: x, options: {a: b}, config: [{subnet: 10.0.0.0}, {gateway: 10.0.0.1}, {subnet: 10.2.0.0/24, gateway: 10.3.0.1, ip_range: 10.0.0.0/8}]}}}",
                &[
                    "2:31: the ipam driver x is not supported (there is default; --lenient leaves it out)",
                    "2:34: options is not supported (addresses are chosen by Netarium; --lenient leaves it out)",
                    "2:69: 10.0.0.0 is no prefix (write 10.0.0.0/24 or fd00::/64)",
                    "2:80: an ipam config has no subnet",
                    "2:132: gateway 10.3.0.1 is outside of 10.2.0.0/24",
                    "2:152: ip_range 10.0.0.0/8 is outside of 10.2.0.0/24",
                ],
            ),
            (
                "services: {a: {image: x, networks: [n]}}\nnetworks: {n: {driver_opts: {odd: x, com.docker.network.driver.mtu: 20}}}",
                &[
                    "2:30: odd is not supported (segments have no such option; --lenient leaves it out)",
                    "2:69: an mtu of 20 is not possible (it is at least 68 bytes)",
                ],
            ),
            (
                "services: {a: {image: x, networks: [n]}}\nnetworks: {n: {ipam: {config: [{subnet: 10.0.0.0/30}]}}, m: {}}\nvolumes: {v: {external: true, driver: nfs}}",
                &[
                    "3:25: a lab keeps its volumes itself: none can be external (leave external out, or show a folder)",
                    "3:39: the volume driver nfs is not supported (there is local; --lenient leaves it out)",
                ],
            ),
            (
                "services: {a: {image: x, networks: {n: {}}}, b: {image: x, networks: {n: {}}}}\nnetworks: {n: {ipam: {config: [{subnet: 10.0.0.0/30}]}}}",
                &["1:71: network n has no address left"],
            ),
            (
                "services: {a_b: {image: x}, a-b: {image: x}, \"-\": {image: x}}",
                &[
                    "1:29: a_b and a-b are one name here (both are called a-b: call one something else)",
                    "1:46: \"-\" is no name for a service (it needs a letter or a digit)",
                ],
            ),
            (
                "services: {a: {image: x}}\nconfigs: {c: {file: ./c}}\nsecrets: {s: {file: ./s}}\ninclude: [other.yaml]",
                &[
                    "2:1: configs is not supported (show the file as a volume; --lenient leaves it out)",
                    "3:1: secrets is not supported (show the file as a volume; --lenient leaves it out)",
                    "4:1: include is not supported (name the other file too: -f ONE -f OTHER; --lenient leaves it out)",
                ],
            ),
            (
                "services: {a: {image: x}}\nnodes2: {}",
                &[
                    "2:1: unknown key nodes2 in a Compose file (there are name, networks, volumes, services, configs, secrets, include, models, version)",
                ],
            ),
            (
                "services: {a: {image: x, depends_on: [b]}, b: {image: x, depends_on: {a: {condition: service_healty}}}}",
                &["1:86: unknown condition service_healty (did you mean service_healthy?)"],
            ),
            (
                "services: {a: {image: x, depends_on: [b]}, b: {image: x, depends_on: [a]}}",
                &["1:39: a, b wait for each other"],
            ),
            ("service depends_on: [b]", &["1:39: unknown service b (there is only a)"]),
            ("service depends_on: {b: {condition: service_started, required: false}}", &[]),
            ("service depends_on: [a]", &["1:39: a waits for itself"]),
            ("service image2: x", &["1:26: unknown key image2 in a service (did you mean image?)"]),
            (
                "service configs: [c], secrets: [s]",
                &[
                    "1:26: configs is not supported (show the file as a volume; --lenient leaves it out)",
                    "1:40: secrets is not supported (show the file as a volume; --lenient leaves it out)",
                ],
            ),
            (
                "service privileged: true",
                &[
                    "1:38: no node is privileged (every node has NET_ADMIN, NET_RAW and /dev/net/tun, which is what networks need: leave privileged out, or pass it over with --allow-privileged)",
                ],
            ),
            (
                "service cap_add: [SYS_ADMIN, net_admin, CAP_NET_RAW], cap_drop: [ALL, KILL, SYS_TIME]",
                &[
                    "1:36: no node has the capability SYS_ADMIN (NET_ADMIN and NET_RAW are there; --lenient leaves it out)",
                    "1:83: the capability ALL cannot be dropped (all nodes have the same, in a user namespace of the lab's own; --lenient leaves it out)",
                    "1:88: the capability KILL cannot be dropped (all nodes have the same, in a user namespace of the lab's own; --lenient leaves it out)",
                ],
            ),
            (
                "service devices: [\"/dev/net/tun:/dev/net/tun\", \"/dev/kvm\"]",
                &[
                    "1:65: no node has the device /dev/kvm (/dev/net/tun is there; --lenient leaves it out)",
                ],
            ),
            (
                "service security_opt: [no-new-privileges, \"seccomp:unconfined\"]",
                &[
                    "1:60: the security option seccomp:unconfined is not supported (--lenient leaves it out)",
                ],
            ),
            (
                "service network_mode: host",
                &[
                    "1:40: network_mode host is not supported (a node has a network of its own: name it under networks; --lenient leaves it out)",
                ],
            ),
            (
                "service network_mode: \"service:b\"",
                &[
                    "1:40: network_mode service:b is not supported (a node has a network of its own: name it under networks; --lenient leaves it out)",
                ],
            ),
            ("service network_mode: none", &[]),
            (
                "service ports: [\"80\", \"8080:80/sctp\", \"a:80\", \"1.2.3:80:80\", {target: 80}, {published: 80}]",
                &[
                    "1:34: port 80 has no port of the host: any would do, and none is the same (write \"80:80\", or expose it)",
                    "1:40: ports of sctp cannot be published (tcp and udp can; --lenient leaves it out)",
                    "1:56: a is no port (write a number up to 65535, or a range like 8000-8080)",
                    "1:64: 1.2.3 is no address of a host (write 8080:80, 127.0.0.1:8080:80, [::1]:8443:443 or 5353:53/udp)",
                    "1:79: port 80 has no port of the host: any would do, and none is the same (write \"80:80\", or expose it)",
                    "1:93: a port has no target",
                ],
            ),
            (
                "service ports: [\"8080:80\", \"8080:81\"]",
                &[
                    "1:45: port 8080/tcp of the host is published twice (it leads to one port of one node, whatever the address)",
                ],
            ),
            (
                "service volumes: [\"./../x:/y\", \"data:/z\", \"~/x:/w\", \"a:b:c:d\", \"./x:relative\", \"./no-x:/v\", \"/etc/no.conf:/q\"]",
                &[
                    "1:36: ./../x leads out of its folder (write a name, ./path for a folder beside the lab file, or an absolute path)",
                    "1:49: unknown volume data",
                    "1:60: ~/x begins with ~, which only shells know (write a name, ./path for a folder beside the lab file, or an absolute path)",
                    "1:70: a:b:c:d has too many colons (write source:target or source:target:ro)",
                    "1:81: relative is no absolute path (write a path in the node, /etc/app.conf for example)",
                    "1:97: cannot use ./no-x: it is not there",
                ],
            ),
            (
                "service volumes: [{type: bind, target: /x}, {type: npipe, source: a, target: /y}, {type: volume, source: v}]",
                &[
                    "1:36: a volume of type bind has no source",
                    "1:69: volumes of type npipe are not supported (there are bind, volume, tmpfs; --lenient leaves it out)",
                    "1:100: a volume has no target",
                ],
            ),
            (
                "service volumes: [\"./x:/y:slave\"]",
                &[
                    "1:36: the option slave of a volume is not supported (there are ro and rw; --lenient leaves it out)",
                ],
            ),
            (
                "service tmpfs: [\"/tmp:size=x\", \"/run:odd=1\", \"x\"]",
                &[
                    "1:34: size \"x\" is no size (write 64m, 1g or a number of bytes)",
                    "1:49: the option odd=1 of tmpfs is not supported (there are size, mode and ro; --lenient leaves it out)",
                    "1:63: x is no absolute path (write a path in the node, /etc/app.conf for example)",
                ],
            ),
            (
                "service sysctls: {kernel.shmmax: 1, net.ipv4.tcp_ecn: 1}",
                &[
                    "1:36: kernel.shmmax is not a setting of a network namespace (it begins with net.)",
                ],
            ),
            ("service sysctls: [net.core.somaxconn]", &["1:36: net.core.somaxconn has no value"]),
            (
                "service restart: sometimes",
                &[
                    "1:35: unknown restart sometimes (there are no, always, on-failure, unless-stopped)",
                ],
            ),
            (
                "service restart: \"on-failure:3\"",
                &[
                    "1:35: restart on-failure:3 is not supported (on-failure starts a program again as often as it fails; --lenient leaves it out)",
                ],
            ),
            (
                "service stop_signal: SIGX, stop_grace_period: 10",
                &[
                    "1:39: SIGX is no signal (write SIGTERM, SIGINT or a number)",
                    "1:64: stop_grace_period \"10\" is no time (write 1m30s, 10s or 500ms)",
                ],
            ),
            (
                "service user: \"a b\", working_dir: rel",
                &[
                    "1:32: user \"a b\" is no user (write user or user:group, by name or number)",
                    "1:52: rel is no absolute path (it begins with /)",
                ],
            ),
            (
                "service command: \"a 'b\"",
                &[
                    "1:35: a quote in command is not closed (a line is split into words, and there is no shell)",
                ],
            ),
            (
                "service healthcheck: {test: [RUN, x], interval: 10, retries: many}",
                &[
                    "1:47: a test does not begin with RUN (it begins with CMD, CMD-SHELL or NONE)",
                    "1:66: interval \"10\" is no time (write 1m30s, 10s or 500ms)",
                    "1:79: retries many is no whole number",
                ],
            ),
            ("service healthcheck: {test: [CMD]}", &["1:47: behind CMD stands what is run"]),
            (
                "service environment: [\"=x\"], env_file: [{required: true}]",
                &["1:40: \"\" is no name for a variable", "1:58: an env_file has no path"],
            ),
            (
                "service hostname: \"a b\", container_name: \"x y\"",
                &["1:36: \"a b\" is no name for a host", "1:59: \"x y\" is no name for a host"],
            ),
            (
                "service mac_address: \"01:00:00:00:00:00\"",
                &[
                    "1:39: 01:00:00:00:00:00 is no MAC address for an interface (a group address or 00:00:00:00:00:00 cannot be the MAC address of an interface)",
                ],
            ),
            (
                "service mac_address: \"02-42-AC-11-00-02\", networks: [default, n]",
                &[
                    "1:39: mac_address is of one network, and there are several (write it under the network)",
                    "1:80: unknown network n (there is only default)",
                ],
            ),
            (
                "service extra_hosts: [\"a\", \"b:x\", \"c:host-gateway\", \"d=1.2.3.4\"]",
                &[
                    "1:40: a is no host with address (write name=10.0.0.1)",
                    "1:45: b:x is no host with address (write name=10.0.0.1)",
                    "1:52: host-gateway is not supported (no node reaches the host; --lenient leaves it out)",
                ],
            ),
            ("service dns: [one], dns_search: [x.org]", &["1:32: dns one is no address"]),
            (
                "service dns_search: [x.org]",
                &[
                    "1:39: dns_search and dns_opt count only with dns (name the servers too; --lenient leaves it out)",
                ],
            ),
            (
                "service mem_limit: big, cpus: many, pids_limit: few",
                &[
                    "1:37: memory \"big\" is no size (write 64m, 1g or a number of bytes)",
                    "1:48: many is no limit (write 0.5 for half a processor, with at most three decimals)",
                    "1:66: pids few is no whole number",
                ],
            ),
            (
                "service deploy: {replicas: 3, resources: {limits: {memory: 1g}, reservations: {cpus: 1}}, restart_policy: {condition: any}}",
                &[
                    "1:45: replicas 3 is not supported (every service is one node: write it again under another name)",
                    "1:82: reservations is not supported (write limits; --lenient leaves it out)",
                    "1:108: restart_policy is not supported (write restart; --lenient leaves it out)",
                ],
            ),
            (
                "service scale: 2",
                &[
                    "1:33: scale 2 is not supported (every service is one node: write it again under another name)",
                ],
            ),
            (
                "service read_only: true, ulimits: {nofile: 1}, shm_size: 1g, pid: host, ipc: host",
                &[
                    "1:26: read_only is not supported (--lenient leaves it out)",
                    "1:43: ulimits is not supported (--lenient leaves it out)",
                    "1:65: shm_size is not supported (--lenient leaves it out)",
                    "1:79: pid is not supported (every node has its own; --lenient leaves it out)",
                    "1:90: ipc is not supported (every node has its own; --lenient leaves it out)",
                ],
            ),
            (
                "service platform: \"linux/\"",
                &["1:36: \"linux/\" is no platform (write linux/amd64 or linux/arm64)"],
            ),
            (
                "service links: [\"b:c\"]",
                &[
                    "1:34: the name c for b is not supported (write it as an alias of its network; --lenient leaves it out)",
                    "1:34: unknown service b (there is only a)",
                ],
            ),
            ("service extends: {file: base.yaml}", &["1:35: extends has no service"]),
            (
                "service labels: {a: b}, logging: {driver: none}, expose: [80], tty: true, stdin_open: true, init: true, pull_policy: always, x-more: 1",
                &[],
            ),
            (
                "service hostname: \"$(date)\"",
                &["1:36: a dollar with no variable behind it (write $$ for a dollar)"],
            ),
            (
                "service hostname: \"${NAME:?say which}\"",
                &[
                    "1:36: the variable NAME must be set: say which (write NAME=… before the command, or into .env)",
                ],
            ),
            ("service command: [a], command: [b]", &["1:40: the key command is there twice"]),
            (
                "services: {a: {image: \"x y\"}}",
                &[
                    "1:23: \"x y\" is no image: \"x y\" is no part of a name (each part is made of a-z and 0-9, with -, _ or . between them)",
                ],
            ),
            (
                "services: {a: {image: \"Debian:12\"}}",
                &["1:23: \"Debian:12\" is no image: \"Debian\" has capital letters (write debian)"],
            ),
            (
                "services: {a: {build: ../b}}",
                &[
                    "1:23: ../b leads out of its folder (what is built lies beside the Compose file or below it)",
                ],
            ),
            (
                "services: {a: {build: {dockerfile: /etc/x}}}",
                &[
                    "1:36: /etc/x leads out of its folder (what is built lies beside the Compose file or below it)",
                ],
            ),
            (
                "services: {a: {build: \"https://x/y.git\"}}",
                &[
                    "1:23: the context https://x/y.git is no folder (fetch it, and name the folder that it is in; --lenient leaves it out)",
                ],
            ),
            (
                "services: {a: {build: {ssh: [default], contxt: .}}}",
                &[
                    "1:24: ssh is not supported (--lenient leaves it out)",
                    "1:40: unknown key contxt in build (did you mean context?)",
                ],
            ),
            (
                "services: {a: {build: ., image: \"x y\"}}",
                &[
                    "1:33: \"x y\" is no image: \"x y\" is no part of a name (each part is made of a-z and 0-9, with -, _ or . between them)",
                ],
            ),
            (
                "services: {a: {build: ., image: x}, b: {build: b, image: x}}",
                &[
                    "1:37: the image x:latest is built in two ways (call one of them something else)",
                ],
            ),
            ("services: {a: *x}", &["1:15: this alias names no anchor above it"]),
        ],
        Files::mistakes,
    );
}

#[test]
fn what_people_should_know_is_a_warning() {
    assert_said(
        &[
            (
                "service network_mode: bridge, networks: [default]",
                &["1:40: network_mode counts for nothing beside networks (leave it out)"],
            ),
            (
                "services: {a: {image: x, networks: [n]}}\nnetworks: {n: {driver: ipvlan, driver_opts: {parent: eth0}}, m: {}}",
                &[
                    "2:24: a network with driver ipvlan is a macvlan segment here",
                    "2:46: parent counts for nothing: segments are the lab's own",
                    "2:62: no service joins the network m",
                ],
            ),
        ],
        Files::warnings,
    );
}

#[test]
fn what_is_not_supported_is_a_warning_where_that_is_asked_for() {
    assert_said(
        &[(
            "service ulimits: {nofile: 10}",
            &["1:26: ulimits is not supported (--lenient leaves it out)"],
        )],
        |files| files.lenient().warnings(),
    );
    let text = "services: {a: {image: x, privileged: true}}";
    assert_eq!(
        Files::of(text).privileged().warnings(),
        ["1:38: privileged gives no more rights than every node has: there is no privileged mode"]
    );
}
