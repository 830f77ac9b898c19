//! The `git` of this machine: it clones the repository that is the working directory of a task, with its logins, and knows which files
//! of a directory belong to one.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use base64::{Engine, prelude::BASE64_STANDARD};

use crate::client::{
    Error,
    config::{Env, without_login},
};

/// Clones the commit that `reference` names, or that of the default branch, with its submodules, into an empty directory.
///
/// # Errors
/// There is no git, or it fails.
pub fn clone(
    directory: &Path,
    url: &str,
    reference: Option<&str>,
    env: Env<'_>,
) -> Result<(), Error> {
    let git = |arguments: &[&str]| git(directory, url, arguments, env);
    let wanted = reference.unwrap_or("HEAD");
    git(&["init", "--quiet"])?;
    // The directory of the caller, which a relative path starts from, is not that of the clone.
    let path = Path::new(url);
    let local = path.is_dir().then(|| path.canonicalize()).transpose();
    let local = local.map_err(|error| Error::file("read", path, error))?;
    let from = local.as_ref().and_then(|path| path.to_str()).unwrap_or(url);
    // Submodules with a relative URL are found from that of `origin`.
    git(&["remote", "add", "--", "origin", from])?;
    let fetched = git(&["fetch", "--quiet", "--depth", "1", "--", "origin", wanted]);
    match fetched {
        Ok(()) => git(&["checkout", "--quiet", "FETCH_HEAD"])?,
        // A server gives no single commit by the beginning of its hash.
        Err(error) if !is_hash(wanted) => return Err(error),
        Err(_) => {
            git(&[
                "fetch",
                "--quiet",
                "--",
                "origin",
                "+refs/*:refs/remotes/origin/*",
            ])?;
            git(&["checkout", "--quiet", wanted, "--"])?;
        }
    }
    git(&[
        "submodule",
        "--quiet",
        "update",
        "--init",
        "--recursive",
        "--depth",
        "1",
    ])
}

fn is_hash(reference: &str) -> bool {
    (4..=64).contains(&reference.len()) && reference.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The files of a directory that git tracks although it ignores their names, from that directory; none outside of a repository, and
/// where there is no git.
pub fn tracked_and_ignored(directory: &Path) -> Vec<PathBuf> {
    let has_repository = |directory: &Path| directory.join(".git").exists();
    let whole = directory.canonicalize().unwrap_or_default();
    if !whole.ancestors().any(has_repository) {
        return Vec::new();
    }
    let arguments = [
        "ls-files",
        "-z",
        "--cached",
        "--ignored",
        "--exclude-standard",
    ];
    let listed = command(directory, &arguments).stdin(Stdio::null()).output();
    let listed = listed.ok().filter(|listed| listed.status.success());
    let names = listed.map_or_else(Vec::new, |listed| listed.stdout);
    let names = names
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty());
    names.map(|name| OsStr::from_bytes(name).into()).collect()
}

fn command(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("git");
    command.current_dir(directory).args(arguments);
    // A hook of git that submits a task has variables that name its own repository.
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"] {
        command.env_remove(name);
    }
    command
}

fn git(directory: &Path, url: &str, arguments: &[&str], env: Env<'_>) -> Result<(), Error> {
    let mut command = command(directory, arguments);
    command.stdout(Stdio::null()).envs(login(url, env));
    let output = command
        .stdin(Stdio::inherit())
        .stderr(Stdio::piped())
        .output();
    let output = output.map_err(|error| Error::file("run", "git", error))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.replace(url, &without_login(url));
    // The last line says what is wrong, except that git explains some of its errors after them.
    let fatal = said
        .lines()
        .find(|line| line.starts_with("fatal: ") || line.starts_with("error: "));
    let line = fatal.or(said.lines().last()).unwrap_or("git failed");
    Err(Error::Fetch {
        url: without_login(url),
        problem: line.trim_start_matches("fatal: ").to_owned(),
    })
}

/// Variables that give git the token in `GIT_TOKEN` for the host of the repository, as SkyPilot 0.14.1 does (`sky/utils/git.py`). No other
/// process sees them.
fn login(url: &str, env: Env<'_>) -> Vec<(&'static str, OsString)> {
    let token = env("GIT_TOKEN").and_then(|token| token.into_string().ok());
    let host = url
        .strip_prefix("https://")
        .and_then(|rest| rest.split('/').next());
    let (Some(token), Some(host)) = (token.filter(|token| !token.is_empty()), host) else {
        return Vec::new();
    };
    if host.contains('@') {
        return Vec::new();
    }
    let basic = BASE64_STANDARD.encode(format!("x-access-token:{token}"));
    vec![
        ("GIT_CONFIG_COUNT", "1".into()),
        (
            "GIT_CONFIG_KEY_0",
            format!("http.https://{host}/.extraHeader").into(),
        ),
        (
            "GIT_CONFIG_VALUE_0",
            format!("Authorization: Basic {basic}").into(),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_for_the_host_of_the_repository() {
        let env = |name: &str| (name == "GIT_TOKEN").then(|| "s3cret".into());
        let given = login("https://github.com/a/b.git", &env);
        assert_eq!(given[1].1, "http.https://github.com/.extraHeader");
        assert_eq!(
            given[2].1,
            "Authorization: Basic eC1hY2Nlc3MtdG9rZW46czNjcmV0"
        );
        for url in [
            "git@github.com:a/b",
            "http://a/b",
            "https://u:p@a/b",
            "/repo",
        ] {
            assert_eq!(login(url, &env), [], "{url}");
        }
    }
}
