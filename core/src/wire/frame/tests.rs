use proptest::prelude::*;

use super::*;

fn frames(bodies: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    for body in bodies {
        encode_frame(body, &mut out).unwrap();
    }
    out
}

#[test]
fn frames_arrive_whole_whatever_the_pieces() {
    let stream = frames(&[b"one", b"two two", &[7; 3_000]]);
    for piece in [1, 2, 7, 8, 9, 1_000, stream.len()] {
        let mut decoder = FrameDecoder::new();
        let mut bodies = Vec::new();
        for bytes in stream.chunks(piece) {
            decoder.push(bytes);
            while let Some(body) = decoder.next_frame().unwrap() {
                bodies.push(body.to_vec());
            }
        }
        assert_eq!(
            bodies,
            [b"one".to_vec(), b"two two".to_vec(), vec![7; 3_000]]
        );
        assert_eq!(decoder.pending_bytes(), 0);
    }
}

#[test]
fn an_announced_length_over_the_limit_is_refused_before_anything_is_held_for_it() {
    let mut decoder = FrameDecoder::new();
    decoder.push(&u32::MAX.to_le_bytes());
    let error = FrameError::TooLarge {
        found: u64::from(u32::MAX),
    };
    assert_eq!(decoder.next_frame(), Err(error));
    decoder.push(&[0; 100]);
    assert_eq!(
        decoder.next_frame(),
        Err(error),
        "a broken stream stays broken"
    );
    assert_eq!(decoder.pending_bytes(), 0);
}

#[test]
fn a_body_over_the_limit_or_empty_is_not_sent() {
    let mut out = Vec::new();
    let found = FRAME_BYTES_MAX + 1;
    assert_eq!(
        encode_frame(&vec![0; found as usize], &mut out),
        Err(FrameError::TooLarge { found })
    );
    assert_eq!(encode_frame(&[], &mut out), Err(FrameError::Empty));
    assert!(out.is_empty(), "a refused frame left {} bytes", out.len());
}

#[test]
fn a_stream_of_zeros_is_no_stream_of_frames() {
    let mut decoder = FrameDecoder::new();
    decoder.push(&[0; 64]);
    assert_eq!(decoder.next_frame(), Err(FrameError::Empty));
}

#[test]
fn no_flipped_bit_passes() {
    let stream = frames(&[b"a body"]);
    for bit in 0..stream.len() * 8 {
        let mut flipped = stream.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let mut decoder = FrameDecoder::new();
        decoder.push(&flipped);
        // A longer length waits for more; anything else is an error at once.
        let outcome = decoder.next_frame().map(|body| body.map(<[u8]>::to_vec));
        assert!(!matches!(outcome, Ok(Some(_))), "bit {bit} was not noticed");
    }
}

proptest! {
    #[test]
    fn what_is_sent_is_what_arrives(bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..200), 0..8)) {
        let refs: Vec<&[u8]> = bodies.iter().map(Vec::as_slice).collect();
        let mut decoder = FrameDecoder::new();
        decoder.push(&frames(&refs));
        for body in &bodies {
            let arrived = decoder.next_frame().unwrap().map(<[u8]>::to_vec);
            prop_assert_eq!(arrived.as_ref(), Some(body));
        }
        prop_assert_eq!(decoder.next_frame(), Ok(None));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let mut decoder = FrameDecoder::new();
        decoder.push(&bytes);
        while let Ok(Some(body)) = decoder.next_frame() {
            prop_assert!(!body.is_empty());
        }
        prop_assert!(decoder.pending_bytes() <= bytes.len() as u64);
    }
}

fn key(nonce: u64) -> SealKey {
    use crate::feature::FeatureLevel;
    use crate::ids::{ClusterId, Incarnation, NodeId};
    use crate::wire::hello::WireRange;
    let hello = |from, to| Hello {
        versions: WireRange::OURS,
        cluster: ClusterId([1; 16]),
        from: NodeId(from),
        incarnation: Incarnation(0),
        to: NodeId(to),
        supports: FeatureLevel::LATEST,
        requires: FeatureLevel::FOUNDING,
        nonce,
    };
    SealKey::of(&hello(1, 2), &hello(2, 1))
}

fn sealed(key: SealKey, bodies: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut seal = Seal::new(key);
    bodies
        .iter()
        .map(|body| {
            let mut frame = Vec::new();
            encode_sealed(body, &mut seal, &mut frame).unwrap();
            frame
        })
        .collect()
}

fn opened(key: SealKey, frames: &[&[u8]]) -> Result<u64, FrameError> {
    let mut decoder = FrameDecoder::new();
    decoder.expect_seal(Seal::new(key));
    let mut count = 0;
    for frame in frames {
        decoder.push(frame);
        while decoder.next_frame()?.is_some() {
            count += 1;
        }
    }
    Ok(count)
}

#[test]
fn sealed_frames_open_in_their_order_and_in_no_other() {
    let frames = sealed(key(1), &[b"one", b"two", b"two"]);
    let [one, two, three] = [0, 1, 2].map(|nth| &frames[nth][..]);
    assert_eq!(opened(key(1), &[one, two, three]), Ok(3));
    assert_eq!(
        opened(key(1), &[one, two, one]),
        Err(FrameError::Replayed {
            frame: 0,
            expected: 2
        })
    );
    // One that overtook, though its body is that of the one before.
    for frames in [[one, three], [two, three]] {
        assert!(matches!(
            opened(key(1), &frames),
            Err(FrameError::Checksum { .. })
        ));
    }
}

#[test]
fn a_frame_of_another_connection_or_without_a_seal_does_not_open() {
    let other = sealed(key(2), &[b"one"]);
    let bare = frames(&[b"one"]);
    for frame in [&other[0], &bare] {
        assert!(matches!(
            opened(key(1), &[frame]),
            Err(FrameError::Checksum { .. })
        ));
    }
    assert_eq!(opened(key(2), &[&other[0]]), Ok(1));
}
