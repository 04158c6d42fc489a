"""From a confidence score to the probability that the answer is right: the one mapping that the
evaluator fits and the router serves by.
"""

from __future__ import annotations

import math

# Scores are kept this far from 0 and 1, where their log odds would be infinite.
CLIP = 1e-4


def p_correct(score: float, slope: float, intercept: float) -> float:
    """Return P(correct) = sigmoid(slope * logit(clip(score)) + intercept).

    The evaluator certifies thresholds on these numbers and the router compares with them, to the
    last bit: an answer that ties with the threshold is trusted.
    """
    clipped = min(max(score, CLIP), 1 - CLIP)
    return _sigmoid(slope * math.log(clipped / (1 - clipped)) + intercept)


def _sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z)) if z >= 0 else math.exp(z) / (1 + math.exp(z))
