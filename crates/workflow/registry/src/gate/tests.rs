use proptest::prelude::*;

use super::*;

fn metrics(figures: &[(&str, f64)]) -> Metrics {
    figures.iter().map(|(name, figure)| ((*name).to_owned(), *figure)).collect()
}

fn champion(figures: &[(&str, f64)]) -> BTreeMap<Alias, Metrics> {
    BTreeMap::from([(Alias::new("champion").expect("alias"), metrics(figures))])
}

fn gate(text: &str) -> Gate {
    Gate::parse(text).unwrap_or_else(|error| panic!("{error}"))
}

fn held(text: &str, candidate: &[(&str, f64)]) -> bool {
    gate(text).evaluate(&metrics(candidate), &champion(&[("auc", 0.7), ("odd/name", 1.0)])).held
}

#[test]
fn each_comparison_is_listed_with_its_figures() {
    let gate = gate("auc >= 0.66 AND auc >= champion.auc - 0.01");
    let outcome = gate.evaluate(&metrics(&[("auc", 0.685)]), &champion(&[("auc", 0.7)]));
    assert!(!outcome.held);
    let [first, second] = outcome.conditions.as_slice() else { panic!("{outcome:?}") };
    assert_eq!(
        (first.text.as_str(), first.left, first.right, first.held),
        ("auc >= 0.66", Some(0.685), Some(0.66), true)
    );
    assert_eq!(second.text, "auc >= champion.auc - 0.01");
    assert_eq!((second.left, second.right, second.held), (Some(0.685), Some(0.7 - 0.01), false));
    assert!(gate.evaluate(&metrics(&[("auc", 0.69)]), &champion(&[("auc", 0.7)])).held);
}

#[test]
fn the_grammar_is_judged_rightly() {
    for (text, expected) in [
        ("auc > 0.5", true),
        ("auc = 0.6", true),
        ("auc <> 0.6", false),
        ("auc != 0.6", false),
        ("not auc < 0.5", true),
        ("not (auc < 0.5 or auc > 0.55)", false),
        ("not (auc > 0.9 and auc > 0.1)", true),
        ("auc between 0.5 and 0.6", true),
        ("auc not between 0.5 and 0.6", false),
        ("not auc not between 0.5 and 0.6", true),
        ("auc < 0.5 or auc > 0.55 and auc < 0.7", true),
        ("(auc < 0.5 or auc > 0.55) and auc < 0.6", false),
        ("-auc <= -0.6", true),
        ("auc * 2 + 1 = 2.2", true),
        ("auc - 0.1 - 0.1 < 0.41", true),
        ("(1 - auc) / (1 - champion.auc) < 1.5", true),
        ("0.1 < auc", true),
        ("\"odd/name\" = 2 and champion.\"odd/name\" = 1", true),
        ("auc > 5e-1 -- a comment", true),
    ] {
        assert_eq!(held(text, &[("auc", 0.6), ("odd/name", 2.0)]), expected, "{text}");
    }
}

#[test]
fn words_of_sql_can_be_metrics() {
    for name in ["auc", "AUC", "precision", "recall", "f1", "accuracy", "log_loss", "r2", "rmse", "value", "year"] {
        assert!(held(&format!("{name} >= 0.5"), &[(name, 0.6)]), "{name}");
    }
    assert!(!held("AUC >= 0.5", &[("auc", 0.6)]), "names keep their case");
}

#[test]
fn without_an_incumbent_the_comparison_holds_and_says_so() {
    for text in ["auc >= champion.auc", "not auc < champion.auc", "champion.auc - 1 < auc + champion.auc"] {
        let outcome = gate(text).evaluate(&metrics(&[("auc", 0.1)]), &BTreeMap::new());
        assert!(outcome.held, "{text}");
        assert_eq!(outcome.conditions[0].note.as_deref(), Some("no champion yet"));
    }
}

#[test]
fn a_figure_that_is_missing_fails_and_says_so() {
    let none = BTreeMap::new();
    for (text, candidate, incumbents, note) in [
        ("auc >= 0", metrics(&[]), &none, "the candidate has no metric `auc`"),
        ("not auc >= 0", metrics(&[("auc", f64::NAN)]), &none, "the candidate's `auc` is not a number"),
        ("auc >= champion.auc", metrics(&[]), &none, "the candidate has no metric `auc`"),
        ("champion.auc + auc > 0", metrics(&[]), &none, "the candidate has no metric `auc`"),
        ("a / b > 0", metrics(&[("a", 0.0), ("b", 0.0)]), &none, "the arithmetic gives no number"),
        ("auc >= champion.auc", metrics(&[("auc", 1.0)]), &champion(&[]), "champion has no metric `auc`"),
    ] {
        let outcome = gate(text).evaluate(&candidate, incumbents);
        assert!(!outcome.held, "{text}");
        assert_eq!(outcome.conditions[0].note.as_deref(), Some(note), "{text}");
    }
}

