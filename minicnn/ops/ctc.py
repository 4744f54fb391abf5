"""Connectionist temporal classification: its loss, and what a network's output spells."""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn import backends
from minicnn.backends import ops as kernels
from minicnn.layers.symbolic import is_symbolic
from minicnn.ops.base import op
from minicnn.tensor import as_tensor

__all__ = ["ctc_decode", "ctc_loss"]


@op("target", "output", "target_length", "output_length")
def ctc_loss(target: Any, output: Any, target_length: Any, output_length: Any, mask_index: int = 0) -> Any:
    """-log of the probability that the steps of each sample spell its labels; (N,).

    Args:
        target: (N, L), labels in [0, C) other than `mask_index`, the blank.
        output: (N, T, C), logits.
        target_length, output_length: (N,), how many labels and steps of each sample count.

    Source: Graves et al. 2006, doi:10.1145/1143844.1143891.
    """
    labels, label_lengths, steps = (backends.asarray(one.astype("int32")) for one in (target, target_length, output_length))
    logits = backends.asarray(output)
    blank = mask_index % logits.shape[-1]
    lengths = label_lengths.clip(0, labels.shape[1]), steps.clip(0, logits.shape[1])
    losses, log_p, alpha = kernels.ctc_forward(logits, labels, *lengths, blank)
    return backends.to_numpy(losses), (log_p, alpha, labels, lengths, blank, losses)


@ctc_loss.gradient
def _(dy: Any, saved: Any) -> Any:
    log_p = saved[0]
    return None, kernels.ctc_backward(*saved, backends.asarray(dy, log_p.dtype)), None, None


def ctc_decode(
    inputs: Any,
    sequence_lengths: Any,
    strategy: str = "greedy",
    beam_width: int = 100,
    top_paths: int = 1,
    merge_repeated: bool = True,
    mask_index: int = 0,
) -> tuple[Any, Any]:
    """What the steps of each sample spell.

    Args:
        inputs: (N, T, C), logits. sequence_lengths: (N,), how many steps count.
        strategy: "greedy", the likeliest class of each step; or "beam_search", of the `beam_width` likeliest beginnings at each
            step the `top_paths` likeliest ends.
        merge_repeated: of "greedy": whether a class that is repeated counts once.
        mask_index: the blank.

    Returns:
        labels (paths, N, T), filled up with -1, int32; and scores: of "greedy" minus the sum of the largest logits (N, 1), of
        "beam_search" the logarithms of the probabilities (N, top_paths).

    Raises:
        ValueError: for another strategy, and for symbolic tensors.
    """
    if strategy not in ("greedy", "beam_search"):
        raise ValueError(f"Invalid strategy {strategy}. Supported values are 'greedy' and 'beam_search'.")
    if is_symbolic([inputs, sequence_lengths]):
        raise ValueError("`ctc_decode` needs values: decode what `predict` returns. Received: a symbolic tensor.")
    logits = np.asarray(backends.to_numpy(inputs))
    N, T, C = logits.shape
    lengths = np.asarray(backends.to_numpy(sequence_lengths)).reshape(N).astype(int)
    blank = mask_index % C
    decoded = np.full((top_paths if strategy == "beam_search" else 1, N, T), -1, np.int32)
    scores = np.zeros((N, len(decoded)), logits.dtype)
    for n in range(N):
        steps = logits[n, : lengths[n]]
        found = _likeliest_paths(steps, beam_width, top_paths, blank) if strategy == "beam_search" else None
        for index, (labels, score) in enumerate(found or [_greedy_path(steps, merge_repeated, blank)]):
            decoded[index, n, : len(labels)] = labels
            scores[n, index] = score
    return as_tensor(decoded), as_tensor(scores)


def _greedy_path(logits: np.ndarray, merge_repeated: bool, blank: int) -> tuple[list[int], float]:
    """The labels of the likeliest classes, and minus the sum of their logits."""
    classes = logits.argmax(axis=1)
    kept = classes != blank
    if merge_repeated:
        kept[1:] &= classes[1:] != classes[:-1]
    return classes[kept].tolist(), -float(logits.max(axis=1).sum())


def _likeliest_paths(logits: np.ndarray, beam_width: int, top_paths: int, blank: int) -> list[tuple[tuple[int, ...], float]]:
    """Prefix beam search: of each beginning the log-probabilities to end in a blank and in its last label.

    Source: Graves 2008, PhD thesis, section 7.5; as in Hannun et al. 2014, arXiv:1408.2873.
    """
    largest = logits.max(axis=1, keepdims=True)
    log_p = logits - largest - np.log(np.exp(logits - largest).sum(axis=1, keepdims=True))
    beams: dict[tuple[int, ...], tuple[float, float]] = {(): (0.0, -np.inf)}

    def total(item: tuple[tuple[int, ...], tuple[float, float]]) -> float:
        return float(np.logaddexp(*item[1]))

    for step in log_p:
        longer: dict[tuple[int, ...], tuple[float, float]] = {}

        def add(path: tuple[int, ...], in_blank: float, in_label: float, longer: Any = longer) -> None:
            before = longer.get(path, (-np.inf, -np.inf))
            longer[path] = (np.logaddexp(before[0], in_blank), np.logaddexp(before[1], in_label))

        for path, (in_blank, in_label) in beams.items():
            add(path, np.logaddexp(in_blank, in_label) + step[blank], in_label + step[path[-1]] if path else -np.inf)
            for label in range(len(step)):
                if label != blank:
                    arriving = in_blank if path and label == path[-1] else np.logaddexp(in_blank, in_label)
                    add((*path, label), -np.inf, arriving + step[label])
        beams = dict(sorted(longer.items(), key=total, reverse=True)[:beam_width])
    return [(path, total((path, ends))) for path, ends in list(beams.items())[:top_paths]]
