"""Golden values of the metrics: scikit-learn, scipy and seqeval on generated rows.

    venv/bin/python oracle/make_metric_golden.py tests/golden/metric/golden.txt

A line of the file is a case: the recipe of its rows, then the value of every metric of its kind, in
the order of the line "columns" before it ("nan": not defined). tests/metric/test_metric.c makes the
same rows from the recipe, so that cases of 100,000 rows cost one line.

    classes N CLASSES TRUE_CLASSES PREDICTED_CLASSES AGREE SEED : a row's label is drawn from
        TRUE_CLASSES; AGREE percent of the predictions are the label, the others are drawn from
        PREDICTED_CLASSES
    values N LEVELS SLOPE NOISE OFFSET SEED : target = draw(LEVELS) / 7,
        value = SLOPE * target + NOISE * draw(LEVELS) / 13 + OFFSET
    tags N TEXTS AGREE SEED TAG... : N words, of which the next text begins where draw(N) < TEXTS;
        labels drawn from the tags (each the one before again, where draw(100) < 40), and predictions
        as of classes
"""
import sys
import warnings

import numpy as np
from scipy.stats import pearsonr, spearmanr
from seqeval import metrics as seqeval
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef, mean_squared_error

CLASSES = {
    "accuracy": accuracy_score,
    "f1": lambda y, p: f1_score(y, p, labels=[1], average="macro", zero_division=0),
    "macro_f1": lambda y, p: f1_score(y, p, average="macro", zero_division=0),
    "matthews": matthews_corrcoef,
}
VALUES = {
    "pearson": lambda y, p: pearsonr(p, y)[0],
    "spearman": lambda y, p: spearmanr(p, y)[0],
    "mse": mean_squared_error,
}
TAGS = {
    "entity_f1": seqeval.f1_score,
    "entity_precision": seqeval.precision_score,
    "entity_recall": seqeval.recall_score,
}
IOB = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
TAG_CASES = [  # n, texts, agree, seed, tags
    (1, 1, 100, 1, *IOB), (20, 1, 0, 2, *IOB), (2000, 150, 80, 3, *IOB), (50000, 4000, 95, 4, *IOB),
    (50000, 4000, 30, 5, *IOB), (3000, 200, 70, 6, "O", "I-PER", "I-LOC"),
    (3000, 200, 70, 7, "O", "B-X", "I-X", "E-X", "S-X", "B-Y-Z", "I-Y-Z", "E-Y-Z", "S-Y-Z"),
    (3000, 200, 60, 8, "PER", "LOC", "O"), (500, 500, 50, 9, *IOB), (500, 0, 50, 10, "O", "B", "I"),
    (100, 10, 50, 11, "O", "O"),
]
CLASS_CASES = [  # n, classes, true, predicted, agree, seed
    (1, 2, 2, 2, 0, 1), (2, 2, 2, 2, 100, 3), (7, 2, 2, 2, 0, 4), (277, 2, 2, 2, 60, 5),
    (1043, 2, 2, 2, 85, 6), (1000, 3, 3, 3, 70, 7), (1000, 20, 20, 20, 40, 8),
    (300, 20, 5, 3, 10, 9), (50, 2, 2, 1, 0, 10), (50, 2, 1, 2, 0, 11), (50, 2, 1, 1, 0, 12),
    (50, 5, 5, 1, 0, 13), (100, 2, 2, 2, 0, 14), (100000, 2, 2, 2, 55, 15),
    (100000, 4, 4, 4, 99, 16),
]
VALUE_CASES = [  # n, levels, slope, noise, offset, seed
    (2, 1000, 1, 1, 0, 1), (3, 1000, 1, 1, 0, 2), (1500, 26, 1, 0.5, 0, 3),
    (1500, 100000, 0.1, 1, 0, 4), (1500, 100000, -1, 1, 2.5, 5), (200, 2, 1, 3, 0, 6),
    (200, 1000, 1, 0, 0, 7), (200, 1000, -2, 0, 1, 8), (200, 1000, 0, 0, 0.1, 9),
    (7, 1, 0.7, 0.3, 0.1, 10), (1000, 1000, 1, 1, 1e6, 11), (100000, 51, 0.2, 1, 0, 12),
    (100000, 1000000, 1, 20, -3, 13),
]


class Draw:
    """Knuth's 64-bit linear congruential generator, upper half."""

    def __init__(self, seed):
        self.x = seed

    def __call__(self, n):
        self.x = (self.x * 6364136223846793005 + 1442695040888963407) % 2**64
        return (self.x >> 33) % n


def class_rows(n, _, n_true, n_predicted, agree, seed):
    draw, y, p = Draw(seed), [], []
    for _ in range(n):
        y.append(draw(n_true))
        agrees, other = draw(100) < agree, draw(n_predicted)
        p.append(y[-1] if agrees else other)
    return np.array(y), np.array(p)


def value_rows(n, levels, slope, noise, offset, seed):
    draw, y, p = Draw(seed), [], []
    for _ in range(n):
        y.append(draw(levels) / 7.0)
        p.append(slope * y[-1] + noise * (draw(levels) / 13.0) + offset)
    return np.array(y), np.array(p)


def tag_rows(n, n_texts, agree, seed, *names):
    draw, y, p, before = Draw(seed), [], [], 0
    for i in range(n):
        if draw(n) < n_texts or i == 0:
            y.append([])
            p.append([])
        again, label = draw(100) < 40, draw(len(names))
        before = before if again else label
        y[-1].append(names[before])
        agrees, other = draw(100) < agree, draw(len(names))
        p[-1].append(names[before] if agrees else names[other])
    return y, p


def main():
    warnings.simplefilter("ignore")  # of constant columns
    with open(sys.argv[1], "w") as out:
        for kind, metrics, cases, rows in (("classes", CLASSES, CLASS_CASES, class_rows),
                                           ("values", VALUES, VALUE_CASES, value_rows),
                                           ("tags", TAGS, TAG_CASES, tag_rows)):
            print("columns", len(metrics), *metrics, file=out)
            for case in cases:
                y, p = rows(*case)
                values = [f"{float(f(y, p)):.17g}" for f in metrics.values()]
                print(kind, *case, *values, file=out)


main()
