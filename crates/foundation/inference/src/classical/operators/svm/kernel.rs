use super::super::Definition;
use crate::classical::fault::{Fault, checked_count};

/// The function that compares a row with a support vector (attribute `kernel_type`), with its parameters.
#[derive(Clone, Copy, Debug)]
enum Function {
    Linear,
    Poly { gamma: f32, coef0: f32, degree: f32 },
    Rbf { gamma: f32 },
    Sigmoid { gamma: f32, coef0: f32 },
}

/// Support vectors [vectors, features] and how rows are compared with them.
#[derive(Debug)]
pub(super) struct Kernel {
    function: Function,
    vectors: Vec<f32>,
    pub(super) features: usize,
}

fn dot(left: &[f32], right: &[f32]) -> f32 {
    left.iter().zip(right).map(|(left, right)| left * right).sum()
}

impl Kernel {
    /// Reads `kernel_type`, `kernel_params` (gamma, coef0, degree) and `support_vectors`, of which there are `count`.
    pub(super) fn read(definition: &mut Definition<'_>, count: usize) -> Result<Self, Fault> {
        let attributes = &mut definition.attributes;
        let name = attributes.text("kernel_type")?;
        let parameters = attributes.floats("kernel_params")?.unwrap_or_default();
        let vectors = attributes.floats("support_vectors")?.unwrap_or_default();
        let (gamma, coef0, degree) = match parameters.as_slice() {
            [] => (0.0, 0.0, 0.0),
            [gamma, coef0, degree] => (*gamma, *coef0, *degree),
            other => return Err(Fault::invalid(format!("{} values of `kernel_params`, expected 3", other.len()))),
        };
        let function = match name.as_deref() {
            None | Some("LINEAR") => Function::Linear,
            Some("POLY") => Function::Poly { gamma, coef0, degree },
            Some("RBF") => Function::Rbf { gamma },
            Some("SIGMOID") => Function::Sigmoid { gamma, coef0 },
            Some(other) => return Err(Fault::invalid(format!("kernel `{other}`"))),
        };
        let features = vectors.len().checked_div(count).unwrap_or(0);
        if features == 0 || features * count != vectors.len() {
            return Err(Fault::invalid(format!("{} values in {count} support vectors", vectors.len())));
        }
        Ok(Self { function, vectors, features })
    }

    /// Products for one row.
    pub(super) fn products(&self) -> u64 {
        self.vectors.len() as u64
    }

    /// The kernel of each row with each support vector, [rows, vectors].
    pub(super) fn compare(&self, rows: &[f32], columns: usize) -> Result<Vec<f32>, Fault> {
        if columns != self.features {
            return Err(Fault::invalid(format!("support vectors of {} values for {columns} columns", self.features)));
        }
        checked_count(&[rows.len() / columns, self.vectors.len() / columns])?;
        let compared = rows
            .chunks(columns)
            .flat_map(|row| self.vectors.chunks(columns).map(move |vector| self.function.apply(row, vector)));
        Ok(compared.collect())
    }
}

impl Function {
    fn apply(self, row: &[f32], vector: &[f32]) -> f32 {
        match self {
            Self::Linear => dot(row, vector),
            Self::Poly { gamma, coef0, degree } => {
                let value = gamma * dot(row, vector) + coef0;
                match degree {
                    2.0 => value * value,
                    3.0 => value * value * value,
                    _ => value.powf(degree),
                }
            }
            Self::Rbf { gamma } => {
                let squares = row.iter().zip(vector).map(|(left, right)| (left - right) * (left - right));
                (-gamma * squares.sum::<f32>()).exp()
            }
            Self::Sigmoid { gamma, coef0 } => (gamma * dot(row, vector) + coef0).tanh(),
        }
    }
}
