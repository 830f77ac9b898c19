//! The routes of the REST API.

use std::future::ready;

use actix_web::{
    HttpRequest, HttpResponse, Route,
    guard::{Any, Get, Head},
    web::{self, Data, ServiceConfig, delete, post},
};
use serde_json::json;

use super::{access::Known, error, limits::Limits, metrics, nodes, tasks, volumes};
use crate::{
    api::{KEY_HEADER, Whoami, path},
    executor::{Error, Executor},
};

/// `hides_metrics`: they have an address of their own.
pub fn configure(config: &mut ServiceConfig, limits: &Limits, hides_metrics: bool) {
    let resource = |path, allowed| {
        let refuse =
            move |request: HttpRequest| ready(error::method_not_allowed(&request, allowed));
        web::resource(path).default_service(web::to(refuse))
    };
    #[cfg(feature = "bench")]
    config.configure(super::bench::configure);
    if !hides_metrics {
        config.service(resource(path::METRICS, "GET, HEAD").route(get().to(metrics::show)));
    }
    config
        .app_data(error::json_config(limits.body))
        .app_data(error::path_config())
        .app_data(error::query_config())
        .app_data(error::form_config(limits.body))
        .service(resource(path::ROOT, "GET, HEAD").route(get().to(root)))
        .service(resource(path::HEALTHZ, "GET, HEAD").route(get().to(root)))
        .service(resource(path::READYZ, "GET, HEAD").route(get().to(is_ready)))
        .service(resource(path::WHOAMI, "GET, HEAD").route(get().to(whoami)))
        // Literal paths come before the patterns that also match them.
        .service(resource(path::TASKS_SUBMIT, "POST").route(post().to(tasks::submit)))
        .service(resource(path::TASKS_STOP, "POST").route(post().to(tasks::stop_all)))
        .service(resource(path::TASKS_WAIT, "GET, HEAD").route(get().to(tasks::wait)))
        .service(resource(path::TASKS, "GET, HEAD").route(get().to(tasks::list)))
        .service(
            resource(path::TASK, "GET, HEAD, DELETE")
                .route(get().to(tasks::get))
                .route(delete().to(tasks::delete)),
        )
        .service(resource(path::TASK_DEFINITION, "GET, HEAD").route(get().to(tasks::definition)))
        .service(resource(path::TASK_STOP, "POST").route(post().to(tasks::stop)))
        .service(
            resource(path::TASK_LOGS, "GET, HEAD, POST")
                .route(get().to(tasks::logs))
                .route(post().to(tasks::logs_by_form)),
        )
        .service(resource(path::NODES, "GET, HEAD").route(get().to(nodes::list)))
        .service(resource(path::VOLUMES_CREATE, "POST").route(post().to(volumes::create)))
        .service(resource(path::VOLUMES, "GET, HEAD").route(get().to(volumes::list)))
        .service(
            resource(path::VOLUME, "GET, HEAD, DELETE")
                .route(get().to(volumes::get))
                .route(delete().to(volumes::delete)),
        )
        .default_service(web::to(error::no_such_path));
}

/// Matches `GET`, and `HEAD`, whose body `head` drops.
fn get() -> Route {
    web::route().guard(Any(Get()).or(Head()))
}

/// `GET /`: whether the server is alive.
async fn root() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((KEY_HEADER, "supported"))
        .json(json!({"status": "ok", "service": "k8s-cli-api"}))
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
