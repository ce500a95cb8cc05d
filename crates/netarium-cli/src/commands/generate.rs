//! `generate`: lab files of any size. Their text is the core's.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use netarium_core::generate::{GenerateError, Order, Topology, generate as text_of};
use netarium_core::name::Name;
use netarium_core::resolve::load;

use crate::args::{Generate, Generated};
use crate::ending::Ending;
use crate::print;

/// Why nothing was generated.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotGenerated {
    /// There is no such network.
    #[error(transparent)]
    Order(#[from] GenerateError),
    /// There is a file of that name.
    #[error("{} is there already", .0.display())]
    There(PathBuf),
    /// The image is no image.
    #[error("{0}: no image")]
    Image(String),
}

/// Writes the lab file of a network.
///
/// # Errors
/// If there is no such network, or the file cannot be written.
pub(crate) fn generate(generate: &Generate) -> anyhow::Result<Ending> {
    let (topology, wanted) = match generate {
        Generate::Star(wanted) => (Topology::Star, wanted),
        Generate::Ring(wanted) => (Topology::Ring, wanted),
        Generate::Tree { wanted, degree } => (Topology::Tree { degree: *degree }, wanted),
        Generate::Clos(wanted) => (Topology::Clos, wanted),
        Generate::Random { wanted, seed } => (Topology::Random { seed: *seed }, wanted),
    };
    let order = order(topology, wanted).map_err(NotGenerated::from)?;
    let text = text_of(&order).map_err(NotGenerated::from)?;
    if load(text.as_bytes(), "generated").is_err() {
        // Everything else in it is ours.
        return Err(NotGenerated::Image(wanted.image.clone()).into());
    }
    match &wanted.output {
        Some(path) => write_new(path, &text)?,
        None => print::line(text.trim_end())?,
    }
    Ok(Ending::Fine)
}

fn order(topology: Topology, wanted: &Generated) -> Result<Order, GenerateError> {
    let Generated { nodes, image, .. } = wanted;
    let (shape, more) = match topology {
        Topology::Star => ("star", String::new()),
        Topology::Ring => ("ring", String::new()),
        Topology::Tree { degree } => ("tree", format!(" --degree {degree}")),
        Topology::Clos => ("clos", String::new()),
        Topology::Random { seed } => ("random", format!(" --seed {seed}")),
    };
    let usual = || Name::new(&format!("{shape}-{nodes}")).expect("these are letters and digits");
    Ok(Order {
        lab: wanted.name.clone().unwrap_or_else(usual),
        image: image.clone(),
        topology,
        nodes: *nodes,
        origin: format!("netarium generate {shape} --nodes {nodes}{more}"),
    })
}

fn write_new(path: &Path, text: &str) -> anyhow::Result<()> {
    let file = File::options().write(true).create_new(true).open(path);
    match file.and_then(|mut file| file.write_all(text.as_bytes())) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(NotGenerated::There(path.to_owned()).into())
        }
        Err(error) => {
            Err(anyhow::Error::new(error).context(format!("cannot write {}", path.display())))
        }
        Ok(()) => Ok(()),
    }
}
