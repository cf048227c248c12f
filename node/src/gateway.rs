//! What the clients of one node ask, on its way to whichever node can answer: a thread
//! with a [`Courier`], for tasks that wait for an answer until their time is over. A
//! request that any node can answer goes to this one first.

use std::collections::BTreeMap;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, select};
use precentor_core::ids::NodeId;
use precentor_core::principal::Principal;
use precentor_core::request::{Reply, Request};
use tokio::sync::oneshot;

use crate::client::{Courier, Directory, Tag, Unanswered};

/// Requests that wait for the thread. More are turned away.
const WAITING_MAX: usize = 4_096;
/// Requests on their way. More wait for the thread.
const OPEN_MAX: usize = 16_384;
/// How often those whose time is over are looked for.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoAnswer {
    /// Its time is over.
    TimedOut(Unanswered),
    /// This node has too much to do, or ends. Nothing was done.
    Overloaded,
}

type Outcome = Result<Reply, NoAnswer>;

#[derive(Debug)]
struct Ask {
    principal: Principal,
    request: Request,
    until: Instant,
    answer: oneshot::Sender<Outcome>,
}

/// The way to the thread. Cheap to clone; the thread ends with the last one.
#[derive(Debug, Clone)]
pub struct Gateway {
    to: Sender<Ask>,
}

impl Gateway {
    /// Starts the thread at a node.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(node: NodeId, directory: Directory) -> io::Result<Gateway> {
        let (to, asks) = bounded(WAITING_MAX);
        let porter = Porter {
            node,
            // Every request has its own principal.
            courier: Courier::new(directory.clone(), Principal(String::new())),
            directory,
            open: BTreeMap::new(),
        };
        thread::Builder::new()
            .name(format!("gateway-{node}"))
            .spawn(move || porter.run(&asks))?;
        Ok(Gateway { to })
    }

    /// Asks, and waits for the outcome as long as `patience`.
    ///
    /// # Errors
    /// If there is none.
    pub async fn ask(&self, principal: Principal, request: Request, patience: Duration) -> Outcome {
        let (answer, outcome) = oneshot::channel();
        let ask = Ask {
            principal,
            request,
            until: Instant::now() + patience,
            answer,
        };
        if self.to.try_send(ask).is_err() {
            return Err(NoAnswer::Overloaded);
        }
        // The thread answers all that it takes, and takes all while it lives.
        outcome.await.unwrap_or(Err(NoAnswer::Overloaded))
    }
}

#[derive(Debug)]
struct Open {
    until: Instant,
    answer: oneshot::Sender<Outcome>,
}

/// The thread's own.
struct Porter {
    node: NodeId,
    directory: Directory,
    courier: Courier,
    open: BTreeMap<Tag, Open>,
}

impl Porter {
    fn run(mut self, asks: &Receiver<Ask>) {
        let inbox = self.courier.inbox();
        let none = crossbeam_channel::never();
        let mut look_again = Instant::now();
        loop {
            let wake = self.courier.next_resend();
            let wake = wake.into_iter().chain(self.next_end()).min();
            let timer = wake.map_or_else(crossbeam_channel::never, crossbeam_channel::at);
            let asks = if self.open.len() < OPEN_MAX {
                asks
            } else {
                &none
            };
            select! {
                recv(asks) -> ask => match ask {
                    Ok(ask) => self.take(ask),
                    Err(_) => return,
                },
                recv(inbox) -> answered => {
                    let outcome = answered.ok().and_then(|answered| self.courier.take(answered));
                    if let Some((tag, reply)) = outcome
                        && let Some(open) = self.open.remove(&tag)
                    {
                        // Whoever asked may have gone.
                        let _ = open.answer.send(Ok(reply));
                    }
                }
                recv(timer) -> _ => {}
            }
            self.courier.resend_due();
            let now = Instant::now();
            if now >= look_again {
                self.give_up(now);
                look_again = now + LOOK_EVERY;
            }
        }
    }

    /// When to look next for those whose time is over, if there are any to come.
    fn next_end(&self) -> Option<Instant> {
        (!self.open.is_empty()).then(|| Instant::now() + LOOK_EVERY)
    }

    fn take(&mut self, ask: Ask) {
        let Ask {
            principal,
            request,
            until,
            answer,
        } = ask;
        let is_of_no_use = self.directory.passes_over(self.node) && !is_about_itself(&request);
        let here = is_for_any(&request) && !is_of_no_use;
        let first = here.then_some(self.node);
        let tag = self.courier.send_for(principal, request, first);
        self.open.insert(tag, Open { until, answer });
    }

    /// Lets go of those whose time is over, and of those that nobody waits for.
    fn give_up(&mut self, now: Instant) {
        let over = |open: &Open| open.until <= now || open.answer.is_closed();
        for (tag, open) in self.open.extract_if(.., |_, open| over(open)) {
            let known = self.courier.forget(tag).unwrap_or(Unanswered {
                unchanged: false,
                refused: None,
            });
            let _ = open.answer.send(Err(NoAnswer::TimedOut(known)));
        }
    }
}

