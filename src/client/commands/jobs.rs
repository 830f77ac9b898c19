//! `k8s-cli jobs`: submits tasks and shows them. Lists, logs and other verbs have files of their own.

use std::{io, iter, mem};

use jiff::tz::TimeZone;

use super::{delete, documents, find::Finder, for_each, list, logs, stop, validate, wait};
use crate::{
    api::{LogQuery, SubmitFlags, TaskSubmitResponse},
    cli::{Format, JobsCommand, LogFormat, Prefix, StatusArgs, SubmitArgs},
    client::{
        Context, Error, Exit,
        files::{self, Archive, FileMounts},
        http::{ApiClient, Stream},
        logs::{LogFeed, Style, follow},
        output::{self, Clock, task_view},
        task_file::{self, Finding, TaskFile},
    },
};

pub fn run(context: &mut Context<'_>, command: JobsCommand) -> Result<Exit, Error> {
    match command {
        JobsCommand::Submit(args) => submit(context, args),
        JobsCommand::Validate(args) => validate::run(context, args),
        JobsCommand::List(args) => list::run(context, args),
        JobsCommand::Status(args) => status(context, args),
        JobsCommand::Stop(args) => stop::run(context, args),
        JobsCommand::Logs(args) => logs::run(context, args),
        JobsCommand::Wait(args) => wait::run(context, args),
        JobsCommand::Delete(args) => delete::run(context, args),
    }
}

fn submit(context: &mut Context<'_>, mut args: SubmitArgs) -> Result<Exit, Error> {
    let settings = task_file::settings(args.take_changes(), context.env)?;
    let format = context.format(args.output);
    let follows = !args.detach && args.wait_for.is_none();
    if follows && !args.dry_run && matches!(format, Format::Json | Format::Yaml) {
        return Err(Error::Usage(
            "`-o json` and `-o yaml` need --detach: the log would follow the document".to_owned(),
        ));
    }
    if args.dry_run && matches!(args.output, Some(Format::Table | Format::Tsv)) {
        return Err(Error::Usage(
            "--dry-run prints objects: `-o yaml`, `-o json` or `-o name`".to_owned(),
        ));
    }
    let mut file = task_file::read(&args.file, &mut context.input, &settings)?;
    let client = context.client(args.take_server())?;
    let flags = SubmitFlags {
        fail_fast: !args.no_fail_fast,
        barrier: !args.no_barrier,
    };
    let mounts = match args.ignore_file_mounts {
        true => FileMounts::Ignored,
        false => FileMounts::Travel,
    };
    let mut archive = pack(context, &client, &args.file, &mut file, mounts, flags)?;
    if args.dry_run {
        let answer = with_stream(context, archive.as_mut(), |files| {
            client.submit_dry_run(&file.task, flags, files)
        })?;
        match args.output {
            Some(Format::Json) => output::document(context.out, Format::Json, &answer.body)?,
            Some(Format::Name) => output::object_names(context.out, &answer.value.manifests)?,
            _ => output::yaml_stream(context.out, &answer.value.manifests)?,
        }
        context.out.flush()?;
        warn(context, &args.file, &file.warnings, &answer.value.warnings);
        if let Some(archive) = archive {
            context.say(&archive.packed.to_string());
        }
        return Ok(Exit::Done);
    }
    let submitted = with_stream(context, archive.as_mut(), |files| match files {
        Some(files) => client.submit_with_files(&file.task, flags, files),
        None => client.submit(&file.task, flags),
    })?;
    // From here on Ctrl-C detaches from the task.
    let feed = follows.then(LogFeed::listen);

    let TaskSubmitResponse {
        task_id, warnings, ..
    } = submitted.value;
    // Printed and flushed before the log begins, because a script may need the id at once.
    let printed = output::made(
        context.out,
        format,
        "task",
        &task_id,
        "submitted",
        &submitted.body,
    );
    match printed {
        Err(Error::Unprinted { made, source })
            if feed.is_some() && source.kind() == io::ErrorKind::BrokenPipe =>
        {
            context.say(&made);
            return Ok(Exit::TaskUnfinished);
        }
        printed => printed?,
    }
    warn(context, &args.file, &file.warnings, &warnings);
    match feed {
        Some(feed) => {
            if context.terminal.err {
                context.say("hint: Ctrl-C detaches and leaves the task running");
            }
            let mut query = LogQuery::default();
            query.wait = args.wait.unwrap_or(query.wait);
            let style = Style {
                prefix: Prefix::Auto,
                output: LogFormat::Text,
                reports_success: true,
            };
            let followed = follow(context, &client, feed, task_id, query, style);
            logs::or_unfinished(&client, &task_id, followed)
        }
        None if let Some(awaited) = args.wait_for => {
            wait::for_submitted(context, &client, task_id, awaited)
        }
        None => {
            if context.terminal.err {
                context.say(&format!(
                    "hint: follow its log with `k8s-cli jobs logs {task_id}`"
                ));
            }
            Ok(Exit::Done)
        }
    }
}

/// Sends a request with an archive, if there is one, and shows how far it is.
fn with_stream<T>(
    context: &mut Context<'_>,
    archive: Option<&mut Archive>,
    send: impl FnOnce(Option<Stream<'_>>) -> T,
) -> T {
    let mut progress = context.progress("sending");
    let stream = archive.map(|archive| {
        let length = archive.packed.about.size;
        let bytes = Box::new(progress.of(&mut archive.file, length));
        Stream { bytes, length }
    });
    send(stream)
}

/// Packs the files of a task, if the server takes them, and takes their names out of the definition.
fn pack(
    context: &mut Context<'_>,
    client: &ApiClient,
    path: &str,
    file: &mut TaskFile,
    mounts: FileMounts,
    flags: SubmitFlags,
) -> Result<Option<Archive>, Error> {
    let sources =
        files::sources(file, mounts, context.env).map_err(|problems| Error::TaskFile {
            name: task_file::name(path).to_owned(),
            findings: problems
                .into_iter()
                .map(|problem| file.locate(problem))
                .collect(),
        })?;
    for note in &sources.notes {
        file.warnings.push(file.locate(note.clone()));
    }
    file.task.take_out_files(sources.has_workdir());
    if sources.is_empty() {
        return Ok(None);
    }
    let limit = client.check(&file.task, flags)?;
    files::pack(context, &sources, &limit).map(Some)
}

/// Prints the warnings of the task file's parser with their lines, and those that only the server gave.
fn warn(context: &mut Context<'_>, file: &str, of_file: &[Finding], of_server: &[String]) {
    let name = task_file::name(file);
    for finding in of_file {
        match finding.line {
            Some(line) => context.say(&format!("warning: {name}:{line}: {finding}")),
            None => context.say(&format!("warning: {finding}")),
        }
    }
    let known: Vec<_> = of_file.iter().map(ToString::to_string).collect();
    for warning in of_server.iter().filter(|warning| !known.contains(warning)) {
        context.say(&format!("warning: {}", output::escape(warning)));
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
                        let clock = Clock {
                            now: answer.time.unwrap_or(context.now),
                            zone: TimeZone::system(),
                        };
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
