//! Tests of the sandbox from outside, by HTTP.
//!
//! They compare with recordings of a real cluster in `fixtures/recorded`. They start processes, and wait for conditions but never
//! for a fixed time.

mod answers;
mod containers;
mod deadlines;
mod dry_run;
mod life;
mod log;
mod names;
mod odd_bodies;
mod probes;

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    iter,
    net::TcpStream,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::sandbox::Sandbox;

/// The longest wait before a test fails.
const CEILING: Duration = Duration::from_secs(30);

/// A sandbox and its address.
pub struct Cluster {
    address: String,
    pub token: String,
    _sandbox: Sandbox,
}

/// An answer: status code, content type, body.
pub struct Answer {
    pub code: u16,
    pub content_type: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }
}

impl Cluster {
    pub fn start() -> Cluster {
        Cluster::start_with_log_max_size(None)
    }

    pub fn start_with_log_max_size(size: Option<&str>) -> Cluster {
        let sandbox = Sandbox::start("default", size, None, None).unwrap();
        let config: Value =
            serde_json::from_str(&fs::read_to_string(sandbox.kubeconfig()).unwrap()).unwrap();
        let server = config["clusters"][0]["cluster"]["server"].as_str().unwrap();
        let (address, token) = server
            .strip_prefix("http://")
            .unwrap()
            .split_once('/')
            .unwrap();
        Cluster {
            address: address.to_owned(),
            token: token.to_owned(),
            _sandbox: sandbox,
        }
    }

    pub fn get(&self, path: &str) -> Value {
        self.send("GET", path, "", Some(&self.token)).json()
    }

    pub fn create(&self, path: &str, object: &Value) -> Answer {
        self.send("POST", path, &object.to_string(), Some(&self.token))
    }

    /// Creates an object that is accepted, and returns it.
    #[track_caller]
    pub fn make(&self, path: &str, object: &Value) -> Value {
        let answer = self.create(path, object);
        assert_eq!(answer.code, 201, "{}", answer.body);
        answer.json()
    }

    pub fn send(&self, method: &str, path: &str, body: &str, token: Option<&str>) -> Answer {
        let mut reader = self.open(method, path, body, "application/json", token);
        let mut code = String::new();
        reader.read_line(&mut code).unwrap();
        let code = code.split(' ').nth(1).unwrap().parse().unwrap();
        let (content_type, chunked) = read_headers(&mut reader);
        let mut body = String::new();
        if chunked {
            while read_chunk(&mut reader, &mut body) {}
        } else {
            reader.read_to_string(&mut body).unwrap();
        }
        Answer {
            code,
            content_type,
            body,
        }
    }

    pub fn patch(&self, path: &str, patch: &Value) {
        self.patch_as("merge-patch", path, patch);
    }

    /// Sends a patch of that type.
    pub fn patch_as(&self, way: &str, path: &str, patch: &Value) {
        let mut reader = self.open(
            "PATCH",
            path,
            &patch.to_string(),
            &format!("application/{way}+json"),
            Some(&self.token),
        );
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        assert!(line.contains("200"), "{line}");
    }

    /// Opens a watch; the iterator yields its events.
    pub fn watch(&self, path: &str) -> impl Iterator<Item = Value> + use<> {
        let mut reader = self.open("GET", path, "", "application/json", Some(&self.token));
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        read_headers(&mut reader);
        // A chunk has whole events, so all other lines are frames of chunks.
        let lines = reader
            .lines()
            .filter(|line| line.as_ref().is_ok_and(|line| line.starts_with('{')));
        lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap())
    }

    /// Opens a stream of text; the iterator yields its chunks until it ends.
    pub fn stream(&self, path: &str) -> impl Iterator<Item = String> + use<> {
        let mut reader = self.open("GET", path, "", "application/json", Some(&self.token));
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        assert!(line.contains("200"), "{line}");
        read_headers(&mut reader);
        iter::from_fn(move || {
            let mut chunk = String::new();
            read_chunk(&mut reader, &mut chunk).then_some(chunk)
        })
    }

    /// Gets an object until it fulfils a condition.
    #[track_caller]
    pub fn wait(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let start = Instant::now();
        loop {
            let value = self.get(path);
            if wanted(&value) {
                return value;
            }
            assert!(start.elapsed() < CEILING, "not in time: {value:#}");
            std::thread::yield_now();
        }
    }

    /// Reads a log until it has the wanted content.
    #[track_caller]
    pub fn wait_log(&self, path: &str, wanted: &str) {
        let start = Instant::now();
        loop {
            let log = self.send("GET", path, "", Some(&self.token)).body;
            if log == wanted {
                return;
            }
            assert!(start.elapsed() < CEILING, "not in time: {log:?}");
            std::thread::yield_now();
        }
    }

    // There is one request per connection, so an answer ends with its connection.
    fn open(
        &self,
        method: &str,
        path: &str,
        body: &str,
        content_type: &str,
        token: Option<&str>,
    ) -> BufReader<TcpStream> {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(CEILING)).unwrap();
        let authorization = token
            .map(|token| format!("Authorization: Bearer {token}\r\n"))
            .unwrap_or_default();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: sandbox\r\nConnection: close\r\n{authorization}Content-Type: {content_type}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        BufReader::new(stream)
    }
}

/// A Job with one container that runs a shell script.
pub fn job(name: &str, script: &str) -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {
            "name": name, "annotations": { "created-at": "2026-11-22T02:00:00.000000", "num-nodes": "1" },
            "labels": {
                "node-idx": "0", "skypilot-task": "true", "task-id": name, "task-name": name, "username": "rec",
            },
        },
        "spec": {
            "backoffLimit": 0,
            "template": {
                "metadata": {
                    "labels": { "node-idx": "0", "skypilot-task": "true", "task-id": name, "username": "rec" },
                },
                "spec": {
                    "restartPolicy": "Never", "terminationGracePeriodSeconds": 5,
                    "automountServiceAccountToken": false,
                    "containers": [{
                        "name": "task", "image": "python:3.13-slim", "command": ["/bin/bash", "-c"],
                        "args": [script],
                        "env": [{ "name": "NODE_RANK", "value": "0" }, { "name": "NUM_NODES", "value": "1" }],
                    }],
                },
            },
        },
    })
}

/// The lines of a recording.
pub fn recording(name: &str) -> Vec<Value> {
    let text = fs::read_to_string(format!("fixtures/recorded/{name}")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The content type, and whether the body comes in chunks.
fn read_headers(reader: &mut impl BufRead) -> (String, bool) {
    let (mut content_type, mut chunked) = (String::new(), false);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            return (content_type, chunked);
        }
        if let Some(value) = line.strip_prefix("content-type: ") {
            content_type = value.to_owned();
        }
        chunked |= line == "transfer-encoding: chunked";
    }
}

/// Reads one chunk; false for the last.
fn read_chunk(reader: &mut impl BufRead, body: &mut String) -> bool {
    let mut size = String::new();
    reader.read_line(&mut size).unwrap();
    let size = u64::from_str_radix(size.trim(), 16).unwrap();
    reader.take(size).read_to_string(body).unwrap();
    reader.read_line(&mut String::new()).unwrap();
    size > 0
}
