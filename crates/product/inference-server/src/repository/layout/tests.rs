use super::*;

/// A folder with these files; the text is their content.
fn folder(contents: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("folder");
    for (path, text) in contents {
        let path = folder.path().join(path);
        files::create_directories(path.parent().expect("a folder")).expect("folders");
        files::write_atomic(&path, text.as_bytes()).expect("write");
    }
    folder
}

fn said(found: &Found) -> Vec<String> {
    let versions = |model: &FoundModel| model.versions.keys().map(u64::to_string).collect::<Vec<_>>().join(",");
    found.models.iter().map(|model| format!("{}:{}", model.name, versions(model))).collect()
}

fn fails(path: &Path) -> String {
    find(path, None).expect_err("refused").to_string()
}

#[test]
fn files_and_folders_of_each_kind_are_found() {
    let all = folder(&[
        ("late.onnx", ""),
        ("repository/flights/config.pbtxt", "version_policy { all { } }"),
        ("repository/flights/1/model.onnx", ""),
        ("repository/flights/12/model.onnx", ""),
        ("repository/flights/05/model.onnx", ""),
        ("repository/demand/model.onnx", ""),
        ("repository/logged/MLmodel", "flavors:\n  onnx:\n    data: graph.onnx\n"),
        ("repository/logged/graph.onnx", ""),
        ("repository/pickled/MLmodel", "flavors:\n  sklearn: {pickled_model: model.pkl}\n"),
        ("repository/notes/readme.md", ""),
        ("repository/.hidden/model.onnx", ""),
        ("repository/README", ""),
    ]);
    let at = |path: &str| all.path().join(path);
    assert_eq!(said(&find(&at("late.onnx"), None).expect("file")), ["late:1"]);
    let name = ModelName::new("other").expect("name");
    assert_eq!(said(&find(&at("late.onnx"), Some(&name)).expect("named")), ["other:1"]);
    let found = find(&at("repository"), None).expect("repository");
    assert_eq!(said(&found), ["demand:1", "flights:1,12", "logged:1", "pickled:1"]);
    assert_eq!(found.passed_over.len(), 2, "{:?}", found.passed_over);
    assert!(matches!(&found.models[2].versions[&1], ModelFile::Onnx(path) if path.ends_with("graph.onnx")));
    assert!(matches!(&found.models[3].versions[&1], ModelFile::Folder(_)));
    assert_eq!(said(&find(&at("repository/flights"), None).expect("one model")), ["flights:1,12"]);
    assert_eq!(said(&find(&at("repository/demand"), Some(&name)).expect("one model")), ["other:1"]);
    assert!(find(&at("repository"), Some(&name)).is_err(), "several models have not one name");
}

#[test]
fn what_is_missing_is_said() {
    let all = folder(&[
        ("empty/readme.md", ""),
        ("unversioned/m/config.pbtxt", ""),
        ("lost/m/1/weights.bin", ""),
        ("away/MLmodel", "flavors: {onnx: {data: ../late.onnx}}"),
        ("absolute/MLmodel", "flavors: {onnx: {data: /etc/passwd}}"),
        ("broken/MLmodel", "flavors: ["),
    ]);
    let at = |path: &str| all.path().join(path);
    assert!(fails(&at("nothing")).contains("No such file"));
    assert!(fails(&at("empty")).contains("holds no model"));
    assert!(fails(&at("unversioned")).contains("no version"));
    assert!(fails(&at("lost")).contains("model.onnx"));
    assert!(fails(&at("away")).contains("not inside"));
    assert!(fails(&at("absolute")).contains("not inside"));
    assert!(fails(&at("broken")).contains("no MLmodel"));
}

#[test]
fn a_model_that_is_not_right_hides_no_other() {
    let all = folder(&[("good/model.onnx", ""), ("half/1/weights.bin", ""), ("a:b/model.onnx", "")]);
    let found = look(all.path(), None).expect("a look");
    assert_eq!(said(&found), ["good:1"]);
    let failures: Vec<&str> = found.failures.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(failures, ["a:b", "half"]);
    assert!(fails(all.path()).contains("a:b"), "at the start all have to be right");
    let found = look(&all.path().join("half"), None).expect("a look");
    assert_eq!(found.failures[0].0, "half");
}

#[test]
fn labels_are_the_lines_of_a_file_in_the_models_folder() {
    let labelled = "output { name: \"y\" data_type: TYPE_FP32 dims: 3 label_filename: \"labels.txt\" }";
    let all = folder(&[
        ("right/m/config.pbtxt", labelled),
        ("right/m/1/model.onnx", ""),
        ("right/m/labels.txt", "cat\r\nd\u{f6}g\n\ncow\n"),
        ("lost/m/config.pbtxt", labelled),
        ("lost/m/1/model.onnx", ""),
        ("away/m/config.pbtxt", &labelled.replace("labels.txt", "../../right/m/labels.txt")),
        ("away/m/1/model.onnx", ""),
    ]);
    let at = |path: &str| all.path().join(path);
    let found = find(&at("right"), None).expect("repository");
    assert_eq!(*found.models[0].config.settings.labels["y"], ["cat", "d\u{f6}g", "", "cow"]);
    assert!(found.models[0].config.without_effect.is_empty());
    assert!(fails(&at("lost")).contains("labels.txt"));
    assert!(fails(&at("away")).contains("leaves the folder"));
}

#[cfg(unix)]
#[test]
fn links_are_followed_inside_and_not_out() {
    use std::os::unix::fs::symlink;
    let outside = folder(&[("secret.onnx", "")]);
    // As a volume of Kubernetes is laid out.
    let inside = folder(&[("..2026/m/1/model.onnx", "")]);
    symlink("..2026/m", inside.path().join("m")).expect("link");
    assert_eq!(said(&find(inside.path(), None).expect("inside")), ["m:1"]);
    let hostile = folder(&[("m/readme.md", "")]);
    symlink(outside.path().join("secret.onnx"), hostile.path().join("m/model.onnx")).expect("link");
    assert!(fails(hostile.path()).contains("leaves the folder"));
    let hostile = folder(&[("m/readme.md", "")]);
    symlink("/dev", hostile.path().join("m/1")).expect("link");
    assert!(fails(hostile.path()).contains("leaves the folder"));
    let hostile = folder(&[("m/readme.md", "")]);
    symlink(".", hostile.path().join("m/model.onnx")).expect("link");
    assert!(fails(hostile.path()).contains("no file"));
}

#[test]
fn names_that_cannot_be_models_are_refused() {
    let all = folder(&[("a:b/model.onnx", ""), ("late .onnx", "")]);
    assert!(fails(all.path()).contains("a:b"));
    assert!(fails(&all.path().join("late .onnx")).contains("late "));
}
