//! Reads the log of one container from Kubernetes, and separates passing errors from final ones.

use std::{sync::Arc, time::Duration};

use futures::AsyncBufRead;
use k8s_openapi::{api::core::v1::Pod, jiff::Timestamp};
use kube::{Api, api::LogParams};
use tokio::time::timeout;

use super::{
    block::LogSource,
    last_line::LastLines,
    lines::{Lines, Next},
    position::Position,
    reads::Reads,
    step::ContainerRun,
};
use crate::executor::cluster::DEADLINE;

/// The longest silence of a log that is not followed.
const STALL: Duration = Duration::from_secs(30);

/// A container whose log can be read. Clones are cheap.
#[derive(Clone)]
pub struct Container {
    pub pods: Api<Pod>,
    pub source: ContainerRun,
    /// The same container, as log records name it.
    pub name: Arc<LogSource>,
    /// The limit of open logs that are not followed.
    pub reads: Reads,
}

/// The reason why a log, or more of it, cannot be read.
#[derive(Debug)]
pub enum Failure {
    /// A reason that may pass.
    Broken(String),
    /// Kubernetes answered that there is no log, with a status or in its place. A kubelet or an API server that has just started answers
    /// so too.
    Refused(String),
    /// The log cannot be read any more.
    Lost(String),
}

impl Failure {
    pub fn reason(&self) -> &str {
        match self {
            Self::Broken(reason) | Self::Refused(reason) | Self::Lost(reason) => reason,
        }
    }
}

/// The part of a log to read.
#[derive(Clone, Copy, Default)]
pub struct Part {
    /// Begin with the lines of this second.
    pub since: Option<i64>,
    /// Only the lines of this many seconds before the request, by the clock of the container's machine.
    pub seconds: Option<i64>,
    pub follow: bool,
    /// Only the last lines, this many.
    pub tail: Option<u32>,
    /// At most this many bytes.
    pub limit: Option<u32>,
}

impl Container {
    /// Opens the log. A caller that does not follow it needs a permit of [`Self::reads`].
    pub async fn open(
        &self,
        part: Part,
    ) -> Result<Lines<impl AsyncBufRead + Unpin + use<>>, Failure> {
        let params = LogParams {
            container: Some(self.source.container().to_owned()),
            follow: part.follow,
            previous: self.source.is_previous,
            // Whole seconds: the API server drops fractions, and `kube` rounds them.
            since_time: part.since.map(|second| {
                Timestamp::from_second(second).unwrap_or(Timestamp::constant(200_000_000_000, 0))
            }),
            since_seconds: part.seconds,
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

    /// Reads a part of the log, and calls `each` with every step. Returns at the end, or when `each` returns false.
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

    /// The earliest time from which all lines are those of the last `seconds`, in nanoseconds since 1970; none if every line is.
    ///
    /// Kubernetes compares the times of lines with the clock that they are from, so other clocks do not matter.
    pub async fn time_of_last_seconds(&self, seconds: i64) -> Result<Option<i64>, Failure> {
        // Asked for first: a line that comes in the meantime is one of the last seconds.
        let last = self.time_of_last(1).await?;
        let part = Part {
            // Kubernetes refuses 0.
            seconds: Some(seconds.max(1)),
            ..Part::default()
        };
        let mut earliest = None;
        // Times need not ascend, so the first lines are compared.
        let look = |next: &Next| {
            if let Next::Block { block, .. } = next {
                let points = block.pieces.iter().filter_map(|piece| piece.point);
                earliest = points.map(|point| point.time).min();
            }
            earliest.is_none()
        };
        self.read(part, &mut Position::start(Some(0), i64::MIN, 0), look)
            .await?;
        Ok(earliest.or(last.map(|last| last + 1)))
    }

    /// The time of the first of the last `lines` lines, in nanoseconds since 1970; none if there is no such line, or if it has no
    /// time. Kubernetes counts each piece of a long line as a line.
    pub async fn time_of_last(&self, lines: u32) -> Result<Option<i64>, Failure> {
        let part = Part {
            tail: Some(lines),
            // Shorter than two times with their lines.
            limit: Some(40),
            ..Part::default()
        };
        let mut first = Position::at(None);
        self.read(part, &mut first, |_| true).await?;
        Ok(first.point().map(|point| point.time))
    }

    /// The last lines, this many as Kubernetes counts them.
    pub async fn last_lines(&self, lines: u32) -> Result<LastLines, Failure> {
        let part = Part {
            tail: Some(lines),
            ..Part::default()
        };
        let mut last = LastLines::default();
        let add = |next: &Next| {
            if let Next::Block { block, .. } = next {
                last.add(block);
            }
            true
        };
        self.read(part, &mut Position::start(Some(0), i64::MIN, 0), add)
            .await?;
        Ok(last)
    }
}

/// The next step of a log that is not followed.
pub async fn next<R: AsyncBufRead + Unpin>(
    lines: &mut Lines<R>,
    position: &mut Position,
) -> Result<Next, Failure> {
    match timeout(STALL, lines.next(position)).await {
        Ok(Ok(Next::Complaint(reason))) => Err(Failure::Refused(reason)),
        Ok(Ok(next)) => Ok(next),
        Ok(Err(error)) => Err(Failure::Broken(describe(&error))),
        Err(_) => Err(Failure::Broken("Kubernetes stopped sending".to_owned())),
    }
}

/// An error with its causes, since the outermost says little about a failed connection.
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
