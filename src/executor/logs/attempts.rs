//! Decides how long a reader tries to read a log that cannot be read. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// The limit for a log that does not grow any more. After its restart a kubelet answers for a moment that a log does not exist.
const PATIENCE: Duration = Duration::from_secs(30);
/// The limit while Kubernetes answers nothing at all: nothing is known about the log then.
const PATIENCE_WITHOUT_ANSWERS: Duration = Duration::from_secs(5 * 60);
/// The limit for the log of a container that was restarted. A kubelet deletes the log of the previous run, and reports that with the
/// message of passing errors.
const PATIENCE_WITH_PREVIOUS: Duration = Duration::from_secs(10);

/// The state of a container whose log cannot be read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Situation {
    /// It runs, and its log is followed.
    Runs,
    /// Only its log so far is wanted.
    IsNotFollowed,
    /// It has ended.
    Ended,
    /// It has ended, and Kubernetes answers nothing at all.
    EndedWithoutAnswers,
    /// It was restarted.
    Restarted,
    /// Its pod is gone, and the log with it.
    Gone,
}

/// The failed attempts in a row.
#[derive(Clone, Copy, Debug, Default)]
pub struct Attempts {
    /// The time of the first one.
    first: Option<Instant>,
    /// The time of the first one since Kubernetes answers.
    first_answered: Option<Instant>,
}

impl Attempts {
    /// After an attempt with success.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// Counts a failed attempt; returns whether it was the last one.
    pub fn give_up(&mut self, situation: Situation, now: Instant) -> bool {
        if situation == Situation::EndedWithoutAnswers {
            self.first_answered = None;
        } else {
            self.first_answered.get_or_insert(now);
        }
        let first = *self.first.get_or_insert(now);
        let elapsed = now - first;
        let answered = self
            .first_answered
            .map_or(Duration::ZERO, |first| now - first);
        match situation {
            Situation::Runs => {
                self.reset();
                false
            }
            Situation::IsNotFollowed => elapsed >= PATIENCE,
            Situation::Ended => answered >= PATIENCE,
            Situation::EndedWithoutAnswers => elapsed >= PATIENCE_WITHOUT_ANSWERS,
            Situation::Restarted => elapsed >= PATIENCE_WITH_PREVIOUS,
            Situation::Gone => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Situation::*, *};

    /// The second of the last attempt, with one attempt a second in a situation that depends on the second.
    fn last(situation: impl Fn(u64) -> Situation) -> Option<u64> {
        let (mut attempts, began) = (Attempts::default(), Instant::now());
        (0..1000).find(|second| {
            let now = began + Duration::from_secs(*second);
            attempts.give_up(situation(*second), now)
        })
    }

    #[test]
    fn a_log_that_does_not_grow_is_given_up() {
        assert_eq!(last(|_| Runs), None);
        assert_eq!(last(|_| Gone), Some(0));
        assert_eq!(last(|_| Ended), Some(30));
        assert_eq!(last(|_| IsNotFollowed), Some(30));
        assert_eq!(last(|_| Restarted), Some(10));
        assert_eq!(last(|_| EndedWithoutAnswers), Some(300));
    }

    #[test]
    fn only_the_time_since_the_end_and_with_answers_counts() {
        assert_eq!(
            last(|second| if second < 500 { Runs } else { Ended }),
            Some(530)
        );
        let away = |second| (10..100).contains(&second);
        assert_eq!(
            last(|second| if away(second) {
                EndedWithoutAnswers
            } else {
                Ended
            }),
            Some(130)
        );
        assert_eq!(
            last(|second| if second < 20 { Ended } else { Gone }),
            Some(20)
        );
    }

    #[test]
    fn a_line_begins_the_time_again() {
        let (mut attempts, began) = (Attempts::default(), Instant::now());
        assert!(!attempts.give_up(Ended, began));
        attempts.reset();
        assert!(!attempts.give_up(Ended, began + PATIENCE));
        assert!(attempts.give_up(Ended, began + 2 * PATIENCE));
    }
}
