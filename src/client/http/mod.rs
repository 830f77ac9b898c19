//! The HTTP client of the server, with one method per endpoint. It prints nothing.
//!
//! It also reads the answers of this program's Python ancestor, whose error bodies are `FastAPI`'s, and those of a proxy in
//! between.

mod detail;

use std::{
    io::{self, ErrorKind, Read},
    net::IpAddr,
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};
use ureq::{
    Agent, AsSendBody, Body, Timeout,
    http::{HeaderValue, Method, Request, Response, Uri},
};

use self::detail::detail;
use super::{Error, error::describe_io, output};
use crate::api::{
    LogQuery, NDJSON, PLAIN_TEXT, TaskDefinition, TaskDryRunResponse, TaskId, TaskListResponse,
    TaskStatus, TaskStopAllResponse, TaskStopResponse, TaskSubmitResponse, USER_HEADER, User,
    VolumeCreateResponse, VolumeDefinition, VolumeDeleteResponse, VolumeId, VolumeListResponse,
    VolumeStatus, path,
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// Submitting or stopping a task takes at least one request to Kubernetes per node, and a task may have thousands of nodes.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5 * 60);
/// The limit until the answer begins. The log itself has no limit, because it lasts as long as its task.
const LOG_TIMEOUT: Duration = Duration::from_secs(60);

/// The input buffer holds as much as the server sends at once; the output buffer holds most requests. ureq's defaults are
/// 128 KiB each, and it fills its buffers with zeros before it uses them.
const INPUT_BUFFER: usize = 64 * 1024;
const OUTPUT_BUFFER: usize = 8 * 1024;

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
    user: HeaderValue,
}

impl ApiClient {
    /// A client for the server at `url`, which `config::api_url` has checked. Nothing is sent.
    ///
    /// # Errors
    /// The user name cannot be a header value.
    pub fn new(url: String, user: &User) -> Result<Self, Error> {
        let user = HeaderValue::from_bytes(user.as_str().as_bytes())
            .map_err(|_| Error::Usage(format!("the user name {user:?} cannot be sent")))?;
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            // A redirect turns a POST into a GET, so only some commands would work.
            .max_redirects(0)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .input_buffer_size(INPUT_BUFFER)
            .output_buffer_size(OUTPUT_BUFFER)
            .user_agent(concat!(
                env!("CARGO_PKG_NAME"),
                "/",
                env!("CARGO_PKG_VERSION")
            ));
        if is_loopback(&url) {
            // For a proxy, the loopback address is its own machine.
            config = config.proxy(None);
        }
        Ok(Self {
            agent: config.build().new_agent(),
            url,
            user,
        })
    }

    pub fn submit(
        &self,
        task: &TaskDefinition,
        fail_fast: bool,
    ) -> Result<Answer<TaskSubmitResponse>, Error> {
        self.post(&path::tasks_submit(false, fail_fast), task)
    }

    /// Returns the objects that submitting a task would create.
    pub fn submit_dry_run(
        &self,
        task: &TaskDefinition,
        fail_fast: bool,
    ) -> Result<Answer<TaskDryRunResponse>, Error> {
        self.post(&path::tasks_submit(true, fail_fast), task)
    }

    pub fn list_tasks(&self, all_users: bool) -> Result<Answer<TaskListResponse>, Error> {
        self.get(&with_all_users(path::TASKS, all_users))
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
            let form = String::from_utf8_lossy(form);
            return Err(self.not_ours(&format!("its log is {form}")));
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
        self.get(&with_all_users(path::VOLUMES, all_users))
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
            url: self.url.clone(),
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
        let body = serde_json::to_vec(body)
            .map_err(|error| Error::Usage(format!("cannot be sent: {error}")))?;
        self.answer(Method::POST, path, body, WRITE_TIMEOUT)
    }

    fn answer<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: impl AsSendBody,
        timeout: Duration,
    ) -> Result<Answer<T>, Error> {
        let request = self.request(method.clone(), path, "application/json", body)?;
        let request = self
            .agent
            .configure_request(request)
            .timeout_global(Some(timeout))
            .build();
        let body = self.run(request)?.into_body().into_with_config();
        let body = body
            .limit(MAX_ANSWER)
            .read_to_vec()
            .map_err(|error| self.failed(error, &method))?;
        let value =
            serde_json::from_slice(&body).map_err(|error| self.not_ours(&error.to_string()))?;
        Ok(Answer { value, body })
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
                url: self.url.clone(),
                location: shorten(&String::from_utf8_lossy(location.as_bytes())),
            });
        }
        let body = response.into_body().into_with_config();
        // If the body cannot be read, the message is made from the status alone.
        let body = body.limit(MAX_ERROR_BODY).read_to_vec().unwrap_or_default();
        Err(Error::Api {
            status: status.as_u16(),
            detail: output::escape(&detail(status, &body)),
        })
    }

    /// The error for a request without an answer. A `method` other than GET may have changed something.
    fn failed(&self, error: ureq::Error, method: &Method) -> Error {
        let unreachable = |cause: String| Error::Unreachable {
            url: self.url.clone(),
            cause: shorten(&cause),
        };
        let no_answer = |cause: String| Error::NoAnswer {
            url: self.url.clone(),
            cause: shorten(&cause),
            may_have_acted: *method != Method::GET,
        };
        match error {
            ureq::Error::Timeout(Timeout::Connect | Timeout::Resolve) => unreachable(format!(
                "no connection within {} seconds",
                CONNECT_TIMEOUT.as_secs()
            )),
            ureq::Error::Timeout(_) => no_answer("it took too long".to_owned()),
            ureq::Error::HostNotFound => unreachable("no such host".to_owned()),
            ureq::Error::Io(error) if needs_connection(&error) => no_answer(describe_lost(&error)),
            ureq::Error::Io(error) => unreachable(describe_io(&error)),
            ureq::Error::Protocol(_)
            | ureq::Error::BodyExceedsLimit(_)
            | ureq::Error::LargeResponseHeader(..) => self.not_ours(&error.to_string()),
            other => unreachable(other.to_string()),
        }
    }
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

fn shorten(text: &str) -> String {
    let text = output::escape(text);
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

/// Whether a URL names the loopback interface.
fn is_loopback(url: &str) -> bool {
    let uri: Option<Uri> = url.parse().ok();
    let host = uri.as_ref().and_then(Uri::host).unwrap_or_default();
    let address: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    host == "localhost" || address.is_some_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_similar_host_name_is_not_loopback() {
        for url in [
            "http://localhost:8000",
            "http://127.0.0.1",
            "http://127.8.0.1:1/base",
            "https://[::1]:8000",
        ] {
            assert!(is_loopback(url), "{url}");
        }
        for url in [
            "http://jump:8000",
            "http://10.0.0.1",
            "http://localhost.evil.org",
        ] {
            assert!(!is_loopback(url), "{url}");
        }
    }
}
