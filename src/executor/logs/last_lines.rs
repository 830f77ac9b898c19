//! Finds the place in a log where its last lines begin.

use super::{
    ViewerGone,
    container::{Container, Failure, Part},
    lines::Next,
    position::{Position, SECOND},
    reader::Reader,
};

/// Finds the start of the last `tail` lines: the second from which to read the log, and the number of lines to skip from there.
///
/// Kubernetes can send the last lines, but without their places, and it counts the pieces of a long line as lines. So this asks for
/// the time of the first of them, and counts all lines from that second on. If they are too few, it repeats this with more pieces.
///
/// # Errors
/// When the viewer is gone.
pub async fn before_last_lines(
    reader: &mut Reader,
    tail: u32,
) -> Result<(Option<i64>, u64), ViewerGone> {
    loop {
        match count_before(&reader.container, tail).await {
            Ok(start) => return Ok(start),
            // The next read of the log reports the failure.
            Err(failure) if reader.is_final(&failure).await => return Ok((None, 0)),
            Err(failure) => reader.pause(Some(failure)).await?,
        }
    }
}

async fn count_before(container: &Container, tail: u32) -> Result<(Option<i64>, u64), Failure> {
    let mut pieces = tail;
    let mut before = None;
    loop {
        let mut since = None;
        if tail > 0 {
            since = container.time_of_last(pieces).await?;
        }
        let count = count(container, since.map(|since| since.div_euclid(SECOND))).await?;
        if count >= tail.into() || since == before || pieces == u32::MAX {
            let since = since.map(|since| since.div_euclid(SECOND));
            return Ok((since, count.saturating_sub(tail.into())));
        }
        before = since;
        pieces = pieces.saturating_mul(2);
    }
}

/// The number of lines from a second on.
async fn count(container: &Container, since: Option<i64>) -> Result<u64, Failure> {
    let part = Part {
        since,
        ..Part::default()
    };
    let (mut count, mut is_open) = (0, false);
    let each = |next: &Next| {
        if let Next::Block { block, .. } = next {
            count += block.pieces.iter().filter(|piece| piece.ends).count() as u64;
            is_open = block.pieces.last().map_or(is_open, |piece| !piece.ends);
        }
        true
    };
    container
        .read(part, &mut Position::start(since, i64::MIN, 0), each)
        .await?;
    Ok(count + u64::from(is_open))
}
