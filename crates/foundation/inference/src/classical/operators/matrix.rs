use ropewalk_types::ElementType;

use super::broadcast::{Broadcast, broadcast_shape};
use super::{Built, Definition, Operator};
use crate::classical::fault::{Fault, checked_count};
use crate::classical::inputs::{Inputs, values};
use crate::classical::work::product as product_of;
use crate::tensor::Element;
use crate::{Tensor, TensorData};

/// Sum of products, in eight strands so that it can be vectorized.
fn dot<T: Real>(left: &[T], right: &[T]) -> T {
    let (left_chunks, left_rest) = left.as_chunks::<8>();
    let (right_chunks, right_rest) = right.as_chunks::<8>();
    let mut strands = [T::default(); 8];
    for (left, right) in left_chunks.iter().zip(right_chunks) {
        for ((strand, left), right) in strands.iter_mut().zip(left).zip(right) {
            *strand += *left * *right;
        }
    }
    let mut sum = T::default();
    for strand in strands {
        sum += strand;
    }
    for (left, right) in left_rest.iter().zip(right_rest) {
        sum += *left * *right;
    }
    sum
}

/// X·Aᵀ + b for rows of `columns` values, coefficients [targets, columns] and an intercept for each target.
pub(super) fn affine(values: &[f32], coefficients: &[f32], intercepts: &[f32], columns: usize) -> Vec<f32> {
    let mut scores = Vec::with_capacity(values.len() / columns * intercepts.len());
    for row in values.chunks(columns) {
        let lines = coefficients.chunks(columns).zip(intercepts);
        scores.extend(lines.map(|(line, intercept)| dot(row, line) + intercept));
    }
    scores
}

/// The types that matrices are multiplied in.
const TYPES: [ElementType; 2] = [ElementType::Fp32, ElementType::Fp64];

trait Real:
    Element + Copy + Default + std::ops::AddAssign + std::ops::Mul<Output = Self> + std::ops::Add<Output = Self>
{
    fn from_f32(value: f32) -> Self;
}
impl Real for f32 {
    fn from_f32(value: f32) -> Self {
        value
    }
}
impl Real for f64 {
    fn from_f32(value: f32) -> Self {
        Self::from(value)
    }
}

/// A matrix in row-major order, or its transpose.
#[derive(Clone, Copy)]
struct Matrix<'a, T> {
    values: &'a [T],
    rows: usize,
    columns: usize,
    transposed: bool,
}

impl<T: Real> Matrix<'_, T> {
    fn of(tensor: &Tensor, transposed: bool) -> Result<Matrix<'_, T>, Fault> {
        let [first, second] = tensor.shape.as_slice() else {
            return Err(Fault::invalid(format!("expected a matrix, found shape {:?}", tensor.shape)));
        };
        let (rows, columns) = if transposed { (*second, *first) } else { (*first, *second) };
        Ok(Matrix { values: values(tensor)?, rows, columns, transposed })
    }

    /// Its columns one after another, so that both sides of a product are read in order.
    fn columns_in_order(&self) -> Vec<T> {
        if self.transposed { self.values.to_vec() } else { transposed(self.values, self.columns) }
    }

    fn rows_in_order(&self) -> Vec<T> {
        if self.transposed { transposed(self.values, self.rows) } else { self.values.to_vec() }
    }
}

/// Transposes a row-major matrix of `columns`.
fn transposed<T: Copy>(values: &[T], columns: usize) -> Vec<T> {
    (0..columns).flat_map(|column| values.iter().skip(column).step_by(columns.max(1)).copied()).collect()
}

fn product<T: Real>(left: Matrix<'_, T>, right: Matrix<'_, T>, out: &mut Vec<T>) -> Result<(), Fault> {
    if left.columns != right.rows {
        let reason = format!("[{}, {}] times [{}, {}]", left.rows, left.columns, right.rows, right.columns);
        return Err(Fault::invalid(reason));
    }
    if left.columns == 0 {
        out.extend(std::iter::repeat_n(T::default(), left.rows * right.columns));
        return Ok(());
    }
    let (lines, columns) = (left.rows_in_order(), right.columns_in_order());
    for line in lines.chunks(left.columns) {
        out.extend(columns.chunks(left.columns).map(|column| dot(line, column)));
    }
    Ok(())
}

