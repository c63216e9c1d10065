//! The operators by domain and name.

use super::{
    Build, activation, arithmetic, arrange, branch, cast, category, category_mapper, compare, constant, cumulative,
    dictionary, distance, einsum, extreme, fill, gather, layout, linear, loops, matrix, normalization, one_hot, pad,
    part, reduce, scale, scan, scatter, select, slice, softmax, svm, text, tree, unary, vectorize, zip_map,
};
use crate::classical::fault::Fault;

/// The versions of each domain whose operators were checked against the specification. Exporters that write no main
/// operator import no main domain; the operators of `com.microsoft` are onnxruntime's own.
const DOMAINS: [(&str, i64, i64); 3] = [("", 7, 25), ("ai.onnx.ml", 1, 5), ("com.microsoft", 1, 1)];

/// How a node is compiled.
pub(super) fn find(domain: &str, operator: &str, opset: i64) -> Result<Build, Fault> {
    let Some((_, oldest, newest)) = DOMAINS.iter().find(|(name, ..)| *name == domain) else {
        return Err(Fault::unsupported("the domain is not known"));
    };
    if !(*oldest..=*newest).contains(&opset) {
        return Err(Fault::unsupported(format!("versions {oldest} to {newest} of the domain are supported")));
    }
    let found = match domain {
        "" => main(operator).filter(|(_, since)| opset >= *since).map(|(build, _)| build),
        "com.microsoft" => microsoft(operator),
        _ => classical(operator),
    };
    found.ok_or_else(|| Fault::unsupported("the operator is not implemented"))
}

fn classical(operator: &str) -> Option<Build> {
    Some(match operator {
        "ArrayFeatureExtractor" => select::array_feature_extractor,
        "Binarizer" => scale::binarizer,
        "CategoryMapper" => category_mapper::category_mapper,
        "DictVectorizer" => dictionary::dict_vectorizer,
        "FeatureVectorizer" => vectorize::feature_vectorizer,
        "Imputer" => scale::imputer,
        "LabelEncoder" => category::label_encoder,
        "LinearClassifier" => linear::linear_classifier,
        "LinearRegressor" => linear::linear_regressor,
        "Normalizer" => scale::normalizer,
        "OneHotEncoder" => one_hot::one_hot_encoder,
        "SVMClassifier" => svm::svm_classifier,
        "SVMRegressor" => svm::svm_regressor,
        "Scaler" => scale::scaler,
        "TreeEnsemble" => tree::tree_ensemble,
        "TreeEnsembleClassifier" => tree::tree_ensemble_classifier,
        "TreeEnsembleRegressor" => tree::tree_ensemble_regressor,
        "ZipMap" => zip_map::zip_map,
        _ => return None,
    })
}

fn microsoft(operator: &str) -> Option<Build> {
    Some(match operator {
        "CDist" => distance::cdist,
        "MurmurHash3" => text::murmur_hash,
        "Tokenizer" => text::tokenizer,
        _ => return None,
    })
}

/// An operator of the main domain, and the version that it came with.
fn main(operator: &str) -> Option<(Build, i64)> {
    elementwise(operator).or_else(|| structural(operator))
}

