//! `k8s-cli completion`: the scripts of the shells, and the candidates that these ask for.

use std::collections::HashMap;

use crate::{
    api::{ListQuery, TaskStatus},
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
        let found = listed(context, objects).unwrap_or_default();
        let found = match last {
            // Everything has an id; the name is offered to who begins to type it.
            "" => found.into_iter().map(Object::by_id).collect(),
            _ => by_id_or_name(found, last),
        };
        output::tsv(context.out, found)?;
    }
    Ok(Exit::Done)
}

/// An object of the user, as a list shows it.
struct Object {
    id: String,
    name: String,
    status: String,
    /// Whether no other object of the user has this name.
    is_unique: bool,
}

impl Object {
    fn by_id(self) -> Vec<String> {
        vec![self.id, format!("{} {}", self.name, self.status)]
    }

    fn by_name(self) -> Vec<String> {
        vec![self.name, format!("{} {}", self.id, self.status)]
    }
}

/// The candidates that begin with a word: ids, and the names that a command takes because only one object has them.
fn by_id_or_name(objects: Vec<Object>, word: &str) -> Vec<Vec<String>> {
    let candidate = |object: Object| match object.id.starts_with(word) {
        true => Some(object.by_id()),
        false if object.is_unique && object.name.starts_with(word) => Some(object.by_name()),
        false => None,
    };
    objects.into_iter().filter_map(candidate).collect()
}

/// The objects of the user that a command takes.
fn listed(context: &mut Context<'_>, objects: Objects) -> Result<Vec<Object>, Error> {
    let client = context.client(ServerOptions::default())?;
    if objects == Objects::Volumes {
        let volumes = client.list_volumes(false)?.value.volumes.into_iter();
        let rows = volumes.map(|volume| Object {
            id: volume.volume_id.to_string(),
            name: volume.name,
            status: volume.status.to_string(),
            is_unique: true,
        });
        return Ok(rows.collect());
    }
    let tasks = client.list_tasks(false, &ListQuery::default())?.value.tasks;
    let mut times: HashMap<&str, u32> = HashMap::new();
    for task in &tasks {
        *times.entry(&task.name).or_default() += 1;
    }
    let is_taken = |task: &&TaskStatus| match objects {
        Objects::UnfinishedTasks => !task.status.is_terminal(),
        Objects::FinishedTasks => task.status.is_terminal(),
        Objects::Tasks | Objects::Volumes => true,
    };
    let rows = tasks.iter().filter(is_taken).map(|task| Object {
        id: task.task_id.to_string(),
        name: task.name.clone(),
        status: task.status.to_string(),
        is_unique: times[&*task.name] == 1,
    });
    Ok(rows.collect())
}
