//! The containers of a lab: made and started side by side, and taken away, whoever made them.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use bollard::models::ContainerSummary;
use bollard::query_parameters::{
    CreateContainerOptions, ListContainersOptions, RemoveContainerOptions,
};
use futures_util::future::join_all;
use netarium_core::name::Name;
use netarium_core::object::{self, ImageRef};

use super::client::{Client, is_conflict, is_missing};
use super::error::EngineError;
use super::form::{DATA, Form, LAB, NODE, container_name};
use super::gate;
use super::networks::Endpoint;
use crate::engine::native::worker::write_record;
use crate::folder::LabFolder;
use crate::node_program::Programs;

type Result<T> = std::result::Result<T, EngineError>;

/// The containers of one lab.
pub(crate) struct Containers<'a> {
    pub(crate) client: &'a Client,
    pub(crate) lab: &'a Name,
    /// The data folder of its owner: labs of other folders are others.
    pub(crate) data: PathBuf,
    pub(crate) folder: &'a LabFolder,
}

/// A container that was not made.
#[derive(Debug)]
pub(crate) struct NotMade {
    pub(crate) node: Name,
    pub(crate) error: EngineError,
}

impl Containers<'_> {
    /// Makes and starts the containers of nodes whose folders are there, and puts their first processes on
    /// record, which wait. `images` says how the engine calls their images, `endpoints` on which networks of
    /// its own it puts them.
    ///
    /// # Errors
    /// The first that could not be made. The others are there.
    pub(crate) async fn make(
        &self,
        nodes: &[&object::Node],
        programs: &Programs,
        images: &BTreeMap<String, String>,
        endpoints: &BTreeMap<Name, Vec<Endpoint>>,
    ) -> std::result::Result<(), NotMade> {
        let making = nodes.iter().map(|node| async {
            let image = images.get(&image_key(&node.image)).map_or("", String::as_str);
            let endpoints = endpoints.get(&node.name).map_or(&[][..], Vec::as_slice);
            let made = self.make_one(node, programs, image, endpoints).await;
            made.map_err(|error| NotMade { node: node.name.clone(), error })
        });
        join_all(making).await.into_iter().collect()
    }

    async fn make_one(
        &self,
        node: &object::Node,
        programs: &Programs,
        image: &str,
        endpoints: &[Endpoint],
    ) -> Result<()> {
        let folder = self.folder.node(&node.name);
        let name = container_name(self.lab, &node.name);
        let data = &self.data;
        let form = Form { lab: self.lab, data, node, folder: &folder, programs, image, endpoints };
        let create = || {
            let options = CreateContainerOptions {
                name: Some(name.clone()),
                ..CreateContainerOptions::default()
            };
            self.client.docker.create_container(Some(options), form.body())
        };
        let created = match create().await {
            Err(error) if is_conflict(&error) => {
                // One that was not taken away, or has ended.
                self.remove_own(&name).await?;
                create().await
            }
            result => result,
        };
        created.map_err(self.client.refused(format!("create container {name}")))?;
        // The first it was made on.
        for endpoint in endpoints.iter().skip(1) {
            endpoint.join(self.client, &name).await?;
        }
        let started = self.client.docker.start_container(&name, None).await;
        started.map_err(self.client.refused(format!("start container {name}")))?;
        let process = gate::wait(self.client, &node.name, &name, &folder).await?;
        let path = folder.process();
        write_record(&path, &process).map_err(|source| EngineError::Write { path, source })
    }

    /// Removes a container of this lab by its name.
    async fn remove_own(&self, name: &str) -> Result<()> {
        let found = match self.client.docker.inspect_container(name, None).await {
            Err(error) if is_missing(&error) => return Ok(()),
            result => result.map_err(self.client.refused(format!("look at container {name}")))?,
        };
        let labels = found.config.and_then(|it| it.labels).unwrap_or_default();
        let data = self.data.display().to_string();
        if labels.get(DATA) != Some(&data)
            || labels.get(LAB).map(String::as_str) != Some(self.lab.as_str())
        {
            let (place, owner) = (self.client.place.clone(), labels.get(DATA).cloned());
            return Err(EngineError::Taken { place, name: name.to_owned(), owner });
        }
        self.remove_one(name).await
    }

    /// Removes the containers of these nodes, running or not. Fine if they are gone already.
    ///
    /// # Errors
    /// If the engine does not let go of one.
    pub(crate) async fn remove(&self, nodes: &[Name]) -> Result<()> {
        let removing = nodes
            .iter()
            .map(|node| async { self.remove_own(&container_name(self.lab, node)).await });
        join_all(removing).await.into_iter().collect()
    }

    /// Removes every container that bears the labels of this lab. Says whether there was one.
    ///
    /// # Errors
    /// If the engine does not let go of one. The others are removed.
    pub(crate) async fn remove_all(&self) -> Result<bool> {
        let mut were_there = false;
        loop {
            let found = self.list().await?;
            if found.is_empty() {
                return Ok(were_there);
            }
            were_there = true;
            let ids: Vec<String> = found.into_iter().filter_map(|it| it.id).collect();
            let removing = ids.iter().map(|id| self.remove_one(id));
            // Once more: one may have been on its way when the others were listed.
            join_all(removing).await.into_iter().collect::<Result<()>>()?;
        }
    }

    async fn remove_one(&self, name: &str) -> Result<()> {
        let options = RemoveContainerOptions { v: true, force: true, link: false };
        match self.client.docker.remove_container(name, Some(options)).await {
            Err(error) if is_missing(&error) => Ok(()),
            // Another removes it, or the engine itself.
            Err(error) if is_conflict(&error) => self.wait_until_gone(name).await,
            result => result.map_err(self.client.refused(format!("remove container {name}"))),
        }
    }

    async fn wait_until_gone(&self, name: &str) -> Result<()> {
        for _ in 0..gate::TRIES {
            match self.client.docker.inspect_container(name, None).await {
                Err(error) if is_missing(&error) => return Ok(()),
                _ => tokio::time::sleep(gate::PAUSE).await,
            }
        }
        let (place, name) = (self.client.place.clone(), name.to_owned());
        Err(EngineError::Taken { place, name, owner: Some(self.data.display().to_string()) })
    }

    async fn list(&self) -> Result<Vec<ContainerSummary>> {
        let options = ListContainersOptions {
            all: true,
            filters: Some(self.filters()),
            ..Default::default()
        };
        let listed = self.client.docker.list_containers(Some(options)).await;
        listed.map_err(self.client.refused(format!("list the containers of lab {}", self.lab)))
    }

    /// What tells the containers of this lab from all others.
    pub(super) fn filters(&self) -> HashMap<String, Vec<String>> {
        let labels = vec![
            format!("{LAB}={}", self.lab),
            format!("{DATA}={}", self.data.display()),
            NODE.to_owned(),
        ];
        HashMap::from([("label".to_owned(), labels)])
    }
}

/// By what the image of a node is found among those that the engine has been given.
pub(crate) fn image_key(image: &ImageRef) -> String {
    match image {
        ImageRef::Host => "host".to_owned(),
        ImageRef::Stored { digest, .. } | ImageRef::Pulled { digest, .. } => digest.clone(),
        ImageRef::Absent { name } => name.clone(),
    }
}
