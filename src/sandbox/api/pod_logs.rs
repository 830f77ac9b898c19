//! `GET pods/<name>/log`: the choice of the log, and the options.
//!
//! The kubelet's `log_reader` reads the log. The rules and the messages for a missing log follow Kubernetes,
//! `pkg/registry/core/pod/strategy.go` and `pkg/kubelet/kubelet_pods.go` (`validateContainerLogStatus`), v1.36.

use actix_web::HttpResponse;
use futures::stream;
use serde_json::Value;

use super::request::Query;
use crate::sandbox::{
    kubelet::{
        log_reader::{LogReader, Options},
        logs::Logs,
    },
    objects::{
        clock,
        object::{elements, text},
        registry::Registry,
        resource::Kind,
        status::{FieldError, Status},
    },
};

/// Answers a request for a log.
pub async fn answer(
    registry: &Registry,
    logs: &Logs,
    namespace: &str,
    name: &str,
    query: &Query,
) -> Result<HttpResponse, Status> {
    let options = parse_options(query, name)?;
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
        LogReader::open(&log, &options).map_err(|error| Status::bad_request(error.to_string()))?;
    let body = stream::unfold(reader, |mut reader| async move {
        let chunk = reader.next().await?;
        Some((chunk, reader))
    });
    Ok(HttpResponse::Ok()
        .content_type("text/plain")
        .streaming(body))
}

fn parse_options(query: &Query, pod: &str) -> Result<Options, Status> {
    let since_time = query.get("sinceTime").map(|time| {
        clock::parse(time).ok_or_else(|| {
            Status::bad_request(format!(
                "parsing time \"{time}\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"{time}\" as \"2006\""
            ))
        })
    });
    let refuse = |error| Status::invalid_log_options(pod, error);
    let since_seconds = query.number("sinceSeconds")?;
    let since = match since_time.transpose()? {
        Some(time) => Some(time),
        // An age before the first timestamp means the whole log.
        None => since_seconds.map(|seconds| clock::after(clock::now(), seconds.saturating_neg())),
    };
    let number = |name: &str, least: i64| -> Result<Option<usize>, Status> {
        let Some(number) = query.number(name)? else {
            return Ok(None);
        };
        if number < least {
            let comparison = if least == 0 {
                "greater than or equal to"
            } else {
                "greater than"
            };
            let why = format!("must be {comparison} 0");
            return Err(refuse(FieldError::invalid(name, number, &why)));
        }
        Ok(usize::try_from(number).ok())
    };
    number("sinceSeconds", 1)?;
    if since_seconds.is_some() && query.get("sinceTime").is_some() {
        let why = "at most one of `sinceTime` or `sinceSeconds` may be specified";
        return Err(refuse(FieldError::forbidden("[]", why)));
    }
    Ok(Options {
        follow: query.flag("follow"),
        timestamps: query.flag("timestamps"),
        since,
        tail: number("tailLines", 0)?,
        limit: number("limitBytes", 1)?,
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

/// The answer when there is no log.
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
