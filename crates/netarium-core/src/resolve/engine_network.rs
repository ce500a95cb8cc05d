//! Whether an engine's own networks can be the segments of a lab that asks for them.

use crate::engine_network::{Limit, Subject, networks};
use crate::model::{Model, Network};
use crate::problem::{Place, Problem, Problems};
use crate::spec::Spec;

/// Says all that they cannot be, each at its place.
pub(super) fn check(spec: &Spec, model: &Model, problems: &mut Problems) {
    if model.network != Network::Engine {
        return;
    }
    let Err(limits) = networks(model) else { return };
    for limit in limits {
        let place = place(spec, &limit);
        let Limit { message, hint, .. } = limit;
        let problem = Problem::new(message).hint(hint);
        problems.add(match place {
            Some(place) => problem.at(place),
            None => problem,
        });
    }
}

fn place(spec: &Spec, limit: &Limit) -> Option<Place> {
    match &limit.subject {
        Subject::Segment(name) => {
            let written = spec.segments.iter().find(|(word, _)| word.value == name.as_str());
            written.map(|(word, _)| word.place)
        }
        Subject::Interface(node, index) => {
            let written = spec.nodes.iter().find(|(word, _)| word.value == node.as_str());
            let interface = written?.1.as_ref()?.interfaces.get(*index)?;
            let name = interface.name.as_ref().map(|word| word.place);
            Some(name.unwrap_or(interface.segment.place))
        }
    }
}
