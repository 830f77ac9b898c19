//! The HTTP client of the server, with one method per endpoint. It prints nothing.
//!
//! It also reads the answers of this program's Python ancestor, whose error bodies are `FastAPI`'s, and those of a proxy in
//! between.

mod agent;
mod clock;
mod detail;
mod page;

use std::{
    cmp::Reverse,
    error,
    io::{self, ErrorKind, Read},
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use ureq::{
    Agent, AsSendBody, Body, Timeout,
    http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode},
};

use self::{agent::CONNECT_TIMEOUT, clock::server_time, detail::detail};
use super::{
    Error,
    config::{Env, without_login},
    error::describe_io,
    output,
};
use crate::api::{
    LogQuery, NDJSON, PLAIN_TEXT, SubmitFlags, TaskDefinition, TaskDryRunResponse, TaskId,
    TaskListResponse, TaskStatus, TaskStopAllResponse, TaskStopResponse, TaskSubmitResponse,
    Timestamp, USER_HEADER, User, VolumeCreateResponse, VolumeDefinition, VolumeDeleteResponse,
    VolumeId, VolumeListResponse, VolumeStatus, path,
};
use crate::{certificate, proxy::Proxy};

const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// Submitting or stopping a task takes at least one request to Kubernetes per node, and a task may have thousands of nodes.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5 * 60);
/// The limit until the answer begins. The log itself has no limit, because it lasts as long as its task.
const LOG_TIMEOUT: Duration = Duration::from_secs(60);

/// A length that every proxy accepts in a URL. A longer query is sent in a body.
const MAX_QUERY: usize = 4096;
/// More than ten thousand tasks of ten nodes.
const MAX_ANSWER: u64 = 256 * 1024 * 1024;
const MAX_ERROR_BODY: u64 = 1024 * 1024;
/// The most characters of a foreign answer that a message shows.
const MAX_SHOWN: usize = 200;

/// A decoded answer, with its body for `-o json` and `-o yaml`.
#[derive(Debug)]
pub struct Answer<T> {
    pub value: T,
    pub body: Vec<u8>,
    /// The server's time when it answered, by which the ages in its answer count; none if it gives no time.
    pub time: Option<Timestamp>,
}

/// A log that has begun to arrive.
pub enum LogStream {
    /// Records: [`crate::api::LogRecord`].
    Records(Box<dyn Read + Send>),
    /// Text, from a server that does not send records.
    Text(Box<dyn Read + Send>),
}

/// A client for one server and one user.
#[derive(Clone)]
pub struct ApiClient {
    agent: Agent,
    url: String,
    proxy: Option<Proxy>,
    user: HeaderValue,
}

impl ApiClient {
    /// A client for the server at `url`, which `config::api_url` has checked. Nothing is sent. The proxy is that of the
    /// environment.
    ///
    /// # Errors
    /// The user name cannot be a header value, or the environment names a proxy that cannot be used.
    pub fn new(url: String, user: &User, env: Env<'_>) -> Result<Self, Error> {
        let user = HeaderValue::from_bytes(user.as_str().as_bytes())
            .map_err(|_| Error::Usage(format!("the user name {user:?} cannot be sent")))?;
        let proxy = agent::proxy(&url, env).map_err(|error| Error::Usage(error.to_string()))?;
        Ok(Self {
            agent: agent::agent(proxy.as_ref())
                .map_err(|_| Error::Usage("the proxy cannot be used".to_owned()))?,
            url,
            proxy,
            user,
        })
    }

    pub fn submit(
        &self,
        task: &TaskDefinition,
        flags: SubmitFlags,
    ) -> Result<Answer<TaskSubmitResponse>, Error> {
        let task = task.to_wire().map_err(|error| cannot_send(&error))?;
        self.post(&path::tasks_submit(flags), &task)
    }

    /// Returns the objects that submitting a task would create. The request is a form, which a server without dry runs refuses.
    ///
    /// # Errors
    /// The server has no dry run, also when it has started the task all the same.
    pub fn submit_dry_run(
        &self,
        task: &TaskDefinition,
        flags: SubmitFlags,
    ) -> Result<Answer<TaskDryRunResponse>, Error> {
        let task = task.to_wire().map_err(|error| cannot_send(&error))?;
        let no_dry_run = |started| Error::NoDryRun {
            url: self.url.clone(),
            started,
        };
        let body = form(&task, flags);
        let kind = format!("multipart/form-data; boundary={BOUNDARY}");
        let mut request =
            self.request(Method::POST, path::TASKS_SUBMIT, "application/json", body)?;
        let kind = HeaderValue::try_from(kind).map_err(|error| cannot_send(&error))?;
        request.headers_mut().insert("content-type", kind);
        let answer: Result<Answer<Value>, Error> = self.answer_to(request, WRITE_TIMEOUT);
        let answer = match answer {
            // FastAPI finds no definition in the form; an older server takes only JSON.
            Err(Error::Api {
                status: 422,
                reason: None,
                ..
            })
            | Err(Error::Api { status: 415, .. }) => return Err(no_dry_run(None)),
            answer => answer?,
        };
        let started = &answer.value["task_id"];
        if let Some(id) = started.as_str().and_then(|id| id.parse().ok()) {
            return Err(no_dry_run(Some(id)));
        }
        let value = serde_json::from_value(answer.value)
            .map_err(|error| self.not_ours(&error.to_string()))?;
        Ok(Answer {
            value,
            body: answer.body,
            time: answer.time,
        })
    }

