//! The command from outside, as far as it does not touch the machine: what it prints where, and
//! how it ends.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod place;

use std::path::Path;

use place::{Place, Ran};

const LAB: &str = "name: small\nimage: host\nsegments: {lan: 10.0.0.0/24}\nnodes:\n  \
                   alice: {interfaces: {lan: 10.0.0.1}}\n  bob: {interfaces: {lan: 10.0.0.2}}\n";

const WRONG: &str = "segments: {lan: 10.0.0.0/24}\nnodes:\n  alice: {interfaces: {lam: 10.0.0.1}}\n  \
                     bob: {interfaces: {lan: 10.0.0.2}, gatway: 10.0.0.1}\n";

#[test]
fn a_lab_file_without_mistakes_is_found_by_file_by_folder_and_in_the_current_folder() {
    let place = Place::new("valid");
    place.write("lab.yaml", LAB);
    place.write("office/lab.yaml", LAB);
    for words in [&["validate"][..], &["validate", "lab.yaml"], &["validate", "office"]] {
        let ran = place.run(words);
        assert_eq!(ran.code, Some(0), "{}", ran.talk);
        assert!(ran.talk.contains("lab small has 2 nodes, 1 segment"), "{}", ran.talk);
        assert_eq!(ran.data, "");
    }
    assert_eq!(place.run(&["validate", "--quiet"]).talk, "");
}

#[test]
fn every_mistake_of_a_lab_file_is_shown_with_its_line_and_the_code_is_2() {
    let place = Place::new("wrong");
    place.write("lab.yaml", WRONG);
    for command in ["validate", "up", "plan", "inspect"] {
        let ran = place.run(&[command]);
        assert_eq!(ran.code, Some(2));
        assert!(ran.talk.contains("--> lab.yaml:3:24"), "{}", ran.talk);
        assert!(ran.talk.contains("hint: did you mean gateway?"), "{}", ran.talk);
        assert!(ran.talk.ends_with("error: 2 mistakes in lab.yaml; nothing was made\n"));
        assert_eq!(ran.data, "");
    }
    assert!(!place.0.join("data").exists(), "nothing is made");
}

#[test]
fn mistakes_are_json_for_programs() {
    let place = Place::new("json");
    place.write("lab.yaml", WRONG);
    let ran = place.run(&["validate", "--json"]);
    assert_eq!(ran.code, Some(2));
    let told: serde_json::Value = serde_json::from_str(&ran.data).unwrap();
    assert_eq!(told["problems"][0]["words"], "lam");
    assert_eq!(told["problems"][0]["place"]["line"], 3);
    assert_eq!(told["problems"][1]["hint"], "did you mean gateway?");
    assert_eq!(ran.talk, "");
}

#[test]
fn a_lab_that_is_not_found_is_told_with_all_three_ways_of_naming_one() {
    let place = Place::new("nowhere");
    for words in [&["up"][..], &["down"], &["status", "nope"], &["exec", "alice", "ls"]] {
        let ran = place.run(words);
        assert_eq!(ran.code, Some(2), "{words:?}");
        assert!(ran.talk.starts_with("error: "), "{}", ran.talk);
        for way in ["a lab file or its folder", "a lab that is up (none is)", "lab.yaml"] {
            assert!(ran.talk.contains(way), "{}", ran.talk);
        }
    }
}

#[test]
fn a_lab_that_is_not_up_is_told_so() {
    let place = Place::new("not-up");
    place.write("lab.yaml", LAB);
    for words in
        [&["ps"][..], &["exec", "alice", "ls"], &["shell", "alice"], &["logs", "alice"], &["check"]]
    {
        let ran = place.run(words);
        assert_eq!(ran.code, Some(2), "{words:?}: {}", ran.talk);
        assert!(ran.talk.starts_with("error: lab small is not up\n  hint: "), "{}", ran.talk);
    }
    let ran = place.run(&["status"]);
    assert_eq!((ran.code, ran.data.as_str()), (Some(1), "lab small is not up\n"));
}

#[test]
fn without_labs_lists_are_empty_and_that_is_fine() {
    let place = Place::new("empty");
    for words in [&["ls"][..], &["image", "ls"], &["down", "--all"]] {
        let ran = place.run(words);
        assert_eq!((ran.code, ran.data.as_str()), (Some(0), ""), "{words:?}: {}", ran.talk);
        assert!(!ran.talk.is_empty());
        let ran = place.run(&[words, &["--json"]].concat());
        assert_eq!((ran.code, ran.data.as_str()), (Some(0), "[]\n"), "{words:?}: {}", ran.talk);
    }
}

