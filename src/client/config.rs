//! The configuration of the client: the server's URL, the user and the login file.
//!
//! A flag wins over the environment, which wins over the default.

use std::{
    ffi::OsString,
    fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process,
};

use serde::{Deserialize, Serialize};
use ureq::http::{Uri, uri::Scheme};

use super::{Error, http::Route};
use crate::{api::User, certificate::Trust};

const API_URL: &str = "K8S_CLI_API_URL";
const CA_FILE: &str = "K8S_CLI_CA_FILE";
const USER: &str = "K8S_CLI_USER";
const DEFAULT_API_URL: &str = "http://localhost:8000";

/// Looks up a variable of the environment. Tests pass their own function and need not change the environment of the process.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// A variable; an empty value counts as unset.
pub fn variable(env: Env<'_>, name: &str) -> Option<OsString> {
    env(name).filter(|value| !value.is_empty())
}

/// The server's URL, without a slash at its end.
///
/// # Errors
/// The URL is not an HTTP URL. Nothing was sent.
pub fn api_url(flag: Option<String>, env: Env<'_>) -> Result<String, Error> {
    let (url, origin) = match (flag, variable(env, API_URL)) {
        (Some(url), _) => (url, "from --api-url"),
        (None, Some(url)) => (url.to_string_lossy().into_owned(), "from K8S_CLI_API_URL"),
        (None, None) => return Ok(DEFAULT_API_URL.to_owned()),
    };
    let url = url.trim().to_owned();
    match check_url(&url) {
        Ok(()) => Ok(url.trim_end_matches('/').to_owned()),
        Err(problem) => Err(Error::BadUrl {
            url: without_login(&url),
            origin,
            problem,
        }),
    }
}

/// A URL for a message: without the user and the password in it.
pub fn without_login(url: &str) -> String {
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), url),
    };
    let authority = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..authority].rfind('@') {
        Some(at) => format!("{scheme}***@{}", &rest[at + 1..]),
        None => url.to_owned(),
    }
}

/// Whether the server at a URL knows the user by the connection.
pub fn knows_user(url: &str) -> bool {
    Route::of(url).is_some()
}

/// Whether the server at a URL is reached by ssh.
pub fn is_of_ssh(url: &str) -> bool {
    matches!(Route::of(url), Some(Ok(Route::Ssh { .. })))
}

/// The URL that a text without a scheme probably means.
pub fn meant(text: &str) -> Option<String> {
    if text.contains("://") {
        return None;
    }
    let (scheme, place) = ["https", "http"]
        .into_iter()
        .find_map(|scheme| {
            let place = text.strip_prefix(scheme)?;
            Some((
                scheme,
                place.strip_prefix(':').or(place.strip_prefix("//"))?,
            ))
        })
        .unwrap_or(("http", text));
    let place = place.trim_start_matches('/');
    let place = place.strip_prefix("***@").unwrap_or(place);
    let port = place.strip_prefix(':').unwrap_or(place);
    let url = match port.parse::<u16>() {
        _ if text.starts_with('/') => format!("unix://{text}"),
        Ok(port) => format!("{scheme}://localhost:{port}"),
        Err(_) => format!("{scheme}://{place}"),
    };
    check_url(&url).is_ok().then_some(url)
}

fn check_url(url: &str) -> Result<(), &'static str> {
    if let Some(route) = Route::of(url) {
        return route.map(drop);
    }
    if !url.contains("://") {
        return Err("it does not begin with http://, https://, ssh:// or unix://");
    }
    let uri: Uri = url.parse().map_err(|_| "it cannot be read as a URL")?;
    if uri.scheme() != Some(&Scheme::HTTP) && uri.scheme() != Some(&Scheme::HTTPS) {
        return Err("it does not begin with http://, https://, ssh:// or unix://");
    }
    if uri
        .authority()
        .is_some_and(|authority| authority.as_str().contains('@'))
    {
        return Err("it must not hold a user or a password: the server would not get them");
    }
    if uri.host().is_none_or(str::is_empty) {
        return Err("it names no host");
    }
    if uri.authority().is_some_and(|authority| {
        let after_host = authority.as_str().rsplit(']').next().unwrap_or_default();
        after_host.contains(':') && authority.port_u16().is_none()
    }) {
        return Err("its port is not a number up to 65535");
    }
    if uri.query().is_some() || url.contains('#') {
        return Err("it must not hold `?` or `#`");
    }
    Ok(())
}

