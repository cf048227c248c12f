use proptest::prelude::*;

use super::*;

fn parsed(text: &str) -> String {
    Address::parse(text).expect("a good address").to_string()
}

fn problem(text: &str) -> (AddressProblem, u64) {
    let error = Address::parse(text).expect_err("a bad address");
    (error.problem, error.at)
}

#[test]
fn every_way_to_write_a_place_has_one_canonical_form() {
    for (written, canonical) in [
        ("ucxl://p", "ucxl://p/"),
        ("ucxl://p/", "ucxl://p/"),
        ("UCXL://p/", "ucxl://p/"),
        ("ucxl://p/src/", "ucxl://p/src"),
        ("ucxl://p/src/main.rs", "ucxl://p/src/main.rs"),
        ("ucxl://p/%73rc", "ucxl://p/src"),
        ("ucxl://p/a%0ab", "ucxl://p/a%0Ab"),
        ("ucxl://p/[slug].tsx", "ucxl://p/[slug].tsx"),
        ("ucxl://p/é", "ucxl://p/%C3%A9"),
        ("ucxl://p/a%20b", "ucxl://p/a%20b"),
        ("ucxl://p/...", "ucxl://p/..."),
        ("ucxl://P/A", "ucxl://P/A"),
    ] {
        assert_eq!(parsed(written), canonical, "written as {written}");
    }
}

#[test]
fn a_bad_address_is_refused_at_its_bad_character() {
    use AddressProblem::*;
    for (text, expected, at) in [
        ("", NoScheme, 0),
        ("ucxl:/p", NoScheme, 6),
        ("http://p", NoScheme, 0),
        ("ucxl://", NoProject, 7),
        ("ucxl:///src", NoProject, 7),
        ("ucxl://p/a//b", EmptyName, 11),
        ("ucxl://p//", EmptyName, 9),
        ("ucxl://p/a/../b", DotName, 11),
        ("ucxl://p/%2e%2E/b", DotName, 9),
        ("ucxl://../b", DotName, 7),
        ("ucxl://p/a%2", BadEscape, 10),
        ("ucxl://p/a%zz", BadEscape, 10),
        ("ucxl://p/a%é", BadEscape, 10),
        ("ucxl://p/a%2Fb", EscapeOfNoName, 10),
        ("ucxl://p/%00", EscapeOfNoName, 9),
        ("ucxl://p/a b", MustBeEncoded { byte: b' ' }, 10),
        ("ucxl://p/a\nb", MustBeEncoded { byte: b'\n' }, 10),
        ("ucxl://p/a?b", MustBeEncoded { byte: b'?' }, 10),
        ("ucxl://p/a\\b", MustBeEncoded { byte: b'\\' }, 10),
    ] {
        assert_eq!(problem(text), (expected, at), "{text:?}");
    }
}

#[test]
fn the_error_prints_a_caret_under_the_character() {
    let error = Address::parse("ucxl://p/é b").expect_err("a space");
    let expected = "this character must be written %20 (at byte 11)\n  ucxl://p/é b\n            ^";
    assert_eq!(error.to_string(), expected);
    let long = format!("ucxl://p/{}?", "x".repeat(300));
    let shown = Address::parse(&long)
        .expect_err("a question mark")
        .to_string();
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines[1].find('?'), lines[2].find('^'), "{shown}");
    assert!(lines[1].len() < 100, "{shown}");
}

#[test]
fn limits_hold_at_their_edge() {
    let deep = |count: u64| format!("ucxl://p{}", "/a".repeat(count as usize));
    assert_eq!(
        Address::parse(&deep(PATH_SEGMENTS_MAX))
            .expect("at the limit")
            .depth(),
        PATH_SEGMENTS_MAX
    );
    assert_eq!(
        problem(&deep(PATH_SEGMENTS_MAX + 1)).0,
        AddressProblem::TooDeep
    );
    let full = Address::parse(&deep(PATH_SEGMENTS_MAX)).expect("at the limit");
    assert_eq!(
        full.child(b"a").expect_err("too deep").problem,
        AddressProblem::TooDeep
    );

    let project = "p".repeat(PROJECT_BYTES_MAX as usize);
    assert!(Address::parse(&format!("ucxl://{project}/")).is_ok());
    assert!(Address::of_project(project.as_bytes()).is_ok());
    let found = PROJECT_BYTES_MAX + 1;
    assert_eq!(
        problem(&format!("ucxl://{project}p/")).0,
        AddressProblem::ProjectTooLong { found }
    );
    let error = Address::of_project(format!("{project}p").as_bytes()).expect_err("too long");
    assert_eq!(error.problem, AddressProblem::ProjectTooLong { found });

    let long = format!("ucxl://p/{}", "a".repeat(ADDRESS_BYTES_MAX as usize - 9));
    assert!(Address::parse(&long).is_ok());
    assert_eq!(
        problem(&format!("{long}a")).0,
        AddressProblem::TooLong {
            found: ADDRESS_BYTES_MAX + 1
        }
    );
}

