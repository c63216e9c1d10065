use std::collections::BTreeMap;

use super::broadcast::Broadcast;
use super::number::{NUMBERS, Number, for_any_number};
use super::{Built, Definition, Operator};
use crate::Tensor;
use crate::classical::fault::{Fault, checked_count};
use crate::classical::inputs::{Inputs, values};
use crate::classical::work::product;

/// A dimension: by its letter, or by its place from the end among those that an ellipsis stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Label {
    Broadcast(usize),
    Letter(char),
}

/// The letters of one operand; `ellipsis` is the place of the three dots.
#[derive(Clone, Debug, Default, PartialEq)]
struct Term {
    letters: Vec<char>,
    ellipsis: Option<usize>,
}

#[derive(Debug)]
struct Einsum {
    terms: Vec<Term>,
    output: Term,
}

/// The most products that are added up for one element of the output.
const SUMMED_LIMIT: usize = 1 << 24;
/// The most products in all.
const PRODUCTS_LIMIT: u64 = 1 << 34;

/// `Einsum`: products of the operands' elements, summed over the letters that the output has not (the Einstein summation
/// of NumPy's `einsum`).
pub(super) fn einsum(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    let output = definition.same_inputs(&NUMBERS)?;
    let equation = definition.attributes.text("equation")?;
    let equation = equation.ok_or_else(|| Fault::invalid("attribute `equation` is missing"))?;
    let operator = Einsum::parse(&equation)?;
    if operator.terms.len() != definition.inputs.len() {
        let reason =
            format!("`{equation}` has {} operands for {} inputs", operator.terms.len(), definition.inputs.len());
        return Err(Fault::invalid(reason));
    }
    Ok(Built::new(operator, vec![output]))
}

impl Term {
    fn parse(text: &str) -> Result<Self, Fault> {
        let mut term = Self::default();
        let mut rest = text;
        while let Some(next) = rest.chars().next() {
            if next.is_ascii_alphabetic() {
                term.letters.push(next);
                rest = rest.get(1..).unwrap_or_default();
            } else if let (Some(after), None) = (rest.strip_prefix("..."), term.ellipsis) {
                term.ellipsis = Some(term.letters.len());
                rest = after;
            } else {
                return Err(Fault::invalid(format!("its equation has `{text}`, expected letters and one `...`")));
            }
        }
        Ok(term)
    }

    /// The labels of a tensor of this rank.
    fn labels(&self, rank: usize) -> Result<Vec<Label>, Fault> {
        let wrong = || Fault::invalid(format!("an operand of rank {rank} for the letters {:?}", self.letters));
        let open = rank.checked_sub(self.letters.len()).ok_or_else(wrong)?;
        if open > 0 && self.ellipsis.is_none() {
            return Err(wrong());
        }
        let (before, after) = self.letters.split_at(self.ellipsis.unwrap_or(0).min(self.letters.len()));
        let letters = |letters: &[char]| letters.iter().copied().map(Label::Letter).collect::<Vec<_>>();
        let mut labels = letters(before);
        labels.extend((0..open).rev().map(Label::Broadcast));
        labels.extend(letters(after));
        Ok(labels)
    }
}

impl Einsum {
    fn parse(equation: &str) -> Result<Self, Fault> {
        let plain: String = equation.chars().filter(|letter| !letter.is_whitespace()).collect();
        let (left, right) = match plain.split_once("->") {
            Some((left, right)) => (left, Some(right)),
            None => (plain.as_str(), None),
        };
        let terms = left.split(',').map(Term::parse).collect::<Result<Vec<_>, _>>()?;
        let output = match right {
            Some(right) => Term::parse(right)?,
            None => implied(&terms),
        };
        let known = |letter: &char| terms.iter().any(|term| term.letters.contains(letter));
        let mut seen = Vec::new();
        for letter in &output.letters {
            if !known(letter) || seen.contains(letter) {
                return Err(Fault::invalid(format!(
                    "`{letter}` of the output of `{equation}` is unknown or comes twice"
                )));
            }
            seen.push(*letter);
        }
        Ok(Self { terms, output })
    }

