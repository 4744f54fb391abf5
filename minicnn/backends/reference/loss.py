"""Losses and the counts behind accuracies, one row of the batch at a time in one array expression.

Targets and predictions are matrices (M, C): a loss reshapes before it calls. A forward returns one loss
per row; a backward takes the rows' weights (M,): each the sample's weight, divided by the batch size.
"""

from __future__ import annotations

from math import inf, log

from minicnn.backends.reference._namespace import array_namespace, unit_rows
from minicnn.backends.reference.elementwise import log_softmax_forward, sigmoid_forward, softplus_forward
from minicnn.backends.types import Array


def _one_hot(labels: Array, like: Array) -> Array:
    """(M, C) in the dtype of `like`: 1 where c == labels[m]."""
    return (labels[:, None] == array_namespace(like).arange(like.shape[1])).astype(like.dtype)


def softmax_cross_entropy_forward(logits: Array, targets: Array) -> tuple[Array, Array]:
    """Softmax and cross-entropy in one, without overflow.

        log_p = logits - max - log(sum of exp(logits - max));  loss[m] = -sum over c of targets * log_p

    Args:
        logits, targets: (M, C).

    Returns:
        losses: (M,). probabilities: (M, C), softmax of the logits.
    """
    log_p = log_softmax_forward(logits)
    return -(targets * log_p).sum(axis=1), array_namespace(logits).exp(log_p)


def softmax_cross_entropy_backward(probabilities: Array, targets: Array, weights: Array) -> Array:
    """dlogits[m,c] = weights[m] * (probabilities[m,c] * (sum over c of targets[m]) - targets[m,c])."""
    return weights[:, None] * (probabilities * targets.sum(axis=1, keepdims=True) - targets)


def sparse_softmax_cross_entropy_forward(logits: Array, labels: Array) -> tuple[Array, Array]:
    """As `softmax_cross_entropy_forward` for integer labels (M,): loss[m] = -log_p[m, labels[m]]."""
    xp = array_namespace(logits)
    log_p = log_softmax_forward(logits)
    return -log_p[xp.arange(len(labels)), labels], xp.exp(log_p)


def sparse_softmax_cross_entropy_backward(probabilities: Array, labels: Array, weights: Array) -> Array:
    """dlogits[m,c] = weights[m] * (probabilities[m,c] - (1 if c == labels[m] else 0))."""
    return weights[:, None] * (probabilities - _one_hot(labels, probabilities))


def cross_entropy_forward(probabilities: Array, targets: Array, epsilon: float) -> Array:
    """Cross-entropy of given probabilities, as Keras computes it: rows are divided by their sum,
    then clipped to [epsilon, 1 - epsilon]; loss[m] = -sum over c of targets * log(p); (M,)."""
    xp = array_namespace(probabilities)
    p = probabilities / probabilities.sum(axis=1, keepdims=True)
    return -(targets * xp.log(xp.clip(p, epsilon, 1 - epsilon))).sum(axis=1)


def cross_entropy_backward(probabilities: Array, targets: Array, weights: Array, epsilon: float) -> Array:
    """Gradient of `cross_entropy_forward` with respect to the probabilities, through the division
    and the clip (whose slope outside its bounds is 0); (M, C)."""
    # With p = probabilities / S:  dp = -weights * targets / p inside the clip's bounds, 0 outside;
    # dprobabilities = (dp - sum over c of dp * p) / S.
    xp = array_namespace(probabilities)
    S = probabilities.sum(axis=1, keepdims=True)
    p = probabilities / S
    clipped = xp.clip(p, epsilon, 1 - epsilon)
    dp = xp.where(p == clipped, -weights[:, None] * targets / clipped, 0)
    return (dp - (dp * p).sum(axis=1, keepdims=True)) / S


def binary_cross_entropy_forward(probabilities: Array, targets: Array, epsilon: float) -> Array:
    """Mean over c of -(t log p + (1 - t) log(1 - p)), p clipped to [epsilon, 1 - epsilon]; (M,)."""
    xp = array_namespace(probabilities)
    p = xp.clip(probabilities, epsilon, 1 - epsilon)
    return -(targets * xp.log(p) + (1 - targets) * xp.log(1 - p)).mean(axis=1)


