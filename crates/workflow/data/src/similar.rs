/// The candidates that look like `text`, the best first; at most three.
pub(crate) fn similar<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let wanted = text.to_lowercase();
    let mut scored: Vec<_> = candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(&wanted, &candidate.to_lowercase()), candidate))
        .filter(|(score, _)| *score >= 0.8)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    scored.dedup_by(|a, b| a.1 == b.1);
    scored.into_iter().take(3).map(|(_, name)| name.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::similar;

    #[test]
    fn the_nearest_first() {
        assert_eq!(similar("Carier", ["origin", "carrier", "carriers"]), ["carrier", "carriers"]);
        assert!(similar("zzz", ["origin"]).is_empty());
    }
}
