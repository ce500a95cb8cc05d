//! Examines a machine: what of Netarium works here, what works another way, what is missing and
//! what to do about it.
//!
//! Findings are plain values; how they are shown is for others to decide. Nothing of a lab is made
//! or changed. The kernel is asked anew, and its answers are remembered for the labs that follow.
//!
//! [`kernel`] judges what the kernel answered, [`owner`] what the user who asks may do, [`machine`]
//! the programs, the disk and the limits of the system, [`docker`] the other engine.

mod docker;
mod kernel;
mod machine;
mod owner;
mod trial;

use serde::{Deserialize, Serialize};

use crate::folder::DataFolder;

/// One thing that was examined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What it is.
    pub name: String,
    /// How it is.
    #[serde(flatten)]
    pub state: State,
    /// What was seen: a figure, or the kernel's own words.
    pub detail: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// How a thing is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", content = "fallback", rename_all = "lowercase")]
pub enum State {
    /// It is there.
    Present,
    /// It is not there, and this is done instead.
    Fallback(String),
    /// It is not there, and most labs need it.
    Missing,
    /// It is not there for this user, and few need it.
    Absent,
    /// Some labs will not work, or not as they should.
    Warning,
}

impl Finding {
    fn present(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::of(name, State::Present, detail)
    }

    fn of(name: impl Into<String>, state: State, detail: impl Into<String>) -> Self {
        Self { name: name.into(), state, detail: detail.into(), hint: None }
    }

    fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

/// Examines this machine for the user who runs this process. What cannot be examined is a finding
/// too.
pub async fn examine(data: &DataFolder) -> Vec<Finding> {
    let (asked, mut findings) = trial::ask_kernel(data).await;
    let mut all = owner::user_namespaces(&asked);
    all.push(owner::ids());
    if let Ok(answers) = &asked {
        all.extend(kernel::judge(answers));
    }
    all.push(kernel::seccomp());
    all.extend(owner::cgroups());
    all.push(machine::tun());
    all.extend(machine::programs());
    all.push(docker::engine().await);
    all.push(machine::disk(data.path()));
    all.append(&mut findings);
    all.extend(machine::limits());
    all.extend(machine::neighbours());
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_a_flat_object_for_programs() {
        let state = State::Fallback("a veth pair".to_owned());
        let finding = Finding::of("dummy", state, "not supported").hint("modprobe dummy");
        let json = serde_json::to_string(&finding).unwrap();
        assert_eq!(
            json,
            "{\"name\":\"dummy\",\"state\":\"fallback\",\"fallback\":\"a veth pair\",\
             \"detail\":\"not supported\",\"hint\":\"modprobe dummy\"}"
        );
        assert_eq!(serde_json::from_str::<Finding>(&json).unwrap(), finding);
        let json = serde_json::to_string(&Finding::present("veth", "works")).unwrap();
        assert_eq!(json, r#"{"name":"veth","state":"present","detail":"works","hint":null}"#);
    }
}
