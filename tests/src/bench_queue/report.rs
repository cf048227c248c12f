//! What was measured, for people and for programs.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::measure::{Group, MEASURES, Measure, Measured, Size};

/// One JSON object with everything.
#[must_use]
pub fn as_json(measured: &Measured) -> Value {
    let sizes: Vec<Value> = measured.sizes.iter().map(size_as_json).collect();
    json!({
        "level": measured.plan.level.0,
        "passes": measured.plan.passes,
        "chunks": measured.plan.chunks,
        "part_bytes": measured.plan.part_bytes,
        "floors": ["binary_heap", "priority_queue"],
        "sizes": sizes,
    })
}

fn size_as_json(size: &Size) -> Value {
    let mut value = json!({ "jobs": size.jobs });
    for group in Group::ALL {
        value[group.names().0] = group_as_json(group, |measure| size.median(measure));
    }
    value["ratio_worst_pass"] = group_as_json(Group::Ratio, |measure| size.worst(measure));
    value
}

fn group_as_json(group: Group, figure: impl Fn(Measure) -> Option<f64>) -> Value {
    let of_group = MEASURES.iter().filter(|(_, of, _, _)| *of == group);
    let figures = of_group.filter_map(|(measure, _, name, _)| {
        let figure = figure(*measure)?;
        Some(((*name).to_owned(), figure.into()))
    });
    Value::Object(figures.collect::<Map<_, _>>())
}

/// A table: a line for each measure, a column for each number of jobs, and how many
/// times as much the last one takes as the first.
#[must_use]
pub fn as_table(measured: &Measured) -> String {
    let mut table = String::new();
    let mut line = |words: &str, cells: &[String]| {
        let mut line = format!("{words:<41}");
        for cell in cells {
            let _ = write!(line, " {cell:>15}");
        }
        table.push_str(line.trim_end());
        table.push('\n');
    };
    let sizes = &measured.sizes;
    let mut head: Vec<String> = sizes
        .iter()
        .map(|size| grouped(size.jobs as f64, 0))
        .collect();
    let compares = sizes.len() > 1;
    head.extend(compares.then(|| "last by first".to_owned()));
    line("queued jobs", &head);
    for group in Group::ALL {
        line(group.names().1, &[]);
        for (measure, _, _, words) in MEASURES.iter().filter(|(_, of, _, _)| *of == group) {
            let found: Vec<Option<f64>> = sizes.iter().map(|size| size.median(*measure)).collect();
            let decimals = if group == Group::Ratio { 1 } else { 0 };
            let mut cells: Vec<String> = found
                .iter()
                .map(|figure| figure.map_or("-".to_owned(), |figure| grouped(figure, decimals)))
                .collect();
            let ends = (found.first(), found.last());
            if let (true, (Some(Some(first)), Some(Some(last)))) = (compares, ends) {
                cells.push(grouped(last / first, 2));
            }
            line(&format!("  {words}"), &cells);
        }
    }
    let plan = &measured.plan;
    let _ = write!(
        table,
        "at {}; medians of {} passes, of commands those of {} chunks of 1,000 jobs in each; time on a \
         processor; a floor keeps an order of small jobs and nothing else; parts of {} bytes",
        plan.level,
        plan.passes,
        plan.chunks,
        grouped(plan.part_bytes as f64, 0)
    );
    table
}

/// A number, its thousands apart.
fn grouped(number: f64, decimals: usize) -> String {
    let text = format!("{number:.decimals$}");
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut grouped = String::new();
    for (at, digit) in whole.char_indices() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + rest
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn thousands_stand_apart() {
        assert_eq!(grouped(7.04, 1), "7.0");
        assert_eq!(grouped(999.6, 0), "1,000");
        assert_eq!(grouped(123_456.0, 0), "123,456");
        assert_eq!(grouped(1_234_567.89, 2), "1,234,567.89");
    }
}
