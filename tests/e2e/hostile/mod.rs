//! Requests that try to read, stop, follow, mount or delete what belongs to others: the table `requests.txt`.

use std::{
    io::{Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    harness::{MEMBER, Team, TempDir, World, wait_for, wait_until},
    http::{JSON, agent, request},
};

const TABLE: &str = include_str!("requests.txt");
/// What the owner's task prints, and is named.
const SECRET: &str = "only-for-the-owner";

/// The place of a way, and the values of the placeholders.
struct Target<'a> {
    url: &'a str,
    socket: Option<&'a str>,
    values: Vec<(&'static str, String)>,
}

impl Target<'_> {
    fn fill(&self, text: &str) -> String {
        let filled = self
            .values
            .iter()
            .fold(text.to_owned(), |text, (name, value)| {
                text.replace(&format!("{{{name}}}"), value)
            });
        filled.replace("\\r", "\r").replace("\\n", "\n")
    }

    /// Sends bytes; returns all that is answered.
    fn send(&self, bytes: &[u8]) -> String {
        let mut answer = Vec::new();
        match self.socket {
            Some(path) => exchange(UnixStream::connect(path).unwrap(), bytes, &mut answer),
            None => {
                let address = self.url.trim_start_matches("http://");
                let stream = TcpStream::connect(address).unwrap();
                stream
                    .set_read_timeout(Some(Duration::from_secs(30)))
                    .unwrap();
                exchange(stream, bytes, &mut answer);
            }
        }
        String::from_utf8_lossy(&answer).into_owned()
    }
}

fn exchange(mut stream: impl Read + Write, bytes: &[u8], answer: &mut Vec<u8>) {
    stream.write_all(bytes).unwrap();
    // A server that refuses a request may reset the connection after its answer.
    drop(stream.read_to_end(answer));
}

/// Text with `\xNN` as bytes.
fn bytes(text: &str) -> Vec<u8> {
    let mut parts = text.split("\\x");
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    bytes
}

