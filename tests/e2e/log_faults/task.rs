//! A random task that prints all kinds of lines for about a second, and its expected lines.

use std::fmt::Write as _;

use rand::{RngExt, rngs::StdRng};

/// A part of a task. Nodes print the same lines except for the rank, so that a wrong prefix is noticed.
#[derive(Clone, Copy, Debug)]
enum Part {
    /// This number of lines.
    Lines(usize),
    /// This number of empty lines.
    Empty(usize),
    /// This number of equal lines.
    Same(usize),
    /// A line of the numbers up to this one, so that a missing byte is noticed.
    Long(usize),
    /// This number of lines on stdout and on stderr, at the same time.
    Writers(usize),
    /// A line that is not UTF-8.
    Bytes,
    /// A line that is finished later.
    Prompt,
    /// No output for this number of milliseconds.
    Pause(usize),
}

/// The prefix of lines on stderr. No other line begins with it.
const ERR: &str = "err ";

/// A task with known lines.
#[derive(Debug)]
pub struct Task {
    parts: Vec<Part>,
    /// Whether the last line has a newline.
    is_terminated: bool,
    pub num_nodes: usize,
}

impl Task {
    /// Draws a task, with or without lines that are long enough to be sent in pieces.
    pub fn draw(random: &mut StdRng, num_nodes: usize, has_long_lines: bool) -> Self {
        let mut parts = vec![Part::Lines(random.random_range(1..10))];
        for _ in 0..12 {
            let part = match random.random_range(0..11) {
                0..2 => Part::Lines(random.random_range(1..200)),
                2 => Part::Empty(random.random_range(1..6)),
                3..5 => Part::Same(random.random_range(2..30)),
                5..7 if has_long_lines => Part::Long(random.random_range(1..12_000)),
                5..9 => Part::Writers(random.random_range(5..40)),
                9 => Part::Bytes,
                _ => Part::Prompt,
            };
            parts.extend([part, Part::Pause(random.random_range(30..130))]);
        }
        Self {
            parts,
            is_terminated: random.random(),
            num_nodes,
        }
    }

    /// The task file.
    pub fn file(&self) -> String {
        let mut file = format!("num_nodes: {}\nrun: |\n", self.num_nodes);
        for (number, part) in self.parts.iter().enumerate() {
            let me = format!("$NODE_RANK.{number}");
            let line = match part {
                Part::Lines(count) => {
                    format!("for i in {{1..{count}}}; do echo \"{me} line $i\"; done")
                }
                Part::Empty(count) => format!("for i in {{1..{count}}}; do echo; done"),
                Part::Same(count) => format!("for i in {{1..{count}}}; do echo same; done"),
                Part::Long(last) => format!("printf '%s,' {{1..{last}}}; echo \"{me}\""),
                Part::Writers(count) => format!(
                    "for i in {{1..{count}}}; do echo \"{ERR}{me} $i\" >&2; done & \
                     for i in {{1..{count}}}; do echo \"{me} out $i\"; done; wait"
                ),
                Part::Bytes => format!(r"printf '\xff\xfe\x00%s\r50%%\r\x1b[1m100%%\n' {me}"),
                Part::Prompt => format!("printf 'name? '; sleep 0.03; echo \"Ada {me}\""),
                Part::Pause(time) => format!("sleep 0.{time:03}"),
            };
            writeln!(file, "  {line}").unwrap();
        }
        let newline = if self.is_terminated { r"\n" } else { "" };
        writeln!(file, "  printf 'the end of %s{newline}' $NODE_RANK").unwrap();
        file
    }

    /// The lines that a node writes to stdout and to stderr. The order between the two is random.
    pub fn lines(&self, rank: usize) -> [Vec<Vec<u8>>; 2] {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        for (number, part) in self.parts.iter().enumerate() {
            let me = format!("{rank}.{number}");
            match *part {
                Part::Lines(count) => {
                    out.extend((1..=count).map(|i| format!("{me} line {i}").into_bytes()));
                }
                Part::Empty(count) => out.extend((0..count).map(|_| Vec::new())),
                Part::Same(count) => out.extend((0..count).map(|_| b"same".to_vec())),
                Part::Long(last) => {
                    let mut line: String = (1..=last).map(|i| format!("{i},")).collect();
                    line += &me;
                    out.push(line.into_bytes());
                }
                Part::Writers(count) => {
                    err.extend((1..=count).map(|i| format!("{ERR}{me} {i}").into_bytes()));
                    out.extend((1..=count).map(|i| format!("{me} out {i}").into_bytes()));
                }
                Part::Bytes => {
                    out.push([b"\xff\xfe\x00", me.as_bytes(), b"\r50%\r\x1b[1m100%"].concat())
                }
                Part::Prompt => out.push(format!("name? Ada {me}").into_bytes()),
                Part::Pause(_) => (),
            }
        }
        out.push(format!("the end of {rank}").into_bytes());
        [out, err]
    }
}

/// Whether a line was written to stderr.
pub fn is_err(line: &[u8]) -> bool {
    line.starts_with(ERR.as_bytes())
}
