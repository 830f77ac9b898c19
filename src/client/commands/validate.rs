//! `k8s-cli jobs validate`: checks task files without a server.

use serde::Serialize;
use serde_json::Value;

use crate::{
    api::{TaskDefinition, mask, masked},
    cli::{Format, ValidateArgs},
    client::{
        Context, Error, Exit,
        files::{self, FileMounts},
        output,
        task_file::{self, Finding, Settings},
    },
};

/// The report on one file: an element of `-o json`.
#[derive(Default, Serialize)]
struct FileReport {
    file: String,
    valid: bool,
    errors: Vec<Remark>,
    warnings: Vec<Remark>,
    /// Whether the file cannot be read, or is not YAML.
    #[serde(skip)]
    is_unreadable: bool,
    /// The definition that would be sent, without the values of its secrets.
    task: Option<Value>,
}

#[derive(Serialize)]
struct Remark {
    line: Option<usize>,
    message: String,
}

pub fn run(context: &mut Context<'_>, mut args: ValidateArgs) -> Result<Exit, Error> {
    let settings = task_file::settings(args.take_changes(), context.env)?;
    let mut reports = vec![check_file(context, args.file, &settings)?];
    for file in args.files {
        reports.push(check_file(context, file, &settings)?);
    }
    match args.output {
        Some(format @ (Format::Json | Format::Yaml)) => {
            let document = serde_json::to_vec(&reports).map_err(std::io::Error::from)?;
            output::document(context.out, format, &document)?;
        }
        Some(Format::Name) => {
            let names = reports.iter().filter(|report| report.valid);
            output::tsv(context.out, names.map(|report| vec![report.file.clone()]))?;
        }
        _ => {
            for report in &reports {
                write(context, report)?;
            }
        }
    }
    let is_all_valid = reports.iter().all(|report| report.valid);
    Ok(if is_all_valid {
        Exit::Done
    } else {
        Exit::Failed
    })
}

fn check_file(
    context: &mut Context<'_>,
    file: String,
    settings: &Settings,
) -> Result<FileReport, Error> {
    let remarks = |findings: Vec<Finding>| findings.into_iter().map(Remark::from).collect();
    let mut report = FileReport {
        file: masked(task_file::name(&file)).into_owned(),
        ..FileReport::default()
    };
    match task_file::read(&file, &mut context.input, settings) {
        Ok(file) => {
            report.valid = true;
            report.task = Some(public(&file.task)?);
            let about_files = match files::sources(&file, FileMounts::Travel, context.env) {
                Ok(sources) => sources.notes,
                Err(mut problems) => {
                    for problem in &mut problems {
                        problem.message += "; `jobs submit` refuses it";
                    }
                    problems
                }
            };
            let about_files = about_files
                .into_iter()
                .map(|problem| file.locate(problem))
                .collect();
            report.warnings = remarks([file.warnings, about_files].concat());
        }
        Err(Error::TaskFile { findings, .. }) => report.errors = remarks(findings),
        Err(error @ (Error::Yaml { .. } | Error::File { .. })) => {
            let (line, message) = (None, masked(&error.to_string()).into_owned());
            report.errors = vec![Remark { line, message }];
            report.is_unreadable = true;
        }
        Err(other) => return Err(other),
    }
    Ok(report)
}

impl From<Finding> for Remark {
    fn from(finding: Finding) -> Self {
        Self {
            line: finding.line,
            message: masked(&finding.to_string()).into_owned(),
        }
    }
}

/// The definition with the values of its secrets hidden, and other passwords.
fn public(task: &TaskDefinition) -> Result<Value, Error> {
    let mut task = serde_json::to_value(task).map_err(std::io::Error::from)?;
    let secrets = task.get_mut("secrets").and_then(Value::as_object_mut);
    for (_, secret) in secrets.into_iter().flatten() {
        if secret.is_string() {
            *secret = "<hidden>".into();
        }
    }
    mask(&mut task);
    Ok(task)
}

/// Prints a line for each remark, as compilers do, and one for a valid file.
fn write(context: &mut Context<'_>, report: &FileReport) -> Result<(), Error> {
    let FileReport { file, .. } = report;
    for (kind, remarks) in [("error", &report.errors), ("warning", &report.warnings)] {
        for Remark { line, message } in remarks {
            let line = match line {
                // The error of an unreadable file names the place itself.
                None if report.is_unreadable => message.clone(),
                Some(line) => format!("{file}:{line}: {kind}: {message}"),
                None => format!("{file}: {kind}: {message}"),
            };
            writeln!(context.out, "{}", output::escape(&line))?;
        }
    }
    if report.valid {
        writeln!(context.out, "{}: ok", output::escape(file))?;
    }
    Ok(())
}
