//! Runs a grammar over a source within bounds of steps and of stack. Knows
//! nothing of what the tree is for.

use std::cell::RefCell;
use std::ops::ControlFlow;

use tree_sitter::{ParseOptions, ParseState, Parser, Tree};

use super::tree::Compiled;

thread_local! {
    static PARSER: RefCell<Parser> = RefCell::new(Parser::new());
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

const _: () = assert!(
    INLINE_BYTES_MAX * STACK_BYTES_PER_BYTE <= 1024 * 1024,
    "an ordinary thread has two megabytes, and its callers need some of them"
);

/// Parses `source`; gives up after a number of steps that depends only on its
/// size, so that the same bytes end the same way on every machine.
pub(super) fn parse(compiled: &Compiled, source: &[u8]) -> Result<Tree, ParseFailure> {
    PARSER.with_borrow_mut(|parser| {
        if source.len() <= INLINE_BYTES_MAX {
            return parse_here(parser, compiled, source);
        }
        // Only what is touched of such a stack takes memory.
        let stack_bytes = STACK_BYTES_MIN + source.len() * STACK_BYTES_PER_BYTE;
        std::thread::scope(|scope| {
            std::thread::Builder::new()
                .name("parse".to_owned())
                .stack_size(stack_bytes)
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
