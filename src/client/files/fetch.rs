//! Fetches a source of `file_mounts` that is a URL.

use std::{
    fs::{File, Permissions},
    io,
    os::unix::fs::PermissionsExt,
    path::Path,
};

use ureq::RequestExt;

use crate::{
    certificate::Trust,
    client::{
        Error,
        config::Env,
        error::describe_io,
        http::{agent, without_secrets},
    },
};

/// The most redirects that are followed.
const MAX_REDIRECTS: u32 = 10;

/// Fetches a URL into a new file.
///
/// # Errors
/// The answer is not the file.
pub fn fetch(url: &str, to: &Path, env: Env<'_>) -> Result<(), Error> {
    let failed = |problem: String| Error::Fetch {
        url: without_secrets(url),
        problem,
    };
    let proxy = agent::proxy(url, env).map_err(|error| Error::Usage(error.to_string()))?;
    let agent = agent::agent(proxy.as_ref(), None, Trust::System)
        .map_err(|_| Error::Usage("the proxy cannot be used".to_owned()))?;
    let request = ureq::http::Request::get(url)
        .body(())
        .map_err(|error| failed(error.to_string()))?;
    let request = request
        .with_agent(&agent)
        .configure()
        .max_redirects(MAX_REDIRECTS);
    let answer = request.run().map_err(|error| match error {
        ureq::Error::Io(error) => failed(describe_io(&error)),
        error => failed(error.to_string()),
    })?;
    if !answer.status().is_success() {
        return Err(failed(format!("the answer is {}", answer.status())));
    }
    let mut file = File::create(to).map_err(|error| Error::file("write", to, error))?;
    io::copy(&mut answer.into_body().into_reader(), &mut file)
        .map_err(|error| failed(error.to_string()))?;
    let readable = file.set_permissions(Permissions::from_mode(0o644));
    readable.map_err(|error| Error::file("write", to, error))
}
