//! `cargo run --release --example bench -- LAB [--runs N] [--cold] [--json]`: what a lab costs.
//!
//! `--memory` instead prints the memory of the lab, which is up.

#![expect(clippy::print_stdout, reason = "the report is what it is for")]

use std::error::Error;
use std::num::NonZeroU32;
use std::path::Path;

use netarium::bench::{bench, bench_cold, memory, thousand_nodes};
use netarium::folder::DataFolder;
use netarium::lab::Lab;
use netarium::lab_file::LabFile;

fn main() -> Result<(), Box<dyn Error>> {
    netarium::run_if_stage();
    let words: Vec<String> = std::env::args().skip(1).collect();
    let has = |word: &str| words.iter().any(|other| other == word);
    let runs = words.iter().skip_while(|word| *word != "--runs").nth(1);
    let runs = runs.map_or("5", String::as_str).parse::<NonZeroU32>()?;
    let path = words.first().ok_or("wanted: a lab file")?;
    let file = LabFile::read(Path::new(path))?;
    let data = DataFolder::of_owner();
    if has("--memory") {
        print!("{}", memory(&Lab::named(&data, &file.model.lab))?);
        return Ok(());
    }
    let runtime = tokio::runtime::Runtime::new()?;
    let report = if has("--cold") {
        runtime.block_on(bench_cold(&file, &data))?
    } else {
        let progress = |number| eprintln!("run {number} of {runs}");
        runtime.block_on(bench(&file, &data, runs, progress))?.with(thousand_nodes(runs))
    };
    if has("--json") {
        // The same for people, beside what is for programs.
        eprint!("{report}");
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{report}");
    }
    Ok(())
}
