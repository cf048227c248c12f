//! What nodes of one or of several programs say to each other in bytes: which
//! program runs where, what the ends of each connection agreed on, and frames
//! that are sealed at one end and opened at the other. Knows no core and no time.

use precentor_core::feature::FeatureLevel;
use precentor_core::ids::{ClusterId, Incarnation, NodeId};
use precentor_core::message::Message;
use precentor_core::wire::frame::{FrameDecoder, Seal, encode_frame, encode_sealed};
use precentor_core::wire::hello::{Agreement, Hello, HelloError, WireRange, WireVersion};
use precentor_core::wire::message::{decode, encode};

use crate::network::Place;

/// The cluster of every run.
pub const CLUSTER: ClusterId = ClusterId([7; 16]);

/// What a node's program can do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Program {
    /// The wire versions that it speaks.
    pub versions: WireRange,
    /// Its feature level.
    pub supports: FeatureLevel,
}

impl Program {
    /// The one before this one.
    pub const OLD: Program = Program {
        versions: WireRange {
            min: WireVersion::FIRST,
            max: WireVersion::FIRST,
        },
        supports: FeatureLevel::FOUNDING,
    };
    /// This one.
    pub const NEW: Program = Program {
        versions: WireRange::OURS,
        supports: FeatureLevel::LATEST,
    };
}

/// A message on its way, in bytes.
#[derive(Clone, Debug)]
pub struct Letter {
    /// How it is written.
    pub version: WireVersion,
    /// The frame.
    pub bytes: Vec<u8>,
    /// How many frames went before it that way.
    pub nth: u64,
    /// What was meant.
    pub message: Message,
}

/// Why a frame was turned away: nobody has heard of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Refused {
    /// It was damaged, or is of another connection.
    Frame,
    /// It ended too early.
    Cut,
    /// It says nothing that can be understood.
    Message,
}

/// All programs and connections.
#[derive(Clone, Debug)]
pub struct Wires {
    count: usize,
    programs: Vec<Program>,
    /// By direction: what the end `from` has agreed on with `to`.
    agreements: Vec<Option<Agreement>>,
    /// Frames sent so far, by direction.
    sent: Vec<u64>,
    /// The last frame of an earlier connection, by direction.
    kept: Vec<Option<Letter>>,
    hellos: u64,
    /// Planted: each end speaks the highest version that it knows.
    ignores_agreements: bool,
}

impl Wires {
    /// Wires between `count` nodes of one program.
    #[must_use]
    pub fn new(count: usize, program: Program, ignores_agreements: bool) -> Wires {
        Wires {
            count,
            programs: vec![program; count],
            agreements: vec![None; count * count],
            sent: vec![0; count * count],
            kept: vec![None; count * count],
            hellos: 0,
            ignores_agreements,
        }
    }

    /// Which program runs at a place, or would if it ran.
    #[must_use]
    pub fn program(&self, place: Place) -> Program {
        self.programs[place]
    }

    /// The operator puts another program in place: it runs from the next start on.
    pub fn install(&mut self, place: Place, program: Program) {
        self.programs[place] = program;
    }

    fn way(&self, from: Place, to: Place) -> usize {
        from * self.count + to
    }

    /// What `from` has agreed on with `to` at their last greeting.
    #[must_use]
    pub fn agreement(&self, from: Place, to: Place) -> Option<&Agreement> {
        self.agreements[self.way(from, to)].as_ref()
    }

    /// Two nodes greet each other, each saying which level is in force. What they
    /// say goes through its bytes.
    ///
    /// # Errors
    /// Why one of them hangs up.
    pub fn greet(
        &mut self,
        (a, level_a): (Place, FeatureLevel),
        (b, level_b): (Place, FeatureLevel),
    ) -> Result<(), HelloError> {
        let mut hello = |place: Place, to: Place, requires| {
            self.hellos += 1;
            let program = self.programs[place];
            let said = Hello {
                versions: program.versions,
                cluster: CLUSTER,
                from: node(place),
                incarnation: Incarnation::UNTOLD,
                to: node(to),
                supports: program.supports,
                requires,
                nonce: self.hellos,
            };
            Hello::decode(&said.encode())
        };
        let (from_a, from_b) = (hello(a, b, level_a)?, hello(b, a, level_b)?);
        let here = from_a.agree(&from_b, |peer| peer == node(b))?;
        let there = from_b.agree(&from_a, |peer| peer == node(a))?;
        for (from, to, agreement) in [(a, b, here), (b, a, there)] {
            let way = self.way(from, to);
            self.agreements[way] = Some(agreement);
            self.sent[way] = 0;
        }
        Ok(())
    }

