//! The HTTP client of the server, with one method per endpoint. It prints nothing.
//!
//! It also reads the answers of this program's Python ancestor, whose error bodies are `FastAPI`'s, and those of a proxy in
//! between.

pub mod agent;
mod clock;
mod detail;
mod failure;
mod form;
mod once;
mod page;
mod socket;
mod submission;
mod tls;

use std::{cmp::Reverse, error, io::Read, time::Duration};

use serde::{Serialize, de::DeserializeOwned};
use ureq::{
    Agent, AsSendBody, Body,
    http::{HeaderValue, Method, Request, Response, StatusCode},
};

use self::{
    clock::server_time,
    detail::detail,
    failure::{no_such_path, shorten},
};
pub use self::{
    failure::{describe_body, without_secrets},
    form::Stream,
    once::RequestKey,
    socket::{NO_SOCKET_THERE, Route},
};
use super::{Error, config::Env, credentials::Credentials, output};
use crate::api::{
    GroupId, ListQuery, LogQuery, NDJSON, NodeListResponse, PLAIN_TEXT, TaskDefinitionResponse,
    TaskDeleteResponse, TaskId, TaskListResponse, TaskStatus, TaskStopAllResponse,
    TaskStopResponse, TaskWaitResponse, Timestamp, User, VolumeCreateResponse, VolumeDefinition,
    VolumeDeleteResponse, VolumeId, VolumeListResponse, VolumeStatus, WaitQuery, Whoami, path,
};
use crate::{certificate::Trust, proxy::Proxy};

/// How often a request is made again that was too slow.
const SLOW_ATTEMPTS: u32 = 2;
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
    credentials: Credentials,
    /// The beginning of the URLs of requests: `url`, except over a socket.
    base: String,
}

impl ApiClient {
    /// A client for the server at `url`, which `config::api_url` has checked. Nothing is sent. The proxy is that of the
    /// environment.
    ///
    /// # Errors
    /// The environment names a proxy that cannot be used.
    pub fn new(
        url: String,
        credentials: Credentials,
        trust: Trust,
        env: Env<'_>,
    ) -> Result<Self, Error> {
        let route = Route::of(&url).and_then(Result::ok);
        let (base, proxy) = match &route {
            Some(_) => ("http://localhost".to_owned(), None),
            None => {
                let proxy = agent::proxy(&url, env);
                (
                    url.clone(),
                    proxy.map_err(|error| Error::Usage(error.to_string()))?,
                )
            }
        };
        Ok(Self {
            agent: agent::agent(proxy.as_ref(), route, trust)
                .map_err(|_| Error::Usage("the proxy cannot be used".to_owned()))?,
            url,
            proxy,
            credentials,
            base,
        })
    }

