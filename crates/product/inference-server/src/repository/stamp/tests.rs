use super::super::layout::find;
use super::*;

const PICKLED: &str = "flavors: {sklearn: {pickled_model: model.pkl}}";

/// A folder with a model `m`.
fn model(description: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("folder");
    for (path, text) in [("m/MLmodel", description), ("m/model.onnx", ""), ("m/code/rope.py", "hemp")] {
        write(&folder, path, text);
    }
    folder
}

fn write(folder: &tempfile::TempDir, path: &str, text: &str) {
    let path = folder.path().join(path);
    files::create_directories(path.parent().expect("a folder")).expect("folders");
    std::fs::write(path, text).expect("write");
}

/// What the model is now, and what is told of it.
fn taken(folder: &tempfile::TempDir) -> (Stamp, Option<String>) {
    let found = find(&folder.path().join("m"), None).expect("a model");
    let [model] = found.models.as_slice() else { panic!("{found:?}") };
    let stamp = Stamp::of(model, &model.versions[&1]).expect("a stamp");
    let note = stamp.note(model, 1);
    (stamp, note)
}

#[test]
fn a_change_in_a_folder_of_mlflows_model_shows() {
    for description in [PICKLED, "flavors: {onnx: {data: model.onnx}}"] {
        let folder = model(description);
        let changed = |path: &str, text: &str| {
            let before = taken(&folder);
            assert_eq!(before, taken(&folder));
            write(&folder, path, text);
            before != taken(&folder)
        };
        assert!(changed("m/code/rope.py", "hemp and tar"));
        assert!(changed("m/artifacts/inner/MLmodel", ""));
        assert!(changed("m/artifacts/inner/data/model.pkl", "pickled"));
        assert!(!changed("m/code/__pycache__/rope.pyc", "compiled"));
        assert!(!changed("m/code/.rope.py.swp", "being written"));
        let before = taken(&folder);
        files::remove_file(&folder.path().join("m/code/rope.py")).expect("removed");
        assert!(before != taken(&folder) && before.1.is_none());
    }
}

#[test]
fn the_folders_beside_a_graph_alone_are_not_watched() {
    let folder = model("");
    files::remove_file(&folder.path().join("m/MLmodel")).expect("removed");
    let before = taken(&folder);
    write(&folder, "m/code/rope.py", "hemp and tar");
    assert_eq!(before, taken(&folder));
}

#[test]
fn what_is_beyond_a_bound_is_told() {
    let folder = model(PICKLED);
    let deep = |levels: usize| format!("m{}/rope", "/deep".repeat(levels));
    write(&folder, &deep(below::DEPTH), "");
    assert_eq!(taken(&folder).1, None);
    write(&folder, &deep(below::DEPTH + 1), "");
    let note = taken(&folder).1.expect("told");
    assert!(note.contains("version 1 of m") && note.contains("8 levels"), "{note}");

    let folder = model(PICKLED);
    // With `code` and what is in it, and `data`.
    for file in 0..below::MOST - 3 {
        write(&folder, &format!("m/data/{file}"), "");
    }
    assert_eq!(taken(&folder).1, None);
    write(&folder, "m/data/more", "");
    assert!(taken(&folder).1.is_some());

    let folder = model(PICKLED);
    // With `MLmodel` and the graph.
    for file in 0..FILES - 2 {
        write(&folder, &format!("m/{file}"), "");
    }
    assert_eq!(taken(&folder).1, None);
    write(&folder, "m/more", "");
    assert!(taken(&folder).1.is_some());
}

#[cfg(unix)]
#[test]
fn links_are_looked_behind_inside_and_not_out() {
    use std::os::unix::fs::symlink;
    let outside = tempfile::tempdir().expect("folder");
    write(&outside, "rope.py", "hemp");
    let folder = model(PICKLED);
    let link = |to: &Path, path: &str| symlink(to, folder.path().join(path)).expect("link");
    link(outside.path(), "m/out");
    link(&outside.path().join("rope.py"), "m/code/out.py");
    link(Path::new("nothing"), "m/code/dangling");
    link(Path::new(".."), "m/code/around");
    // As a volume of Kubernetes is laid out.
    write(&folder, "m/..2026/data/rope", "hemp");
    link(Path::new("..2026"), "m/..data");
    link(Path::new("..data/data"), "m/data");
    let before = taken(&folder);
    assert_eq!(before.1, None);
    write(&outside, "rope.py", "hemp and tar");
    assert_eq!(before, taken(&folder), "what lies outside is none of its files");
    write(&folder, "m/..2026/data/rope", "hemp and tar");
    let changed = taken(&folder);
    assert!(before != changed);
    files::remove_file(&folder.path().join("m/code/out.py")).expect("removed");
    link(&outside.path().join("sisal.py"), "m/code/out.py");
    assert!(changed != taken(&folder), "the link itself is watched");
}
