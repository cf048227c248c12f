use super::*;

fn sample() -> IdentityFile {
    let log = LogIdentity {
        cluster: ClusterId([7; 16]),
        node: NodeId(2),
        incarnation: 99,
    };
    IdentityFile {
        log,
        name: "linux".to_owned(),
    }
}

#[test]
fn an_identity_reads_back() {
    assert_eq!(IdentityFile::decode(&sample().encode()), Ok(sample()));
}

#[test]
fn a_name_that_is_too_long_is_cut_at_a_character() {
    let long = IdentityFile {
        name: "ü".repeat(200),
        ..sample()
    };
    let name = IdentityFile::decode(&long.encode()).unwrap().name;
    assert_eq!(name, "ü".repeat(64));
}

#[test]
fn another_version_is_named_and_not_called_damage() {
    let mut bytes = sample().encode();
    bytes[4] = 9;
    let end = bytes.len() - 4;
    let crc = crc32c::crc32c(&bytes[..end]).to_le_bytes();
    bytes[end..].copy_from_slice(&crc);
    assert_eq!(
        IdentityFile::decode(&bytes),
        Err(IdentityError::OtherVersion { found: 9 })
    );
}

#[test]
fn no_flipped_bit_and_no_cut_passes() {
    let bytes = sample().encode();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(
            IdentityFile::decode(&flipped).is_err(),
            "bit {bit} was not noticed"
        );
    }
    for len in 0..bytes.len() {
        assert!(
            IdentityFile::decode(&bytes[..len]).is_err(),
            "{len} bytes passed for an identity"
        );
    }
}
