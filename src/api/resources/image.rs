//! `image_id`: the image of the container.

use serde_json::Value;

use super::super::shape::Got;

/// Reads the name of an image, with or without SkyPilot's prefix `docker:`, or a mapping: `{docker: IMAGE}`, or an image for each
/// region. `None`: the value names no container image; it is empty, or names machine images of a cloud.
pub(super) fn read(value: &Value) -> Result<Option<String>, String> {
    let image = match value {
        Value::String(image) if is_of_machines(image.trim()) => return Ok(None),
        Value::String(image) => image.trim(),
        Value::Object(images) => {
            let text = |value: &Value| value.is_null() || value.is_string();
            if images.is_empty() || !images.values().all(text) {
                return Err(format!(
                    "expected the name of a container image, got {}",
                    Got(value)
                ));
            }
            let of_regions = region(value).and_then(|region| images[region].as_str());
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
    refuse_login(name)?;
    if name.is_empty() || name.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(format!(
            "{} is not the name of a container image",
            Got(value)
        ));
    }
    check_name(name)?;
    Ok(Some(name.to_owned()))
}

/// The region whose image is taken out of a mapping, if one is.
pub(super) fn region(value: &Value) -> Option<&str> {
    let images = value.as_object()?;
    let mut regions = images.iter().filter(|(key, _)| *key != "docker");
    let taken = regions.find(|(_, image)| image.as_str().is_some_and(is_in_docker));
    taken.map(|(region, _)| region.as_str())
}

fn is_in_docker(image: &str) -> bool {
    image.starts_with("docker:")
}

/// Whether a text names the image of a cloud's machines: of AWS, Google, Oracle, Azure (four parts, or a gallery), or of SkyPilot.
fn is_of_machines(image: &str) -> bool {
    let starts = ["ami-", "skypilot:", "ocid1.image.", "/CommunityGalleries/"];
    starts.iter().any(|start| image.starts_with(start))
        || image.starts_with("projects/") && image.contains("/images/")
        || image.matches(':').count() == 3 && !image.contains('/') && !image.starts_with("docker:")
}

/// The most bytes of a name without its tag (`RepositoryNameTotalLengthMax` in `reference.go` of distribution, 3.0).
const MAX_REPOSITORY: usize = 255;

/// Refuses names that no registry can have (`reference.go` of distribution, 3.0).
///
/// # Errors
/// A message for the user.
pub fn check_name(name: &str) -> Result<(), String> {
    refuse_login(name)?;
    // `docker:` is SkyPilot's prefix, and was removed from `docker://`.
    let scheme = name
        .split_once("://")
        .or(name.strip_prefix("//").map(|rest| ("docker", rest)));
    if let Some((scheme, rest)) = scheme {
        return Err(format!(
            "{name:?} is not the name of a container image: leave out `{scheme}://`, as in {rest:?}"
        ));
    }
    let refused = |why: String| {
        Err(format!(
            "{name:?} is not the name of a container image: {why}"
        ))
    };
    if name.contains('$') {
        return refused("variables are not replaced in it".to_owned());
    }
    let (name_and_tag, digest) = match name.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (name, None),
    };
    if let Some(digest) = digest.filter(|digest| !is_digest(digest)) {
        return refused(format!(
            "{digest:?} is not a digest such as sha256: and 64 hexadecimal digits"
        ));
    }
    let (host, path) = match name_and_tag.split_once('/') {
        Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => (host, path),
        _ => ("", name_and_tag),
    };
    let is_of_host =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
    if !host.chars().all(is_of_host) {
        return refused(format!("{host:?} is not the address of a registry"));
    }
    let end = path.rfind('/').map_or(0, |slash| slash + 1);
    let (repository, tag) = match path[end..].find(':') {
        Some(colon) => (&path[..end + colon], Some(&path[end + colon + 1..])),
        None => (path, None),
    };
    if let Some(tag) = tag.filter(|tag| !is_tag(tag)) {
        return refused(format!("{tag:?} is not a tag"));
    }
    if repository.chars().any(|c| c.is_ascii_uppercase()) {
        let slash = if host.is_empty() { "" } else { "/" };
        let lower = repository.to_ascii_lowercase();
        return refused(format!(
            "the name of a repository is in lower case, as in \"{host}{slash}{lower}\""
        ));
    }
    if host.len() + repository.len() > MAX_REPOSITORY {
        return refused(format!("it is longer than {MAX_REPOSITORY} characters"));
    }
    match repository.split('/').find(|part| !is_component(part)) {
        Some(part) => refused(format!(
            "{part:?} is not a part of the name of a repository"
        )),
        None => Ok(()),
    }
}

