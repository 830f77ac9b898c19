//! `k8s-cli man`: the pages of the manual, written for `man`. No server is asked.

use std::fs;

use crate::{
    cli::{ManArgs, pages},
    client::{Context, Error, Exit},
};

pub fn run(context: &mut Context<'_>, args: &ManArgs) -> Result<Exit, Error> {
    let pages = pages();
    for page in &pages {
        let (_, section) = page.file.rsplit_once('.').unwrap_or_default();
        let directory = args.directory.join(format!("man{section}"));
        fs::create_dir_all(&directory).map_err(|error| Error::file("make", &directory, error))?;
        let path = directory.join(&page.file);
        fs::write(&path, &page.text).map_err(|error| Error::file("write", &path, error))?;
    }
    let (count, directory) = (pages.len(), args.directory.display());
    context.say(&format!("{count} pages written to {directory}"));
    Ok(Exit::Done)
}
