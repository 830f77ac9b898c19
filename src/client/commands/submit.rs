//! `k8s-cli jobs submit`, `jobs run` and `jobs rerun`: start a task, and follow its log.

use std::{
    collections::BTreeSet,
    env, fs, io, mem,
    path::{self, Path},
};

use serde_json::Map;

use super::{find::Finder, logs, wait};
use crate::{
    api::{
        GroupSubmitResponse, LeftOut, LogQuery, SubmitFlags, Sweep, TaskOrigin, TaskSource,
        TaskSubmitResponse,
    },
    cli::{Changes, Format, LogFormat, Prefix, RerunArgs, RunArgs, StartOptions, SubmitArgs},
    client::{
        Context, Error, Exit,
        files::{self, Archive, FileMounts},
        http::{ApiClient, RequestKey, Stream},
        logs::{LogFeed, Style, follow},
        output,
        task_file::{self, Finding, Settings, TaskFile},
    },
    hidden, yaml,
};

/// The name of a task file that does not exist, in messages.
const COMMAND_LINE: &str = "the command line";

/// `jobs submit`: starts the task of a file.
pub fn run(context: &mut Context<'_>, mut args: SubmitArgs) -> Result<Exit, Error> {
    let changes = args.take_changes();
    let mut origin = origin(&changes);
    let settings = task_file::settings(changes, context.env)?;
    let options = args.take_start();
    let sweep = check(context, &options)?;
    let settings = settings.with_sweep(sweep.as_ref());
    for (is_set, option) in [
        (args.ignore_file_mounts, "--ignore-file-mounts"),
        (options.no_fail_fast, "--no-fail-fast"),
        (options.no_barrier, "--no-barrier"),
        (options.recover, "--recover"),
    ] {
        origin.options.extend(is_set.then(|| option.to_owned()));
    }
    name_secrets(&mut origin, &settings);
    let file = task_file::read(&args.file, &mut context.input, &settings)?;
    let mounts = match args.ignore_file_mounts {
        true => FileMounts::Ignored,
        false => FileMounts::Travel,
    };
    let name = task_file::name(&args.file);
    start(context, name, file, mounts, options, origin)
}

/// `jobs rerun`: starts a task again, as it was submitted, with further changes.
pub fn rerun(context: &mut Context<'_>, mut args: RerunArgs) -> Result<Exit, Error> {
    let changes = args.take_changes();
    let mut options = args.take_start();
    let sweep = check(context, &options)?;
    let client = context.client(options.server.clone())?;
    let finder = Finder::tasks(&client);
    let kept = finder.with(&args.id, |id| client.task_definition(id))?;
    let (id, mut origin) = (kept.value.task_id, kept.value.origin);
    let lost = |left_out: Option<LeftOut>| Error::NoSource { id, left_out };
    let text = kept.value.source.ok_or_else(|| lost(origin.left_out))?;
    let before = SubmitArgs::of_options(&origin.options);
    let mut before = before.ok_or_else(|| lost(None))?;
    if let Some(directory) = origin.directory.take() {
        let host = origin.host.take().unwrap_or_default();
        if host != hostname() || env::set_current_dir(&directory).is_err() {
            return Err(Error::Elsewhere {
                id,
                directory,
                host,
            });
        }
    }
    origin.options.extend(changes.to_options());
    let mut earlier = before.take_changes();
    // Names without values, which are not to be read from the environment.
    let secrets = mem::take(&mut earlier.secret);
    let settings = task_file::settings(earlier.and(changes), context.env)?;
    let settings = settings.with_sweep(sweep.as_ref());
    let is_given = |name: &String| settings.secrets.iter().any(|(given, _)| given == name);
    let mut missing: BTreeSet<String> =
        secrets.into_iter().filter(|name| !is_given(name)).collect();
    name_secrets(&mut origin, &settings);
    options.no_fail_fast |= before.no_fail_fast;
    options.no_barrier |= before.no_barrier;
    options.recover |= before.recover;
    let name = format!("the file of task {id}");
    let file = task_file::parse(&name, text.as_bytes(), &settings)?;
    missing.extend(file.task.missing_secrets.iter().cloned());
    if !missing.is_empty() {
        let options = missing.iter().map(|name| format!(" --secret {name}=VALUE"));
        let options: String = options.collect();
        return Err(Error::Usage(format!(
            "the secrets of a task are not kept: give{options}"
        )));
    }
    let mounts = match before.ignore_file_mounts {
        true => FileMounts::Ignored,
        false => FileMounts::Travel,
    };
    start(context, &name, file, mounts, options, origin)
}

