//! Labs whose nodes another engine makes: which engine that is, its containers and images, and who
//! watches over them.

use std::collections::BTreeMap;
use std::fs::{self, File};

use netarium_core::model::{Engine, Model};
use netarium_core::name::Name;
use netarium_core::object::{self, Id, ImageRef, Object};
use netarium_core::plan::Step;
use rustix::fs::FlockOperation;

use super::given;
use super::{AfterFailure, Lab, LabError, Result, State, UpOptions};
use crate::engine::docker::client::{Client, Place};
use crate::engine::docker::containers::Containers;
use crate::engine::docker::error::EngineError;
use crate::engine::docker::images::{self, Store};
use crate::engine::docker::networks::{self, Recorded};
use crate::engine::docker::watcher;
use crate::event::Report;
use crate::failure::Failure;
use crate::node_program;

/// An engine that is not ours.
pub(super) struct OtherEngine {
    client: Client,
    /// How it calls the images of nodes.
    images: BTreeMap<String, String>,
    /// Nobody removes them meanwhile.
    _lock: File,
}

impl Lab {
    /// What makes the nodes of the lab: of one that is up, or was and left something, what is on record.
    pub fn engine(&self) -> Option<Engine> {
        self.record().map(|record| record.engine)
    }

    /// What is to make the nodes of a lab that is to be brought up.
    ///
    /// # Errors
    /// If the lab is up on another.
    pub(super) fn engine_for(&self, model: &Model) -> Result<Engine> {
        let is = self.engine().filter(|_| self.state() == State::Up);
        match (is, model.engine) {
            (Some(is), Some(wanted)) if is != wanted => {
                Err(LabError::OtherEngine { lab: self.name.clone(), is, wanted })
            }
            (Some(is), _) => Ok(is),
            (None, wanted) => Ok(wanted.unwrap_or_default()),
        }
    }

    /// Where the other engine of the lab is: on record, else as the environment says.
    pub(super) fn place(&self) -> Place {
        self.record().and_then(|record| record.place).unwrap_or_else(Place::of_caller)
    }

    pub(super) async fn client(&self) -> Result<Client> {
        Ok(Client::connect(&self.place()).await?)
    }

    pub(super) fn containers<'a>(&'a self, client: &'a Client) -> Containers<'a> {
        let data = self.data.path().to_owned();
        Containers { client, lab: &self.name, data, folder: &self.folder }
    }

    /// The engine that is to do these steps, if it is another's, with the images that it needs for them.
    pub(super) async fn other_engine(
        &self,
        steps: &[Step],
        report: Report<'_>,
    ) -> Result<Option<OtherEngine>> {
        if self.engine() != Some(Engine::Docker) {
            return Ok(None);
        }
        let client = self.client().await?;
        let wanted: Vec<&ImageRef> = steps
            .iter()
            .filter_map(|step| match step {
                Step::Create(Object::Node(node)) => Some(&node.image),
                _ => None,
            })
            .collect();
        let folder = self.data.images();
        let store = Store { images: &folder, lock: self.data.images_lock() };
        let lock = given::lock(&self.data, FlockOperation::LockShared).await?;
        let images = images::provide(&client, &wanted, &store, report).await?;
        self.networks(&client).make(steps).await?;
        Ok(Some(OtherEngine { client, images, _lock: lock }))
    }

    /// Makes the containers of the steps with these numbers.
    pub(super) async fn make_containers(
        &self,
        OtherEngine { client, images, .. }: &OtherEngine,
        steps: &[Step],
        numbers: &[usize],
    ) -> Result<()> {
        let node = |number: &usize| match steps.get(*number) {
            Some(Step::Create(Object::Node(node))) => Some(node),
            _ => None,
        };
        let nodes: Vec<&object::Node> = numbers.iter().filter_map(node).collect();
        let programs = self.lay_down()?;
        let endpoints = networks::endpoints(&self.name, steps, &self.recorded_networks());
        let made = self.containers(client).make(&nodes, &programs, images, &endpoints).await;
        made.map_err(|not_made| {
            let step = nodes.iter().find(|node| node.name == not_made.node);
            let what = step.map_or_else(String::new, |node| {
                format!("cannot {}", Step::Create(Object::Node((*node).clone())))
            });
            let hint = not_made.error.hint();
            LabError::Step(Failure::of(&not_made.error).while_doing(what).with_hint(hint))
        })
    }

    pub(super) async fn remove_containers(
        &self,
        engine: &OtherEngine,
        nodes: &[Name],
    ) -> Result<()> {
        Ok(self.containers(&engine.client).remove(nodes).await?)
    }

    /// Removes all containers of the lab, and ends who watches over them. Says whether there were any.
    ///
    /// A lab whose record was lost may have been one of an engine that answers where the environment says;
    /// that there is none is then no error.
    pub(super) async fn clear_containers(&self) -> Result<bool> {
        let engine = self.engine();
        if engine == Some(Engine::Native) {
            return Ok(false);
        }
        watcher::kill(&self.folder).map_err(LabError::Kill)?;
        let client = match Client::connect(&self.place()).await {
            Err(_) if engine.is_none() => return Ok(false),
            result => result?,
        };
        let were_there = self.containers(&client).remove_all().await?;
        let networks = match self.recorded_networks().is_empty() {
            true => Recorded::Without,
            false => Recorded::WithNetworks,
        };
        Ok(self.networks(&client).remove_all(networks).await? || were_there)
    }

    /// Sees that a lab of another engine is watched.
    pub(super) fn watch(&self) -> Result<()> {
        if self.engine() != Some(Engine::Docker) {
            return Ok(());
        }
        let watched = watcher::start(&self.name, &self.data, &self.folder, &self.place());
        watched.map_err(|error| LabError::Step(Failure::of(&error)))
    }

    /// What is wrong with who watches over the lab.
    pub(super) fn unwatched(&self) -> Option<(Id, String)> {
        let is_unwatched =
            self.engine() == Some(Engine::Docker) && !watcher::is_alive(&self.folder);
        is_unwatched.then(|| {
            let words =
                "its watcher has ended: a container that Docker restarts gets no network back";
            (Id::Lab, words.to_owned())
        })
    }

    /// Brings nodes to what they were that the engine has started again. Does nothing if none waits.
    pub(crate) async fn wire_again(&self, report: Report<'_>) -> Result<()> {
        let lock = self.lock(report).await?;
        let nodes = fs::read_dir(self.folder.nodes()).into_iter().flatten().flatten();
        let mut names =
            nodes.filter_map(|it| it.file_name().to_str().and_then(|it| Name::new(it).ok()));
        if !names.any(|name| watcher::waits(&self.folder.node(&name))) {
            return Ok(());
        }
        let file = self.file()?;
        let options = UpOptions { after_failure: AfterFailure::Keep, ..UpOptions::default() };
        self.up_locked(&lock, &file, options, report).await.map(drop)
    }

    /// The programs of nodes, where they are found.
    pub(super) fn lay_down(&self) -> Result<node_program::Programs> {
        let path = self.data.programs();
        node_program::lay_down(&path).map_err(|source| LabError::Folder {
            what: "write",
            path,
            source,
        })
    }
}

impl From<EngineError> for LabError {
    fn from(error: EngineError) -> Self {
        Self::Engine(Box::new(error))
    }
}
