//! Tells what happens to whoever listens: lines, or a chronicle.

use std::fmt::Write;

use precentor_core::message::Message;

use super::Stage;
use crate::chronicle::{Lane, Lasting, Sort};
use crate::network::{Arrivals, Place};

impl Stage {
    pub(super) fn tell_fault(&mut self, lane: Lane, text: impl FnOnce() -> String) {
        self.trace.tell(self.now_us, lane, Sort::Fault, text);
    }

    pub(super) fn tell_deed(&mut self, lane: Lane, text: impl FnOnce() -> String) {
        self.trace.tell(self.now_us, lane, Sort::Deed, text);
    }

    /// From now on, and until then if that is known.
    pub(super) fn chronicle_lasting(&mut self, lane: Lane, what: Lasting, until_us: Option<u64>) {
        if let Some(chronicle) = self.trace.chronicle() {
            chronicle.lasts(lane, what, self.now_us, until_us, String::new());
        }
    }

    pub(super) fn chronicle_up(&mut self, place: Place) {
        if let Some(chronicle) = self.trace.chronicle() {
            chronicle.is_over(Lane::Node(place), Lasting::Down, "", self.now_us);
        }
    }

    pub(super) fn chronicle_walls(&mut self, cuts: &[(Place, Place)], are_up: bool) {
        let Some(chronicle) = self.trace.chronicle() else {
            return;
        };
        let (world, text) = (Lane::World, words_of_cuts(cuts));
        match are_up {
            true => chronicle.lasts(world, Lasting::Wall, self.now_us, None, text),
            false => chronicle.is_over(world, Lasting::Wall, &text, self.now_us),
        }
    }

    /// Notes when a message arrives, and when it does again.
    pub(super) fn chronicle_message(
        &mut self,
        from: Place,
        to: Place,
        arrivals: &Arrivals,
        message: &Message,
    ) {
        let Some(chronicle) = self.trace.chronicle() else {
            return;
        };
        let way = (Lane::Node(from), Lane::Node(to));
        chronicle.sent(way, self.now_us, arrivals.first_us, &message.body);
        if arrivals.second_us.is_some() {
            chronicle.sent(way, self.now_us, arrivals.second_us, &message.body);
        }
    }
}

/// What a panic said.
pub(super) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()))
        .unwrap_or_else(|| "no text".into())
}

/// Which links lose everything: `n1-n2` in both directions, `n1>n3` in one.
pub(super) fn words_of_cuts(cuts: &[(Place, Place)]) -> String {
    let mut words = String::new();
    for &(from, to) in cuts {
        let both = cuts.contains(&(to, from));
        if both && from > to {
            continue;
        }
        let sign = if both { '-' } else { '>' };
        let space = if words.is_empty() { "" } else { " " };
        let written = write!(words, "{space}n{}{sign}n{}", from + 1, to + 1);
        written.expect("a string takes everything");
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_are_told_once_for_both_directions() {
        let cuts = [(0, 1), (1, 0), (2, 0)];
        assert_eq!(words_of_cuts(&cuts), "n1-n2 n3>n1");
        assert_eq!(words_of_cuts(&[]), "");
    }
}