def binary_cross_entropy_backward(probabilities: Array, targets: Array, weights: Array, epsilon: float) -> Array:
    """dp[m,c] = weights[m] / C * ((1 - t) / (1 - p) - t / p) inside the clip's bounds, 0 outside."""
    xp = array_namespace(probabilities)
    p = xp.clip(probabilities, epsilon, 1 - epsilon)
    dp = weights[:, None] / p.shape[1] * ((1 - targets) / (1 - p) - targets / p)
    return xp.where(p == probabilities, dp, 0)


def sigmoid_cross_entropy_forward(logits: Array, targets: Array) -> Array:
    """Binary cross-entropy from logits z: mean over c of max(z, 0) - z*t + log1p(exp(-|z|)); (M,)."""
    # max(z, 0) + log1p(exp(-|z|)) is softplus(z).
    return (softplus_forward(logits) - logits * targets).mean(axis=1)


def sigmoid_cross_entropy_backward(logits: Array, targets: Array, weights: Array) -> Array:
    """dz[m,c] = weights[m] / C * (sigmoid(z) - t)."""
    return weights[:, None] / logits.shape[1] * (sigmoid_forward(logits) - targets)


def squared_error_forward(predictions: Array, targets: Array) -> Array:
    """loss[m] = mean over c of (prediction - target)**2; (M,)."""
    return ((predictions - targets) ** 2).mean(axis=1)


def squared_error_backward(predictions: Array, targets: Array, weights: Array) -> Array:
    """dprediction[m,c] = weights[m] * 2 / C * (prediction - target)."""
    return weights[:, None] * 2 / predictions.shape[1] * (predictions - targets)


def absolute_error_forward(predictions: Array, targets: Array) -> Array:
    """loss[m] = mean over c of |prediction - target|; (M,)."""
    return abs(predictions - targets).mean(axis=1)


def absolute_error_backward(predictions: Array, targets: Array, weights: Array) -> Array:
    """dprediction[m,c] = weights[m] / C * sign(prediction - target); 0 where they are equal."""
    return weights[:, None] / predictions.shape[1] * array_namespace(predictions).sign(predictions - targets)


def huber_forward(predictions: Array, targets: Array, delta: float) -> Array:
    """loss[m] = mean over c of e**2 / 2 where |e| <= delta, else delta * |e| - delta**2 / 2; e = prediction - target; (M,).

    Source: Huber 1964, doi:10.1214/aoms/1177703732.
    """
    error = abs(predictions - targets)
    squared, linear = error**2 / 2, delta * error - delta**2 / 2
    return array_namespace(predictions).where(error <= delta, squared, linear).mean(axis=1)


def huber_backward(predictions: Array, targets: Array, weights: Array, delta: float) -> Array:
    """dprediction[m,c] = weights[m] / C * (prediction - target), the difference clipped to [-delta, delta]."""
    error = array_namespace(predictions).clip(predictions - targets, -delta, delta)
    return weights[:, None] / predictions.shape[1] * error


def log_cosh_forward(predictions: Array, targets: Array) -> Array:
    """loss[m] = mean over c of log(cosh(e)) = e + softplus(-2 * e) - log(2), e = |prediction - target|; (M,)."""
    error = abs(predictions - targets)
    return (error + softplus_forward(-2 * error) - log(2)).mean(axis=1)


def log_cosh_backward(predictions: Array, targets: Array, weights: Array) -> Array:
    """dprediction[m,c] = weights[m] / C * tanh(prediction - target)."""
    return weights[:, None] / predictions.shape[1] * array_namespace(predictions).tanh(predictions - targets)


def percentage_error_forward(predictions: Array, targets: Array, epsilon: float) -> Array:
    """loss[m] = 100 * mean over c of |prediction - target| / max(|target|, epsilon); (M,)."""
    size = array_namespace(targets).maximum(abs(targets), epsilon)
    return 100 * (abs(predictions - targets) / size).mean(axis=1)


