//! `k8s-cli volumes`: creates, lists and deletes volumes.

use std::{
    io::{self, Write},
    iter, mem,
};

use serde_json::json;

use super::{documents, find::Finder, for_each};
use crate::{
    api::{Timestamp, VolumeDefinition, VolumeStatus, describe, short_username},
    cli::{
        Format, VolumeCreateArgs, VolumeDeleteArgs, VolumeListArgs, VolumeStatusArgs,
        VolumesCommand, When,
    },
    client::{
        Context, Error, Exit,
        http::RequestKey,
        output::{self, Clock, Columns, Sheet},
    },
};

pub fn run(context: &mut Context<'_>, command: VolumesCommand) -> Result<Exit, Error> {
    match command {
        VolumesCommand::Create(args) => create(context, args),
        VolumesCommand::List(args) => list(context, args),
        VolumesCommand::Status(args) => status(context, args),
        VolumesCommand::Delete(args) => delete(context, args),
    }
}

fn create(context: &mut Context<'_>, mut args: VolumeCreateArgs) -> Result<Exit, Error> {
    let definition = json!({
        "name": args.name, "size": args.size, "storage_class": args.storage_class, "access_modes": args.access_modes,
    });
    let definition = VolumeDefinition::from_json(&definition)
        .map_err(|problems| Error::Usage(describe(&problems)))?;
    let client = context.client(args.take_server())?;
    let key = RequestKey::new(args.idempotency_key.as_deref())?;
    let created = client.until_answered(|| client.create_volume(&definition, &key))?;
    let (format, id) = (context.format(args.output), created.value.volume_id);
    output::made(context.out, format, "volume", &id, "created", &created.body)?;
    Ok(Exit::Done)
}

fn list(context: &mut Context<'_>, mut args: VolumeListArgs) -> Result<Exit, Error> {
    let all_users = args.all_users;
    let details = args.details || args.output == Some(Format::Wide);
    let answer = context
        .client(args.take_server())?
        .list_volumes(all_users)?;
    let volumes = &answer.value.volumes;
    match context.format(args.output) {
        format @ (Format::Json | Format::Yaml) => {
            output::document(context.out, format, &answer.body)?;
        }
        _ if volumes.is_empty() => context.say("no volumes"),
        Format::Table | Format::Wide => {
            let columns = Columns { details, all_users };
            let now = answer.time.unwrap_or(context.now);
            let sheet = context.sheet(When::Auto);
            table(context.out, volumes, columns, sheet, now)?;
        }
        Format::Tsv => output::tsv(context.out, volumes.iter().map(cells))?,
        Format::Name => {
            let ids = volumes.iter().map(|volume| volume.volume_id.to_string());
            output::tsv(context.out, ids.map(|id| vec![id]))?;
        }
    }
    Ok(Exit::Done)
}

fn status(context: &mut Context<'_>, mut args: VolumeStatusArgs) -> Result<Exit, Error> {
    let client = context.client(args.take_server())?;
    let (format, is_list) = (context.format(args.output), !args.ids.is_empty());
    let (mut bodies, mut is_first) = (Vec::new(), true);
    let ids = iter::once(args.id).chain(args.ids);
    let finder = Finder::volumes(&client);
    let shown = for_each(context, ids, |context, typed| {
        let answer = finder.with(&typed, |id| client.volume(id))?;
        match format {
            Format::Name => writeln!(context.out, "{}", answer.value.volume_id)?,
            Format::Json | Format::Yaml => bodies.push(answer.body),
            format => {
                if !mem::take(&mut is_first) {
                    writeln!(context.out)?;
                }
                let sheet = context.sheet(When::Auto);
                let clock = Clock::at(answer.time.unwrap_or(context.now));
                block(context.out, format, sheet, &answer.value, &clock)?;
            }
        }
        Ok(())
    });
    if matches!(format, Format::Json | Format::Yaml) {
        documents(context, format, &bodies, is_list)?;
    }
    shown
}

fn delete(context: &mut Context<'_>, mut args: VolumeDeleteArgs) -> Result<Exit, Error> {
    let client = context.client(args.take_server())?;
    let (format, is_list) = (context.format(args.output), !args.ids.is_empty());
    if !args.force && !context.terminal.input {
        return Err(Error::CannotAsk {
            subject: format!("volume `{}`", args.id),
        });
    }
    let mut bodies = Vec::new();
    let ids = iter::once(args.id).chain(args.ids);
    let finder = Finder::volumes(&client).with_care(context);
    let deleted = for_each(context, ids, |context, typed| {
        let deleted = match args.force {
            true => finder.with(&typed, |id| client.delete_volume(id))?,
            false => {
                let volume = finder.with(&typed, |id| client.volume(id))?.value;
                context.ask(&question(&volume))?;
                client.delete_volume(&volume.volume_id)?
            }
        };
        let id = deleted.value.volume_id;
        match format {
            Format::Name => writeln!(context.out, "{id}")?,
            Format::Json | Format::Yaml => bodies.push(deleted.body),
            Format::Table | Format::Wide | Format::Tsv => {
                context.confirm(&deleted.value.message)?;
            }
        }
        Ok(())
    });
    if matches!(format, Format::Json | Format::Yaml) {
        documents(context, format, &bodies, is_list)?;
    }
    deleted
}