    /// The labels of each operand's dimensions.
    fn labels(&self, tensors: &[&Tensor]) -> Result<Vec<Vec<Label>>, Fault> {
        self.terms.iter().zip(tensors).map(|(term, tensor)| term.labels(tensor.shape.len())).collect()
    }

    /// How many elements are multiplied in all.
    fn products(&self, tensors: &[&Tensor]) -> Result<u64, Fault> {
        let extents = extents(&self.labels(tensors)?, tensors)?;
        Ok(product(extents.values()).saturating_mul(tensors.len() as u64))
    }

    fn compute<T: Number>(&self, _type: &[T], tensors: &[&Tensor]) -> Result<Tensor, Fault> {
        let labels = self.labels(tensors)?;
        let extents = extents(&labels, tensors)?;
        let open = extents.keys().filter(|label| matches!(label, Label::Broadcast(_))).count();
        let kept = match self.output.ellipsis {
            Some(_) => self.output.labels(self.output.letters.len() + open)?,
            None => self.output.labels(self.output.letters.len())?,
        };
        let summed: Vec<Label> = extents.keys().copied().filter(|label| !kept.contains(label)).collect();
        let lengths =
            |labels: &[Label]| labels.iter().filter_map(|label| extents.get(label).copied()).collect::<Vec<_>>();
        let (shape, inner) = (lengths(&kept), lengths(&summed));
        let count = checked_count(&shape)?;
        let turns = checked_turns(count, &inner)?;
        let steps = |labels: &[Label], tensor: &Tensor, of: &[Label]| {
            of.iter().map(|label| step(*label, labels, &tensor.shape)).collect::<Vec<_>>()
        };
        let pairs = || labels.iter().zip(tensors);
        let elements = tensors.iter().map(|tensor| values::<T>(tensor)).collect::<Result<Vec<_>, _>>()?;
        let mut starts: Vec<Broadcast> =
            pairs().map(|(labels, tensor)| Broadcast::with_strides(&shape, steps(labels, tensor, &kept))).collect();
        let places: Vec<Vec<usize>> = pairs()
            .map(|(labels, tensor)| Broadcast::with_strides(&inner, steps(labels, tensor, &summed)).collect())
            .collect();
        let mut out = Vec::with_capacity(count);
        let mut lines: Vec<(&[T], &[usize])> = Vec::with_capacity(places.len());
        for _ in 0..count {
            lines.clear();
            for ((elements, start), places) in elements.iter().zip(&mut starts).zip(&places) {
                lines.push((elements.get(start.next().unwrap_or(0)..).unwrap_or_default(), places));
            }
            out.push(sum_of_products(&lines, turns));
        }
        Ok(Tensor { shape, data: T::wrap(out) })
    }
}

/// Without an output: what an ellipsis stands for, then the letters that come once, in alphabetical order.
fn implied(terms: &[Term]) -> Term {
    let all: Vec<char> = terms.iter().flat_map(|term| &term.letters).copied().collect();
    let mut letters: Vec<char> =
        all.iter().copied().filter(|one| all.iter().filter(|other| *other == one).count() == 1).collect();
    letters.sort_unstable();
    Term { letters, ellipsis: terms.iter().any(|term| term.ellipsis.is_some()).then_some(0) }
}

/// The extent of each label; one of 1 is stretched.
fn extents(labels: &[Vec<Label>], tensors: &[&Tensor]) -> Result<BTreeMap<Label, usize>, Fault> {
    let mut extents = BTreeMap::new();
    for (label, extent) in labels.iter().zip(tensors).flat_map(|(labels, tensor)| labels.iter().zip(&tensor.shape)) {
        let known = extents.entry(*label).or_insert(*extent);
        if *known == 1 {
            *known = *extent;
        }
        if *extent != *known && *extent != 1 {
            return Err(Fault::invalid(format!("{label:?} is both {known} and {extent} long")));
        }
    }
    Ok(extents)
}

/// By how many elements a tensor goes on with a label; more than one dimension of a label is a diagonal.
fn step(label: Label, labels: &[Label], shape: &[usize]) -> usize {
    let strides = (0..shape.len()).map(|axis| shape.iter().skip(axis + 1).product::<usize>());
    let dimensions = labels.iter().zip(shape).zip(strides);
    dimensions.filter(|((other, extent), _)| **other == label && **extent != 1).map(|(_, stride)| stride).sum()
}

