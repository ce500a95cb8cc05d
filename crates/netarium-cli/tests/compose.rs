//! Compose files from outside: how they are found and named, and what is said about them. Nothing is
//! brought up.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod place;

use place::Place;

const BASE: &str = "services:
  web:
    image: docker-daemon:web:1
    networks: {lan: {ipv4_address: 10.0.0.2}}
  tools:
    image: ${TOOLS:?name an image}
    profiles: [tools]
    networks: [lan]
networks: {lan: {ipam: {config: [{subnet: 10.0.0.0/24}]}}}
";

const OVER: &str = "services:
  web: {networks: {lan: {ipv4_address: 10.0.0.9}}}
  more: {image: 'docker-daemon:more:1', networks: [lan]}
";

fn model(place: &Place, words: &[&str]) -> serde_json::Value {
    let ran = place.run(&[&["inspect", "--json"], words].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.talk);
    let told: serde_json::Value = serde_json::from_str(&ran.data).unwrap();
    told["model"].clone()
}

#[test]
fn compose_files_are_merged_in_their_order_and_found_in_a_folder() {
    let place = Place::new("compose-merged");
    place.write("bed/compose.yaml", BASE);
    place.write("bed/more.yaml", OVER);
    place.write("bed/.env", "TOOLS=docker-daemon:tools:1\n");
    let found = model(&place, &["bed"]);
    assert_eq!(found["lab"], "bed");
    assert_eq!(found["nodes"].as_object().unwrap().len(), 1);
    let merged = model(&place, &["-f", "bed/compose.yaml", "-f", "bed/more.yaml"]);
    assert_eq!(merged["nodes"]["web"]["interfaces"][0]["addresses"][0], "10.0.0.9/24");
    assert_eq!(merged["nodes"].as_object().unwrap().len(), 2);
    place.write("bed/compose.override.yaml", OVER);
    assert_eq!(model(&place, &["bed"]), merged);
}

#[test]
fn a_profile_and_a_file_of_variables_count_when_they_are_named() {
    let place = Place::new("compose-profile");
    place.write("compose.yaml", BASE);
    place.write("lab.env", "TOOLS=docker-daemon:tools:2\nCOMPOSE_PROJECT_NAME=other\n");
    let ran = place.run(&["validate", "--profile", "tools"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.talk.contains("name an image"), "{}", ran.talk);
    assert!(ran.talk.contains("--> compose.yaml:6:12"), "{}", ran.talk);
    let named = model(&place, &["--profile", "tools", "--env-file", "lab.env"]);
    assert_eq!(named["lab"], "other");
    assert!(named["nodes"]["tools"]["image"].to_string().contains("tools:2"), "{named}");
}

#[test]
fn mistakes_of_several_files_are_shown_each_in_its_own() {
    let place = Place::new("compose-wrong");
    place.write("compose.yaml", BASE);
    place.write("over.yaml", "services:\n  web:\n    networks: {lam: {}}\n    comand: x\n");
    for command in ["validate", "up", "plan", "inspect"] {
        let ran = place.run(&[command, "-f", "compose.yaml", "-f", "over.yaml", "--lenient"]);
        assert_eq!(ran.code, Some(2), "{}", ran.talk);
        for words in [
            "--> over.yaml:3:16",
            "--> over.yaml:4:5",
            "did you mean lan?",
            "did you mean command?",
            "nothing was made",
        ] {
            assert!(ran.talk.contains(words), "{words} not in: {}", ran.talk);
        }
    }
    assert!(!place.0.join("data").exists(), "nothing is made");
}

#[test]
fn what_is_not_supported_is_a_mistake_or_a_warning_when_asked_for() {
    let place = Place::new("compose-lenient");
    place.write(
        "compose.yaml",
        "services: {web: {image: 'docker-daemon:web:1', ipc: host, shm_size: 1g}}\n",
    );
    let ran = place.run(&["validate"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.talk.contains("ipc is not supported"), "{}", ran.talk);
    assert!(ran.talk.ends_with("error: 2 mistakes in compose.yaml; nothing was made\n"));
    let ran = place.run(&["validate", "--lenient"]);
    assert_eq!(ran.code, Some(0));
    assert!(ran.talk.contains("warning: ipc is not supported"), "{}", ran.talk);
    assert!(ran.talk.contains("--> compose.yaml:1:48"), "{}", ran.talk);
}

#[test]
fn privileged_is_refused_unless_it_may_be_passed_over() {
    let place = Place::new("compose-privileged");
    place.write(
        "compose.yaml",
        "services: {web: {image: 'docker-daemon:web:1', privileged: true}}\n",
    );
    for words in [&["up"][..], &["up", "--lenient"]] {
        let ran = place.run(words);
        assert_eq!(ran.code, Some(2));
        assert!(ran.talk.contains("no node is privileged"), "{}", ran.talk);
        assert!(ran.talk.contains("--allow-privileged"), "{}", ran.talk);
    }
    let ran = place.run(&["validate", "--allow-privileged"]);
    assert_eq!(ran.code, Some(0));
    assert!(ran.talk.contains("warning: privileged gives no more rights"), "{}", ran.talk);
}

#[test]
fn what_would_be_built_is_said_and_without_docker_it_is_said_what_to_do() {
    let place = Place::new("compose-build");
    place.write("bed/compose.yaml", "services: {web: {build: parts}}\n");
    place.write("bed/parts/Dockerfile", "FROM scratch\n");
    let ran = place.run(&["validate", "bed"]);
    assert_eq!(ran.code, Some(0), "{}", ran.talk);
    assert!(ran.talk.contains("image bed-web:latest would be built by Docker"), "{}", ran.talk);
    let output = place.netarium(&["up", "bed"]).env("DOCKER_HOST", "unix:///not-there").output();
    let talk = String::from_utf8(output.unwrap().stderr).unwrap();
    for words in ["cannot build image bed-web:latest", "/not-there", "DOCKER_HOST"] {
        assert!(talk.contains(words), "{words} not in: {talk}");
    }
    for (build, place_of, words) in [
        ("../parts", "1:25", "leads out of its folder"),
        ("https://example.org/x.git", "1:25", "is no folder"),
        ("{context: ., dockerfil: x}", "1:38", "did you mean dockerfile?"),
        ("{ssh: [default]}", "1:26", "ssh is not supported"),
    ] {
        place.write("bed/compose.yaml", &format!("services: {{web: {{build: {build}}}}}\n"));
        let ran = place.run(&["validate", "bed"]);
        assert_eq!(ran.code, Some(2), "{build}");
        assert!(ran.talk.contains(words), "{words} not in: {}", ran.talk);
        assert!(ran.talk.contains(&format!("compose.yaml:{place_of}")), "{}", ran.talk);
    }
}
