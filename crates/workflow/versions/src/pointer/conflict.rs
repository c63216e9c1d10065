//! The conflict markers of git, in its `merge`, `diff3` and `zdiff3` styles (git-config, `merge.conflictStyle`).

const OURS: &str = "<<<<<<<";
const BASE: &str = "|||||||";
const MIDDLE: &str = "=======";
const THEIRS: &str = ">>>>>>>";

/// The texts of both branches, put together from a text with conflict markers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Sides {
    pub(crate) ours: String,
    pub(crate) theirs: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    Both,
    Ours,
    Base,
    Theirs,
}

/// The line of the first marker, counted from 1.
pub(crate) fn first_marker(text: &str) -> Option<usize> {
    text.lines().position(|line| is_marker(line, OURS)).map(|position| position + 1)
}

/// Takes the markers apart; an error names the line that does not fit.
pub(crate) fn sides(text: &str) -> Result<Sides, (usize, String)> {
    let (mut ours, mut theirs) = (String::new(), String::new());
    let mut within = Within::Both;
    let mut last = 1;
    for (position, line) in text.lines().enumerate() {
        last = position + 1;
        if let Some(next) = next(within, line) {
            within = next.map_err(|marker| (last, format!("`{marker}` does not belong here")))?;
            continue;
        }
        for (side, text) in [(Within::Ours, &mut ours), (Within::Theirs, &mut theirs)] {
            if within == side || within == Within::Both {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    if within == Within::Both { Ok(Sides { ours, theirs }) } else { Err((last, format!("`{THEIRS}` is missing"))) }
}

/// What follows a marker; none for other lines.
fn next(within: Within, line: &str) -> Option<Result<Within, &'static str>> {
    let (marker, from, to): (_, &[Within], _) = match line {
        _ if is_marker(line, OURS) => (OURS, &[Within::Both], Within::Ours),
        _ if is_marker(line, BASE) => (BASE, &[Within::Ours], Within::Base),
        _ if is_marker(line, MIDDLE) => (MIDDLE, &[Within::Ours, Within::Base], Within::Theirs),
        _ if is_marker(line, THEIRS) => (THEIRS, &[Within::Theirs], Within::Both),
        _ => return None,
    };
    Some(if from.contains(&within) { Ok(to) } else { Err(marker) })
}

fn is_marker(line: &str, marker: &str) -> bool {
    line.strip_prefix(marker).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_styles_are_taken_apart() {
        let merge = "a\n<<<<<<< HEAD\nb\n=======\nc\n>>>>>>> topic\nd\n";
        let diff3 = "a\n<<<<<<< HEAD\nb\n||||||| 1234567\nx\n=======\nc\n>>>>>>> topic\nd\n";
        let expected = Sides { ours: "a\nb\nd\n".to_owned(), theirs: "a\nc\nd\n".to_owned() };
        assert_eq!(sides(merge).unwrap(), expected);
        assert_eq!(sides(diff3).unwrap(), expected);
        assert_eq!(first_marker(merge), Some(2));
        assert_eq!(first_marker("a\nb\n"), None);
    }

    #[test]
    fn markers_out_of_place_are_named() {
        for (text, line) in [("=======\n", 1), ("<<<<<<< a\n<<<<<<< b\n", 2), ("<<<<<<< a\nx\n", 2), (">>>>>>> a\n", 1)]
        {
            assert_eq!(sides(text).unwrap_err().0, line, "{text}");
        }
    }
}