/// Makes the requests of a way, and reports those with another answer than expected.
fn run(way: &str, target: &Target<'_>) {
    let (mut count, mut wrong) = (0, Vec::new());
    for line in TABLE
        .lines()
        .filter(|line| line.contains(" | ") && !line.starts_with('#'))
    {
        let fields: Vec<&str> = line.split(" | ").collect();
        let [of, line_of_request, headers, body, status] = fields[..] else {
            panic!("{line}");
        };
        if of != way {
            continue;
        }
        count += 1;
        let given = |field: &str| {
            if field == "~" {
                String::new()
            } else {
                target.fill(field)
            }
        };
        let (headers, body) = (given(headers), given(body));
        let mut head = vec![format!("{} HTTP/1.1", target.fill(line_of_request))];
        head.extend(
            headers
                .split("; ")
                .filter(|header| !header.is_empty())
                .map(str::to_owned),
        );
        let names: Vec<String> = (head.iter().skip(1))
            .map(|header| header.split(':').next().unwrap().trim().to_lowercase())
            .collect();
        let has = |name: &str| names.iter().any(|other| other == name);
        for (name, value) in [
            ("host", "localhost".to_owned()),
            ("connection", "close".to_owned()),
            ("content-type", "application/json".to_owned()),
        ] {
            if !has(name) {
                head.push(format!("{name}: {value}"));
            }
        }
        if !has("content-length") && !has("transfer-encoding") {
            head.push(format!("content-length: {}", body.len()));
        }
        let request = bytes(&format!("{}\r\n\r\n{body}", head.join("\r\n")));
        let answer = target.send(&request);
        let got = answer.split(' ').nth(1).unwrap_or("no answer").to_owned();
        let answers = answer.matches("HTTP/1.1 ").count();
        if got != status || answers != 1 || answer.contains(SECRET) {
            wrong.push(format!("{line}\n    {got}, {answers} answers: {answer:?}"));
        }
    }
    assert!(count > 9, "{way}: {count} requests");
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// Starts the objects of an owner; returns the placeholders for them. `headers` are those of the owner.
fn own(world: &World, headers: &[(&str, &str)]) -> Vec<(&'static str, String)> {
    let ask = |method: &str, path: &str, body: Value| {
        let body = body.to_string();
        let headers = [headers, &[JSON]].concat();
        let (status, answer) = request(&world.url, method, path, &headers, body.as_bytes());
        assert_eq!(status, 200, "{answer}");
        answer
    };
    let volume = ask(
        "POST",
        "/volumes/create",
        json!({"name": "hers", "size": "1Gi"}),
    );
    let run = format!("echo {SECRET}; sleep 1000");
    let task = ask("POST", "/tasks/submit", json!({"name": SECRET, "run": run}));
    let task = task["task_id"].as_str().unwrap().to_owned();
    // A cursor behind the first line of the owner's log.
    let url = format!("{}/tasks/{task}/logs?follow=false", world.url);
    let cursor = wait_for("the task of the owner prints", || {
        let mut get = agent().get(&url).header("accept", "application/x-ndjson");
        for (name, value) in headers {
            get = get.header(*name, *value);
        }
        let log = get.call().unwrap().body_mut().read_to_string().unwrap();
        let line = log.lines().find(|line| line.contains(SECRET))?;
        let record: Value = serde_json::from_str(line).unwrap();
        Some(record["cursor"].as_str()?.to_owned())
    });
    vec![
        ("TASK", task.to_uppercase()),
        ("task", task),
        ("volume", volume["volume_id"].as_str().unwrap().to_owned()),
        ("cursor", cursor),
    ]
}

/// Checks that the owner still has what they had, and that there is nothing else.
fn is_unchanged(world: &World, headers: &[(&str, &str)], values: &[(&str, String)]) {
    let value = |name: &str| &values.iter().find(|(other, _)| *other == name).unwrap().1;
    let get = |path: &str| request(&world.url, "GET", path, headers, b"");
    let (_, task) = get(&format!("/tasks/{}", value("task")));
    assert_eq!(task["status"], "running", "{task}");
    assert_eq!(get(&format!("/volumes/{}", value("volume"))).0, 200);
    assert_eq!(world.names::<k8s_openapi::api::batch::v1::Job>().len(), 1);
}

#[test]
fn the_table_is_long() {
    let rows = TABLE
        .lines()
        .filter(|line| line.contains(" | ") && !line.starts_with('#'));
    assert!(rows.count() >= 120);
}

#[test]
fn nobody_gets_what_belongs_to_others_by_headers_and_over_the_socket() {
    let dir = TempDir::new();
    let path = dir.path().join("k8s-cli.sock");
    let socket = path.to_str().unwrap();
    let world = World::with(&["--socket", socket, "--admin", "nobody-else"]);
    let owner = [("X-User", "g@race.com")];
    let values = own(&world, &owner);
    let (url, values) = (world.url.as_str(), &values);
    thread::scope(|scope| {
        for (way, socket) in [("header", None), ("socket", Some(socket))] {
            let values = values.clone();
            scope.spawn(move || {
                run(
                    way,
                    &Target {
                        url,
                        socket,
                        values,
                    },
                );
            });
        }
    });
    is_unchanged(&world, &owner, values);
}

#[test]
fn nobody_gets_past_a_proxy() {
    let world = World::with(&["--trusted-proxy", "10.0.0.0/8"]);
    let values = Vec::new();
    run(
        "proxy",
        &Target {
            url: &world.url,
            socket: None,
            values,
        },
    );
    assert!(world.names::<k8s_openapi::api::batch::v1::Job>().is_empty());
}

#[test]
fn nobody_gets_what_belongs_to_others_by_tokens() {
    let team = Team::with(&[]);
    let grace = team.add("grace", MEMBER);
    let bearer = format!("Bearer {grace}");
    let owner = [("Authorization", bearer.as_str())];
    let world = &team.world;
    wait_until("the rights to count", || {
        request(&world.url, "GET", "/tasks", &owner, b"").0 == 200
    });
    let mut values = own(world, &owner);
    let deleted = team.add("deleted", MEMBER);
    values.extend([
        ("ada", team.add("ada", MEMBER)),
        ("elsewhere", team.token("ada", "elsewhere")),
        ("cluster", team.token("ada", "")),
        ("watcher", team.add("watcher", &["list tasks"])),
        ("grace", grace.clone()),
        ("gracename", team.name("grace")),
        ("deleted", deleted),
    ]);
    team.remove("deleted");
    run(
        "token",
        &Target {
            url: &world.url,
            socket: None,
            values: values.clone(),
        },
    );
    is_unchanged(world, &owner, &values);
    let log = world.log();
    for secret in ["ada", "elsewhere", "cluster", "watcher", "grace", "deleted"] {
        let (_, token) = values.iter().find(|(name, _)| *name == secret).unwrap();
        assert!(!log.contains(token.as_str()), "{secret}");
    }
}