/// The certificates that are trusted: those of the file from `--ca-file`, else `K8S_CLI_CA_FILE`, else those of the system.
///
/// # Errors
/// The file holds no certificates.
pub fn trust(flag: Option<PathBuf>, env: Env<'_>) -> Result<Trust, Error> {
    let file = flag.or_else(|| variable(env, CA_FILE).map(PathBuf::from));
    let Some(path) = file else {
        return Ok(Trust::System);
    };
    fs::metadata(&path).map_err(|error| Error::file("read", &path, error))?;
    let trust = Trust::File(path);
    drop(trust.settings().map_err(Error::Usage)?);
    Ok(trust)
}

/// The user from the flag `--as`, else `K8S_CLI_USER`; none if neither is given.
///
/// # Errors
/// The name is not valid.
pub fn given_user(flag: Option<String>, env: Env<'_>) -> Result<Option<User>, Error> {
    let (name, origin) = match (flag, variable(env, USER)) {
        (Some(name), _) => (name, "--as"),
        (None, Some(name)) => (name.to_string_lossy().into_owned(), USER),
        (None, None) => return Ok(None),
    };
    let user = name.parse();
    user.map(Some)
        .map_err(|error: crate::api::InvalidUser| Error::Usage(format!("{origin}: {error}")))
}

/// The content of the login file.
#[derive(Serialize, Deserialize)]
struct Login {
    username: String,
}

/// The file that keeps the login.
#[derive(Debug)]
pub struct LoginFile {
    path: PathBuf,
}

impl LoginFile {
    /// `$XDG_CONFIG_HOME/k8s-cli/user.json`, else `~/.config/k8s-cli/user.json`.
    ///
    /// # Errors
    /// Neither variable is set.
    pub fn locate(env: Env<'_>) -> Result<Self, Error> {
        // The XDG specification tells programs to ignore a relative path here.
        let config = variable(env, "XDG_CONFIG_HOME")
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
            .or_else(|| variable(env, "HOME").map(|home| PathBuf::from(home).join(".config")))
            .ok_or(Error::NoHome)?;
        Ok(Self {
            path: config.join("k8s-cli").join("user.json"),
        })
    }

    /// The user who is logged in.
    ///
    /// # Errors
    /// The file does not exist, or it cannot be read.
    pub fn user(&self) -> Result<User, Error> {
        let text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::NotLoggedIn);
            }
            Err(error) => return Err(Error::file("read", &self.path, error)),
        };
        let broken = |problem: String| Error::LoginFile {
            path: self.path.clone(),
            problem,
        };
        let login: Login = serde_json::from_slice(&text)
            .map_err(|_| broken("expected {\"username\": \"...\"}".to_owned()))?;
        login
            .username
            .parse()
            .map_err(|error: crate::api::InvalidUser| broken(error.to_string()))
    }

    /// Writes the login, readable by its owner only. A concurrent reader sees either the old login or the new one.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&self, user: &User) -> Result<(), Error> {
        let login = Login {
            username: user.to_string(),
        };
        let text = serde_json::to_string(&login).map_err(io::Error::other);
        let text = text.map_err(|error| Error::file("write", &self.path, error))?;
        write(&self.path, &text)?;
        remove(&self.token_path()).map(drop)
    }

    /// Writes a token in place of the user, in the same way.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save_token(&self, token: &str) -> Result<(), Error> {
        write(&self.token_path(), token)?;
        remove(&self.path).map(drop)
    }

    /// The token of the login, if it is one with a token.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn token(&self) -> Result<Option<String>, Error> {
        let path = self.token_path();
        match fs::read_to_string(&path) {
            Ok(token) => Ok(Some(token)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::file("read", &path, error)),
        }
    }

    fn token_path(&self) -> PathBuf {
        self.path.with_file_name("token")
    }

    /// Removes the login; returns whether there was one.
    ///
    /// # Errors
    /// A file cannot be removed.
    pub fn remove(&self) -> Result<bool, Error> {
        Ok(remove(&self.token_path())? | remove(&self.path)?)
    }
}

/// Writes a file that only its owner can read.
fn write(path: &Path, text: &str) -> Result<(), Error> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = folder.join(format!(".{name}.{}", process::id()));
    let write = || -> io::Result<()> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
        // An earlier process with the same id may have left this file behind.
        drop(fs::remove_file(&temporary));
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().map_err(|error| {
        drop(fs::remove_file(&temporary));
        Error::file("write", path, error)
    })
}

/// Removes a file; returns whether it existed.
fn remove(path: &Path) -> Result<bool, Error> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::file("remove", path, error)),
    }
}

#[cfg(test)]
mod tests {
    use std::{env, os::unix::fs::PermissionsExt};

    use super::*;

    fn no_env(_: &str) -> Option<OsString> {
        None
    }

