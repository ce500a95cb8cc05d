//! The `netarium` command: what is typed is parsed, the lab is chosen, the library is called, and
//! the answer is printed.
//!
//! ```text
//! args ──▶ choose ──▶ commands ──▶ netarium (the library)
//!                        │
//!                        ▼
//!                 print, report ──▶ terminal
//! ```
//!
//! Data goes to standard output, everything else to standard error.

mod args;
mod choose;
mod commands;
mod complete;
mod ending;
mod interrupt;
mod manual;
mod print;
mod report;
mod terminal;

use std::process::ExitCode;

use clap::Parser;
use netarium::image::{PullOptions, Transport};

use crate::args::{Arguments, Command, Export, Image};
use crate::commands::Context;
use crate::commands::image::{Deed, Spare};
use crate::ending::Ending;

fn main() -> ExitCode {
    // Parts of the library run in processes of their own, which are this program called again.
    netarium::run_if_stage();
    let arguments = Arguments::parse();
    let style = print::Style::of(arguments.output);
    let ending = run(arguments, style).unwrap_or_else(|error| report::error(&error, style));
    ending.into()
}

fn run(arguments: Arguments, style: print::Style) -> anyhow::Result<Ending> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ending = runtime.block_on(call(arguments.command, &Context::new(style)));
    // A thread that waits for a lock or a program must not keep the command from ending.
    runtime.shutdown_background();
    ending
}

async fn call(command: Command, context: &Context) -> anyhow::Result<Ending> {
    match command {
        Command::Up(up) => commands::up::up(context, up).await,
        Command::Down(down) => commands::down::down(context, down).await,
        Command::Ls => commands::list::ls(context),
        Command::Ps(ps) => commands::list::ps(context, &ps),
        Command::Status(status) => commands::status::status(context, &status).await,
        Command::Plan(plan) => commands::status::plan(context, &plan).await,
        Command::Validate(it) => commands::file::validate(context, &it),
        Command::Inspect(it) => commands::file::inspect(context, &it).await,
        Command::Exec(exec) => commands::exec::exec(context, exec).await,
        Command::Shell(shell) => commands::exec::shell(context, shell).await,
        Command::Logs(logs) => commands::logs::logs(context, &logs),
        Command::Check(check) => commands::check::check(context, check).await,
        Command::Bench(bench) => commands::bench::bench(context, bench).await,
        Command::Doctor => commands::doctor::doctor(context).await,
        Command::Pki(pki) => commands::pki::pki(context, pki).await,
        Command::Image(Image::Ls) => commands::image::ls(context),
        Command::Image(Image::Export { image, file, called, packing }) => {
            let to = commands::outgoing::To { file, called };
            commands::outgoing::export(context, &image, to, packing).await
        }
        Command::Image(Image::Build { name, lab, platform }) => {
            commands::image::build(context, name.as_deref(), lab.as_deref(), &platform).await
        }
        Command::Image(Image::Push { image, called, plain_http, packing }) => {
            let transport = if plain_http { Transport::Plain } else { Transport::Usual };
            commands::outgoing::push(context, &image, (called, transport), packing).await
        }
        Command::Image(Image::Pull { image, platform, plain_http }) => {
            let transport = if plain_http { Transport::Plain } else { Transport::Usual };
            commands::image::pull(context, &image, platform, PullOptions { transport }).await
        }
        Command::Image(Image::Inspect { image }) => commands::image::inspect(context, &image),
        Command::Image(Image::Prune { all, dry_run, engine }) => {
            let what = if all { Spare::All } else { Spare::Pulled };
            let deed = if dry_run { Deed::Tell } else { Deed::Remove };
            commands::image::prune(context, what, deed, engine).await
        }
        Command::Image(Image::Rm { images }) => commands::image::rm(context, &images).await,
        Command::Generate(generate) => commands::generate::generate(&generate),
        Command::Export(Export::Compose(it)) => commands::export::compose(context, it).await,
        Command::Schema => commands::file::schema(),
        Command::Completions { shell } => complete::print(shell),
        Command::Man { folder } => manual::write(&folder),
    }
}
