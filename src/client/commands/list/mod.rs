//! `k8s-cli jobs list`: lists tasks, once, or with `--watch` again and again.

mod watch;

use super::find;
use crate::{
    api::{ListQuery, Timestamp, User},
    cli::{Format, ListArgs},
    client::{
        Context, Error, Exit,
        output::{
            self, Columns, Sheet,
            task_view::{self, Row},
        },
    },
};

/// How tasks are printed.
struct Look {
    format: Format,
    columns: Columns,
    /// Whether the tasks of a group share a row.
    folds: bool,
    sheet: Sheet,
}

pub fn run(context: &mut Context<'_>, mut args: ListArgs) -> Result<Exit, Error> {
    let client = context.client(args.take_server())?;
    let is_other = |user: &String| client.user().map(User::as_str) != Some(user.as_str());
    let all_users = args.all_users || args.user.as_ref().is_some_and(is_other);
    // A part of a group would look like the whole of it.
    let folds = args.group.is_none() && args.status.is_none() && args.name.is_none();
    let group = (args.group.as_ref()).map(|typed| find::group_id(&client, all_users, typed));
    let mut query = ListQuery {
        statuses: args.status.unwrap_or_default(),
        name: args.name,
        user: args.user,
        group: group.transpose()?,
        since: args.since,
        sort: args.sort,
        limit: args.limit,
        after: None,
        watch: args.watch,
    };
    let format = context.format(args.output);
    let look = Look {
        format,
        columns: Columns {
            details: args.details || format == Format::Wide,
            all_users,
        },
        folds: folds && format.is_for_people(),
        sheet: Sheet {
            has_header: match format {
                Format::Tsv => args.headers,
                _ => !args.no_headers,
            },
            ..context.sheet(args.color)
        },
    };
    if query.watch {
        return watch::run(context, &client, all_users, &query, look);
    }
    // The limit is one of rows.
    let limit = query.limit.filter(|_| look.folds);
    if limit.is_some() {
        query.limit = None;
    }
    let answer = client.list_tasks(all_users, &query)?;
    let tasks = &answer.value.tasks;
    let mut has_more = answer.value.next.is_some();
    match format {
        Format::Json | Format::Yaml => output::document(context.out, format, &answer.body)?,
        _ if tasks.is_empty() => context.say("no tasks"),
        _ => {
            // The clock of this machine may be wrong.
            let now = answer.time.unwrap_or(context.now);
            let mut rows = task_view::rows(tasks, look.folds);
            let limit = limit.unwrap_or(rows.len());
            has_more |= limit < rows.len();
            rows.truncate(limit);
            look.print(context, &rows, now)?;
        }
    }
    if has_more && context.terminal.err {
        context.say("hint: there are more tasks; --limit sets how many are listed");
    }
    Ok(Exit::Done)
}

impl Look {
    /// Prints rows as a table, as lines or as ids.
    fn print(
        &self,
        context: &mut Context<'_>,
        rows: &[Row<'_>],
        now: Timestamp,
    ) -> Result<(), Error> {
        if self.format.is_for_people() {
            return Ok(task_view::table(
                context.out,
                rows,
                self.columns,
                self.sheet,
                now,
            )?);
        }
        if self.format != Format::Name {
            self.print_titles(context)?;
        }
        for row in rows {
            let Row::Task(task) = row else { continue };
            let cells = match self.format {
                Format::Name => vec![task.task_id.to_string()],
                _ => task_view::cells(task).into(),
            };
            output::tsv(context.out, [cells])?;
        }
        Ok(())
    }

    /// Prints the titles of the lines for scripts, if they are asked for.
    fn print_titles(&self, context: &mut Context<'_>) -> Result<(), Error> {
        if self.sheet.has_header {
            let titles = task_view::TITLES.map(str::to_owned);
            output::tsv(context.out, [titles.into()])?;
        }
        Ok(())
    }
}
