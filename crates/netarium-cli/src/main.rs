//! The `netarium` command.
use netarium::{event::Event, folder::DataFolder, lab::*, lab_file::LabFile};
fn main() -> anyhow::Result<()> {
    netarium::run_if_stage();
    let args: Vec<String> = std::env::args().collect();
    let rt = tokio::runtime::Runtime::new()?;
    let start = std::time::Instant::now();
    let report =
        |event: Event| eprintln!("{:>8.1} ms {event:?}", start.elapsed().as_secs_f64() * 1e3);
    rt.block_on(async {
        let data = DataFolder::of_owner();
        let file = LabFile::read(std::path::Path::new(&args[2]))?;
        let lab = Lab::named(&data, &file.model.lab);
        match args[1].as_str() {
            "up" => {
                let keep = if args.len() > 3 { AfterFailure::Keep } else { AfterFailure::Undo };
                match lab
                    .up(&file, UpOptions { after_failure: keep, ..Default::default() }, &report)
                    .await
                {
                    Ok(s) => println!("{} steps", s.len()),
                    Err(e) => {
                        println!("error: {e}");
                        let mut s = std::error::Error::source(&e);
                        while let Some(x) = s {
                            println!("  cause: {x}");
                            s = x.source();
                        }
                    }
                }
            }
            "down" => println!("{}", lab.down(&report).await?),
            "status" => {
                let s = lab.status().await?;
                println!("{:?}", s.state);
                for x in s.steps {
                    println!("  {x}");
                }
                for x in s.findings {
                    println!("  {} {}", x.0, x.1);
                }
            }
            _ => {}
        }
        eprintln!("{:?}", start.elapsed());
        Ok(())
    })
}
