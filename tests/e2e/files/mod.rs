//! Files that travel with a task: `workdir` and `file_mounts`.

mod cut;
mod directory;

use std::{
    fs,
    io::Write,
    net::TcpStream,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
};

use flate2::{Compression, write::GzEncoder};
use k8s_openapi::api::{batch::v1::Job, core::v1::Secret};
use serde_json::{Value, json};

use crate::{
    harness::{
        Authority, Front, Running, Session, TempDir, Verdict, World, is_real_cluster,
        scripted::serve, wait_for, wait_until,
    },
    http::{ADA, refused, request},
};

/// A part of a task file: a directory of the pod's own at a path, and more fields of the pod.
pub fn own_directory(path: &str, more: &str) -> String {
    format!(
        "config: {{kubernetes: {{pod_config: {{spec: {{{more}volumes: [{{name: own, emptyDir: {{}}}}], containers: [{{volumeMounts: [{{name: own, mountPath: {path}}}]}}]}}}}}}}}"
    )
}

/// Writes files into the home folder of a session.
fn write(session: &Session<'_>, files: &[(&str, &[u8])]) {
    for (path, content) in files {
        let path = session.home.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

/// Bytes that gzip cannot shrink.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    })
    .take(length)
    .collect()
}

/// The names of the Secrets with files.
fn file_secrets(world: &World) -> Vec<String> {
    let mut names = world.names::<Secret>();
    names.retain(|name| name.contains("-files-"));
    names
}

fn sha256(content: &[u8]) -> String {
    let hash = ring::digest::digest(&ring::digest::SHA256, content);
    hash.as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[test]
fn files_travel_to_every_node_and_are_gone_with_the_task() {
    let world = World::new();
    let ada = world.login("ada");
    let model = noise(2_000_000);
    write(
        &ada,
        &[
            ("project/.gitignore", b"*.log\n"),
            (
                "project/run.sh",
                b"#!/bin/bash\necho run $SKYPILOT_NODE_RANK in ${PWD##*/}\n",
            ),
            ("project/a.log", b""),
            ("project/.env", b"TOKEN=1\n"),
            ("project/an odd\nname", b"odd"),
            ("model.bin", &model),
        ],
    );
    let script = ada.home.join("project/run.sh");
    fs::set_permissions(script, fs::Permissions::from_mode(0o755)).unwrap();
    symlink("run.sh", ada.home.join("project/link")).unwrap();
    fs::create_dir(ada.home.join("project/empty")).unwrap();
    let config = own_directory("/own", "");
    let file = ada.file(&format!(
        "{config}\nnum_nodes: 2\nworkdir: project\nfile_mounts:\n  ~/models/m.bin: model.bin\n  /own/conf: project/.env\n\
         setup: ls -A | tr '\\n' ' '; echo\nrun: |\n  ./link\n  sha256sum < ~/models/m.bin\n  cat /own/conf\n  test -d empty && echo empty\n",
    ));
    let run = ada.run(["jobs", "submit", &file]).success();
    for rank in 0..2 {
        for expected in [
            format!("node-{rank} | run {rank} in sky_workdir\n"),
            format!("node-{rank} | {}  -\n", sha256(&model)),
            format!("node-{rank} | TOKEN=1\n"),
            format!("node-{rank} | empty\n"),
        ] {
            assert!(run.stdout.contains(&expected), "{}", run.stdout);
        }
    }
    let listed = ".env .gitignore an odd name empty link run.sh";
    assert!(run.stdout.contains(listed), "{}", run.stdout);

    let id = run.stdout.lines().next().unwrap().to_owned();
    let files = ada.status(&id)["metadata"]["files"].clone();
    assert!(files["size"].as_u64().unwrap() > 2_000_000, "{files}");
    assert_eq!(files["sha256"].as_str().unwrap().len(), 64);
    let text = ada
        .run(["jobs", "status", &id, "-o", "table"])
        .success()
        .stdout;
    assert!(text.contains("packed, sha256:"), "{text}");
    wait_until("the Secrets are deleted", || {
        file_secrets(&world).is_empty()
    });
}

#[test]
fn a_stopped_task_leaves_no_files() {
    let world = World::new();
    let ada = world.login("ada");
    write(&ada, &[("w/a", &noise(1_000_000))]);
    let id = ada.submit("workdir: w\nrun: sleep 1000");
    assert_eq!(file_secrets(&world).len(), 2);
    ada.run(["jobs", "stop", &id]).success();
    wait_until("the Secrets are deleted", || {
        file_secrets(&world).is_empty()
    });
}

#[test]
fn what_is_not_here_is_refused_before_anything_is_sent() {
    let world = World::new();
    let ada = world.login("ada");
    let file =
        ada.file("workdir: src\nfile_mounts:\n  /a: s3://bucket/x\n  /b: ./nosuch\nrun: 'true'");
    let refused = ada.run(["jobs", "submit", &file]).code(1).stdout("");
    for expected in [
        format!("{file}:1: workdir: src is not a directory here"),
        format!("{file}:3: file_mounts./a: s3://bucket/x is in a bucket"),
        format!("{file}:4: file_mounts./b: ./nosuch is not here"),
    ] {
        assert!(refused.stderr.contains(&expected), "{}", refused.stderr);
    }
    assert!(!world.log().contains("/tasks/submit"));
    let file = ada.file("file_mounts: {/a: s3://bucket/x}\nrun: echo ran");
    let run = ada
        .run(["jobs", "submit", "--ignore-file-mounts", &file])
        .success();
    assert!(run.stdout.ends_with("ran\n"), "{}", run.stdout);

    // The server refuses the task before the files are sent.
    let file = ada.file("workdir: .\nvolumes: {/data: nosuch}\nrun: 'true'");
    let run = ada.run(["jobs", "submit", &file]).code(1);
    assert!(run.stderr.contains("nosuch"), "{}", run.stderr);
    assert!(world.names::<Job>().is_empty() || !world.log().contains("status=413"));
}

#[test]
fn an_absolute_workdir_is_local_if_it_is_here() {
    let world = World::new();
    let ada = world.login("ada");
    write(&ada, &[("w/only-here", b"")]);
    let path = ada.home.join("w");
    let file = ada.file(&format!("workdir: {}\nrun: ls", path.display()));
    let run = ada.run(["jobs", "submit", &file]).success();
    assert!(run.stdout.ends_with("only-here\n"), "{}", run.stdout);
    assert!(
        run.stderr.contains("travels with the task"),
        "{}",
        run.stderr
    );
    // The container has it, and this machine has not.
    let file = ada.file("workdir: /proc/self/../self/nosuch\nrun: ls");
    let run = ada.run(["jobs", "submit", &file]).code(100);
    assert!(
        run.stderr.contains("is a directory in the container"),
        "{}",
        run.stderr
    );
}

#[test]
fn too_many_files_are_refused_with_the_largest() {
    let world = World::with(&["--max-files-size", "1Mi", "--files-budget", "1Mi"]);
    let ada = world.login("ada");
    write(
        &ada,
        &[
            ("large/x.bin", &noise(1_100_000)),
            ("large/small", b"1"),
            ("small/y", &noise(600_000)),
        ],
    );
    let large = ada.file("workdir: large\nrun: 'true'");
    let refused = ada
        .run(["jobs", "submit", "--detach", &large])
        .code(1)
        .stdout("");
    let expected = "the files of the task are more than 1 MiB packed: this server takes 1 MiB (`serve --max-files-size`); the largest \
                    are:\n       1 MiB  ~/sky_workdir/x.bin\n      1 byte  ~/sky_workdir/small\nhint: ";
    assert!(refused.stderr.contains(expected), "{}", refused.stderr);

    let first = ada.submit("workdir: small\nrun: sleep 1000");
    let small = ada.file("workdir: small\nrun: 'true'");
    let refused = ada.run(["jobs", "submit", "--detach", &small]).code(1);
    assert!(
        refused.stderr.contains("--files-budget"),
        "{}",
        refused.stderr
    );
    assert_eq!(world.names::<Job>().len(), 1);
    ada.run(["jobs", "stop", &first]).success();
    wait_until("the budget is free again", || {
        ada.run(["jobs", "submit", "--detach", &small]).code == Some(0)
    });
}

#[test]
fn a_dry_run_lists_what_would_travel() {
    let world = World::new();
    let ada = world.login("ada");
    write(
        &ada,
        &[
            ("w/a.py", b"print(1)"),
            ("w/b\nc", b"3"),
            ("w/.DS_Store", b"noise"),
            ("x", b"12"),
            (".config/git/ignore", b".DS_Store\n"),
        ],
    );
    let file = ada.file("workdir: w\nfile_mounts: {/etc/x: x}\nrun: 'true'");
    let run = ada.run(["jobs", "submit", "--dry-run", &file]).success();
    assert!(
        run.stderr.contains("3 files would travel: 11 bytes, "),
        "{}",
        run.stderr
    );
    assert!(
        run.stderr.contains(
            "\n  ~/sky_workdir/a.py  8 bytes\n  ~/sky_workdir/b\\nc  1 byte\n  /etc/x  2 bytes\n"
        ),
        "{}",
        run.stderr
    );
    assert!(
        run.stdout.contains("name: k8s-cli-files\n"),
        "{}",
        run.stdout
    );
    assert!(
        run.stdout.contains("kind: Secret\n") && run.stdout.contains("part: ''\n"),
        "{}",
        run.stdout
    );
    assert!(world.names::<Job>().is_empty() && file_secrets(&world).is_empty());
}

/// A form with a task and an archive.
fn form(task: &str, archive: &[u8]) -> Vec<u8> {
    let mut form = Vec::new();
    for (name, content) in [("task", task.as_bytes()), ("files", archive)] {
        write!(
            form,
            "--here\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n"
        )
        .unwrap();
        form.extend_from_slice(content);
        form.extend_from_slice(b"\r\n");
    }
    form.extend_from_slice(b"--here--\r\n");
    form
}

const FORM: (&str, &str) = ("Content-Type", "multipart/form-data; boundary=here");
const TASK: &str = r#"{"run": "true"}"#;

#[test]
fn hostile_archives_and_cut_uploads_leave_nothing() {
    let world = World::new();
    let submit = |archive: &[u8]| {
        request(
            &world.url,
            "POST",
            "/tasks/submit",
            &[ADA, FORM],
            &form(TASK, archive),
        )
    };
    let packed = |name: &str| {
        let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        let mut header = tar::Header::new_gnu();
        header.set_size(1);
        header.set_mode(0o644);
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        tar.append(&header, &b"1"[..]).unwrap();
        tar.into_inner().unwrap().finish().unwrap()
    };
    refused(submit(b"hello"), 422, "Invalid", "is not a tar archive");
    refused(
        submit(&packed("../../etc/x")),
        422,
        "Invalid",
        "absolute or has `..`",
    );
    refused(
        submit(&packed("/etc/x")),
        422,
        "Invalid",
        "absolute or has `..`",
    );
    refused(
        submit(&packed("etc/x")),
        422,
        "Invalid",
        "outside of `home/`",
    );
    refused(
        submit(&noise(17 << 20)),
        413,
        "RequestEntityTooLarge",
        "larger than 16 MiB",
    );

    let address = world.url.strip_prefix("http://").unwrap();
    let mut connection = TcpStream::connect(address).unwrap();
    let body = form(TASK, &noise(1 << 20));
    let head = format!(
        "POST /tasks/submit HTTP/1.1\r\nHost: {address}\r\nX-User: ada\r\nContent-Type: {}\r\nContent-Length: {}\r\n\r\n",
        FORM.1,
        body.len()
    );
    connection.write_all(head.as_bytes()).unwrap();
    connection.write_all(&body[..body.len() / 2]).unwrap();
    drop(connection);
    wait_until("the server notices the end", || {
        world.log().matches("/tasks/submit").count() >= 5
    });
    assert!(world.names::<Job>().is_empty() && file_secrets(&world).is_empty());
}

#[test]
fn an_image_that_cannot_unpack_says_so() {
    let world = World::new();
    let ada = world.login("ada");
    write(&ada, &[("w/a", b"1")]);
    for (task, reason) in [
        (
            "workdir: w\nenvs: {PATH: /nosuch}\nrun: 'true'",
            "the files of the task cannot be unpacked: the image has no cat",
        ),
        (
            "file_mounts: {/proc/nosuch/x: w/a}\nrun: 'true'",
            "the files of the task cannot be unpacked to /: tar: ",
        ),
    ] {
        let id = ada.submit(task);
        let status = ada.wait_for_status(&id, "failed");
        let found = status["reason"].as_str().unwrap();
        assert!(found.starts_with(reason), "{found}");
        let log = ada.run(["jobs", "logs", &id]).code(100).stdout;
        assert!(log.contains(reason), "{log}");
    }
}

#[test]
fn a_container_without_a_home_unpacks_to_tmp() {
    let world = World::new();
    let ada = world.login("ada");
    write(&ada, &[("w/a", b"1")]);
    let user = "securityContext: {runAsUser: 12345, runAsGroup: 12345, fsGroup: 12345}, ";
    let config = own_directory("/tmp", user);
    let file = ada.file(&format!(
        "workdir: w\nenvs: {{HOME: /nosuch}}\n{config}\nrun: pwd; cat a; id -u"
    ));
    let run = ada.run(["jobs", "submit", &file]).success();
    let (_, log) = run.stdout.split_once('\n').unwrap();
    assert!(log.starts_with("/tmp/sky_workdir\n1"), "{log}");
    // The pods of the sandbox run as its own user.
    assert!(!is_real_cluster() || log.ends_with("12345\n"), "{log}");
}

#[test]
fn a_task_with_its_own_command_takes_no_files() {
    let world = World::new();
    let ada = world.login("ada");
    write(&ada, &[("w/a", b"1")]);
    let config =
        "config: {kubernetes: {pod_config: {spec: {containers: [{command: [/bin/bash, -c]}]}}}}";
    let file = ada.file(&format!("workdir: w\n{config}\nrun: 'true'"));
    let run = ada.run(["jobs", "submit", &file]).code(1);
    assert!(
        run.stderr.contains("which pod_config replaces"),
        "{}",
        run.stderr
    );
}

/// Runs git in a directory.
fn git(directory: &Path, arguments: &[&str]) {
    let mut git = Command::new("git");
    git.current_dir(directory)
        .args(["-c", "user.name=t", "-c", "user.email=t@example.com"]);
    let output = git
        .args(["-c", "protocol.file.allow=always"])
        .args(arguments)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn repositories_and_urls_are_fetched_here() {
    let world = World::new();
    let ada = world.login("ada");
    write(
        &ada,
        &[
            ("repo/.gitignore", b"kept.log\n"),
            ("repo/kept.log", b"tracked\n"),
        ],
    );
    let repo = ada.home.join("repo");
    git(&repo, &["init", "-q", "-b", "main"]);
    git(&repo, &["add", "-f", "."]);
    git(&repo, &["commit", "-q", "-m", "one"]);
    git(&repo, &["tag", "v1"]);
    fs::write(repo.join("kept.log"), "later\n").unwrap();
    git(&repo, &["commit", "-q", "-a", "-m", "two"]);
    let url = serve(|_, _| "200 -\r\nContent-Type: text/plain\r\n\r\nfetched\n".to_owned());
    for (reference, expected) in [
        (", ref: v1", "tracked"),
        (", ref: main", "later"),
        ("", "later"),
    ] {
        let file = ada.file(&format!(
            "workdir: {{url: {}{reference}}}\nfile_mounts: {{~/f: '{url}/f?token=s3cret'}}\nrun: cat kept.log ~/f; ls -A",
            repo.display()
        ));
        let run = ada.run(["jobs", "submit", &file]).success();
        let (_, log) = run.stdout.split_once('\n').unwrap();
        assert_eq!(log, format!("{expected}\nfetched\n.gitignore\nkept.log\n"));
    }
    let file = ada.file(&format!(
        "workdir: {{url: {}, ref: nosuch}}\nrun: 'true'",
        repo.display()
    ));
    let run = ada.run(["jobs", "submit", &file]).code(1).stdout("");
    assert!(
        run.stderr.contains("couldn't find remote ref nosuch"),
        "{}",
        run.stderr
    );

    let gone = serve(|_, _| "404 -\r\nContent-Type: text/plain\r\n\r\n".to_owned());
    let file = ada.file(&format!(
        "file_mounts: {{/f: '{gone}/f?token=s3cret'}}\nrun: 'true'"
    ));
    let run = ada.run(["jobs", "submit", &file]).code(1).stdout("");
    assert_eq!(
        run.stderr,
        format!("k8s-cli: cannot fetch {gone}/f?...: the answer is 404 Not Found\n")
    );

    // What was asked for with encryption does not come without.
    let authority = Authority::new();
    let trusted = ada.home.join("ca.pem");
    fs::write(&trusted, authority.pem()).unwrap();
    let tls = Some(authority.identity("127.0.0.1").server);
    let answer = format!("HTTP/1.1 302 Found\r\nLocation: {url}/f\r\nContent-Length: 0\r\n\r\n");
    let front = Front::start(([127, 0, 0, 1], 9).into(), tls, move |_| {
        Verdict::Answer(answer.clone())
    });
    let source = format!("https://{}/f", front.address);
    let file = ada.file(&format!("file_mounts: {{/f: '{source}'}}\nrun: 'true'"));
    let mut submit = ada.command(["jobs", "submit", &file]);
    submit.env("SSL_CERT_FILE", trusted);
    let run = Running::start(submit, "").finish().code(1).stdout("");
    run.says(&format!("k8s-cli: cannot fetch {source}: "));
}

#[test]
fn a_server_that_takes_no_files_gets_none() {
    let world = World::new();
    let ada = world.login("ada");
    write(&ada, &[("w/a", b"1")]);
    let file = ada.file("workdir: w\nrun: 'true'");
    let missing =
        json!([{"type": "missing", "loc": ["body"], "msg": "Field required", "input": null}]);
    let unknown = json!("check: is not a part of the form: expected task, fail_fast, dry_run");
    for (status, detail, reason) in [
        (422, missing, Value::Null),
        (422, unknown, "Invalid".into()),
        (415, json!("the body must be JSON"), Value::Null),
    ] {
        let requests = Arc::new(Mutex::new(0));
        let count = requests.clone();
        let mut body = json!({"detail": detail});
        if !reason.is_null() {
            body["reason"] = reason;
        }
        let url = serve(move |_, _| {
            *count.lock().unwrap() += 1;
            format!("{status} -\r\nContent-Type: application/json\r\n\r\n{body}")
        });
        let run = ada
            .start_at(&url, ["jobs", "submit", "--detach", &file])
            .finish()
            .code(1)
            .stdout("");
        assert!(run.stderr.contains("takes no files"), "{}", run.stderr);
        assert_eq!(*requests.lock().unwrap(), 1);
    }
}

#[test]
fn a_server_that_is_killed_during_a_submit_leaves_nothing_that_cannot_be_stopped() {
    let world = World::new();
    let ada = world.login("ada");
    write(&ada, &[("w/m", &noise(15_000_000))]);
    let dir = TempDir::new();
    let mut second = world.second_server(&dir);
    let file = ada.file("workdir: w\nrun: sleep 1000");
    let submit = ada.start_at(&second.url, ["jobs", "submit", "--detach", &file]);
    wait_until("a Secret exists", || !file_secrets(&world).is_empty());
    second.end("KILL");
    submit.finish();
    let id = wait_for("the task is listed", || {
        let listed = ada.run(["jobs", "list", "-o", "name"]).success().stdout;
        listed.lines().next().map(str::to_owned)
    });
    ada.run(["jobs", "stop", &id]).success();
    wait_until("nothing is left", || {
        world.names::<Job>().is_empty() && file_secrets(&world).is_empty()
    });
}