#[test]
fn infinite_figures_are_compared_and_said() {
    let outcome = gate("log_loss <= champion.log_loss")
        .evaluate(&metrics(&[("log_loss", 0.5)]), &champion(&[("log_loss", f64::INFINITY)]));
    assert!(outcome.held);
    assert_eq!(outcome.conditions[0].note.as_deref(), Some("the right side is inf"));
    let json = serde_json::to_string(&outcome).expect("json");
    assert_eq!(serde_json::from_str::<GateOutcome>(&json).expect("read"), outcome);
}

#[test]
fn anything_else_is_refused_with_its_place() {
    for (text, says, column) in [
        ("", "it is empty", None),
        ("-- nothing", "it is empty", None),
        ("auc", "`auc` is not a comparison", Some(1)),
        ("auc >= 0.5 and recall", "`recall` is not a comparison", Some(16)),
        ("auc => 0.5", "", None),
        ("auc >= 'high'", "'high' is a text", Some(8)),
        ("auc >= 0.5 0.6", "cannot stand after", Some(12)),
        ("auc >= 0.5; drop table model_alias", "cannot stand after", Some(11)),
        ("auc >= (select 1)", "is not a number", None),
        ("auc >= max(a, b)", "is not a number", Some(8)),
        ("auc in (1, 2)", "is not a comparison", Some(1)),
        ("auc is null", "is not a comparison", Some(1)),
        ("1 < auc < 2", "is not a number", Some(1)),
        ("auc % 2 > 1", "is not a number", Some(1)),
        ("a.b.c > 1", "more than one dot", Some(1)),
        ("latest.auc > 1", "cannot name an alias", Some(1)),
        ("auc > 1e999", "can be compared", Some(7)),
        ("auc > true", "is not a number", Some(7)),
        ("auc > $1", "is not a number", Some(7)),
        ("auc > 'unterminated", "Unterminated", Some(7)),
        ("auc >", "Expected", None),
    ] {
        let error = Gate::parse(text).expect_err(text);
        assert!(error.reason.contains(says), "{text}: {error}");
        if column.is_some() {
            assert_eq!(error.column, column, "{text}: {error}");
        }
    }
}

#[test]
fn size_and_depth_are_bounded() {
    assert!(Gate::parse(&format!("auc > {}1{}", "(".repeat(900), ")".repeat(900))).is_err());
    assert!(Gate::parse(&"auc > 1 and ".repeat(1000)).is_err());
    let long = format!("auc > 1{}", " and auc > 1".repeat(160));
    assert_eq!(gate(&long).evaluate(&metrics(&[("auc", 2.0)]), &BTreeMap::new()).conditions.len(), 161);
    assert!(held(&format!("auc > {}0", "- ".repeat(40)), &[("auc", 1.0)]));
}

#[test]
fn the_aliases_of_a_gate_are_known() {
    let gate = gate("auc > champion.auc and \"next-best\".auc + champion.x < 1 or auc > 1");
    let names: Vec<String> = gate.aliases().iter().map(Alias::to_string).collect();
    assert_eq!(names, ["champion", "next-best"]);
}

fn figure() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("auc".to_owned()),
        Just("champion.auc".to_owned()),
        Just("\"odd/name\"".to_owned()),
        (0_u32..1000).prop_map(|number| format!("{}", f64::from(number) / 8.0)),
    ];
    leaf.prop_recursive(4, 16, 2, |inner| {
        prop_oneof![
            (inner.clone(), prop_oneof!["\\+", "-", "\\*", "/"], inner.clone())
                .prop_map(|(left, operator, right)| format!("({left}) {operator} ({right})")),
            inner.prop_map(|inner| format!("-({inner})")),
        ]
    })
}

proptest! {
    #[test]
    fn no_text_panics(text in ".{0,200}") {
        let _ = Gate::parse(&text);
    }

    #[test]
    fn no_text_of_our_words_panics(
        words in proptest::collection::vec(
            prop_oneof![
                Just("auc"), Just("champion.auc"), Just("and"), Just("or"), Just("not"), Just("between"), Just("("),
                Just(")"), Just(">="), Just("<"), Just("="), Just("-"), Just("*"), Just("/"), Just("0.5"), Just("1e3"),
                Just("\""), Just("'"), Just("."), Just("case"), Just("::"), Just("interval"), Just("{"), Just("["),
            ],
            0..30,
        ),
    ) {
        if let Ok(gate) = Gate::parse(&words.join(" ")) {
            let _ = gate.evaluate(&metrics(&[("auc", 0.5)]), &champion(&[("auc", 0.4)]));
        }
    }

    /// The text of a condition, read again, is the same condition: nothing is lost in what a reader sees.
    #[test]
    fn conditions_are_shown_as_they_are_judged(left in figure(), right in figure(), auc in -2.0..2.0_f64) {
        let candidate = metrics(&[("auc", auc), ("odd/name", 3.0)]);
        let outcome = gate(&format!("{left} >= {right}")).evaluate(&candidate, &champion(&[("auc", 0.7)]));
        let again = gate(&outcome.conditions[0].text).evaluate(&candidate, &champion(&[("auc", 0.7)]));
        prop_assert_eq!(again, outcome);
    }
}
