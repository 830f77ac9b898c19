//! The handlers of `/tasks`.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header,
    web::{Data, Form, Json, Path, Query},
};

use super::{
    Stopping,
    access::{Subjects, UserFilter, read_flag},
    dry_run::DryRuns,
    error,
    limits::{Limits, Submits},
    log_body,
    request_key::Key,
    streams::Streams,
    submission::{Purpose, Submission},
    task_list::{self, TaskLists},
};
use crate::{
    api::{
        InvalidId, ListQuery, LogQuery, NDJSON, Problem, Reason, TaskDefinition,
        TaskDefinitionResponse, TaskDeleteResponse, TaskId, TaskStopAllResponse, TaskStopResponse,
        TaskWaitResponse, User, WaitQuery,
    },
    executor::{Error, Executor, GroupRequest, RequestKey},
};

/// `POST /tasks/submit`: starts a task and answers with its id; with `dry_run`, answers with the objects that would be created, and with
/// `check`, whether the task would be accepted.
pub async fn submit(
    user: User,
    key: Key,
    executor: Data<Executor>,
    submission: Submission,
    dry_runs: Data<DryRuns>,
    limits: Data<Limits>,
    submits: Data<Submits>,
) -> Result<HttpResponse, Error> {
    let Submission {
        definition,
        flags,
        purpose,
        sweep,
        files,
        source,
    } = submission;
    let task =
        TaskDefinition::from_json(&definition).map_err(|problems| error::invalid(&problems))?;
    limits.check(&task, sweep.as_ref())?;
    // What a key has made counts already.
    let has_made = |key: &RequestKey| executor.has_made(&user, key);
    let num_new = |number: usize| match key.0.as_ref().is_some_and(has_made) {
        true => 0,
        false => number,
    };
    if let Some(sweep) = sweep.filter(|_| purpose != Purpose::Check) {
        let problems = sweep.problems(&task);
        if !problems.is_empty() {
            return Err(error::invalid(&problems));
        }
        let num_tasks = num_new(sweep.num_tasks as usize);
        let request = GroupRequest {
            user: &user,
            task,
            flags,
            sweep,
            files,
            source,
            key: key.0.as_ref(),
        };
        if purpose == Purpose::DryRun {
            let dry_run = executor.dry_run_group(request).await?;
            return Ok(Subjects::none(dry_runs.respond(dry_run)));
        }
        let _turn = submits.admit(&limits, &user, &executor, num_tasks).await?;
        let submitted = executor.submit_group(request).await?;
        let answer = HttpResponse::Ok().json(&submitted);
        return Ok(Subjects::of(answer, submitted.task_ids));
    }
    Ok(match purpose {
        Purpose::Start => {
            let num_tasks = num_new(1);
            let _turn = submits.admit(&limits, &user, &executor, num_tasks).await?;
            let key = key.0.as_ref();
            let submitted = executor.submit(&user, task, flags, files, source, key);
            let submitted = submitted.await?;
            Subjects::of(HttpResponse::Ok().json(&submitted), [submitted.task_id])
        }
        Purpose::Check => {
            let accepted = executor.check(&user, task, flags).await?;
            Subjects::none(HttpResponse::Ok().json(accepted))
        }
        Purpose::DryRun => {
            let dry_run = executor.dry_run(&user, task, flags, files).await?;
            Subjects::none(dry_runs.respond(dry_run))
        }
    })
}

/// `GET /tasks`: the tasks, newest first, or those that a query asks for; with `watch`, also each change.
pub async fn list(
    user: User,
    filter: UserFilter,
    query: Query<Vec<(String, String)>>,
    executor: Data<Executor>,
    lists: Data<TaskLists>,
    streams: Data<Streams>,
    stopping: Data<Stopping>,
) -> Result<HttpResponse, Error> {
    let query = ListQuery::from_pairs(&query).map_err(|problems| error::invalid(&problems))?;
    let of = filter.of(&user);
    if query.watch {
        let open = streams.begin(&user)?;
        return task_list::watch(&executor, of, query, Stopping::clone(&stopping), open).await;
    }
    match of {
        _ if query != ListQuery::default() => task_list::answer_page(&executor, of, &query).await,
        Some(user) => lists.answer(&executor, user).await,
        None => task_list::answer_all(&executor).await,
    }
}

