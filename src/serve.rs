//! `k8s-cli serve`: connects server, executor and sandbox. No other module knows all three.

use std::{
    borrow::Cow,
    cell::Cell,
    env,
    error::Error,
    fs::{self, Permissions},
    io::{self, Write},
    iter,
    net::TcpListener,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    path::{self, Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use actix_web::rt::{
    System,
    signal::unix::{SignalKind, signal},
    spawn,
    task::JoinHandle,
};
use futures::future::select_all;

use crate::{
    api::{
        Quantity, Timestamp, masked,
        path::{OWN_SOCKET, SOCKET},
    },
    certificate,
    cli::{Auth, ServeArgs},
    executor::{ClusterConfig, Defaults, Executor, FileRules, PodRules},
    hidden::{self, is_hidden},
    sandbox::{self, Sandbox},
    server::{self, Access, Audit, HeaderWay, Limits, Listeners, SocketWay, TokenWay},
};

/// The warning of a server that does not know its users.
const OPEN: &str = "warning: whoever reaches this port can run anything in the namespace, as any user: listen on a socket for ssh (--socket), take tokens of \
                    the cluster (--auth kubernetes), or let a proxy name the users (--trusted-proxy); see `k8s-cli help security`";

/// The warning of a server with a socket and such a port, even if only users of this machine reach it.
const BESIDE: &str = "warning: whoever reaches the port can run anything in the namespace, as any user, so the names of the socket prove nothing: open no \
                      port (leave out --host and --port), take tokens of the cluster (--auth kubernetes), or let a proxy name the users \
                      (--trusted-proxy); see `k8s-cli help security`";

/// The warning of a server that takes tokens without encryption.
const PLAIN: &str = "warning: the tokens of users come to this port without encryption: give --tls-cert and --tls-key, or let only a proxy with TLS \
                     reach it";

/// The audience of the tokens of users.
const AUDIENCE: &str = "k8s-cli";
/// The warning of a server that takes tokens for the API server.
const OWN_AUDIENCE: &str = "warning: with --audience '' users send this server tokens with which it could do all that they may do in the cluster; tokens for \
                            the audience k8s-cli are good for this server alone";

/// Serves until SIGINT or SIGTERM.
pub fn run(args: ServeArgs) -> ExitCode {
    log_to_stderr();
    match serve(args) {
        Ok(code) => code,
        Err(error) => {
            let message = with_cause(&*error);
            // A path may be a URL with a login, by mistake.
            print_line(&format!("k8s-cli: {}", one_line(&masked(&message))));
            ExitCode::FAILURE
        }
    }
}

fn serve(args: ServeArgs) -> Result<ExitCode, Box<dyn Error>> {
    let wants_port = args.has_port() && !args.check;
    let ServeArgs {
        host,
        port,
        namespace,
        check,
        sandbox,
        sandbox_log_max_size,
        sandbox_users,
        sandbox_objects,
        allow_pod_config,
        pod_security,
        runtime_class,
        default_image,
        default_cpus,
        default_memory,
        max_files_size,
        files_budget,
        files_dir,
        files_claim,
        max_body,
        max_nodes,
        max_script,
        max_envs,
        max_env_size,
        max_tasks,
        max_submits,
        ttl_after_finished,
        socket,
        socket_user_domain,
        tls_cert,
        tls_key,
        auth,
        audience,
        user_header,
        trusted_proxy,
        admin,
        audit_log,
        no_install,
        label_prefix,
        allowed_host,
        metrics_address,
        metrics_per_user,
    } = args;
    sandbox::raise_open_files_limit();
    let socket = socket.filter(|_| !check);
    let tls = tls_cert.zip(tls_key).filter(|_| !check);
    let tls = tls.map(|(chain, key)| server::tls_config(&chain, &key));
    let tls = tls.transpose()?;
    let has_tls = tls.is_some();
    let scheme = if has_tls { "https" } else { "http" };
    let tokens = (auth == Some(Auth::Kubernetes)).then(|| {
        let audience = audience.unwrap_or_else(|| AUDIENCE.to_owned());
        if audience.is_empty() {
            print_line(OWN_AUDIENCE);
        }
        TokenWay::new(&audience)
    });
    let port = port.map_or_else(port_from_environment, Ok)?;
    // Every user of the sandbox can run commands on this machine.
    let host = host.unwrap_or_else(|| if sandbox { "127.0.0.1" } else { "0.0.0.0" }.to_owned());
    let tcp = wants_port.then(|| {
        server::bind(&host, port)
            .map_err(|error| cannot_listen(&format!("{host}:{port}"), "--port", &error))
    });
    let tcp = tcp.transpose()?;
    let socket = socket.map(|path| match path.to_str() {
        Some("auto") => Ok(default_socket()),
        Some(url) if url.contains("://") => Err(format!("--socket: {url} is a URL, and no path")),
        Some("") => Err("--socket: give a path, or auto".to_owned()),
        // The client's URL needs the whole path.
        _ => path::absolute(path).map_err(|error| format!("--socket: {error}")),
    });
    let socket = socket.transpose()?;
    let bound = socket.as_ref().map(|path| {
        make_own_directory(path)
            .and_then(|()| server::bind_socket(path))
            .map_err(|error| cannot_listen(&path.display().to_string(), "--socket", &error))
    });
    let bound = bound.transpose()?;
    let metrics = metrics_address.map(|address| {
        TcpListener::bind(&*address)
            .map_err(|error| cannot_listen(&address, "--metrics-address", &error))
    });
    let metrics = metrics.transpose()?;
    let access = Arc::new(Access {
        header: HeaderWay::new(user_header.as_deref(), trusted_proxy)?,
        tokens,
        socket: SocketWay::new(socket_user_domain),
        admins: admin,
        audit: match &audit_log {
            Some(path) => Audit::to_file(path)
                .map_err(|error| format!("cannot write {}: {error}", path.display()))?,
            None => Audit::default(),
        },
    });
    let address = tcp.as_ref().map(TcpListener::local_addr).transpose()?;
    let is_reachable = address.is_some_and(|address| !address.ip().is_loopback());
    if access.is_open() && tcp.is_some() && bound.is_some() {
        print_line(BESIDE);
    } else if access.is_open() && is_reachable {
        print_line(OPEN);
    }
    if access.tokens.is_some() && !has_tls && is_reachable {
        print_line(PLAIN);
    }
    let sandbox = if sandbox {
        let log_max_size = sandbox_log_max_size.as_ref().map(Quantity::as_str);
        let objects = sandbox_objects.as_deref();
        Some(start_sandbox(
            &namespace,
            log_max_size,
            objects,
            sandbox_users,
        )?)
    } else {
        None
    };
    let cluster = match &sandbox {
        Some(sandbox) => ClusterConfig::Kubeconfig(sandbox.kubeconfig()),
        None => ClusterConfig::Environment,
    };
    System::new().block_on(async {
        let (executor, away) = Executor::connect(cluster, &namespace).await?;
        let with_tokens = access.tokens.is_some();
        if check {
            return match away {
                Some(error) => Err(error.into()),
                None => report_rights(&executor, with_tokens).await,
            };
        }
        if let Some(error) = away {
            log::warn!("{}: the server waits for it", with_cause(&error));
        }
        let executor = executor.with_pod_rules(PodRules {
            any_pod_config: allow_pod_config,
            is_restricted: pod_security.is_some(),
            runtime_classes: runtime_class,
            label_prefix,
            defaults: Defaults {
                image: default_image,
                cpus: default_cpus,
                memory: default_memory,
                // The pods of the sandbox would install programs on this machine.
                never_install: no_install || sandbox.is_some(),
            },
        });
        let unset = FileRules::default();
        let executor = executor.with_file_rules(FileRules {
            max_size: max_files_size,
            budget: files_budget.unwrap_or(unset.budget),
            directory: files_dir,
            claim: files_claim,
        })?;
        let (keeper, reconciler) = (executor.clone(), executor.clone());
        let loops = [
            (
                "the view of the cluster",
                spawn(async move { keeper.keep_view().await }),
            ),
            (
                "the control loop of tasks",
                spawn(async move { reconciler.reconcile().await }),
            ),
        ];
        if let Some(ttl) = ttl_after_finished {
            let executor = executor.clone();
            spawn(async move { executor.expire(ttl).await });
        }
        let asking = executor.clone();
        spawn(async move { warn_of_rights(&asking, with_tokens).await });
        let (mut interrupt, mut terminate) = (
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
        );
        let audit = audit_log.is_some().then(|| access.clone());
        let hangup = (audit.is_some() || !ignores_hangup()).then(|| signal(SignalKind::hangup()));
        let mut hangup = hangup.transpose()?;
        let mut signalled = async || loop {
            tokio::select! {
                _ = interrupt.recv() => return,
                _ = terminate.recv() => return,
                // Its terminal is closed, unless a file was renamed.
                Some(()) = async { hangup.as_mut()?.recv().await } => match &audit {
                    Some(access) => access.audit.reopen(),
                    None => return,
                }
            }
        };
        let last = executor.clone();
        let lost = Cell::new(None);
        let stop = async {
            tokio::select! {
                () = signalled() => (),
                ended = first_end(loops) => lost.set(Some(ended)),
            }
            // A second signal ends the wait.
            tokio::select! {
                () = last.stop_creating() => (),
                () = signalled() => (),
            }
        };
        let listeners = Listeners {
            tcp,
            tls,
            socket: bound,
            metrics,
        };
        let address = address.map(|address| format!("{scheme}://{address}"));
        let announce = || announce(address, socket.as_deref());
        let unlimited = Limits::default();
        let limits = Limits {
            body: max_body.map_or(unlimited.body, |bytes| {
                bytes.try_into().unwrap_or(usize::MAX)
            }),
            num_nodes: max_nodes,
            script: max_script,
            envs: max_envs.unwrap_or(unlimited.envs),
            env_size: max_env_size.unwrap_or(unlimited.env_size),
            unfinished_tasks: max_tasks,
            submits_per_minute: max_submits,
        };
        let rules = server::Rules {
            access,
            limits,
            allowed_hosts: allowed_host,
            metrics_per_user,
        };
        server::run(listeners, executor, rules, announce, stop).await?;
        if let Some(path) = &socket {
            drop(fs::remove_file(path));
        }
        match lost.take() {
            None => Ok(ExitCode::SUCCESS),
            Some(what) => {
                Err(format!("{what} ended, which it never should: start the server again").into())
            }
        }
    })
}

/// Whether this program was started to ignore SIGHUP, as nohup does. A handler would end that.
fn ignores_hangup() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask & 1 != 0)
}