    /// The user that requests name, if they name one.
    pub fn user(&self) -> Option<&User> {
        self.credentials.user()
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Who the user is to the server.
    pub fn whoami(&self) -> Result<Answer<Whoami>, Error> {
        self.get(path::WHOAMI)
    }

    /// The tasks that a query asks for, of all users or only the own ones.
    pub fn list_tasks(
        &self,
        all_users: bool,
        query: &ListQuery,
    ) -> Result<Answer<TaskListResponse>, Error> {
        let mut answer: Answer<TaskListResponse> = self.get(&path::tasks(all_users, query))?;
        let tasks = &mut answer.value.tasks;
        // Other servers list in any order, and ignore a query.
        tasks.sort_by_cached_key(|task| query.sort.place(task));
        // By a server without a clock, all tasks are young.
        let now = answer.time.unwrap_or(Timestamp::EPOCH);
        tasks.retain(|task| query.matches(task, now));
        tasks.truncate(query.limit.unwrap_or(usize::MAX));
        Ok(answer)
    }

    /// Opens a list that goes on with each change: [`crate::api::ListRecord`].
    pub fn watch_tasks(&self, all_users: bool, query: &ListQuery) -> Result<LogStream, Error> {
        let path = path::tasks(all_users, query);
        let stream = self.again(|| self.open_log(self.request(Method::GET, &path, NDJSON, ())?));
        // One that knows no query answers with the list.
        stream.map_err(|error| match error {
            Error::NotOurServer { problem, .. } if problem.contains("application/json") => {
                self.lacks("watch of tasks", None)
            }
            error => error,
        })
    }

    pub fn task(&self, id: &TaskId) -> Result<Answer<TaskStatus>, Error> {
        self.get(&path::task(id))
    }

    /// The file of a task.
    pub fn task_definition(&self, id: &TaskId) -> Result<Answer<TaskDefinitionResponse>, Error> {
        let answer = self.get(&path::task_definition(id));
        self.since("definitions of tasks", answer)
    }

    /// A task with the last events of its objects.
    pub fn task_with_events(&self, id: &TaskId) -> Result<Answer<TaskStatus>, Error> {
        self.get(&format!("{}?events=true", path::task(id)))
    }

    /// Waits until tasks have reached a state, or the time of the query is over.
    pub fn wait_for_tasks(&self, query: &WaitQuery) -> Result<Answer<TaskWaitResponse>, Error> {
        let path = format!("{}?{}", path::TASKS_WAIT, query.to_query());
        self.answer(Method::GET, &path, (), query.timeout + READ_TIMEOUT)
    }

    pub fn stop_task(&self, id: &TaskId) -> Result<Answer<TaskStopResponse>, Error> {
        self.answer(Method::POST, &path::task_stop(id), (), WRITE_TIMEOUT)
    }

    pub fn delete_task(&self, id: &TaskId) -> Result<Answer<TaskDeleteResponse>, Error> {
        let answer = self.answer(Method::DELETE, &path::task(id), (), WRITE_TIMEOUT);
        self.since("deletion of tasks", answer)
    }

    /// Stops the unfinished tasks of a group.
    pub fn stop_group(&self, id: &GroupId) -> Result<Answer<TaskStopAllResponse>, Error> {
        let path = format!("{}?group={id}", path::TASKS_STOP);
        self.answer(Method::POST, &path, (), WRITE_TIMEOUT)
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
        self.renewing(|| {
            if query.is_empty() {
                self.open_log(self.request(Method::GET, &path, &accept, ())?)
            } else if query.len() <= MAX_QUERY {
                let path = format!("{path}?{query}");
                self.open_log(self.request(Method::GET, &path, &accept, ())?)
            } else {
                let mut request = self.request(Method::POST, &path, &accept, query.clone())?;
                let form = HeaderValue::from_static("application/x-www-form-urlencoded");
                request.headers_mut().insert("content-type", form);
                self.open_log(request)
            }
        })
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

    pub fn list_nodes(&self) -> Result<Answer<NodeListResponse>, Error> {
        let answer = self.get(path::NODES);
        self.since("list of machines", answer)
    }

    pub fn create_volume(
        &self,
        volume: &VolumeDefinition,
        key: &RequestKey,
    ) -> Result<Answer<VolumeCreateResponse>, Error> {
        self.post(path::VOLUMES_CREATE, volume, key)
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
        key: &RequestKey,
    ) -> Result<Answer<T>, Error> {
        let body = serde_json::to_vec(body).map_err(|error| cannot_send(&error))?;
        self.again(|| {
            let body = body.as_slice();
            let mut request = self.request(Method::POST, path, "application/json", body)?;
            request.headers_mut().extend([key.header()]);
            self.answer_to(request, WRITE_TIMEOUT)
        })
    }

    fn answer<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: impl AsSendBody + Clone,
        timeout: Duration,
    ) -> Result<Answer<T>, Error> {
        self.again(|| {
            let (method, body) = (method.clone(), body.clone());
            let request = self.request(method, path, "application/json", body)?;
            self.answer_to(request, timeout)
        })
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
            .uri(format!("{}{path}", self.base))
            .header("accept", accept);
        let request = if method == Method::POST {
            request.header("content-type", "application/json")
        } else {
            request
        };
        let request = request.body(body);
        let mut request = request.map_err(|error| self.failed(error.into(), &Method::GET))?;
        request.headers_mut().extend(self.credentials.headers()?);
        Ok(request)
    }

    /// Makes a request, and makes it again if it reached the server so slowly that it was not read, or if it was refused and a command
    /// prints new credentials.
    fn again<T>(&self, attempt: impl Fn() -> Result<T, Error>) -> Result<T, Error> {
        let is_slow =
            |answer: &Result<T, Error>| matches!(answer, Err(Error::Api { status: 408, .. }));
        let mut answer = self.renewing(&attempt);
        for _ in 0..SLOW_ATTEMPTS {
            if !is_slow(&answer) {
                break;
            }
            answer = self.renewing(&attempt);
        }
        answer
    }

    /// Makes a request, and makes it again if it was refused and a command prints new credentials.
    fn renewing<T>(&self, attempt: impl Fn() -> Result<T, Error>) -> Result<T, Error> {
        match attempt() {
            Err(error) if self.credentials.renew(&error) => attempt(),
            answer => answer,
        }
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
        let detail = detail(&body);
        // `http://host/tasks` makes an id of `tasks`, and `http://host/volumes` too. Ids are checked before they are sent.
        let says_no_path = |(detail, _): &(String, _)| {
            let no_ids = [" is not a task id", " is not a volume id"];
            detail.starts_with("no such path") || no_ids.iter().any(|text| detail.contains(text))
        };
        let is_missing = status == StatusCode::NOT_FOUND && detail.is_none();
        if (is_missing || detail.as_ref().is_some_and(says_no_path))
            && let Some(error) = no_such_path(&self.url)
        {
            return Err(error);
        }
        Err(match detail {
            Some((detail, reason)) => Error::Api {
                status: status.as_u16(),
                detail: output::escape(&detail),
                reason,
            },
            None => self.foreign(status, &headers, &body),
        })
    }
}

fn cannot_send(error: &dyn error::Error) -> Error {
    Error::Usage(format!("cannot be sent: {error}"))
}

fn with_all_users(path: &str, all_users: bool) -> String {
    let query = if all_users { "?all_users=true" } else { "" };
    format!("{path}{query}")
}
