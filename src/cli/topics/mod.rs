//! The help topics: the manual of the program, compiled into it.
//!
//! Each topic is a Markdown file in this folder. Its first line is `# <name>: <summary>`. The tests in `tests/e2e/readme.rs`
//! run the `console` blocks of every file.

#[cfg(test)]
mod api;

/// A topic of the manual.
#[derive(Debug)]
pub struct Topic {
    pub name: &'static str,
    /// The whole Markdown file.
    pub text: &'static str,
}

macro_rules! topics {
    ($($name:literal),* $(,)?) => {
        [$(Topic { name: $name, text: include_str!(concat!($name, ".md")) }),*]
    };
}

/// All topics, in the order in which a reader needs them.
pub const TOPICS: [Topic; 13] = topics![
    "task-file",
    "files",
    "logs",
    "scripts",
    "exit-codes",
    "troubleshooting",
    "skypilot-differences",
    "sandbox",
    "clusters",
    "security",
    "metrics",
    "performance",
    "api",
];

impl Topic {
    pub fn find(name: &str) -> Option<&'static Self> {
        TOPICS.iter().find(|topic| topic.name == name)
    }

    /// One line about the topic, from the title of its file.
    pub fn summary(&self) -> &'static str {
        let title = self.text.lines().next().unwrap_or_default();
        title.split_once(": ").unwrap_or_default().1
    }
}

/// The Role of the server, in YAML: it stands in the topic `clusters` alone.
pub fn role() -> &'static str {
    let clusters = include_str!("clusters.md");
    let (_, role) = clusters.split_once("```yaml\n").unwrap_or_default();
    role.split_once("```").unwrap_or_default().0
}

/// The list of topics for the help of the program.
pub fn list() -> String {
    let lines = TOPICS
        .iter()
        .map(|topic| format!("  {:<22}{}\n", topic.name, topic.summary()));
    format!(
        "\nHelp topics, for `k8s-cli help <topic>`:\n{}",
        lines.collect::<String>()
    )
}