/// `GET /tasks/{task_id}`: one task.
pub async fn get(
    user: User,
    id: Path<TaskId>,
    query: Query<Vec<(String, String)>>,
    executor: Data<Executor>,
) -> Result<HttpResponse, Error> {
    let with_events = read_flag(&query, "events", false);
    let with_events = with_events.map_err(|problem| error::invalid(&[problem]))?;
    let task = executor.get(&user, *id, with_events).await?;
    Ok(task_list::respond(&executor).json(task))
}

/// `GET /tasks/wait`: answers when tasks have reached a state, or the time is over.
pub async fn wait(
    user: User,
    query: Query<Vec<(String, String)>>,
    executor: Data<Executor>,
    streams: Data<Streams>,
    stopping: Data<Stopping>,
) -> Result<Json<TaskWaitResponse>, Error> {
    let query = WaitQuery::from_pairs(&query).map_err(|problems| error::invalid(&problems))?;
    let _open = streams.begin(&user)?;
    tokio::select! {
        answer = executor.wait(&user, &query) => answer.map(Json),
        () = Stopping::clone(&stopping).wait() => {
            Err(Error::new(Reason::ServiceUnavailable, "the server is about to stop"))
        }
    }
}

/// `GET /tasks/{task_id}/definition`: the file of one task.
pub async fn definition(
    user: User,
    id: Path<TaskId>,
    executor: Data<Executor>,
) -> Result<Json<TaskDefinitionResponse>, Error> {
    executor.definition(&user, *id).await.map(Json)
}

/// `POST /tasks/{task_id}/stop`: stops one task.
pub async fn stop(
    user: User,
    id: Path<TaskId>,
    executor: Data<Executor>,
) -> Result<Json<TaskStopResponse>, Error> {
    executor.stop(&user, *id).await?;
    Ok(Json(TaskStopResponse::new(id.into_inner())))
}

/// `DELETE /tasks/{task_id}`: deletes a finished task.
pub async fn delete(
    user: User,
    id: Path<TaskId>,
    executor: Data<Executor>,
) -> Result<Json<TaskDeleteResponse>, Error> {
    executor.delete(&user, *id).await?;
    Ok(Json(TaskDeleteResponse::new(id.into_inner())))
}

/// `POST /tasks/stop`: stops every unfinished task, or those of a group.
pub async fn stop_all(
    user: User,
    filter: UserFilter,
    query: Query<Vec<(String, String)>>,
    executor: Data<Executor>,
) -> Result<HttpResponse, Error> {
    let group = query.iter().rfind(|(key, _)| key == "group");
    let group = group.map(|(_, id)| id.parse()).transpose();
    let group = group.map_err(|invalid: InvalidId| {
        error::invalid(&[Problem::new("group", invalid.to_string())])
    })?;
    let stopped = executor.stop_all(&user, filter.of(&user), group).await?;
    let answer = TaskStopAllResponse::new(stopped.clone(), filter.all_users);
    Ok(Subjects::of(HttpResponse::Ok().json(answer), stopped))
}

/// `GET /tasks/{task_id}/logs`: the log of a task, as text or as records.
pub async fn logs(
    user: User,
    id: Path<TaskId>,
    query: Query<Vec<(String, String)>>,
    executor: Data<Executor>,
    streams: Data<Streams>,
    stopping: Data<Stopping>,
    request: HttpRequest,
) -> Result<HttpResponse, Error> {
    answer_logs(&user, *id, &query, &executor, &streams, &stopping, &request).await
}

/// `POST /tasks/{task_id}/logs`: the same with the query in the body, since the cursors of many nodes are too long for a URL.
pub async fn logs_by_form(
    user: User,
    id: Path<TaskId>,
    query: Form<Vec<(String, String)>>,
    executor: Data<Executor>,
    streams: Data<Streams>,
    stopping: Data<Stopping>,
    request: HttpRequest,
) -> Result<HttpResponse, Error> {
    answer_logs(&user, *id, &query, &executor, &streams, &stopping, &request).await
}

async fn answer_logs(
    user: &User,
    id: TaskId,
    query: &[(String, String)],
    executor: &Executor,
    streams: &Streams,
    stopping: &Stopping,
    request: &HttpRequest,
) -> Result<HttpResponse, Error> {
    let query = LogQuery::from_pairs(query).map_err(|problems| error::invalid(&problems))?;
    let accept = request
        .headers()
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .unwrap_or_default();
    let form = if accept.contains(NDJSON) {
        log_body::Form::Records {
            joined: query.joined,
        }
    } else {
        log_body::Form::text(query.timestamps, query.follow)
    };
    let open = streams.begin(user)?;
    let items = executor.logs(user, id, query).await?;
    Ok(log_body::respond(form, items, stopping.clone(), open))
}
