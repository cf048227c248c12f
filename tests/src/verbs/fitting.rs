//! What engines need of workers, and what workers have.

use anyhow::Result;
use precentor_core::command::Command;
use precentor_core::job::{Needs, Offer};

use crate::words::Words;

/// `outline tag gpu memory 512`, or nothing but a name.
pub(super) fn put_needs(words: &mut Words<'_>) -> Result<Command> {
    let engine = words.need("an engine")?.to_owned();
    let (tags, memory_mib) = tags_and_memory(words)?;
    let needs = Needs { tags, memory_mib };
    Ok(Command::PutNeeds { engine, needs })
}

/// `w1 inc 2 tag gpu memory 512`.
pub(super) fn put_offer(words: &mut Words<'_>) -> Result<Command> {
    let worker = words.worker()?;
    let incarnation = super::asks::incarnation(words)?;
    let (tags, memory_mib) = tags_and_memory(words)?;
    let offer = Offer { tags, memory_mib };
    Ok(Command::PutOffer {
        worker,
        incarnation,
        offer,
    })
}

fn tags_and_memory(words: &mut Words<'_>) -> Result<(Vec<String>, u64)> {
    let mut tags = Vec::new();
    while words.has("tag") {
        tags.push(words.need("a tag")?.to_owned());
    }
    let memory_mib = match words.has("memory") {
        true => words.number("")?,
        false => 0,
    };
    Ok((tags, memory_mib))
}
