/// A number of things for people: `1 file`, `2 files`. `noun` is one of them, and takes an `s`.
pub fn counted(count: u64, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// A text as one word of a command for a POSIX shell (XCU 2.2.2, "Single-Quotes"), with quotes only where it needs them.
pub fn shell_word(text: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-+=:@%,".contains(letter);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_a_shell_would_take_them_apart() {
        let words = ["data/a.csv", "two words", "it's", "", "$HOME", "ünï"].map(shell_word);
        assert_eq!(words, ["data/a.csv", "'two words'", "'it'\\''s'", "''", "'$HOME'", "'ünï'"]);
    }

    #[test]
    fn one_is_no_plural() {
        let counts = [0, 1, 2].map(|count| counted(count, "small pack"));
        assert_eq!(counts, ["0 small packs", "1 small pack", "2 small packs"]);
    }
}
