//! An order of the networks in which every node's interfaces have the numbers that the lab file says.

use std::collections::{BTreeMap, BTreeSet};

use super::{Limit, segments};
use crate::model::{Interface, Model};
use crate::name::Name;

/// The place of each segment in the order.
///
/// # Errors
/// If two nodes want two segments in opposite orders, directly or by way of others.
pub(super) fn ranks(model: &Model) -> Result<BTreeMap<Name, usize>, Limit> {
    // What comes before each, by some node.
    let mut before: BTreeMap<&Name, BTreeSet<&Name>> =
        segments(model).map(|(name, _)| (name, BTreeSet::new())).collect();
    for node in model.nodes.values() {
        let on: Vec<&Interface> =
            node.interfaces.iter().filter(|it| !model.is_way_out(&it.segment)).collect();
        for pair in on.windows(2) {
            if pair[0].segment != pair[1].segment {
                before.entry(&pair[1].segment).or_default().insert(&pair[0].segment);
            }
        }
    }
    let mut ranks = BTreeMap::new();
    while !before.is_empty() {
        let next = before.iter().find(|(_, others)| others.is_empty()).map(|(name, _)| *name);
        let Some(next) = next else {
            return Err(Limit::no_order(before.keys().copied()));
        };
        before.remove(next);
        before.values_mut().for_each(|others| {
            others.remove(next);
        });
        ranks.insert(next.clone(), ranks.len());
    }
    Ok(ranks)
}
