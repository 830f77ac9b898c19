//! The annotation that keeps the file of a task: JSON, compressed with gzip, in base64. Pure.

use std::io::{Read, Write};

use base64::{Engine, engine::general_purpose::STANDARD};
use flate2::{Compression, read::GzDecoder, write::GzEncoder};

use crate::api::{TaskDefinition, TaskSource};

/// The longest annotation. All annotations of an object together may have 256 KiB.
const LONGEST: usize = 128 * 1024;
/// The most bytes of an annotation when it is unpacked. Others may have written it.
const MOST: u64 = 4 * 1024 * 1024;

/// The annotation for the file of a task. A long file is left out; none if the rest is too long, too.
pub fn pack(source: TaskSource, task: &TaskDefinition) -> Option<String> {
    let source = source.kept(task);
    let fits = |packed: &String| packed.len() <= LONGEST;
    encode(&source)
        .filter(fits)
        .or_else(|| encode(&source.without_text(task)).filter(fits))
}

fn encode(source: &TaskSource) -> Option<String> {
    let json = serde_json::to_vec(source).ok()?;
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(&json).ok()?;
    Some(STANDARD.encode(packed.finish().ok()?))
}

/// Reads the annotation; none if this program did not write it.
pub fn unpack(annotation: &str) -> Option<TaskSource> {
    let packed = STANDARD.decode(annotation).ok()?;
    let mut json = Vec::new();
    let mut unpacked = GzDecoder::new(packed.as_slice()).take(MOST);
    unpacked.read_to_end(&mut json).ok()?;
    serde_json::from_slice(&json).ok()
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use serde_json::json;

    use super::*;

    #[test]
    fn a_file_is_read_as_it_was_kept() {
        let task = TaskDefinition::from_json(&json!({"run": "true", "num_nodes": 3})).unwrap();
        let source = TaskSource {
            text: Some("# Comment.\nrun: 'true'\n".to_owned()),
            ..TaskSource::default()
        };
        assert_eq!(unpack(&pack(source.clone(), &task).unwrap()), Some(source));
        // A text that does not compress.
        let mut long = String::new();
        let mut state = 1_u64;
        while long.len() < 300_000 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            write!(long, "{state:x}").unwrap();
        }
        let source = TaskSource {
            text: Some(long),
            ..TaskSource::default()
        };
        let kept = unpack(&pack(source, &task).unwrap()).unwrap();
        assert_eq!(kept.text, None);
        assert_eq!(kept.definition.unwrap()["num_nodes"], 3);
        for other in ["", "x", "AAAA"] {
            assert_eq!(unpack(other), None);
        }
    }
}
