use percent_encoding::percent_decode_str;
use reqwest::Url;

/// What a file is called whose URL has no name.
const NAMELESS: &str = "download";

/// Bytes that a file system takes for one name.
const LONGEST: usize = 255;

/// The last part of a URL's path as a file name that stays in its directory.
pub(super) fn file_name(url: &Url) -> String {
    let last = url.path_segments().and_then(|segments| segments.rev().find(|segment| !segment.is_empty()));
    let decoded = percent_decode_str(last.unwrap_or_default()).decode_utf8_lossy();
    safe_segment(&decoded).unwrap_or_else(|| NAMELESS.to_owned())
}

/// An object's path as a relative path; none when a part of it could lead out of its directory, or mean another file.
pub(super) fn relative_path(path: &str) -> Option<String> {
    let parts: Option<Vec<_>> = path.split('/').map(|part| safe_segment(part).filter(|safe| safe == part)).collect();
    parts.map(|parts| parts.join("/"))
}

fn safe_segment(text: &str) -> Option<String> {
    let safe: String = text.chars().filter(|c| !c.is_control() && !matches!(c, '/' | '\\' | ':')).collect();
    let hidden = safe.starts_with('.');
    (!safe.is_empty() && !hidden && safe.len() <= LONGEST).then_some(safe)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_come_from_the_path_and_stay_in_their_directory() {
        for (url, name) in [
            ("https://h/a/flights%202013.zip?x=1", "flights 2013.zip"),
            ("https://h/", "download"),
            ("https://h/a/b/", "b"),
            ("https://h/a/%2e%2e%2fetc", "download"),
            ("https://h/..%5c..%5cx", "download"),
            ("https://h/.partial", "download"),
        ] {
            assert_eq!(file_name(&Url::parse(url).unwrap()), name, "{url}");
        }
        assert_eq!(relative_path("a/b c.csv").as_deref(), Some("a/b c.csv"));
        for path in ["../x", "a//b", "a/..", "a\\b", "", ".partial/x", "c:/x"] {
            assert_eq!(relative_path(path), None, "{path}");
        }
    }

    proptest! {
        #[test]
        fn no_name_leads_out(path in ".{0,40}") {
            let mut url = Url::parse("https://h/").unwrap();
            url.set_path(&path);
            let name = file_name(&url);
            prop_assert!(!name.contains(['/', '\\', '\0']) && !name.starts_with('.') && !name.is_empty());
        }
    }
}
