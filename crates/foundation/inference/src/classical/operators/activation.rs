//! Activations with parameters: `Elu`, `LeakyRelu`, `HardSigmoid` and their kin, `PRelu`, `Gelu`.

use super::broadcast::pairwise;
use super::number::{NUMBERS, Number, REALS, for_any_number};
use super::unary::map_reals;
use super::{Built, Definition, Operator};
use crate::Tensor;
use crate::classical::fault::Fault;
use crate::classical::inputs::Inputs;

#[derive(Clone, Copy, Debug)]
enum Kind {
    Elu,
    Celu,
    Selu,
    LeakyRelu,
    ThresholdedRelu,
    HardSigmoid,
    HardSwish,
    Mish,
    Gelu,
    TanhGelu,
}

/// The activation with its parameters: `alpha`, and `beta` or `gamma` where it has a second one.
#[derive(Clone, Copy, Debug)]
struct Activation {
    kind: Kind,
    alpha: f32,
    second: f32,
}

/// `Elu`, `Celu`, `Selu`, `LeakyRelu`, `ThresholdedRelu`, `HardSigmoid`, `HardSwish`, `Mish`, `Gelu`.
pub(super) fn activation(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(1, 1)?;
    let output = definition.input_of(0, &REALS)?;
    let attributes = &mut definition.attributes;
    let (kind, alpha, second, second_name) = match definition.operator {
        "Elu" => (Kind::Elu, 1.0, 0.0, None),
        "Celu" => (Kind::Celu, 1.0, 0.0, None),
        "Selu" => (Kind::Selu, 1.673_263_2, 1.050_701, Some("gamma")),
        "LeakyRelu" => (Kind::LeakyRelu, 0.01, 0.0, None),
        "ThresholdedRelu" => (Kind::ThresholdedRelu, 1.0, 0.0, None),
        "HardSigmoid" => (Kind::HardSigmoid, 0.2, 0.5, Some("beta")),
        "HardSwish" => return Ok(Built::new(Activation::plain(Kind::HardSwish), vec![output])),
        "Mish" => return Ok(Built::new(Activation::plain(Kind::Mish), vec![output])),
        _ => {
            let kind = match attributes.text("approximate")?.as_deref() {
                None | Some("none") => Kind::Gelu,
                Some("tanh") => Kind::TanhGelu,
                Some(other) => return Err(Fault::invalid(format!("approximation `{other}`"))),
            };
            return Ok(Built::new(Activation::plain(kind), vec![output]));
        }
    };
    let alpha = attributes.float("alpha")?.unwrap_or(alpha);
    let second = match second_name {
        Some(name) => attributes.float(name)?.unwrap_or(second),
        None => second,
    };
    Ok(Built::new(Activation { kind, alpha, second }, vec![output]))
}

macro_rules! activated {
    ($activation:expr, $type:ident, $erf:path) => {{
        let (kind, alpha, second) = ($activation.kind, $type::from($activation.alpha), $type::from($activation.second));
        move |value: $type| match kind {
            Kind::Elu if value < 0.0 => alpha * value.exp_m1(),
            Kind::Celu if value < 0.0 => alpha * (value / alpha).exp_m1(),
            Kind::Selu if value <= 0.0 => second * alpha * value.exp_m1(),
            Kind::Selu => second * value,
            Kind::LeakyRelu if value < 0.0 => alpha * value,
            Kind::ThresholdedRelu if value <= alpha => 0.0,
            Kind::HardSigmoid => (alpha * value + second).clamp(0.0, 1.0),
            Kind::HardSwish => value * (value / 6.0 + 0.5).clamp(0.0, 1.0),
            Kind::Mish => value * (value.max(0.0) + (-value.abs()).exp().ln_1p()).tanh(),
            Kind::Gelu => 0.5 * value * (1.0 + $erf(value * std::$type::consts::FRAC_1_SQRT_2)),
            Kind::TanhGelu => {
                let inner = value + 0.044_715 * value * value * value;
                0.5 * value * (1.0 + ((2.0 / std::$type::consts::PI).sqrt() * inner).tanh())
            }
            _ => value,
        }
    }};
}

impl Activation {
    fn plain(kind: Kind) -> Self {
        Self { kind, alpha: 0.0, second: 0.0 }
    }
}

impl Operator for Activation {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        map_reals(inputs.tensor(0)?, activated!(self, f32, libm::erff), activated!(self, f64, libm::erf))
    }
}

#[derive(Debug)]
struct PRelu;

/// `PRelu`: values below zero times their slope; the slope broadcasts to the input.
pub(super) fn prelu(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(2, 2)?;
    let output = definition.same_inputs(&NUMBERS)?;
    Ok(Built::new(PRelu, vec![output]))
}

fn sloped<T: Number>(_type: &[T], input: &Tensor, slope: &Tensor) -> Result<Tensor, Fault> {
    pairwise(input, slope, |value: T, slope: T| if value < T::ZERO { value.times(slope) } else { value })
}

impl Operator for PRelu {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let (input, slope) = (inputs.tensor(0)?, inputs.tensor(1)?);
        let output = for_any_number!(&input.data, elements => sloped(elements, input, slope)?);
        if output.shape != input.shape {
            return Err(Fault::invalid(format!("a slope of shape {:?} for {:?}", slope.shape, input.shape)));
        }
        Ok(vec![output])
    }
}
