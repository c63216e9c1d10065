//! The extents of a convolution's kernel, which a node may leave out because its weights have them: from them follows how
//! many values `strides` and `dilations` have where those are left out, too (ONNX operator specification, `Conv`).

use std::collections::HashMap;

use crate::onnx::{Attribute, ModelProto, main_domain_normalized};

const CONVOLUTIONS: [&str; 3] = ["Conv", "ConvTranspose", "ConvInteger"];
const KERNEL_SHAPE: &str = "kernel_shape";

/// Writes `kernel_shape` into the convolutions of the graph that leave it out and whose weights are constants; says whether there
/// were any.
pub(super) fn complete(model: &mut ModelProto) -> bool {
    let Some(graph) = model.graph.as_mut() else { return false };
    let extents: HashMap<&str, &[i64]> = {
        let constants = graph.initializer.iter();
        constants.map(|one| (one.name.as_str(), one.dims.as_slice())).collect()
    };
    let mut completed = false;
    for node in &mut graph.node {
        let is_convolution = main_domain_normalized(&node.domain).is_empty()
            && CONVOLUTIONS.contains(&node.op_type.as_str())
            && node.attribute.iter().all(|attribute| attribute.name != KERNEL_SHAPE);
        // Weights are [channels, channels of a group, extents ...].
        let weights = node.input.get(1).and_then(|name| extents.get(name.as_str())).and_then(|dims| dims.get(2..));
        if let Some(kernel) = weights.filter(|_| is_convolution) {
            node.attribute.push(Attribute::new(KERNEL_SHAPE, kernel.to_vec()).into_proto());
            completed = true;
        }
    }
    completed
}

#[cfg(test)]
mod tests {
    use ropewalk_types::ElementType;

    use super::*;
    use crate::Tensor;
    use crate::onnx::GraphBuilder;

    #[test]
    fn a_kernel_has_the_extents_of_its_weights() {
        let weights = Tensor::new(vec![1, 1, 2, 3], vec![0.5_f32; 6]).unwrap();
        let convolution = |attributes| {
            GraphBuilder::new("convolution")
                .opset("", 16)
                .initializer("weights", &weights)
                .input("x", ElementType::Fp32, &[-1, 1, 4, 4])
                .node("", "Conv", &["x", "weights"], &["y"], attributes)
                .output("y", ElementType::Fp32, &[-1, 1, 3, 2])
                .into_model()
        };
        let said = || vec![Attribute::new(KERNEL_SHAPE, vec![2_i64, 3])];
        let mut model = convolution(vec![]);
        assert!(complete(&mut model));
        assert_eq!(model, convolution(said()));
        assert!(!complete(&mut model) && !complete(&mut convolution(said())));
    }
}
