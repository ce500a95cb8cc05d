//! Where an owner's images and labs lie on the disk.
//!
//! ```text
//! <data>/images/                  see crate::image
//! <data>/programs/                the program of nodes, by its digest
//! <data>/features.json            what the kernel can do
//! <data>/volumes/<lab>/<volume>/   what nodes of a lab keep when it is down
//! <data>/labs/<lab>/              one folder per lab, gone when it is down
//!     keeper.json lab.yaml …      what it is made from, and its first process
//!     sources/                    what its files are copies of, by digest
//!     journal                     the steps that were done
//!     pki/                        its certificate authority
//!     uplink.json uplink.log …    its way out: which process, what it wrote
//!     watcher.json                who wires what another engine starts again
//!     nodes/<node>/               control socket, logs, and what the node changed
//! ```
//!
//! Paths only: nothing is read or written here.

use std::path::{Path, PathBuf};

use netarium_core::name::Name;
use serde::{Deserialize, Serialize};

/// The folder of all that Netarium keeps for the user who runs it.
#[derive(Clone, Debug)]
pub struct DataFolder(PathBuf);

impl DataFolder {
    /// `$NETARIUM_DATA` if it is set; else `/var/lib/netarium` for root, and for others
    /// `$XDG_DATA_HOME/netarium` or `~/.local/share/netarium` (XDG Base Directory Specification).
    pub fn of_owner() -> Self {
        let variable = |name| {
            let value = std::env::var_os(name).map(PathBuf::from);
            value.filter(|path| path.is_absolute())
        };
        Self(variable("NETARIUM_DATA").unwrap_or_else(|| {
            if rustix::process::geteuid().is_root() {
                return PathBuf::from("/var/lib/netarium");
            }
            let home = || variable("HOME").unwrap_or_else(|| PathBuf::from("/"));
            let data = variable("XDG_DATA_HOME").unwrap_or_else(|| home().join(".local/share"));
            data.join("netarium")
        }))
    }

    /// A folder that the caller names. Labs and images of other folders are not seen.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The folder of images.
    pub fn images(&self) -> PathBuf {
        self.0.join("images")
    }

    /// The folder of labs.
    pub fn labs(&self) -> PathBuf {
        self.0.join("labs")
    }

    /// The folder of the volumes that a lab keeps when it is down.
    pub(crate) fn volumes(&self, lab: &Name) -> PathBuf {
        self.0.join("volumes").join(lab.as_str())
    }

    /// What the kernel can do.
    pub(crate) fn features(&self) -> PathBuf {
        self.0.join("features.json")
    }

    /// The folder of the programs of nodes.
    pub(crate) fn programs(&self) -> PathBuf {
        self.0.join("programs")
    }

    /// The file that is locked by whoever changes a lab. It lies outside of the lab's folder, which
    /// comes and goes.
    pub(crate) fn lock(&self, lab: &Name) -> PathBuf {
        self.labs().join(format!(".{lab}.lock"))
    }

    /// The file that is locked by whoever gives an image to another engine.
    pub(crate) fn images_lock(&self) -> PathBuf {
        self.0.join("images.lock")
    }

    /// The file that is locked as long as containers are made from what another engine was given.
    pub(crate) fn given_lock(&self) -> PathBuf {
        self.0.join("given.lock")
    }

    /// The folder of a lab.
    pub(crate) fn lab(&self, lab: &Name) -> LabFolder {
        LabFolder(self.labs().join(lab.as_str()))
    }
}

/// The folder of one lab.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LabFolder(PathBuf);

impl LabFolder {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Which process keeps the lab's namespaces.
    pub(crate) fn keeper(&self) -> PathBuf {
        self.0.join("keeper.json")
    }

    /// Which process watches over the containers of another engine.
    pub(crate) fn watcher(&self) -> PathBuf {
        self.0.join("watcher.json")
    }

    /// What that process wrote.
    pub(crate) fn watcher_log(&self) -> PathBuf {
        self.0.join("watcher.log")
    }

    /// What the lab is, besides its file.
    pub(crate) fn record(&self) -> PathBuf {
        self.0.join("lab.json")
    }

    /// A copy of the lab file as it was when the lab was last brought up.
    pub(crate) fn lab_file(&self) -> PathBuf {
        self.0.join("lab.yaml")
    }

    /// What it was made from, if that was a Compose file.
    pub(crate) fn compose(&self) -> PathBuf {
        self.0.join("compose.json")
    }

    /// What its files are copies of.
    pub(crate) fn sources(&self) -> PathBuf {
        self.0.join("sources")
    }

    /// The nodes with services that ask for time to end.
    pub(crate) fn farewell(&self) -> PathBuf {
        self.0.join("farewell")
    }

    /// The steps that were done.
    pub(crate) fn journal(&self) -> PathBuf {
        self.0.join("journal")
    }

    /// The lab's certificate authority.
    pub(crate) fn pki(&self) -> PathBuf {
        self.0.join("pki")
    }

    /// Which process is the way out.
    pub(crate) fn uplink(&self) -> PathBuf {
        self.0.join("uplink.json")
    }

    /// What that process wrote.
    pub(crate) fn uplink_log(&self) -> PathBuf {
        self.0.join("uplink.log")
    }

    /// What is kept about the rules of the router before it.
    pub(crate) fn uplink_rules(&self) -> PathBuf {
        self.0.join("uplink.rules")
    }

    /// The folder of its nodes.
    pub(crate) fn nodes(&self) -> PathBuf {
        self.0.join("nodes")
    }

    /// The folder of one node.
    pub(crate) fn node(&self, node: &Name) -> NodeFolder {
        NodeFolder(self.nodes().join(node.as_str()))
    }
}

/// The folder of one node.
#[derive(Clone, Debug)]
pub(crate) struct NodeFolder(PathBuf);

impl NodeFolder {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Which process is its first.
    pub(crate) fn process(&self) -> PathBuf {
        self.0.join("process.json")
    }

    /// The folder of the socket on which its first process takes requests.
    pub(crate) fn gate(&self) -> PathBuf {
        self.0.join("gate")
    }

    /// That socket.
    pub(crate) fn control(&self) -> PathBuf {
        self.gate().join("control")
    }

    /// How nft(8) showed its firewall right after it was made.
    pub(crate) fn firewall(&self) -> PathBuf {
        self.0.join("firewall")
    }

    /// What its services wrote.
    pub(crate) fn logs(&self) -> PathBuf {
        self.0.join("logs")
    }

    /// What it changed of its image.
    pub(crate) fn upper(&self) -> PathBuf {
        self.0.join("upper")
    }

    /// For overlayfs.
    pub(crate) fn work(&self) -> PathBuf {
        self.0.join("work")
    }

    /// Where its root file system is put together.
    pub(crate) fn merged(&self) -> PathBuf {
        self.0.join("merged")
    }
}
