//! What clients of one node ask of another.

use std::thread;

use crossbeam_channel::unbounded;
use precentor_core::principal::Principal;
use precentor_core::request::{Reply, Request};
use tokio::io::AsyncReadExt;

use super::*;
use crate::pilot::{Answered, Answers, ReplyTo};

const PATIENCE: Duration = Duration::from_secs(10);

impl End {
    /// The way from here to the only peer.
    fn line(&self) -> Line {
        self.net.roster().lines().pop().unwrap()
    }

    /// What a client asks here next; what the protocol says is passed over.
    fn asked(&self) -> (Principal, Request, ReplyTo) {
        loop {
            match self.mail.recv_timeout(PATIENCE).unwrap() {
                Mail::Client {
                    principal,
                    request,
                    reply,
                } => return (principal, request, reply),
                Mail::Peer(..) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

fn answers() -> (Answers, Receiver<Answered>) {
    let (to, inbox) = unbounded();
    (Answers::Thread(to), inbox)
}

fn ada() -> Principal {
    Principal("ada".into())
}

fn invalid(message: &str) -> Reply {
    Reply::Invalid {
        message: message.to_owned(),
    }
}

#[test]
fn either_of_two_nodes_asks_the_other_and_hears_each_answer_under_its_own_tag() {
    let (runtime, book) = (runtime(), AddressBook::default());
    let ends = [begin(&runtime, &book, me(1)), begin(&runtime, &book, me(2))];
    for (from, to) in [(&ends[0], &ends[1]), (&ends[1], &ends[0])] {
        let (answers, inbox) = answers();
        let line = from.line();
        line.ask(ada(), Request::Status, &answers, 7);
        line.ask(ada(), Request::HandOver { to: None }, &answers, 8);
        let first = to.asked();
        let second = to.asked();
        assert_eq!((first.0, first.1), (ada(), Request::Status));
        assert_eq!(second.1, Request::HandOver { to: None });
        // The later one is answered first.
        second.2.answer(invalid("second"));
        first.2.answer(invalid("first"));
        for (tag, text) in [(8, "second"), (7, "first")] {
            let answered = inbox.recv_timeout(PATIENCE).unwrap();
            assert_eq!((answered.tag, answered.node), (tag, line.node()));
            assert_eq!(answered.reply, Some(invalid(text)));
        }
    }
}

#[test]
fn what_is_open_when_the_other_node_goes_is_given_back() {
    let (runtime, book) = (runtime(), AddressBook::default());
    let one = begin(&runtime, &book, me(1));
    let two = begin(&runtime, &book, me(2));
    let (answers, inbox) = answers();
    one.line().ask(ada(), Request::Status, &answers, 1);
    let asked = two.asked();
    drop(two.net);
    let answered = inbox.recv_timeout(PATIENCE).unwrap();
    assert_eq!((answered.tag, answered.reply), (1, None));
    // Nobody hears this any more.
    asked.2.answer(invalid("late"));
    // Asked while nobody is there, and given back too; then it is there again.
    one.line().ask(ada(), Request::Status, &answers, 2);
    assert_eq!(inbox.recv_timeout(PATIENCE).unwrap().reply, None);
    let again = begin(&runtime, &book, me(2));
    let server = thread::spawn(move || again.asked().2.answer(invalid("here again")));
    let heard = (3..).find_map(|tag| {
        one.line().ask(ada(), Request::Status, &answers, tag);
        inbox.recv_timeout(PATIENCE).unwrap().reply
    });
    assert_eq!(heard, Some(invalid("here again")));
    server.join().unwrap();
}

#[test]
fn a_node_that_ends_with_a_question_open_says_so_by_hanging_up() {
    let (runtime, book) = (runtime(), AddressBook::default());
    let one = begin(&runtime, &book, me(1));
    let two = begin(&runtime, &book, me(2));
    let (answers, inbox) = answers();
    one.line().ask(ada(), Request::Status, &answers, 1);
    // The pilot's end drops what it has not answered.
    drop(two.asked().2);
    assert_eq!(inbox.recv_timeout(PATIENCE).unwrap().reply, None);
}

#[test]
fn a_node_that_takes_its_time_is_waited_for() {
    let (runtime, book) = (runtime(), AddressBook::default());
    let one = begin(&runtime, &book, me(1));
    let two = begin(&runtime, &book, me(2));
    let (answers, inbox) = answers();
    one.line().ask(ada(), Request::Status, &answers, 1);
    let asked = two.asked();
    // Longer than a silence may be: meanwhile it says that it is there.
    let early = inbox.recv_timeout(Duration::from_millis(1_500));
    assert!(early.is_err(), "{early:?}");
    asked.2.answer(invalid("at last"));
    let answered = inbox.recv_timeout(PATIENCE).unwrap();
    assert_eq!(answered.reply, Some(invalid("at last")));
}

#[test]
fn a_node_that_was_stopped_is_asked_nothing_for_long() {
    let (runtime, book) = (runtime(), AddressBook::default());
    let one = begin(&runtime, &book, me(1));
    // The other has a runtime of its own, whose only thread the test stops.
    let elsewhere = self::runtime();
    let two = begin(&elsewhere, &book, me(2));
    let (answers, inbox) = answers();
    one.line().ask(ada(), Request::Status, &answers, 1);
    let asked = two.asked();
    let (go_on, stopped) = unbounded::<()>();
    elsewhere.spawn(async move { stopped.recv().unwrap_or_default() });
    let answered = inbox.recv_timeout(PATIENCE).unwrap();
    assert_eq!((answered.tag, answered.reply), (1, None));
    drop(go_on);
    asked.2.answer(invalid("late"));
    assert!(inbox.is_empty(), "nobody hears that any more");
}

#[test]
fn more_than_a_line_takes_is_given_back_at_once() {
    let (line, _questions) = Line::new(NodeId(2));
    let (answers, inbox) = answers();
    for tag in 0..1_024 {
        line.ask(ada(), Request::Status, &answers, tag);
    }
    assert!(inbox.is_empty());
    line.ask(ada(), Request::Status, &answers, 1_024);
    let answered = inbox.recv_timeout(PATIENCE).unwrap();
    assert_eq!((answered.tag, answered.reply), (1_024, None));
}

#[test]
fn a_peer_with_a_lesser_id_may_dial_to_ask_and_not_to_talk() {
    let (runtime, book) = (runtime(), AddressBook::default());
    let two = begin(&runtime, &book, me(2));
    let (mailbox, _mail) = Mailbox::new(NodeId(1));
    let context = link::LinkContext {
        me: Arc::new(me(1)),
        peers: Peers::default(),
        mailbox,
        refusals: Refusals::default(),
        book,
        credentials: None,
        known: Known::default(),
    };
    let dial = link::connect(NodeId(2), hello::Purpose::Messages, &context);
    // Its own greeting is in order: what it is for comes last.
    let mut stream = runtime.block_on(dial).unwrap().stream;
    let mut rest = Vec::new();
    // It hangs up, in whatever way.
    let _ = runtime.block_on(stream.read_to_end(&mut rest));
    assert!(rest.is_empty());
    assert_eq!(two.net.refusals().count(None, Refusal::Unexpected), 1);
    assert!(two.mail.is_empty(), "nothing of it reached the node");
}

#[test]
fn who_is_no_peer_asks_nothing() {
    let (runtime, book) = (runtime(), AddressBook::default());
    let one = begin(&runtime, &book, me(1));
    let mut stranger = me(2);
    stranger.cluster = ClusterId([9; 16]);
    let two = begin(&runtime, &book, stranger);
    let (answers, inbox) = answers();
    two.line().ask(ada(), Request::Status, &answers, 1);
    assert_eq!(inbox.recv_timeout(PATIENCE).unwrap().reply, None);
    assert!(one.mail.is_empty(), "nothing of it reached the node");
    assert!(one.net.refusals().count(None, Refusal::OtherCluster) > 0);
}
