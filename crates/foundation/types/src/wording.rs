/// A number of things for people: `1 file`, `2 files`. `noun` is one of them, and takes an `s`.
pub fn counted(count: u64, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_no_plural() {
        let counts = [0, 1, 2].map(|count| counted(count, "small pack"));
        assert_eq!(counts, ["0 small packs", "1 small pack", "2 small packs"]);
    }
}
