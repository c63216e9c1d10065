/// Endings of names whose files MLflow 3.17 shows as text (`mlflow/utils/mime_type_utils.py`).
const TEXT: [&str; 26] = [
    "txt",
    "log",
    "err",
    "cfg",
    "conf",
    "cnf",
    "cf",
    "ini",
    "properties",
    "prop",
    "hocon",
    "toml",
    "yaml",
    "yml",
    "xml",
    "json",
    "js",
    "py",
    "py3",
    "csv",
    "tsv",
    "md",
    "rst",
    "ipynb",
    "MLmodel",
    "MLproject",
];

/// Other endings that artifacts often have, in small letters.
const OTHERS: [(&str, &str); 22] = [
    ("avi", "video/x-msvideo"),
    ("bmp", "image/bmp"),
    ("css", "text/css"),
    ("gif", "image/gif"),
    ("htm", "text/html"),
    ("html", "text/html"),
    ("ico", "image/vnd.microsoft.icon"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("mov", "video/quicktime"),
    ("mp3", "audio/mpeg"),
    ("mp4", "video/mp4"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("svg", "image/svg+xml"),
    ("tar", "application/x-tar"),
    ("tif", "image/tiff"),
    ("tiff", "image/tiff"),
    ("wav", "audio/x-wav"),
    ("webm", "video/webm"),
    ("webp", "image/webp"),
    ("zip", "application/zip"),
];

/// The content type of a file by its name; bytes where the name says nothing.
pub(super) fn content_type(name: &str) -> &'static str {
    // A name that begins with its only dot has no ending.
    let ending = match name.rsplit_once('.') {
        Some((stem, ending)) if !stem.is_empty() => ending,
        _ => name,
    };
    if TEXT.contains(&ending) {
        return "text/plain";
    }
    let small = ending.to_ascii_lowercase();
    OTHERS.iter().find(|(one, _)| *one == small).map_or("application/octet-stream", |(_, kind)| *kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_what_files_are() {
        for (name, kind) in [
            ("a.txt", "text/plain"),
            ("a.b.json", "text/plain"),
            ("MLmodel", "text/plain"),
            ("plot.PNG", "image/png"),
            ("page.html", "text/html"),
            (".png", "application/octet-stream"),
            ("model.pkl", "application/octet-stream"),
            ("noending", "application/octet-stream"),
            ("x.", "application/octet-stream"),
        ] {
            assert_eq!(content_type(name), kind, "{name}");
        }
    }
}
