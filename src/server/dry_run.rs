//! The answer to a dry run: the manifests of a task.
//!
//! A request of a few bytes asks for up to 33 MB. So the answer is written while it is sent, on a thread that answers no requests,
//! and by one dry run at a time.

use std::{error, sync::Arc};

use actix_web::{HttpResponse, http::header::ContentType, web::Bytes};
use futures::{Stream, stream};
use tokio::{sync::Semaphore, task::spawn_blocking};

use crate::executor::{DryRun, Result};

/// How many bytes are written before another dry run has its turn.
const CHUNK: usize = 64 * 1024;

/// The turns of all dry runs.
pub struct DryRuns(Arc<Semaphore>);

impl Default for DryRuns {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

impl DryRuns {
    /// Answers with the effect that a submission would have.
    pub fn respond(&self, dry_run: DryRun) -> HttpResponse {
        let warnings = dry_run.warnings.clone();
        let chunks = chunks(dry_run.into_manifests(), warnings);
        HttpResponse::Ok()
            .insert_header(ContentType::json())
            .streaming(in_turns(self.0.clone(), chunks))
    }
}

/// Writes a [`crate::api::TaskDryRunResponse`], chunk by chunk. An error ends it early.
fn chunks(
    mut manifests: impl Iterator<Item = Result<String>>,
    warnings: Vec<String>,
) -> impl Iterator<Item = Result<Vec<u8>>> {
    let mut separator = &br#"{"manifests":["#[..];
    let mut is_over = false;
    std::iter::from_fn(move || {
        if is_over {
            return None;
        }
        let mut chunk = Vec::with_capacity(CHUNK + CHUNK / 8);
        for manifest in manifests.by_ref() {
            chunk.extend_from_slice(separator);
            separator = b",";
            match manifest {
                Ok(manifest) => chunk.extend_from_slice(manifest.as_bytes()),
                Err(error) => {
                    is_over = true;
                    return Some(Err(error));
                }
            }
            if chunk.len() >= CHUNK {
                return Some(Ok(chunk));
            }
        }
        is_over = true;
        chunk.push(b']');
        if !warnings.is_empty() {
            chunk.extend_from_slice(br#","warnings":"#);
            serde_json::to_writer(&mut chunk, &warnings).expect("memory can be written");
        }
        chunk.push(b'}');
        Some(Ok(chunk))
    })
}

type Fault = Box<dyn error::Error>;

/// A body whose chunks are made one after the other, whatever the number of bodies. A client that reads slowly holds no turn.
fn in_turns(
    turns: Arc<Semaphore>,
    chunks: impl Iterator<Item = Result<Vec<u8>>> + Send + 'static,
) -> impl Stream<Item = std::result::Result<Bytes, Fault>> {
    stream::try_unfold((turns, chunks), |(turns, mut chunks)| async {
        let turn = turns.clone().acquire_owned().await?;
        let made = spawn_blocking(move || {
            let chunk = chunks.next();
            drop(turn);
            (chunk, chunks)
        });
        let (chunk, chunks) = made.await?;
        let chunk = chunk.transpose()?;
        Ok(chunk.map(|chunk| (Bytes::from(chunk), (turns, chunks))))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        api::{Reason, TaskDryRunResponse},
        executor::Error,
    };

    #[test]
    fn a_dry_run_is_written_in_chunks() {
        let manifest = |number: usize| json!({ "metadata": { "name": format!("j-{number}") } });
        for (count, warnings) in [(1, vec![]), (10_000, vec!["careful".to_owned()])] {
            let manifests = (0..count).map(|number| Ok(manifest(number).to_string()));
            let chunks: Vec<_> = chunks(manifests, warnings.clone())
                .map(Result::unwrap)
                .collect();
            assert_eq!(chunks.len() > 1, count > 1);
            let expected = TaskDryRunResponse {
                manifests: (0..count).map(manifest).collect(),
                warnings,
            };
            assert!(chunks.concat() == serde_json::to_vec(&expected).unwrap());
        }
    }

    #[test]
    fn an_error_ends_the_answer() {
        let failed = || Err(Error::new(Reason::Invalid, "no such node"));
        let manifests = (0..2).map(|_| failed());
        let chunks: Vec<_> = chunks(manifests, Vec::new()).collect();
        assert!(matches!(chunks.as_slice(), [Err(_)]));
    }
}
