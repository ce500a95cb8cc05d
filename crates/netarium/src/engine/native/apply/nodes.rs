//! Making nodes, starting them and taking them away. Those of one lab are made side by side.

use std::collections::btree_map::Entry;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use netarium_core::model::{Engine, Nesting, VolumeSource};
use netarium_core::name::Name;
use netarium_core::object::{self, ImageRef};
use netarium_core::plan::Step;

use super::{Apply, Result, StepError, failed, remove_all};
use crate::engine::native::farewell;
use crate::engine::native::node::RunningNode;
use crate::engine::native::worker::{Answer, gone, write_record};
use crate::failure::Failure;
use crate::linux::launch::{self, Begun, Blueprint};
use crate::linux::mount::RootFolders;
use crate::linux::packet;
use crate::linux::process::Process;
use crate::linux::seccomp;
use crate::linux::stage::Call;
use crate::linux::volume::{Origin, Volume};

impl Apply<'_> {
    /// Nodes put their root file systems together side by side.
    pub(super) fn create_nodes(
        &mut self,
        nodes: &[(usize, &Step, &object::Node)],
        call: &Call,
    ) -> std::result::Result<(), Failure> {
        let mut begun = Vec::new();
        for (number, step, node) in nodes {
            let one = self.begin_node(node).map_err(|error| failed(step, &error))?;
            begun.push((*number, *step, *node, one));
        }
        let mut born = Vec::new();
        for (number, step, node, one) in begun {
            let pid = self.finish_node(node, one).map_err(|error| failed(step, &error))?;
            born.push((node, pid));
            self.done(number, step, call)?;
        }
        announce(&born, call)
    }

    fn begin_node(&mut self, node: &object::Node) -> Result<Begun> {
        let folder = self.order.folder.node(&node.name);
        let remove = |source| StepError::Remove { path: folder.path().to_owned(), source };
        remove_all(folder.path()).map_err(remove)?;
        for path in [folder.upper(), folder.work(), folder.merged(), folder.logs(), folder.gate()] {
            create_folder(&path).map_err(|source| StepError::Write { path, source })?;
        }
        let control = folder.control();
        let control = packet::listen(&control)
            .map_err(|source| StepError::Write { path: control, source })?;
        let volumes = self.volumes(node)?;
        let blueprint = Blueprint {
            hostname: node.hostname.clone().unwrap_or_else(|| node.name.to_string()),
            root: RootFolders {
                lower: self.lower_folders(&node.image)?,
                upper: folder.upper(),
                work: folder.work(),
                merged: folder.merged(),
                hidden: self.order.hidden.clone(),
            },
            programs: self.order.programs.clone(),
            logs: folder.logs(),
            control,
            ids: self.ids,
            nesting: node.nesting,
            volumes,
        };
        let filters = self.filters(node.nesting)?;
        Ok(launch::begin(&blueprint, filters)?)
    }

    /// What the root file system of a node stands on, the highest folder first.
    fn lower_folders(&self, image: &ImageRef) -> Result<Vec<PathBuf>> {
        match image {
            ImageRef::Host => Ok(vec![PathBuf::from("/")]),
            ImageRef::Stored { digest, .. } => {
                Ok(vec![self.order.images.join(digest).join(crate::image::ROOTFS)])
            }
            ImageRef::Pulled { name, digest } => {
                let stack = self.order.stacks.get(digest).cloned();
                stack.ok_or_else(|| StepError::NoImage(name.clone()))
            }
            ImageRef::Absent { name } => Err(StepError::NoImage(name.clone())),
        }
    }

    /// What a node shares. Folders with names are there from the first time on.
    fn volumes(&mut self, node: &object::Node) -> Result<Vec<Volume>> {
        let mut volumes = Vec::new();
        for volume in &node.volumes {
            let opened = self.trees.remove(&(node.name.clone(), volume.target.clone()));
            let origin = match (&volume.source, opened) {
                (_, Some(tree)) => Origin::Tree(tree),
                (VolumeSource::Host { beneath, path }, None) => Origin::Folder {
                    beneath: beneath.as_ref().map(PathBuf::from),
                    path: PathBuf::from(path),
                },
                (VolumeSource::Memory { size, mode }, None) => {
                    Origin::Memory { size: *size, mode: *mode }
                }
                (VolumeSource::Named(name), None) => {
                    let path = self.order.volumes.join(name.as_str());
                    create_folder(&path)
                        .map_err(|source| StepError::Write { path: path.clone(), source })?;
                    Origin::Folder { beneath: None, path }
                }
            };
            let target = PathBuf::from(&volume.target);
            volumes.push(Volume { origin, target, access: volume.access });
        }
        Ok(volumes)
    }

    fn filters(&mut self, nesting: Nesting) -> Result<&seccomp::Filters> {
        Ok(match self.filters.entry(nesting) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let filters = seccomp::filters(self.ids, nesting);
                entry.insert(filters.map_err(|it| StepError::Seccomp(it.to_string()))?)
            }
        })
    }

    fn finish_node(&mut self, node: &object::Node, begun: Begun) -> Result<u32> {
        let waiting = begun.finish()?;
        let folder = self.order.folder.node(&node.name);
        let path = folder.process();
        let written = Process::of(waiting.child.pid)
            .and_then(|process| write_record(&path, &process).map(|()| process));
        let process = written.map_err(|source| StepError::Write { path, source })?;
        let mut running = RunningNode::open(folder, process, &node.name)?;
        let loopback = running.netlink().index("lo")?;
        running.netlink().set_up(loopback)?;
        self.nodes.insert(node.name.clone(), running);
        self.waiting.insert(node.name.clone(), waiting);
        Ok(process.pid)
    }

    /// First processes are executed side by side.
    pub(super) fn start_nodes(
        &mut self,
        inits: &[(usize, &Step, &object::Init)],
        call: &Call,
    ) -> std::result::Result<(), Failure> {
        if self.order.engine == Engine::Docker {
            return self.open_nodes(inits, call);
        }
        let mut started = Vec::new();
        for (number, step, init) in inits {
            let waiting = self.waiting.remove(&init.node);
            let waiting = waiting.ok_or_else(|| StepError::Started(init.node.clone()));
            let waiting = waiting
                .and_then(|waiting| waiting.start().map(|()| waiting).map_err(StepError::from))
                .map_err(|error| failed(step, &error))?;
            started.push((*number, *step, waiting));
        }
        for (number, step, waiting) in started {
            waiting.started().map_err(|error| failed(step, &error.into()))?;
            self.done(number, step, call)?;
        }
        Ok(())
    }

    /// Interfaces are removed one by one before the node is killed: the kernel takes its time over
    /// those of a namespace that ends, and a new one could not have their addresses meanwhile.
    pub(super) fn remove_node(&mut self, name: &Name) -> Result<()> {
        let node = self.node(name)?;
        farewell::of_node(&node.folder.control());
        for link in node.netlink().links()? {
            if link.name != "lo" {
                match node.netlink().delete_link(link.index) {
                    // Those that belong to a program go with it.
                    Err(error) if error.is(libc::EOPNOTSUPP) || error.is(libc::ENODEV) => {}
                    result => result?,
                }
            }
        }
        let path = node.folder.path().to_owned();
        let killed = node.process.kill();
        self.nodes.remove(name);
        killed.and_then(|()| remove_all(&path)).map_err(|source| StepError::Remove { path, source })
    }
}

/// Tells the caller which nodes were created, and waits for its word if limits hang on it.
fn announce(born: &[(&object::Node, u32)], call: &Call) -> std::result::Result<(), Failure> {
    let limited = born.iter().any(|(node, _)| !node.limits.is_none());
    let pids = born.iter().map(|(node, pid)| (node.name.clone(), *pid)).collect();
    call.answer(&Answer::Born(pids)).map_err(|error| gone(&error))?;
    if limited { call.wait_for_word().map_err(|error| gone(&error)) } else { Ok(()) }
}

pub(super) fn create_folder(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    // What a node sees of `upper` is its root folder, which others than root may pass through.
    fs::DirBuilder::new().recursive(true).mode(0o755).create(path)
}
