//! The REST API: HTTP towards the users, over an [`Executor`].
//!
//! A handler extracts its arguments, makes one call and wraps the answer. Extractors refuse malformed requests, and every error,
//! also one of actix, becomes an answer in `error`.

mod access;
mod access_log;
#[cfg(feature = "bench")]
mod bench;
mod body;
mod dry_run;
mod error;
mod head;
mod host;
mod http10;
mod limits;
mod log_body;
mod metrics;
mod nodes;
mod panics;
mod request_key;
mod routes;
mod streams;
mod submission;
mod task_list;
mod tasks;
mod tls;
mod volumes;

use std::{
    any::Any,
    fs, io,
    net::TcpListener,
    num::NonZero,
    os::{
        fd::AsFd,
        unix::{
            fs::{FileTypeExt, PermissionsExt},
            net::{UnixListener, UnixStream},
        },
    },
    path::Path,
    sync::Arc,
    thread::available_parallelism,
    time::Duration,
};

use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::{
    App, HttpServer, middleware,
    rt::net::TcpStream,
    web::{Data, ServiceConfig},
};
use rustix::net::sockopt;
use rustls::ServerConfig;
use tokio::sync::watch;

use self::{
    access::Peer, dry_run::DryRuns, host::AllowedHosts, limits::Submits, metrics::Metrics,
    streams::Streams, task_list::TaskLists,
};
pub use self::{
    access::{Access, Audit, HeaderWay, SocketWay, TokenWay},
    limits::Limits,
    tls::config as tls_config,
};
use crate::executor::Executor;

/// How long running requests may take to end after the server was told to stop.
const DRAIN_SECONDS: u64 = 3;
/// How long a client may take to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client may be unreachable before its connection is closed. A viewer that pauses its pager may also read nothing for
/// that long; its client connects again.
const ABSENCE: Duration = Duration::from_secs(2 * 60);
/// The interval of keepalive probes on a silent connection.
const PROBE_INTERVAL: Duration = Duration::from_secs(15);

/// The signal that the server is about to stop. It ends log streams, which would otherwise continue.
#[derive(Clone)]
pub struct Stopping(watch::Receiver<bool>);

impl Stopping {
    /// Waits until the server is about to stop.
    pub async fn wait(mut self) {
        // An error means that the server is already gone.
        let _ = self.0.wait_for(|is_stopping| *is_stopping).await;
    }
}

/// Binds the address. Called first, so that a port in use is reported before other work.
///
/// # Errors
/// When the host is unknown or the port is taken.
pub fn bind(host: &str, port: u16) -> io::Result<TcpListener> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    TcpListener::bind((host, port))
}

/// What the server listens on.
pub struct Listeners {
    pub tcp: Option<TcpListener>,
    /// The certificate of the port.
    pub tls: Option<ServerConfig>,
    pub socket: Option<UnixListener>,
    /// The address for metrics; none: they are on the port of the API.
    pub metrics: Option<TcpListener>,
}

/// The rules of the operator.
pub struct Rules {
    pub access: Arc<Access>,
    pub limits: Limits,
    /// Further names of a server on loopback.
    pub allowed_hosts: Vec<String>,
    /// Whether the metrics name users.
    pub metrics_per_user: bool,
}

