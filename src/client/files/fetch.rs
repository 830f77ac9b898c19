//! Fetches a source of `file_mounts` that is a URL.

use std::{
    fs::{File, Permissions},
    io::{self, Read, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use ureq::RequestExt;

use crate::{
    api::format_size,
    certificate::Trust,
    client::{
        Error,
        config::Env,
        error::describe_io,
        http::{agent, without_secrets},
    },
};

/// The size above which no server takes the files of a task, in bytes.
const MAX_SIZE: u64 = 4 << 30;
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
        .max_redirects(MAX_REDIRECTS)
        .https_only(url.starts_with("https://"));
    let answer = request.run().map_err(|error| match error {
        ureq::Error::Io(error) => failed(describe_io(&error)),
        error => failed(error.to_string()),
    })?;
    if !answer.status().is_success() {
        return Err(failed(format!("the answer is {}", answer.status())));
    }
    let mut file = File::create(to).map_err(|error| Error::file("write", to, error))?;
    let mut body = answer.into_body().into_reader();
    copy(&mut body, &mut file, MAX_SIZE).map_err(|error| failed(error.to_string()))?;
    let readable = file.set_permissions(Permissions::from_mode(0o644));
    readable.map_err(|error| Error::file("write", to, error))
}

/// Copies a stream of at most this many bytes to its end.
///
/// # Errors
/// It is longer, or cannot be read or written.
fn copy(from: &mut dyn Read, to: &mut dyn Write, most: u64) -> io::Result<()> {
    let size = io::copy(&mut from.take(most + 1), to)?;
    match size > most {
        true => Err(io::Error::other(format!(
            "it is larger than {}",
            format_size(most)
        ))),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_without_an_end_is_cut_off() {
        let mut written = Vec::new();
        let copied = copy(&mut io::repeat(1), &mut written, 2048);
        assert_eq!(copied.unwrap_err().to_string(), "it is larger than 2 KiB");
        assert_eq!(written.len(), 2049);
        written.clear();
        copy(&mut &b"whole"[..], &mut written, 5).unwrap();
        assert_eq!(written, b"whole");
    }
}
