//! The steps from what is there to what must be there.
//!
//! [`diff`] is `up` and every later change, `plan`, and `status` (no steps: healthy). With nothing
//! desired it is the one step of removing the lab, which is what `down` does without looking. It asks
//! nobody and decides everything.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ipsec;
use crate::model::Auth;
use crate::object::{Encryption, Id, Interface, Object, Objects, Port};
use crate::uplink;
use crate::wireguard;

/// One thing to do. It names everything that is needed to do it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// Take away what is there, and with it everything that it carries.
    Remove(Object),
    /// Make what is not there.
    Create(Object),
    /// Change what is there into this, in place.
    Replace(Object),
}

impl Step {
    /// The object that the step is about.
    pub fn object(&self) -> &Object {
        match self {
            Self::Remove(object) | Self::Create(object) | Self::Replace(object) => object,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self {
            Self::Remove(_) => "remove",
            Self::Create(_) => "create",
            Self::Replace(_) => "replace",
        };
        write!(f, "{word} {}", self.object().id())
    }
}

/// The steps that turn `observed` into `desired`: removals in the reverse order of creation, then
/// everything else in the order of creation.
///
/// What stands on an object that is made anew, changed or missing is made anew too. What is carried
/// away by the removal of another object is not removed by a step of its own.
pub fn diff(desired: &Objects, observed: &Objects) -> Vec<Step> {
    let gone = gone(desired, observed);
    let removals = observed
        .iter()
        .rev()
        .filter(|(id, object)| gone.contains(id) && !is_carried_away(object, &gone))
        .map(|(_, object)| Step::Remove(object.clone()));
    let additions = desired.iter().filter_map(|(id, wanted)| {
        match observed.get(id).filter(|_| !gone.contains(id)) {
            None => Some(Step::Create(wanted.clone())),
            Some(present) if present == wanted => None,
            Some(_) => Some(Step::Replace(wanted.clone())),
        }
    });
    removals.chain(additions).collect()
}

/// Brings `objects` up to date with a step that has been done: the record of a lab is kept so.
pub fn record(objects: &mut Objects, step: &Step) {
    match step {
        Step::Create(object) | Step::Replace(object) => objects.insert(object.clone()),
        Step::Remove(object) => {
            let mut gone = BTreeSet::from([object.id()]);
            for (id, carried) in objects.iter() {
                let carriers = carriers(carried);
                let is_gone = |carrier: &Id| gone.contains(carrier) || !objects.contains(carrier);
                if !carriers.is_empty() && carriers.iter().all(is_gone) {
                    gone.insert(id.clone());
                }
            }
            gone.iter().for_each(|id| drop(objects.remove(id)));
        }
    }
}

/// What of `observed` cannot stay. One pass is enough: in the order of creation an object comes
/// after everything that it stands on.
fn gone<'a>(desired: &Objects, observed: &'a Objects) -> BTreeSet<&'a Id> {
    let mut gone = BTreeSet::new();
    for (id, present) in observed.iter() {
        let lasts = |base: &Id| !gone.contains(base) && is_unchanged(base, desired, observed);
        let supports = supports(present, observed);
        let stays = desired.get(id).is_some_and(|wanted| {
            (present == wanted || can_change_in_place(wanted))
                && bases(wanted, desired).iter().chain(&bases(present, observed)).all(lasts)
                && (supports.is_empty() || supports.iter().any(lasts))
        });
        if !stays {
            gone.insert(id);
        }
    }
    gone
}

fn is_unchanged(id: &Id, desired: &Objects, observed: &Objects) -> bool {
    observed.get(id).is_some_and(|present| desired.get(id) == Some(present))
}

fn is_carried_away(object: &Object, gone: &BTreeSet<&Id>) -> bool {
    let carriers = carriers(object);
    !carriers.is_empty() && carriers.iter().all(|id| gone.contains(id))
}

/// Whether one request of the kernel, one transaction or one rename changes the object without a gap.
fn can_change_in_place(object: &Object) -> bool {
    matches!(
        object,
        // Of an end of a cable all but its state is the cable's.
        Object::Interface(Interface { port: Port::End, .. })
            | Object::Sysctl(_)
            | Object::Firewall(_)
            | Object::InterfaceSysctl(_)
            | Object::Route(_)
            | Object::File(_)
            | Object::WireguardConf(_)
    )
}

