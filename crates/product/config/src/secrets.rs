use toml_edit::visit_mut::{self, VisitMut};
use toml_edit::{Array, Formatted, Item, KeyMut};

use crate::ConfigError;
use crate::edit::document;

/// What is shown in the place of a secret.
const HIDDEN: &str = "***";

/// The table whose keys are names of headers: some of them hold secrets.
const HEADERS: &str = "headers";

/// What tells secrets from other texts; the rules are those by which URLs are shown.
#[derive(Clone, Copy, Debug)]
pub struct SecretRules {
    /// Whether the value of a header of this name is a secret.
    pub is_name: fn(&str) -> bool,
    /// A text without the secrets of the URLs in it; none where there are none.
    pub without: fn(&str) -> Option<String>,
}

/// A project file without the secrets that are written in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaskedFile {
    /// Its text, the same whatever the secrets are.
    pub text: String,
    /// Where they stand, such as `data.orders.headers.Authorization`; a comment has no place.
    pub places: Vec<String>,
}

/// The text of the project file `file` without the secrets that are written in it; none where there are none.
pub fn masked(file: &str, text: &str, rules: SecretRules) -> Result<Option<MaskedFile>, ConfigError> {
    let mut document = document(file, text)?;
    let mut masking = Masking { rules, path: Vec::new(), places: Vec::new() };
    masking.visit_document_mut(&mut document);
    let places = masking.places;
    // Untouched, byte by byte, where there is nothing to hide.
    let text = if places.is_empty() { text.to_owned() } else { document.to_string() };
    match comments_masked(&text, rules) {
        Some(text) => Ok(Some(MaskedFile { text, places })),
        None if places.is_empty() => Ok(None),
        None => Ok(Some(MaskedFile { text, places })),
    }
}

/// The text without the secrets of URLs in lines that are comments, such as a source that is no longer used.
fn comments_masked(text: &str, rules: SecretRules) -> Option<String> {
    let mut masked = String::with_capacity(text.len());
    let mut any = false;
    for line in text.split_inclusive('\n') {
        let hidden = if line.trim_start().starts_with('#') { (rules.without)(line) } else { None };
        any |= hidden.is_some();
        masked.push_str(hidden.as_deref().unwrap_or(line));
    }
    any.then_some(masked)
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
        let is_secret = !matches!(text, "" | HIDDEN) && !is_variable(text);
        if is_secret && self.is_named() { Some(HIDDEN.to_owned()) } else { (self.rules.without)(text) }
    }
}

/// Whether a text only names a variable of the environment: `${NAME}`.
fn is_variable(text: &str) -> bool {
    let name = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    name.is_some_and(|name| name.chars().all(|letter| letter == '_' || letter.is_ascii_alphanumeric()))
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
            let end = behind.find(['"', '&', '\n']).unwrap_or(behind.len());
            (!behind.starts_with(['*', '$'])).then(|| format!("{before}?token=***{}", &behind[end..]))
        }
        SecretRules { is_name: |name| name.contains("Auth") || name.contains("TOKEN"), without }
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
        let places =
            ["data.a.source", "data.a.headers.Authorization", "data.b.source", "stage.c.run"].map(str::to_owned);
        assert_eq!(masked.places, places);
        let expected = FILE.replace("token=abc", "token=***").replace("'Bearer abc'", "\"***\"");
        assert_eq!(masked.text, expected);
        let other = super::masked("f", &FILE.replace("abc", "another"), rules()).unwrap().unwrap();
        assert_eq!(other.text, masked.text, "whatever the secrets are");
        assert_eq!(super::masked("f", &masked.text, rules()).unwrap(), None);
    }

    #[test]
    fn a_secret_in_a_comment_has_no_place() {
        let text = "[project]\nname = \"x\"\n#\"https://a.example/x?token=abc\"\n";
        let masked = masked("f", text, rules()).unwrap().unwrap();
        assert_eq!((masked.text, masked.places), (text.replace("abc", "***"), Vec::new()));
    }
}
