//! The words that a program or a model adds to an outline, and their bounds.

use precentor_core::context::ContextRecord;
use precentor_core::limits::{
    ENGINE_SUMMARY_BYTES_MAX, MESSAGE_BYTES_MAX, TAG_BYTES_MAX, TAGS_PER_ADDRESS_MAX,
};

/// What is said of a place. What is absent is as the outline has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Words {
    pub(super) one_line: Option<String>,
    pub(super) summary: Option<String>,
    /// Beside the outline's own.
    pub(super) tags: Vec<String>,
}

impl Words {
    /// Puts them into a record, if they are within their bounds; says what is wrong if not.
    pub(super) fn put_into(self, mut record: ContextRecord) -> Result<ContextRecord, String> {
        let too_long = |what: &str, found: usize, max: u64| {
            Err(format!("its {what} has {found} bytes; the limit is {max}"))
        };
        if let Some(text) = self.one_line {
            let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
            if line.len() as u64 > MESSAGE_BYTES_MAX {
                return too_long("one_line", line.len(), MESSAGE_BYTES_MAX);
            }
            record.one_line = line;
        }
        if let Some(text) = self.summary {
            if text.len() as u64 > ENGINE_SUMMARY_BYTES_MAX {
                return too_long("summary", text.len(), ENGINE_SUMMARY_BYTES_MAX);
            }
            record.summary = text;
        }
        for tag in self.tags {
            if tag.is_empty() || tag.len() as u64 > TAG_BYTES_MAX {
                return Err(format!(
                    "its tag {tag:?} must have 1 to {TAG_BYTES_MAX} bytes"
                ));
            }
            if !record.tags.contains(&tag) {
                record.tags.push(tag);
            }
        }
        if record.tags.len() as u64 > TAGS_PER_ADDRESS_MAX {
            return Err(format!(
                "there are {} tags with its own; the limit is {TAGS_PER_ADDRESS_MAX}",
                record.tags.len()
            ));
        }
        Ok(record)
    }
}