/// What the user is asked before a volume is deleted with its data.
fn question(volume: &VolumeStatus) -> String {
    let VolumeStatus {
        volume_id,
        name,
        size,
        status,
        username,
        ..
    } = volume;
    let users = match used_by(volume) {
        users if users.is_empty() => String::new(),
        users => format!(", used by {users}"),
    };
    format!(
        "delete volume {volume_id} ({name}, {size}, {status}, of {username}{users}) and all its data?"
    )
}

fn table(
    out: &mut dyn Write,
    volumes: &[VolumeStatus],
    columns: Columns,
    sheet: Sheet,
    now: Timestamp,
) -> io::Result<()> {
    let Columns { details, all_users } = columns;
    let users = details || all_users;
    let reasons = details || volumes.iter().any(|volume| volume.reason.is_some());
    let mut header = vec!["ID", "NAME", "SIZE", "STATUS", "CREATED"];
    header.extend(users.then_some("USER"));
    if details {
        header.extend(["CLASS", "MODES", "CLAIM", "NAMESPACE"]);
    }
    let is_used = volumes.iter().any(|volume| !volume.used_by.is_empty());
    header.extend(is_used.then_some("USED BY"));
    header.extend(reasons.then_some("REASON"));
    let rows = volumes.iter().map(|volume| {
        let mut row = vec![
            volume.volume_id.to_string(),
            volume.name.clone(),
            volume.size.clone(),
            volume.status.to_string(),
            output::ago(volume.created_at, now),
        ];
        row.extend(users.then(|| short_username(&volume.username).to_owned()));
        if details {
            row.push(volume.storage_class.clone().unwrap_or_default());
            row.push(modes(volume));
            row.push(volume.metadata.pvc_name.clone());
            row.push(volume.metadata.namespace.clone());
        }
        row.extend(is_used.then(|| used_by(volume)));
        row.extend(reasons.then(|| volume.reason.clone().unwrap_or_default()));
        row
    });
    let sheet = Sheet {
        is_whole: details,
        ..sheet
    };
    output::table(out, sheet, &header, rows.collect())
}

/// The line for scripts. The columns do not depend on flags, and new ones are added at the end.
fn cells(volume: &VolumeStatus) -> Vec<String> {
    vec![
        volume.volume_id.to_string(),
        volume.name.clone(),
        volume.size.clone(),
        volume.status.to_string(),
        volume.created_at.to_string(),
        volume.username.clone(),
        volume.storage_class.clone().unwrap_or_default(),
        modes(volume),
        volume.metadata.pvc_name.clone(),
        volume.metadata.namespace.clone(),
        volume.reason.clone().unwrap_or_default(),
        used_by(volume),
    ]
}

/// One volume, key by key. Keys without a value are left out.
fn block(
    out: &mut dyn Write,
    format: Format,
    sheet: Sheet,
    volume: &VolumeStatus,
    clock: &Clock,
) -> io::Result<()> {
    let created = match format.is_for_people() {
        true => clock.show(volume.created_at),
        false => volume.created_at.to_string(),
    };
    let mut pairs = vec![
        ("id", volume.volume_id.to_string()),
        ("name", volume.name.clone()),
        ("size", volume.size.clone()),
        ("status", volume.status.to_string()),
        ("reason", volume.reason.clone().unwrap_or_default()),
        ("created", created),
        ("user", volume.username.clone()),
        ("class", volume.storage_class.clone().unwrap_or_default()),
        ("modes", modes(volume)),
        ("claim", volume.metadata.pvc_name.clone()),
        ("namespace", volume.metadata.namespace.clone()),
        ("used by", used_by(volume)),
    ];
    pairs.retain(|(_, value)| !value.is_empty());
    let pairs = pairs
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value));
    output::pairs(out, format, sheet, pairs.collect())
}

/// The unfinished tasks that mount a volume.
fn used_by(volume: &VolumeStatus) -> String {
    let users = volume.used_by.iter().map(ToString::to_string);
    users.collect::<Vec<_>>().join(",")
}

fn modes(volume: &VolumeStatus) -> String {
    let modes = volume.access_modes.iter().map(ToString::to_string);
    modes.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests;