/// What an object stands on. Some of it shows only beside the others of the same set.
fn bases(object: &Object, all: &Objects) -> Vec<Id> {
    let mut bases = carriers(object);
    match object {
        Object::Segment(it) => {
            bases.extend(it.ends.iter().map(|end| Id::Node(end.node.clone())));
        }
        Object::Interface(it) => bases.push(Id::Segment(it.segment.clone())),
        Object::Uplink(_) => bases.extend(uplink::segment().map(Id::Segment)),
        Object::Credential(_) => bases.push(Id::Authority),
        Object::Service(it) => {
            bases.extend(it.reads.iter().map(|path| Id::File(it.node.clone(), path.clone())));
        }
        Object::WireguardConf(it) => {
            bases.push(Id::Interface(it.node.clone(), it.interface.clone()));
            bases.extend([Id::Key(it.node.clone()), Id::Key(it.peer.clone())]);
            bases.extend(it.shared.iter().cloned().map(Id::SharedKey));
        }
        Object::Tunnel(it) => {
            for end in it.tunnel.ends() {
                if let Some(wireguard) = it.tunnel.wireguard() {
                    let path = wireguard::conf_path(&wireguard.interface);
                    bases.push(Id::File(end.node.clone(), path));
                    if it.encryption == Encryption::Userspace {
                        bases.push(Id::Service(end.node.clone(), wireguard::service_name()));
                    }
                }
                if let Some(ipsec) = it.tunnel.ipsec() {
                    bases.push(match ipsec.auth {
                        Auth::Certificate => Id::Credential(end.node.clone()),
                        Auth::Psk(_) => Id::Secret(end.node.clone(), it.tunnel.name.clone()),
                    });
                    bases.push(Id::Service(end.node.clone(), ipsec::service_name()));
                }
                bases.extend(all.address_of(&end.node, end.address));
            }
        }
        _ => {}
    }
    bases
}

/// Of these an object needs one, if there was any: a route must not vanish for a moment because its
/// interface gets or loses one address of several towards its gateway.
fn supports(object: &Object, all: &Objects) -> Vec<Id> {
    match object {
        Object::Route(it) => all.addresses_towards(&it.node, &it.via).collect(),
        _ => vec![],
    }
}

/// The objects that take this one along when all of them are removed.
fn carriers(object: &Object) -> Vec<Id> {
    match object {
        Object::Lab(_) => vec![],
        Object::Authority(_) | Object::Segment(_) | Object::Uplink(_) | Object::Node(_) => {
            vec![Id::Lab]
        }
        Object::Sysctl(it) => vec![Id::Node(it.node.clone())],
        Object::Firewall(it) => vec![Id::Node(it.node.clone())],
        Object::Interface(it) => vec![Id::Node(it.node.clone())],
        Object::TunnelInterface(it) => vec![Id::Node(it.node.clone())],
        Object::Key(_) | Object::SharedKey(_) => vec![Id::Lab],
        Object::WireguardConf(it) => vec![Id::Node(it.node.clone())],
        Object::InterfaceSysctl(it) => {
            vec![Id::Interface(it.node.clone(), it.interface.clone())]
        }
        Object::Address(it) => vec![Id::Interface(it.node.clone(), it.interface.clone())],
        Object::Route(it) => vec![match it.via.interface() {
            Some(interface) => Id::Interface(it.node.clone(), interface.clone()),
            None => Id::Node(it.node.clone()),
        }],
        Object::Credential(it) => vec![Id::Node(it.node.clone())],
        Object::Secret(it) => vec![Id::Node(it.node.clone())],
        Object::File(it) => vec![Id::Node(it.node.clone())],
        Object::Init(it) => vec![Id::Node(it.node.clone())],
        Object::Service(it) => vec![Id::Init(it.node.clone())],
        Object::Tunnel(it) => it.tunnel.ends().map(|end| Id::Init(end.node.clone())).to_vec(),
    }
}

#[cfg(test)]
mod tests;
