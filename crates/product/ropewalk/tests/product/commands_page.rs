//! `docs/reference/commands.md` has every command and every option that `--help` has.

use std::process::Command;

const PAGE: &str = include_str!("../../../../../docs/reference/commands.md");
/// What every command takes; the page says so once.
const OF_ALL: [&str; 3] = ["--project", "--output", "--help"];

/// A command that does something, as its words, and its options.
struct Described {
    words: Vec<String>,
    options: Vec<String>,
}

fn help(words: &[String]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ropewalk"));
    let output = command.args(words).arg("--help").output().expect("the binary starts");
    assert!(output.status.success(), "{words:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// The lines below a heading of clap's help, up to the next empty line or, for options, the end.
fn below<'a>(help: &'a str, heading: &'a str) -> impl Iterator<Item = &'a str> {
    help.lines().skip_while(move |line| *line != heading).skip(1)
}

/// All commands below these words.
fn walk(words: &[String], found: &mut Vec<Described>) {
    let help = help(words);
    let commands = below(&help, "Commands:").take_while(|line| !line.is_empty());
    // Continued descriptions are indented further.
    let commands = commands.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names: Vec<&str> = commands.filter_map(|line| line.split_whitespace().next()).collect();
    for name in names.iter().filter(|name| **name != "help") {
        walk(&[words, &[(*name).to_owned()]].concat(), found);
    }
    if names.is_empty() {
        // `  -r, --remote <REMOTE>`; what is indented further describes it.
        let options = below(&help, "Options:").filter(|line| !line.starts_with("       "));
        let options = options.filter_map(|line| line.split([' ', '[']).find(|word| word.starts_with("--")));
        let options = options.filter(|option| !OF_ALL.contains(option));
        found.push(Described { options: options.map(str::to_owned).collect(), words: words.to_vec() });
    }
}

/// Whether `word` stands in `text` as a whole.
fn has(text: &str, word: &str) -> bool {
    let inside = |character: char| character.is_alphanumeric() || character == '-';
    text.match_indices(word).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + word.len()..]);
        !before.ends_with(inside) && !after.starts_with(inside)
    })
}

/// What the page says of a command: its rows, its section, and what stands of its group before the table.
fn said_of(words: &[String]) -> String {
    let (first, last) = (&words[0], &words[words.len() - 1]);
    let mut lines: Vec<&str> = Vec::new();
    let (opening, rest) = PAGE.split_once("\n| command |").expect("a table of commands");
    lines.extend(opening.split("\n\n").filter(|paragraph| paragraph.contains(&format!("`{first}`"))));
    lines.extend(rest.lines().filter(|line| {
        let cell = line.split(" | ").next().unwrap_or_default();
        line.starts_with("| `") && has(cell, first) && has(cell, last)
    }));
    let mut sections = rest.split("\n## ");
    lines.extend(sections.find(|section| section.starts_with(&format!("`ropewalk {}`\n", words.join(" ")))));
    lines.join("\n")
}

#[test]
fn every_command_and_option_stands_in_the_page() {
    let mut commands = Vec::new();
    walk(&[], &mut commands);
    assert!(commands.len() > 50, "{} commands", commands.len());
    let mut missing = Vec::new();
    for Described { words, options } in &commands {
        let said = said_of(words);
        if !has(&said, &words[words.len() - 1]) {
            missing.push(words.join(" "));
        }
        let absent = options.iter().filter(|option| !has(&said, option));
        missing.extend(absent.map(|option| format!("{} {option}", words.join(" "))));
    }
    assert!(missing.is_empty(), "docs/reference/commands.md lacks {missing:#?}");
}

/// Options that the page names in the section of a command, and that the command does not have, would be told to nobody.
#[test]
fn the_page_names_no_option_that_is_not_there() {
    let sections: Vec<&str> = PAGE.split("\n## `ropewalk ").skip(1).collect();
    assert!(sections.len() >= 3);
    for section in sections {
        let (name, text) = section.split_once("`\n").expect("a name");
        let words: Vec<String> = name.split(' ').map(str::to_owned).collect();
        let help = help(&words);
        let rows = text.lines().filter(|line| line.starts_with("| `-"));
        let cells = rows.filter_map(|line| line.split(" | ").next()).filter(|cell| !cell.contains("--rest-port"));
        for option in cells.flat_map(|cell| cell.split(['`', ' ', '|', ','])).filter(|word| word.starts_with("--")) {
            assert!(has(&help, option), "`{name}` has no {option}");
        }
    }
}
