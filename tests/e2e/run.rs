//! `jobs run`: tasks without a file.

use crate::harness::World;

#[test]
fn a_command_line_is_a_task() {
    let world = World::new();
    let ada = world.login("ada");
    let run = ada
        .run([
            "jobs",
            "run",
            "-e",
            "A=1",
            "-n",
            "hi",
            "--",
            "sh",
            "-c",
            "echo $A '$A' -- \"$0\"",
            "x y",
        ])
        .success();
    let (id, log) = run.stdout.split_once('\n').unwrap();
    assert_eq!(log, "1 $A -- x y\n");
    assert_eq!(ada.status(id)["name"], "hi");
    // One word is a line.
    let run = ada
        .run(["jobs", "run", "--", "echo one && exit 3"])
        .code(100);
    assert!(run.stdout.ends_with("\none\n"), "{}", run.stdout);
    ada.run(["jobs", "run"])
        .code(2)
        .says("give a command: k8s-cli jobs run -- python train.py");
    let file = ada.file("run: exit 3");
    ada.run(["jobs", "run", &file]).code(2).says(&format!(
        "`{file}` is a file, and no command: k8s-cli jobs submit {file}"
    ));
    ada.run(["jobs", "run", "--cpus", "four", "--", "true"])
        .code(2)
        .says("--cpus");
}

#[test]
fn a_command_line_gets_what_a_file_gets() {
    let world = World::new();
    let ada = world.login("ada");
    ada.run(["volumes", "create", "data", "1Gi"]).success();
    let args = "jobs run --dry-run --image ubuntu:22.04 --cpus 2 --num-nodes 2 --volume data:/data -- ls /data";
    let objects = ada.run(args.split_whitespace()).success().stdout;
    for part in [
        "image: ubuntu:22.04",
        "mountPath: /data",
        "cpu: '2'",
        "-node-1",
    ] {
        assert!(objects.contains(part), "{part} is not in {objects}");
    }
    let twice = "jobs run --volume data:/data --volume more:/data -- ls";
    ada.run(twice.split_whitespace())
        .code(2)
        .says("two volumes are mounted at /data");
    std::fs::create_dir(ada.home.join("code")).unwrap();
    std::fs::write(ada.home.join("code/hello.txt"), "from a file\n").unwrap();
    let run = ada.run(["jobs", "run", "--workdir", "code", "--", "cat", "hello.txt"]);
    assert!(run.success().stdout.ends_with("from a file\n"));
}