/// How many products are added up for each of `count` elements.
fn checked_turns(count: usize, inner: &[usize]) -> Result<usize, Fault> {
    let turns = crate::tensor::element_count(inner).unwrap_or(usize::MAX);
    let all = (count as u64).saturating_mul(turns as u64);
    let limits = [("products for one element", turns as u64, SUMMED_LIMIT as u64), ("products", all, PRODUCTS_LIMIT)];
    match limits.into_iter().find(|(_, size, limit)| size > limit) {
        None => Ok(turns),
        Some((what, size, limit)) => Err(Fault::TooLarge { what: what.to_owned(), size, limit }),
    }
}

/// Reals are added in double precision, integers wrap.
fn sum_of_products<T: Number>(lines: &[(&[T], &[usize])], turns: usize) -> T {
    let at = |line: &(&[T], &[usize]), turn: usize| line.1.get(turn).and_then(|place| line.0.get(*place)).copied();
    if T::REAL {
        let product = |turn| lines.iter().filter_map(|line| at(line, turn)).map(Number::to_f64).product::<f64>();
        return T::from_f64((0..turns).map(product).sum());
    }
    let product = |turn| lines.iter().filter_map(|line| at(line, turn)).fold(T::ONE, Number::times);
    (0..turns).map(product).fold(T::ZERO, Number::plus)
}

impl Operator for Einsum {
    fn cost(&self, inputs: Inputs<'_>) -> u64 {
        let products = inputs.tensors().and_then(|tensors| self.products(&tensors));
        inputs.count().saturating_add(products.unwrap_or(0))
    }

    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let tensors = inputs.tensors()?;
        let first = inputs.tensor(0)?;
        Ok(vec![for_any_number!(&first.data, elements => self.compute(elements, &tensors)?)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evaluate(equation: &str, tensors: &[Tensor]) -> Result<Tensor, Fault> {
        let inputs: Vec<Option<&Tensor>> = tensors.iter().map(Some).collect();
        Ok(Einsum::parse(equation)?.evaluate(Inputs(&inputs))?.remove(0))
    }

    fn counted(shape: &[usize]) -> Tensor {
        let count: usize = shape.iter().product();
        Tensor::new(shape.to_vec(), (0..count as i64).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn letters_are_kept_summed_or_taken_along_the_diagonal() {
        let of = |equation: &str, shapes: &[&[usize]]| {
            let made = evaluate(equation, &shapes.iter().map(|shape| counted(shape)).collect::<Vec<_>>()).unwrap();
            (made.shape, made.data)
        };
        assert_eq!(of("ij->ji", &[&[2, 3]]), (vec![3, 2], vec![0_i64, 3, 1, 4, 2, 5].into()));
        assert_eq!(of("ii", &[&[3, 3]]), (vec![], vec![12_i64].into()));
        assert_eq!(of("...ii->...i", &[&[2, 2, 2]]), (vec![2, 2], vec![0_i64, 3, 4, 7].into()));
        assert_eq!(of("ij, jk", &[&[2, 2], &[2, 2]]), (vec![2, 2], vec![2_i64, 3, 6, 11].into()));
        assert_eq!(of("ij,j", &[&[2, 1], &[3]]), (vec![2], vec![0_i64, 3].into()));
        assert_eq!(of("...i->...", &[&[2, 0]]), (vec![2], vec![0_i64, 0].into()));
        assert_eq!(of("...,...", &[&[2, 1], &[3]]), (vec![2, 3], vec![0_i64, 0, 0, 0, 1, 2].into()));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(evaluate("ij->ik", &[counted(&[2, 2])]).is_err());
        assert!(evaluate("i->ii", &[counted(&[2])]).is_err());
        assert!(evaluate("i,i", &[counted(&[2]), counted(&[3])]).is_err());
        assert!(evaluate("ij", &[counted(&[2])]).is_err());
        assert!(evaluate("i->i....", &[counted(&[2])]).is_err());
    }
}
