//! The words of jobs: where they stand, why, and how they ended.

use precentor_core::job::{
    Attempt, DeadLetter, Explanation, FailureClass, Finished, JobState, JobView,
};
use precentor_core::request::Ending;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ClassWord;

/// Where a job stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StateWords {
    /// In a word: waiting, delayed, ready, running, parked; or, for ever, done, dead,
    /// cancelled, dependency_failed, superseded.
    pub state: StateWord,
    /// In words for people.
    pub text: String,
    /// The digest of the result's body, if it is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
    /// Another job that it is about: which took its place, or failed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other: Option<u64>,
}

/// Where a job stands, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StateWord {
    /// Dependencies are open.
    Waiting,
    /// Not before a time.
    Delayed,
    /// May be given to a worker.
    Ready,
    /// A worker holds it.
    Running,
    /// A newer input of a context that is running: next in line.
    Parked,
    /// The context was published.
    Done,
    /// Given up.
    Dead,
    /// Nobody wants it any more.
    Cancelled,
    /// A required dependency ended without a result.
    DependencyFailed,
    /// A newer input of the same context took its place.
    Superseded,
}

impl From<&JobState> for StateWords {
    fn from(state: &JobState) -> StateWords {
        let text = state.to_string();
        let (state, result, other) = match state {
            JobState::Waiting { .. } => (StateWord::Waiting, None, None),
            JobState::Delayed { .. } => (StateWord::Delayed, None, None),
            JobState::Ready => (StateWord::Ready, None, None),
            JobState::Running(_) => (StateWord::Running, None, None),
            JobState::Parked => (StateWord::Parked, None, None),
            JobState::Done { result, .. } => (StateWord::Done, Some(result.to_string()), None),
            JobState::Dead(_) => (StateWord::Dead, None, None),
            JobState::Cancelled => (StateWord::Cancelled, None, None),
            JobState::DependencyFailed { dependency } => {
                (StateWord::DependencyFailed, None, Some(dependency.0))
            }
            JobState::Superseded { by } => (StateWord::Superseded, None, Some(by.0)),
        };
        StateWords {
            state,
            text,
            result,
            other,
        }
    }
}

/// How a job that was waited for ended; none if it has not.
pub fn end(ending: &Ending) -> Option<StateWords> {
    match ending {
        Ending::Over { state, .. } => Some(state.into()),
        Ending::Unfinished { .. } | Ending::Unknown => None,
    }
}

/// A job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobWords {
    /// Its number.
    pub job: u64,
    /// The context it is for.
    pub address: String,
    /// The input it is for.
    pub subject: String,
    /// How urgent it is by now.
    pub class: ClassWord,
    /// Where it stands.
    #[serde(flatten)]
    pub state: StateWords,
    /// Attempts so far.
    pub attempts: u32,
    /// Of these, how many failed.
    pub failures: u32,
    /// Of these, how many lost their worker.
    pub crashes: u32,
    /// How many requests wait for it.
    pub waiters: u32,
    /// What the last failed attempt said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

impl From<&JobView> for JobWords {
    fn from(view: &JobView) -> JobWords {
        JobWords {
            job: view.job.0,
            address: view.address.to_string(),
            subject: view.subject.to_string(),
            class: view.class.into(),
            state: (&view.state).into(),
            attempts: view.attempts,
            failures: view.failures,
            crashes: view.crashes,
            waiters: view.waiters,
            last_error: view.last_error.clone(),
        }
    }
}

/// Jobs, and where to go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobsPage {
    /// Some jobs. A page may be short, or empty, and there are more all the same.
    pub jobs: Vec<JobWords>,
    /// To ask for more, give this as `after`; none if there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Why a job is where it is, and what would move it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExplanationWords {
    /// The job.
    pub job: JobWords,
    /// What keeps it from its end, the nearest first; nothing if it is over.
    pub holds: Vec<String>,
    /// If it failed for want of another job: that one, and the one for want of which that
    /// failed, and so on.
    pub causes: Vec<JobWords>,
    /// The job that answers for it by now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instead: Option<u64>,
    /// Workers that ask for its kind of work just now, if this node leads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asking: Option<u64>,
}

