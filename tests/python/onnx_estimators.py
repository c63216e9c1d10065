"""The rest of scikit-learn's commonest estimators for the zoo of `onnx_zoo.py`: kernels, clusters, neighbours, text.

Each function takes the table and the number of recorded rows, and gives (onnx model, inputs by name).
"""

import numpy as np

SEED = 20130101
OPSETS = {"": 18, "ai.onnx.ml": 3}


def exported(estimator, inputs, **options):
    from skl2onnx import to_onnx

    if hasattr(estimator, "predict_proba"):
        options["options"] = {"zipmap": False, **options.get("options", {})}
    return to_onnx(estimator, inputs[:1], target_opset=OPSETS, **options), {"X": inputs}


def svc_probability(data, rows):
    from sklearn.svm import SVC

    fitted = SVC(probability=True, random_state=SEED).fit(data.numbers[:300], data.three[:300])
    return exported(fitted, data.numbers[-rows:])


def svc_linear_words(data, rows):
    from sklearn.svm import SVC

    fitted = SVC(kernel="linear").fit(data.numbers[:300], data.words[:300])
    return exported(fitted, data.numbers[-rows:])


def svr(data, rows):
    from sklearn.svm import SVR

    return exported(SVR(kernel="poly", degree=2).fit(data.numbers[:300], data.real[:300]), data.numbers[-rows:])


def kmeans(data, rows):
    from sklearn.cluster import KMeans

    return exported(KMeans(5, n_init=2, random_state=SEED).fit(data.numbers), data.numbers[-rows:])


def isolation_forest(data, rows):
    from sklearn.ensemble import IsolationForest

    fitted = IsolationForest(n_estimators=12, max_samples=64, random_state=SEED).fit(data.numbers)
    return exported(fitted, data.numbers[-rows:])


def nearest_neighbours(data, rows):
    from sklearn.neighbors import KNeighborsClassifier

    return exported(KNeighborsClassifier(5).fit(data.numbers[:120], data.two[:120]), data.numbers[-rows:])


def naive_bayes(data, rows):
    from sklearn.naive_bayes import GaussianNB

    return exported(GaussianNB().fit(data.numbers, data.three), data.numbers[-rows:])


def mlp_classifier(data, rows):
    from sklearn.neural_network import MLPClassifier

    fitted = MLPClassifier((16, 8), max_iter=60, random_state=SEED).fit(data.numbers, data.three)
    return exported(fitted, data.numbers[-rows:])


def extra_trees(data, rows):
    from sklearn.ensemble import ExtraTreesClassifier

    fitted = ExtraTreesClassifier(9, max_depth=5, random_state=SEED).fit(data.numbers, data.words)
    return exported(fitted, data.numbers[-rows:])


def principal_components(data, rows):
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import PolynomialFeatures

    fitted = make_pipeline(PCA(4, random_state=SEED), PolynomialFeatures(2), LinearRegression())
    return exported(fitted.fit(data.numbers, data.real), data.numbers[-rows:])


def voting(data, rows):
    from sklearn.ensemble import RandomForestClassifier, VotingClassifier
    from sklearn.linear_model import LogisticRegression

    parts = [("forest", RandomForestClassifier(5, max_depth=4, random_state=SEED)), ("line", LogisticRegression())]
    return exported(VotingClassifier(parts, voting="soft", flatten_transform=False).fit(data.numbers, data.two), data.numbers[-rows:])


def tfidf_text(data, rows):
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import StringTensorType
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    random = np.random.default_rng(SEED)
    words = np.array("the flight was late again and we waited for hours on time crew kind seat broken lost bag".split())
    texts = [" ".join(random.choice(words, random.integers(3, 12))) for _ in range(400)]
    bad = np.array(["late" in text or "lost" in text for text in texts])
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), min_df=3)
    fitted = make_pipeline(vectorizer, LogisticRegression()).fit(texts, np.where(bad, "complaint", "praise"))
    proto = convert_sklearn(
        fitted, initial_types=[("text", StringTensorType([None, 1]))], target_opset=OPSETS,
        options={id(fitted): {"zipmap": False}, TfidfVectorizer: {"tokenexp": "[a-zA-Z0-9_]+", "locale": "C"}})
    given = [*texts[: rows - 1], "Entirely unknown, LATE"]
    return proto, {"text": np.array(given, dtype=object).reshape(-1, 1)}


def dictionaries(data, rows):
    """Rows as dicts, of which most leave keys out: a map from text to a number for each row."""
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import DictionaryType, FloatTensorType, StringTensorType
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    random = np.random.default_rng(SEED)
    given = random.random(data.numbers.shape) < 0.6
    maps = [{f"n{column}": float(value) for column, value in enumerate(line) if given[row, column]}
            for row, line in enumerate(data.numbers)]
    fitted = make_pipeline(DictVectorizer(sparse=False), LogisticRegression()).fit(maps, data.words)
    types = [("row", DictionaryType(StringTensorType([1]), FloatTensorType([1])))]
    proto = convert_sklearn(fitted, initial_types=types, options={id(fitted): {"zipmap": False}})
    return proto, {"row": [*maps[: rows - 2], {"unknown": 7.0, "n0": -1.5}, {"unknown": 1.0}]}


def neighbours_imputer(data, rows):
    """Exported with functions of its own, which use one another, branches, and values from around them."""
    from sklearn.impute import KNNImputer
    from skl2onnx import to_onnx

    fitted = KNNImputer(n_neighbors=3).fit(data.missing[:60, :4])
    return to_onnx(fitted, data.missing[:1, :4]), {"X": data.missing[-rows - 1 : -1, :4]}


ESTIMATORS = [
    svc_probability, svc_linear_words, svr, kmeans, isolation_forest, nearest_neighbours, naive_bayes, mlp_classifier,
    extra_trees, principal_components, voting, tfidf_text, dictionaries, neighbours_imputer,
]