def percentage_error_backward(predictions: Array, targets: Array, weights: Array, epsilon: float) -> Array:
    """dprediction[m,c] = weights[m] * 100 / C * sign(prediction - target) / max(|target|, epsilon)."""
    xp = array_namespace(targets)
    size = xp.maximum(abs(targets), epsilon)
    return weights[:, None] * 100 / predictions.shape[1] * xp.sign(predictions - targets) / size


def logarithmic_error_forward(predictions: Array, targets: Array, epsilon: float) -> Array:
    """loss[m] = mean over c of (log(1 + p) - log(1 + t))**2, p and t at least epsilon; (M,)."""
    return (_log_ratio(predictions, targets, epsilon) ** 2).mean(axis=1)


def logarithmic_error_backward(predictions: Array, targets: Array, weights: Array, epsilon: float) -> Array:
    """dp[m,c] = weights[m] * 2 / C * (log(1 + p) - log(1 + t)) / (1 + p) where p >= epsilon, else 0."""
    ratio = _log_ratio(predictions, targets, epsilon)
    dp = weights[:, None] * 2 / predictions.shape[1] * ratio / (1 + abs(predictions))
    return array_namespace(predictions).where(predictions >= epsilon, dp, 0)


def _log_ratio(predictions: Array, targets: Array, epsilon: float) -> Array:
    """log(1 + max(prediction, epsilon)) - log(1 + max(target, epsilon))."""
    xp = array_namespace(predictions)
    return xp.log1p(xp.maximum(predictions, epsilon)) - xp.log1p(xp.maximum(targets, epsilon))


def poisson_forward(predictions: Array, targets: Array, epsilon: float) -> Array:
    """loss[m] = mean over c of p - t * log(p + epsilon): a Poisson distribution's log-likelihood, negative, without its
    constant; (M,)."""
    return (predictions - targets * array_namespace(predictions).log(predictions + epsilon)).mean(axis=1)


def poisson_backward(predictions: Array, targets: Array, weights: Array, epsilon: float) -> Array:
    """dp[m,c] = weights[m] / C * (1 - t / (p + epsilon))."""
    return weights[:, None] / predictions.shape[1] * (1 - targets / (predictions + epsilon))


def kl_divergence_forward(probabilities: Array, targets: Array, epsilon: float) -> Array:
    """loss[m] = sum over c of t * log(t / p), t and p clipped to [epsilon, 1]; (M,). Source: Kullback & Leibler 1951."""
    xp = array_namespace(probabilities)
    t = xp.clip(targets, epsilon, 1)
    return (t * xp.log(t / xp.clip(probabilities, epsilon, 1))).sum(axis=1)


def kl_divergence_backward(probabilities: Array, targets: Array, weights: Array, epsilon: float) -> Array:
    """dp[m,c] = -weights[m] * t / p inside the clip's bounds, 0 outside."""
    xp = array_namespace(probabilities)
    p = xp.clip(probabilities, epsilon, 1)
    return xp.where(p == probabilities, -weights[:, None] * xp.clip(targets, epsilon, 1) / p, 0)


def hinge_forward(predictions: Array, targets: Array, power: int) -> Array:
    """loss[m] = mean over c of max(1 - t * prediction, 0)**power; (M,).

    Args:
        targets: -1 or 1; where all of them are 0 or 1, a 0 counts as -1.
        power: 1, or 2 for the squared hinge.
    """
    margins = 1 - _signed(targets) * predictions
    return (array_namespace(predictions).maximum(margins, 0) ** power).mean(axis=1)


def hinge_backward(predictions: Array, targets: Array, weights: Array, power: int) -> Array:
    """dprediction[m,c] = -weights[m] / C * t * power * (1 - t * prediction)**(power - 1) where that is >= 0, else 0."""
    t = _signed(targets)
    margins = 1 - t * predictions
    slope = -weights[:, None] / predictions.shape[1] * t * power * margins ** (power - 1)
    return array_namespace(predictions).where(margins >= 0, slope, 0)


def _signed(targets: Array) -> Array:
    """2 * target - 1 if all targets are 0 or 1, else the targets. No value is read on the host."""
    binary = ((targets == 0) | (targets == 1)).all()
    return array_namespace(targets).where(binary, 2 * targets - 1, targets)


