//! The form of a submission: the definition of a task, flags, and the archive of its files.

use std::io::Read;

use serde_json::Value;

use crate::api::{SubmitFlags, Sweep, TaskSource};

/// An archive on its way to the server.
pub struct Stream<'a> {
    pub bytes: Box<dyn Read + 'a>,
    pub length: u64,
}

/// Neither JSON without line breaks nor a flag contains this line, and a file that does is not sent. An archive might, and a server then finds it broken.
const BOUNDARY: &str = "k8s-cli-form-7d1f3c9a52e84b06";
/// The content type of a form.
pub const KIND: &str = "multipart/form-data; boundary=k8s-cli-form-7d1f3c9a52e84b06";

/// The form of a submission: all parts but the archive.
pub struct Form {
    parts: Vec<(&'static str, &'static str, String)>,
}

impl Form {
    /// A form with the definition of a task, perhaps a flag that is set and a sweep, and the file of the task, if it is known.
    pub fn new(
        task: Value,
        flags: SubmitFlags,
        flag: Option<&'static str>,
        sweep: Option<&Sweep>,
        source: &TaskSource,
    ) -> Self {
        let mut parts = vec![
            ("task", "application/json", task.to_string()),
            ("fail_fast", "text/plain", flags.fail_fast.to_string()),
            ("barrier", "text/plain", flags.barrier.to_string()),
        ];
        // An older server knows no such part.
        let recover = flags.recover.then(|| "true".to_owned());
        parts.extend(recover.map(|recover| ("recover", "text/plain", recover)));
        parts.extend(flag.map(|flag| (flag, "text/plain", "true".to_owned())));
        let pairs = sweep.iter().flat_map(|sweep| sweep.to_pairs());
        parts.extend(pairs.map(|(name, value)| (name, "text/plain", value)));
        let text = source.text.clone();
        let text = text.filter(|text| !text.contains(BOUNDARY));
        if let Some(text) = text {
            parts.push(("source", "text/plain; charset=utf-8", text));
        }
        if is_told(source)
            && let Ok(origin) = serde_json::to_string(&source.origin)
        {
            parts.push(("origin", "application/json", origin));
        }
        Self { parts }
    }

    /// The bytes before and behind the archive.
    pub fn around(&self, has_files: bool) -> (String, String) {
        let head = |name: &str, kind: &str| {
            format!(
                "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\nContent-Type: {kind}\r\n\r\n"
            )
        };
        let parts = self.parts.iter();
        let mut before: String = parts
            .map(|(name, kind, content)| head(name, kind) + content + "\r\n")
            .collect();
        let mut behind = format!("--{BOUNDARY}--\r\n");
        if has_files {
            before += &head("files", "application/gzip");
            behind.insert_str(0, "\r\n");
        }
        (before, behind)
    }
}

/// Whether a server that keeps files is told of this one: it gets the text, or the reason why there is none.
pub fn is_told(source: &TaskSource) -> bool {
    source.text.is_some() || source.origin.left_out.is_some()
}
