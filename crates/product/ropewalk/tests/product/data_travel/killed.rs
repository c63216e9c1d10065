//! Killed on the way, and two at once.

use super::{ONE, Place, count, noise, sum, table};
use crate::harness::{Draws, Project};

#[test]
fn a_killed_push_goes_on_and_a_pull_is_whole() {
    killed_on_the_way(&Place::local());
}

#[test]
fn a_killed_push_to_s3_goes_on_and_a_pull_is_whole() {
    killed_on_the_way(&Place::s3());
}

fn killed_on_the_way(place: &Place) {
    let names: Vec<String> = (0..12).map(|number| format!("t{number}")).collect();
    let sources: Vec<String> = names.iter().map(|name| format!("[data.{name}]\nsource = \"{name}.csv\"\n")).collect();
    let file = format!("[project]\nname = \"x\"\n{}", sources.concat());
    let first = place.machine(&file, &[]);
    for (seed, name) in (0..).zip(&names) {
        first.write(&format!("{name}.csv"), &noise(seed));
    }
    first.succeed(&["run"]);
    let mut draws = Draws(0x7ab1e);
    first.killed_until_through(&["push"], &mut draws);
    let told = first.json(&["push"]);
    assert!(names.iter().all(|name| table(&told, name)["present"] == 1), "{told}");
    let second = place.machine(&file, &[]);
    second.killed_until_through(&["pull"], &mut draws);
    for name in &names {
        let question = format!("SELECT count(*) AS n FROM {name}");
        assert_eq!(sum(&second, &question), Some(3000), "{name}");
        let digest = |project: &Project| project.json(&["data", "log", name])[0]["version"]["digest"].clone();
        assert_eq!(digest(&first), digest(&second));
    }
    let verified = second.json(&["data", "verify"]);
    assert_eq!((count(&verified["damaged"]), count(&verified["missing"])), (0, 0), "{verified}");
}

#[test]
fn two_pushes_at_once_are_both_whole() {
    for place in [Place::local(), Place::s3()] {
        let machines = [1, 2].map(|seed| {
            let project = place.machine(ONE, &[("a.csv", &noise(seed))]);
            project.succeed(&["run"]);
            project.succeed(&["data", "tag", "a", &format!("by_{seed}")]);
            project
        });
        let mut children = machines.each_ref().map(|project| project.command(&["push"]).spawn().expect("push"));
        for child in &mut children {
            assert!(child.wait().expect("push").success());
        }
        let third = place.machine(ONE, &[]);
        third.succeed(&["pull"]);
        for tag in ["by_1", "by_2"] {
            assert_eq!(sum(&third, &format!("SELECT count(*) AS n FROM a@{tag}")), Some(3000), "{tag}");
        }
    }
}
