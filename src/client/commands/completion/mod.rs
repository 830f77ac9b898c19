//! `k8s-cli completion`: the scripts of the shells, and the candidates that these ask for.

use crate::{
    api::ListQuery,
    cli::{Candidates, CompletionArgs, Objects, ServerOptions, Shell, candidates},
    client::{Context, Error, Exit, output},
};

pub fn run(context: &mut Context<'_>, args: CompletionArgs) -> Result<Exit, Error> {
    let script = match args.shell {
        Shell::Bash => include_str!("bash.sh"),
        Shell::Zsh => include_str!("zsh.sh"),
        Shell::Fish => include_str!("fish.fish"),
        Shell::Words => return words(context, &args.words),
    };
    context.out.write_all(script.as_bytes())?;
    Ok(Exit::Done)
}

/// Prints the candidates for the last word, one a line; what follows a tab describes one.
fn words(context: &mut Context<'_>, words: &[String]) -> Result<Exit, Error> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let last = words.last().copied().unwrap_or_default();
    let Candidates { words, objects } = candidates(&words);
    output::tsv(context.out, words.into_iter().map(|word| vec![word]))?;
    if let Some(objects) = objects {
        // Somebody who presses Tab wants no message.
        let mut found = listed(context, objects).unwrap_or_default();
        found.retain(|row| row[0].starts_with(last));
        output::tsv(context.out, found)?;
    }
    Ok(Exit::Done)
}

/// The ids of objects of the user, with their names and states.
fn listed(context: &mut Context<'_>, objects: Objects) -> Result<Vec<Vec<String>>, Error> {
    let client = context.client(ServerOptions::default())?;
    if objects == Objects::Volumes {
        let volumes = client.list_volumes(false)?.value.volumes.into_iter();
        let rows = volumes.map(|volume| vec![volume.volume_id.to_string(), volume.name]);
        return Ok(rows.collect());
    }
    let mut tasks = client.list_tasks(false, &ListQuery::default())?.value.tasks;
    tasks.retain(|task| match objects {
        Objects::UnfinishedTasks => !task.status.is_terminal(),
        Objects::FinishedTasks => task.status.is_terminal(),
        Objects::Tasks | Objects::Volumes => true,
    });
    let rows = tasks.into_iter().map(|task| {
        let about = format!("{} {}", task.name, task.status);
        vec![task.task_id.to_string(), about]
    });
    Ok(rows.collect())
}
