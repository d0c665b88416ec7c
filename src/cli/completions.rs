//! `backup completions`: for a shell.

use clap::CommandFactory;

use super::arguments::Arguments;
use super::exit::{Exit, Failure};
use super::screen::Screen;

/// Print completions for a shell
#[derive(Debug, clap::Args)]
pub struct Verb {
    /// Which shell
    shell: clap_complete::Shell,
}

pub(super) fn run(verb: &Verb, screen: &Screen) -> Result<Exit, Failure> {
    let mut text = Vec::new();
    clap_complete::generate(verb.shell, &mut Arguments::command(), "backup", &mut text);
    screen.result(String::from_utf8_lossy(&text).trim_end());
    Ok(Exit::Ok)
}