fn elementwise(operator: &str) -> Option<(Build, i64)> {
    Some(match operator {
        "Add" | "Sub" | "Mul" | "Div" => (arithmetic::arithmetic, 7),
        "Max" | "Min" | "Sum" | "Mean" => (arithmetic::variadic, 8),
        "Mod" => (arithmetic::modulo, 10),
        "Pow" => (arithmetic::power, 7),
        "Less" | "Greater" | "Equal" => (compare::comparison, 7),
        "LessOrEqual" | "GreaterOrEqual" => (compare::comparison, 12),
        "And" | "Or" | "Xor" => (compare::connective, 7),
        "Where" => (compare::choice, 9),
        "Not" => (unary::not, 1),
        "Abs" | "Neg" | "Relu" => (unary::signed, 6),
        "Sign" => (unary::signed, 9),
        "Exp" | "Log" | "Sigmoid" | "Sqrt" | "Tanh" | "Reciprocal" | "Floor" | "Ceil" => (unary::real, 6),
        "Sin" | "Cos" | "Tan" | "Asin" | "Acos" | "Atan" => (unary::real, 7),
        "Sinh" | "Cosh" | "Asinh" | "Acosh" | "Atanh" | "Erf" => (unary::real, 9),
        "Softplus" | "Softsign" => (unary::real, 1),
        "Round" => (unary::real, 11),
        "Clip" => (unary::clip, 6),
        "IsNaN" => (unary::is_nan, 9),
        "IsInf" => (unary::is_inf, 10),
        "Elu" | "Selu" | "LeakyRelu" | "HardSigmoid" => (activation::activation, 6),
        "ThresholdedRelu" => (activation::activation, 10),
        "Celu" => (activation::activation, 12),
        "HardSwish" => (activation::activation, 14),
        "Mish" => (activation::activation, 18),
        "Gelu" => (activation::activation, 20),
        "PRelu" => (activation::prelu, 7),
        "Cast" => (cast::cast, 6),
        "CastLike" => (cast::cast_like, 15),
        "StringConcat" => (text::string_concat, 20),
        "RegexFullMatch" => (text::regex_full_match, 20),
        _ => return None,
    })
}

fn structural(operator: &str) -> Option<(Build, i64)> {
    Some(match operator {
        "Constant" => (constant::constant, 1),
        "ConstantOfShape" => (fill::constant_of_shape, 9),
        "EyeLike" => (fill::eye_like, 9),
        "Range" => (fill::range, 11),
        "Expand" => (fill::expand, 8),
        "Tile" => (fill::tile, 6),
        "OneHot" => (fill::one_hot, 9),
        "Size" => (layout::size, 1),
        "Shape" => (layout::shape, 1),
        "Concat" => (arrange::concat, 4),
        "Flatten" => (layout::flatten, 1),
        "Identity" => (layout::identity, 1),
        "Dropout" => (layout::dropout, 7),
        "Reshape" => (layout::reshape, 5),
        "Squeeze" => (layout::squeeze, 1),
        "Unsqueeze" => (layout::unsqueeze, 1),
        "Transpose" => (arrange::transpose, 1),
        "Gather" => (select::gather, 1),
        "GatherElements" => (gather::gather_elements, 11),
        "GatherND" => (gather::gather_nd, 11),
        "Scatter" => (scatter::scatter_elements, 9),
        "ScatterElements" => (scatter::scatter_elements, 11),
        "ScatterND" => (scatter::scatter_nd, 11),
        "Slice" => (slice::slice, 1),
        "Split" => (part::split, 2),
        "Compress" => (part::compress, 9),
        "NonZero" => (part::non_zero, 9),
        "Pad" => (pad::pad, 2),
        "Einsum" => (einsum::einsum, 12),
        "If" => (branch::branch, 1),
        "Loop" => (loops::repetition, 1),
        "Scan" => (scan::scan, 8),
        "ArgMax" | "ArgMin" => (extreme::arg_extreme, 1),
        "TopK" => (extreme::top_k, 1),
        "CumSum" => (cumulative::cumulative_sum, 11),
        "ReduceSum" | "ReduceMean" | "ReduceProd" | "ReduceMax" | "ReduceMin" | "ReduceL1" | "ReduceL2"
        | "ReduceSumSquare" | "ReduceLogSum" | "ReduceLogSumExp" => (reduce::reduce, 1),
        "Softmax" | "LogSoftmax" | "Hardmax" => (softmax::softmax, 1),
        "LpNormalization" => (normalization::lp_normalization, 1),
        "Gemm" => (matrix::gemm, 7),
        "MatMul" => (matrix::mat_mul, 1),
        "StringNormalizer" => (text::string_normalizer, 10),
        "StringSplit" => (text::string_split, 20),
        "TfIdfVectorizer" => (text::tfidf_vectorizer, 9),
        _ => return None,
    })
}
