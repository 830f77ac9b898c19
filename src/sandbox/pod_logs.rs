//! `GET pods/<name>/log`: which log a client may see, from where, and for how long.
//!
//! Separate from the writing side because its rules are about requests: it follows Kubernetes,
//! `pkg/registry/core/pod/strategy.go` and `pkg/kubelet/kubelet_pods.go` (`validateContainerLogStatus`), v1.36, with the words for
//! every way in which a log can not be there yet.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    sync::Arc,
};

use actix_web::{HttpResponse, web::Bytes};
use futures::stream;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::sync::watch;

use super::{
    clock,
    kubelet::logs::{LogFile, Logs, Progress},
    object::{elements, text},
    registry::Registry,
    request::Query,
    resource::Kind,
    status::Status,
};

const BLOCK: usize = 64 << 10;

/// What part of a log is asked for.
struct Options {
    follow: bool,
    timestamps: bool,
    since: Option<Timestamp>,
    tail: Option<usize>,
    limit: Option<usize>,
}

/// Answers a request for a log.
pub async fn answer(
    registry: &Registry,
    logs: &Logs,
    namespace: &str,
    name: &str,
    query: &Query,
) -> Result<HttpResponse, Status> {
    let options = parse_options(query)?;
    let pod = registry.get(Kind::Pod, namespace, name)?;
    let value = pod.value();
    let container = choose_container(&value, name, query.get("container"))?;
    if text(&value["spec"]["nodeName"]).is_empty() {
        return Ok(HttpResponse::NoContent().finish());
    }
    let previous = query.flag("previous");
    let log = logs.find(&pod.uid, &container, previous);
    let Some(log) = log else {
        if previous {
            let why = format!(
                "previous terminated container \"{container}\" in pod \"{name}\" not found"
            );
            return Err(Status::bad_request(why));
        }
        return why_not(&value, name, &container);
    };
    let reader =
        LogReader::open(&log, options).map_err(|error| Status::bad_request(error.to_string()))?;
    let body = stream::unfold(reader, |mut reader| async move {
        let chunk = reader.next().await?;
        Some((chunk, reader))
    });
    Ok(HttpResponse::Ok()
        .content_type("text/plain")
        .streaming(body))
}

fn parse_options(query: &Query) -> Result<Options, Status> {
    let since_time = query.get("sinceTime").map(|time| {
        clock::parse(time).ok_or_else(|| {
            Status::bad_request(format!(
                "parsing time \"{time}\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"{time}\" as \"2006\""
            ))
        })
    });
    let since_seconds = query.number("sinceSeconds")?;
    let since = match since_time.transpose()? {
        Some(time) => Some(time),
        None => since_seconds.map(|seconds| clock::now() - SignedDuration::from_secs(seconds)),
    };
    let number = |name: &str| -> Result<Option<usize>, Status> {
        let Some(number) = query.number(name)? else {
            return Ok(None);
        };
        let number = usize::try_from(number);
        number
            .map(Some)
            .map_err(|_| Status::bad_request(format!("{name}: must be greater than or equal to 0")))
    };
    Ok(Options {
        follow: query.flag("follow"),
        timestamps: query.flag("timestamps"),
        since,
        tail: number("tailLines")?,
        limit: number("limitBytes")?,
    })
}

fn choose_container(pod: &Value, name: &str, asked: Option<&str>) -> Result<String, Status> {
    let lists = [&pod["spec"]["containers"], &pod["spec"]["initContainers"]];
    let names = |list: &Value| {
        elements(list)
            .iter()
            .map(|one| text(&one["name"]).to_owned())
            .collect::<Vec<_>>()
    };
    if let Some(asked) = asked {
        if lists
            .iter()
            .any(|list| names(list).iter().any(|name| name == asked))
        {
            return Ok(asked.to_owned());
        }
        return Err(Status::bad_request(format!(
            "container {asked} is not valid for pod {name}"
        )));
    }
    match names(lists[0]).as_slice() {
        [only] => Ok(only.clone()),
        several => Err(Status::bad_request(format!(
            "a container name must be specified for pod {name}, choose one of: [{}]",
            several.join(" ")
        ))),
    }
}

