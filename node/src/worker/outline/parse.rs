//! Runs a grammar over a source within bounds of steps and of stack. Knows
//! nothing of what the tree is for.

use std::cell::{Cell, RefCell};
use std::io;
use std::ops::ControlFlow;
use std::thread::{self, JoinHandle};

use tree_sitter::{ParseOptions, ParseState, Parser, Tree};

use super::tree::Compiled;

thread_local! {
    static PARSER: RefCell<Parser> = RefCell::new(Parser::new());
    /// The largest source, in bytes, for which this thread's stack is enough.
    static STACK_FITS: Cell<usize> = const { Cell::new(INLINE_BYTES_MAX) };
}

/// Why there is no outline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ParseFailure {
    /// The text costs far more steps than any real program of its size.
    TooHard,
    /// The grammar cannot be loaded.
    NoGrammar,
    /// The system gives no thread with enough stack.
    NoThread,
}

/// Sources up to this size are parsed on the caller's own stack, in bytes.
const INLINE_BYTES_MAX: usize = 4 * 1024;
/// The stack that a parse may need for every byte of its source: the runtime of
/// the grammars releases its own stack by recursion, one frame of about 100
/// bytes for every token that is open, and a source of `{[<{[<…` has one open
/// at every byte. A thread that overflows its stack ends the whole process.
const STACK_BYTES_PER_BYTE: usize = 192;
/// The stack that a parse needs besides.
const STACK_BYTES_MIN: usize = 512 * 1024;

/// What a thread's other work may need of its stack.
const ORDINARY_STACK_BYTES: usize = 2 * 1024 * 1024;
/// Sources up to this size are parsed on the stack of a thread that was made
/// for it, in bytes: nearly all there are.
const ROOMY_BYTES_MAX: usize = 512 * 1024;

const _: () = assert!(
    INLINE_BYTES_MAX * STACK_BYTES_PER_BYTE <= 1024 * 1024,
    "an ordinary thread has two megabytes, and its callers need some of them"
);

/// Starts a thread that parses all but the largest sources on its own stack:
/// cheaper than a thread for each, and what a parse allocates stays with it.
/// Only what is touched of such a stack takes memory.
///
/// # Errors
/// If the system gives no thread with so much stack.
pub fn spawn_parsing_thread<T: Send + 'static>(
    name: String,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    thread::Builder::new()
        .name(name)
        .stack_size(ORDINARY_STACK_BYTES + stack_bytes(ROOMY_BYTES_MAX))
        .spawn(|| {
            STACK_FITS.set(ROOMY_BYTES_MAX);
            work()
        })
}

fn stack_bytes(source_bytes: usize) -> usize {
    STACK_BYTES_MIN + source_bytes * STACK_BYTES_PER_BYTE
}

/// Parses `source`; gives up after a number of steps that depends only on its
/// size, so that the same bytes end the same way on every machine.
pub(super) fn parse(compiled: &Compiled, source: &[u8]) -> Result<Tree, ParseFailure> {
    PARSER.with_borrow_mut(|parser| {
        if source.len() <= STACK_FITS.get() {
            return parse_here(parser, compiled, source);
        }
        thread::scope(|scope| {
            thread::Builder::new()
                .name("parse".to_owned())
                .stack_size(stack_bytes(source.len()))
                .spawn_scoped(scope, || parse_here(parser, compiled, source))
                .map_err(|_| ParseFailure::NoThread)?
                .join()
                .map_err(|_| ParseFailure::NoThread)?
        })
    })
}

fn parse_here(
    parser: &mut Parser,
    compiled: &Compiled,
    source: &[u8],
) -> Result<Tree, ParseFailure> {
    // The parser asks after every hundred steps. A real program needs less than one step
    // per byte; a text that needs ten is an accident or an attack.
    let mut left = 2_000 + source.len() / 10;
    let mut progress = |_: &ParseState| match left.checked_sub(1) {
        Some(less) => {
            left = less;
            ControlFlow::Continue(())
        }
        None => ControlFlow::Break(()),
    };
    let options = ParseOptions::new().progress_callback(&mut progress);
    parser
        .set_language(compiled.grammar())
        .map_err(|_| ParseFailure::NoGrammar)?;
    let mut read = |at: usize, _| source.get(at..).unwrap_or_default();
    let tree = parser.parse_with_options(&mut read, None, Some(options));
    // Also frees the parser's stack here, where there is room for it; and an interrupted
    // parse would otherwise be resumed with the next text.
    parser.reset();
    tree.ok_or(ParseFailure::TooHard)
}
