//! How long Kubernetes takes to answer: a histogram of all requests of this process.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use http::{Method, Request, Response, Uri};
use kube::client::Body;
use prometheus::{HistogramOpts, HistogramVec};
use tower::{BoxError, Layer, Service};

/// The resources that the program asks for. Any other one counts as `other`, so that the number of series is bounded.
const RESOURCES: [&str; 12] = [
    "events",
    "jobs",
    "namespaces",
    "nodes",
    "persistentvolumeclaims",
    "pods",
    "pods/log",
    "secrets",
    "selfsubjectaccessreviews",
    "services",
    "subjectaccessreviews",
    "tokenreviews",
];

/// The seconds that separate the classes of answers, from a watch cache to the deadline.
const SECONDS: [f64; 9] = [0.001, 0.005, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0];

/// The answers of Kubernetes so far. Clones share the numbers.
#[derive(Clone)]
pub struct Calls(pub HistogramVec);

impl Default for Calls {
    fn default() -> Self {
        let options = HistogramOpts::new(
            "k8s_cli_kubernetes_request_duration_seconds",
            "How long Kubernetes took until its answer began.",
        );
        let options = options.buckets(SECONDS.to_vec());
        let calls = HistogramVec::new(options, &["verb", "resource", "status"]);
        Self(calls.expect("the names are valid"))
    }
}

impl<S> Layer<S> for Calls {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted {
            inner,
            calls: self.clone(),
        }
    }
}

/// A service whose answers are counted.
#[derive(Clone)]
pub struct Counted<S> {
    inner: S,
    calls: Calls,
}

impl<S, B> Service<Request<Body>> for Counted<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<B>, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (verb, resource) = labels(request.method(), request.uri());
        let calls = self.calls.clone();
        let begun = Instant::now();
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await.map_err(Into::into);
            let status = match &answer {
                Ok(answer) => answer.status().as_str().to_owned(),
                Err(_) => "none".to_owned(),
            };
            let histogram = calls.0.with_label_values(&[verb, resource, &status]);
            histogram.observe(begun.elapsed().as_secs_f64());
            answer
        })
    }
}

/// The verb and the resource of a request, in Kubernetes' words.
fn labels(method: &Method, uri: &Uri) -> (&'static str, &'static str) {
    let mut segments = uri.path().trim_matches('/').split('/');
    // `/api/v1/...` or `/apis/group/version/...`, behind the path of a proxy.
    let group = segments
        .by_ref()
        .find(|segment| matches!(*segment, "api" | "apis"));
    let skipped = if group == Some("apis") { 2 } else { 1 };
    let mut rest: Vec<_> = segments.skip(skipped).collect();
    if rest.len() > 2 && rest[0] == "namespaces" {
        rest.drain(..2);
    }
    let name = match rest.as_slice() {
        [resource, _, "log"] => format!("{resource}/log"),
        [resource, ..] => (*resource).to_owned(),
        [] => String::new(),
    };
    let known = RESOURCES.iter().find(|resource| **resource == name);
    let is_one = rest.len() > 1;
    let is_watch = uri
        .query()
        .is_some_and(|query| query.contains("watch=true"));
    let verb = match *method {
        Method::GET if is_watch => "watch",
        Method::GET if is_one || known.is_none() => "get",
        Method::GET => "list",
        Method::POST => "create",
        Method::PATCH => "patch",
        Method::PUT => "update",
        Method::DELETE => "delete",
        _ => "other",
    };
    (verb, known.copied().unwrap_or("other"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_have_verbs_and_resources() {
        let of = |method: Method, uri: &str| labels(&method, &uri.parse().unwrap());
        for (method, uri, expected) in [
            (Method::GET, "/version", ("get", "other")),
            (
                Method::GET,
                "/apis/batch/v1/namespaces/a/jobs?limit=500",
                ("list", "jobs"),
            ),
            (
                Method::GET,
                "/api/v1/namespaces/jobs/pods?resourceVersion=3&watch=true",
                ("watch", "pods"),
            ),
            (
                Method::GET,
                "/k8s/clusters/c/api/v1/namespaces/a/pods/p/log?follow=true",
                ("get", "pods/log"),
            ),
            (
                Method::DELETE,
                "/apis/batch/v1/namespaces/a/jobs/j",
                ("delete", "jobs"),
            ),
            (
                Method::POST,
                "/apis/authentication.k8s.io/v1/tokenreviews",
                ("create", "tokenreviews"),
            ),
            (Method::GET, "/api/v1/namespaces/a", ("get", "namespaces")),
            (Method::GET, "/api/v1/nodes", ("list", "nodes")),
            (
                Method::GET,
                "/api/v1/namespaces/a/strange/x",
                ("get", "other"),
            ),
        ] {
            assert_eq!(of(method, uri), expected, "{uri}");
        }
    }
}
