//! Reads what there is of a log, to its end, and makes sure that it was the end.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::{ReaderGone, container::Failure, reader::Reader, ring::Entry, step};

/// How long the end of the log of a container that has ended is tried for.
const PATIENCE: Duration = Duration::from_secs(5 * 60);
/// The same for a container that was started again: a kubelet removes what ran before, and then says so in words that it has for
/// passing troubles, too.
const PATIENCE_WITH_PREVIOUS: Duration = Duration::from_secs(10);
/// A log is read again to see whether that was all of it, unless more than so many bytes of it were read.
const LONG: u64 = 1024 * 1024;

impl Reader {
    /// Reads what there is, trying for as long as there is hope. `is_complete`: it may well be that there is nothing more, so
    /// a log that is gone is no loss.
    pub async fn read_rest(&mut self, is_complete: bool) -> Result<(), ReaderGone> {
        let began = Instant::now();
        loop {
            let Err(failure) = self.read_stream().await? else {
                return self.recover().await;
            };
            if self.is_hopeless(&failure, began).await {
                if !is_complete || !self.is_silence_right(&failure) {
                    let since = self.position.point().map(|point| point.time);
                    let reason = format!("its log cannot be read: {}", failure.reason());
                    self.say(Entry::Gap { since, reason }).await?;
                }
                return Ok(());
            }
            self.pause(Some(failure)).await?;
        }
    }

    /// Reads what there is when nothing will be read after it.
    ///
    /// When a kubelet goes away in the middle of a log, the API server ends its answer as if that had been all (`StreamObject` in
    /// `apiserver/pkg/endpoints/handlers/responsewriters/writers.go` copies and looks at no error; seen: 1.20). So the end is
    /// believed when it is found twice.
    pub async fn read_to_end(&mut self, is_complete: bool) -> Result<(), ReaderGone> {
        self.read_rest(is_complete).await?;
        let (is_over, is_long) = (self.container.source.is_over, self.bytes > LONG);
        let last = if is_over && !is_long {
            None
        } else {
            self.time_of_last(1).await
        };
        loop {
            let point = self.position.point();
            // Of a log that goes on, no more is wanted than there was.
            let is_behind = |last| point.is_some_and(|point| point.latest > last);
            if (!is_over && last.is_some_and(is_behind)) || (is_long && self.is_at_end(last).await)
            {
                return Ok(());
            }
            self.read_rest(true).await?;
            if self.position.point() == point {
                return Ok(());
            }
        }
    }

    /// Whether there is no line behind the position, given the time of the log's last line. When in doubt, there is.
    async fn is_at_end(&self, last: Option<i64>) -> bool {
        let Some(point) = self.position.point() else {
            return false;
        };
        if last != Some(point.time) || point.offset.is_some() {
            return false;
        }
        // Whether it was the last of the lines with its time.
        let before = self.time_of_last(point.nth.saturating_add(2)).await;
        before.is_some_and(|before| before != point.time)
    }

    /// The time of the first of the last lines of the log, so many, if it can be known.
    async fn time_of_last(&self, lines: u32) -> Option<i64> {
        self.container.time_of_last(lines).await.ok().flatten()
    }

    /// Whether there is no use in trying to read the log again after a failure.
    pub async fn is_hopeless(&self, failure: &Failure, began: Instant) -> bool {
        let is_over = self.has_ended(Duration::ZERO, true).await;
        match failure {
            Failure::Refused(_) => is_over,
            Failure::Broken(_) if self.container.source.is_previous => {
                began.elapsed() > PATIENCE_WITH_PREVIOUS
            }
            Failure::Broken(_) => is_over && began.elapsed() > PATIENCE,
        }
    }

    /// Whether a log that cannot be read any more may be left without a word, given that it seemed to be read: it is gone, and
    /// its container was seen to end, or somebody stopped the task.
    fn is_silence_right(&self, failure: &Failure) -> bool {
        let node = self.sight.node(self.container.name.node);
        let node = node.borrow();
        let has_ended = step::has_terminated(&node, &self.container.source) || node.jobs.is_empty();
        matches!(failure, Failure::Refused(_)) && has_ended
    }

    /// Whether the container has ended, or does so in a moment. `with_pod`: or its pod has, which ends it.
    pub async fn has_ended(&self, patience: Duration, with_pod: bool) -> bool {
        let source = &self.container.source;
        let mut node = self.sight.node(self.container.name.node);
        let over = node.wait_for(|node| {
            step::is_over(node, source) || (with_pod && step::farewell(node, source).is_some())
        });
        source.is_over || matches!(timeout(patience, over).await, Ok(Ok(_)))
    }
}
