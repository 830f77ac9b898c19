//! Tables for people, with columns that are aligned as kubectl does it.

use std::io::{self, Write};

use tabled::{
    builder::Builder,
    settings::{Color, Padding, Style},
};

use unicode_width::UnicodeWidthStr;

use super::{cut, escape};

/// The space between two columns.
const GAP: usize = 3;
/// The columns that may be shortened, in this order, each with its least width: first to what still says something, then to the titles,
/// and at last, with a shorter title, to what only shows that there is more.
const SHORTENED: [(&str, usize); 15] = [
    ("REASON", 20),
    ("USED BY", 20),
    ("PARAMETERS", 20),
    ("NAME", 12),
    ("NODES", 20),
    ("NODE", 20),
    ("TYPE", 8),
    ("NODE", 8),
    ("REASON", 6),
    ("USED BY", 10),
    ("PARAMETERS", 10),
    ("NAME", 4),
    ("NODES", 10),
    ("PARAMETERS", 4),
    ("REASON", 4),
];
/// The most columns of such a cell if the width of the terminal is not known.
const USUAL: usize = 60;

/// How a table is printed.
#[derive(Clone, Copy, Debug)]
pub struct Sheet {
    pub has_header: bool,
    /// Whether names, parameters and reasons are whole.
    pub is_whole: bool,
    /// The columns of the terminal, if they are known.
    pub width: Option<usize>,
    /// Whether the status has a colour.
    pub has_colors: bool,
}

impl Default for Sheet {
    fn default() -> Self {
        Self {
            has_header: true,
            is_whole: false,
            width: None,
            has_colors: false,
        }
    }
}

