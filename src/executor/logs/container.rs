//! Reads the log of one container to its end, opening the stream again for as long as it breaks off before.
//!
//! That a stream ends says nothing: connections are cut, proxies time out, the kubelet restarts. Only the cluster says that a
//! container has ended, and then what is left of its log is read once more.

use std::time::Duration;

use k8s_openapi::{api::core::v1::Pod, jiff::Timestamp};
use kube::{Api, api::LogParams};
use tokio::{
    sync::{mpsc, watch},
    time::{sleep, timeout},
};

use super::{
    super::{DEADLINE, manifest::CONTAINER, status::Observed},
    lines::{Lines, Piece},
    position::{Position, Verdict},
    step::{self, Source},
};
use crate::api::{LogQuery, LogRecord, LogText, Since};

/// How long the cluster may take to say that a container has ended whose log has. After that the log counts as cut.
const END_DELAY: Duration = Duration::from_secs(2);
/// The pauses between attempts to open a log that cannot be read grow from the first to the second.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// Later than any line, and still rounded and written without harm.
const LATEST: Timestamp = Timestamp::constant(200_000_000_000, 0);

/// Nobody wants the records any more.
#[derive(Debug)]
pub struct ReaderGone;

/// Reads one container's log into `records`.
pub struct ContainerReader<'a> {
    pub pods: &'a Api<Pod>,
    pub rank: u32,
    pub query: &'a LogQuery,
    pub source: &'a Source,
    pub observation: watch::Receiver<Observed>,
    pub records: &'a mpsc::Sender<LogRecord>,
    pub position: Position,
    /// A last line without an end, which more may follow.
    pub held: Option<Piece>,
}

/// How one stream ended.
enum StreamEnd {
    Closed,
    /// There was none, or it broke.
    Broken(String),
}

impl ContainerReader<'_> {
    pub async fn read(&mut self) -> Result<(), ReaderGone> {
        if !self.query.follow || self.source.is_over {
            if let StreamEnd::Broken(why) = self.read_stream(false).await? {
                self.notice(format!("its log cannot be read: {why}"))
                    .await?;
            }
            return self.release().await;
        }
        let mut pause = PAUSES.0;
        loop {
            let end = self.read_stream(true).await?;
            let source = self.source;
            let over = async {
                self.observation
                    .wait_for(|observed| step::is_over(observed, source))
                    .await
                    .map(drop)
            };
            match timeout(END_DELAY, over).await {
                Ok(Ok(())) => return self.read_rest(end).await,
                Ok(Err(_)) => return Err(ReaderGone),
                Err(_) => (),
            }
            if let StreamEnd::Broken(why) = end {
                log::debug!(
                    "node {}: its log was cut, opening it again: {why}",
                    self.rank
                );
                sleep(pause).await;
                pause = (pause * 2).min(PAUSES.1);
            } else {
                pause = PAUSES.0;
            }
        }
    }

    /// Reads what is left of the log of a container that has ended.
    async fn read_rest(&mut self, end: StreamEnd) -> Result<(), ReaderGone> {
        match (self.read_stream(false).await?, end) {
            // The pod may be gone by then, but its log had come to its end.
            (StreamEnd::Closed, _) | (StreamEnd::Broken(_), StreamEnd::Closed) => (),
            (StreamEnd::Broken(_), StreamEnd::Broken(why)) => {
                self.notice(format!("the end of its log may be missing: {why}"))
                    .await?;
            }
        }
        self.release().await
    }

    /// Reads one stream to its end.
    async fn read_stream(&mut self, follow: bool) -> Result<StreamEnd, ReaderGone> {
        let since = self.position.resume();
        // It comes again.
        self.held = None;
        let params = self.params(follow, since);
        let mut lines =
            match timeout(DEADLINE, self.pods.log_stream(&self.source.pod, &params)).await {
                Ok(Ok(stream)) => Lines::new(Box::pin(stream)),
                Ok(Err(error)) => return Ok(StreamEnd::Broken(error.to_string())),
                Err(_) => {
                    return Ok(StreamEnd::Broken(
                        "Kubernetes did not answer in time".to_owned(),
                    ));
                }
            };
        loop {
            match lines.next().await {
                Ok(Some(piece)) if is_of_kubelet(&piece) => {
                    return Ok(StreamEnd::Broken(
                        String::from_utf8_lossy(&piece.bytes).into_owned(),
                    ));
                }
                Ok(Some(piece)) if piece.is_unterminated => self.held = Some(piece),
                Ok(Some(piece)) => self.hand_on(piece).await?,
                Ok(None) => return Ok(StreamEnd::Closed),
                Err(error) => return Ok(StreamEnd::Broken(error.to_string())),
            }
        }
    }

    /// Hands on the last line of a log that does not end with a newline.
    async fn release(&mut self) -> Result<(), ReaderGone> {
        match self.held.take() {
            Some(piece) => self.hand_on(piece).await,
            None => Ok(()),
        }
    }

    /// Hands on what of a piece was not handed on before.
    async fn hand_on(&mut self, piece: Piece) -> Result<(), ReaderGone> {
        let from = match self.position.judge(&piece) {
            Verdict::Known => return Ok(()),
            Verdict::New(from) => from,
            Verdict::AfterGap(since) => {
                self.notice(format!(
                    "lines after {since} may be missing: its log was rotated"
                ))
                .await?;
                0
            }
        };
        let mut bytes = piece.bytes;
        bytes.drain(..from);
        let record = LogRecord::Line {
            node: self.rank,
            time: piece.time,
            text: LogText::from_bytes(bytes),
            partial: piece.is_partial,
        };
        self.send(record).await
    }

    fn params(&self, follow: bool, resumed: Option<Timestamp>) -> LogParams {
        let asked_for = self.query.since.and_then(|since| match since {
            Since::Ago(duration) => {
                let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
                Timestamp::from_second(Timestamp::now().as_second().saturating_sub(seconds)).ok()
            }
            // A time beyond the end of time is later than every line.
            Since::At(time) => Some(Timestamp::from_second(time.unix_seconds()).unwrap_or(LATEST)),
        });
        LogParams {
            container: Some(CONTAINER.to_owned()),
            follow,
            since_time: resumed.or(asked_for),
            tail_lines: self.query.tail.filter(|_| resumed.is_none()).map(i64::from),
            timestamps: true,
            ..LogParams::default()
        }
    }

    async fn notice(&self, message: String) -> Result<(), ReaderGone> {
        let node = self.rank;
        self.send(LogRecord::Notice { node, message }).await
    }

    async fn send(&self, record: LogRecord) -> Result<(), ReaderGone> {
        self.records.send(record).await.map_err(|_| ReaderGone)
    }
}

/// Whether a piece is not the container's but a complaint of the kubelet's, which it writes into the log it streams when it
/// fails half-way (`pkg/kubelet/kuberuntime/kuberuntime_logs.go`, v1.20 to 1.36). Such a line has no time.
fn is_of_kubelet(piece: &Piece) -> bool {
    let complaints = [
        &b"rpc error: code = "[..],
        b"unable to retrieve container logs for ",
        b"failed to try resolving symlinks ",
    ];
    piece.time.is_none()
        && complaints
            .iter()
            .any(|complaint| piece.bytes.starts_with(complaint))
}
