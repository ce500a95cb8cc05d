//! Several files, variables, profiles, and services that extend others.

use netarium_core::model::{Condition, Via};

use super::Files;

fn environment(files: Files, node: &str) -> Vec<String> {
    let model = files.model();
    let node = model.nodes.iter().find(|(name, _)| name.as_str() == node).unwrap().1;
    let main = node.main.as_ref().unwrap();
    main.environment.iter().map(|(name, value)| format!("{name}={value}")).collect()
}

#[test]
fn a_later_file_goes_over_an_earlier_one() {
    let base = "services: {a: {image: x, command: [one, two], environment: [A=1, B=2], \
                cap_add: [NET_ADMIN], ports: [\"8080:80\"], volumes: [\"./a:/data\"]}}";
    let over = "services: {a: {image: y, command: three, environment: {B: 3, C: 4}, \
                ports: [\"8080:80\", \"8443:443\"], volumes: [\"./b:/data\", \"./c:/more\"]}, b: {image: z}}";
    let model = Files::of(base).over(over).model();
    let (_, node) = model.nodes.first_key_value().unwrap();
    let main = node.main.as_ref().unwrap();
    assert_eq!(node.image.title(), "y:latest");
    assert_eq!(main.command.as_deref(), Some(["three".to_owned()].as_slice()));
    let environment: Vec<_> = main.environment.values().map(String::as_str).collect();
    assert_eq!(environment, ["1", "3", "4"]);
    assert_eq!(model.uplink.as_ref().unwrap().published.len(), 2);
    let targets: Vec<_> = node.volumes.iter().map(|it| it.target.as_str()).collect();
    assert_eq!(targets, ["/data", "/more"]);
    assert_eq!(model.nodes.len(), 2);
}

#[test]
fn a_mistake_in_a_later_file_has_its_place_there() {
    let said =
        Files::of("services: {a: {image: x}}").over("services:\n  a: {imagee: y}\n").mistakes();
    assert_eq!(said, ["1:2:7: unknown key imagee in a service (did you mean image?)"]);
}

#[test]
fn variables_come_from_the_caller_before_files() {
    let text = "services: {a: {image: x, environment: [\"A=${A}\", \"B=${B:-none}\", C, D, E=]}}";
    let files = Files::of(text).dotenv("A=file\nC=file\n").variable("A", "caller");
    assert_eq!(environment(files, "a"), ["A=caller", "B=none", "C=file", "E="]);
}

#[test]
fn an_unset_variable_is_a_warning() {
    let said = Files::of("services: {a: {image: x, hostname: \"h${A}\"}}").warnings();
    assert_eq!(said, ["1:36: the variable A is not set: it counts as empty"]);
}

#[test]
fn files_of_variables_are_under_the_environment() {
    let text = "services: {a: {image: x, env_file: [./one.env, {path: no.env, required: false}], \
                environment: {B: own}}}";
    let files = Files::of(text).beside("./one.env", "A=$X\nB=file\n").variable("X", "x");
    assert_eq!(environment(files, "a"), ["A=x", "B=own"]);
    let said = Files::of("services: {a: {image: x, env_file: no.env}}").mistakes();
    assert_eq!(said, ["1:36: cannot read no.env: there is no such file"]);
}

#[test]
fn a_service_extends_another_of_a_file_beside() {
    let text = "services: {a: {extends: {service: base, file: common/base.yaml}, command: run}}";
    let base = "services: {base: {extends: root, env_file: x.env, volumes: [\"./data:/data\"]}, \
                root: {image: x, command: [one], environment: {A: 1}}}";
    let files =
        Files::of(text).beside("./common/base.yaml", base).beside("./common/x.env", "B=2\n");
    assert_eq!(environment(files.clone(), "a"), ["A=1", "B=2"]);
    let model = files.model();
    let (_, node) = model.nodes.first_key_value().unwrap();
    let json = serde_json::to_value(&node.volumes).unwrap();
    assert_eq!(json[0]["source"]["host"]["path"], "./common/data");
}

#[test]
fn what_extends_itself_is_told() {
    let said = Files::of("services: {a: {extends: b}, b: {extends: a}}").mistakes();
    assert_eq!(said[0], "1:15: the service a has neither image nor build");
    assert!(said.contains(&"1:42: a extends itself".to_owned()), "{said:#?}");
    let said = Files::of("services: {a: {image: x, extends: bb}, b: {image: x}}").mistakes();
    assert_eq!(said, ["1:35: unknown service bb (there are a, b)"]);
}

