//! A task that prints all kinds of lines for about a second, and what it prints, known beforehand.

use std::fmt::Write as _;

use rand::{RngExt, rngs::StdRng};

/// A stretch of a task. Each node says the same but for its rank, so that a line under a wrong prefix is noticed.
#[derive(Clone, Copy, Debug)]
enum Part {
    /// So many lines.
    Lines(usize),
    /// So many lines with nothing in them.
    Empty(usize),
    /// So many lines that nothing can tell apart.
    Same(usize),
    /// A line with the numbers up to this one, so that each of its bytes has its place.
    Long(usize),
    /// So many lines on stdout and as many on stderr, at the same time.
    Writers(usize),
    /// A line that is no text.
    Bytes,
    /// A line whose end comes later.
    Prompt,
    /// Nothing for so many milliseconds.
    Pause(usize),
}

/// What the lines of stderr begin with. Nothing else begins so.
const ERR: &str = "err ";

/// A task and what it prints.
#[derive(Debug)]
pub struct Task {
    parts: Vec<Part>,
    /// Whether the last line has a newline.
    is_terminated: bool,
    pub num_nodes: usize,
}

impl Task {
    /// Draws a task, with or without lines that are so long that they travel in pieces.
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

    /// The lines that a node writes to stdout, and those to stderr. How the two are mixed is chance.
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
