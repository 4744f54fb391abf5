"""The checks of the lessons' exercises, a module a lesson: they say whether an answer is right, or what is wrong with it.

    check(1, answer, right=layer.count_params(), why=[(216, "The biases are missing.")])
    check_function(2, output_size, right=by_layer, cases=[(5, 3, 1), (8, 3, 2)])

They do not say what is right; that comes from the library (a layer, a count, an experiment), never from a second formula.
"""

from __future__ import annotations

import inspect

import numpy as np


def check(exercise, answer, right, why=()):
    """Print whether an answer is right.

    Args:
        exercise: its number.
        answer: the reader's; `...` where there is none yet.
        right: a number, a text, or numbers of any shape.
        why: pairs of a wrong answer, and what whoever gives it has overlooked.
    """
    if answer is ...:
        _say(exercise, "no answer yet")
        return
    wrong = _mistake(answer, right)
    reasons = [reason for known, reason in why if _mistake(answer, known) is None]
    _say(exercise, "right" if wrong is None else f"not yet. {(reasons or [wrong])[0]}")


def check_function(exercise, function, right, cases, why=()):
    """Print whether a function gives what `right` gives, or the first case in which it does not.

    Args:
        exercise: its number.
        function: the reader's; it returns `...` where there is none yet.
        right: the function to compare with.
        cases: their arguments, a tuple each.
        why: pairs of a wrong function, and what whoever writes it has overlooked.
    """
    answers = [function(*case) for case in cases]
    if any(answer is ... for answer in answers):
        _say(exercise, "no answer yet")
        return
    for case, answer in zip(cases, answers):
        wrong = _mistake(answer, right(*case))
        if wrong is not None:
            called = ", ".join(f"{name}={_shown(given)}" for name, given in zip(inspect.signature(function).parameters, case))
            reasons = [reason for known, reason in why if all(_mistake(a, known(*c)) is None for a, c in zip(answers, cases))]
            _say(exercise, f"not yet. For {called}: {wrong}{''.join(f' {reason}' for reason in reasons[:1])}")
            return
    _say(exercise, f"right, in all {len(cases)} cases")


def _say(exercise, text):
    print(f"Exercise {exercise}: {text.rstrip('.')}.")


def _mistake(answer, right):
    """What is wrong with an answer, or None."""
    if isinstance(right, str):
        return None if answer == right else f"{answer!r} is not it."
    right = np.asarray(right)
    wanted = f"numbers of shape {right.shape}" if right.ndim else "a number"
    try:
        answer = np.asarray(answer, float)
    except (TypeError, ValueError):
        return f"The answer is to be {wanted}, and yours is {answer!r}."
    if answer.shape != right.shape:
        return f"The answer is to be {wanted}, and yours has the shape {answer.shape}."
    tolerance = 1e-4 if right.dtype.kind == "f" else 0  # what is counted is exact
    wrong = np.argwhere(~np.isclose(answer, right, rtol=tolerance, atol=tolerance / 10))
    if not len(wrong):
        return None
    place = tuple(int(index) for index in wrong[0])
    verdict = f"{answer[place]:.6g} is too {'large' if answer[place] > right[place] else 'small'}."
    if not place:
        return verdict
    return f"{len(wrong)} of {right.size} numbers are wrong; at {list(place)}, {verdict}"


def _shown(given):
    """An argument of a case, arrays by their shape where they are large."""
    array = np.asarray(given) if isinstance(given, (list, tuple, np.ndarray)) else None
    return repr(given) if array is None or (array.size <= 4 and array.ndim == 1) else f"<shape {array.shape}>"
