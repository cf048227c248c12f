//! What people and agents say of contexts beside what is generated: notes, tags, a
//! summary of their own; and what was so before.

use axum::Json;
use axum::extract::State;
use precentor_core::command::{Command, Outcome};
use precentor_core::edit::{
    Anchor, Author, Basis, Change, ConflictId, Content, Edit, Merge, Note, NoteView, PastEdit,
    PastResult, Side,
};
use precentor_core::ids::{LogIndex, Revision};
use precentor_core::limits::CONFLICTS_LISTED_MAX;
use precentor_core::request::{Answer, Consistency, Query, Reply};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Params, Words};
use super::jobs::{page, senseless};
use super::problem::Problem;
use super::requests::propose_once;
use super::words::address;
use super::{Api, Caller};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(get_annotations, annotate))
        .routes(routes!(get_history))
        .routes(routes!(list_conflicts))
}

/// Who wrote something.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum AuthorWord {
    /// A program.
    Agent,
    /// A human being: what a person says outranks what a program says, where neither had
    /// seen the other.
    Person,
}

impl From<Author> for AuthorWord {
    fn from(author: Author) -> AuthorWord {
        match author {
            Author::Agent => AuthorWord::Agent,
            Author::Person => AuthorWord::Person,
        }
    }
}

impl From<AuthorWord> for Author {
    fn from(word: AuthorWord) -> Author {
        match word {
            AuthorWord::Agent => Author::Agent,
            AuthorWord::Person => Author::Person,
        }
    }
}

/// A symbol that a note is about, as it was when the note was written.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AnchorWords {
    /// Its name.
    symbol: String,
    /// The digest of its slice.
    #[schema(pattern = "^[0-9a-fA-F]{64}$")]
    digest: String,
}

/// One change. Whoever puts something takes the place of what its author had seen there.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
enum ChangeWords {
    /// This is the summary.
    PutSummary {
        /// What it says.
        text: String,
    },
    /// The generated summary is good enough.
    WithdrawSummary,
    /// This is the note of that name.
    PutNote {
        /// Names it among the notes of its address.
        name: String,
        /// What it says.
        text: String,
        /// Of which symbol; none if of the whole.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        anchor: Option<AnchorWords>,
    },
    /// There is no note of that name.
    WithdrawNote {
        /// Its name.
        name: String,
    },
    /// It has this tag.
    AddTag {
        /// The tag.
        tag: String,
    },
    /// It has not this tag.
    RemoveTag {
        /// The tag.
        tag: String,
    },
}

impl ChangeWords {
    fn change(self) -> Result<Change, Problem> {
        Ok(match self {
            ChangeWords::PutSummary { text } => Change::PutSummary(text),
            ChangeWords::WithdrawSummary => Change::WithdrawSummary,
            ChangeWords::PutNote { name, text, anchor } => Change::PutNote {
                name,
                note: Note {
                    text,
                    anchor: anchor.map(anchor_of).transpose()?,
                },
            },
            ChangeWords::WithdrawNote { name } => Change::WithdrawNote { name },
            ChangeWords::AddTag { tag } => Change::AddTag(tag),
            ChangeWords::RemoveTag { tag } => Change::RemoveTag(tag),
        })
    }
}

fn anchor_of(words: AnchorWords) -> Result<Anchor, Problem> {
    let digest = words.digest.parse();
    Ok(Anchor {
        symbol: words.symbol,
        digest: digest.map_err(|error| Problem::invalid(format!("anchor.digest: {error}")))?,
    })
}