/// Where a task comes from that is submitted with these changes.
fn origin(changes: &Changes) -> TaskOrigin {
    let mut changes = changes.clone();
    for file in &mut changes.env_file {
        // It is read again from any directory.
        if let Ok(absolute) = path::absolute(&*file) {
            *file = absolute.to_string_lossy().into_owned();
        }
    }
    TaskOrigin {
        options: changes.to_options(),
        ..TaskOrigin::default()
    }
}

/// Adds the names of the secrets of the command line to the options that change the file.
fn name_secrets(origin: &mut TaskOrigin, settings: &Settings) {
    const OPTION: &str = "--secret";
    for (name, _) in &settings.secrets {
        let is_named = |pair: &[String]| pair == [OPTION, name];
        if !origin.options.windows(2).any(is_named) {
            origin.options.extend([OPTION.to_owned(), name.clone()]);
        }
    }
}

/// The name of this machine.
fn hostname() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

/// `jobs run`: starts a task whose `run` is a command line.
pub fn run_command(context: &mut Context<'_>, mut args: RunArgs) -> Result<Exit, Error> {
    let changes = args.take_changes();
    let mut origin = origin(&changes);
    let settings = task_file::settings(changes, context.env)?;
    name_secrets(&mut origin, &settings);
    let options = args.take_start();
    let sweep = check(context, &options)?;
    let settings = settings.with_sweep(sweep.as_ref());
    if args.command.is_empty() {
        return Err(Error::Usage(
            "give a command: k8s-cli jobs run -- python train.py".to_owned(),
        ));
    }
    if let [word] = &args.command[..]
        && [".yaml", ".yml"].iter().any(|end| word.ends_with(end))
        && Path::new(word).is_file()
    {
        let word = hidden::escape(word);
        return Err(Error::Usage(format!(
            "`{word}` is a file, and no command: k8s-cli jobs submit {word}"
        )));
    }
    let mut mounts = Map::new();
    for (name, path) in args.volume {
        if mounts.insert(path.clone(), name.into()).is_some() {
            return Err(Error::Usage(format!("two volumes are mounted at {path}")));
        }
    }
    let mut task = Map::from_iter([("run".to_owned(), command_line(&args.command).into())]);
    if !mounts.is_empty() {
        task.insert("volumes".to_owned(), mounts.into());
    }
    let text = yaml::to_string(&task).map_err(io::Error::other)?;
    let file = task_file::parse(COMMAND_LINE, text.as_bytes(), &settings)?;
    let mounts = FileMounts::Travel;
    start(context, COMMAND_LINE, file, mounts, options, origin)
}

/// The words of a command as a line for bash. One word alone is a line already.
fn command_line(words: &[String]) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-+=./,:@%^".contains(c);
    let quoted = |word: &String| match word.chars().all(is_plain) && !word.is_empty() {
        true => word.clone(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    };
    match words {
        [line] => line.clone(),
        words => words.iter().map(quoted).collect::<Vec<_>>().join(" "),
    }
}

/// Checks options that exclude each other; returns the sweep, if there is one.
fn check(context: &Context<'_>, args: &StartOptions) -> Result<Option<Sweep>, Error> {
    let format = context.format(args.output);
    let sweep = args.sweep().map_err(Error::Usage)?;
    let follows = !args.detach && args.wait_for.is_none() && sweep.is_none();
    if follows && !args.dry_run && matches!(format, Format::Json | Format::Yaml) {
        return Err(Error::Usage(
            "`-o json` and `-o yaml` need --detach: the log would follow the document".to_owned(),
        ));
    }
    if args.timeout.is_some() && args.wait_for.is_none() {
        return Err(Error::Usage("--timeout needs --wait-for".to_owned()));
    }
    if args.wait.is_some() && args.wait_for.is_some() {
        return Err(Error::Usage(
            "--wait is about the log: with --wait-for give --timeout".to_owned(),
        ));
    }
    if args.dry_run && matches!(args.output, Some(Format::Table | Format::Tsv)) {
        return Err(Error::Usage(
            "--dry-run prints objects: `-o yaml`, `-o json` or `-o name`".to_owned(),
        ));
    }
    Ok(sweep)
}

