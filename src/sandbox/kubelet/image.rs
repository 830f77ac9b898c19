//! Image names: the malformed ones, and the ones whose pull fails.
//!
//! No image is ever pulled: containers run with the machine's own programs. The pull of an image from a host under the reserved name
//! `.invalid`, or of an image called `no-such-...`, fails, so that users can try it. The messages are recorded from containerd 2 under
//! Kubernetes 1.36.

/// Explains why an image name is malformed.
pub fn check_name(image: &str) -> Option<String> {
    let refuse = |why: &str| {
        Some(format!(
            "Failed to apply default image tag \"{image}\": couldn't parse image name \"{image}\": invalid reference format{why}"
        ))
    };
    let (name, _) = image.split_once('@').unwrap_or((image, ""));
    let (repository, tag) = split_tag(name);
    let path = repository
        .strip_prefix(&format!("{}/", host(repository)))
        .unwrap_or(repository);
    if path.chars().any(|letter| letter.is_ascii_uppercase()) {
        let path = repository.split(':').next().unwrap_or_default();
        let full = if path.contains('/') {
            path.to_owned()
        } else {
            format!("library/{path}")
        };
        return refuse(&format!(": repository name ({full}) must be lowercase"));
    }
    let component = |part: &str| {
        let inner =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
        let end = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
        part.bytes().all(inner) && end(part.bytes().next()) && end(part.bytes().last())
    };
    let tag_fine = tag.is_none_or(|tag| {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        !tag.is_empty()
            && tag.len() <= 128
            && tag.bytes().all(inner)
            && !tag.starts_with(['.', '-'])
    });
    if !path.split('/').all(component) || !tag_fine {
        return refuse("");
    }
    None
}

/// Explains why an image cannot be pulled.
pub fn check_pull(image: &str) -> Option<String> {
    let (name, _) = image.split_once('@').unwrap_or((image, ""));
    let (repository, tag) = split_tag(name);
    let given = host(repository);
    let last = repository.rsplit('/').next().unwrap_or_default();
    let given_name = given.split(':').next().unwrap_or_default();
    if !given_name.ends_with(".invalid") && !last.starts_with("no-such-") {
        return None;
    }
    let tag = tag.unwrap_or("latest");
    let (server, shown, path) = match given {
        "" | "docker.io" => {
            let path = repository.strip_prefix("docker.io/").unwrap_or(repository);
            let path = if path.contains('/') {
                path.to_owned()
            } else {
                format!("library/{path}")
            };
            ("registry-1.docker.io", "docker.io", path)
        }
        host => (host, host, repository[host.len() + 1..].to_owned()),
    };
    let lookup = server.split(':').next().unwrap_or_default();
    Some(format!(
        "failed to pull and unpack image \"{shown}/{path}:{tag}\": failed to resolve reference \"{shown}/{path}:{tag}\": failed \
         to do request: Head \"https://{server}/v2/{path}/manifests/{tag}\": dial tcp: lookup {lookup} on 127.0.0.1:53: no such \
         host"
    ))
}

fn split_tag(name: &str) -> (&str, Option<&str>) {
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
        _ => (name, None),
    }
}

/// The host of the registry, if the name starts with one.
fn host(repository: &str) -> &str {
    match repository.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => first,
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parsed_as_containerd_does() {
        for image in [
            "python:3.13-slim",
            "localhost:5000/a/b",
            "ghcr.io/a/b_c@sha256:00",
            "a.invalid/x",
        ] {
            assert_eq!(check_name(image), None, "{image}");
        }
        assert_eq!(
            check_name("Bad:Image:Name").unwrap(),
            "Failed to apply default image tag \"Bad:Image:Name\": couldn't parse image name \"Bad:Image:Name\": invalid \
             reference format: repository name (library/Bad) must be lowercase"
        );
        assert!(check_name("a b").is_some());
    }

    #[test]
    fn some_images_can_not_be_pulled() {
        assert_eq!(check_pull("python:3.13-slim"), None);
        let why = check_pull("no-such-image:1").unwrap();
        assert!(
            why.contains(
                "Head \"https://registry-1.docker.io/v2/library/no-such-image/manifests/1\""
            ),
            "{why}"
        );
        let why = check_pull("registry.invalid/team/app").unwrap();
        assert!(why.contains("lookup registry.invalid on"), "{why}");
    }
}