def categorical_hinge_forward(predictions: Array, targets: Array) -> Array:
    """loss[m] = max(0, 1 + max over c of (1 - t) * prediction - sum over c of t * prediction); (M,).

    Source: Crammer & Singer 2001, JMLR 2.
    """
    others = ((1 - targets) * predictions).max(axis=1)
    return array_namespace(predictions).maximum(others - (targets * predictions).sum(axis=1) + 1, 0)


def categorical_hinge_backward(predictions: Array, targets: Array, weights: Array) -> Array:
    """dprediction[m,c] = weights[m] * ((1 - t) * share - t) where the loss is >= 0 before it is cut, else 0.

    share[m,c]: 1 where (1 - t) * prediction is the row's largest; of k largest each has 1 / k.
    """
    others = (1 - targets) * predictions
    largest = others.max(axis=1, keepdims=True)
    share = others == largest
    share = share / share.sum(axis=1, keepdims=True, dtype=predictions.dtype)
    margins = largest - (targets * predictions).sum(axis=1, keepdims=True) + 1
    slope = weights[:, None] * ((1 - targets) * share - targets)
    return array_namespace(predictions).where(margins >= 0, slope, 0)


def cosine_similarity_forward(predictions: Array, targets: Array, epsilon: float) -> Array:
    """loss[m] = -sum over c of t / |t| * p / |p|: -1 for rows that point the same way, 1 for opposite ones; (M,).

    A norm below `epsilon` counts as `epsilon`.
    """
    return -(unit_rows(targets, epsilon)[0] * unit_rows(predictions, epsilon)[0]).sum(axis=1)


def cosine_similarity_backward(predictions: Array, targets: Array, weights: Array, epsilon: float) -> Array:
    """dp[m] = -weights[m] / |p| * (t / |t| - p / |p| * (sum over c of t / |t| * p / |p|)), one row at a time."""
    # Where |p| < epsilon the length is a constant, and the second term, its derivative, is left out.
    t, _ = unit_rows(targets, epsilon)
    direction, length = unit_rows(predictions, epsilon)
    along = (t * direction).sum(axis=1, keepdims=True) * (length > epsilon)
    return -weights[:, None] / length * (t - direction * along)


def binary_focal_cross_entropy_forward(
    probabilities: Array, targets: Array, gamma: float, alpha: float | None, epsilon: float
) -> Array:
    """Binary cross-entropy in which what is already right counts less; (M,).

        loss[m] = mean over c of a * miss**gamma * -(t log p + (1 - t) log(1 - p))
        miss = t * (1 - p) + (1 - t) * p;  a = t * alpha + (1 - t) * (1 - alpha)

    Args:
        gamma: 0 for the plain cross-entropy.
        alpha: weight of class 1 (and 1 - alpha of class 0); None for a = 1.
        epsilon: p is clipped to [epsilon, 1 - epsilon] inside the logarithms.

    Source: Lin et al. 2017, arXiv:1708.02002.
    """
    cross_entropy, _ = _binary_cross_entropy(probabilities, targets, epsilon)
    miss = targets + probabilities - 2 * targets * probabilities
    return (_balance(targets, alpha) * miss**gamma * cross_entropy).mean(axis=1)


def binary_focal_cross_entropy_backward(
    probabilities: Array, targets: Array, weights: Array, gamma: float, alpha: float | None, epsilon: float
) -> Array:
    """dp[m,c] = weights[m] / C * a * (miss**gamma * dH + gamma * miss**(gamma - 1) * (1 - 2 * t) * H)

    H: the cross-entropy of p and t; dH = (1 - t) / (1 - p) - t / p inside the clip's bounds, 0 outside.
    """
    H, dH = _binary_cross_entropy(probabilities, targets, epsilon)
    miss = targets + probabilities - 2 * targets * probabilities
    slope = gamma * miss ** (gamma - 1) if gamma else 0
    dp = miss**gamma * dH + slope * (1 - 2 * targets) * H
    return weights[:, None] / probabilities.shape[1] * _balance(targets, alpha) * dp