/// Is it about the node that answers it?
fn is_about_itself(request: &Request) -> bool {
    matches!(request, Request::Status | Request::RecoverUnsafely { .. })
}

/// Can every node answer it, or does every node answer it for itself?
fn is_for_any(request: &Request) -> bool {
    match request {
        Request::Read { .. }
        | Request::Status
        | Request::FinishedAfter { .. }
        | Request::Await { .. }
        | Request::QueueLocally { .. }
        | Request::RecoverUnsafely { .. } => true,
        Request::Propose { .. }
        | Request::Poll(_)
        | Request::ChangeMembership(_)
        | Request::HandOver { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::Receiver as Mails;
    use precentor_core::request::{Consistency, Query};

    use super::*;
    use crate::client::Door;
    use crate::pilot::{Mail, Mailbox};

    /// A gateway at n1, and what reaches n1 and n2.
    fn gateway() -> (Gateway, [Mails<Mail>; 2]) {
        let directory = Directory::default();
        let mails = [1, 2].map(|node| {
            let (mailbox, mail) = Mailbox::new(NodeId(node));
            directory.add(Door::Here(mailbox));
            mail
        });
        (Gateway::start(NodeId(1), directory).unwrap(), mails)
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.unwrap().block_on(future)
    }

    fn answer(mail: &Mails<Mail>, with: Reply) -> Principal {
        match mail.recv_timeout(Duration::from_secs(10)).unwrap() {
            Mail::Client {
                principal, reply, ..
            } => {
                reply.answer(with);
                principal
            }
            other => panic!("{other:?}"),
        }
    }

    fn ask(gateway: &Gateway, request: Request, patience: Duration) -> Outcome {
        block_on(gateway.ask(Principal("ada".into()), request, patience))
    }

    fn read() -> Request {
        Request::Read {
            query: Query::Pauses,
            consistency: Consistency::Stale,
        }
    }

    #[test]
    fn what_any_node_can_answer_is_asked_here_and_the_rest_where_the_leader_is() {
        let (gateway, [here, there]) = gateway();
        let patience = Duration::from_secs(10);
        thread::scope(|scope| {
            scope.spawn(|| {
                assert_eq!(answer(&here, Reply::QueuedLocally).0, "ada");
                // Hints lead to n2, and n2 is remembered.
                let leader = Some(NodeId(2));
                let from = if here.is_empty() { &there } else { &here };
                answer(from, Reply::Unknown);
                while answer_either(&here, &there, leader) != NodeId(2) {}
            });
            assert_eq!(ask(&gateway, read(), patience), Ok(Reply::QueuedLocally));
            let hand_over = Request::HandOver { to: None };
            let outcome = ask(&gateway, hand_over, patience);
            assert_eq!(outcome, Ok(Reply::QueuedLocally));
        });
    }

    /// Lets whichever node is asked send the asker to the leader, who answers.
    fn answer_either(here: &Mails<Mail>, there: &Mails<Mail>, leader: Option<NodeId>) -> NodeId {
        crossbeam_channel::select! {
            recv(here) -> mail => {
                if let Ok(Mail::Client { reply, .. }) = mail {
                    reply.answer(Reply::NotLeader { leader });
                }
                NodeId(1)
            }
            recv(there) -> mail => {
                if let Ok(Mail::Client { reply, .. }) = mail {
                    reply.answer(Reply::QueuedLocally);
                }
                NodeId(2)
            }
        }
    }

    #[test]
    fn a_node_that_is_no_member_is_asked_for_nothing_but_itself() {
        let directory = Directory::default();
        let [here, there] = [1, 2].map(|node| {
            let (mailbox, mail) = Mailbox::new(NodeId(node));
            directory.add(Door::Here(mailbox));
            mail
        });
        // It led when last heard.
        directory.suggest(NodeId(1));
        directory.pass_over(Some(NodeId(1)));
        let gateway = Gateway::start(NodeId(1), directory.clone()).unwrap();
        let patience = Duration::from_secs(10);
        thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..2 {
                    answer(&there, Reply::QueuedLocally);
                }
                answer(&here, Reply::QueuedLocally);
                answer(&here, Reply::QueuedLocally);
            });
            for request in [read(), Request::HandOver { to: None }, Request::Status] {
                assert_eq!(ask(&gateway, request, patience), Ok(Reply::QueuedLocally));
            }
            directory.pass_over(None);
            assert_eq!(ask(&gateway, read(), patience), Ok(Reply::QueuedLocally));
        });
    }

    #[test]
    fn whoever_waits_too_long_is_told_what_is_known() {
        let (gateway, _mails) = gateway();
        let outcome = ask(&gateway, read(), Duration::from_millis(50));
        // It is with a node, which may yet answer.
        let known = Unanswered {
            unchanged: false,
            refused: None,
        };
        assert_eq!(outcome, Err(NoAnswer::TimedOut(known)));
    }
}
