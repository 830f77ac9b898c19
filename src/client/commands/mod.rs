//! The commands of the client, one file a group: each asks the server and renders its answer.

pub mod auth;
mod jobs;
mod logs;
mod validate;
mod volumes;

use super::{Context, Error, Exit};
use crate::cli::ClientCommand;

/// Does the work of a command.
pub fn run(context: &mut Context<'_>, command: ClientCommand) -> Result<Exit, Error> {
    match command {
        ClientCommand::Auth(args) => auth::run(context, args.command),
        ClientCommand::Jobs(args) => jobs::run(context, args.command),
        ClientCommand::Volumes(args) => volumes::run(context, args.command),
    }
}
