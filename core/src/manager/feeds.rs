//! Readers of the feed of finished jobs, held until there is something to read.

use super::ContextManager;
use crate::event::Now;
use crate::ids::{FinishNumber, Ticket};
use crate::limits::{FEED_JOBS_MAX, WAITING_REQUESTS_MAX};
use crate::principal::Principal;
use crate::request::Reply;
use crate::time::Time;

#[derive(Clone, Debug)]
struct Feed {
    ticket: Ticket,
    principal: Principal,
    after: FinishNumber,
    count_max: u32,
    deadline: Time,
}

/// Those who wait, all equally long.
#[derive(Clone, Debug, Default)]
pub(super) struct Feeds(Vec<Feed>);

impl Feeds {
    /// Lets a reader wait until the turn ends, or longer. False if too many do.
    pub(super) fn hold(
        &mut self,
        ticket: Ticket,
        principal: Principal,
        after: FinishNumber,
        count_max: u32,
        deadline: Time,
    ) -> bool {
        if self.0.len() as u64 >= WAITING_REQUESTS_MAX {
            return false;
        }
        let count_max = count_max.clamp(1, FEED_JOBS_MAX);
        self.0.push(Feed {
            ticket,
            principal,
            after,
            count_max,
            deadline,
        });
        true
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        self.0.iter().map(|feed| feed.deadline).min()
    }
}

impl ContextManager {
    pub(super) fn answer_feeds(&mut self, now: Now) {
        let last = self.queue.last_finish();
        let (due, held) = std::mem::take(&mut self.feeds.0)
            .into_iter()
            .partition::<Vec<_>, _>(|feed| feed.after < last || feed.deadline <= now.time);
        self.feeds.0 = held;
        for feed in due {
            // It may have lost the right while it waited.
            if let Some(denial) = self.feed_denial(&feed.principal) {
                self.deny(now, feed.ticket, &feed.principal, denial);
                continue;
            }
            let jobs = self.queue.finished_after(feed.after, feed.count_max);
            self.outbox.answer(
                feed.ticket,
                Reply::Finished {
                    jobs,
                    applied: self.applied,
                },
            );
        }
    }
}