#[test]
fn parents_lead_to_the_project_and_end_there() {
    let file = Address::parse("ucxl://p/src/main.rs").expect("good");
    let folder = file.parent().expect("a folder");
    let project = folder.parent().expect("the project");
    assert_eq!(
        (folder.as_str(), project.as_str()),
        ("ucxl://p/src", "ucxl://p/")
    );
    assert_eq!(project.parent(), None);
    assert!(project.is_project());
    assert_eq!(project.name(), b"p");
    assert_eq!(file.name(), b"main.rs");
}

#[test]
fn containment_goes_by_whole_names() {
    let place = |text: &str| Address::parse(text).expect("good");
    assert!(place("ucxl://p/").contains(&place("ucxl://p/src")));
    assert!(place("ucxl://p/src").contains(&place("ucxl://p/src/a")));
    assert!(place("ucxl://p/src").contains(&place("ucxl://p/src")));
    assert!(!place("ucxl://p/src").contains(&place("ucxl://p/src2")));
    assert!(!place("ucxl://p/").contains(&place("ucxl://p2/")));
}

#[test]
fn machine_bytes_must_be_canonical_and_people_may_be_free() {
    let people: Address = serde_json_like("ucxl://p/src/");
    assert_eq!(people.as_str(), "ucxl://p/src");
    let loose = postcard::to_allocvec("ucxl://p/src/").expect("encodes");
    assert!(postcard::from_bytes::<Address>(&loose).is_err());
    let canonical = postcard::to_allocvec(&people).expect("encodes");
    assert_eq!(postcard::from_bytes::<Address>(&canonical), Ok(people));
}

/// A human-readable deserializer without a format library: serde's own for text.
fn serde_json_like(text: &str) -> Address {
    use serde::de::IntoDeserializer;
    use serde::de::value::{Error, StrDeserializer};
    let deserializer: StrDeserializer<'_, Error> = text.into_deserializer();
    Address::deserialize(deserializer).expect("good")
}

fn names() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let byte = any::<u8>().prop_filter("no name has it", |byte| *byte != 0 && *byte != b'/');
    let name = prop::collection::vec(byte, 1..12)
        .prop_filter("dots", |name| name != b"." && name != b"..");
    prop::collection::vec(name, 1..8)
}

proptest! {
    #[test]
    fn any_path_on_disk_has_an_address_that_leads_back(names in names()) {
        let mut address = Address::of_project(&names[0]).expect("a project");
        for name in &names[1..] {
            address = address.child(name).expect("a child");
            prop_assert_eq!(&address.name(), name);
        }
        prop_assert_eq!(address.segments().collect::<Vec<_>>(), &names[1..]);
        prop_assert_eq!(address.path_bytes(), names[1..].join(&b'/'));
        prop_assert!(address.as_str().bytes().all(|byte| byte.is_ascii_graphic()));
        prop_assert_eq!(Address::parse(address.as_str()), Ok(address));
    }

    #[test]
    fn normalising_twice_is_normalising_once(text in "(ucxl://)?[a-z%/.é2 ]{0,20}") {
        if let Ok(address) = Address::parse(&text) {
            prop_assert_eq!(Address::parse(address.as_str()), Ok(address));
        }
    }

    #[test]
    fn no_text_panics_and_every_error_points_into_it(text in any::<String>(), tail in any::<String>()) {
        for text in [text, format!("ucxl://{tail}")] {
            if let Err(error) = Address::parse(&text) {
                prop_assert!(error.at <= text.len() as u64);
                prop_assert!(error.to_string().ends_with('^'));
            }
        }
    }
}
