//! `backup man`: the manual pages, made from the arguments themselves.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::CommandFactory;

use super::arguments::Arguments;
use super::exit::{Exit, Failure};
use super::screen::Screen;
use crate::domain::Trouble;

/// Write the manual pages into a folder
#[derive(Debug, clap::Args)]
pub struct Verb {
    /// The folder
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

pub(super) fn run(verb: &Verb, screen: &Screen) -> Result<Exit, Failure> {
    let mut command = Arguments::command();
    command.build();
    let mut names = Vec::new();
    write_pages(&command, "", &verb.folder, &mut names).map_err(|error| Failure {
        exit: Exit::Failed,
        trouble: Trouble {
            what: format!("the manual pages could not be written to {}", verb.folder.display()),
            causes: vec![error.to_string()],
            advice: "give a folder that this user may write".to_owned(),
        },
    })?;
    screen.result(&names.join("\n"));
    Ok(Exit::Ok)
}

fn write_pages(command: &clap::Command, above: &str, folder: &Path, names: &mut Vec<String>) -> std::io::Result<()> {
    let name = format!("{above}{}", command.get_name());
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone().name(name.clone())).render(&mut page)?;
    std::fs::create_dir_all(folder)?;
    let file = format!("{name}.1");
    std::fs::File::create(folder.join(&file))?.write_all(&page)?;
    names.push(file);
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        write_pages(verb, &format!("{name}-"), folder, names)?;
    }
    Ok(())
}
