//! Pages of the documentation whose commands are run: what stands between their fences, and whether it was printed.

/// What stands between two fences.
pub(crate) struct Block {
    pub(crate) line: usize,
    /// What stands behind the backquotes.
    pub(crate) words: Vec<&'static str>,
    pub(crate) text: String,
}

/// The blocks of a page.
pub(crate) fn blocks(page: &'static str) -> Vec<Block> {
    let (mut blocks, mut open): (Vec<Block>, _) = (Vec::new(), false);
    for (number, line) in (1..).zip(page.lines()) {
        if let Some(words) = line.strip_prefix("```") {
            open = !open;
            if open {
                let words = words.split_whitespace().collect();
                blocks.push(Block { line: number, words, text: String::new() });
            }
        } else if let Some(block) = blocks.last_mut().filter(|_| open) {
            block.text.push_str(line);
            block.text.push('\n');
        }
    }
    assert!(!open, "the last block has no end");
    blocks
}

/// The lines, of which the last must end with this exit code, and no other may fail.
pub(crate) fn failing(lines: &str, code: u8) -> String {
    let lines = lines.trim_end();
    let (before, last) = lines.rsplit_once('\n').unwrap_or(("", lines));
    format!("{before}\nif {last}\nthen echo 'the last command must fail' >&2; exit 64\nelse test $? -eq {code}\nfi\n")
}

/// Whether all lines that are shown were printed, in their order.
pub(crate) fn shows(shown: &str, printed: &str) -> bool {
    let mut printed = printed.lines();
    shown.lines().all(|line| printed.any(|candidate| fits(line, candidate)))
}

/// Whether a line is the one that is shown, where `…` stands for anything.
fn fits(shown: &str, mut line: &str) -> bool {
    let Some((beginning, rest)) = shown.split_once('…') else { return shown == line };
    let Some(after) = line.strip_prefix(beginning) else { return false };
    line = after;
    let mut parts: Vec<&str> = rest.split('…').collect();
    let end = parts.pop().unwrap_or_default();
    for part in parts {
        let Some((_, after)) = line.split_once(part) else { return false };
        line = after;
    }
    line.ends_with(end)
}

#[test]
fn what_the_page_shows_is_compared() {
    assert!(fits("digest 4a55…", "digest 4a5512") && !fits("digest 4a55…", "digest 5a5512") && !fits("a", "ab"));
    assert!(fits("a…c…e", "abcde") && !fits("a…c…e", "abcdf") && !fits("a…x…e", "abcde"));
    assert!(shows("b\nd\n", "a\nb\nc\nd\n") && !shows("d\nb\n", "a\nb\nc\nd\n"));
    let run = |lines: &str| {
        std::process::Command::new("bash").args(["-eu", "-c", &failing(lines, 1)]).status().expect("bash").success()
    };
    assert!(run("true\nfalse") && run("false # with a word") && !run("true") && !run("false\nfalse"));
    assert!(!run("bash -c 'exit 2'") && !run("no-such-command"));
}