/// Prints a table. Names, parameters and reasons are shortened so that a row fits into the terminal; other cells never are.
pub fn table(
    out: &mut dyn Write,
    sheet: Sheet,
    header: &[&str],
    rows: Vec<Vec<String>>,
) -> io::Result<()> {
    let mut rows: Vec<Vec<String>> = rows
        .into_iter()
        .map(|row| row.iter().map(|cell| escape(cell)).collect())
        .collect();
    let mut titles: Vec<String> = header.iter().map(|title| (*title).to_owned()).collect();
    if !sheet.is_whole {
        fit(&mut rows, &mut titles, sheet);
    }
    let mut builder = Builder::with_capacity(rows.len() + 1, header.len());
    if sheet.has_header {
        builder.push_record(&titles);
    }
    for row in &rows {
        builder.push_record(row);
    }
    let mut table = builder.build();
    table.with(Style::empty()).with(Padding::new(0, GAP, 0, 0));
    let status = header.iter().position(|name| *name == "STATUS");
    if let Some(column) = status.filter(|_| sheet.has_colors) {
        for (index, row) in rows.iter().enumerate() {
            if let Some(color) = color(&row[column]) {
                table.modify((index + usize::from(sheet.has_header), column), color);
            }
        }
    }
    for line in table.to_string().lines() {
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// Shortens names, parameters and reasons.
fn fit(rows: &mut [Vec<String>], titles: &mut [String], sheet: Sheet) {
    let width_of = |rows: &[Vec<String>], title: &str, column: usize| {
        let cells = rows.iter().map(|row| row[column].width());
        let title = title.width() * usize::from(sheet.has_header);
        cells.max().unwrap_or(0).max(title)
    };
    let columns = titles.iter().enumerate();
    let all: usize = columns
        .map(|(column, title)| width_of(rows, title, column))
        .sum();
    let all = all + GAP * titles.len().saturating_sub(1);
    let columns = SHORTENED.map(|(name, _)| titles.iter().position(|title| title == name));
    let mut excess = sheet.width.map_or(0, |width| all.saturating_sub(width));
    for (column, (_, least)) in columns.into_iter().zip(SHORTENED) {
        let Some(column) = column else { continue };
        let width = width_of(rows, &titles[column], column);
        let wanted = match sheet.width {
            Some(_) => width.saturating_sub(excess).max(least),
            None => USUAL,
        };
        for row in rows.iter_mut() {
            row[column] = cut(&row[column], wanted);
        }
        titles[column] = cut(&titles[column], wanted);
        let now = width_of(rows, &titles[column], column);
        excess = excess.saturating_sub(width.saturating_sub(now));
    }
}

/// A status with its colour.
pub fn paint(status: &str) -> String {
    let text = escape(status);
    color(status).map_or_else(|| text.clone(), |color| color.colorize(&text))
}

/// The colour of a status, which also says it in words.
fn color(status: &str) -> Option<Color> {
    match status {
        "failed" | "Lost" => Some(Color::FG_RED),
        "completed" | "Bound" => Some(Color::FG_GREEN),
        "running" => Some(Color::FG_CYAN),
        "pending" | "stopping" | "Pending" | "Terminating" => Some(Color::FG_YELLOW),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::tests::written;

    fn of(sheet: Sheet, cells: &[&str]) -> String {
        let row = cells.iter().map(|cell| (*cell).to_owned()).collect();
        let header = &["ID", "NAME", "STATUS", "REASON"][..cells.len()];
        written(|out| table(out, sheet, header, vec![row]))
    }

    #[test]
    fn a_table_is_aligned_and_has_no_trailing_space() {
        let rows = vec![
            vec!["ab12cd34".to_owned(), "a\tb\x1b[31m".to_owned()],
            vec!["ef56gh78".to_owned(), String::new()],
        ];
        let table = written(|out| table(out, Sheet::default(), &["ID", "NAME"], rows));
        assert_eq!(
            table,
            "ID         NAME\nab12cd34   a\\tb\\u{1b}[31m\nef56gh78\n"
        );
    }

    #[test]
    fn a_status_has_a_colour_and_the_rest_has_none() {
        let sheet = Sheet {
            has_colors: true,
            has_header: false,
            ..Sheet::default()
        };
        assert_eq!(
            of(sheet, &["a", "b", "failed", "x"]),
            "a   b   \x1b[31mfailed\x1b[39m   x\n"
        );
        assert_eq!(of(sheet, &["a", "failed", "odd"]), "a   failed   odd\n");
    }

    #[test]
    fn a_row_of_a_group_fits_too() {
        let cells = [
            "gr00up00",
            "train-*",
            "running",
            "7/40 done, 4 running, 1 failed",
            "10m ago",
        ];
        let header = ["ID", "NAME", "STATUS", "NODES", "CREATED"];
        for (width, counts) in [
            (80, "7/40 done, 4 running, 1 failed"),
            (60, "7/40 done, 4 runnin…"),
            (50, "7/40 done, …"),
        ] {
            let sheet = Sheet {
                width: Some(width),
                ..Sheet::default()
            };
            let row = cells.map(str::to_owned).to_vec();
            let table = written(|out| table(out, sheet, &header, vec![row]));
            assert!(table.contains(counts), "{table}");
            assert!(table.lines().all(|line| line.width() <= width), "{table}");
        }
    }

    #[test]
    fn wide_characters_take_two_columns() {
        assert_eq!(cut("日本語", 6), "日本語");
        assert_eq!(cut("日本語", 5), "日本…");
        assert_eq!(cut("日本語", 4), "日…");
        let sheet = Sheet {
            width: Some(40),
            ..Sheet::default()
        };
        let table = of(sheet, &["ab12cd34", "a", "failed", &"日".repeat(50)]);
        let row = table.lines().nth(1).unwrap();
        assert_eq!(row.width(), 40, "{row}");
    }

    #[test]
    fn a_narrow_terminal_shortens_the_reason_and_then_the_name() {
        let cells = ["ab12cd34", &"n".repeat(30), "running", &"r".repeat(50)];
        for (width, name, reason) in [
            (200, 30, 50),
            (104, 30, 50),
            (90, 30, 36),
            (74, 30, 20),
            (60, 16, 20),
            (50, 12, 14),
            (30, 4, 4),
        ] {
            let sheet = Sheet {
                width: Some(width),
                ..Sheet::default()
            };
            let table = of(sheet, &cells);
            let count = |c| table.chars().filter(|other| *other == c).count();
            let shown = |count: usize, all| if count == all { all } else { count + 1 };
            let row = table.lines().nth(1).unwrap();
            // The letters of `running` are not those of the name.
            let names = shown(count('n') - 3, 30);
            let reasons = shown(count('r') - 1, 50);
            assert_eq!((names, reasons), (name, reason), "{width}");
            assert!(row.chars().count() <= width.max(32), "{width}: {row}");
        }
    }
}