#[derive(Debug)]
struct Gemm {
    alpha: f32,
    beta: f32,
    left_transposed: bool,
    right_transposed: bool,
}

/// `Gemm`: alpha·A'·B' + beta·C.
pub(super) fn gemm(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(if definition.opset < 11 { 3 } else { 2 }, 3)?;
    let output = definition.input_of(0, &TYPES)?;
    definition.optional_input(1, output)?;
    definition.input(1)?;
    definition.optional_input(2, output)?;
    let attributes = &mut definition.attributes;
    let operator = Gemm {
        alpha: attributes.float("alpha")?.unwrap_or(1.0),
        beta: attributes.float("beta")?.unwrap_or(1.0),
        left_transposed: attributes.flag("transA", false)?,
        right_transposed: attributes.flag("transB", false)?,
    };
    Ok(Built::new(operator, vec![output]))
}

impl Gemm {
    fn compute<T: Real>(&self, inputs: Inputs<'_>) -> Result<Tensor, Fault>
    where
        TensorData: From<Vec<T>>,
    {
        let left = Matrix::<T>::of(inputs.tensor(0)?, self.left_transposed)?;
        let right = Matrix::<T>::of(inputs.tensor(1)?, self.right_transposed)?;
        let shape = vec![left.rows, right.columns];
        let mut out = Vec::with_capacity(checked_count(&shape)?);
        product(left, right, &mut out)?;
        let (alpha, beta) = (T::from_f32(self.alpha), T::from_f32(self.beta));
        for value in &mut out {
            *value = alpha * *value;
        }
        if let Some(addend) = inputs.optional(2) {
            if broadcast_shape(&[&shape, &addend.shape])? != shape {
                return Err(Fault::invalid(format!("C of shape {:?} does not fit {shape:?}", addend.shape)));
            }
            let addends = values::<T>(addend)?;
            for (value, index) in out.iter_mut().zip(Broadcast::new(&addend.shape, &shape)) {
                *value += beta * addends.get(index).copied().unwrap_or_default();
            }
        }
        Ok(Tensor { shape, data: out.into() })
    }
}

impl Operator for Gemm {
    fn cost(&self, inputs: Inputs<'_>) -> u64 {
        // Each element of the first with one of each column of the second.
        let elements = inputs.optional(0).map_or(0, |tensor| tensor.data.len() as u64);
        let columns = inputs.optional(1).and_then(|tensor| tensor.shape.get(usize::from(!self.right_transposed)));
        inputs.count().saturating_add(elements.saturating_mul(columns.map_or(0, |columns| *columns as u64)))
    }

    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let single = inputs.tensor(0)?.element_type() == ElementType::Fp32;
        Ok(vec![if single { self.compute::<f32>(inputs)? } else { self.compute::<f64>(inputs)? }])
    }
}

#[derive(Debug)]
struct MatMul;

/// `MatMul`: the product of NumPy's `matmul`, of a stack of matrices, a matrix or a vector by a matrix or a vector.
pub(super) fn mat_mul(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(2, 2)?;
    let output = definition.same_inputs(&TYPES)?;
    Ok(Built::new(MatMul, vec![output]))
}

impl MatMul {
    fn compute<T: Real>(left: &Tensor, right: &Tensor) -> Result<Tensor, Fault>
    where
        TensorData: From<Vec<T>>,
    {
        let [rows, inner] = right.shape.as_slice() else { return Self::by_other::<T>(left, right) };
        let Some((columns, stack)) = left.shape.split_last() else {
            return Err(Fault::invalid("cannot multiply a scalar"));
        };
        let left_rows = stack.iter().product();
        let lines = Matrix { values: values::<T>(left)?, rows: left_rows, columns: *columns, transposed: false };
        let matrix = Matrix { values: values::<T>(right)?, rows: *rows, columns: *inner, transposed: false };
        let shape: Vec<usize> = stack.iter().copied().chain([*inner]).collect();
        let mut out = Vec::with_capacity(checked_count(&shape)?);
        product(lines, matrix, &mut out)?;
        Ok(Tensor { shape, data: out.into() })
    }

