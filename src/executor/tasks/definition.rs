//! Reads the file of a task from the annotation of its first Job. The view does not keep it: it is long, and seldom read.

use kube::api::ListParams;

use crate::{
    api::{TaskDefinitionResponse, TaskId, User},
    executor::{
        error::{Error, Result},
        objects::{labels, unpack_source},
        observed::SourceRow,
        view::LiveView,
    },
};

/// The file of a task of `user`.
///
/// # Errors
/// When `user` has no such task, or Kubernetes does not answer.
pub async fn definition(
    live: &LiveView,
    user: &User,
    id: TaskId,
) -> Result<TaskDefinitionResponse> {
    let params = ListParams::default().labels(&labels::task_selector(id));
    let (jobs, _) = live.cluster.list::<SourceRow>(params).await?;
    let mut own = jobs.into_iter().filter(|job| job.owner.is(user)).peekable();
    if own.peek().is_none() {
        return Err(Error::no_such_task(id));
    }
    let source = own.find_map(|job| unpack_source(&job.source?));
    let source = source.unwrap_or_default();
    Ok(TaskDefinitionResponse {
        task_id: id,
        source: source.text,
        definition: source.definition,
        origin: source.origin,
    })
}
