use toml_edit::visit_mut::{self, VisitMut};
use toml_edit::{Array, Formatted, Item, KeyMut};

use crate::ConfigError;
use crate::edit::document;

/// What is shown in the place of a secret.
const HIDDEN: &str = "***";

/// The table whose keys are names of headers: some of them hold secrets.
const HEADERS: &str = "headers";

/// What is called the place of a secret in a comment, which has no path.
const COMMENT: &str = "a comment";

/// What tells secrets from other texts; the rules are those by which URLs are shown.
#[derive(Clone, Copy, Debug)]
pub struct SecretRules {
    /// Whether the value of a header of this name is a secret.
    pub is_name: fn(&str) -> bool,
    /// A text without the secrets of the URLs in it; none where there are none.
    pub without: fn(&str) -> Option<String>,
    /// The variable of the environment that a text is, as `${NAME}` and nothing beside it.
    pub variable: fn(&str) -> Option<&str>,
}

/// A project file without the secrets that are written in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaskedFile {
    /// Its text, the same whatever the secrets are.
    pub text: String,
    /// Where they stand, such as `data.orders.headers.Authorization`, and once `a comment` for those in comments.
    pub places: Vec<String>,
}

/// The text of the project file `file` without the secrets that are written in it; none where there are none.
pub fn masked(file: &str, text: &str, rules: SecretRules) -> Result<Option<MaskedFile>, ConfigError> {
    let (mut shown, mut places) = values_masked(file, text, rules)?.unwrap_or_else(|| (text.to_owned(), Vec::new()));
    if let Some(text) = comments_masked(&shown, rules) {
        shown = text;
        places.push(COMMENT.to_owned());
    }
    Ok((!places.is_empty()).then_some(MaskedFile { text: shown, places }))
}

/// The text without the secrets that are values, and where these stand; none where there are none, so that the text
/// stays as it is, byte by byte.
fn values_masked(file: &str, text: &str, rules: SecretRules) -> Result<Option<(String, Vec<String>)>, ConfigError> {
    let mut document = document(file, text)?;
    let mut masking = Masking { rules, path: Vec::new(), places: Vec::new() };
    masking.visit_document_mut(&mut document);
    Ok((!masking.places.is_empty()).then(|| (document.to_string(), masking.places)))
}

/// The text without the secrets in comments, such as a source that is no longer used.
fn comments_masked(text: &str, rules: SecretRules) -> Option<String> {
    let mut masked = String::with_capacity(text.len());
    let mut any = false;
    for Span { text, is_comment } in spans(text) {
        let hidden = if is_comment { comment_masked(text, rules) } else { None };
        any |= hidden.is_some();
        masked.push_str(hidden.as_deref().unwrap_or(text));
    }
    any.then_some(masked)
}

/// A comment without the secrets of its URLs; and as a setting that is switched off, without those of a setting.
fn comment_masked(comment: &str, rules: SecretRules) -> Option<String> {
    let without = (rules.without)(comment);
    let shown = without.as_deref().unwrap_or(comment);
    let behind = shown.trim_start_matches('#');
    let setting = behind.trim_end();
    let (signs, end) = (&shown[..shown.len() - behind.len()], &behind[setting.len()..]);
    match values_masked(COMMENT, setting, rules) {
        // The end of a line that is written behind a setting is none of the comment.
        Ok(Some((masked, _))) => Some(format!("{signs}{}{end}", masked.trim_end())),
        _ => without,
    }
}

/// A part of a project file.
struct Span<'a> {
    text: &'a str,
    /// From a `#` to the end of the line, without that.
    is_comment: bool,
}

/// The comments of a text that can be read as TOML, and what is between them.
fn spans(text: &str) -> Vec<Span<'_>> {
    let (mut spans, mut rest, mut at) = (Vec::new(), text, 0);
    while let Some(next) = rest[at..].find(['#', '"', '\'']) {
        at += next;
        if rest[at..].starts_with('#') {
            let (before, behind) = rest.split_at(at);
            let (comment, after) = behind.split_at(behind.find('\n').unwrap_or(behind.len()));
            spans.push(Span { text: before, is_comment: false });
            spans.push(Span { text: comment, is_comment: true });
            (rest, at) = (after, 0);
        } else {
            at += string_length(&rest[at..]);
        }
    }
    spans.push(Span { text: rest, is_comment: false });
    spans
}

/// Bytes of the string that `text` begins with.
fn string_length(text: &str) -> usize {
    let quote = if text.starts_with('"') { '"' } else { '\'' };
    let long = if quote == '"' { "\"\"\"" } else { "'''" };
    let end = if text.starts_with(long) { long } else { &long[..1] };
    let mut at = end.len();
    while let Some(rest) = text.get(at..)
        && let Some(next) = rest.chars().next()
    {
        if let Some(after) = rest.strip_prefix(end) {
            // The last quotes of a string of several lines may belong to it.
            let more = after.chars().take(2).take_while(|letter| *letter == quote).count();
            return at + end.len() + if end.len() > 1 { more } else { 0 };
        }
        at += next.len_utf8();
        if next == '\\' && quote == '"' {
            at += text[at..].chars().next().map_or(0, char::len_utf8);
        }
    }
    text.len()
}

/// Walks through the file and hides what is a secret.
struct Masking {
    rules: SecretRules,
    /// The keys that lead to what is looked at; that of an element of a list is empty.
    path: Vec<String>,
    places: Vec<String>,
}