def _binary_cross_entropy(probabilities: Array, targets: Array, epsilon: float) -> tuple[Array, Array]:
    """-(t log p + (1 - t) log(1 - p)) of each element, and its derivative with respect to the probability."""
    xp = array_namespace(probabilities)
    p = xp.clip(probabilities, epsilon, 1 - epsilon)
    slope = xp.where(p == probabilities, (1 - targets) / (1 - p) - targets / p, 0)
    return -(targets * xp.log(p) + (1 - targets) * xp.log(1 - p)), slope


def _balance(targets: Array, alpha: float | None) -> Array | float:
    return 1 if alpha is None else targets * alpha + (1 - targets) * (1 - alpha)


def focal_cross_entropy_forward(
    probabilities: Array, targets: Array, gamma: float, alpha: Array | float, epsilon: float
) -> Array:
    """Cross-entropy in which classes that are already right count less; (M,).

        loss[m] = -sum over c of alpha * (1 - p)**gamma * t * log(p)

    Args:
        probabilities: (M, C); rows are divided by their sum, then clipped to [epsilon, 1 - epsilon]: the p of the formula.
        gamma: 0 for the plain cross-entropy.
        alpha: one weight for all classes, or (C,), one a class.

    Source: Lin et al. 2017, arXiv:1708.02002.
    """
    xp = array_namespace(probabilities)
    p = xp.clip(probabilities / probabilities.sum(axis=1, keepdims=True), epsilon, 1 - epsilon)
    return -(alpha * (1 - p) ** gamma * targets * xp.log(p)).sum(axis=1)


def focal_cross_entropy_backward(
    probabilities: Array, targets: Array, weights: Array, gamma: float, alpha: Array | float, epsilon: float
) -> Array:
    """Gradient of `focal_cross_entropy_forward` with respect to the probabilities, through the division and the clip."""
    # As in `cross_entropy_backward`, with another dp inside the clip's bounds:
    # dp = -weights * alpha * t * (1 - p)**(gamma - 1) * ((1 - p) / p - gamma * log(p))
    xp = array_namespace(probabilities)
    S = probabilities.sum(axis=1, keepdims=True)
    p = probabilities / S
    clipped = xp.clip(p, epsilon, 1 - epsilon)
    right = 1 - clipped
    slope = -weights[:, None] * alpha * targets * right ** (gamma - 1) * (right / clipped - gamma * xp.log(clipped))
    dp = xp.where(p == clipped, slope, 0)
    return (dp - (dp * p).sum(axis=1, keepdims=True)) / S


def generalized_cross_entropy_forward(probabilities: Array, labels: Array, q: float) -> Array:
    """loss[m] = (1 - probabilities[m, labels[m]]**q) / q; (M,).

    Between the cross-entropy (q -> 0) and the mean absolute error (q = 1), which bears wrong labels better.

    Source: Zhang & Sabuncu 2018, arXiv:1805.07836.
    """
    xp = array_namespace(probabilities)
    return (1 - probabilities[xp.arange(len(labels)), labels] ** q) / q


def generalized_cross_entropy_backward(probabilities: Array, labels: Array, weights: Array, q: float) -> Array:
    """dp[m,c] = -weights[m] * p**(q - 1) where c == labels[m], else 0."""
    one_hot = _one_hot(labels, probabilities)
    xp = array_namespace(probabilities)
    return -weights[:, None] * one_hot * xp.where(one_hot > 0, probabilities, 1) ** (q - 1)


def tversky_forward(predictions: Array, targets: Array, alpha: float, beta: float, epsilon: float) -> Array:
    """One minus the overlap of two soft masks, one a row; (M,).

        loss[m] = 1 - I / (I + alpha * missed + beta * invented + epsilon)
        I = sum over c of t * p;  missed = sum of t * (1 - p);  invented = sum of p * (1 - t)

    With alpha = beta = 1/2 the Dice loss.

    Source: Salehi et al. 2017, arXiv:1706.05721; Milletari et al. 2016, arXiv:1606.04797.
    """
    overlap, union = _overlap(predictions, targets, alpha, beta)
    return 1 - overlap / (union + epsilon)


