//! `k8s-cli jobs show`: prints the file of a task.

use super::find::Finder;
use crate::{
    cli::{Format, ShowArgs},
    client::{Context, Error, Exit, output},
    hidden,
};

const BYTE_ORDER_MARK: &str = "\u{feff}";

pub fn run(context: &mut Context<'_>, mut args: ShowArgs) -> Result<Exit, Error> {
    let client = context.client(args.take_server())?;
    let finder = Finder::tasks(&client);
    let answer = finder.with(&args.id, |id| client.task_definition(id))?;
    let file = answer.value;
    if let Some(format @ (Format::Json | Format::Yaml)) = args.output {
        output::document(context.out, format, &answer.body)?;
        return Ok(Exit::Done);
    }
    let (id, left_out) = (file.task_id, file.origin.left_out);
    match (file.source, file.definition) {
        (Some(text), _) => {
            // A byte order mark is one only at the beginning.
            let (mark, text) = match text.strip_prefix(BYTE_ORDER_MARK) {
                Some(text) => (BYTE_ORDER_MARK, text),
                None => ("", text.as_str()),
            };
            // In a pipe or a file it is to be submitted again.
            let is_seen = context.terminal.is_read_by_a_person();
            let shown = |text: &str| match is_seen {
                true => safe(text),
                false => text.to_owned(),
            };
            context.out.write_all(shown(mark).as_bytes())?;
            let options = file.origin.options;
            if !options.is_empty() {
                let options = output::escape(&options.join(" "));
                writeln!(context.out, "# submitted with: {options}")?;
            }
            context.out.write_all(shown(text).as_bytes())?;
            if is_seen && !text.ends_with('\n') {
                writeln!(context.out)?;
            }
        }
        (None, Some(definition)) => {
            output::yaml_stream(context.out, &[definition])?;
            let lost = Error::NoSource { id, left_out };
            context.say(&format!(
                "{lost}: this is what it asked for, without its scripts"
            ));
        }
        (None, None) => return Err(Error::NoSource { id, left_out }),
    }
    Ok(Exit::Done)
}

/// A text that is safe for a terminal, line by line.
fn safe(text: &str) -> String {
    let is_space = |c: char| c == '\n' || c == '\t';
    let parts = text.split_inclusive(is_space);
    parts
        .map(|part| match part.strip_suffix(is_space) {
            Some(words) => hidden::escape(words) + &part[words.len()..],
            None => hidden::escape(part),
        })
        .collect()
}