    pub fn list_tasks(&self, all_users: bool) -> Result<Answer<TaskListResponse>, Error> {
        let mut answer: Answer<TaskListResponse> =
            self.get(&with_all_users(path::TASKS, all_users))?;
        let tasks = &mut answer.value.tasks;
        // Other servers list in any order.
        tasks.sort_by_key(|task| Reverse(task.created_at));
        Ok(answer)
    }

    pub fn task(&self, id: &TaskId) -> Result<Answer<TaskStatus>, Error> {
        self.get(&path::task(id))
    }

    pub fn stop_task(&self, id: &TaskId) -> Result<Answer<TaskStopResponse>, Error> {
        self.answer(Method::POST, &path::task_stop(id), (), WRITE_TIMEOUT)
    }

    pub fn stop_all_tasks(&self, all_users: bool) -> Result<Answer<TaskStopAllResponse>, Error> {
        let path = with_all_users(path::TASKS_STOP, all_users);
        self.answer(Method::POST, &path, (), WRITE_TIMEOUT)
    }

    /// Opens the log of a task, behind the cursors `after`. The open stream has no time limit.
    pub fn logs(
        &self,
        id: &TaskId,
        query: &LogQuery,
        after: &[String],
    ) -> Result<LogStream, Error> {
        let after = after.iter().map(|cursor| ("after", cursor.clone()));
        // The values of a query and the cursors consist of characters that need no escaping in a URL.
        let query = (query.to_pairs().into_iter().chain(after))
            .map(|(key, value)| format!("{key}={value}"))
            .collect::<Vec<_>>()
            .join("&");
        let path = path::task_logs(id);
        let accept = format!("{NDJSON}, text/plain;q=0.5");
        if query.is_empty() {
            self.open_log(self.request(Method::GET, &path, &accept, ())?)
        } else if query.len() <= MAX_QUERY {
            let path = format!("{path}?{query}");
            self.open_log(self.request(Method::GET, &path, &accept, ())?)
        } else {
            let mut request = self.request(Method::POST, &path, &accept, query)?;
            let form = HeaderValue::from_static("application/x-www-form-urlencoded");
            request.headers_mut().insert("content-type", form);
            self.open_log(request)
        }
    }

    fn open_log(&self, request: Request<impl AsSendBody>) -> Result<LogStream, Error> {
        let request = self
            .agent
            .configure_request(request)
            .timeout_recv_response(Some(LOG_TIMEOUT))
            .build();
        let response = self.run(request)?;
        let form = response.headers().get("content-type");
        let form = form.map_or(PLAIN_TEXT.as_bytes(), HeaderValue::as_bytes);
        let open: fn(_) -> _ = if form.starts_with(NDJSON.as_bytes()) {
            LogStream::Records
        } else if form.starts_with(b"text/plain") {
            LogStream::Text
        } else {
            // For example the login page of a proxy.
            return Err(self.not_ours(&page::describe(response.status(), response.headers())));
        };
        Ok(open(Box::new(response.into_body().into_reader())))
    }

    pub fn create_volume(
        &self,
        volume: &VolumeDefinition,
    ) -> Result<Answer<VolumeCreateResponse>, Error> {
        self.post(path::VOLUMES_CREATE, volume)
    }

    pub fn list_volumes(&self, all_users: bool) -> Result<Answer<VolumeListResponse>, Error> {
        let mut answer: Answer<VolumeListResponse> =
            self.get(&with_all_users(path::VOLUMES, all_users))?;
        let volumes = &mut answer.value.volumes;
        volumes.sort_by_key(|volume| Reverse(volume.created_at));
        Ok(answer)
    }

    pub fn volume(&self, id: &VolumeId) -> Result<Answer<VolumeStatus>, Error> {
        self.get(&path::volume(id))
    }

    pub fn delete_volume(&self, id: &VolumeId) -> Result<Answer<VolumeDeleteResponse>, Error> {
        self.answer(Method::DELETE, &path::volume(id), (), WRITE_TIMEOUT)
    }

