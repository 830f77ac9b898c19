//! The commands of the client, one file per group. Each sends a request and renders the answer.
//!
//! Only the client's `mod.rs` imports this module. It parses no arguments (`cli` does) and formats no tables (`output` does).

pub mod auth;
mod completion;
mod delete;
mod dial_stdio;
mod find;
mod jobs;
mod list;
mod logs;
mod man;
mod manifest;
mod nodes;
mod show;
mod stop;
mod submit;
mod validate;
mod volumes;
mod wait;

use super::{Context, Error, Exit, output};
use crate::cli::{ClientCommand, Format};

/// Runs a command.
pub fn run(context: &mut Context<'_>, command: ClientCommand) -> Result<Exit, Error> {
    match command {
        ClientCommand::Auth(args) => auth::run(context, args.command),
        ClientCommand::Jobs(args) => jobs::run(context, args.command),
        ClientCommand::Volumes(args) => volumes::run(context, args.command),
        ClientCommand::Completion(args) => completion::run(context, args),
        ClientCommand::Man(args) => man::run(context, &args),
        ClientCommand::Nodes(args) => nodes::run(context, args),
        ClientCommand::Manifest(args) => manifest::run(context, args),
        ClientCommand::DialStdio(args) => dial_stdio::run(context, args),
    }
}

/// Does something for each id, also after an id for which it fails. The error is that of the last one; the others are printed.
fn for_each<I>(
    context: &mut Context<'_>,
    ids: impl IntoIterator<Item = I>,
    mut work: impl FnMut(&mut Context<'_>, I) -> Result<(), Error>,
) -> Result<Exit, Error> {
    let mut failed = None;
    for id in ids {
        match work(context, id) {
            Ok(()) => (),
            Err(error @ Error::Output(_)) => return Err(error),
            Err(error) => {
                if let Some(earlier) = failed.replace(error) {
                    context.report(&format!("k8s-cli: {earlier}"));
                }
            }
        }
    }
    failed.map_or(Ok(Exit::Done), Err)
}

/// Prints the answers about several ids as one list, and that about a single id as it is.
fn documents(
    context: &mut Context<'_>,
    format: Format,
    bodies: &[Vec<u8>],
    is_list: bool,
) -> Result<(), Error> {
    if !is_list {
        return (bodies.iter()).try_for_each(|body| output::document(context.out, format, body));
    }
    let list = [b"[".as_slice(), &bodies.join(&b','), b"]"].concat();
    output::document(context.out, format, &list)
}