#[test]
fn services_of_profiles_are_there_when_asked_for() {
    let text = "services: {a: {image: x}, b: {image: x, profiles: [more]}}";
    let count = |files: Files| files.model().nodes.len();
    assert_eq!(count(Files::of(text)), 1);
    assert_eq!(count(Files::of(text).profile("more")), 2);
    assert_eq!(count(Files::of(text).profile("*")), 2);
    assert_eq!(count(Files::of(text).variable("COMPOSE_PROFILES", "x,more")), 2);
    let said = Files::of("services: {b: {image: x, profiles: more}}").mistakes();
    assert_eq!(said, ["1:36: profiles must be a list, not one value (write [one, two])"]);
}

#[test]
fn a_project_has_a_name() {
    let text = "name: My_Lab\nservices: {a: {image: x}}";
    assert_eq!(Files::of(text).model().lab.as_str(), "my-lab");
    let files = Files::of(text).dotenv("COMPOSE_PROJECT_NAME=other\n");
    assert_eq!(files.model().lab.as_str(), "other");
    assert_eq!(Files::of("services: {a: {image: x}}").model().lab.as_str(), "test");
}

#[test]
fn anchors_and_extensions_are_known_everywhere() {
    let text = "x-base: &base {image: x, cap_add: [NET_ADMIN], x-note: y}\n\
                services: {a: {<<: *base, hostname: q}, b: {<<: *base, depends_on: [a]}}\n";
    let model = Files::of(text).model();
    let (_, b) = model.nodes.last_key_value().unwrap();
    assert_eq!(b.after.values().collect::<Vec<_>>(), [&Condition::Started]);
    assert!(b.routes.iter().all(|it| matches!(it.via, Via::Gateway { .. })));
}

#[test]
fn what_is_built_is_merged_and_takes_variables_of_the_caller() {
    let text = "services:\n  a: {build: ./a}\n  b: {build: {context: b, args: [X=1, Y], \
                target: t, labels: {c: d}}, image: \"B:${TAG}\", platform: linux/arm64}";
    let over = "services: {a: {build: {args: {Z: 2}}}, b: {build: {dockerfile: x/y}, image: b}}";
    let files = Files::of(text).over(over).variable("Y", "2").variable("TAG", "3");
    let builds = serde_json::to_value(&files.model().builds).unwrap();
    let expected = serde_json::json!({
        "b:latest": {
            "context": "./b",
            "dockerfile": "x/y",
            "args": {"X": "1", "Y": "2"},
            "target": "t",
            "platform": "linux/arm64",
        },
        "test-a:latest": {"context": "./a", "dockerfile": "Dockerfile", "args": {"Z": "2"}},
    });
    assert_eq!(builds, expected);
}

#[test]
fn a_node_is_made_anew_for_what_it_begins_with_and_not_for_its_files() {
    use netarium_core::desired::desired;
    use netarium_core::feature::Feature;
    use netarium_core::image::Images;
    use netarium_core::name::Name;
    use netarium_core::object::{Id, Object};
    use netarium_core::uplink::Outside;

    let begins = |text: &str| {
        let features = Feature::ALL.into_iter().collect();
        let model = Files::of(text).model();
        let made = desired(&model, &features, &Outside::default(), &Images::new()).unwrap();
        match made.objects.get(&Id::Node(Name::new("a").unwrap())) {
            Some(Object::Node(node)) => node.begins_with.clone().unwrap(),
            other => panic!("{other:?}"),
        }
    };
    let text = "services:\n  a: {image: x, command: one, networks: {n: {ipv4_address: 10.0.0.2}}}\n\
                networks: {n: {internal: true, ipam: {config: [{subnet: 10.0.0.0/24}]}}}";
    let with = text.replacen("services:\n", "services:\n  b: {image: x, networks: [n]}\n", 1);
    assert_eq!(begins(text), begins(&with), "its /etc/hosts is another one");
    for (word, instead) in
        [("one", "two"), ("10.0.0.2", "10.0.0.3"), ("x,", "x, sysctls: [net.core.somaxconn=9],")]
    {
        assert_ne!(begins(text), begins(&text.replacen(word, instead, 1)), "{instead}");
    }
}
