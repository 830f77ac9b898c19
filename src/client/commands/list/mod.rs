//! `k8s-cli jobs list`: lists tasks, once, or with `--watch` again and again.

mod watch;

use crate::{
    api::{ListQuery, TaskStatus, Timestamp, User},
    cli::{Format, ListArgs},
    client::{
        Context, Error, Exit,
        output::{self, Columns, Sheet, task_view},
    },
};

/// How tasks are printed.
struct Look {
    format: Format,
    columns: Columns,
    sheet: Sheet,
}

pub fn run(context: &mut Context<'_>, mut args: ListArgs) -> Result<Exit, Error> {
    let client = context.client(args.take_server())?;
    let is_other = |user: &String| client.user().map(User::as_str) != Some(user.as_str());
    let all_users = args.all_users || args.user.as_ref().is_some_and(is_other);
    let query = ListQuery {
        statuses: args.status.unwrap_or_default(),
        name: args.name,
        user: args.user,
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
    let answer = client.list_tasks(all_users, &query)?;
    let tasks = &answer.value.tasks;
    match format {
        Format::Json | Format::Yaml => output::document(context.out, format, &answer.body)?,
        _ if tasks.is_empty() => context.say("no tasks"),
        _ => {
            // The clock of this machine may be wrong.
            let now = answer.time.unwrap_or(context.now);
            look.print(context, tasks, now)?;
        }
    }
    if answer.value.next.is_some() && context.terminal.err {
        context.say("hint: there are more tasks; --limit sets how many are listed");
    }
    Ok(Exit::Done)
}

impl Look {
    /// Prints tasks as a table, as lines or as ids.
    fn print(
        &self,
        context: &mut Context<'_>,
        tasks: &[TaskStatus],
        now: Timestamp,
    ) -> Result<(), Error> {
        match self.format {
            Format::Table | Format::Wide => {
                task_view::table(context.out, tasks, self.columns, self.sheet, now)?;
            }
            Format::Name => {
                let ids = tasks.iter().map(|task| vec![task.task_id.to_string()]);
                output::tsv(context.out, ids)?;
            }
            _ => {
                self.print_titles(context)?;
                task_view::tsv(context.out, tasks)?;
            }
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
