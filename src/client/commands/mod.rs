//! The commands of the client, one file per group. Each sends a request and renders the answer.
//!
//! Only the client's `mod.rs` imports this module. It parses no arguments (`cli` does) and formats no tables (`output` does).

pub mod auth;
mod jobs;
mod logs;
mod stop;
mod validate;
mod volumes;

use super::{Context, Error, Exit};
use crate::cli::ClientCommand;

/// Runs a command.
pub fn run(context: &mut Context<'_>, command: ClientCommand) -> Result<Exit, Error> {
    match command {
        ClientCommand::Auth(args) => auth::run(context, args.command),
        ClientCommand::Jobs(args) => jobs::run(context, args.command),
        ClientCommand::Volumes(args) => volumes::run(context, args.command),
    }
}
