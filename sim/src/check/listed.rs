//! Are all jobs that are not over on the pages of whoever asks for them? The judge goes
//! through the jobs of the state one by one, and asks each where it is.

use std::collections::BTreeMap;

use precentor_core::address::Address;
use precentor_core::event::Event;
use precentor_core::ids::{JobId, Ticket};
use precentor_core::request::{Answer, Query, Reply, Request};
use precentor_core::view::View;

use super::{Checker, Verdict, ensure};
use crate::marks::{Mark, Marks};

/// The judge.
#[derive(Clone, Debug, Default)]
pub struct Listed {
    /// Within what, and after what.
    asked: BTreeMap<Ticket, (Address, Option<Address>)>,
}

impl Listed {
    pub(super) fn on_event(&mut self, event: &Event) {
        if let Event::Client {
            ticket,
            request:
                Request::Read {
                    query: Query::Unfinished { within, after, .. },
                    ..
                },
            ..
        } = event
        {
            self.asked.insert(*ticket, (within.clone(), after.clone()));
        }
    }

    pub(super) fn on_answer(
        &mut self,
        ticket: Ticket,
        reply: &Reply,
        view: &View<'_>,
        marks: &mut Marks,
    ) -> Verdict {
        let asked = self.asked.remove(&ticket);
        let Reply::Read {
            answer: Answer::Unfinished { jobs, next },
            applied,
            ..
        } = reply
        else {
            return Ok(());
        };
        let claim = |holds, text: &dyn Fn() -> String| ensure(holds, Checker::ListedJobs, text);
        let Some((within, after)) = asked else {
            return claim(false, &|| format!("{ticket} is answered unasked: {jobs:?}"));
        };
        // A stale read is answered before the turn applies what is new.
        if *applied != view.applied() {
            return Ok(());
        }
        let on_page = |address: &Address| {
            within.contains(address)
                && after.as_ref().is_none_or(|after| address > after)
                && next.as_ref().is_none_or(|next| address <= next)
        };
        let mut expected: Vec<(Address, JobId)> = view
            .queue()
            .unfinished()
            .filter_map(|unfinished| view.queue().job(unfinished.job))
            .filter(|job| on_page(&job.address))
            .map(|job| (job.address, job.job))
            .collect();
        expected.sort();
        let found: Vec<(Address, JobId)> = jobs
            .iter()
            .map(|job| (job.address.clone(), job.job))
            .collect();
        claim(found == expected, &|| {
            format!(
                "{within} after {after:?} up to {next:?} has {expected:?}, and {found:?} is said"
            )
        })?;
        claim(next.is_none() || *next > after, &|| {
            format!("the page after {after:?} ends at {next:?}")
        })?;
        if next.is_some() {
            marks.hit(Mark::ListedInPages);
        }
        Ok(())
    }
}
