//! A chronicle as one page that needs nothing else: lanes over time, to be looked at in a
//! browser. What the page does with it is in `timeline/page.html`.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::chronicle::{Band, Chronicle, Lane, Lasting, Sort, State};

/// The page, with a place for what it shows.
const PAGE: &str = include_str!("timeline/page.html");
const PLACE: &str = "/*DATA*/";

/// What the page is called.
#[derive(Clone, Debug)]
pub struct Title<'a> {
    /// For people.
    pub title: &'a str,
    /// What makes the page again.
    pub command: &'a str,
}

/// What the page shows. Each text is in it once; what there is much of is in columns.
#[derive(Serialize)]
struct Shown<'c> {
    title: &'c str,
    command: &'c str,
    nodes: usize,
    end_us: u64,
    lanes: Vec<String>,
    texts: Vec<&'c str>,
    entries: Entries,
    arrows: Arrows<'c>,
    bands: Vec<BandShown<'c>>,
    states: &'c [State],
    failure: Option<Failure<'c>>,
}

#[derive(Serialize, Default)]
struct Entries {
    at: Vec<u64>,
    lane: Vec<usize>,
    sort: Vec<u8>,
    text: Vec<usize>,
}

#[derive(Serialize, Default)]
struct Arrows<'c> {
    from: Vec<usize>,
    to: Vec<usize>,
    sent: Vec<u64>,
    /// -1 if it was lost.
    arrives: Vec<i64>,
    word: Vec<usize>,
    words: Vec<&'c str>,
}

#[derive(Serialize)]
struct BandShown<'c> {
    lane: usize,
    what: Lasting,
    from_us: u64,
    until_us: Option<u64>,
    text: &'c str,
}

#[derive(Serialize)]
struct Failure<'c> {
    at_us: u64,
    text: &'c str,
}

/// Numbers texts in the order in which they come.
#[derive(Default)]
struct Texts<'c> {
    numbers: BTreeMap<&'c str, usize>,
    texts: Vec<&'c str>,
}

impl<'c> Texts<'c> {
    fn number(&mut self, text: &'c str) -> usize {
        let texts = &mut self.texts;
        *self.numbers.entry(text).or_insert_with(|| {
            texts.push(text);
            texts.len() - 1
        })
    }
}

/// The page.
#[must_use]
pub fn page(chronicle: &Chronicle, title: &Title<'_>) -> String {
    let lanes = lanes_of(chronicle);
    let number = |lane: &Lane| {
        let found = lanes.binary_search(lane);
        found.expect("all of them were gathered")
    };
    let mut texts = Texts::default();
    let mut entries = Entries::default();
    for entry in &chronicle.entries {
        entries.at.push(entry.at_us);
        entries.lane.push(number(&entry.lane));
        entries.sort.push(number_of(entry.sort));
        entries.text.push(texts.number(&entry.text));
    }
    let mut words = Texts::default();
    let mut arrows = Arrows::default();
    for arrow in &chronicle.arrows {
        arrows.from.push(number(&arrow.from));
        arrows.to.push(number(&arrow.to));
        arrows.sent.push(arrow.sent_us);
        let arrives = arrow.arrives_us.and_then(|at_us| i64::try_from(at_us).ok());
        arrows.arrives.push(arrives.unwrap_or(-1));
        arrows.word.push(words.number(&arrow.word));
    }
    arrows.words = words.texts;
    let shown = |band: &'_ Band| (number(&band.lane), band.what, band.from_us, band.until_us);
    let bands = chronicle.bands.iter().map(|band| {
        let (lane, what, from_us, until_us) = shown(band);
        BandShown {
            lane,
            what,
            from_us,
            until_us,
            text: &band.text,
        }
    });
    let nodes = lanes.iter().filter(|lane| matches!(lane, Lane::Node(_)));
    let failures = chronicle.entries.iter().rev();
    let mut failures = failures.filter(|entry| entry.sort == Sort::Failure);
    let shown = Shown {
        title: title.title,
        command: title.command,
        nodes: nodes.count(),
        end_us: chronicle.entries.last().map_or(0, |last| last.at_us),
        lanes: lanes.iter().map(Lane::to_string).collect(),
        bands: bands.collect(),
        states: &chronicle.states,
        failure: failures.next().map(|entry| Failure {
            at_us: entry.at_us,
            text: &entry.text,
        }),
        texts: texts.texts,
        entries,
        arrows,
    };
    let json = serde_json::to_string(&shown).expect("plain data");
    // Nothing in it ends the element that it is in.
    PAGE.replacen(PLACE, &json.replace("</", "<\\/"), 1)
}

/// All that anything is of, in order: the world, the operator, nodes, clients, workers.
fn lanes_of(chronicle: &Chronicle) -> Vec<Lane> {
    let entries = chronicle.entries.iter().map(|entry| entry.lane);
    let arrows = &chronicle.arrows;
    let arrows = arrows.iter().flat_map(|arrow| [arrow.from, arrow.to]);
    let bands = chronicle.bands.iter().map(|band| band.lane);
    let last = chronicle.states.iter().map(|state| state.node).max();
    let nodes = last.into_iter().flat_map(|last| (0..=last).map(Lane::Node));
    let mut lanes: Vec<Lane> = entries.chain(arrows).chain(bands).chain(nodes).collect();
    lanes.push(Lane::World);
    lanes.sort_unstable();
    lanes.dedup();
    lanes
}

/// As the page counts them.
fn number_of(sort: Sort) -> u8 {
    match sort {
        Sort::Event => 0,
        Sort::Action => 1,
        Sort::Asked => 2,
        Sort::Fault => 3,
        Sort::Deed => 4,
        Sort::Transition => 5,
        Sort::Failure => 6,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn data_of(page: &str) -> Value {
        let start = page.find(r#"id="data">"#).unwrap() + r#"id="data">"#.len();
        let end = start + page[start..].find("</script>").unwrap();
        serde_json::from_str(&page[start..end]).unwrap()
    }

    #[test]
    fn a_page_holds_all_of_a_chronicle_and_no_text_ends_it() {
        let mut chronicle = Chronicle::default();
        let (n1, n2) = (Lane::Node(0), Lane::Node(1));
        chronicle.note(5, n1, Sort::Event, "</script><b>".to_owned());
        chronicle.note(6, n2, Sort::Action, "same".to_owned());
        chronicle.note(7, n1, Sort::Action, "same".to_owned());
        chronicle.note(9, Lane::World, Sort::Failure, "found".to_owned());
        chronicle.sent((n1, n2), 5, None, &"lost");
        chronicle.sent((n1, Lane::Client(0)), 5, Some(8), &Some(1));
        chronicle.lasts(n2, Lasting::Down, 6, None, String::new());
        let title = Title {
            title: "a title",
            command: "a command",
        };
        let data = data_of(&page(&chronicle, &title));
        assert_eq!(
            data["lanes"],
            serde_json::json!(["world", "n1", "n2", "client 1"])
        );
        assert_eq!(data["entries"]["at"], serde_json::json!([5, 6, 7, 9]));
        assert_eq!(data["entries"]["lane"], serde_json::json!([1, 2, 1, 0]));
        assert_eq!(data["texts"][0], "</script><b>");
        assert_eq!(data["texts"].as_array().unwrap().len(), 3);
        assert_eq!(data["arrows"]["arrives"], serde_json::json!([-1, 8]));
        assert_eq!(data["failure"]["at_us"], 9);
        assert_eq!(data["nodes"], 2);
    }
}