def tversky_backward(predictions: Array, targets: Array, weights: Array, alpha: float, beta: float, epsilon: float) -> Array:
    """With I, and D its divisor: dp[m,c] = -weights[m] * (t * D - I * ((1 - alpha) * t + beta * (1 - t))) / D**2."""
    overlap, union = (part[:, None] for part in _overlap(predictions, targets, alpha, beta))
    divisor = union + epsilon
    dunion = (1 - alpha) * targets + beta * (1 - targets)
    return -weights[:, None] * (targets * divisor - overlap * dunion) / divisor**2


def _overlap(predictions: Array, targets: Array, alpha: float, beta: float) -> tuple[Array, Array]:
    """I, and I + alpha * missed + beta * invented, by row."""
    overlap = (targets * predictions).sum(axis=1)
    missed = (targets * (1 - predictions)).sum(axis=1)
    invented = (predictions * (1 - targets)).sum(axis=1)
    return overlap, overlap + alpha * missed + beta * invented


def circle_forward(
    embeddings: Array,
    labels: Array,
    references: Array,
    reference_labels: Array,
    gamma: float,
    margin: float,
    remove_diagonal: bool,
) -> Array:
    """Rows of one label are pulled together, rows of different labels pushed apart; (M,).

        d[m,r] = max(1 - sum over c of embeddings[m,c] * references[r,c], 0)
        loss[m] = softplus(log(sum over r of the same label of exp(-gamma * (margin + d) * (margin - d)))
                         + log(sum over the other r of exp(gamma * max(1 + margin - d, 0) * (1 - margin - d))))

    It is 0 where a row has no other of its label, or none of another.

    Args:
        embeddings: (M, C), rows of length 1. labels: (M,).
        references: (R, C), what they are compared with. reference_labels: (R,).
        remove_diagonal: whether row m is not compared with reference m, which is itself.

    Source: Sun et al. 2020, arXiv:2002.10857.
    """
    distances = array_namespace(embeddings).maximum(1 - embeddings @ references.T, 0)
    same, other = _same_label(labels, reference_labels, remove_diagonal)
    positive, _ = _log_sum_exp(_pull(distances, gamma, margin)[0], same)
    negative, _ = _log_sum_exp(_push(distances, gamma, margin)[0], other)
    return softplus_forward(positive + negative)


def circle_backward(
    embeddings: Array, labels: Array, weights: Array, gamma: float, margin: float, remove_diagonal: bool
) -> Array:
    """The gradient where the references are the embeddings themselves; (M, C).

    G[m,r] = -weights[m] * sigmoid(the softplus's argument) * (the derivative of that with respect to d[m,r])
    dembeddings = (G + G.T) @ embeddings
    """
    xp = array_namespace(embeddings)
    products = embeddings @ embeddings.T
    distances = xp.maximum(1 - products, 0)
    same, other = _same_label(labels, labels, remove_diagonal)
    pull, dpull = _pull(distances, gamma, margin)
    push, dpush = _push(distances, gamma, margin)
    positive, share_of_pull = _log_sum_exp(pull, same)
    negative, share_of_push = _log_sum_exp(push, other)
    scale = -weights * sigmoid_forward(positive + negative)
    G = xp.where(products <= 1, scale[:, None] * (share_of_pull * dpull + share_of_push * dpush), 0)
    return (G + G.T) @ embeddings


def _same_label(labels: Array, reference_labels: Array, remove_diagonal: bool) -> tuple[Array, Array]:
    """Which pairs have one label, and which have two."""
    xp = array_namespace(labels)
    same = labels[:, None] == reference_labels[None, :]
    other = ~same
    if remove_diagonal:
        same = same & ~xp.eye(*same.shape, dtype=bool)
    return same, other


def _pull(distances: Array, gamma: float, margin: float) -> tuple[Array, Array]:
    """-gamma * max(margin + d, 0) * (margin - d) of pairs of one label, and its derivative by d."""
    xp = array_namespace(distances)
    weight = xp.maximum(margin + distances, 0)
    return -gamma * weight * (margin - distances), xp.where(margin + distances >= 0, 2 * gamma * distances, 0)