    /// The error for a 2xx answer that breaks the contract.
    pub fn not_ours(&self, problem: &str) -> Error {
        Error::NotOurServer {
            url: self.place(),
            problem: shorten(problem),
        }
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> Result<Answer<T>, Error> {
        self.answer(Method::GET, path, (), READ_TIMEOUT)
    }

    fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<Answer<T>, Error> {
        let body = serde_json::to_vec(body).map_err(|error| cannot_send(&error))?;
        self.answer(Method::POST, path, body, WRITE_TIMEOUT)
    }

    fn answer<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: impl AsSendBody,
        timeout: Duration,
    ) -> Result<Answer<T>, Error> {
        let request = self.request(method, path, "application/json", body)?;
        self.answer_to(request, timeout)
    }

    fn answer_to<T: DeserializeOwned>(
        &self,
        request: Request<impl AsSendBody>,
        timeout: Duration,
    ) -> Result<Answer<T>, Error> {
        let method = request.method().clone();
        let request = self
            .agent
            .configure_request(request)
            .timeout_global(Some(timeout))
            .build();
        let response = self.run(request)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.into_body().into_with_config();
        let body = body
            .limit(MAX_ANSWER)
            .read_to_vec()
            .map_err(|error| self.failed(error, &method))?;
        let value = serde_json::from_slice(&body).map_err(|error| {
            let is_json = page::is_json(&headers);
            self.not_ours(&if is_json {
                error.to_string()
            } else {
                page::describe(status, &headers)
            })
        })?;
        let time = server_time(&headers);
        Ok(Answer { value, body, time })
    }

    fn request<S: AsSendBody>(
        &self,
        method: Method,
        path: &str,
        accept: &str,
        body: S,
    ) -> Result<Request<S>, Error> {
        let request = Request::builder()
            .method(&method)
            .uri(format!("{}{path}", self.url))
            .header("accept", accept)
            .header(USER_HEADER, &self.user);
        let request = if method == Method::POST {
            request.header("content-type", "application/json")
        } else {
            request
        };
        request
            .body(body)
            .map_err(|error| self.failed(error.into(), &Method::GET))
    }

    /// Sends a request, and returns a 2xx answer.
    fn run(&self, request: Request<impl AsSendBody>) -> Result<Response<Body>, Error> {
        let method = request.method().clone();
        let response = self
            .agent
            .run(request)
            .map_err(|error| self.failed(error, &method))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        if let Some(location) = response.headers().get("location")
            && status.is_redirection()
        {
            return Err(Error::Moved {
                url: self.place(),
                location: shorten(&without_secrets(&String::from_utf8_lossy(
                    location.as_bytes(),
                ))),
            });
        }
        let headers = response.headers().clone();
        let body = response.into_body().into_with_config();
        // If the body cannot be read, the message is made from the status alone.
        let body = body.limit(MAX_ERROR_BODY).read_to_vec().unwrap_or_default();
        Err(match detail(&body) {
            Some((detail, reason)) => Error::Api {
                status: status.as_u16(),
                detail: output::escape(&detail),
                reason,
            },
            None => self.foreign(status, &headers, &body),
        })
    }

    /// The URL of the server, and the proxy in front of it.
    fn place(&self) -> String {
        match &self.proxy {
            Some(proxy) => format!("{} through the proxy {proxy}", self.url),
            None => self.url.clone(),
        }
    }

