//! A lab of a thousand nodes, which is never brought up: how long it takes to read, resolve and
//! plan it.

use std::fmt::Write;
use std::num::NonZeroU32;
use std::time::Instant;

use netarium_core::desired::desired;
use netarium_core::feature::{Feature, Features};
use netarium_core::image::Images;
use netarium_core::object::Objects;
use netarium_core::plan::diff;
use netarium_core::resolve::load;
use netarium_core::uplink::Outside;

use super::report::{Figure, THOUSAND_BAR, Unit};

/// Offices on the backbone; each has a gateway, and hosts that fill up the thousand.
const OFFICES: u32 = 50;

/// Nodes in an office, its gateway among them.
const NODES: u32 = 20;

/// Reads, resolves and plans a lab of a thousand nodes, as `netarium plan` does.
pub fn thousand_nodes(runs: NonZeroU32) -> Figure {
    let text = text();
    let features: Features = Feature::ALL.into_iter().collect();
    let millis = (0..runs.get()).map(|_| {
        let began = Instant::now();
        let model = load(text.as_bytes(), "thousand").expect("this lab has no mistakes");
        let goal = desired(&model, &features, &Outside::default(), &Images::new())
            .expect("all features are there")
            .objects;
        let steps = diff(&goal, &Objects::default());
        let took = began.elapsed();
        assert_eq!(steps.len(), goal.len(), "nothing is there, so each object is one step");
        took.as_secs_f64() * 1e3
    });
    let what = "reading, resolving and planning 1,000 nodes";
    Figure::of(what, Unit::Milliseconds, Some(THOUSAND_BAR), millis.collect())
}

/// The lab file: every office a segment of its own, and each gateway knows the way to all others.
fn text() -> String {
    let mut segments = String::from("segments:\n  backbone: 172.16.0.0/16\n");
    let mut nodes = String::from("nodes:\n");
    for office in 0..OFFICES {
        let write = |text: &mut String, line: std::fmt::Arguments<'_>| {
            text.write_fmt(line).expect("text can always be added to text");
        };
        write(&mut segments, format_args!("  office-{office}: 10.{office}.0.0/16\n"));
        let ends = format!("office-{office}: 10.{office}.0.1, backbone: 172.16.1.{office}");
        let routes: Vec<String> = (0..OFFICES)
            .filter(|other| *other != office)
            .map(|other| format!("{{to: 10.{other}.0.0/16, via: 172.16.1.{other}}}"))
            .collect();
        let routes = routes.join(", ");
        write(
            &mut nodes,
            format_args!(
                "  gateway-{office}: {{forward: true, interfaces: {{{ends}}}, routes: [{routes}]}}\n"
            ),
        );
        for host in 1..NODES {
            let interface = format!("office-{office}: 10.{office}.1.{host}");
            let gateway = format!("gateway: 10.{office}.0.1");
            let line = format!("host-{office}-{host}: {{interfaces: {{{interface}}}, {gateway}}}");
            write(&mut nodes, format_args!("  {line}\n"));
        }
    }
    segments + &nodes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_nodes_are_a_thousand() {
        let model = load(text().as_bytes(), "thousand").unwrap();
        assert_eq!(model.nodes.len(), 1000);
        assert_eq!(model.nodes.len() as u32, OFFICES * NODES);
    }
}
