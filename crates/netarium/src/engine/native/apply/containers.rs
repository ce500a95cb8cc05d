//! Nodes that another engine makes: the caller tells it to, since a worker has no conversation with it,
//! and the worker prepares, opens and forgets them.

use std::collections::BTreeSet;

use netarium_core::control::Request;
use netarium_core::name::Name;
use netarium_core::object::{self, Object};
use netarium_core::plan::Step;

use super::nodes::create_folder;
use super::{Apply, Result, StepError, failed, remove_all};
use crate::engine::docker::prepare;
use crate::engine::native::node::RunningNode;
use crate::engine::native::worker::{Answer, gone};
use crate::failure::Failure;
use crate::linux::stage::Call;

impl Apply<'_> {
    /// Has the caller make containers, side by side, and prepares them.
    pub(super) fn prepare_nodes(
        &mut self,
        nodes: &[(usize, &Step, &object::Node)],
        call: &Call,
    ) -> std::result::Result<(), Failure> {
        for (_, step, node) in nodes {
            self.lay_out(&node.name).map_err(|error| failed(step, &error))?;
        }
        let numbers = nodes.iter().map(|(number, ..)| *number).collect();
        call.answer(&Answer::Wanted(numbers)).map_err(|error| gone(&error))?;
        call.wait_for_word().map_err(|error| gone(&error))?;
        for (number, step, node) in nodes {
            self.prepare_node(node).map_err(|error| failed(step, &error))?;
            self.done(*number, step, call)?;
        }
        Ok(())
    }

    /// Makes the folders that a container shares with us.
    fn lay_out(&self, node: &Name) -> Result<()> {
        let folder = self.order.folder.node(node);
        let remove = |source| StepError::Remove { path: folder.path().to_owned(), source };
        remove_all(folder.path()).map_err(remove)?;
        for path in [folder.gate(), folder.logs()] {
            create_folder(&path).map_err(|source| StepError::Write { path, source })?;
        }
        Ok(())
    }

    fn prepare_node(&mut self, node: &object::Node) -> Result<()> {
        let mut running = RunningNode::find(&self.order.folder, &node.name)?;
        prepare::prepare(running.process.pid, node, &self.order.volumes)?;
        let loopback = running.netlink().index("lo")?;
        running.netlink().set_up(loopback)?;
        self.nodes.insert(node.name.clone(), running);
        Ok(())
    }

    /// Prepares those nodes that the engine has started again, before anything is done with them: only
    /// their first process is new.
    pub(super) fn prepare_restarted(&mut self, steps: &[Step]) -> std::result::Result<(), Failure> {
        let node_of = |step: &Step| match step {
            Step::Create(Object::Node(it)) => Some(it.name.clone()),
            _ => None,
        };
        let new: BTreeSet<Name> = steps.iter().filter_map(node_of).collect();
        let mut made = None;
        for step in steps {
            let Step::Create(Object::Init(it)) = step else { continue };
            if new.contains(&it.node) {
                continue;
            }
            let error = |error: prepare::PrepareError| failed(step, &error.into());
            let made = match &made {
                Some(made) => made,
                None => made.insert(prepare::made(&self.order.folder).map_err(error)?),
            };
            if let Some(node) = made.get(&it.node) {
                self.prepare_node(node).map_err(|error| failed(step, &error))?;
            }
        }
        Ok(())
    }

    /// Lets services and programs start in nodes that are wired.
    pub(super) fn open_nodes(
        &mut self,
        inits: &[(usize, &Step, &object::Init)],
        call: &Call,
    ) -> std::result::Result<(), Failure> {
        for (number, step, init) in inits {
            let opened = self.node(&init.node).and_then(|node| {
                node.control()?.ask(&Request::Open)?;
                Ok(())
            });
            opened.map_err(|error| failed(step, &error))?;
            self.done(*number, step, call)?;
        }
        Ok(())
    }

    /// Has the caller remove the container of a node that was killed.
    pub(super) fn let_go(node: &Name, call: &Call) -> std::result::Result<(), Failure> {
        call.answer(&Answer::Unwanted(vec![node.clone()])).map_err(|error| gone(&error))?;
        call.wait_for_word().map_err(|error| gone(&error))
    }
}