/// Says why there is no log.
fn why_not(pod: &Value, name: &str, container: &str) -> Result<HttpResponse, Status> {
    let status = &pod["status"];
    let lists = [
        &status["containerStatuses"],
        &status["initContainerStatuses"],
    ];
    let found = lists
        .into_iter()
        .flat_map(elements)
        .find(|one| text(&one["name"]) == container);
    let Some(found) = found else {
        return Err(Status::bad_request(format!(
            "container \"{container}\" in pod \"{name}\" is not available"
        )));
    };
    let why = match found["state"]["waiting"]["reason"].as_str() {
        None => return Ok(HttpResponse::Ok().content_type("text/plain").body("")),
        Some("ErrImagePull" | "ImagePullBackOff") => "trying and failing to pull image",
        Some(reason) => reason,
    };
    let message = format!("container \"{container}\" in pod \"{name}\" is waiting to start: {why}");
    Err(Status::bad_request(message))
}

/// Reads whole records and renders the wanted ones.
struct LogReader {
    file: File,
    progress: watch::Receiver<Progress>,
    position: u64,
    options: Options,
    at_line_start: bool,
    sent: usize,
}

impl LogReader {
    fn open(log: &Arc<LogFile>, options: Options) -> io::Result<LogReader> {
        let mut file = log.open()?;
        let progress = log.subscribe();
        let written = progress.borrow().written;
        let position = match options.tail {
            Some(lines) => tail_position(&mut file, written, lines)?,
            None => 0,
        };
        Ok(LogReader {
            file,
            progress,
            position,
            options,
            at_line_start: true,
            sent: 0,
        })
    }

    /// Waits for more of the log; none means that it is over.
    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        loop {
            if self.options.limit.is_some_and(|limit| self.sent >= limit) {
                return None;
            }
            let progress = *self.progress.borrow_and_update();
            if self.position < progress.written {
                match self.read(progress.written) {
                    Ok(chunk) if chunk.is_empty() => continue,
                    Ok(chunk) => return Some(Ok(Bytes::from(chunk))),
                    Err(error) => return Some(Err(error)),
                }
            }
            if progress.ended || !self.options.follow {
                return None;
            }
            // The sender lives as long as the log is known; a deleted pod's log ends here.
            self.progress.changed().await.ok()?;
        }
    }

    fn read(&mut self, written: u64) -> io::Result<Vec<u8>> {
        let size = usize::try_from(written - self.position)
            .unwrap_or(BLOCK)
            .min(BLOCK);
        let mut block = vec![0; size];
        self.file.seek(SeekFrom::Start(self.position))?;
        self.file.read_exact(&mut block)?;
        // A record is at most a piece of 16 KiB and its head, so a block always ends behind at least one.
        let end = block
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(block.len(), |index| index + 1);
        self.position += end as u64;
        let mut chunk = Vec::with_capacity(end);
        for record in block[..end].split_inclusive(|byte| *byte == b'\n') {
            self.render(&mut chunk, record);
        }
        if let Some(limit) = self.options.limit {
            chunk.truncate(limit - self.sent);
        }
        self.sent += chunk.len();
        Ok(chunk)
    }

    fn render(&mut self, chunk: &mut Vec<u8>, record: &[u8]) {
        let mut parts = record.splitn(4, |byte| *byte == b' ');
        let (Some(stamp), Some(_), Some(tag), Some(text)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return;
        };
        let time = std::str::from_utf8(stamp).ok().and_then(clock::parse);
        if self
            .options
            .since
            .is_some_and(|since| time.is_some_and(|time| time < since))
        {
            return;
        }
        if self.options.timestamps && self.at_line_start {
            chunk.extend_from_slice(stamp);
            chunk.push(b' ');
        }
        self.at_line_start = tag == b"F";
        chunk.extend_from_slice(if tag == b"F" {
            text
        } else {
            text.strip_suffix(b"\n").unwrap_or(text)
        });
    }
}

/// Returns where the last `lines` records begin.
fn tail_position(file: &mut File, written: u64, lines: usize) -> io::Result<u64> {
    if lines == 0 {
        return Ok(written);
    }
    let mut missing = lines + 1;
    let mut end = written;
    let mut block = vec![0; BLOCK];
    while end > 0 {
        let start = end.saturating_sub(BLOCK as u64);
        let part = &mut block[..usize::try_from(end - start).unwrap_or(BLOCK)];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(part)?;
        for (index, _) in part
            .iter()
            .enumerate()
            .rev()
            .filter(|(_, byte)| **byte == b'\n')
        {
            missing -= 1;
            if missing == 0 {
                return Ok(start + index as u64 + 1);
            }
        }
        end = start;
    }
    Ok(0)
}