    #[test]
    fn the_flag_wins_over_the_environment_and_the_environment_over_the_default() {
        let env = |name: &str| (name == API_URL).then(|| "http://env:1/".into());
        let url = |flag: Option<&str>, env: Env<'_>| api_url(flag.map(str::to_owned), env).unwrap();
        assert_eq!(url(Some("https://flag/base/"), &env), "https://flag/base");
        assert_eq!(url(None, &env), "http://env:1");
        assert_eq!(url(None, &no_env), "http://localhost:8000");
        assert_eq!(
            url(None, &|_| Some(OsString::new())),
            "http://localhost:8000"
        );
        assert_eq!(url(Some("http://[::1]:8000"), &no_env), "http://[::1]:8000");
    }

    #[test]
    fn an_error_names_the_origin_of_a_bad_url() {
        for (url, problem) in [
            (
                "localhost:8000",
                "it does not begin with http://, https://, ssh:// or unix://",
            ),
            (
                "ftp://host",
                "it does not begin with http://, https://, ssh:// or unix://",
            ),
            ("http://", "it cannot be read as a URL"),
            ("http://a b", "it cannot be read as a URL"),
            ("http://host:99999", "its port is not a number up to 65535"),
            ("http://host/?a=b", "it must not hold `?` or `#`"),
            ("http://host/#a", "it must not hold `?` or `#`"),
        ] {
            let error = api_url(Some(url.to_owned()), &no_env).unwrap_err();
            let expected =
                format!("`{url}` (from --api-url) is not the URL of a server: {problem}");
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn a_password_in_a_url_is_refused_and_not_repeated() {
        for url in [
            "http://ada:hunter2@host",
            "https://hunter2@host:8000/x",
            "ada:hunter2@host",
            "ftp://ada:hunter2@host",
            "http://ada:hunter2@host/?a=b",
        ] {
            let error = api_url(Some(url.to_owned()), &no_env).unwrap_err();
            let hint = error.hint().unwrap_or_default();
            let text = format!("{error} {hint}");
            assert!(!text.contains("hunter2") && text.contains("host"), "{text}");
        }
    }

    #[test]
    fn only_its_owner_can_read_a_login() {
        let home = env::temp_dir().join(format!("k8s-cli-login-{:016x}", rand::random::<u64>()));
        let file =
            LoginFile::locate(&|name| (name == "HOME").then(|| home.clone().into())).unwrap();
        assert!(matches!(file.user(), Err(Error::NotLoggedIn)));
        assert!(!file.remove().unwrap());

        let user: User = "ada@example.com".parse().unwrap();
        file.save(&user).unwrap();
        file.save(&user).unwrap();
        assert_eq!(file.user().unwrap(), user);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&file.path), 0o600);
        assert_eq!(mode(file.path.parent().unwrap()), 0o700);
        assert_eq!(
            fs::read_to_string(&file.path).unwrap(),
            "{\"username\":\"ada@example.com\"}\n"
        );
        assert_eq!(
            fs::read_dir(file.path.parent().unwrap()).unwrap().count(),
            1
        );

        for broken in ["", "ada", "{}", "{\"username\": \" \"}"] {
            fs::write(&file.path, broken).unwrap();
            let message = file.user().unwrap_err().to_string();
            assert!(message.contains("names no user"), "{message}");
        }
        assert!(file.remove().unwrap());

        // A login replaces the one before.
        file.save(&user).unwrap();
        file.save_token("secret").unwrap();
        assert_eq!(mode(&file.token_path()), 0o600);
        assert_eq!(file.token().unwrap().as_deref(), Some("secret\n"));
        assert!(matches!(file.user(), Err(Error::NotLoggedIn)));
        file.save(&user).unwrap();
        assert_eq!(file.token().unwrap(), None);
        file.save_token("secret").unwrap();
        assert!(file.remove().unwrap() && !file.remove().unwrap());
        fs::remove_dir_all(home).unwrap();
    }

    #[test]
    fn xdg_config_home_comes_before_home() {
        let env = |name: &str| Some(if name == "HOME" { "/h" } else { "/x" }.into());
        let path = LoginFile::locate(&env).unwrap().path;
        assert_eq!(path, Path::new("/x/k8s-cli/user.json"));
        let env = |name: &str| Some(if name == "HOME" { "/h" } else { "x" }.into());
        let path = LoginFile::locate(&env).unwrap().path;
        assert_eq!(path, Path::new("/h/.config/k8s-cli/user.json"));
        assert!(matches!(LoginFile::locate(&no_env), Err(Error::NoHome)));
    }
}