/// Prints which rights the server has, and what fails without the others.
async fn report_rights(executor: &Executor, with_tokens: bool) -> Result<ExitCode, Box<dyn Error>> {
    let (version, is_supported) = executor.version().await?;
    let mut lines = vec![match is_supported {
        true => format!("yes  Kubernetes {version}"),
        false => format!("no   Kubernetes {version}: 1.20 or newer is needed"),
    }];
    let has_namespace = !executor.lacks_namespace().await;
    lines.push(match has_namespace {
        true => "yes  a namespace".to_owned(),
        false => "no   a namespace: no task can be submitted until it is created".to_owned(),
    });
    let rights = executor.own_rights(with_tokens).await?;
    for (need, has) in &rights {
        let is_required = need.is_required();
        lines.push(match (has, is_required) {
            (true, _) => format!("yes  {need}"),
            (false, true) => format!("no   {need}: {}", need.without),
            (false, false) => format!("no   {need} (optional): {}", need.without),
        });
    }
    writeln!(io::stdout(), "{}", lines.join("\n"))?;
    let is_complete = rights.iter().all(|(need, has)| *has || !need.is_required());
    Ok(match is_complete && is_supported && has_namespace {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// Warns of each right that the server needs and lacks.
async fn warn_of_rights(executor: &Executor, with_tokens: bool) {
    match executor.own_rights(with_tokens).await {
        Ok(rights) => {
            let lacking = rights
                .iter()
                .filter(|(need, has)| !has && need.is_required());
            for (need, _) in lacking {
                log::warn!(
                    "the server may not {need}: {} (`k8s-cli serve --check`)",
                    need.without
                );
            }
        }
        Err(error) => log::warn!("the rights of the server are not known: {error}"),
    }
    if let Ok((version, false)) = executor.version().await {
        log::warn!("Kubernetes {version} is too old: 1.20 or newer is needed");
    }
}

/// Waits for the first of some loops that ends, though none should; returns its name.
async fn first_end<const N: usize>(loops: [(&'static str, JoinHandle<()>); N]) -> &'static str {
    let (names, loops): (Vec<_>, Vec<_>) = loops.into_iter().unzip();
    let (_, index, _) = select_all(loops).await;
    names[index]
}

/// `option` is the one that names the place.
fn cannot_listen(place: &str, option: &str, error: &io::Error) -> String {
    let hint = match error.kind() {
        io::ErrorKind::AddrInUse if place.starts_with('/') => {
            let is_socket = fs::metadata(place).is_ok_and(|it| it.file_type().is_socket());
            match is_socket {
                true => ": another server listens there",
                false => ": it is there already, and no socket",
            }
        }
        io::ErrorKind::AddrInUse => {
            return format!(
                "cannot listen on {place}: {error}: choose another port with {option}, or 0 for any free one"
            );
        }
        io::ErrorKind::NotFound if place.starts_with('/') => ": make its directory first",
        io::ErrorKind::InvalidInput if place.starts_with('/') => {
            return format!("cannot listen on {place}: the path of a socket has at most 107 bytes");
        }
        _ => "",
    };
    format!("cannot listen on {place}: {error}{hint}")
}

fn start_sandbox(
    namespace: &str,
    log_max_size: Option<&str>,
    objects: Option<&Path>,
    users: Option<PathBuf>,
) -> Result<Sandbox, String> {
    let sandbox = Sandbox::start(namespace, log_max_size, objects, users)
        .map_err(|error| format!("cannot start the sandbox: {error}"))?;
    let kubeconfig = sandbox.kubeconfig().display();
    print_line(&format!(
        "the sandbox is a cluster for kubectl too: export KUBECONFIG={kubeconfig}"
    ));
    Ok(sandbox)
}

fn port_from_environment() -> Result<u16, String> {
    match env::var("K8S_CLI_API_PORT") {
        Ok(port) if !port.is_empty() => port
            .parse()
            .map_err(|_| format!("K8S_CLI_API_PORT is {port:?}, which is not a port")),
        _ => Ok(8000),
    }
}

/// The socket of the machine, if this user may make one there, else that of the user.
fn default_socket() -> PathBuf {
    let machine = PathBuf::from(SOCKET);
    let own = env::var_os("XDG_RUNTIME_DIR").filter(|directory| !directory.is_empty());
    let own = own.map(|directory| Path::new(&directory).join(OWN_SOCKET));
    match own {
        Some(own) if !machine.parent().is_some_and(may_make_files) => own,
        _ => machine,
    }
}

/// Makes the directory of the machine's socket, which all users may enter, whatever this process usually lets them do. Another one is not
/// made: its name may be a mistake.
fn make_own_directory(socket: &Path) -> io::Result<()> {
    let directory = Path::new(SOCKET).parent();
    let Some(directory) = directory.filter(|directory| socket.parent() == Some(directory)) else {
        return Ok(());
    };
    match fs::create_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made.and_then(|()| fs::set_permissions(directory, Permissions::from_mode(0o755))),
    }
}

/// Whether this user may make files in a directory, or, as root, the directory too.
fn may_make_files(directory: &Path) -> bool {
    let Ok(process) = fs::metadata("/proc/self") else {
        return false;
    };
    let may = |directory: fs::Metadata| {
        let mode = directory.mode();
        let is_own = directory.uid() == process.uid() && mode & 0o200 != 0;
        let is_of_group = directory.gid() == process.gid() && mode & 0o020 != 0;
        is_own || is_of_group || mode & 0o002 != 0
    };
    process.uid() == 0 || fs::metadata(directory).is_ok_and(may)
}

/// Prints what the server listens on. The tests, and scripts that ask for port 0, read these lines on stdout.
fn announce(address: Option<String>, socket: Option<&Path>) {
    let socket = socket.map(|path| format!("unix://{}", path.display()));
    for place in address.into_iter().chain(socket) {
        // The server serves with a closed stdout too.
        drop(writeln!(io::stdout(), "listening on {place}"));
    }
}

/// Prints a line on stderr. A closed stderr is no error.
fn print_line(line: &str) {
    drop(io::stderr().write_all(format!("{line}\n").as_bytes()));
}

/// Sends the log to stderr, one `key=value` line an event. `RUST_LOG` sets the level; the default is `info`.
fn log_to_stderr() {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or(
        "info,actix_server=warn,actix_http::h1=off,kube_client=off,rustls_platform_verifier=off",
    ))
    .format(|out, record| {
        let time = Timestamp::from(time::OffsetDateTime::now_utc());
        let level = record.level().as_str().to_ascii_lowercase();
        let message = record.args().to_string();
        writeln!(out, "time={time}Z level={level} {}", one_line(&message))
    })
    .init();
}

/// An error and its deepest cause, unless the error names that itself.
fn with_cause(error: &(dyn Error + 'static)) -> String {
    let message = error.to_string();
    let deepest = iter::successors(error.source(), |cause| (*cause).source())
        .last()
        .map(ToString::to_string);
    match deepest {
        // The message of a failed TLS connection contains the cause in other words.
        Some(cause)
            if !message.contains(&cause)
                && !cause.contains('\n')
                && certificate::describe(error).is_none() =>
        {
            format!("{message}: {cause}")
        }
        _ => message,
    }
}

/// A message without control characters. Text from outside must neither begin a new line nor control a terminal.
fn one_line(message: &str) -> Cow<'_, str> {
    if !message.contains(is_hidden) {
        return message.into();
    }
    hidden::escape(message).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_rt::test]
    async fn the_loop_that_panics_is_named() {
        let loops = [
            ("one", spawn(std::future::pending::<()>())),
            ("two", spawn(async { panic!("as expected") })),
        ];
        assert_eq!(first_end(loops).await, "two");
    }

    #[test]
    fn a_message_is_one_line() {
        assert_eq!(super::one_line("a \"ø\""), "a \"ø\"");
        assert_eq!(super::one_line("a\n\x1b[31mb"), "a\\n\\u{1b}[31mb");
    }
}
