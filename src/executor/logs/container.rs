//! One container whose log is asked for, and what its refusals mean.

use std::{sync::Arc, time::Duration};

use futures::AsyncBufRead;
use k8s_openapi::{api::core::v1::Pod, jiff::Timestamp};
use kube::{Api, api::LogParams};
use tokio::time::timeout;

use super::{
    block::LogSource,
    lines::{Lines, Next},
    position::Position,
    reads::Reads,
    step::ContainerRun,
};
use crate::executor::{cluster::DEADLINE, objects::CONTAINER};

/// How long a log that is not followed may be silent before its end.
const STALL: Duration = Duration::from_secs(30);

/// A container whose log can be asked for. Clones are cheap.
#[derive(Clone)]
pub struct Container {
    pub pods: Api<Pod>,
    pub source: ContainerRun,
    /// The same as records name it.
    pub name: Arc<LogSource>,
    /// A permit is held for as long as a log is open that is not followed.
    pub reads: Reads,
}

/// Why a log, or more of it, did not come.
#[derive(Debug)]
pub enum Failure {
    /// For reasons that may pass.
    Broken(String),
    /// Kubernetes answers, and says that there is none.
    Refused(String),
}

impl Failure {
    pub fn reason(&self) -> &str {
        match self {
            Self::Broken(reason) | Self::Refused(reason) => reason,
        }
    }
}

/// Which part of a log to ask for.
#[derive(Clone, Copy, Default)]
pub struct Part {
    /// The lines from this second on.
    pub since: Option<i64>,
    pub follow: bool,
    /// The last lines.
    pub tail: Option<u32>,
    /// So many bytes.
    pub limit: Option<u32>,
}

impl Container {
    /// Asks for the log. What is not followed needs one of [`Self::reads`].
    pub async fn open(
        &self,
        part: Part,
    ) -> Result<Lines<impl AsyncBufRead + Unpin + use<>>, Failure> {
        let params = LogParams {
            container: Some(CONTAINER.to_owned()),
            follow: part.follow,
            previous: self.source.is_previous,
            // Whole seconds: the API server cuts what is smaller, and `kube` rounds it.
            since_time: part.since.map(|second| {
                Timestamp::from_second(second).unwrap_or(Timestamp::constant(200_000_000_000, 0))
            }),
            tail_lines: part.tail.map(i64::from),
            limit_bytes: part.limit.map(i64::from),
            timestamps: true,
            ..LogParams::default()
        };
        let stream = self.pods.log_stream(&self.source.pod, &params);
        match timeout(DEADLINE, stream).await {
            Ok(Ok(stream)) => Ok(Lines::new(Box::pin(stream))),
            Ok(Err(kube::Error::Api(status))) if matches!(status.code, 400 | 401 | 403 | 404) => {
                Err(Failure::Refused(status.message))
            }
            Ok(Err(kube::Error::Api(status))) => Err(Failure::Broken(status.message)),
            Ok(Err(error)) => Err(Failure::Broken(describe(&error))),
            Err(_) => Err(Failure::Broken(
                "Kubernetes did not answer in time".to_owned(),
            )),
        }
    }

    /// Reads the part that there is, and shows `each` what is new. Returns when `each` says so, or at the end.
    pub async fn read(
        &self,
        part: Part,
        position: &mut Position,
        mut each: impl FnMut(&Next) -> bool,
    ) -> Result<(), Failure> {
        let _read = self.reads.permit().await;
        let mut lines = self.open(part).await?;
        loop {
            match next(&mut lines, position).await? {
                Next::End => return Ok(()),
                next if each(&next) => (),
                _ => return Ok(()),
            }
        }
    }

    /// The time of the first of the last lines, so many; none if there is no line, or that one has no time. Kubernetes counts the
    /// pieces of long lines.
    pub async fn time_of_last(&self, lines: u32) -> Result<Option<i64>, Failure> {
        let part = Part {
            tail: Some(lines),
            // Less than two times with their lines.
            limit: Some(40),
            ..Part::default()
        };
        let mut first = Position::at(None);
        self.read(part, &mut first, |_| true).await?;
        Ok(first.point().map(|point| point.time))
    }
}

/// The next of a log that is not followed.
pub async fn next<R: AsyncBufRead + Unpin>(
    lines: &mut Lines<R>,
    position: &mut Position,
) -> Result<Next, Failure> {
    match timeout(STALL, lines.next(position)).await {
        Ok(Ok(Next::Complaint(reason))) => Err(Failure::Broken(reason)),
        Ok(Ok(next)) => Ok(next),
        Ok(Err(error)) => Err(Failure::Broken(describe(&error))),
        Err(_) => Err(Failure::Broken("Kubernetes fell silent".to_owned())),
    }
}

/// An error with its causes: the outermost says little when a connection fails.
pub fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = error.source();
    }
    text
}
