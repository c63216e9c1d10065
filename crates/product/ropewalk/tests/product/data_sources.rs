//! Servers that are asked again whether what they gave has changed.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};

use crate::harness::{Project, count, talk};

/// Serves `body` of the target of each request under one and the same entity tag; the statuses that it answered.
fn server(body: fn(&str) -> &'static str) -> (String, Receiver<u16>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/numbers.csv", listener.local_addr().expect("address"));
    let (told, statuses) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("connection");
            let lines = BufReader::new(stream.try_clone().expect("stream")).lines();
            let head: Vec<String> = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
            let known = head.iter().any(|line| line.eq_ignore_ascii_case("if-none-match: \"one\""));
            let body = body(head.first().map(String::as_str).unwrap_or_default());
            let (status, length) = if known { ("304 Not Modified", 0) } else { ("200 OK", body.len()) };
            let answer = format!(
                "HTTP/1.1 {status}\r\nETag: \"one\"\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{}",
                &body[..length]
            );
            stream.write_all(answer.as_bytes()).expect("answer");
            if told.send(if known { 304 } else { 200 }).is_err() {
                return;
            }
        }
    });
    (url, statuses)
}

/// A file that the server says is the same is not sent again, unless it is to be read in another way.
#[test]
fn a_download_that_did_not_change_is_not_repeated() {
    let (url, statuses) = server(|_| "a;b\n1;2\n");
    let file = |more: &str| format!("[project]\nname = \"x\"\n[data.numbers]\nsource = \"{url}\"\n{more}");
    let project = Project::with(&[("ropewalk.toml", &file(""))]);
    let output = project.run(&["run"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.contains("numbers: received 8 B in"), "{said}");
    assert_eq!(statuses.recv().ok(), Some(200));
    let versions = || project.json(&["data", "log", "numbers"]).as_array().map(Vec::len);
    assert_eq!(versions(), Some(1));
    project.succeed(&["data", "import", "numbers"]);
    assert_eq!((statuses.recv().ok(), versions()), (Some(304), Some(1)));
    let trail = project.json(&["data", "audit", "numbers"]);
    let entries = |action: &str| -> Vec<_> {
        trail.as_array().into_iter().flatten().filter(|entry| entry["action"] == action).collect()
    };
    let (looked, wrote) = (entries("import"), entries("write"));
    assert_eq!((looked.len(), wrote.len()), (1, 1), "when it was asked is known, though nothing was new: {trail}");
    assert!(looked[0]["at"].as_i64() > wrote[0]["at"].as_i64() && looked[0]["object"] == wrote[0]["object"], "{trail}");
    assert_eq!(
        (looked[0]["details"]["new_rows"].as_u64(), looked[0]["details"]["source"].as_str()),
        (Some(0), Some(url.as_str()))
    );
    project.write("ropewalk.toml", &file("delimiter = \",\"\n"));
    project.succeed(&["run"]);
    assert_eq!((statuses.recv().ok(), versions()), (Some(200), Some(2)), "what is read in another way is read anew");
}

/// The settings are others, the rows are not: the version stays, and what was received for it is known by these settings.
#[test]
fn a_setting_that_changes_no_row_costs_one_download() {
    let (url, statuses) = server(|_| "a,b\n1,2\n");
    let file = |more: &str| format!("[project]\nname = \"x\"\n[data.numbers]\nsource = \"{url}\"\n{more}");
    let project = Project::with(&[("ropewalk.toml", &file(""))]);
    let versions = || count(&project.json(&["data", "log", "numbers"]));
    let import = || {
        project.succeed(&["data", "import", "numbers"]);
        (statuses.recv().ok(), versions())
    };
    project.succeed(&["run"]);
    assert_eq!((statuses.recv().ok(), versions(), import()), (Some(200), 1, (Some(304), 1)));
    project.write("ropewalk.toml", &file("type_tolerance = 0.02\n"));
    assert_eq!(import(), (Some(200), 1), "no import with these settings has made these rows");
    assert_eq!(import(), (Some(304), 1), "one has");
    assert_eq!(import(), (Some(304), 1), "which is known though the last one received nothing");
    project.write("ropewalk.toml", &file(""));
    assert_eq!(import(), (Some(304), 1), "and so are the settings before");
    project.succeed(&["data", "import", "numbers", "--full"]);
    assert_eq!(statuses.recv().ok(), Some(200));
}

/// The value of a variable says who asks, or for what: a tag is of no use for another one.
#[test]
fn a_tag_is_of_what_was_asked_for() {
    let (url, statuses) = server(|head| if head.contains("key=feb") { "a\n3\n4\n5\n" } else { "a\n1\n2\n" });
    let file = format!("[project]\nname = \"x\"\n[data.numbers]\nsource = \"{url}?key=${{MONTH}}\"\n");
    let project = Project::with(&[("ropewalk.toml", &file)]);
    let import = |month: &str| {
        let output = project.command(&["data", "import", "numbers"]).env("MONTH", month).output().expect("started");
        assert!(output.status.success(), "{}", talk(&output));
        let rows = project.json(&["data", "show", "numbers"])["report"]["rows"].as_u64();
        (statuses.recv().ok(), rows)
    };
    assert_eq!(import("jan"), (Some(200), Some(2)));
    assert_eq!(import("jan"), (Some(304), Some(2)));
    assert_eq!(import("feb"), (Some(200), Some(3)), "it is another file, whatever its tag");
    assert_eq!(import("feb"), (Some(304), Some(3)));
}

/// It has values of the source: nobody else reads it, and it does not outlive its use.
#[test]
fn the_list_of_what_did_not_fit_goes_when_an_import_succeeds_or_a_version_is_removed() {
    let file = "[project]\nname = \"x\"\n[data.people]\nsource = \"people.csv\"\n";
    let good = "a,b\n1,2\n";
    let bad = format!("{good}{}", "3\n".repeat(20));
    let project = Project::with(&[("ropewalk.toml", file), ("people.csv", good)]);
    let kept = project.path(".ropewalk/quarantine/people.parquet");
    project.succeed(&["run"]);
    let fail = || {
        project.write("people.csv", &bad);
        let said = project.fail(1, &["run"]);
        assert!(said.contains(".ropewalk/quarantine/people.parquet"), "{said}");
        assert!(kept.exists());
    };
    fail();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(&kept).expect("list").permissions().mode() & 0o777, 0o600);
    }
    let ignored = std::fs::read_to_string(project.path(".ropewalk/.gitignore")).expect("what git ignores");
    assert!(ignored.lines().any(|line| line == "*"), "{ignored}");
    project.write("people.csv", good);
    project.succeed(&["run"]);
    assert!(!kept.exists(), "nothing had to be read");
    fail();
    project.succeed(&["data", "rm", "people@v1", "--reason", "asked to"]);
    assert!(!kept.exists(), "it may list the values that had to go");
}
