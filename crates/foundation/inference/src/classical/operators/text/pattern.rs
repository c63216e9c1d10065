//! Regular expressions in the syntax of RE2, which is what the operators name.

use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson;
use regex_automata::{Anchored, Input, MatchKind, meta};
use regex_syntax::hir::{Hir, HirKind};

use crate::classical::fault::Fault;
use crate::classical::work::Work;

/// The most memory that a compiled expression may take, in bytes.
const SIZE_LIMIT: usize = 4 << 20;

/// An expression of RE2: `\w`, `\d`, `\s` and `\b` are ASCII, and of the matches that start first the longest counts.
#[derive(Debug)]
pub(super) enum Pattern {
    /// Where the first choice is the longest anyway. As far as it looks beyond a match there is no other, so that all
    /// searches of a text together look at each byte a few times.
    First(meta::Regex),
    /// Finds the longest match at a place. It may look at all that follows for each, which counts as work.
    Longest(Box<DFA>),
}

fn refused(pattern: &str, error: impl std::fmt::Display) -> Fault {
    Fault::unsupported(format!("the regular expression `{pattern}`: {error}"))
}

impl Pattern {
    pub(super) fn new(pattern: &str) -> Result<Self, Fault> {
        let translated = translated(pattern)?;
        let hir = regex_syntax::parse(&translated).map_err(|error| refused(pattern, error))?;
        if choices(&hir) <= 1 {
            let config = meta::Config::new().nfa_size_limit(Some(SIZE_LIMIT));
            let first = meta::Builder::new().configure(config).build_from_hir(&hir);
            return first.map(Self::First).map_err(|error| refused(pattern, error));
        }
        let machine = DFA::builder()
            .configure(DFA::config().match_kind(MatchKind::All).skip_cache_capacity_check(true))
            .thompson(thompson::Config::new().nfa_size_limit(Some(SIZE_LIMIT)))
            .build(&translated);
        machine.map(|machine| Self::Longest(Box::new(machine))).map_err(|error| refused(pattern, error))
    }

    /// What is needed to search, made once for many searches.
    pub(super) fn cache(&self) -> Option<Cache> {
        match self {
            Self::First(_) => None,
            Self::Longest(machine) => Some(machine.create_cache()),
        }
    }

    /// The leftmost-longest match from `start` on, a place between characters.
    pub(super) fn find(
        &self,
        cache: Option<&mut Cache>,
        text: &str,
        start: usize,
        work: &Work,
    ) -> Result<Option<(usize, usize)>, Fault> {
        let (machine, cache) = match (self, cache) {
            (Self::Longest(machine), Some(cache)) => (machine, cache),
            (Self::Longest(_), None) => return Err(Fault::invalid("a search without a cache")),
            (Self::First(first), _) => {
                let found = first.find(Input::new(text).range(start..));
                return Ok(found.map(|found| (found.start(), found.end())));
            }
        };
        let rest = text.get(start..).unwrap_or_default();
        for from in rest.char_indices().map(|(at, _)| start + at).chain([text.len()]) {
            if let Some(end) = longest_end(machine, cache, text, from, work)? {
                return Ok(Some((from, end)));
            }
        }
        Ok(None)
    }
}

/// The end of the longest match that begins at `from`.
fn longest_end(machine: &DFA, cache: &mut Cache, text: &str, from: usize, work: &Work) -> Result<Option<usize>, Fault> {
    let input = Input::new(text).range(from..).anchored(Anchored::Yes);
    let mut state = machine.start_state_forward(cache, &input).map_err(stopped)?;
    let (mut longest, mut looked) = (None, 1);
    for (at, byte) in (from..).zip(text.as_bytes().get(from..).unwrap_or_default()) {
        state = machine.next_state(cache, state, *byte).map_err(stopped)?;
        looked += 1;
        // A match shows one byte after its end.
        if state.is_match() {
            longest = Some(at);
        } else if state.is_dead() {
            break;
        }
    }
    if !state.is_dead() && machine.next_eoi_state(cache, state).map_err(stopped)?.is_match() {
        longest = Some(text.len());
    }
    work.looked(looked)?;
    Ok(longest)
}

fn stopped(error: impl std::fmt::Display) -> Fault {
    Fault::invalid(format!("a search of text stopped: {error}"))
}

/// How many parts can match more than one length; a lazy one or an alternation counts as two. With one at most, the
/// first choice of a backtracking search is the longest match.
fn choices(hir: &Hir) -> usize {
    match hir.kind() {
        HirKind::Empty | HirKind::Literal(_) | HirKind::Class(_) | HirKind::Look(_) => 0,
        HirKind::Capture(capture) => choices(&capture.sub),
        HirKind::Concat(parts) => parts.iter().map(choices).sum(),
        HirKind::Alternation(_) => 2,
        HirKind::Repetition(repetition) => match choices(&repetition.sub) {
            0 if Some(repetition.min) == repetition.max => 0,
            0 if repetition.greedy => 1,
            _ => 2,
        },
    }
}

