//! Trains forust-ml on matrices that `compare.py` wrote, and prints the probabilities of the test part.
//!
//! `compare-forust DIR`: `DIR/PART.f64` holds little-endian 64-bit floats: rows, features, each feature's column
//! (NaN = missing), then the labels. The answer, `DIR/probabilities.f64`, is as many numbers as the test part has rows.

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use forust_ml::metric::Metric;
use forust_ml::objective::ObjectiveType;
use forust_ml::{GradientBooster, Matrix};

struct Part {
    rows: usize,
    features: usize,
    values: Vec<f64>,
    labels: Vec<f64>,
}

fn read(path: &Path) -> Result<Part, Box<dyn Error>> {
    let bytes = std::fs::read(path)?;
    let mut numbers = bytes.chunks_exact(8).map(|one| f64::from_le_bytes(one.try_into().expect("eight bytes")));
    let rows = numbers.next().ok_or("the file is empty")? as usize;
    let features = numbers.next().ok_or("the file is empty")? as usize;
    let values = numbers.by_ref().take(rows * features).collect();
    Ok(Part { rows, features, values, labels: numbers.collect() })
}

fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::args().nth(1).ok_or("usage: compare-forust DIR")?;
    let directory = Path::new(&directory);
    let (train, validation) = (read(&directory.join("train.f64"))?, read(&directory.join("validation.f64"))?);
    let test = read(&directory.join("test.f64"))?;
    let start = Instant::now();
    let weights = vec![1.0; train.rows];
    let validation_weights = vec![1.0; validation.rows];
    let watched = vec![(
        Matrix::new(&validation.values, validation.rows, validation.features),
        validation.labels.as_slice(),
        validation_weights.as_slice(),
    )];
    let mut booster = GradientBooster::default()
        .set_objective_type(ObjectiveType::LogLoss)
        .set_iterations(300)
        .set_learning_rate(0.05)
        .set_max_depth(6)
        .set_l2(1.0)
        .set_gamma(0.0)
        .set_min_leaf_weight(5.0)
        .set_nbins(256)
        .set_initialize_base_score(true)
        .set_evaluation_metric(Some(Metric::LogLoss))
        .set_early_stopping_rounds(Some(30));
    booster.fit(&Matrix::new(&train.values, train.rows, train.features), &train.labels, &weights, Some(watched))?;
    let seconds = start.elapsed().as_secs_f64();
    let log_odds = booster.predict(&Matrix::new(&test.values, test.rows, test.features), true);
    let bytes: Vec<u8> = log_odds.iter().flat_map(|one| (1.0 / (1.0 + (-one).exp())).to_le_bytes()).collect();
    std::fs::write(directory.join("probabilities.f64"), bytes)?;
    let kept = booster.best_iteration.map_or(booster.trees.len(), |best| best + 1);
    println!("{{\"seconds\": {seconds}, \"trees\": {kept}}}");
    Ok(())
}