impl From<Change> for ChangeWords {
    fn from(change: Change) -> ChangeWords {
        match change {
            Change::PutSummary(text) => ChangeWords::PutSummary { text },
            Change::WithdrawSummary => ChangeWords::WithdrawSummary,
            Change::PutNote { name, note } => ChangeWords::PutNote {
                name,
                text: note.text,
                anchor: note.anchor.map(|anchor| AnchorWords {
                    symbol: anchor.symbol,
                    digest: anchor.digest.to_string(),
                }),
            },
            Change::WithdrawNote { name } => ChangeWords::WithdrawNote { name },
            Change::AddTag(tag) => ChangeWords::AddTag { tag },
            Change::RemoveTag(tag) => ChangeWords::RemoveTag { tag },
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct AddressParams {
    /// Of which place.
    #[param(example = "ucxl://project/src/main.rs", pattern = "^ucxl://.")]
    address: String,
}

/// A note.
#[derive(Debug, Serialize, ToSchema)]
struct NoteWords {
    /// Its name.
    name: String,
    /// What it says.
    text: String,
    /// Of which symbol.
    #[serde(skip_serializing_if = "Option::is_none")]
    symbol: Option<String>,
    /// Who sent it.
    by: String,
    /// Was that a person?
    author: AuthorWord,
    /// When, in milliseconds since 1970.
    wall_ms: u64,
    /// It is what a rule chose of this conflict.
    #[serde(skip_serializing_if = "Option::is_none")]
    conflict: Option<String>,
}

impl From<NoteView> for NoteWords {
    fn from(view: NoteView) -> NoteWords {
        NoteWords {
            name: view.name,
            text: view.note.text,
            symbol: view.note.anchor.map(|anchor| anchor.symbol),
            by: view.by.0,
            author: view.author.into(),
            wall_ms: view.wall_ms,
            conflict: view.conflict.map(|conflict| conflict.to_string()),
        }
    }
}

/// What is said of an address.
#[derive(Debug, Serialize, ToSchema)]
struct AnnotationsWords {
    /// Where.
    address: String,
    /// To change it as it stands here, name this.
    revision: u64,
    /// The summary that stands in the place of the generated one.
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<String>,
    /// The notes, those of people first.
    notes: Vec<NoteWords>,
    /// The tags.
    tags: Vec<String>,
    /// Its open conflicts.
    conflicts: Vec<String>,
}

/// Shows what is said of an address
#[utoipa::path(
    get, path = "/v1/annotations", tag = "contexts", params(AddressParams),
    responses(
        (status = 200, description = "What is said", body = AnnotationsWords),
        (status = "default", description = "Nothing is, or not read", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn get_annotations(
    State(api): State<Api>,
    caller: Caller,
    Params(params): Params<AddressParams>,
) -> Result<Json<AnnotationsWords>, Problem> {
    let address = address(&params.address)?;
    let query = Query::Edited(address.clone());
    match api.read(&caller, query, Consistency::Linearizable).await? {
        Answer::Edited(Some(view)) => Ok(Json(AnnotationsWords {
            address: view.address.to_string(),
            revision: view.revision.0,
            summary: view.summary.map(|summary| summary.text),
            notes: view.notes.into_iter().map(NoteWords::from).collect(),
            tags: view.tags,
            conflicts: view.conflicts.iter().map(ToString::to_string).collect(),
        })),
        Answer::Edited(None) => Err(Problem::not_found(format!("nothing is known of {address}"))),
        other => Err(senseless(other)),
    }
}

/// Changes to what is said of an address, all of them or none.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct EditWords {
    /// Where; it need not be generated yet.
    #[schema(example = "ucxl://project/src/main.rs", pattern = "^ucxl://.")]
    address: String,
    /// Having seen it in this revision; 0 where nothing is said yet. Refused if there is
    /// another one by now.
    revision: u64,
    /// Who wrote it.
    author: AuthorWord,
    /// What is changed.
    #[schema(min_items = 1, max_items = 64)]
    changes: Vec<ChangeWords>,
}

/// What became of an edit.
#[derive(Debug, Serialize, ToSchema)]
struct EditedWords {
    /// The revision that it made.
    revision: u64,
}

/// Says something of an address
#[utoipa::path(
    post, path = "/v1/annotations", tag = "contexts", request_body = EditWords,
    responses(
        (status = 200, description = "It is said", body = EditedWords),
        (status = "default", description = "Not done", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn annotate(
    State(api): State<Api>,
    caller: Caller,
    Words(words): Words<EditWords>,
) -> Result<Json<EditedWords>, Problem> {
    let changes = words.changes.into_iter().map(ChangeWords::change);
    let command = Command::Annotate {
        address: address(&words.address)?,
        edit: Edit {
            author: words.author.into(),
            changes: changes.collect::<Result<_, _>>()?,
        },
        basis: Basis::Revision(Revision(words.revision)),
    };
    match propose_once(&api, &caller, command).await? {
        Reply::Applied {
            outcome: Outcome::Annotated { revision, .. },
            ..
        } => Ok(Json(EditedWords {
            revision: revision.0,
        })),
        other => Err(other.into()),
    }
}

/// A published result that another one took the place of.
#[derive(Debug, Serialize, ToSchema)]
struct PastResultWords {
    /// Its digest.
    result: String,
    /// What it describes.
    subject: String,
    /// What made it.
    engine: String,
    /// The job that made it.
    job: u64,
    /// The job whose result took its place.
    replaced_by: u64,
    /// When, in milliseconds since 1970.
    until_wall_ms: u64,
}

impl From<PastResult> for PastResultWords {
    fn from(past: PastResult) -> PastResultWords {
        PastResultWords {
            result: past.result.to_string(),
            subject: past.subject.to_string(),
            engine: past.generator.engine,
            job: past.job.0,
            replaced_by: past.replaced_by.0,
            until_wall_ms: past.until_wall_ms,
        }
    }
}

/// An edit that was applied.
#[derive(Debug, Serialize, ToSchema)]
struct PastEditWords {
    /// The revision that it made.
    revision: u64,
    /// Who sent it.
    by: String,
    /// Was that a person?
    author: AuthorWord,
    /// When, in milliseconds since 1970.
    wall_ms: u64,
    /// What it changed.
    changes: Vec<ChangeWords>,
    /// Its author had not seen everything: it was merged.
    merged: bool,
}

impl From<PastEdit> for PastEditWords {
    fn from(past: PastEdit) -> PastEditWords {
        let changes = past.edit.changes.into_iter();
        PastEditWords {
            revision: past.revision.0,
            by: past.by.0,
            author: past.edit.author.into(),
            wall_ms: past.wall_ms,
            changes: changes.map(ChangeWords::from).collect(),
            merged: past.merge == Merge::Concurrent,
        }
    }
}

/// What was so before at an address, the oldest first.
#[derive(Debug, Serialize, ToSchema)]
struct HistoryWords {
    /// Results that were replaced.
    results: Vec<PastResultWords>,
    /// Edits.
    edits: Vec<PastEditWords>,
}

/// Shows what was published and said before
#[utoipa::path(
    get, path = "/v1/history", tag = "contexts", params(AddressParams),
    responses(
        (status = 200, description = "As far as it is kept", body = HistoryWords),
        (status = "default", description = "Not read", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn get_history(
    State(api): State<Api>,
    caller: Caller,
    Params(params): Params<AddressParams>,
) -> Result<Json<HistoryWords>, Problem> {
    let query = Query::History(address(&params.address)?);
    match api.read(&caller, query, Consistency::Linearizable).await? {
        Answer::History { results, edits, .. } => Ok(Json(HistoryWords {
            results: results.into_iter().map(PastResultWords::from).collect(),
            edits: edits.into_iter().map(PastEditWords::from).collect(),
        })),
        other => Err(senseless(other)),
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ConflictsParams {
    /// Those after this one, as it is shown.
    after: Option<String>,
    /// At most so many, up to 64.
    #[serde(default = "conflicts_limit")]
    #[param(minimum = 1, maximum = 64)]
    limit: u32,
}

fn conflicts_limit() -> u32 {
    CONFLICTS_LISTED_MAX
}

/// What one author put at a part.
#[derive(Debug, Serialize, ToSchema)]
struct SideWords {
    /// The edit.
    edit: String,
    /// Who sent it.
    by: String,
    /// Was that a person?
    author: AuthorWord,
    /// What it says.
    text: String,
}

impl From<Side> for SideWords {
    fn from(side: Side) -> SideWords {
        SideWords {
            edit: side.dot.to_string(),
            by: side.by.0,
            author: side.author.into(),
            text: match side.content {
                Content::Summary(text) => text,
                Content::Note(note) => note.text,
                Content::Tag => "the tag is there".to_owned(),
            },
        }
    }
}

/// Edits of one part whose authors had not seen each other's.
#[derive(Debug, Serialize, ToSchema)]
struct ConflictWords {
    /// Its name.
    conflict: String,
    /// Where.
    address: String,
    /// Of what.
    part: String,
    /// All sides, in the order in which they came.
    sides: Vec<SideWords>,
    /// The edit that is shown until somebody resolves it.
    chosen: String,
}

/// Open conflicts, and where to go on.
#[derive(Debug, Serialize, ToSchema)]
struct ConflictsPage {
    /// Some conflicts, the oldest first.
    conflicts: Vec<ConflictWords>,
    /// To ask for more, give this as `after`; none if there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Lists open conflicts
#[utoipa::path(
    get, path = "/v1/conflicts", tag = "contexts", params(ConflictsParams),
    responses(
        (status = 200, description = "Some of them", body = ConflictsPage),
        (status = "default", description = "Not read", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn list_conflicts(
    State(api): State<Api>,
    caller: Caller,
    Params(params): Params<ConflictsParams>,
) -> Result<Json<ConflictsPage>, Problem> {
    let after = params.after.as_deref().map(conflict_id).transpose()?;
    let query = Query::Conflicts {
        after: after.unwrap_or_default(),
        count_max: page(params.limit, CONFLICTS_LISTED_MAX)?,
    };
    match api.read(&caller, query, Consistency::Linearizable).await? {
        Answer::Conflicts { conflicts, next } => Ok(Json(ConflictsPage {
            conflicts: conflicts
                .into_iter()
                .map(|conflict| ConflictWords {
                    conflict: conflict.id.to_string(),
                    address: conflict.address.to_string(),
                    part: conflict.part.to_string(),
                    sides: conflict.sides.into_iter().map(SideWords::from).collect(),
                    chosen: conflict.chosen.to_string(),
                })
                .collect(),
            next: next.map(|next| next.to_string()),
        })),
        other => Err(senseless(other)),
    }
}

/// A conflict's name as it is shown: `cINDEX.POSITION`.
fn conflict_id(text: &str) -> Result<ConflictId, Problem> {
    let parts = text.strip_prefix('c').and_then(|text| text.split_once('.'));
    let parts = parts.and_then(|(index, position)| {
        Some(ConflictId {
            index: LogIndex(index.parse().ok()?),
            position: position.parse().ok()?,
        })
    });
    parts.ok_or_else(|| {
        Problem::invalid(format!(
            "after is {text:?}; it must be as a page's next, as in c12.0"
        ))
    })
}
