//! What people say of contexts, in the words of a trace.

use precentor_core::edit::{
    Change, Conflict, Content, EditedView, Merge, PastEdit, PastResult, Side,
};

pub(super) fn words_of_edited(edited: &EditedView) -> String {
    let mut words = vec![format!("{} {}", edited.revision, edited.version)];
    words.push(match &edited.context {
        Some(context) => format!("published by {}", context.job),
        None => "nothing published".into(),
    });
    words.extend(edited.summary.as_ref().map(|summary| {
        let open = summary.conflict.map(|id| format!(", {id} is open"));
        let (text, by) = (&summary.text, summary.author);
        format!("summary {text:?} by {by:?}{}", open.unwrap_or_default())
    }));
    words.extend(edited.notes.iter().map(|note| {
        let open = note.conflict.map(|id| format!(", {id} is open"));
        let (name, text, by) = (&note.name, &note.note.text, note.author);
        format!("note {name} {text:?} by {by:?}{}", open.unwrap_or_default())
    }));
    if !edited.tags.is_empty() {
        words.push(format!("tags {}", edited.tags.join(" ")));
    }
    words.join("; ")
}

pub(super) fn words_of_conflict(conflict: &Conflict) -> String {
    let sides = conflict.sides.iter().map(words_of_side);
    let sides: Vec<String> = sides.collect();
    format!(
        "{} of {} at {}, {}: {}; {} is shown",
        conflict.id,
        conflict.address.path(),
        conflict.revision,
        conflict.part,
        sides.join(", "),
        conflict.chosen
    )
}

fn words_of_side(side: &Side) -> String {
    let content = match &side.content {
        Content::Summary(text) => format!("{text:?}"),
        Content::Note(note) => format!("{:?}", note.text),
        Content::Tag => "there".into(),
    };
    format!(
        "{} {content} by {:?} at {}",
        side.dot, side.author, side.index
    )
}

pub(super) fn words_of_history(results: &[PastResult], edits: &[PastEdit]) -> Vec<String> {
    let results = results.iter().map(|past| {
        format!(
            "input {:?} of {}, replaced by {} at {}",
            past.subject, past.job, past.replaced_by, past.index
        )
    });
    let edits = edits.iter().map(|past| {
        let changes: Vec<String> = past.edit.changes.iter().map(words_of_change).collect();
        let mut words = format!(
            "{} {} by {:?} {} at {}: {}",
            past.revision,
            past.dot,
            past.edit.author,
            past.version,
            past.index,
            changes.join(", ")
        );
        if past.merge == Merge::Concurrent {
            words.push_str(", merged");
        }
        for id in &past.resolved {
            words.push_str(&format!(", ends {id}"));
        }
        words
    });
    results.chain(edits).collect()
}

fn words_of_change(change: &Change) -> String {
    match change {
        Change::PutSummary(text) => format!("summary {text:?}"),
        Change::WithdrawSummary => "no summary".into(),
        Change::PutNote { name, note } => format!("note {name} {:?}", note.text),
        Change::WithdrawNote { name } => format!("no note {name}"),
        Change::AddTag(tag) => format!("tag {tag}"),
        Change::RemoveTag(tag) => format!("no tag {tag}"),
    }
}