/// Binds a socket that all users of this machine may connect to. One that no server listens on any more is replaced.
///
/// # Errors
/// A server listens on it already, or it cannot be made.
pub fn bind_socket(path: &Path) -> io::Result<UnixListener> {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    if is_socket {
        if UnixStream::connect(path).is_ok() {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    // The kernel says who connects, so everybody may.
    fs::set_permissions(path, fs::Permissions::from_mode(0o666))?;
    Ok(listener)
}

/// Serves until `stop` resolves, then lets running requests end. `announce` is called once the server answers requests.
pub async fn run(
    listeners: Listeners,
    executor: Executor,
    rules: Rules,
    announce: impl FnOnce(),
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let Listeners {
        tcp,
        tls,
        socket,
        metrics: metrics_port,
    } = listeners;
    let Rules {
        access,
        limits,
        allowed_hosts,
        metrics_per_user,
    } = rules;
    let address = tcp.as_ref().map(TcpListener::local_addr).transpose()?;
    let (stopping, is_stopping) = watch::channel(false);
    let is_stopping = Data::new(Stopping(is_stopping));
    let hosts = AllowedHosts::new(
        address.map(|address| address.ip()),
        access.is_open(),
        allowed_hosts,
    );
    let hosts = Data::new(hosts);
    let access = Data::from(access);
    let (limits, submits) = (Data::new(limits), Data::new(Submits::default()));
    let lists = Data::new(TaskLists::default());
    let dry_runs = Data::new(DryRuns::default());
    let all_streams = Data::new(Streams::new());
    let metrics =
        Metrics::new(&executor, &all_streams, metrics_per_user).map_err(io::Error::other)?;
    let metrics = Data::new(metrics);
    panics::count(metrics.panics.clone());
    let for_metrics = metrics_port
        .map(|port| {
            let (executor, metrics) = (Data::new(executor.clone()), metrics.clone());
            let all_streams = all_streams.clone();
            let server = HttpServer::new(move || {
                App::new()
                    .app_data(executor.clone())
                    .app_data(metrics.clone())
                    .app_data(all_streams.clone())
                    .configure(routes::configure_metrics)
                    .wrap(middleware::from_fn(head::drop_body))
            });
            log::info!("metrics on http://{}", port.local_addr()?);
            let server = server.workers(1).disable_signals().listen(port)?;
            Ok::<_, io::Error>(server.client_request_timeout(HEAD_TIMEOUT).run())
        })
        .transpose()?;
    let has_own_port = for_metrics.is_some();
    let workers = available_parallelism().map_or(1, NonZero::get);
    let mut server = HttpServer::new(move || {
        // Called once per worker, on the worker's thread.
        let own = executor.with_own_connections().unwrap_or_else(|error| {
            log::warn!("a worker shares its connections to Kubernetes: {error}");
            executor.clone()
        });
        App::new()
            .app_data(Data::new(own))
            .app_data(is_stopping.clone())
            .app_data(hosts.clone())
            .app_data(access.clone())
            .app_data(lists.clone())
            .app_data(dry_runs.clone())
            .app_data(all_streams.clone())
            .app_data(limits.clone())
            .app_data(submits.clone())
            .configure(|config| count_into(&metrics, config))
            .configure(|config| routes::configure(config, &limits, has_own_port))
            .wrap(middleware::from_fn(head::drop_body))
            .wrap(middleware::from_fn(http10::end_with_connection))
            .wrap(middleware::from_fn(body::limit_time))
            .wrap(middleware::from_fn(access::check))
            .wrap(middleware::from_fn(host::check))
            .wrap(middleware::from_fn(panics::answer))
            .wrap(middleware::from_fn(access_log::log))
    })
    .on_connect(|connection, noted| {
        Peer::note(connection, noted);
        if let Err(error) = expect_absence(connection) {
            log::debug!("cannot set the timeouts of a connection: {error}");
        }
    })
    .workers(workers)
    .max_connections(streams::max_connections().div_ceil(workers))
    .disable_signals()
    .shutdown_timeout(DRAIN_SECONDS)
    .client_request_timeout(HEAD_TIMEOUT)
    // Otherwise the server notices a closed connection only when it writes to it.
    .h1_allow_half_closed(false);
    server = match (tcp, tls) {
        (Some(tcp), Some(tls)) => server.listen_rustls_0_23(tcp, tls)?,
        (Some(tcp), None) => server.listen(tcp)?,
        (None, _) => server,
    };
    if let Some(socket) = socket {
        server = server.listen_uds(socket)?;
    }
    let server = server.run();

    let handle = server.handle();
    // It ends with the process, so that the last numbers can be read.
    for_metrics.map(actix_web::rt::spawn);
    let drain = async {
        stop.await;
        log::info!("stopping");
        stopping.send_replace(true);
        handle.stop(true).await;
    };
    announce();
    let (served, ()) = futures::join!(server, drain);
    served
}

/// Counts the requests, unless a benchmark asks what that costs.
fn count_into(metrics: &Data<Metrics>, config: &mut ServiceConfig) {
    #[cfg(feature = "bench")]
    if !bench::counts() {
        return;
    }
    config.app_data(metrics.clone());
}

/// Lets the kernel close a connection whose other end is unreachable.
fn expect_absence(connection: &dyn Any) -> io::Result<()> {
    let over_tls = connection.downcast_ref::<TlsStream<TcpStream>>();
    let over_tls = over_tls.map(|stream| stream.get_ref().0);
    let Some(stream) = connection.downcast_ref::<TcpStream>().or(over_tls) else {
        return Ok(());
    };
    let socket = stream.as_fd();
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, PROBE_INTERVAL)?;
    sockopt::set_tcp_keepintvl(socket, PROBE_INTERVAL)?;
    // Keepalive does not cover sent data without an acknowledgement; this timeout does.
    let milliseconds = u32::try_from(ABSENCE.as_millis()).unwrap_or(u32::MAX);
    sockopt::set_tcp_user_timeout(socket, milliseconds)?;
    Ok(())
}
