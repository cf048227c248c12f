use super::*;
use crate::action::Action;
use crate::config::Config;
use crate::driver::{Driver, Host, Recovered};
use crate::event::Event;
use crate::ids::{ClusterId, JobId, NodeId};
use crate::principal::Principal;
use crate::request::Request;

#[derive(Default)]
struct Answers(Vec<(Ticket, Reply)>);

impl Host for Answers {
    fn perform(&mut self, action: Action) {
        if let Action::Answer { ticket, reply } = action {
            self.0.push((ticket, reply));
        }
    }
}

/// One of three voters, which never hears of another.
fn alone() -> Driver {
    let voters = [1, 2, 3].map(NodeId).to_vec();
    let config = Config::new(ClusterId([7; 16]), NodeId(1), voters, 1);
    Driver::recover(config, Recovered::default(), Now::default()).unwrap()
}

fn read(ticket: u64, consistency: Consistency) -> Event {
    Event::Client {
        ticket: Ticket(ticket),
        principal: Principal("reader".into()),
        request: Request::Read {
            query: Query::Job(JobId(1)),
            consistency,
        },
    }
}

fn refused(reason: Refusal) -> impl Fn(&Reply) -> bool {
    move |reply| matches!(reply, Reply::Refused { reason: found, .. } if *found == reason)
}

#[test]
fn one_read_too_many_is_refused_at_once_and_the_others_when_their_time_is_over() {
    let (mut driver, mut answers) = (alone(), Answers::default());
    let events = (0..=READS_WAITING_MAX).map(|ticket| read(ticket, Consistency::Linearizable));
    driver.turn(Now::default(), events, &mut answers);
    assert_eq!(answers.0.len(), 1);
    let (ticket, reply) = &answers.0[0];
    assert_eq!(*ticket, Ticket(READS_WAITING_MAX));
    assert!(refused(Refusal::WaitingReads)(reply), "{reply:?}");
    let late = Time(0) + Span::from_ms(driver.view().0.config().knobs.wait_ms_max);
    assert!(driver.deadline().is_some_and(|deadline| deadline <= late));
    let now = Now {
        time: late,
        wall_ms: 0,
    };
    driver.turn(now, [], &mut answers);
    assert_eq!(answers.0.len() as u64, 1 + READS_WAITING_MAX);
    let late = |answer: &(Ticket, Reply)| refused(Refusal::ReadUnconfirmed)(&answer.1);
    assert!(answers.0[1..].iter().all(late));
}

#[test]
fn a_stale_read_needs_no_leader_and_says_that_its_age_is_unknown() {
    let (mut driver, mut answers) = (alone(), Answers::default());
    driver.turn(Now::default(), [read(4, Consistency::Stale)], &mut answers);
    let reply = Reply::Read {
        answer: Answer::Job(None),
        applied: LogIndex(0),
        freshness: Freshness::Stale { age_ms: None },
    };
    assert_eq!(answers.0, [(Ticket(4), reply)]);
}
