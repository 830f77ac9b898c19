//! Connections to a server that are no TCP: a socket of this machine, or `ssh` to the machine of the server.
//!
//! ```text
//! unix:///run/k8s-cli/k8s-cli.sock   the socket
//! ssh://ada@jump-box                 ssh jump-box k8s-cli dial-stdio, which copies between its streams and the socket there
//! ```
//!
//! No local port is opened, since other users of this machine could use it. ssh asks its own questions on the terminal, and uses the
//! user's configuration, so that a `ControlMaster` saves the login of each command.

use std::{
    fmt, io,
    io::{Read, Write},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use ureq::{
    Error,
    config::Config,
    http::Uri,
    unversioned::{
        resolver::{ResolvedSocketAddrs, Resolver},
        transport::{Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport},
    },
};

/// The message about a machine whose server has no socket where it is looked for.
pub const NO_SOCKET_THERE: &str = "k8s-cli on that machine cannot reach its socket, as it says";

/// How long ssh may take to say with which code it ended.
const EXIT_TIMEOUT: Duration = Duration::from_secs(2);

/// The way to the socket of a server.
#[derive(Clone, Debug, PartialEq)]
pub enum Route {
    Socket(PathBuf),
    Ssh {
        /// `host` or `user@host`.
        target: String,
        port: Option<u16>,
        /// The socket there; none for its default.
        socket: Option<String>,
    },
}

impl Route {
    /// The way that a URL names; none if it is one of HTTP.
    ///
    /// # Errors
    /// What is wrong with the URL.
    pub fn of(url: &str) -> Option<Result<Self, &'static str>> {
        let (scheme, rest) = url.split_once("://")?;
        if scheme.eq_ignore_ascii_case("unix") {
            let path = rest;
            let is_absolute = path.starts_with('/') && path.len() > 1;
            return Some(match is_absolute {
                true => Ok(Self::Socket(PathBuf::from(path))),
                false => Err("it names no socket, as in unix:///run/k8s-cli/k8s-cli.sock"),
            });
        }
        if !scheme.eq_ignore_ascii_case("ssh") {
            return None;
        }
        let (place, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let user = place.rsplit_once('@').map_or("", |(user, _)| user);
        if user.contains(':') {
            return Some(Err("it must not hold a password: ssh asks for it"));
        }
        let (target, port) = match place.rsplit_once(':') {
            Some((target, port)) if !port.ends_with(']') => match port.parse() {
                Ok(port) => (target, Some(port)),
                Err(_) => return Some(Err("its port is not a number up to 65535")),
            },
            _ => (place, None),
        };
        if target.starts_with('-') {
            return Some(Err(
                "it must not begin with `-`, which ssh takes for an option",
            ));
        }
        let host = target.rsplit('@').next().unwrap_or_default();
        let is_odd = |c: char| c.is_whitespace() || matches!(c, '?' | '#');
        if host.is_empty() || target.contains(is_odd) {
            return Some(Err("it names no host, as in ssh://ada@jump-box"));
        }
        Some(Ok(Self::Ssh {
            // In a word of its own, an address needs no brackets, and ssh takes none.
            target: target.replace(['[', ']'], ""),
            port,
            socket: Some(path.trim_end_matches('/').to_owned()).filter(|path| !path.is_empty()),
        }))
    }

    fn open(&self) -> io::Result<Stream> {
        match self {
            Self::Socket(path) => Ok(Stream {
                socket: UnixStream::connect(path)?,
                ssh: None,
                has_answered: false,
            }),
            Self::Ssh { .. } => self.start_ssh(),
        }
    }

    fn start_ssh(&self) -> io::Result<Stream> {
        let (socket, other) = UnixStream::pair()?;
        let mut ssh = self.ssh();
        ssh.stdin(Stdio::from(OwnedFd::from(other.try_clone()?)));
        ssh.stdout(Stdio::from(OwnedFd::from(other)));
        let ssh = ssh.spawn();
        let ssh = ssh.map_err(|error| io::Error::other(format!("cannot run ssh: {error}")))?;
        Ok(Stream {
            socket,
            ssh: Some(ssh),
            has_answered: false,
        })
    }

    /// The command that reaches the socket of the other machine.
    fn ssh(&self) -> Command {
        let mut command = Command::new("ssh");
        if let Self::Ssh {
            target,
            port,
            socket,
        } = self
        {
            // Without a terminal, so that the stream stays as it is.
            command.arg("-T");
            if let Some(port) = port {
                command.args(["-p", &port.to_string()]);
            }
            command.args(["--", target, "k8s-cli", "dial-stdio"]);
            if let Some(socket) = socket {
                // The shell of the other machine reads it.
                let quoted = socket.replace('\'', r"'\''");
                command.args(["--socket", &format!("'{quoted}'")]);
            }
        }
        command
    }
}

/// A connection to the server.
struct Stream {
    socket: UnixStream,
    ssh: Option<Child>,
    /// Whether something has come over it.
    has_answered: bool,
}

impl Stream {
    /// Why the connection has ended, if ssh says so.
    fn end(&mut self) -> io::Result<()> {
        let Some(ssh) = &mut self.ssh else {
            return Ok(());
        };
        let started = std::time::Instant::now();
        while started.elapsed() < EXIT_TIMEOUT {
            if let Some(status) = ssh.try_wait()? {
                return match status.code() {
                    Some(0) => Ok(()),
                    code => Err(io::Error::other(problem(code, self.has_answered))),
                };
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

/// Why ssh has ended with this code: its own, or that of the command on the other machine. What either says stands on stderr.
fn problem(code: Option<i32>, has_answered: bool) -> String {
    let known = match code {
        None => "ssh was ended by a signal",
        Some(255) if has_answered => "ssh has lost the connection",
        Some(255) => "ssh cannot connect, as it says",
        Some(1) => NO_SOCKET_THERE,
        Some(126) => "k8s-cli on that machine cannot be run, as its shell says",
        Some(127) => "there is no k8s-cli in the PATH of that machine",
        Some(2) => "k8s-cli on that machine is too old: it has no `dial-stdio`",
        Some(code) => return format!("the command on that machine ended with exit code {code}"),
    };
    known.to_owned()
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(ssh) = &mut self.ssh {
            drop(ssh.kill());
            drop(ssh.wait());
        }
    }
}

/// Makes connections over a route.
#[derive(Debug)]
pub struct SocketConnector(pub Route);

impl Connector for SocketConnector {
    type Out = SocketTransport;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _: Option<()>,
    ) -> Result<Option<SocketTransport>, Error> {
        let config = details.config;
        Ok(Some(SocketTransport {
            stream: self.0.open()?,
            buffers: LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size()),
        }))
    }
}

/// A connection, for ureq.
pub struct SocketTransport {
    stream: Stream,
    buffers: LazyBuffers,
}

impl fmt::Debug for SocketTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SocketTransport")
    }
}