def _push(distances: Array, gamma: float, margin: float) -> tuple[Array, Array]:
    """gamma * max(1 + margin - d, 0) * (1 - margin - d) of pairs of two labels, and its derivative by d."""
    xp = array_namespace(distances)
    weight = xp.maximum(1 + margin - distances, 0)
    return gamma * weight * (1 - margin - distances), xp.where(weight > 0, -2 * gamma * (1 - distances), 0)


def _log_sum_exp(values: Array, chosen: Array) -> tuple[Array, Array]:
    """log(sum of exp) over the chosen values of each row (-inf for none), and each one's share in the sum; (M,), (M, R)."""
    xp = array_namespace(values)
    largest = xp.where(chosen, values, values.min()).max(axis=1, keepdims=True)
    terms = xp.where(chosen, xp.exp(xp.minimum(values - largest, 0)), 0)
    total = terms.sum(axis=1, keepdims=True)
    some = total > 0
    total = xp.where(some, total, 1)
    return xp.where(some, largest + xp.log(total), -inf)[:, 0], terms / total


def ctc_forward(
    logits: Array, labels: Array, label_lengths: Array, logit_lengths: Array, blank: int
) -> tuple[Array, Array, Array]:
    """Connectionist temporal classification: -log of the probability that the steps spell the labels.

    A path has a class at each step; without repetitions, and then without blanks, it is what it spells. With s the S = 2L + 1
    places of a blank, the first label, a blank, the second, ... and a last blank, and p = softmax(logits):

        a_0(s) = log p_0(class of s) for the first two places, -inf for the others
        a_t(s) = log p_t(class of s) + log(sum of exp of a_t-1 at s, at s-1, and at s-2 unless s is a blank or the label there)
        loss = -log(sum of exp of a_T-1 at the last two places)

    Args:
        logits: (N, T, C). labels: (N, L), integers in [0, C) but `blank`; what is behind a sample's length does not count.
        label_lengths, logit_lengths: (N,), how many labels and steps a sample has.

    Returns:
        losses: (N,); inf where there are too few steps for the labels.
        log_p: (N, T, C). alpha: (T, N, S), the a above; both for `ctc_backward`.

    Source: Graves et al. 2006, doi:10.1145/1143844.1143891, section 4.1.
    """
    xp = array_namespace(logits)
    log_p, T = log_softmax_forward(logits), logits.shape[1]
    classes, skips = _ctc_places(labels, label_lengths, blank)
    of_places = _ctc_log_p(log_p, classes)
    alpha = xp.full(of_places.shape, -inf, logits.dtype)
    alpha[0, :, :2] = of_places[0, :, :2]
    for t in range(1, T):
        before = alpha[t - 1]
        total = _ctc_add(before, _ctc_shifted(before, 1), xp.where(skips, _ctc_shifted(before, 2), -inf))
        alpha[t] = xp.where((t < logit_lengths)[:, None], total + of_places[t], before)
    last = xp.where(_ctc_ends(classes, label_lengths), alpha[-1], -inf)
    return -_ctc_add(*xp.moveaxis(last, 1, 0)), log_p, alpha


