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
    Ok(Some(name.to_owned()))
}
