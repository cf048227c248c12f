//! What the verbs that ask a cluster have in common.

use std::time::{Duration, Instant};

use precentor_core::bytes::Bytes;
use precentor_core::command::{Command, Outcome};
use precentor_core::digest::Digest;
use precentor_core::ids::{ClusterId, NodeId, RequestId, Sequence};
use precentor_core::membership::{Change, Membership, RecoveryReport};
use precentor_core::principal::Principal;
use precentor_core::request::{Answer, Consistency, Query, Reply, Request};
use precentor_core::status::Status;

use super::{CommandError, Exit};
use crate::client::Courier;
use crate::options::Servers;
use crate::remote::Remote;

/// How long a cluster may take to answer: as long as it may elect.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long one node may take to say how it is, which it always can.
const STATUS_PATIENCE: Duration = Duration::from_secs(3);

/// A cluster, to be asked one thing after the other.
pub(super) struct Cluster {
    remote: Remote,
    courier: Courier,
}

impl Cluster {
    pub(super) fn of(place: &Servers) -> Result<Cluster, CommandError> {
        let remote = Remote::new(&place.access())?;
        // Who asks is for the server to say.
        let courier = Courier::new(remote.directory(), Principal("client".to_owned()));
        Ok(Cluster { remote, courier })
    }

    fn ask(&mut self, request: Request) -> Result<Reply, CommandError> {
        let (patience, why) = match request {
            Request::Status => (STATUS_PATIENCE, "is it running?"),
            _ => (PATIENCE, "no server answers, or the cluster has no leader"),
        };
        let reply = self.courier.call(request, patience).ok_or_else(|| {
            let message = format!("no answer within {} s: {why}", patience.as_secs());
            CommandError::new(Exit::Incomplete, message)
        })?;
        allowed(reply)
    }

    /// Asks for something whose outcome is not waited for here.
    pub(super) fn begin(&mut self, request: Request) {
        self.courier.send(request);
    }

    /// The outcome of what was begun, if there is one by then.
    pub(super) fn outcome(&mut self, patience: Duration) -> Result<Option<Reply>, CommandError> {
        let received = self.courier.receive(Instant::now() + patience);
        received.map(|(_, reply)| allowed(reply)).transpose()
    }

    /// Changes who belongs to it, and waits for the end of that.
    pub(super) fn change(&mut self, change: Change) -> Result<Membership, CommandError> {
        match self.ask(Request::ChangeMembership(change))? {
            Reply::Membership { membership, .. } => Ok(membership),
            Reply::ChangeRefused(error) => Err(CommandError::new(Exit::Incomplete, error)),
            other => Err(senseless(&other)),
        }
    }

    /// Goes on with these, and without all others.
    pub(super) fn recover(
        &mut self,
        survivors: Vec<NodeId>,
    ) -> Result<RecoveryReport, CommandError> {
        match self.ask(Request::RecoverUnsafely { survivors })? {
            Reply::Recovered(report) => Ok(*report),
            Reply::RecoveryFailed(error) => Err(CommandError::new(Exit::Incomplete, error)),
            other => Err(senseless(&other)),
        }
    }

    /// Its name and its id.
    pub(super) fn identity(&self) -> Result<(String, ClusterId), CommandError> {
        let told = self.remote.cluster();
        told.map_err(|reason| CommandError::new(Exit::Incomplete, reason))
    }

    /// What the replicated state says.
    pub(super) fn read(&mut self, query: Query) -> Result<Answer, CommandError> {
        let consistency = Consistency::Linearizable;
        match self.ask(Request::Read { query, consistency })? {
            Reply::Read { answer, .. } => Ok(answer),
            other => Err(senseless(&other)),
        }
    }

    /// Gives the leadership away; says to whom.
    pub(super) fn hand_over(&mut self, to: Option<NodeId>) -> Result<NodeId, CommandError> {
        match self.ask(Request::HandOver { to })? {
            Reply::HandedOver { to, .. } => Ok(to),
            Reply::HandOverFailed(error) => Err(CommandError::new(Exit::Incomplete, error)),
            other => Err(senseless(&other)),
        }
    }

    /// How the server that answers is.
    pub(super) fn status(&mut self) -> Result<Status, CommandError> {
        match self.ask(Request::Status)? {
            Reply::Status(status) => Ok(*status),
            other => Err(senseless(&other)),
        }
    }

    /// A body, if a server has it.
    pub(super) fn body(&self, digest: &Digest) -> Option<Bytes> {
        self.remote.bodies().get(digest)
    }

    /// Has something done that does no harm if it is done twice.
    pub(super) fn propose(&mut self, command: Command) -> Result<Outcome, CommandError> {
        self.propose_as(None, command)
    }

    /// Has something done once, in a session of its own.
    pub(super) fn propose_once(&mut self, command: Command) -> Result<Outcome, CommandError> {
        let session = match self.propose(Command::OpenSession)? {
            Outcome::SessionOpened(session) => session,
            other => return Err(senseless(&other)),
        };
        let request = RequestId {
            session,
            sequence: Sequence(1),
        };
        self.propose_as(Some(request), command)
    }

    fn propose_as(
        &mut self,
        request: Option<RequestId>,
        command: Command,
    ) -> Result<Outcome, CommandError> {
        let proposal = Request::Propose {
            request,
            acknowledged: Sequence(0),
            command,
        };
        match self.ask(proposal)? {
            Reply::Applied { outcome, .. } => Ok(outcome),
            other => Err(senseless(&other)),
        }
    }
}

/// An answer that is not a refusal.
fn allowed(reply: Reply) -> Result<Reply, CommandError> {
    match reply {
        Reply::Invalid { message } => Err(CommandError::new(Exit::Usage, message)),
        Reply::Denied(denial) => Err(CommandError::new(Exit::Usage, denial)),
        Reply::Applied {
            outcome: Outcome::Rejected(rejection),
            ..
        } => Err(CommandError::new(Exit::Incomplete, rejection)),
        reply => Ok(reply),
    }
}

/// An answer that belongs to another question: our own error.
pub(super) fn senseless(answer: &impl std::fmt::Debug) -> CommandError {
    let message = format!("the cluster gave a senseless answer: {answer:?}");
    CommandError::new(Exit::Incomplete, message)
}
