//! The command line: parses what was typed, runs one command, exits with its code. Decides nothing about fleets.

mod args;
mod ask;
mod commands;
mod edit;
mod error;
mod exit;
mod git;
mod render;
mod review;
mod saved;
mod session;
mod setup;
mod wiring;

use clap::Parser;

use crate::args::Cli;
use crate::setup::Setup;

fn main() -> std::process::ExitCode {
    render::error::mask_panics();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            return render::error::print_usage(&error);
        }
    };
    let setup = Setup::from_process(&cli.global, render::known());
    let json = cli.global.json;
    match commands::run(cli, &setup) {
        Ok(code) if render::output_lost() => {
            render::err("error: standard output could not be written");
            if code == exit::DONE { exit::FAILED.into() } else { code.into() }
        }
        Ok(code) => code.into(),
        Err(error) => {
            render::error::print(&error, json);
            error.exit.into()
        }
    }
}
