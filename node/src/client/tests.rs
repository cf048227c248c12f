use precentor_core::ids::{JobId, LogIndex};
use precentor_core::request::{Answer, Consistency, Freshness, Query, Refusal};

use super::*;
use crate::pilot::Mail;

/// A node whose mail the test reads.
struct Puppet {
    mail: Receiver<Mail>,
}

impl Puppet {
    fn add(directory: &Directory, node: u64) -> Puppet {
        let (mailbox, mail) = Mailbox::new(NodeId(node));
        directory.add(Door::Here(mailbox));
        Puppet { mail }
    }

    fn answer(&self, reply: Option<Reply>) -> Request {
        match self.mail.recv_timeout(Duration::from_secs(5)).unwrap() {
            Mail::Client {
                request, reply: to, ..
            } => {
                if let Some(reply) = reply {
                    to.answer(reply);
                }
                request
            }
            other => panic!("{other:?}"),
        }
    }
}

fn courier(directory: &Directory) -> Courier {
    Courier::new(directory.clone(), Principal("test".into()))
}

fn question() -> Request {
    Request::Read {
        query: Query::Job(JobId(7)),
        consistency: Consistency::Linearizable,
    }
}

fn nothing() -> Reply {
    Reply::Read {
        answer: Answer::Job(None),
        applied: LogIndex(3),
        freshness: Freshness::Linearizable,
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

#[test]
fn a_hint_is_followed_and_remembered() {
    let directory = Directory::default();
    let first = Puppet::add(&directory, 1);
    let second = Puppet::add(&directory, 2);
    directory.suggest(NodeId(1));
    let mut courier = courier(&directory);
    let tag = courier.send(Request::Status);
    first.answer(Some(Reply::NotLeader {
        leader: Some(NodeId(2)),
    }));
    let answered = courier.inbox().recv().unwrap();
    assert_eq!(courier.take(answered), None);
    second.answer(Some(nothing()));
    assert_eq!(courier.receive(soon()), Some((tag, nothing())));
    assert_eq!(directory.leader_hint(), Some(NodeId(2)));
    assert_eq!(courier.open_count(), 0);
}

#[test]
fn a_request_survives_the_death_of_its_node() {
    let directory = Directory::default();
    let first = Puppet::add(&directory, 1);
    directory.suggest(NodeId(1));
    let mut courier = courier(&directory);
    let tag = courier.send(question());
    directory.remove(NodeId(1));
    let second = Puppet::add(&directory, 2);
    drop(first);
    // The unread mail dies with the node, and says so.
    let answered = courier
        .inbox()
        .recv_timeout(Duration::from_secs(5))
        .unwrap();
    assert!(answered.reply.is_none());
    assert_eq!(courier.take(answered), None);
    assert_eq!(
        directory.leader_hint(),
        None,
        "nobody is sent there any more"
    );
    let (sender, resent) = unbounded();
    std::thread::scope(|scope| {
        scope.spawn(move || sender.send(second.answer(Some(nothing()))).unwrap());
        assert_eq!(courier.receive(soon()), Some((tag, nothing())));
    });
    assert_eq!(resent.recv().unwrap(), question());
}

#[test]
fn refused_and_unknown_are_asked_again_until_there_is_an_outcome() {
    let directory = Directory::default();
    let only = Puppet::add(&directory, 1);
    let mut courier = courier(&directory);
    let tag = courier.send(Request::Status);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            only.answer(Some(Reply::Refused {
                reason: Refusal::NoLeader,
                retry_after_ms: 1,
            }));
            only.answer(Some(Reply::Unknown));
            only.answer(Some(Reply::NotLeader { leader: None }));
            only.answer(Some(nothing()));
        });
        assert_eq!(courier.receive(soon()), Some((tag, nothing())));
    });
}

#[test]
fn a_second_answer_to_one_request_is_ignored() {
    let directory = Directory::default();
    let only = Puppet::add(&directory, 1);
    let mut courier = courier(&directory);
    courier.send(Request::Status);
    only.answer(Some(nothing()));
    assert!(courier.receive(soon()).is_some());
    let late = Answered {
        tag: 1,
        node: NodeId(1),
        reply: Some(nothing()),
    };
    assert_eq!(courier.take(late), None);
}

#[test]
fn what_is_let_go_of_is_known_to_be_undone_only_if_every_node_said_so() {
    let directory = Directory::default();
    let only = Puppet::add(&directory, 1);
    let mut courier = courier(&directory);
    let refused = Reply::Refused {
        reason: Refusal::NoLeader,
        retry_after_ms: 600_000,
    };
    let take = |courier: &mut Courier| {
        let answered = courier.inbox().recv_timeout(Duration::from_secs(5));
        assert_eq!(courier.take(answered.unwrap()), None);
    };
    let tag = courier.send(question());
    only.answer(Some(refused.clone()));
    take(&mut courier);
    let known = courier.forget(tag).unwrap();
    let said = Unanswered {
        unchanged: true,
        refused: Some(Refusal::NoLeader),
    };
    assert_eq!(known, said);
    assert_eq!(courier.forget(tag), None);

    // It is with a node that may yet do it.
    let tag = courier.send(question());
    assert!(!courier.forget(tag).unwrap().unchanged);

    // One node did not know, whatever was said later.
    only.answer(Some(Reply::Unknown));
    let tag = courier.send(question());
    only.answer(Some(Reply::Unknown));
    take(&mut courier);
    take(&mut courier);
    std::thread::scope(|scope| {
        scope.spawn(|| only.answer(Some(refused)));
        assert_eq!(
            courier.receive(Instant::now() + Duration::from_millis(200)),
            None
        );
    });
    let known = courier.forget(tag).unwrap();
    assert_eq!(
        (known.unchanged, known.refused),
        (false, Some(Refusal::NoLeader))
    );
}
