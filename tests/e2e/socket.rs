//! Users who are known by the socket of the server's machine, directly and over ssh.

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    os::unix::{
        fs::{PermissionsExt, symlink},
        net::UnixListener,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use crate::harness::{Running, Session, Team, TempDir, World, copy_k8s_cli, k8s_cli, wait_until};

/// A socket that other users of this machine can reach, too.
fn reachable() -> TempDir {
    let dir = TempDir::new();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

fn url(socket: &Path) -> String {
    format!("unix://{}", socket.display())
}

fn user_name() -> String {
    let id = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(id.stdout).unwrap().trim().to_owned()
}

fn is_root() -> bool {
    user_name() == "root"
}

#[test]
fn the_kernel_says_who_comes_over_the_socket() {
    let dir = reachable();
    let socket = dir.path().join("k8s-cli.sock");
    let world = World::with(&["--socket", socket.to_str().unwrap(), "--admin", "root"]);
    assert_eq!(
        fs::metadata(&socket).unwrap().permissions().mode() & 0o777,
        0o666
    );
    // Nobody is logged in, and a login is not asked for.
    let me = world.anonymous();
    let file = me.file("run: echo over the socket");
    let run = me
        .start_at(&url(&socket), ["jobs", "submit", &file])
        .finish()
        .success();
    assert!(run.stdout.ends_with("over the socket\n"), "{}", run.stdout);
    let list = |session: &Session<'_>, more: &[&str]| {
        session
            .start_at(
                &url(&socket),
                [&["jobs", "list", "-o", "json"], more].concat(),
            )
            .finish()
    };
    assert!(
        list(&me, &[])
            .success()
            .stdout
            .contains(&format!("\"username\": \"{}\"", user_name()))
    );
    list(&me, &["--as", &user_name()]).success();
    let refused = list(&me, &["--as", "ada"]).code(1);
    assert!(
        refused.stderr.contains("and cannot act as \"ada\""),
        "{}",
        refused.stderr
    );
    // The login of another server does not count here.
    list(&world.login("ada"), &[]).success();

    if is_root() {
        let own = copy_k8s_cli(dir.path());
        let other = |args: &[&str]| {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", "daemon", "--regid", "daemon", "--clear-groups"]);
            command
                .arg(&own)
                .args(args)
                .env("K8S_CLI_API_URL", url(&socket));
            Running::start(command, "").finish()
        };
        assert_eq!(
            other(&["jobs", "list", "-o", "json"]).success().stdout,
            "{\n  \"tasks\": []\n}\n"
        );
        other(&["jobs", "list", "--all-users"])
            .code(1)
            .says("--admin");
        other(&["jobs", "list", "--as", "root"])
            .code(1)
            .says("you are daemon");
        let mut nobody = Command::new("setpriv");
        nobody.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
        nobody
            .arg(&own)
            .args(["jobs", "list"])
            .env("K8S_CLI_API_URL", url(&socket));
        Running::start(nobody, "")
            .finish()
            .code(1)
            .says("your user 65534 is that of nobody on this machine");
    }
}

#[test]
fn a_socket_that_is_not_there_is_named() {
    let world = World::new();
    let ada = world.login("ada");
    let run = ada
        .start_at("unix:///nosuch/k8s-cli.sock", ["jobs", "list"])
        .finish()
        .code(1);
    let expected = "k8s-cli: cannot reach the server at unix:///nosuch/k8s-cli.sock: no such file or directory\n";
    assert!(run.stderr.starts_with(expected), "{}", run.stderr);
    ada.start_at("unix://relative", ["jobs", "list"])
        .finish()
        .code(2)
        .says("it names no socket");
    ada.start_at("ssh://", ["jobs", "list"])
        .finish()
        .code(2)
        .says("it names no host");
}

#[test]
fn dial_stdio_copies_at_once_and_ends_with_its_reader() {
    let dir = TempDir::new();
    let socket = dir.path().join("server.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let mut dial = k8s_cli()
        .args(["dial-stdio", "--socket", socket.to_str().unwrap()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut server, _) = listener.accept().unwrap();
    let mut input = dial.stdin.take().unwrap();
    let mut output = dial.stdout.take().unwrap();
    let mut bytes = [0; 3];
    input.write_all(b"ask").unwrap();
    server.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"ask");
    // The answer is read while the connection stays open.
    server.write_all(b"say").unwrap();
    output.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"say");
    // The end of its input is not the end of the client, which still reads.
    drop(input);
    server.write_all(b"end").unwrap();
    output.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"end");
    drop(output);
    assert_eq!(server.read(&mut bytes).unwrap(), 0);
    assert!(dial.wait().unwrap().success());
}

