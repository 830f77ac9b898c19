//! The effect that a submission would have: its objects as JSON, without passwords.

use k8s_openapi::api::batch::v1::Job;
use serde::Serialize;
use serde_json::Value;
use tokio::task::yield_now;

use super::prepare::{check_size, job, try_first};
use crate::{
    api::mask,
    executor::{
        cluster::Cluster,
        error::{Error, Result},
        objects::{self, Submission},
    },
};

/// The largest size of the Jobs that a dry run shows.
const MAX_SHOWN: usize = 32 * 1024 * 1024;
/// The rank of the Job of which a [`Template`] is made. No task has it.
const RANK: u32 = 3_999_999_967;

/// The effect that a submission would have.
pub struct DryRun {
    /// Each task, with the objects beside its Jobs.
    tasks: Vec<(Submission, Vec<String>)>,
    pub warnings: Vec<String>,
}

impl DryRun {
    /// The JSON of the objects that would be created. A task with many nodes has many of them, so each is made when it is asked for.
    pub fn into_manifests(self) -> impl Iterator<Item = Result<String>> {
        let tasks = self.tasks.into_iter();
        tasks.flat_map(|(submission, others)| manifests(submission, others))
    }
}

/// The JSON of the objects of a task, in the order of creation.
fn manifests(submission: Submission, others: Vec<String>) -> impl Iterator<Item = Result<String>> {
    let num_nodes = submission.task.num_nodes;
    let template = Template::new(&submission);
    let jobs = (0..num_nodes).map(move |rank| match &template {
        Some(template) => Ok(template.fill(rank)),
        None => to_json(&job(&submission, rank)?),
    });
    jobs.chain(others.into_iter().map(Ok))
}

/// The effect of a submission of one task, or of the tasks of a group, after Kubernetes has checked the first Job. The values of
/// `secrets` are omitted.
pub async fn dry_run(cluster: &Cluster, submissions: Vec<Submission>) -> Result<DryRun> {
    let (mut tasks, mut warnings) = (Vec::new(), Vec::new());
    let most = MAX_SHOWN / submissions.len().max(1);
    for submission in submissions {
        let first = job(&submission, 0)?;
        check_size(&submission, &first, most, "`dry_run`")?;
        if tasks.is_empty() {
            warnings.extend(submission.warnings.clone());
            warnings.extend(try_first(cluster, &first).await?);
        }
        let others = others(&submission, &first, tasks.is_empty())?;
        tasks.push((submission, others));
        // Other requests have their turn.
        yield_now().await;
    }
    Ok(DryRun { tasks, warnings })
}

/// The objects of a task beside its Jobs. Those with the files of a group stand `with_files` of its first task.
fn others(submission: &Submission, first: &Job, with_files: bool) -> Result<Vec<String>> {
    let first = &first.metadata;
    let mut others = Vec::new();
    if submission.is_multi_node() {
        others.push(to_json(&objects::service(submission, first))?);
    }
    let kept = submission.files.as_ref().filter(|_| with_files);
    let parts = kept.map_or(0, |files| files.kept.secrets(submission.id).count());
    let files = (0..)
        .take(parts)
        .map(|part| objects::files_secret(submission, first, part, Vec::new()));
    let secrets = objects::secrets(submission, first);
    for mut secret in secrets.into_iter().chain(files) {
        for value in secret.data.iter_mut().flatten() {
            value.1.0.clear();
        }
        others.push(to_json(&secret)?);
    }
    for claim in objects::ephemeral_claims(submission, first) {
        others.push(to_json(&claim)?);
    }
    Ok(others)
}

/// The JSON of a Job, split where its rank stands. The Jobs of a task differ in nothing else, and to make each of them costs much.
struct Template(Vec<String>);

impl Template {
    /// The template of all Jobs of a task; none if it does not give the first Jobs and the last one.
    fn new(submission: &Submission) -> Option<Self> {
        let json = |rank| to_json(&job(submission, rank).ok()?).ok();
        let (json_of_rank, rank) = (json(RANK)?, RANK.to_string());
        let parts = json_of_rank.split(&rank).map(str::to_owned);
        let template = Self(parts.collect());
        let last = submission.task.num_nodes - 1;
        let gives = |rank| json(rank).is_some_and(|json| json == template.fill(rank));
        [0, last.min(1), last]
            .into_iter()
            .all(gives)
            .then_some(template)
    }

    fn fill(&self, rank: u32) -> String {
        self.0.join(&rank.to_string())
    }
}

fn to_json(object: &impl Serialize) -> Result<String> {
    let mut value = serde_json::to_value(object).map_err(Error::internal)?;
    mask(&mut value);
    serde_json::to_string::<Value>(&value).map_err(Error::internal)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        api::{SubmitFlags, TaskDefinition},
        executor::{
            objects::PodRules,
            scripted_server,
            tasks::{
                keyed::random_origin,
                prepare::{Rules, prepare},
            },
            view::LiveView,
        },
    };

    /// The Jobs of a dry run of a definition, and the Jobs one by one; and whether a template gave the first ones.
    async fn jobs(definition: Value) -> (Vec<String>, Vec<String>, bool) {
        let cluster = scripted_server::cluster(|_| Some(json!({}).to_string())).await;
        let live = LiveView::new(cluster);
        let task = TaskDefinition::from_json(&definition).unwrap();
        let user = "ada".parse().unwrap();
        let rules = Rules {
            pods: &PodRules::default(),
            reserved_claim: None,
        };
        let prepared = prepare(
            &live,
            &user,
            random_origin(),
            task,
            SubmitFlags::default(),
            None,
            rules,
        )
        .await;
        let (submission, _) = prepared.unwrap();
        let all = 0..submission.task.num_nodes;
        let each = all.map(|rank| to_json(&job(&submission, rank).unwrap()).unwrap());
        let each = each.collect();
        let has_template = Template::new(&submission).is_some();
        let dry_run = DryRun {
            tasks: vec![(submission, Vec::new())],
            warnings: Vec::new(),
        };
        let manifests = dry_run.into_manifests().map(Result::unwrap);
        (manifests.collect(), each, has_template)
    }

    #[actix_rt::test]
    async fn the_jobs_of_a_template_are_the_jobs() {
        let long = "a".repeat(60);
        for (definition, expected) in [
            (json!({"run": "true"}), true),
            (json!({"run": "true", "num_nodes": 101, "name": long}), true),
            (
                json!({"run": format!("echo {RANK}"), "num_nodes": 12}),
                false,
            ),
        ] {
            let (jobs, each, has_template) = jobs(definition).await;
            assert_eq!(has_template, expected);
            assert_eq!(jobs, each);
        }
    }

    #[actix_rt::test]
    async fn passwords_are_not_shown() {
        let definition = json!({
            "run": "git clone https://ada:s3cret@host/a", "num_nodes": 2,
            "envs": {"HF_TOKEN": "s3cret", "URL": "https://a/?sig=s3cret"}, "secrets": {"S": "s3cret"},
        });
        let (jobs, ..) = jobs(definition).await;
        assert!(jobs[1].contains("https://***@host/a"), "{}", jobs[1]);
        assert!(!jobs.concat().contains("s3cret"));
    }
}
