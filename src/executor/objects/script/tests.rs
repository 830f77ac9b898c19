use std::{
    env, fs,
    io::{BufRead, BufReader, Lines},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Child, ChildStdout, Command, Output, Stdio, id},
    str, thread,
    time::Duration,
};

use serde_json::json;

use super::{super::files::KeptFiles, *};

#[test]
fn quoted_text_is_one_word_for_the_shell() {
    assert_eq!(quote("it's"), r"'it'\''s'");
}

/// A script under `init.sh`, which is not process 1 here, so that other processes may be strangers. It has printed `ready`.
struct Started {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Started {
    fn new(run: &str) -> Self {
        let mut process = Command::new("/bin/bash")
            .args(["-p", "-c", &init(), "k8s-cli", "", "", "", "", run])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "ready");
        Self { process, lines }
    }

    /// Stops it; returns the rest of its output and its exit code.
    fn stop(mut self) -> (Vec<String>, Option<i32>) {
        let pid = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let rest = self.lines.map(Result::unwrap).collect();
        (rest, self.process.wait().unwrap().code())
    }
}

#[test]
fn only_the_script_is_told_where_other_processes_may_be_strangers() {
    let mut stranger = Command::new("sleep").arg("1000").spawn().unwrap();
    let script = Started::new("trap 'echo told; exit 9' TERM; echo ready; sleep 1000 & wait");
    assert_eq!(script.stop(), (vec!["told".to_owned()], Some(9)));
    assert!(stranger.try_wait().unwrap().is_none());
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

/// A process that begins after the signal was passed on may outlive its parent.
#[test]
fn a_process_that_begins_during_a_stop_is_told_too() {
    let script = Started::new("trap 'sleep 1000 & exit 9' TERM; echo ready; sleep 1000 & wait");
    assert_eq!(script.stop(), (Vec::new(), Some(9)));
}

#[test]
fn a_filter_is_told_last_where_other_processes_may_be_strangers() {
    let program = "bash -c 'trap \"sleep 0.2; echo saved; exit 0\" TERM; echo ready; while :; do sleep 0.1; done' 2>&-";
    for filter in ["tee /dev/null", "while read -r line; do echo $line; done"] {
        let script = Started::new(&format!("{program} | {filter}"));
        assert_eq!(script.stop().0, ["saved"], "{filter}");
    }
}

#[test]
fn init_has_no_comments_and_names_the_message() {
    for text in [
        init(),
        without_comments(SHELL),
        without_comments(FILES),
        nodes("task-ab12cd34"),
    ] {
        assert!(text.len() < 5632 && !text.contains("\n#"), "{text}");
    }
    assert!(init().contains(SETUP_FAILED) && FILES.contains(FILES_FAILED));
}

/// A home directory, and a directory of programs that is the whole PATH.
struct Image {
    directory: PathBuf,
}

impl Image {
    /// An image with some programs of this machine.
    fn new(name: &str) -> Self {
        let directory = env::temp_dir().join(format!("k8s-cli-image-{name}-{}", id()));
        fs::create_dir_all(directory.join("bin")).unwrap();
        let image = Self { directory };
        for name in ["cat", "env", "mkdir", "rmdir", "sh", "sleep", "timeout"] {
            let path = program(name).unwrap();
            std::os::unix::fs::symlink(path, image.directory.join("bin").join(name)).unwrap();
        }
        image
    }

    fn add(&self, path: &str, text: &str) -> &Self {
        let path = self.directory.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    /// Runs the commands of a task in a container with these variables.
    fn run(&self, task: Value) -> Output {
        let task = TaskDefinition::from_json(&task).unwrap();
        self.run_script(&task, &Script::new(&task, None, None))
    }

    fn run_script(&self, task: &TaskDefinition, script: &Script) -> Output {
        assert!(script.files().is_none(), "the script is too long");
        Command::new("/bin/bash")
            .args(["-p", "-c"])
            .args(script.arguments())
            .env_clear()
            .envs(task.node_envs())
            .env("HOME", &self.directory)
            .env("TMPDIR", &self.directory)
            .env("PATH", self.directory.join("bin"))
            .current_dir(&self.directory)
            .output()
            .unwrap()
    }

    #[track_caller]
    fn check(&self, task: Value, code: i32, stdout: &str, stderr: &str) {
        let output = self.run(task);
        let [out, err] = [&output.stdout, &output.stderr].map(|text| str::from_utf8(text).unwrap());
        assert_eq!(
            (output.status.code(), out, err),
            (Some(code), stdout, stderr)
        );
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.directory).unwrap();
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The guards of Debian's and Ubuntu's files return unless bash is interactive.
#[test]
fn run_sees_what_setup_adds_to_the_bashrc() {
    let setup = r#"echo "export FROM_RC=yes TASK=rc; alias hi='echo hello'" >>~/.bashrc"#;
    let run = r#"echo "$FROM_RC $TASK [$PS1] $-"; hi"#;
    let task = json!({"envs": {"TASK": "task"}, "setup": setup, "run": run});
    for guard in [
        "case $- in\n    *i*) ;;\n      *) return;;\nesac\n",
        "[ -z \"$PS1\" ] && return\n",
        "[[ $- != *i* ]] && return\n",
        "",
    ] {
        let image = Image::new("bashrc");
        image.add(".bashrc", guard);
        image.check(task.clone(), 0, "yes task [] hBc\nhello\n", "");
    }
}

#[test]
fn the_shell_of_the_user_is_otherwise_unchanged() {
    let image = Image::new("plain");
    image.add("own.sh", "from_own=yes");
    let own = image.directory.join("own.sh");
    let own = own.to_str().unwrap();
    let run = "echo \"$from_own $BASH_ENV ${#BASH_ARGV[@]}\"\nset | while read -r line; do case $line in k8s_*|K8S_CLI_*) echo $line;; esac; done\nnosuch\n(exit 7)";
    let expected = format!("yes {own} 0\n");
    let error = "/bin/bash: line 3: nosuch: command not found\n";
    let task = json!({"envs": {"BASH_ENV": own}, "run": run});
    image.check(task, 7, &expected, error);
}

/// The path of a program of this machine.
fn program(name: &str) -> Option<PathBuf> {
    let mut found = Command::new("/bin/bash");
    let found = found.args(["-c", "type -P -- \"$0\"", name]).output();
    let path = String::from_utf8(found.unwrap().stdout).unwrap();
    Some(PathBuf::from(path.trim())).filter(|path| path.is_absolute())
}

/// Images have GNU tar, or that of busybox, which knows fewer options.
#[test]
fn files_are_unpacked_with_any_tar() {
    for name in ["tar", "busybox"] {
        let Some(tar) = program(name) else {
            eprintln!("there is no {name} on this machine, so it is not tested");
            continue;
        };
        let image = Image::new(name);
        let source = image.directory.join("source");
        fs::create_dir_all(source.join("home/sky_workdir")).unwrap();
        fs::create_dir_all(
            source
                .join("root")
                .join(image.directory.strip_prefix("/").unwrap()),
        )
        .unwrap();
        fs::write(source.join("home/sky_workdir/a b"), "travels").unwrap();
        let to_root = source
            .join("root")
            .join(image.directory.strip_prefix("/").unwrap());
        fs::write(to_root.join("abs"), "too").unwrap();
        let mut packed = Command::new("tar");
        packed.arg("-C").arg(&source).args(["-cz", "home", "root"]);
        let packed = packed.output().unwrap().stdout;
        // It is cut anywhere.
        let parts = image.directory.join("parts");
        fs::create_dir(&parts).unwrap();
        fs::write(parts.join("000000"), &packed[..packed.len() / 2]).unwrap();
        fs::write(parts.join("000001"), &packed[packed.len() / 2..]).unwrap();
        let bin = image.directory.join("bin");
        if name == "busybox" {
            for applet in ["tar", "gzip"] {
                std::os::unix::fs::symlink(&tar, bin.join(applet)).unwrap();
            }
        } else {
            std::os::unix::fs::symlink(&tar, bin.join("tar")).unwrap();
            std::os::unix::fs::symlink(program("gzip").unwrap(), bin.join("gzip")).unwrap();
        }
        let task = json!({"run": "cat 'a b' ../abs; pwd"});
        let task = TaskDefinition::from_json(&task).unwrap();
        let files = Files {
            kept: KeptFiles::parse(r#"{"size":1,"sha256":"ab","secrets":2}"#).unwrap(),
            claim: None,
            roots: vec!["home", "root"],
            has_workdir: true,
        };
        let mut script = Script::new(&task, None, Some(&files));
        let Script::InJob { arguments } = &mut script else {
            panic!("the script is too long")
        };
        arguments[0] = arguments[0].replace("/.k8s-cli-files", parts.to_str().unwrap());
        let output = image.run_script(&task, &script);
        let out = String::from_utf8(output.stdout).unwrap();
        let expected = format!("travelstoo{}/sky_workdir\n", image.directory.display());
        assert_eq!(
            (out, output.stderr.as_slice()),
            (expected, &b""[..]),
            "{name}"
        );
    }
}

#[test]
fn conda_is_a_function_where_it_is_installed() {
    let image = Image::new("conda");
    image.add(
        "miniconda3/etc/profile.d/conda.sh",
        "conda() { [ $1 != activate ] || CONDA_ENV=$2; }",
    );
    let run = "conda activate train; echo $CONDA_ENV";
    image.check(json!({"setup": run, "run": run}), 0, "train\ntrain\n", "");
}

#[test]
fn commands_run_in_the_workdir_of_skypilot_if_they_name_it() {
    let image = Image::new("workdir");
    let run = "cd ~/sky_workdir && pwd";
    let expected = format!("{}/sky_workdir\n", image.directory.display());
    image.check(
        json!({"setup": "pwd", "run": run}),
        0,
        &expected.repeat(2),
        "",
    );
}

#[test]
fn sudo_runs_its_arguments_as_root() {
    let image = Image::new("sudo");
    let run = "sudo -E A=1 bash -c 'echo $A'; sudo -u root -- echo b; sudo -u nobody true; echo $?";
    // bash is not in the PATH of this image.
    let run = run.replace("bash -c", "sh -c");
    if is_root() {
        let error = "sudo: the image has no sudo, so no command can run as nobody\n";
        image.check(json!({"run": run}), 0, "1\nb\n127\n", error);
    } else {
        let output = image.run(json!({"run": run}));
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains("does not run as root"), "{error}");
    }
}

/// An `apt-get` that installs a program called `jq`, or says why not.
fn with_apt_get(image: &Image, installs: bool) {
    let jq = image.directory.join("bin/jq");
    let install = if installs {
        format!(
            "printf '#!/bin/sh\\necho jq \"$@\"\\n' >{0}; /bin/chmod +x {0}",
            jq.display()
        )
    } else {
        "echo 'E: no network' >&2; exit 100".to_owned()
    };
    image.add(
        "bin/apt-get",
        &format!("#!/bin/sh\n[ $1 = install ] || exit 0\n{install}\n"),
    );
}

#[test]
fn a_program_that_the_image_lacks_is_installed_when_it_is_called() {
    let image = Image::new("install");
    with_apt_get(&image, true);
    let task =
        |install: &str| json!({"envs": {"K8S_CLI_INSTALL": install}, "run": "jq a b && jq c"});
    let missing = "/bin/bash: line 1: jq: command not found\n";
    image.check(task("0"), 127, "", missing);
    if is_root() {
        let line = "k8s-cli: installing jq with apt-get, since the image lacks it\n";
        image.check(task("1"), 0, "jq a b\njq c\n", line);
    } else {
        let line = "k8s-cli: jq could not be installed (the container does not run as root): name an image that has it in `image_id`, \
                    or with `serve --default-image`\n";
        image.check(task("1"), 127, "", &format!("{line}{missing}"));
    }
}

#[test]
fn a_program_that_cannot_be_installed_is_not_found() {
    let image = Image::new("no-network");
    with_apt_get(&image, false);
    let task = json!({"envs": {"K8S_CLI_INSTALL": "1"}, "run": "jq a"});
    let output = image.run(task);
    assert_eq!(output.status.code(), Some(127));
    let error = String::from_utf8(output.stderr).unwrap();
    let reason = if is_root() {
        "failed: E: no network): name an image"
    } else {
        "(the container does not run as root): name an image"
    };
    assert!(error.contains(reason), "{error}");
    assert!(
        error.ends_with("/bin/bash: line 1: jq: command not found\n"),
        "{error}"
    );
    assert!(!image.directory.join(".k8s-cli-install").exists());
}

#[test]
fn only_the_container_of_the_task_replaces_the_init() {
    for (containers, expected) in [
        (json!([{"name": "side", "command": ["sleep", "9"]}]), false),
        (
            json!([{"name": "task"}, {"name": "side", "args": ["x"]}]),
            false,
        ),
        (json!([{"name": "task", "command": ["sh"]}]), true),
        (json!([{"args": ["x"]}]), true),
    ] {
        let config = json!({"kubernetes": {"pod_config": {"spec": {"containers": containers}}}});
        let task = json!({"config": config, "run": "true"});
        let task = TaskDefinition::from_json(&task).unwrap();
        assert_eq!(sets(&task, &["command", "args"]), expected, "{containers}");
    }
}

/// A node of a task that waits for the others, in an image with a fake `getent`. Its files stand in the home directory.
struct Node {
    image: Image,
    rank: u32,
    num_nodes: u32,
    /// How long it looks for the others, in seconds.
    patience: u32,
}

impl Node {
    fn new(name: &str, rank: u32, num_nodes: u32) -> Self {
        let image = Image::new(name);
        image.add("bin/getent", "#!/bin/sh\necho \"$@\" >>~/asked\n");
        image.add("start/node/.keep", "");
        image.add("start/task/start", "held");
        image.add("hosts", "127.0.0.1\tlocalhost\n");
        Self {
            image,
            rank,
            num_nodes,
            patience: 30,
        }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.image.directory.join(path)
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }

    fn start(&self, setup: &str, run: &str) -> Child {
        let place = |path| self.path(path).display().to_string();
        let nodes = nodes("task-ab12cd34");
        let nodes = nodes.replace("/.k8s-cli-start", &place("start"));
        let nodes = nodes.replace("/etc/hosts", &place("hosts"));
        let nodes = nodes.replace("SECONDS + 30", &format!("SECONDS + {}", self.patience));
        let shell = without_comments(SHELL);
        Command::new("/bin/bash")
            .args([
                "-p",
                "-c",
                &init(),
                "k8s-cli",
                "",
                "",
                &shell,
                setup,
                run,
                &nodes,
            ])
            .env_clear()
            .env("HOME", &self.image.directory)
            .env("PATH", self.path("bin"))
            .env("NODE_RANK", self.rank.to_string())
            .env("NUM_NODES", self.num_nodes.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Starts a node, and waits until its `setup` has ended.
    fn ready(&self, setup: &str, run: &str) -> Child {
        let process = self.start(setup, run);
        while !self.path("start/node/ready").exists() {
            thread::sleep(Duration::from_millis(5));
        }
        process
    }

    fn release(&self, text: &str) {
        fs::write(self.path("new"), text).unwrap();
        fs::rename(self.path("new"), self.path("start/task/start")).unwrap();
    }
}

/// The exit code, stdout and stderr of a process that ends.
fn end(process: Child) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = process.wait_with_output().unwrap();
    let [stdout, stderr] = [stdout, stderr].map(|text| String::from_utf8(text).unwrap());
    (status.code(), stdout, stderr)
}

#[test]
fn run_begins_when_the_annotation_says_so() {
    for (text, stderr) in [
        ("now", ""),
        ("now node-1 has failed", "k8s-cli: node-1 has failed\n"),
    ] {
        let node = Node::new("release", 2, 3);
        let process = node.ready("echo setup >>~/order", "echo run >>~/order; exit 7");
        assert_eq!(node.read("order"), "setup\n");
        // The other nodes are found before any of them may begin.
        let asked = [0, 2, 0, 1].map(|rank| format!("hosts node-{rank}.task-ab12cd34\n"));
        assert_eq!(node.read("asked"), asked.concat());
        node.release(text);
        assert_eq!(end(process), (Some(7), String::new(), stderr.to_owned()));
        assert_eq!(node.read("order"), "setup\nrun\n");
        assert_eq!(node.read("asked"), asked.concat());
    }
}

#[test]
fn a_node_of_many_asks_for_two_names() {
    let node = Node::new("many", 64, 65);
    let process = node.ready("", "exit 0");
    node.release("now");
    assert_eq!(end(process).0, Some(0));
    let asked = node.read("asked");
    let expected = [0, 0, 64].map(|rank| format!("hosts node-{rank}.task-ab12cd34\n"));
    assert_eq!(asked, expected.concat());
}

#[test]
fn a_name_is_asked_for_until_it_is_known() {
    let node = Node::new("names", 1, 2);
    let getent = "#!/bin/sh\n[ -e ~/known ] || { : >~/known; exit 2; }\necho \"$@\" >>~/asked\n";
    node.image.add("bin/getent", getent);
    let process = node.ready("cat ~/asked", "exit 0");
    node.release("now");
    let expected = "hosts node-0.task-ab12cd34\n";
    assert_eq!(end(process), (Some(0), expected.to_owned(), String::new()));
}

#[test]
fn a_node_looks_once_more_when_its_time_has_passed_in_one_question() {
    // Before `setup`, and before `run`: the second question finds the name.
    for first in ["setup", "run"] {
        let mut node = Node::new("late", 1, 2);
        node.patience = 0;
        let getent = format!(
            "#!/bin/sh\n[ {first} = setup ] || [ -e ~/setup ] || exit 0\n[ -e ~/asked ] || {{ : >~/asked; exit 2; }}\n"
        );
        node.image.add("bin/getent", &getent);
        let process = node.ready(": >~/setup", "exit 0");
        node.release("now");
        assert_eq!(end(process), (Some(0), String::new(), String::new()));
    }
}

#[test]
fn a_node_goes_on_without_a_name_that_stays_unknown() {
    let mut node = Node::new("unknown", 1, 2);
    node.patience = 0;
    let getent = "#!/bin/sh\ncase $2 in node-0.*) exit 2 ;; esac\n";
    node.image.add("bin/getent", getent);
    let process = node.ready("echo setup", "echo run");
    node.release("now");
    let line = "k8s-cli: node-0.task-ab12cd34 cannot be resolved after 30 s, going on\n";
    assert_eq!(
        end(process),
        (Some(0), "setup\nrun\n".to_owned(), line.repeat(2))
    );
}

#[test]
fn an_image_that_cannot_resolve_names_is_no_obstacle() {
    let node = Node::new("no-getent", 1, 2);
    fs::remove_file(node.path("bin/getent")).unwrap();
    let process = node.ready("", "echo run");
    node.release("now");
    assert_eq!(end(process), (Some(0), "run\n".to_owned(), String::new()));
}

#[test]
fn a_node_knows_its_own_name_without_a_name_server() {
    let line = "10.0.0.7\tnode-0.task-ab12cd34.team.svc.cluster.local\tnode-0\n";
    let added = "10.0.0.7 node-0.task-ab12cd34\n";
    for (present, expected) in [
        (line.to_owned(), format!("{line}{added}")),
        (format!("{line}{added}"), format!("{line}{added}")),
        (
            "127.0.0.1\tlocalhost\n".to_owned(),
            "127.0.0.1\tlocalhost\n".to_owned(),
        ),
    ] {
        let node = Node::new("own-name", 0, 2);
        node.image.add("hosts", &present);
        let process = node.ready("", "exit 0");
        node.release("now");
        assert_eq!(end(process).0, Some(0));
        assert_eq!(node.read("hosts"), expected);
    }
}

#[test]
fn a_stop_ends_the_wait() {
    let node = Node::new("stop", 0, 2);
    let slow = Node::new("stop-look-up", 0, 2);
    slow.image
        .add("bin/getent", "#!/bin/sh\n: >~/asked\nexec sleep 1000\n");
    let looks_up = slow.start("echo setup", "echo run");
    while !slow.path("asked").exists() {
        thread::sleep(Duration::from_millis(5));
    }
    for process in [node.ready("echo setup", "echo run"), looks_up] {
        let pid = rustix::process::Pid::from_child(&process);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let (code, stdout, _) = end(process);
        assert!(
            code == Some(143) && !stdout.contains("run"),
            "{code:?} {stdout}"
        );
    }
}

#[test]
fn a_failed_setup_never_comes_to_the_barrier() {
    let node = Node::new("failed-setup", 0, 2);
    let process = node.start("exit 3", "echo run");
    assert_eq!(end(process).0, Some(3));
    assert!(!node.path("start/node/ready").exists());
}
