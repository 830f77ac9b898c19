//! `image_id`: the image of the container.

use serde_json::Value;

use super::super::shape::Got;

/// Reads the name of an image, with or without SkyPilot's prefix `docker:`, or a mapping: `{docker: IMAGE}`, or an image for each
/// region. `None`: the value names no container image; it is empty, or names machine images of a cloud.
pub(super) fn read(value: &Value) -> Result<Option<String>, String> {
    let image = match value {
        Value::String(image) => image.trim(),
        Value::Object(images) => {
            let text = |value: &Value| value.is_null() || value.is_string();
            if images.is_empty() || !images.values().all(text) {
                return Err(format!(
                    "expected the name of a container image, got {}",
                    Got(value)
                ));
            }
            let in_docker = |image: &&str| image.starts_with("docker:");
            let of_regions = images.values().filter_map(Value::as_str).find(in_docker);
            match (images.get("docker").and_then(Value::as_str), of_regions) {
                (Some(_), Some(_)) => {
                    return Err(
                        "has a key `docker` and images that begin with `docker:`: use one of both"
                            .to_owned(),
                    );
                }
                (Some(image), None) | (None, Some(image)) => image,
                (None, None) => return Ok(None),
            }
        }
        other => {
            return Err(format!(
                "expected the name of a container image, got {}",
                Got(other)
            ));
        }
    };
    let name = image.strip_prefix("docker:").unwrap_or(image);
    if name.is_empty() && image.is_empty() {
        return Ok(None);
    }
    if name.is_empty() || name.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(format!(
            "{} is not the name of a container image",
            Got(value)
        ));
    }
    check_name(name)?;
    Ok(Some(name.to_owned()))
}

/// Refuses names that no registry can have (`reference.go` of distribution, 3.0). A name with a variable is checked by Kubernetes.
fn check_name(name: &str) -> Result<(), String> {
    if name.contains('$') {
        return Ok(());
    }
    // `docker:` is SkyPilot's prefix, and was removed from `docker://`.
    let scheme = name
        .split_once("://")
        .or(name.strip_prefix("//").map(|rest| ("docker", rest)));
    if let Some((scheme, rest)) = scheme {
        return Err(format!(
            "{name:?} is not the name of a container image: leave out `{scheme}://`, as in {rest:?}"
        ));
    }
    let name_and_tag = name.split('@').next().unwrap_or_default();
    let (host, path) = match name_and_tag.split_once('/') {
        Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => (host, path),
        _ => ("", name_and_tag),
    };
    let repository = match path.rsplit_once(':') {
        Some((repository, _tag)) => repository,
        None => path,
    };
    if repository.chars().any(|c| c.is_ascii_uppercase()) {
        let slash = if host.is_empty() { "" } else { "/" };
        return Err(format!(
            "{name:?} is not the name of a container image: the name of a repository is in lower case, as in \"{host}{slash}{}\"",
            repository.to_ascii_lowercase()
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_that_no_registry_has_are_errors() {
        for (image, hint) in [
            ("https://ghcr.io/org/img", "as in \"ghcr.io/org/img\""),
            ("docker://ghcr.io/org/img:1", "as in \"ghcr.io/org/img:1\""),
            ("ghcr.io/MyOrg/img", "as in \"ghcr.io/myorg/img\""),
            ("docker:MyOrg/img:V1", "as in \"myorg/img\""),
        ] {
            let error = read(&json!(image)).unwrap_err();
            assert!(error.contains(hint), "{error}");
        }
        for image in [
            "python",
            "Ghcr.io:5000/org/img:V1.2-RC@sha256:ABCDEF",
            "localhost/img",
            "docker:nvcr.io/nvidia/pytorch:23.10-py3",
            "$REGISTRY/Img",
        ] {
            assert!(read(&json!(image)).unwrap().is_some(), "{image}");
        }
    }
}