#[test]
fn over_the_socket_nobody_acts_for_all_users_where_tokens_have_rights() {
    let dir = reachable();
    let socket = dir.path().join("k8s-cli.sock");
    let team = Team::with(&["--socket", socket.to_str().unwrap()]);
    let me = team.world.anonymous();
    let run = |args: &[&str]| me.start_at(&url(&socket), args).finish();
    run(&["jobs", "list"]).success();
    for args in [
        &["jobs", "list", "--all-users"][..],
        &["jobs", "stop", "--all", "--all-users"],
    ] {
        run(args).code(1).says("`serve --admin`");
    }
}

#[test]
fn a_left_socket_is_replaced_and_a_live_one_is_not() {
    let dir = reachable();
    let socket = dir.path().join("k8s-cli.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let mut world = World::sandbox(&["--socket", socket.to_str().unwrap()]);
    let mut second = world
        .anonymous()
        .command(["serve", "--sandbox", "--port", "0", "--socket"]);
    second.arg(&socket);
    let run = Running::start(second, "").finish().code(1);
    assert!(
        run.stderr.contains("another server listens there"),
        "{}",
        run.stderr
    );
    world.end("TERM");
    assert!(!socket.exists());
}

#[test]
fn a_socket_without_a_directory_is_announced_with_its_whole_path() {
    let world = World::new();
    let ada = world.anonymous();
    let mut server = ada.command(["serve", "--sandbox", "--socket", "k8s-cli.sock"]);
    server.env("RUST_LOG", "off");
    let server = Running::start(server, "");
    let url = format!("unix://{}/k8s-cli.sock", ada.home.display());
    server.wait_for_output(&format!("listening on {url}\n"));
    ada.start_at(&url, ["jobs", "list"]).finish().success();
    server.interrupt();
    server.finish().success();
    assert!(!ada.home.join("k8s-cli.sock").exists());
}

#[test]
fn an_open_port_beside_a_socket_is_warned_of() {
    let world = World::new();
    let ada = world.anonymous();
    let options = |more: &str| format!("serve --sandbox --socket k8s-cli.sock {more}");
    for (more, is_warned) in [
        ("", false),
        ("--port 0", true),
        (
            "--port 0 --user-header X-Me --trusted-proxy 127.0.0.1",
            false,
        ),
    ] {
        let mut server = ada.command(options(more).split_whitespace());
        server.env("RUST_LOG", "off");
        let server = Running::start(server, "");
        server.wait_for_output("listening on unix://");
        server.interrupt();
        let said = server.finish().success().stderr;
        let warning = "so the names of the socket prove nothing";
        assert_eq!(said.contains(warning), is_warned, "{more}: {said}");
    }
}

/// A server of ssh for this user, on a port of its own, and a directory whose `ssh` uses a key that it knows.
struct Sshd {
    process: Child,
    port: u16,
    bin: PathBuf,
    _dir: TempDir,
}

impl Sshd {
    /// The server gives its users this PATH.
    fn start(path: &str) -> Option<Self> {
        let program = ["/usr/sbin/sshd", "/usr/bin/sshd"]
            .iter()
            .find(|path| Path::new(path).exists());
        let Some(program) = program.filter(|_| is_root()) else {
            eprintln!("there is no sshd, or the tests do not run as root, so ssh is not tested");
            return None;
        };
        let dir = TempDir::new();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let file = |name: &str| dir.path().join(name).display().to_string();
        for key in ["host", "user"] {
            let mut keygen = Command::new("ssh-keygen");
            keygen.args(["-q", "-t", "ed25519", "-N", "", "-f", &file(key)]);
            assert!(keygen.status().unwrap().success());
        }
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        // sshd drops its rights in this directory, and refuses to start without it.
        fs::create_dir_all("/run/sshd").unwrap();
        let config = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nPermitRootLogin yes\nUsePAM no\n\
             PidFile none\nSetEnv PATH={path}\n",
            file("host"),
            file("user.pub")
        );
        fs::write(file("sshd_config"), config).unwrap();
        let process = Command::new(program)
            .args(["-D", "-e", "-f", &file("sshd_config")])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let bin = dir.path().join("bin");
        fs::create_dir(&bin).unwrap();
        let client = format!(
            "#!/bin/sh\nexec /usr/bin/ssh -F none -i {} -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR \"$@\"\n",
            file("user")
        );
        fs::write(bin.join("ssh"), client).unwrap();
        fs::set_permissions(bin.join("ssh"), fs::Permissions::from_mode(0o755)).unwrap();
        wait_until("sshd listens", || {
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        Some(Self {
            process,
            port,
            bin,
            _dir: dir,
        })
    }

    /// Runs a command for the server behind a socket of the machine.
    fn run(&self, session: &Session<'_>, socket: &Path, args: &[&str]) -> Running {
        let mut command = session.command(args);
        let path = std::env::var("PATH").unwrap();
        command
            .env("PATH", format!("{}:{path}", self.bin.display()))
            .env(
                "K8S_CLI_API_URL",
                format!("ssh://127.0.0.1:{}{}", self.port, socket.display()),
            );
        Running::start(command, "")
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

#[test]
fn ssh_leads_to_the_socket() {
    let dir = reachable();
    symlink(env!("CARGO_BIN_EXE_k8s-cli"), dir.path().join("k8s-cli")).unwrap();
    let Some(sshd) = Sshd::start(&format!("{}:/usr/bin:/bin", dir.path().display())) else {
        return;
    };
    let socket = dir.path().join("it's a socket");
    let world = World::with(&["--socket", socket.to_str().unwrap()]);
    let me = world.anonymous();
    let file = me.file("num_nodes: 2\nrun: for i in $(seq 2000); do echo line $i; done");
    let run = sshd
        .run(&me, &socket, &["jobs", "submit", &file])
        .finish()
        .success();
    assert_eq!(
        run.stdout
            .lines()
            .filter(|line| line.contains("| line "))
            .count(),
        4000
    );
    let gone = dir.path().join("nosuch.sock");
    let run = sshd.run(&me, &gone, &["jobs", "list"]).finish().code(1);
    assert!(run.stderr.contains("cannot connect to"), "{}", run.stderr);
    assert!(
        run.stderr.contains("cannot reach its socket, as it says"),
        "{}",
        run.stderr
    );
}

#[test]
fn what_ssh_lacks_is_one_sentence() {
    let Some(sshd) = Sshd::start("/usr/bin:/bin") else {
        return;
    };
    let world = World::new();
    let me = world.anonymous();
    let run = sshd
        .run(&me, Path::new(""), &["jobs", "list"])
        .finish()
        .code(1);
    assert!(
        run.stderr
            .contains("there is no k8s-cli in the PATH of that machine"),
        "{}",
        run.stderr
    );
    fs::remove_file(sshd.bin.join("../user")).unwrap();
    let run = sshd
        .run(&me, Path::new(""), &["jobs", "list"])
        .finish()
        .code(1);
    assert!(run.stderr.contains("Permission denied"), "{}", run.stderr);
    assert!(
        run.stderr.contains("ssh cannot connect, as it says"),
        "{}",
        run.stderr
    );
}