impl ExplanationWords {
    /// The words of an explanation.
    pub fn new(explanation: &Explanation, asking: Option<u64>) -> ExplanationWords {
        ExplanationWords {
            job: (&explanation.job).into(),
            holds: explanation.holds.iter().map(ToString::to_string).collect(),
            causes: explanation.causes.iter().map(JobWords::from).collect(),
            instead: explanation.instead.map(|job| job.0),
            asking,
        }
    }
}

/// One attempt at a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AttemptWords {
    /// Which, from 1.
    pub number: u32,
    /// Who held it.
    pub worker: u64,
    /// By which token.
    pub token: String,
    /// How it ended: retryable, permanent, busy, worker_lost, drained; none if it has not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<FailureWord>,
}

/// Why an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailureWord {
    /// May succeed if tried again.
    Retryable,
    /// Is not to be tried again.
    Permanent,
    /// The engine is overloaded: not counted against the job.
    Busy,
    /// The worker vanished: counted as a crash.
    WorkerLost,
    /// The worker gave the job back as it stopped: not counted.
    Drained,
}

impl From<FailureClass> for FailureWord {
    fn from(class: FailureClass) -> FailureWord {
        match class {
            FailureClass::Retryable => FailureWord::Retryable,
            FailureClass::Permanent => FailureWord::Permanent,
            FailureClass::Busy => FailureWord::Busy,
            FailureClass::WorkerLost => FailureWord::WorkerLost,
            FailureClass::Drained => FailureWord::Drained,
        }
    }
}

impl From<&Attempt> for AttemptWords {
    fn from(attempt: &Attempt) -> AttemptWords {
        AttemptWords {
            number: attempt.number,
            worker: attempt.worker.0,
            token: attempt.token.to_string(),
            ended: attempt.ended.map(|end| end.class.into()),
        }
    }
}

/// A job that was given up, or failed for want of one that was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeadLetterWords {
    /// The job.
    pub job: JobWords,
    /// What was to generate it.
    pub engine: String,
    /// On whose account.
    pub tenant: String,
    /// Who asked for it first.
    pub asked_by: String,
    /// The last attempts at it, in order.
    pub attempts: Vec<AttemptWords>,
    /// The job that does it again, or what made that needless.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redriven: Option<u64>,
}

impl From<&DeadLetter> for DeadLetterWords {
    fn from(letter: &DeadLetter) -> DeadLetterWords {
        DeadLetterWords {
            job: (&letter.job).into(),
            engine: letter.generator.engine.clone(),
            tenant: letter.tenant.clone(),
            asked_by: letter.asked_by.to_string(),
            attempts: letter.attempts.iter().map(AttemptWords::from).collect(),
            redriven: letter.redriven.map(|job| job.0),
        }
    }
}

/// Dead letters, and where to go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeadLettersPage {
    /// Some dead letters, the oldest jobs first.
    pub letters: Vec<DeadLetterWords>,
    /// To ask for more, give this as `after`; none if there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// A job that ended: an item of the feed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FinishedWords {
    /// Its place in the feed, which is the same on every node.
    pub number: u64,
    /// The job.
    pub job: u64,
    /// The context it was for.
    pub address: String,
    /// How it ended.
    #[serde(flatten)]
    pub state: StateWords,
    /// Attempts it took.
    pub attempts: u32,
}

impl From<&Finished> for FinishedWords {
    fn from(finished: &Finished) -> FinishedWords {
        FinishedWords {
            number: finished.number.0,
            job: finished.job.0,
            address: finished.address.to_string(),
            state: (&finished.state).into(),
            attempts: finished.attempts,
        }
    }
}