    /// A message becomes a letter; none if the two have never met.
    pub fn write(&mut self, from: Place, to: Place, message: Message) -> Option<Letter> {
        let way = self.way(from, to);
        let agreement = self.agreements[way]?;
        let version = match self.ignores_agreements {
            true => self.programs[from].versions.max,
            false => agreement.version,
        };
        let body = encode(&message, version);
        let (mut bytes, nth) = (Vec::new(), self.sent[way]);
        let framed = match version >= WireVersion::SECOND {
            true => encode_sealed(&body, &mut Seal::at(agreement.outgoing, nth), &mut bytes),
            false => encode_frame(&body, &mut bytes),
        };
        framed.expect("the core's messages fit a frame");
        self.sent[way] += 1;
        Some(Letter {
            version,
            bytes,
            nth,
            message,
        })
    }

    /// Keeps a frame, to come again when its connection is long gone.
    pub fn keep(&mut self, from: Place, to: Place, letter: &Letter) {
        let way = self.way(from, to);
        self.kept[way] = Some(letter.clone());
    }

    /// A frame that was kept of an earlier connection.
    pub fn take_kept(&mut self, from: Place, to: Place) -> Option<Letter> {
        let way = self.way(from, to);
        self.kept[way].take()
    }

    /// Are frames sealed this way?
    #[must_use]
    pub fn is_sealed(&self, from: Place, to: Place) -> bool {
        self.agreement(from, to)
            .is_some_and(|agreement| agreement.version >= WireVersion::SECOND)
    }

    /// What `to` reads in a letter that came over its connection to `from`.
    ///
    /// # Errors
    /// If it turns it away.
    pub fn open(&self, from: Place, to: Place, letter: &Letter) -> Result<Message, Refused> {
        let agreement = self.agreement(to, from).ok_or(Refused::Frame)?;
        let mut decoder = FrameDecoder::new();
        if agreement.version >= WireVersion::SECOND {
            decoder.expect_seal(Seal::at(agreement.incoming, letter.nth));
        }
        decoder.push(&letter.bytes);
        let body = decoder.next_frame().map_err(|_| Refused::Frame)?;
        let body = body.ok_or(Refused::Cut)?;
        decode(body, agreement.version).map_err(|_| Refused::Message)
    }
}

fn node(place: Place) -> NodeId {
    NodeId(place as u64 + 1)
}

#[cfg(test)]
mod tests {
    use precentor_core::ids::Term;
    use precentor_core::message::Body;

    use super::*;

    const LEVEL: FeatureLevel = FeatureLevel::FOUNDING;

    fn message() -> Message {
        Message {
            term: Term(3),
            incarnation: Incarnation(0),
            body: Body::TimeoutNow,
        }
    }

    fn met(programs: [Program; 3]) -> Wires {
        let mut wires = Wires::new(3, Program::NEW, false);
        for (place, program) in programs.into_iter().enumerate() {
            wires.install(place, program);
        }
        for (a, b) in [(0, 1), (1, 2), (0, 2)] {
            wires.greet((a, LEVEL), (b, LEVEL)).unwrap();
        }
        wires
    }

    #[test]
    fn old_and_new_programs_read_each_other() {
        let mut wires = met([Program::OLD, Program::NEW, Program::NEW]);
        for (from, to, version) in [(0, 1, 1), (1, 0, 1), (1, 2, 2), (2, 1, 2)] {
            let letter = wires.write(from, to, message()).unwrap();
            assert_eq!(letter.version, WireVersion(version));
            assert_eq!(wires.open(from, to, &letter), Ok(message()));
        }
    }

    #[test]
    fn a_letter_opens_on_its_own_connection_only() {
        let mut wires = met([Program::NEW; 3]);
        let letter = wires.write(0, 1, message()).unwrap();
        assert_eq!(wires.open(0, 2, &letter), Err(Refused::Frame));
        assert_eq!(wires.open(1, 0, &letter), Err(Refused::Frame));
        wires.greet((0, LEVEL), (1, LEVEL)).unwrap();
        assert_eq!(wires.open(0, 1, &letter), Err(Refused::Frame));
    }

    #[test]
    fn an_old_program_is_refused_once_the_level_is_beyond_it() {
        let mut wires = met([Program::NEW; 3]);
        wires.install(0, Program::OLD);
        let refused = wires.greet((0, LEVEL), (1, FeatureLevel::LATEST));
        assert!(matches!(refused, Err(HelloError::OurLevel { .. })));
    }
}