    /// The error for an answer that the server did not write, such as the page of a proxy.
    fn foreign(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Error {
        let answer = page::describe(status, headers);
        let (url, place) = (&self.url, self.place());
        match status.as_u16() {
            // nginx and Go answer this to plain HTTP on a port with TLS.
            400 if url.starts_with("http://") && page::speaks_of_tls(body) => {
                self.wrong_scheme("https")
            }
            // The request came too slowly, and the server did not read all of it.
            code @ 408 => Error::Api {
                status: code,
                detail: format!("the server at {place} answers with {answer}"),
                reason: None,
            },
            // A log is requested again after these.
            code @ (425 | 429 | 500..) => Error::Api {
                status: code,
                detail: format!("a proxy answered instead of the server at {place} ({answer})"),
                reason: None,
            },
            401 | 403 | 407 => {
                self.not_ours(&format!("{answer}: a proxy in between may ask for a login"))
            }
            _ => self.not_ours(&answer),
        }
    }

    fn wrong_scheme(&self, right: &'static str) -> Error {
        let (_, rest) = self.url.split_once("://").unwrap_or_default();
        Error::WrongScheme {
            url: self.url.clone(),
            right: format!("{right}://{rest}"),
        }
    }

    /// The error for a request without an answer. A `method` other than GET may have changed something.
    fn failed(&self, error: ureq::Error, method: &Method) -> Error {
        let unreachable = |cause: String| Error::Unreachable {
            url: self.url.clone(),
            proxy: self.proxy.as_ref().map(ToString::to_string),
            cause: shorten(&cause),
        };
        let no_answer = |cause: String| Error::NoAnswer {
            url: self.place(),
            cause: shorten(&cause),
            may_have_acted: *method != Method::GET,
        };
        if let Some(tls) = tls(&error) {
            return match certificate::is_plain(tls) {
                true => self.wrong_scheme("http"),
                false => Error::Untrusted {
                    url: self.place(),
                    cause: certificate::describe(tls).unwrap_or_default(),
                },
            };
        }
        match error {
            ureq::Error::Timeout(Timeout::Connect | Timeout::Resolve) => unreachable(format!(
                "no connection within {} seconds",
                CONNECT_TIMEOUT.as_secs()
            )),
            ureq::Error::Timeout(_) => no_answer("it took too long".to_owned()),
            ureq::Error::HostNotFound => unreachable("no such host".to_owned()),
            ureq::Error::ConnectProxyFailed(reason) => {
                // `proxy server responded 407/407`
                let reason = reason.split('/').next().unwrap_or_default();
                unreachable(
                    reason
                        .replace("proxy server", "it")
                        .replace("responded", "answered"),
                )
            }
            ureq::Error::Io(error) if needs_connection(&error) => no_answer(describe_lost(&error)),
            ureq::Error::Io(error) => unreachable(describe_io(&error)),
            ureq::Error::Protocol(_) if self.url.starts_with("http://") => {
                let (_, rest) = self.url.split_once("://").unwrap_or_default();
                self.not_ours(&format!(
                    "its answer is not HTTP; with TLS its URL is https://{rest}"
                ))
            }
            ureq::Error::Protocol(_)
            | ureq::Error::BodyExceedsLimit(_)
            | ureq::Error::LargeResponseHeader(..) => self.not_ours(&error.to_string()),
            other => unreachable(other.to_string()),
        }
    }
}

/// JSON without line breaks does not contain this line.
const BOUNDARY: &str = "k8s-cli-form";

/// The form of a dry run.
fn form(task: &Value, flags: SubmitFlags) -> Vec<u8> {
    let mut parts = vec![
        ("task", "application/json", task.to_string()),
        ("dry_run", "text/plain", "true".to_owned()),
        ("fail_fast", "text/plain", flags.fail_fast.to_string()),
    ];
    if !flags.barrier {
        // A server that does not know it refuses it.
        parts.push(("barrier", "text/plain", "false".to_owned()));
    }
    let mut form = String::new();
    for (name, kind, content) in parts {
        form.push_str(&format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\nContent-Type: {kind}\r\n\r\n{content}\r\n"
        ));
    }
    form.push_str(&format!("--{BOUNDARY}--\r\n"));
    form.into_bytes()
}

fn cannot_send(error: &dyn error::Error) -> Error {
    Error::Usage(format!("cannot be sent: {error}"))
}

/// The error of TLS in an error of ureq.
fn tls(error: &ureq::Error) -> Option<&(dyn error::Error + 'static)> {
    let found: &(dyn error::Error + 'static) = match error {
        ureq::Error::Rustls(error) => error,
        ureq::Error::Io(error) => error,
        _ => return None,
    };
    certificate::describe(found).is_some().then_some(found)
}

/// Whether an error can only happen on an established connection.
fn needs_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof
    )
}

fn describe_lost(error: &io::Error) -> String {
    match error.kind() {
        // ureq reports a closed connection as an unexpected end.
        ErrorKind::UnexpectedEof => "the connection was lost".to_owned(),
        ErrorKind::TimedOut => "the server stopped sending".to_owned(),
        _ => describe_io(error),
    }
}

/// Describes why a body could not be read to its end.
pub fn describe_body(error: io::Error) -> String {
    match ureq::Error::from(error) {
        ureq::Error::Io(error) => describe_lost(&error),
        other => other.to_string(),
    }
}

fn with_all_users(path: &str, all_users: bool) -> String {
    let query = if all_users { "?all_users=true" } else { "" };
    format!("{path}{query}")
}

/// A URL for a message: without a login, and without its query, in which a token may be.
fn without_secrets(url: &str) -> String {
    let end = url.find(['?', '#']).unwrap_or(url.len());
    let rest = if end < url.len() { "?..." } else { "" };
    format!("{}{rest}", without_login(&url[..end]))
}

fn shorten(text: &str) -> String {
    let text = output::escape(text);
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_is_shown_without_logins_and_tokens() {
        for (location, expected) in [
            ("https://login.example/x", "https://login.example/x"),
            (
                "http://bob:hunter2@login.example/x",
                "http://***@login.example/x",
            ),
            ("/login?token=s3cret", "/login?..."),
            ("https://a/#access_token=s3cret", "https://a/?..."),
        ] {
            assert_eq!(without_secrets(location), expected);
        }
    }
}
