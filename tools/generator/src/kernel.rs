//! The tables of docs/kernel.md: operations and facilities, from the table that the library's own
//! probe answers from. Hides how they look; what stands around them in the file is left alone.

use crate::table::{FACILITIES, Facility, OPERATIONS};

/// The Linux that has the oldest ring that is used.
const OLDEST: (u32, u32) = (5, 19);

/// The file with its tables written anew.
pub fn arrange(text: &str, exported: &str) -> String {
    let text = replace(text, "operations", &operations(exported));
    replace(&text, "facilities", &facilities(exported))
}

/// Puts `table` between the two comments of that name.
fn replace(text: &str, name: &str, table: &str) -> String {
    let begin = format!("<!-- {name}: written by tools/regen -->\n");
    let end = format!("<!-- end of {name} -->");
    let (before, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("no {begin}"));
    let (_, after) = rest.split_once(&end).unwrap_or_else(|| panic!("no {end}"));
    format!("{before}{begin}{table}{end}{after}")
}

fn operations(exported: &str) -> String {
    let mut text = String::from(
        "| opcode | name | since | functions | without a ring | on a ring of an older kernel |\n\
         |---|---|---|---|---|---|\n",
    );
    for (opcode, row) in OPERATIONS.iter().enumerate() {
        let (major, minor) = row.since;
        let functions: Vec<String> = row.typed(exported).map(|name| format!("`{name}`")).collect();
        let functions = match functions.join(", ") {
            _ if row.is_superseded() => format!("superseded by {}", row.instead),
            functions if functions.is_empty() => "`aio_submit_raw` alone".to_string(),
            functions => functions,
        };
        let without = row.without.text();
        // Older rings are not used.
        let before = if row.since > OLDEST { row.on_old_ring } else { "" };
        text += &format!(
            "| {opcode} | {} | {major}.{minor} | {functions} | {without} | {before} |\n",
            row.name
        );
    }
    text
}

fn facilities(exported: &str) -> String {
    let mut text = String::from(
        "| facility | since | asked for by | what for, and when not | without a ring | not shown \
         here |\n|---|---|---|---|---|---|\n",
    );
    for row in &FACILITIES {
        let (major, minor) = row.since;
        let is_exported = |name: &&&str| exported.lines().any(|line| line == **name);
        let functions: Vec<&str> = row.functions.iter().filter(is_exported).copied().collect();
        let by = match functions.is_empty() {
            true if row.option.is_empty() => "no function yet".to_string(),
            true => format!("`{}`", row.option.replace(", ", "`, `")),
            false => format!("`{}`", functions.join("`, `")),
        };
        let without = if row.emulated { "emulated" } else { "`-EOPNOTSUPP`" };
        let (name, purpose, not_shown) = (row.name, row.purpose, not_shown(row.facility));
        text +=
            &format!("| {name} | {major}.{minor} | {by} | {purpose} | {without} | {not_shown} |\n");
    }
    text
}

/// What of it no test of this tree can show on the machines that it is developed on.
fn not_shown(facility: Facility) -> &'static str {
    match facility {
        Facility::ZeroCopyReceive => {
            "a card that splits headers from data, and what is won by it; all else is shown from 7.1 \
             on, where a queue without a card copies"
        }
        Facility::Iopoll => "completing by polling: no device with poll queues",
        Facility::HybridIopoll => "its sleeping: no device with poll queues",
        Facility::Napi => "the latency won: no network card of its own",
        Facility::Clock => "a suspended machine; a time namespace stands in for it",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_comments_changes() {
        let text = "a\n<!-- x: written by tools/regen -->\nold\n<!-- end of x -->\nb\n";
        let expected = "a\n<!-- x: written by tools/regen -->\nnew\n<!-- end of x -->\nb\n";
        assert_eq!(replace(text, "x", "new\n"), expected);
        assert_eq!(replace(expected, "x", "new\n"), expected);
    }
}