/// Starts a task, and follows its log unless the options say otherwise. `name` is that of the file in messages.
fn start(
    context: &mut Context<'_>,
    name: &str,
    mut file: TaskFile,
    mounts: FileMounts,
    args: StartOptions,
    mut origin: TaskOrigin,
) -> Result<Exit, Error> {
    origin.left_out = file.source.as_ref().err().copied();
    let mut source = TaskSource {
        text: file.source.as_ref().ok().cloned(),
        definition: None,
        origin,
    };
    let format = context.format(args.output);
    let follows = !args.detach && args.wait_for.is_none();
    let sweep = check(context, &args)?;
    let client = context.client(args.server)?;
    let flags = SubmitFlags {
        fail_fast: !args.no_fail_fast,
        barrier: !args.no_barrier,
        recover: args.recover,
    };
    let mut archive = pack(
        context,
        &client,
        name,
        &mut file,
        mounts,
        flags,
        &mut source,
    )?;
    if args.dry_run {
        let answer = with_stream(context, archive.as_mut(), |files| {
            client.submit_dry_run(&file.task, flags, sweep.as_ref(), files)
        })?;
        match args.output {
            Some(Format::Json) => output::document(context.out, Format::Json, &answer.body)?,
            Some(Format::Name) => output::object_names(context.out, &answer.value.manifests)?,
            _ => output::yaml_stream(context.out, &answer.value.manifests)?,
        }
        context.out.flush()?;
        warn(context, name, &file.warnings, &answer.value.warnings);
        if let Some(archive) = archive {
            context.say(&archive.packed.to_string());
        }
        return Ok(Exit::Done);
    }
    let key = &RequestKey::new(args.idempotency_key.as_deref())?;
    if let Some(sweep) = sweep {
        let submitted = client.until_answered(|| {
            with_stream(context, archive.as_mut(), |files| {
                client.submit_group(&file.task, flags, &sweep, files, &source, key)
            })
        })?;
        let GroupSubmitResponse {
            group_id,
            task_ids,
            warnings,
            ..
        } = submitted.value;
        let body = &submitted.body;
        let made = context.brief(format);
        output::made(context.out, made, "group", &group_id, "submitted", body)?;
        warn(context, name, &file.warnings, &warnings);
        if let Some(awaited) = args.wait_for {
            return wait::for_submitted(context, &client, task_ids, awaited, args.timeout);
        }
        if context.terminal.err {
            context.say(&format!(
                "hint: see its {} tasks with `k8s-cli jobs list --group {group_id}`",
                task_ids.len()
            ));
        }
        return Ok(Exit::Done);
    }
    let submitted = client.until_answered(|| {
        with_stream(context, archive.as_mut(), |files| match files {
            Some(files) => client.submit_with_files(&file.task, flags, files, &source, key),
            None => client.submit(&file.task, flags, &source, key),
        })
    })?;
    // From here on Ctrl-C detaches from the task.
    let feed = follows.then(LogFeed::listen);

    let TaskSubmitResponse {
        task_id, warnings, ..
    } = submitted.value;
    // Printed and flushed before the log begins, because a script may need the id at once.
    let made = context.brief(format);
    let printed = output::made(
        context.out,
        made,
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
    warn(context, name, &file.warnings, &warnings);
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
            let followed = follow(context, &client, feed, task_id, query, style, None);
            logs::or_unfinished(&client, &task_id, followed)
        }
        None if let Some(awaited) = args.wait_for => {
            wait::for_submitted(context, &client, vec![task_id], awaited, args.timeout)
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
    send: impl FnOnce(Option<Stream<'_>>) -> Result<T, Error>,
) -> Result<T, Error> {
    let mut progress = context.progress("sending");
    let Some(archive) = archive else {
        return send(None);
    };
    archive.rewind()?;
    let length = archive.packed.about.size;
    let bytes = Box::new(progress.of(&mut archive.file, length));
    send(Some(Stream { bytes, length }))
}

/// Packs the files of a task, if the server takes them, and takes their names out of the definition.
fn pack(
    context: &mut Context<'_>,
    client: &ApiClient,
    name: &str,
    file: &mut TaskFile,
    mounts: FileMounts,
    flags: SubmitFlags,
    source: &mut TaskSource,
) -> Result<Option<Archive>, Error> {
    let sources =
        files::sources(file, mounts, context.env).map_err(|problems| Error::TaskFile {
            name: name.to_owned(),
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
    let directory = env::current_dir().ok();
    source.origin.directory = directory.map(|path| path.to_string_lossy().into_owned());
    source.origin.host = Some(hostname());
    let limit = client.check(&file.task, flags, source)?;
    files::pack(context, &sources, &limit).map(Some)
}

/// Prints the warnings of the task file's parser with their lines, and those that only the server gave.
fn warn(context: &mut Context<'_>, name: &str, of_file: &[Finding], of_server: &[String]) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_reach_the_program_as_they_were_typed() {
        for (words, line) in [
            (&["make && ./train $HOME"][..], "make && ./train $HOME"),
            (
                &["python", "train.py", "--lr=0.1"],
                "python train.py --lr=0.1",
            ),
            (&["echo", "a b", "$HOME", ""], "echo 'a b' '$HOME' ''"),
            (&["echo", "it's", "*"], r"echo 'it'\''s' '*'"),
        ] {
            let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
            assert_eq!(command_line(&words), line);
        }
    }
}
