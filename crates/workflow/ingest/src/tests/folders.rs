use super::fixture::{Project, flights, zip};
use crate::{IngestSettings, Source, source_fingerprint};

#[tokio::test]
async fn folders_and_patterns() {
    let project = Project::new().await;
    project.write("in/b/2.csv", b"id\n2\n");
    project.write("in/a.csv", b"id\n1\n");
    project.write("in/.git/config", b"x");
    project.write("in/README.md", b"x");
    project.write("in/z.zip", &zip(&[("3.csv", b"id\n3\n")]));
    let settings = IngestSettings::new("in", project.scratch());
    let made = project.run(&settings).await.unwrap();
    assert_eq!(project.rows(&made.tree).await, ["1", "2", "3"]);
    let names: Vec<_> = made.report.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["a.csv", "b/2.csv", "z.zip/3.csv"]);
    let skipped: Vec<_> = made.report.skipped.iter().map(|skipped| skipped.reason.as_str()).collect();
    assert_eq!(skipped, ["hidden file", "nothing that is read, by its name"]);
    assert_eq!(made.report.notes, ["1 file left out: `README.md` (nothing that is read, by its name)"]);
    assert_eq!(made.source, source_fingerprint(&settings, &project.path()).await.unwrap());
    let settings = IngestSettings::new("in/**/*.csv", project.scratch());
    let made = project.run(&settings).await.unwrap();
    assert_eq!(project.rows(&made.tree).await, ["1", "2"]);
    let source = Source::Files(vec!["in/b/2.csv".to_owned(), "in/a.csv".to_owned()]);
    let made = project.run(&IngestSettings { source, ..settings }).await.unwrap();
    let names: Vec<_> = made.report.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["in/a.csv", "in/b/2.csv"]);
}

#[tokio::test]
async fn a_new_file_in_a_folder_costs_only_itself() {
    let project = Project::new().await;
    project.write("in/1.xlsx", &flights(0, 20));
    project.write("in/2.xlsx", &flights(100, 20));
    let settings = IngestSettings::new("in", project.scratch());
    let first = project.run(&settings).await.unwrap();
    project.write("in/3.xlsx", &flights(200, 20));
    let second = project.run(&settings).await.unwrap();
    assert_eq!((second.executed_pieces, second.reused_pieces, second.report.rows), (1, 2, 60));
    assert_ne!((first.tree, &first.source.digest), (second.tree, &second.source.digest));
}
