//! What is declared of a thing, and what it inherits: what holds, of whom that is said, and why.

use std::fmt::Write as _;

use ropewalk_data::{EffectiveFacts, Inherited, Reason, Retention};
use ropewalk_types::Uri;

use crate::output::{moment, printable};

/// Things that are named for one fact; of others it is said how many there are.
const NAMED: usize = 5;

/// A line for each fact that holds for `uri`; nothing where nothing is said.
pub(super) fn facts(uri: &Uri, facts: &EffectiveFacts) -> String {
    let mut text = String::new();
    if let Some(classification) = facts.classification.value {
        let _ = writeln!(text, "  {classification}, {}", said_of(uri, &facts.classification.from));
        if let Some(inherited) = facts.inherited.filter(|inherited| *inherited > classification) {
            let _ = writeln!(text, "    inherited would be: {inherited}");
        }
    }
    for Reason { of, who, why, at } in facts.reasons.iter().take(NAMED) {
        let of = if of == uri { String::new() } else { format!(" of {of}") };
        let _ = writeln!(
            text,
            "    why{}: {}",
            printable(&of),
            printable(&format!("{why} ({who}, {})", moment(at.millis())))
        );
    }
    if facts.reasons.len() > NAMED {
        let _ = writeln!(text, "    and {} more reasons", facts.reasons.len() - NAMED);
    }
    texts(&mut text, "owner", uri, &facts.owned_by);
    texts(&mut text, "described as", uri, &facts.described_as);
    if let Some(retention) = facts.retention.value {
        let kept = match retention {
            Retention::Days(1) => "1 day".to_owned(),
            Retention::Days(days) => format!("{days} days"),
            Retention::Forever => "forever".to_owned(),
        };
        let _ = writeln!(text, "  kept {kept}, {}", said_of(uri, &facts.retention.from));
    }
    if !facts.undeclared.is_empty() {
        let _ = writeln!(text, "  no classification is {}", said_of(uri, &facts.undeclared));
    }
    text
}

fn texts(text: &mut String, what: &str, uri: &Uri, said: &[Inherited<String>]) {
    for Inherited { value, from } in said.iter().take(NAMED) {
        let value = value.as_deref().unwrap_or_default();
        let _ = writeln!(text, "  {what} {}, {}", printable(value), said_of(uri, from));
    }
    if said.len() > NAMED {
        let _ = writeln!(text, "  {what}: and {} more", said.len() - NAMED);
    }
}

/// `said of it`, `said of data:people@…, data:prices@… and 3 more`.
fn said_of(uri: &Uri, from: &[Uri]) -> String {
    if from == std::slice::from_ref(uri) {
        return "said of it".to_owned();
    }
    let names: Vec<_> = from.iter().take(NAMED).map(|one| printable(&one.to_string())).collect();
    let more = from.len().saturating_sub(NAMED);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("said of {}{more}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use ropewalk_data::{Classification, Inherited};
    use ropewalk_types::Timestamp;

    use super::*;

    fn uri(text: &str) -> Uri {
        text.parse().expect(text)
    }

    fn nothing() -> EffectiveFacts {
        EffectiveFacts {
            declared: None,
            classification: Inherited { value: None, from: Vec::new() },
            inherited: None,
            retention: Inherited { value: None, from: Vec::new() },
            owners: Vec::new(),
            owned_by: Vec::new(),
            described_as: Vec::new(),
            reasons: Vec::new(),
            undeclared: Vec::new(),
        }
    }

    #[test]
    fn what_holds_of_whom_it_is_said_and_why() {
        let (totals, people) = (uri("data:totals@aa"), uri("data:people@bb"));
        assert_eq!(facts(&totals, &nothing()), "");
        let found = EffectiveFacts {
            classification: Inherited { value: Some(Classification::Internal), from: vec![totals.clone()] },
            inherited: Some(Classification::Personal),
            retention: Inherited { value: Some(Retention::Days(30)), from: vec![people.clone()] },
            owned_by: vec![Inherited { value: Some("ada\u{1b}".to_owned()), from: vec![people] }],
            described_as: vec![Inherited { value: Some("sums".to_owned()), from: vec![totals.clone()] }],
            reasons: vec![Reason {
                of: totals.clone(),
                who: "bob".to_owned(),
                why: "sums\nonly".to_owned(),
                at: Timestamp(1_700_000_000_000),
            }],
            ..nothing()
        };
        let lines = [
            "  internal, said of it",
            "    inherited would be: personal",
            "    why: sums\\nonly (bob, 2023-11-14 22:13:20)",
            "  owner ada\\u{1b}, said of data:people@bb",
            "  described as sums, said of it",
            "  kept 30 days, said of data:people@bb",
            "",
        ];
        assert_eq!(facts(&totals, &found), lines.join("\n"));
    }

    #[test]
    fn of_many_some_are_named() {
        let many: Vec<Uri> = (0..7).map(|number| uri(&format!("data:d{number}@aa"))).collect();
        let found = EffectiveFacts { undeclared: many, ..nothing() };
        let told = facts(&uri("data:x@aa"), &found);
        assert!(told.contains("said of data:d0@aa, ") && told.ends_with("data:d4@aa and 2 more\n"), "{told}");
    }
}