fn timed(error: io::Error, timeout: NextTimeout) -> Error {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Error::Timeout(timeout.reason),
        _ => error.into(),
    }
}

impl Transport for SocketTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let limit = timeout.not_zero().map(|limit| *limit);
        self.stream.socket.set_write_timeout(limit)?;
        let output = &self.buffers.output()[..amount];
        if let Err(error) = self.stream.socket.write_all(output) {
            self.stream.end()?;
            return Err(timed(error, timeout));
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let limit = timeout.not_zero().map(|limit| *limit);
        self.stream.socket.set_read_timeout(limit)?;
        let input = self.buffers.input_append_buf();
        let read = loop {
            match self.stream.socket.read(input) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted && limit.is_some() => (),
                read => break read.map_err(|error| timed(error, timeout)),
            }
        };
        // ssh that ends with unread input resets the connection.
        if !matches!(read, Ok(1..) | Err(Error::Timeout(_))) {
            self.stream.end()?;
        }
        let read = read?;
        self.stream.has_answered |= read > 0;
        self.buffers.input_appended(read);
        Ok(read > 0)
    }

    fn is_open(&mut self) -> bool {
        // A byte before a request, or the end, means that the connection is of no more use.
        let mut byte = [0];
        let is_silent = self.stream.socket.set_nonblocking(true).is_ok()
            && matches!(self.stream.socket.read(&mut byte), Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        is_silent && self.stream.socket.set_nonblocking(false).is_ok()
    }
}

/// Finds no address: a route needs none.
#[derive(Debug)]
pub struct NoAddress;

impl Resolver for NoAddress {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let mut addresses = self.empty();
        addresses.push(([127, 0, 0, 1], 0).into());
        Ok(addresses)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_ssh_is_named_as_what_it_is() {
        for (code, has_answered, expected) in [
            (Some(1), false, NO_SOCKET_THERE),
            (Some(2), false, "is too old"),
            (Some(126), false, "cannot be run"),
            (Some(127), false, "there is no k8s-cli"),
            (Some(255), false, "ssh cannot connect"),
            (Some(255), true, "ssh has lost the connection"),
            (Some(137), false, "ended with exit code 137"),
            (None, true, "ended by a signal"),
        ] {
            let problem = problem(code, has_answered);
            assert!(problem.contains(expected), "{problem}");
        }
    }

    #[test]
    fn urls_name_sockets() {
        let ssh = |target: &str, port, socket: Option<&str>| {
            Some(Ok(Route::Ssh {
                target: target.to_owned(),
                port,
                socket: socket.map(str::to_owned),
            }))
        };
        for (url, expected) in [
            (
                "unix:///run/x.sock",
                Some(Ok(Route::Socket("/run/x.sock".into()))),
            ),
            ("ssh://jump-box", ssh("jump-box", None, None)),
            (
                "ssh://ada@jump-box:2222/run/x.sock",
                ssh("ada@jump-box", Some(2222), Some("/run/x.sock")),
            ),
            ("ssh://[::1]:22", ssh("::1", Some(22), None)),
            ("ssh://ada@[::1]/", ssh("ada@::1", None, None)),
            ("SSH://jump-box", ssh("jump-box", None, None)),
            ("http://localhost:8000", None),
        ] {
            assert_eq!(Route::of(url), expected, "{url}");
        }
        for url in [
            "unix://",
            "unix:///",
            "unix://x",
            "ssh://",
            "ssh://-oProxyCommand=x",
            "ssh://a b",
            "ssh://jump-box?x=1",
            "ssh://-oProxyCommand=x@jump-box/",
            "ssh://h:port",
            "ssh://ada@",
            "ssh://ada:password@jump-box",
        ] {
            assert!(matches!(Route::of(url), Some(Err(_))), "{url}");
        }
    }

    #[test]
    fn the_shell_of_the_other_machine_reads_one_word() {
        let route = Route::of("ssh://ada@box:2222/run/it's; rm -rf x")
            .unwrap()
            .unwrap();
        let command = route.ssh();
        let arguments: Vec<_> = command
            .get_args()
            .map(|argument| argument.to_str().unwrap())
            .collect();
        assert_eq!(
            arguments,
            [
                "-T",
                "-p",
                "2222",
                "--",
                "ada@box",
                "k8s-cli",
                "dial-stdio",
                "--socket",
                r"'/run/it'\''s; rm -rf x'"
            ]
        );
    }
}