def ctc_backward(
    log_p: Array, alpha: Array, labels: Array, lengths: tuple[Array, Array], blank: int, losses: Array, weights: Array
) -> Array:
    """Gradient of `ctc_forward` with respect to the logits, of sum over n of weights[n] * losses[n].

        b_t(s): as a_t(s), from the end, and without the class of step t
        dlogits_t(k) = weight * (p_t(k) - sum over the places s of class k of exp(a_t(s) + b_t(s) + loss))

    0 at steps behind a sample's length, and for samples whose loss is inf.

    Args:
        log_p, alpha, losses: as `ctc_forward` returned them. labels, blank: as it was given them.
        lengths: (label_lengths, logit_lengths). weights: (N,).

    Returns:
        dlogits: (N, T, C).
    """
    xp, (_, T, C) = array_namespace(log_p), log_p.shape
    label_lengths, logit_lengths = lengths
    classes, skips = _ctc_places(labels, label_lengths, blank)
    of_places = _ctc_log_p(log_p, classes)
    ends = xp.where(_ctc_ends(classes, label_lengths), 0, -inf).astype(log_p.dtype)
    beta = xp.empty_like(alpha)
    beta[T - 1] = ends
    for t in reversed(range(T - 1)):
        after = beta[t + 1] + of_places[t + 1]
        skipping = _ctc_shifted(xp.where(skips, after, -inf), -2)
        total = _ctc_add(after, _ctc_shifted(after, -1), skipping)
        beta[t] = xp.where((t + 1 < logit_lengths)[:, None], total, ends)
    possible = xp.isfinite(losses)
    shares = xp.exp(alpha + beta + xp.where(possible, losses, 0)[:, None])
    of_class = (classes[:, :, None] == xp.arange(C)).astype(log_p.dtype)
    dlogits = xp.exp(log_p) - shares.swapaxes(0, 1) @ of_class
    counts = (xp.arange(T) < logit_lengths[:, None]) & possible[:, None]
    return xp.where(counts[:, :, None], dlogits, 0) * weights[:, None, None]


def _ctc_places(labels: Array, label_lengths: Array, blank: int) -> tuple[Array, Array]:
    """The class of each place, (N, 2L + 1), and whether a path may come to it from the place before the last."""
    xp, (N, L) = array_namespace(labels), labels.shape
    classes = xp.full((N, 2 * L + 1), blank, labels.dtype)
    classes[:, 1::2] = xp.where(xp.arange(L) < label_lengths[:, None], labels, blank)
    skips = xp.zeros(classes.shape, bool)
    skips[:, 2:] = (classes[:, 2:] != blank) & (classes[:, 2:] != classes[:, :-2])
    return classes, skips


def _ctc_log_p(log_p: Array, classes: Array) -> Array:
    """log p of the class of each place: (T, N, S)."""
    xp = array_namespace(log_p)
    return xp.take_along_axis(log_p, xp.broadcast_to(classes[:, None], (*log_p.shape[:2], classes.shape[1])), 2).swapaxes(0, 1)


def _ctc_ends(classes: Array, label_lengths: Array) -> Array:
    """Which places are the last label's or the blank's behind it."""
    places = array_namespace(classes).arange(classes.shape[1])
    last = 2 * label_lengths[:, None]
    return (places == last) | (places == last - 1)


def _ctc_shifted(values: Array, places: int) -> Array:
    """(N, S), each at so many places further (negative: back); -inf comes in."""
    shifted = array_namespace(values).full_like(values, -inf)
    if places > 0:
        shifted[:, places:] = values[:, :-places]
    else:
        shifted[:, :places] = values[:, -places:]
    return shifted


def _ctc_add(*logs: Array) -> Array:
    """log of the sum of exp of several arrays."""
    total = logs[0]
    for one in logs[1:]:
        total = array_namespace(total).logaddexp(total, one)
    return total


def categorical_matches(predictions: Array, targets: Array) -> Array:
    """1.0 where argmax of the prediction's row is argmax of the target's (first of ties), else 0.0; (M,)."""
    return (predictions.argmax(axis=1) == targets.argmax(axis=1)).astype(predictions.dtype)


def sparse_categorical_matches(predictions: Array, labels: Array) -> Array:
    """1.0 where argmax of the prediction's row is the label (M,), else 0.0; (M,), dtype of predictions."""
    return (predictions.argmax(axis=1) == labels).astype(predictions.dtype)


def binary_matches(predictions: Array, targets: Array, threshold: float) -> Array:
    """Mean over c of whether (prediction > threshold) equals the target; (M,)."""
    return ((predictions > threshold) == targets).mean(axis=1, dtype=predictions.dtype)


def accumulate_mean_(total: Array, count: Array, values: Array, weights: Array | None) -> None:
    """total += sum of values * weights; count += sum of weights (of ones where None). total, count: shape ()."""
    total += values.sum() if weights is None else (values * weights).sum()
    count += values.size if weights is None else weights.sum()