/// RE2's syntax in that of the `regex` crate: classes of ASCII, and no operators within classes.
pub(super) fn translated(pattern: &str) -> Result<String, Fault> {
    let mut out = String::with_capacity(pattern.len());
    let mut characters = pattern.chars().peekable();
    let mut in_class = false;
    let mut at_class_start = false;
    while let Some(character) = characters.next() {
        let starts_class = std::mem::take(&mut at_class_start);
        match character {
            '\\' => match characters.next() {
                Some('w') => out.push_str("[0-9A-Za-z_]"),
                Some('W') => out.push_str("[^0-9A-Za-z_]"),
                Some('d') => out.push_str("[0-9]"),
                Some('D') => out.push_str("[^0-9]"),
                Some('s') => out.push_str("[\\t\\n\\f\\r ]"),
                Some('S') => out.push_str("[^\\t\\n\\f\\r ]"),
                Some('b') if !in_class => out.push_str("(?-u:\\b)"),
                Some(letter @ ('B' | 'C' | 'Q' | 'E' | 'h' | 'H' | 'R' | 'X' | '<')) => {
                    return Err(refused(pattern, format!("`\\{letter}`")));
                }
                Some(escaped) => out.extend(['\\', escaped]),
                None => return Err(refused(pattern, "it ends with a backslash")),
            },
            '[' if !in_class => {
                (in_class, at_class_start) = (true, true);
                out.push('[');
                if characters.next_if_eq(&'^').is_some() {
                    out.push('^');
                }
            }
            '[' if characters.peek() == Some(&':') => out.push('['),
            '[' => out.push_str("\\["),
            ']' if in_class && starts_class => out.push_str("\\]"),
            ']' if in_class && out.ends_with(':') && characters.peek() == Some(&']') => out.push(']'),
            ']' => {
                in_class = false;
                out.push(']');
            }
            '&' | '~' | '-' if in_class && characters.peek() == Some(&character) => {
                return Err(refused(pattern, format!("`{character}{character}` within a class")));
            }
            other => out.push(other),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(pattern: &str, text: &str) -> Option<(usize, usize)> {
        let pattern = Pattern::new(pattern).unwrap();
        pattern.find(pattern.cache().as_mut(), text, 0, &Work::default()).unwrap()
    }

    #[test]
    fn the_longest_of_the_leftmost_matches_counts() {
        assert_eq!(find("a|ab", "xab"), Some((1, 3)));
        assert_eq!(find("a+?b?", "aab"), Some((0, 3)));
        assert_eq!(find("a?(ab)?", "ab"), Some((0, 2)));
        assert_eq!(find("\\b\\w\\w+\\b", "a bc"), Some((2, 4)));
        assert_eq!(find("x", "ab"), None);
        assert_eq!(find("x|yz", "ab"), None);
        assert_eq!(find("é+|ä?", "xé"), Some((0, 0)));
        assert_eq!(find("[^x]é|x$", "xäéx"), Some((1, 5)));
        assert_eq!(find("\\bb|b\\b", "abb"), Some((2, 3)));
    }

    #[test]
    fn how_far_a_search_looks_is_work() {
        let pattern = Pattern::new("a[ab]*c|b").unwrap();
        let text = "ab".repeat(1000);
        let find = |left: u64| {
            let work = Work::default();
            work.begin((1 << 34) - 64 - left).unwrap();
            pattern.find(pattern.cache().as_mut(), &text, 0, &work)
        };
        assert_eq!(find(20_000).unwrap(), Some((1, 2)), "after a look at all that follows the first letter");
        assert!(matches!(find(10_000), Err(Fault::TooLarge { .. })));
    }

    #[test]
    fn classes_are_ascii() {
        assert_eq!(find("\\w+", "é1"), Some((2, 3)));
        assert_eq!(find("[^\\s]+", "a\u{b}b c"), Some((0, 3)));
        assert_eq!(find("[]a[]+", "x[a]"), Some((1, 4)));
        assert_eq!(find("[[:digit:]]+", "a12"), Some((1, 3)));
        assert_eq!(find("(?i)Ä", "ä"), Some((0, 2)));
    }

    #[test]
    fn what_cannot_be_translated_is_refused() {
        for pattern in ["(", "a\\", "[a&&b]", "(?u)a", "\\Ba", "(?=a)"] {
            assert!(Pattern::new(pattern).is_err() || pattern == "(?u)a", "{pattern}");
        }
    }
}
