//! What is measured: `up` or `down` in a process of its own, as the command does it, that says
//! where it is. Nothing is measured here.

use std::path::PathBuf;
use std::process::Stdio;

use netarium_core::model::Engine;
use netarium_core::name::Name;
use serde::{Deserialize, Serialize};

use super::{BenchError, Result};
use crate::event::Event;
use crate::failure::Failure;
use crate::folder::DataFolder;
use crate::lab::{Lab, UpOptions};
use crate::lab_file::LabFile;
use crate::linux::stage::{Call, Running, Stage, StageError};

/// What the process is called with.
#[derive(Debug, Serialize, Deserialize)]
struct Order {
    task: Task,
    file: PathBuf,
    lab: Name,
    engine: Option<Engine>,
    data: PathBuf,
}

/// What the process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Task {
    /// Reads the lab file and brings the lab up.
    Up,
    /// Takes the lab down.
    Down,
}

/// What the process says, each as soon as it is so.
#[derive(Debug, Serialize, Deserialize)]
enum Word {
    Said(Said),
    Failed(Failure),
}

/// How far the process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Said {
    /// All nodes are there with their interfaces.
    Wired,
    /// One more tunnel stands.
    Tunnel,
    /// All services are ready and all tunnels stand.
    Settled,
    /// It has done all it was to do.
    Done,
}

/// The process that is measured.
pub(super) struct Subject(Running);

impl Subject {
    pub(super) fn start(task: Task, file: &LabFile, data: &DataFolder) -> Result<Self> {
        let order = Order {
            task,
            file: file.path.clone(),
            lab: file.model.lab.clone(),
            engine: file.model.engine,
            data: data.path().to_owned(),
        };
        Ok(Self(Running::start(Stage::Bench, &order, &[], Stdio::inherit())?))
    }

    /// What it says next.
    pub(super) async fn says(&mut self) -> Result<Said> {
        match self.0.answer().await? {
            Some(Word::Said(said)) => Ok(said),
            Some(Word::Failed(failure)) => Err(BenchError::Subject(failure)),
            None => Err(StageError::Silent { stderr: String::new() }.into()),
        }
    }

    /// Waits until it has ended, whatever it says before.
    pub(super) async fn until_done(mut self) -> Result<()> {
        while let Some(word) = self.0.answer().await? {
            if let Word::Failed(failure) = word {
                return Err(BenchError::Subject(failure));
            }
        }
        self.0.process.wait().await.map_err(StageError::Talk)?;
        Ok(())
    }
}

/// Does what the call says.
pub(crate) fn stage(call: &Call) -> i32 {
    let order: Order = match call.words() {
        Ok(order) => order,
        Err(error) => {
            eprintln!("{error}");
            return 1;
        }
    };
    let word = match work(call, &order) {
        Ok(()) => Word::Said(Said::Done),
        Err(failure) => Word::Failed(failure),
    };
    i32::from(call.answer(&word).is_err())
}

fn work(call: &Call, order: &Order) -> std::result::Result<(), Failure> {
    let data = DataFolder::at(&order.data);
    let lab = Lab::named(&data, &order.lab);
    let report = |event: Event| {
        let said = match event {
            Event::Wired => Said::Wired,
            Event::Tunnel { .. } => Said::Tunnel,
            Event::Settled => Said::Settled,
            _ => return,
        };
        // If nobody listens any more, the lab is taken down by whoever goes on.
        call.answer(&Word::Said(said)).ok();
    };
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().map_err(|error| Failure::of(&error))?;
    match order.task {
        Task::Up => {
            let mut file = LabFile::read(&order.file).map_err(|error| Failure::of(&error))?;
            file.model.engine = order.engine;
            let up = lab.up(&file, UpOptions::default(), &report);
            runtime.block_on(up).map(drop).map_err(|error| Failure::of(&error))
        }
        Task::Down => {
            runtime.block_on(lab.down(&report)).map(drop).map_err(|error| Failure::of(&error))
        }
    }
}
