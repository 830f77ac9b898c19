//! The HTTP server: authentication, and the choice of the function that answers.
//!
//! One handler serves all paths, because the paths of a Kubernetes API are regular: it checks the token, parses the path and
//! calls a verb. The token comes in the `Authorization` header or as the first segment of the path. The second way is for
//! `kubectl`, which sends no credentials over plain HTTP (client-go, `tools/clientcmd/client_config.go`).

use std::{net::TcpListener, sync::Arc, time::Duration};

use actix_web::{
    App, HttpRequest, HttpResponse, HttpServer,
    dev::Server,
    http::{Method, header},
    rt::net::TcpStream,
    web::{self, Bytes, Data},
};
use serde_json::Value;

use super::{
    discovery, pod_logs,
    request::{self, Query, ResourcePath, Target},
    reviews::Reviews,
    table::Tables,
    verbs::{self, Request},
};
use crate::sandbox::{
    kubelet::logs::Logs,
    objects::{registry::Registry, status::Status},
};

/// The most bytes of a request's body, as for a real server.
const MAX_BODY: usize = 3 << 20;

/// Paths that need no token.
const PUBLIC: [&str; 4] = ["/version", "/healthz", "/readyz", "/livez"];

/// The state of the handler.
#[derive(Clone)]
pub struct ApiServer {
    pub registry: Arc<Registry>,
    pub logs: Arc<Logs>,
    pub reviews: Reviews,
}

/// Serves the API on `listener`; the returned server runs when it is awaited.
pub fn serve(api: ApiServer, listener: TcpListener) -> std::io::Result<Server> {
    let server = HttpServer::new(move || {
        App::new()
            .app_data(Data::new(api.clone()))
            .default_service(web::to(handle))
    })
    .workers(1)
    .disable_signals()
    .shutdown_timeout(0)
    // Clients keep idle connections and must not find them closed.
    .keep_alive(Duration::from_secs(60 * 60))
    .client_request_timeout(Duration::ZERO)
    // The stream of a client that hangs up must end at once, not with the next line.
    .h1_allow_half_closed(false)
    .on_connect(|connection, _| {
        // A log line is a small write, which must not wait for the acknowledgement of the one before.
        if let Some(stream) = connection.downcast_ref::<TcpStream>()
            && let Err(error) = stream.set_nodelay(true)
        {
            log::debug!("sandbox connection: {error}");
        }
    });
    Ok(server.listen(listener)?.run())
}

async fn handle(http: HttpRequest, payload: web::Payload, api: Data<ApiServer>) -> HttpResponse {
    match dispatch(&http, payload, &api).await {
        Ok(response) => response,
        Err(status) => verbs::answer(status.code, &status.to_value()),
    }
}

async fn dispatch(
    http: &HttpRequest,
    payload: web::Payload,
    api: &ApiServer,
) -> Result<HttpResponse, Status> {
    let full = http.path();
    let inner = full
        .strip_prefix('/')
        .and_then(|path| path.strip_prefix(&*api.reviews.token));
    let inner = inner.filter(|path| path.is_empty() || path.starts_with('/'));
    let path = inner.unwrap_or(full);
    if PUBLIC.contains(&path) && path != "/version" {
        return Ok(HttpResponse::Ok().content_type("text/plain").body("ok"));
    }
    let header = |name: header::HeaderName| {
        http.headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    let bearer = header(header::AUTHORIZATION)
        .strip_prefix("Bearer ")
        .unwrap_or_default();
    if inner.is_none() && !PUBLIC.contains(&path) && bearer != &*api.reviews.token {
        return Err(Status::unauthorized());
    }
    let target = request::parse_path(path).ok_or_else(Status::no_such_path)?;
    if let Target::Objects(path) = &target
        && matches!(
            path.subresource.as_deref(),
            Some("exec" | "attach" | "portforward")
        )
    {
        // The body of such a request is the stream, which has no end.
        return Err(Status::no_streams());
    }
    let body = read_body(payload).await?;
    match target {
        Target::Other => other(http.method(), path, api, &body),
        Target::Objects(path) => {
            let query = Query::parse(http.query_string());
            let content_type = header(header::CONTENT_TYPE)
                .split(';')
                .next()
                .unwrap_or_default()
                .trim();
            let request = Request {
                tables: Tables::accepted(header(header::ACCEPT), query.get("includeObject")),
                content_type: content_type.to_owned(),
                path,
                query,
                body,
            };
            objects(http.method(), api, request).await
        }
    }
}

fn other(
    method: &Method,
    path: &str,
    api: &ApiServer,
    body: &Bytes,
) -> Result<HttpResponse, Status> {
    if method == Method::GET {
        let answer = discovery::answer(path).ok_or_else(Status::no_such_path)?;
        return Ok(verbs::answer(200, &answer));
    }
    let review: Value = serde_json::from_slice(body).unwrap_or_default();
    let answer = api
        .reviews
        .answer(path, &review)
        .ok_or_else(Status::no_such_path)?;
    Ok(verbs::answer(201, &answer))
}

async fn objects(
    method: &Method,
    api: &ApiServer,
    request: Request,
) -> Result<HttpResponse, Status> {
    let registry = &api.registry;
    let ResourcePath {
        resource,
        name,
        subresource,
        namespace,
    } = request.path.clone();
    match subresource.as_deref() {
        None => (),
        Some("status") if resource.has_status && method != Method::DELETE => (),
        Some("log") if resource.plural == "pods" && method == Method::GET => {
            let (namespace, name) = (namespace.unwrap_or_default(), name.unwrap_or_default());
            return pod_logs::answer(registry, &api.logs, &namespace, &name, &request.query).await;
        }
        Some("eviction") if resource.plural == "pods" && method == Method::POST => {
            return verbs::evict(registry, &request, &name.unwrap_or_default());
        }
        Some(_) => return Err(Status::no_such_path()),
    }
    if request.query.get("labelSelector") == Some("kubernetes.io/cluster-service=true") {
        // `kubectl cluster-info` would print the address, and with it the token.
        let why = "there are none, and the address of the sandbox is a secret: see its kubeconfig";
        return Err(Status::forbidden(resource, "cluster-service", why));
    }
    request.query.check_options(method.as_str())?;
    let watch = request.query.flag("watch");
    match (method.as_str(), name.as_deref()) {
        ("GET", _) if watch => verbs::watch(registry.clone(), request),
        ("GET", Some(name)) => verbs::get(registry, &request, name),
        ("GET", None) => verbs::list(registry, &request),
        ("POST", None) if namespace.is_some() || !resource.namespaced => {
            verbs::create(registry, &request)
        }
        ("PUT", Some(name)) => verbs::replace(registry, &request, name),
        ("PATCH", Some(name)) => verbs::patch(registry, &request, name),
        ("DELETE", Some(name)) => verbs::delete(registry, &request, name),
        ("DELETE", None) => verbs::delete_collection(registry, &request),
        _ => Err(Status::method_not_allowed()),
    }
}

async fn read_body(payload: web::Payload) -> Result<Bytes, Status> {
    match payload.to_bytes_limited(MAX_BODY).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) => Err(Status::bad_request(error.to_string())),
        Err(_) => Err(Status::too_large(MAX_BODY)),
    }
}
