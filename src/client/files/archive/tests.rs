use std::{
    collections::BTreeMap,
    fs::{self, Permissions},
    os::unix::{
        ffi::OsStrExt,
        fs::{PermissionsExt, symlink},
        net::UnixListener,
    },
    process::Command,
};

use flate2::read::MultiGzDecoder;
use tempfile::TempDir;

use super::{
    super::tree::{self, Rules},
    *,
};

/// A directory that files are made in.
struct Tree(TempDir);

impl Tree {
    fn new(files: &[(&str, &str)]) -> Self {
        let tree = Self(tempfile::tempdir().unwrap());
        for (path, text) in files {
            let path = tree.path(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        tree
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn entries(&self, rules: Rules) -> (Vec<Entry>, Vec<String>) {
        let (mut entries, mut notes) = (Vec::new(), Vec::new());
        tree::collect(
            self.0.path(),
            Path::new("home/sky_workdir"),
            rules,
            &mut entries,
            &mut notes,
        )
        .unwrap();
        (entries, notes)
    }

    fn pack(&self, rules: Rules) -> Archive {
        pack_up_to(16 << 20, self.entries(rules).0).unwrap()
    }

    /// The names of the files that travel.
    fn names(&self, rules: Rules) -> Vec<String> {
        let entries = self.entries(rules).0.into_iter();
        let files = entries.filter(|entry| !matches!(entry.kind, Kind::Directory { .. }));
        let inner = |entry: Entry| {
            let path = entry.path.strip_prefix("home/sky_workdir").unwrap();
            path.to_string_lossy().into_owned()
        };
        files.map(inner).collect()
    }
}

fn pack_up_to(most: u64, entries: Vec<Entry>) -> Result<Archive, Error> {
    let limit = TaskCheckResponse {
        status: "accepted".to_owned(),
        max_files_size: most,
        limit: "as the test says".to_owned(),
        warnings: Vec::new(),
    };
    pack(entries, &limit, &mut Progress::new(None, "packing"))
}

/// The entries of an archive: mode, and the content or the target.
fn unpacked(archive: &mut Archive) -> BTreeMap<Vec<u8>, (u32, Vec<u8>)> {
    archive.file.rewind().unwrap();
    let mut tar = tar::Archive::new(MultiGzDecoder::new(&archive.file));
    let entries = tar.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let header = entry.header();
        assert_eq!((header.mtime().unwrap(), header.uid().unwrap()), (0, 0));
        let mode = header.mode().unwrap();
        let mut content = Vec::new();
        if let Some(target) = entry.link_name_bytes() {
            content = [b"-> ", &*target].concat();
        } else {
            entry.read_to_end(&mut content).unwrap();
        }
        (entry.path_bytes().into_owned(), (mode, content))
    });
    entries.collect()
}

#[test]
fn odd_trees_travel_as_they_are() {
    let long = "d".repeat(120);
    let tree = Tree::new(&[
        ("a b", "1"),
        ("new\nline", "2"),
        ("empty.txt", ""),
        (&format!("{long}/{long}"), "3"),
        ("bin/run", "4"),
    ]);
    fs::set_permissions(tree.path("bin/run"), Permissions::from_mode(0o4755)).unwrap();
    fs::write(
        tree.0.path().join(std::ffi::OsStr::from_bytes(b"\xff")),
        "5",
    )
    .unwrap();
    fs::create_dir(tree.path("empty")).unwrap();
    fs::hard_link(tree.path("a b"), tree.path("hard")).unwrap();
    for (target, link) in [
        ("bin/run", "in"),
        ("/etc/passwd", "out"),
        ("circle", "circle"),
        ("../x", "up"),
    ] {
        symlink(target, tree.path(link)).unwrap();
    }
    let _socket = UnixListener::bind(tree.path("socket")).unwrap();
    assert!(
        Command::new("mkfifo")
            .arg(tree.path("fifo"))
            .status()
            .unwrap()
            .success()
    );

    let notes = tree.entries(Rules::Workdir).1;
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert!(
        notes[0].ends_with("fifo stays here: it is a named pipe"),
        "{}",
        notes[0]
    );
    let mut archive = tree.pack(Rules::Workdir);
    let found = unpacked(&mut archive);
    let entry = |path: &[u8]| {
        let path = [b"home/sky_workdir/", path].concat();
        let (mode, content) = &found[&path];
        (
            *mode & 0o7777,
            String::from_utf8_lossy(content).into_owned(),
        )
    };
    assert_eq!(entry(b"a b").1, "1");
    assert_eq!(entry(b"hard").1, "1");
    assert_eq!(entry(b"new\nline").1, "2");
    assert_eq!(entry(b"empty.txt").1, "");
    assert_eq!(entry(format!("{long}/{long}").as_bytes()).1, "3");
    assert_eq!(entry(b"bin/run"), (0o755, "4".to_owned()));
    assert_eq!(entry(b"\xff").1, "5");
    assert_eq!(entry(b"in").1, "-> bin/run");
    assert_eq!(entry(b"out").1, "-> /etc/passwd");
    assert_eq!(entry(b"circle").1, "-> circle");
    assert_eq!(entry(b"up").1, "-> ../x");
    assert!(
        found.contains_key(&b"home/sky_workdir/empty/"[..])
            || found.contains_key(&b"home/sky_workdir/empty"[..])
    );
    assert!(found.contains_key(&b"home/"[..]) || found.contains_key(&b"home"[..]));
}

#[test]
fn equal_files_make_equal_archives() {
    let files = [("b", "1"), ("a/c", "2"), ("a/b", "3")];
    let (one, other) = (
        Tree::new(&files),
        Tree::new(&[files[2], files[0], files[1]]),
    );
    let old = std::time::SystemTime::UNIX_EPOCH;
    File::open(other.path("b"))
        .unwrap()
        .set_modified(old)
        .unwrap();
    let [one, other] = [one, other].map(|tree| tree.pack(Rules::Workdir).packed.about);
    assert_eq!(one, other);
    let changed = Tree::new(&[("b", "1"), ("a/c", "2"), ("a/b", "4")]);
    assert_ne!(changed.pack(Rules::Workdir).packed.about, one);
}

#[test]
fn git_and_skyignore_say_what_stays() {
    let files = [
        (".env", ""),
        (".git/config", ""),
        (".gitignore", "*.log\n/data/\n"),
        ("a.log", ""),
        ("data/x", ""),
        ("sub/.gitignore", "y\n"),
        ("sub/y", ""),
        ("sub/z", ""),
    ];
    let tree = Tree::new(&files);
    let kept = [".env", ".gitignore", "sub/.gitignore", "sub/z"];
    assert_eq!(tree.names(Rules::Workdir), kept);
    assert_eq!(tree.names(Rules::Mount), kept);
    let all = [
        ".env",
        ".gitignore",
        "a.log",
        "data/x",
        "sub/.gitignore",
        "sub/y",
        "sub/z",
    ];
    assert_eq!(tree.names(Rules::AllButGit), all);
    fs::write(tree.path(".skyignore"), "/sub\n*.log\n!a.log\n").unwrap();
    let kept = [".env", ".gitignore", ".skyignore", "a.log", "data/x"];
    assert_eq!(tree.names(Rules::Workdir), kept);
}

#[test]
fn what_git_tracks_travels_although_it_is_ignored() {
    let tree = Tree::new(&[
        (".gitignore", "*.log\n/data/\nout/\n"),
        ("a.log", ""),
        ("data/b", ""),
        ("data/c", ""),
        ("gone.log", ""),
        ("out/d", ""),
    ]);
    let git = |arguments: &[&str]| {
        let mut git = Command::new("git");
        let run = git.current_dir(tree.0.path()).args(arguments).output();
        assert!(run.unwrap().status.success(), "{arguments:?}");
    };
    git(&["init", "--quiet"]);
    git(&["add", "--force", "a.log", "data/b", "gone.log", "out/d"]);
    fs::remove_file(tree.path("gone.log")).unwrap();
    let kept = [".gitignore", "a.log", "data/b", "out/d"];
    assert_eq!(tree.names(Rules::Workdir), kept);
    // The patterns above do not count for a mount, and nothing travels twice.
    let out = Tree(tempfile::tempdir_in(tree.0.path()).unwrap());
    fs::write(out.path("e.log"), "").unwrap();
    git(&["add", "--force", "."]);
    assert_eq!(out.names(Rules::Mount), ["e.log"]);
}

#[test]
fn the_rules_of_directories_above_count_for_the_workdir_only() {
    let tree = Tree::new(&[
        (".git/config", ""),
        (".gitignore", "*.pt\nout/\n"),
        ("out/a", ""),
        ("out/b.pt", ""),
    ]);
    let out = Tree(tempfile::tempdir_in(tree.0.path()).unwrap());
    fs::write(out.path("a"), "").unwrap();
    fs::write(out.path("b.pt"), "").unwrap();
    assert_eq!(out.names(Rules::Workdir), ["a"]);
    assert_eq!(out.names(Rules::Mount), ["a", "b.pt"]);
}

#[test]
fn an_unreadable_file_is_named() {
    let tree = Tree::new(&[("gone", ""), ("secret", "x"), ("shrinks", "long")]);
    let (entries, _) = tree.entries(Rules::Workdir);
    fs::remove_file(tree.path("gone")).unwrap();
    fs::remove_file(tree.path("secret")).unwrap();
    fs::create_dir(tree.path("secret")).unwrap();
    let error = pack_up_to(1 << 20, entries).err().unwrap().to_string();
    assert!(
        error.starts_with("cannot read `") && error.contains("secret"),
        "{error}"
    );

    fs::remove_dir(tree.path("secret")).unwrap();
    let (entries, _) = tree.entries(Rules::Workdir);
    fs::write(tree.path("shrinks"), "s").unwrap();
    let error = pack_up_to(1 << 20, entries).err().unwrap().to_string();
    assert!(error.contains("became shorter"), "{error}");
}

#[test]
fn nothing_travels_below_a_file() {
    let tree = Tree::new(&[("src/a", "1")]);
    let mut entries = tree.entries(Rules::Mount).0;
    entries.push(Entry::directory(Path::new("home/sky_workdir/src/a/b")));
    let error = pack_up_to(1000, entries).err().unwrap().to_string();
    let expected = "cannot pack `~/sky_workdir/src/a/b`: ~/sky_workdir/src/a is a file";
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn the_largest_files_of_too_many_are_named() {
    let noise: String = (0..100_000_u32)
        .map(|i| char::from(b'!' + (i.wrapping_mul(2_654_435_761) >> 25) as u8 % 90))
        .collect();
    let tree = Tree::new(&[("small", "1"), ("large", &noise)]);
    let error = pack_up_to(4096, tree.entries(Rules::Workdir).0)
        .err()
        .unwrap();
    let expected = "the files of the task are more than 4 KiB packed: as the test says; the largest are:\n    97.7 KiB  ~/sky_workdir/large\n      1 byte  ~/sky_workdir/small";
    assert_eq!(error.to_string(), expected);
}