    /// A right side that is a vector, or a stack of matrices.
    fn by_other<T: Real>(left: &Tensor, right: &Tensor) -> Result<Tensor, Fault>
    where
        TensorData: From<Vec<T>>,
    {
        match right.shape.as_slice() {
            [] => Err(Fault::invalid("cannot multiply by a scalar")),
            [length] => {
                let column = Tensor { shape: vec![*length, 1], data: right.data.clone() };
                let mut product = Self::compute::<T>(left, &column)?;
                product.shape.pop();
                Ok(product)
            }
            _ => Self::stacks::<T>(left, right),
        }
    }

    /// Matrices of two stacks, one by one; the stacks broadcast.
    fn stacks<T: Real>(left: &Tensor, right: &Tensor) -> Result<Tensor, Fault>
    where
        TensorData: From<Vec<T>>,
    {
        let (left_stack, [rows, columns]) = Self::as_stack(&left.shape)?;
        let (right_stack, [inner, width]) = Self::as_stack(&right.shape)?;
        let stack = broadcast_shape(&[left_stack, right_stack])?;
        let mut shape = stack.clone();
        shape.extend((left.shape.len() > 1).then_some(rows).into_iter().chain([width]));
        let mut out = Vec::with_capacity(checked_count(&shape)?);
        let (lefts, rights) = (values::<T>(left)?, values::<T>(right)?);
        for (one, other) in Broadcast::new(left_stack, &stack).zip(Broadcast::new(right_stack, &stack)) {
            let left = lefts.get(one * rows * columns..(one + 1) * rows * columns).unwrap_or_default();
            let right = rights.get(other * inner * width..(other + 1) * inner * width).unwrap_or_default();
            let left = Matrix { values: left, rows, columns, transposed: false };
            product(left, Matrix { values: right, rows: inner, columns: width, transposed: false }, &mut out)?;
        }
        Ok(Tensor { shape, data: out.into() })
    }

    /// How many products are added up; none where the shapes do not fit, which is told when they are multiplied.
    fn products(left: &Tensor, right: &Tensor) -> Option<u64> {
        let (left_stack, rows_and_columns) = Self::as_stack(&left.shape).ok()?;
        let (right_stack, width) = match right.shape.as_slice() {
            [_] => (&[][..], 1),
            other => Self::as_stack(other).ok().map(|(stack, [_, width])| (stack, width))?,
        };
        let stack = broadcast_shape(&[left_stack, right_stack]).ok()?;
        Some(product_of(stack.iter().chain(&rows_and_columns).chain([&width])))
    }

    /// The extents before the last two, and those; a vector is one row.
    fn as_stack(shape: &[usize]) -> Result<(&[usize], [usize; 2]), Fault> {
        match shape {
            [] => Err(Fault::invalid("cannot multiply a scalar")),
            [length] => Ok((&[], [1, *length])),
            [stack @ .., rows, columns] => Ok((stack, [*rows, *columns])),
        }
    }
}

impl Operator for MatMul {
    fn cost(&self, inputs: Inputs<'_>) -> u64 {
        let products = inputs.optional(0).zip(inputs.optional(1)).and_then(|(left, right)| Self::products(left, right));
        inputs.count().saturating_add(products.unwrap_or(0))
    }

    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let (left, right) = (inputs.tensor(0)?, inputs.tensor(1)?);
        let single = left.element_type() == ElementType::Fp32;
        Ok(vec![if single { Self::compute::<f32>(left, right)? } else { Self::compute::<f64>(left, right)? }])
    }
}