#[test]
fn errors_are_json_for_programs() {
    let place = Place::new("json-error");
    let ran = place.run(&["status", "nope", "--json"]);
    assert_eq!(ran.code, Some(2));
    let told: serde_json::Value = serde_json::from_str(&ran.data).unwrap();
    assert!(told["error"].as_str().unwrap().contains("nope"));
    assert!(told["hint"].is_string());
}

#[test]
fn a_wrong_command_line_has_the_code_2_and_help_has_0() {
    let place = Place::new("usage");
    for words in [&["nonsense"][..], &["up", "--timeout", "soon"], &["exec", "alice"], &[]] {
        assert_eq!(place.run(words).code, Some(2), "{words:?}");
    }
    for words in [&["--help"][..], &["up", "--help"], &["--version"]] {
        let ran = place.run(words);
        assert_eq!((ran.code, ran.talk.as_str()), (Some(0), ""), "{words:?}");
    }
}

#[test]
fn the_schema_is_one_json_document() {
    let place = Place::new("schema");
    let ran = place.run(&["schema"]);
    let schema: serde_json::Value = serde_json::from_str(&ran.data).unwrap();
    assert_eq!(schema["title"], "Netarium lab file");
    assert_eq!(ran.code, Some(0));
}

#[test]
fn there_are_completions_for_the_usual_shells() {
    let place = Place::new("completions");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = place.run(&["completions", shell]);
        assert_eq!(ran.code, Some(0));
        assert!(ran.data.contains("netarium"), "{shell}");
    }
}

#[test]
fn a_reader_that_has_gone_is_no_error() {
    let place = Place::new("pipe");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let ran: Ran = place.netarium(&["schema"]).stdout(writer).output().unwrap().into();
    assert_eq!((ran.code, ran.talk.as_str()), (Some(0), ""));
}

#[test]
fn colours_are_used_only_where_they_are_wanted() {
    let place = Place::new("colours");
    place.write("lab.yaml", WRONG);
    let has_colours = |ran: Ran| ran.talk.contains('\u{1b}');
    assert!(!has_colours(place.run(&["validate"])));
    assert!(has_colours(place.run(&["validate", "--color", "always"])));
    assert!(!has_colours(place.run(&["validate", "--color", "never"])));
}

#[test]
fn an_image_that_no_recipe_tells_how_to_build_is_refused_with_the_nearest_name() {
    let place = Place::new("recipe");
    let ran = place.run(&["image", "build", "bse"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.talk.contains("hint: did you mean base?"), "{}", ran.talk);
    let ran = place.run(&["image", "rm", "base"]);
    assert_eq!(ran.code, Some(2), "{}", ran.talk);
    assert!(!Path::new("base").exists());
}

#[test]
fn there_is_a_manual_page_for_each_command() {
    let place = Place::new("man");
    assert_eq!(place.run(&["man", "pages"]).code, Some(0));
    let page = |name: &str| std::fs::read_to_string(place.0.join("pages").join(name)).unwrap();
    assert!(page("netarium.1").contains("netarium\\-up(1)"), "{}", page("netarium.1"));
    assert!(page("netarium-image-build.1").contains("Build an image"));
}

#[test]
fn networks_of_every_shape_are_lab_files_without_mistakes() {
    let place = Place::new("generate");
    for shape in ["star", "ring", "tree", "clos", "random"] {
        let file = format!("{shape}.yaml");
        let ran = place.run(&["generate", shape, "--nodes", "20", "--output", &file]);
        assert_eq!((ran.code, ran.data.as_str()), (Some(0), ""), "{}", ran.talk);
        let valid = place.run(&["validate", &file]);
        assert_eq!(valid.code, Some(0), "{}", valid.talk);
        assert!(valid.talk.contains(&format!("lab {shape}-20 has 20 nodes")), "{}", valid.talk);
        let again = place.run(&["generate", shape, "--nodes", "20", "--output", &file]);
        assert_eq!(again.code, Some(2));
        assert!(again.talk.contains(&format!("{file} is there already")), "{}", again.talk);
    }
    let shown = place.run(&["generate", "random", "-n", "9", "--seed", "3", "--name", "mine"]);
    assert!(shown.data.contains("# netarium generate random --nodes 9 --seed 3\nname: mine\n"));
    let few = place.run(&["generate", "ring", "-n", "2"]);
    assert_eq!(few.code, Some(2));
    assert!(few.talk.contains("2 nodes are too few for this shape: it has at least 3"));
    let image = place.run(&["generate", "star", "-n", "2", "--image", "nobody has\nthis"]);
    assert_eq!(image.code, Some(2));
    assert!(image.talk.contains("no image"), "{}", image.talk);
}