impl Masking {
    /// Whether the text with this path is a secret by its name.
    fn is_named(&self) -> bool {
        let mut keys = self.path.iter().rev().map(String::as_str);
        let (key, table) = (keys.next().unwrap_or_default(), keys.next().unwrap_or_default());
        let is_header = table == HEADERS && (self.rules.is_name)(key);
        // What a stage makes may bear any name.
        is_header || (matches!(key, "password" | "secret" | "token") && table != "out")
    }

    fn hidden(&self, text: &str) -> Option<String> {
        let is_secret = !matches!(text, "" | HIDDEN) && (self.rules.variable)(text).is_none();
        if is_secret && self.is_named() { Some(HIDDEN.to_owned()) } else { (self.rules.without)(text) }
    }
}

impl VisitMut for Masking {
    fn visit_table_like_kv_mut(&mut self, key: KeyMut<'_>, node: &mut Item) {
        self.path.push(key.get().to_owned());
        visit_mut::visit_table_like_kv_mut(self, key, node);
        self.path.pop();
    }

    fn visit_array_mut(&mut self, node: &mut Array) {
        self.path.push(String::new());
        visit_mut::visit_array_mut(self, node);
        self.path.pop();
    }

    fn visit_string_mut(&mut self, node: &mut Formatted<String>) {
        let Some(shown) = self.hidden(node.value()) else { return };
        let decor = node.decor().clone();
        *node = Formatted::new(shown);
        *node.decor_mut() = decor;
        self.places.push(self.path.join(".").trim_end_matches('.').to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stand-ins for the rules of the connectors.
    fn rules() -> SecretRules {
        fn without(text: &str) -> Option<String> {
            let (before, behind) = text.split_once("?token=")?;
            let end = behind.find(['"', '&', '\r', '\n']).unwrap_or(behind.len());
            (!behind.starts_with(['*', '$'])).then(|| format!("{before}?token=***{}", &behind[end..]))
        }
        fn variable(text: &str) -> Option<&str> {
            text.strip_prefix("${")?.strip_suffix('}')
        }
        SecretRules { is_name: |name| name.contains("Auth") || name.contains("TOKEN"), without, variable }
    }

    const FILE: &str = r#"
[project]
name = "x" # a name
# old = "https://a.example/x?token=abc"

[data.a]
source = "https://a.example/x?token=abc&page=1"   # the source
headers = { Authorization = 'Bearer abc', Accept = "text/csv", X-Auth = { env = "TOKEN", prefix = "Bearer " } }

[data.b]
source = ["https://b.example/x?token=abc", 'plain.csv']

[stage.c]
run = "make TOKEN=1 && curl https://c.example/x?token=abc"
env = ["TOKENIZERS_PARALLELISM"]
secrets = ["HF_TOKEN"]
out = { token = "token.txt" }
"#;

    #[test]
    fn secrets_are_hidden_and_the_rest_is_as_it_was() {
        let masked = masked("f", FILE, rules()).unwrap().unwrap();
        let places = ["data.a.source", "data.a.headers.Authorization", "data.b.source", "stage.c.run", "a comment"];
        assert_eq!(masked.places, places);
        let expected = FILE.replace("token=abc", "token=***").replace("'Bearer abc'", "\"***\"");
        assert_eq!(masked.text, expected);
        let other = super::masked("f", &FILE.replace("abc", "another"), rules()).unwrap().unwrap();
        assert_eq!(other.text, masked.text, "whatever the secrets are");
        assert_eq!(super::masked("f", &masked.text, rules()).unwrap(), None);
    }

    #[test]
    fn secrets_are_hidden_in_comments_wherever_they_stand() {
        let project = "[project]\nname = \"x\"\n";
        for comment in [
            "#\"https://a.example/x?token=abc\"\n",
            "[data.a] # https://a.example/x?token=abc\nsource = \"a\"\n",
            "[data.a]\nsource = \"a\" # was https://a.example/x?token=abc\r\n",
            "[data.a]\nsource = [ # https://a.example/x?token=abc\n  'b', # https://a.example/x?token=abc\n]\n",
            "[data.a]\nsource = \"a # b \\\" # c\" # https://a.example/x?token=abc\n",
            "[data.a]\nsource = '\\' # https://a.example/x?token=abc\n",
            "[data.a]\nquery = \"\"\"\n# a \\\"\"\" '\"\"\"\" # https://a.example/x?token=abc",
            "[data.a]\nquery = '''\n\" # a''''' # https://a.example/x?token=abc",
            "# headers = { Authorization = \"abc\" }\n",
            "  ## password = \"abc\" # as it was\n",
        ] {
            let text = format!("{project}{comment}");
            let masked = masked("f", &text, rules()).unwrap().unwrap_or_else(|| panic!("{text}"));
            let expected = (text.replace("abc", "***"), vec!["a comment".to_owned()]);
            assert_eq!((masked.text, masked.places), expected, "{text}");
        }
        for open in ["# a \"quote\" that's open\n", "# password = \"${NAME}\"\n", "# see https://a.example/x\n"] {
            assert_eq!(masked("f", &format!("{project}{open}"), rules()).unwrap(), None, "{open}");
        }
    }

    #[test]
    fn what_looks_like_a_comment_in_a_string_is_none() {
        let text = "[data.a]\nquery = \"\"\"\n# https://a.example/x?token=abc\n\"\"\"\n";
        assert_eq!(masked("f", text, rules()).unwrap().unwrap().places, ["data.a.query"]);
    }
}
