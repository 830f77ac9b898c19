//! The routes of the REST API.

use std::future::ready;

use actix_web::{
    HttpRequest, HttpResponse, Resource, Route,
    guard::{Any, Get, Head},
    http::header::ContentType,
    web::{self, Data, ServiceConfig, delete, post},
};

use super::{access::Known, error, limits::Limits, metrics, nodes, tasks, volumes};
use crate::{
    api::{Health, KEY_HEADER, Whoami, methods, openapi, path},
    executor::{Error, Executor},
};

/// The path of the route of a request, with its parameters; none if there is no such route.
pub fn pattern(request: &HttpRequest) -> Option<String> {
    // That of actix compares the path as it was sent, and finds no route where a client has encoded a letter.
    let path = request.match_info().as_str();
    request.resource_map().match_pattern(path)
}

/// `hides_metrics`: they have an address of their own.
pub fn configure(config: &mut ServiceConfig, limits: &Limits, hides_metrics: bool) {
    #[cfg(feature = "bench")]
    config.configure(super::bench::configure);
    if !hides_metrics {
        config.service(metrics());
    }
    let describe = move || ready(describe(hides_metrics));
    config
        .app_data(error::json_config(limits.body))
        .app_data(error::path_config())
        .app_data(error::query_config())
        .app_data(error::form_config(limits.body))
        .service(resource(path::ROOT).route(get().to(root)))
        .service(resource(path::HEALTHZ).route(get().to(root)))
        .service(resource(path::READYZ).route(get().to(is_ready)))
        .service(resource(path::OPENAPI).route(get().to(describe)))
        .service(resource(path::WHOAMI).route(get().to(whoami)))
        // Literal paths come before the patterns that also match them.
        .service(resource(path::TASKS_SUBMIT).route(post().to(tasks::submit)))
        .service(resource(path::TASKS_STOP).route(post().to(tasks::stop_all)))
        .service(resource(path::TASKS_WAIT).route(get().to(tasks::wait)))
        .service(resource(path::TASKS).route(get().to(tasks::list)))
        .service(
            resource(path::TASK)
                .route(get().to(tasks::get))
                .route(delete().to(tasks::delete)),
        )
        .service(resource(path::TASK_DEFINITION).route(get().to(tasks::definition)))
        .service(resource(path::TASK_STOP).route(post().to(tasks::stop)))
        .service(
            resource(path::TASK_LOGS)
                .route(get().to(tasks::logs))
                .route(post().to(tasks::logs_by_form)),
        )
        .service(resource(path::NODES).route(get().to(nodes::list)))
        .service(resource(path::VOLUMES_CREATE).route(post().to(volumes::create)))
        .service(resource(path::VOLUMES).route(get().to(volumes::list)))
        .service(
            resource(path::VOLUME)
                .route(get().to(volumes::get))
                .route(delete().to(volumes::delete)),
        )
        .default_service(web::to(error::no_such_path));
}

/// The route of an address for metrics alone.
pub fn configure_metrics(config: &mut ServiceConfig) {
    config
        .service(metrics())
        .default_service(web::to(error::no_such_path));
}

fn metrics() -> Resource {
    resource(path::METRICS).route(get().to(metrics::show))
}

/// A path of the table of routes. Other methods than those of the table are refused.
fn resource(path: &'static str) -> Resource {
    let allowed = methods(path);
    debug_assert!(!allowed.is_empty(), "{path} is not in the table of routes");
    let refuse = move |request: HttpRequest| ready(error::method_not_allowed(&request, &allowed));
    web::resource(path).default_service(web::to(refuse))
}

/// Matches `GET`, and `HEAD`, whose body `head` drops.
fn get() -> Route {
    web::route().guard(Any(Get()).or(Head()))
}

/// `GET /`: whether the server is alive.
async fn root() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((KEY_HEADER, "supported"))
        .json(Health::OK)
}

/// `GET /openapi.json`: the description of this API.
fn describe(hides_metrics: bool) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header(ContentType::json())
        .body(openapi(hides_metrics))
}

/// `GET /whoami`: the user, and how the server knows them.
async fn whoami(known: Known) -> HttpResponse {
    HttpResponse::Ok().json(Whoami {
        username: known.user.to_string(),
        how: known.how.word().to_owned(),
    })
}

/// `GET /readyz`: whether the server can answer requests.
async fn is_ready(executor: Data<Executor>) -> Result<HttpResponse, Error> {
    executor.check_ready().await?;
    Ok(root().await)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use actix_web::{App, http::Method, test};
    use serde_json::Value;

    use super::*;

    const METHODS: [&str; 9] = [
        "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT",
    ];

    /// Asks for each method of each path of the document. The handlers have no executor to call, so they do not answer with 405.
    #[actix_rt::test]
    async fn the_document_has_the_routes_of_the_server() {
        let limits = Limits::default();
        let app = App::new().configure(|config| configure(config, &limits, false));
        let app = test::init_service(app).await;
        let without: Value = serde_json::from_str(openapi(true)).unwrap();
        let document: Value = serde_json::from_str(openapi(false)).unwrap();
        let mut rest = document.clone();
        rest["paths"]
            .as_object_mut()
            .unwrap()
            .remove("/metrics")
            .unwrap();
        assert_eq!(rest, without);
        let paths = document["paths"].as_object().unwrap();
        assert!(paths.len() > 15);
        for (path, operations) in paths {
            let described: BTreeSet<String> = operations
                .as_object()
                .unwrap()
                .keys()
                .map(|method| method.to_uppercase())
                .collect();
            let uri = path.replace("{task_id}", "ab12cd34");
            let uri = uri.replace("{volume_id}", "ab12cd34");
            for method in METHODS {
                let request = test::TestRequest::default()
                    .method(method.parse::<Method>().unwrap())
                    .uri(&uri);
                let answer = test::call_service(&app, request.to_request()).await;
                let is_served = answer.status() != 405 && answer.status() != 404;
                assert_eq!(is_served, described.contains(method), "{method} {path}");
                if let Some(allowed) = answer.headers().get("allow") {
                    let allowed = allowed.to_str().unwrap().split(", ");
                    let allowed: BTreeSet<String> = allowed.map(str::to_owned).collect();
                    assert_eq!(allowed, described, "{path}");
                }
            }
        }
    }
}
