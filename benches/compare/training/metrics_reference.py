#!/usr/bin/env python3
"""Print scikit-learn's figures for the rows in crates/workflow/training/src/metrics.rs."""

import numpy
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss, roc_auc_score

LABELS = numpy.array([0, 0, 1, 0, 1, 1, 0, 1, 0, 0, 1, 1, 0, 1, 0, 0, 0, 1, 0, 1])
PROBABILITIES = numpy.array(
    [0.125, 0.25, 0.25, 0.375, 0.875, 0.75, 0.0625, 0.5, 0.5, 0.3125, 0.625, 0.9375, 0.4375, 0.375, 0.6875, 0.1875]
    + [0.03125, 0.8125, 0.25, 0.25]
)


def calibration_error(labels, probabilities, bins=10):
    position = numpy.minimum((probabilities * bins).astype(int), bins - 1)
    distances = [
        abs(probabilities[position == one].mean() - labels[position == one].mean()) * (position == one).mean()
        for one in numpy.unique(position)
    ]
    return sum(distances)


print("auc", repr(roc_auc_score(LABELS, PROBABILITIES)))
print("log_loss", repr(log_loss(LABELS, PROBABILITIES)))
print("brier_score", repr(brier_score_loss(LABELS, PROBABILITIES)))
print("accuracy", repr(accuracy_score(LABELS, PROBABILITIES > 0.5)))
print("calibration_error", repr(calibration_error(LABELS, PROBABILITIES)))