/// Refuses a login before the host. Unlike other messages, this one must not repeat the name.
fn refuse_login(name: &str) -> Result<(), String> {
    let address = name.split_once("//").map_or(name, |(_, address)| address);
    // A digest comes behind the last slash.
    let host = address.split_once('/').map(|(host, _)| host);
    if host.is_some_and(|host| host.contains('@')) {
        return Err(
            "the name of a container image has no login: name a Secret with it in `imagePullSecrets` of pod_config"
                .to_owned(),
        );
    }
    Ok(())
}

fn is_digest(digest: &str) -> bool {
    let Some((algorithm, digits)) = digest.split_once(':') else {
        return false;
    };
    let is_known = algorithm != "sha256" || digits.len() == 64;
    is_known && digits.len() >= 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
}

fn is_tag(tag: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (1..=128).contains(&tag.len())
        && tag.starts_with(is_word)
        && tag.chars().all(|c| is_word(c) || matches!(c, '.' | '-'))
}

/// Whether a text is a part of a repository's name: letters and digits, joined by one `.`, one or two `_`, or any number of `-`.
fn is_component(part: &str) -> bool {
    let is_joint = |c: char| matches!(c, '.' | '_' | '-');
    let is_letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let mut joints = part.split(is_letter).filter(|joint| !joint.is_empty());
    part.starts_with(is_letter)
        && part.ends_with(is_letter)
        && part.chars().all(|c| is_letter(c) || is_joint(c))
        && joints.all(|joint| {
            matches!(joint, "." | "_" | "__") || joint.bytes().all(|byte| byte == b'-')
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn images_of_machines_are_no_container_images() {
        for image in [
            "ami-0729d913a335efca7",
            "projects/deeplearning-platform-release/global/images/common-cpu-v20230615",
            "skypilot:gpu-ubuntu-2004",
            "ocid1.image.oc1.sa-saopaulo-1.aaaa",
            "microsoft-dsvm:ubuntu-2004:2004-gen2:latest",
        ] {
            assert_eq!(read(&json!(image)), Ok(None), "{image}");
        }
        assert!(read(&json!("docker:ami-x")).unwrap().is_some());
    }

    #[test]
    fn a_login_in_a_name_is_not_repeated() {
        for image in [
            "https://u:pw5@h/img",
            "docker:https://u:pw5@h/img",
            "u:pw5@h/img",
            "//u:pw5@h/img",
            "https://u:pw5@h/i mg",
        ] {
            let error = read(&json!(image)).unwrap_err();
            assert!(
                !error.contains("pw5") && error.contains("imagePullSecrets"),
                "{error}"
            );
        }
    }

    #[test]
    fn names_that_no_registry_has_are_errors() {
        for (image, hint) in [
            ("https://ghcr.io/org/img", "as in \"ghcr.io/org/img\""),
            ("docker://ghcr.io/org/img:1", "as in \"ghcr.io/org/img:1\""),
            ("ghcr.io/MyOrg/img", "as in \"ghcr.io/myorg/img\""),
            ("docker:MyOrg/img:V1", "as in \"myorg/img\""),
            ("img:", "\"\" is not a tag"),
            ("x:tag:tag", "\"tag:tag\" is not a tag"),
            ("a//b", "\"\" is not a part"),
            ("/abs", "\"\" is not a part"),
            ("-img", "\"-img\" is not a part"),
            ("a._b", "\"a._b\" is not a part"),
            ("ghcr.io/org/img:v1/x", "\"img:v1\" is not a part"),
            ("img@sha256:abc", "is not a digest"),
            ("$REGISTRY/img", "variables are not replaced"),
            ("img:${TAG}", "variables are not replaced"),
            ("a.b,c/img", "\"a.b,c\" is not the address of a registry"),
            (&"a/b".repeat(86), "it is longer than 255 characters"),
        ] {
            let error = read(&json!(image)).unwrap_err();
            assert!(error.contains(hint), "{error}");
        }
        for image in [
            "python",
            "Ghcr.io:5000/org/img:V1.2-RC@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789ABCDEF",
            "org/a__b.c---d",
            "docker:docker:x",
            "localhost/img",
            "docker:nvcr.io/nvidia/pytorch:23.10-py3",
            &"a/b".repeat(85),
        ] {
            assert!(read(&json!(image)).unwrap().is_some(), "{image}");
        }
    }
}
