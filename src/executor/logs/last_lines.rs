//! Where the last lines of a log begin.

use tokio::time::Instant;

use super::{
    ReaderGone,
    container::{Container, Failure, Part},
    lines::Next,
    position::{Position, SECOND},
    reader::Reader,
};

/// Finds out where the last lines of a log begin: from which second on to ask for it, and how many lines to leave out then.
///
/// Kubernetes can give the last lines, but not say which they are, and counts the pieces of a long one. So it is asked for the
/// time of the first, and then for all from that second on, which are counted; if they are too few, from further up.
pub async fn before_last_lines(
    reader: &mut Reader,
    tail: u32,
) -> Result<(Option<i64>, u64), ReaderGone> {
    let began = Instant::now();
    loop {
        match count_before(&reader.container, tail).await {
            Ok(start) => return Ok(start),
            // Whoever reads it next says so.
            Err(failure) if reader.is_hopeless(&failure, began).await => return Ok((None, 0)),
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

/// How many lines there are from a second on.
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
