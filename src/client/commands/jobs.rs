//! `k8s-cli jobs`: picks the command, and shows tasks. The other verbs have files of their own.

use std::{iter, mem};

use super::{
    delete, documents, find::Finder, for_each, list, logs, show, stop, submit, validate, wait,
};
use crate::{
    cli::{Format, JobsCommand, StatusArgs},
    client::{
        Context, Error, Exit,
        output::{Clock, task_view},
    },
};

pub fn run(context: &mut Context<'_>, command: JobsCommand) -> Result<Exit, Error> {
    match command {
        JobsCommand::Submit(args) => submit::run(context, args),
        JobsCommand::Run(args) => submit::run_command(context, args),
        JobsCommand::Rerun(args) => submit::rerun(context, args),
        JobsCommand::Show(args) => show::run(context, args),
        JobsCommand::Validate(args) => validate::run(context, args),
        JobsCommand::List(args) => list::run(context, args),
        JobsCommand::Status(args) => status(context, args),
        JobsCommand::Stop(args) => stop::run(context, args),
        JobsCommand::Logs(args) => logs::run(context, args),
        JobsCommand::Wait(args) => wait::run(context, args),
        JobsCommand::Delete(args) => delete::run(context, args),
    }
}

fn status(context: &mut Context<'_>, mut args: StatusArgs) -> Result<Exit, Error> {
    let client = context.client(args.take_server())?;
    let StatusArgs {
        id,
        ids,
        color,
        output,
        ..
    } = args;
    let sheet = context.sheet(color);
    let (format, is_list) = (context.format(output), !ids.is_empty());
    let (mut bodies, mut is_first) = (Vec::new(), true);
    let finder = Finder::tasks(&client);
    let shown = for_each(context, iter::once(id).chain(ids), |context, typed| {
        let answer = finder.with(&typed, |id| match format.is_for_people() {
            true => client.task_with_events(id),
            false => client.task(id),
        })?;
        match format {
            Format::Name => writeln!(context.out, "{}", answer.value.task_id)?,
            Format::Json | Format::Yaml => bodies.push(answer.body),
            _ => {
                if !mem::take(&mut is_first) {
                    writeln!(context.out)?;
                }
                match format.is_for_people() {
                    true => {
                        let clock = Clock::at(answer.time.unwrap_or(context.now));
                        task_view::block(context.out, &answer.value, sheet, &clock)?;
                    }
                    false => task_view::lines(context.out, &answer.value)?,
                }
            }
        }
        Ok(())
    });
    if matches!(format, Format::Json | Format::Yaml) {
        documents(context, format, &bodies, is_list)?;
    }
    shown
}
