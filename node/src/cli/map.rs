//! `precentor map PATH`.

use precentor_core::address::Address;
use precentor_core::context::ContextKind;

use super::{CommandError, Exit, canonical, data_of_folder, print};
use crate::map::{self, MapBuilder};
use crate::options::Map;
use crate::reader::Reader;

pub(super) fn run(verb: &Map) -> Result<Exit, CommandError> {
    let path = canonical(&verb.path)?;
    let data = data_of_folder(verb.data.as_deref(), &path)?;
    let reader = Reader::open(&data, &path.display().to_string())?;
    let focus = focus(&reader, &path)?;
    let mut builder = MapBuilder::default();
    for view in reader.queue().contexts(None) {
        let record = reader.record(&view)?;
        if record.kind == ContextKind::File {
            builder.add(&record);
        }
    }
    let entries = map::within(builder.rank(&focus), verb.max_tokens);
    if entries.is_empty() {
        let message = format!(
            "no symbols are known of {focus}; run: precentor generate {}",
            reader.identity().source
        );
        return Err(CommandError::new(Exit::NotFound, message));
    }
    print(map::render(&entries).trim_end());
    Ok(Exit::Done)
}

/// The address of the folder: what is in it comes first.
fn focus(reader: &Reader, path: &std::path::Path) -> Result<Address, CommandError> {
    use std::os::unix::ffi::OsStrExt;
    let usage = |error| CommandError::new(Exit::Usage, error);
    let mut address = Address::of_project(reader.identity().project.as_bytes()).map_err(usage)?;
    let inside = reader
        .identity()
        .source_path()
        .and_then(|source| path.strip_prefix(source).ok().map(ToOwned::to_owned));
    // A path outside of the tree (with --data) asks for the whole project.
    for name in inside.iter().flat_map(|inside| inside.iter()) {
        address = address.child(name.as_bytes()).map_err(usage)?;
    }
    Ok(address)
}
