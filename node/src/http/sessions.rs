//! Sessions of those who bring none: a client without one gets a place in one of this
//! node's, so that what is sent again on its way to the leader takes effect once
//! (DESIGN §4, "a client without a session gets one at ingress").

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use precentor_core::command::{Command, Outcome};
use precentor_core::ids::{RequestId, Sequence, SessionId};
use precentor_core::limits::SESSION_REPLIES_MAX;
use precentor_core::principal::Principal;
use precentor_core::request::{Reply, Request};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::Problem;
use super::{Api, Caller};

/// Requests of one session that are under way at a time.
const OPEN_MAX: usize = 128;

const _: () = assert!(
    (OPEN_MAX as u64) < SESSION_REPLIES_MAX,
    "a session takes as many requests as are sent in it"
);

/// The sessions of a node, by whose they are.
#[derive(Debug, Default)]
pub(super) struct Sessions(tokio::sync::Mutex<BTreeMap<Principal, Arc<Session>>>);

#[derive(Debug)]
struct Session {
    id: SessionId,
    room: Arc<Semaphore>,
    used: Mutex<Used>,
}

#[derive(Debug)]
struct Used {
    next: Sequence,
    open: BTreeSet<Sequence>,
}

impl Session {
    fn used(&self) -> MutexGuard<'_, Used> {
        // The data is whole between any two statements that could panic.
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place for one request. Dropped, the request is over: it will not be sent again.
#[derive(Debug)]
pub(super) struct Place {
    session: Arc<Session>,
    sequence: Sequence,
    _room: OwnedSemaphorePermit,
}

impl Place {
    /// What the request is called.
    pub(super) fn request(&self) -> RequestId {
        RequestId {
            session: self.session.id,
            sequence: self.sequence,
        }
    }

    /// Everything below is over.
    pub(super) fn acknowledged(&self) -> Sequence {
        let used = self.session.used();
        used.open.first().copied().unwrap_or(self.sequence)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.session.used().open.remove(&self.sequence);
    }
}

impl Sessions {
    /// A place for a request of the caller.
    pub(super) async fn place(&self, api: &Api, caller: &Caller) -> Result<Place, Problem> {
        let session = {
            // Held while one is opened: those who come meanwhile want the same.
            let mut sessions = self.0.lock().await;
            match sessions.get(&caller.principal) {
                Some(session) => session.clone(),
                None => {
                    let session = Arc::new(open(api, caller).await?);
                    sessions.insert(caller.principal.clone(), session.clone());
                    session
                }
            }
        };
        let room = session.room.clone().acquire_owned().await;
        let room = room.map_err(|_| Problem::overloaded("this node ends"))?;
        let sequence = {
            let mut used = session.used();
            let sequence = used.next;
            used.next = sequence.next();
            used.open.insert(sequence);
            sequence
        };
        Ok(Place {
            session,
            sequence,
            _room: room,
        })
    }

    /// The cluster does not know the session of a place any more.
    pub(super) async fn forget(&self, caller: &Caller, place: &Place) {
        let mut sessions = self.0.lock().await;
        let known = sessions.get(&caller.principal);
        if known.is_some_and(|session| session.id == place.session.id) {
            sessions.remove(&caller.principal);
        }
    }
}

async fn open(api: &Api, caller: &Caller) -> Result<Session, Problem> {
    Ok(Session {
        id: open_session(api, caller).await?,
        room: Arc::new(Semaphore::new(OPEN_MAX)),
        used: Mutex::new(Used {
            next: Sequence(1),
            open: BTreeSet::new(),
        }),
    })
}

/// Opens a session for the caller.
pub(super) async fn open_session(api: &Api, caller: &Caller) -> Result<SessionId, Problem> {
    let request = Request::Propose {
        request: None,
        acknowledged: Sequence(0),
        command: Command::OpenSession,
    };
    match api.ask(caller, request).await? {
        Reply::Applied {
            outcome: Outcome::SessionOpened(session),
            ..
        } => Ok(session),
        other => Err(other.into()),
    }
}
