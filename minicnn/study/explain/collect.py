"""The numbers of one image: every value and every gradient of a plan, the weights, the loss, and what one step changes."""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

import numpy as np

from minicnn import backends, losses
from minicnn.models import fusion
from minicnn.models.graph import flatten_calls
from minicnn.models.output_losses import OutputLosses
from minicnn.models.plan import Plan, Step
from minicnn.study.explain import exact
from minicnn.study.explain.describe import describe, view
from minicnn.study.explain.targets import Target, default_losses, targets_for

__all__ = ["Record", "collect"]

MOST_WEIGHTS = 1_000_000  # of one layer, that are embedded
LARGEST = 24  # contributions to a unit that stand for a kernel with more
LARGEST_ROWS = 1024  # input gradients for which that is told, too
MOST_CLASSES = 10  # for which it is told what pushes them up

Record = dict[str, Any]  # plain data, and arrays at its leaves


def collect(model: Any, x: Any, y: Any = None) -> Record:
    """Run one image forward and back through a plan that joins nothing, and keep all numbers.

    Args:
        model: a built model. x: one image, or a list of one an input; with or without a batch axis.
        y: see `minicnn.study.explain.explain`.

    Raises:
        ValueError: if `x` or `y` do not fit the model.
    """
    model._require_graph()
    arrays = model._feed(_one_of_each(model, x))
    compiled = model._compiled_loss if model.compiled else None
    loss = OutputLosses(default_losses(model), None, model.output_names) if compiled is None else compiled.with_own_means()
    given = model.predict_on_batch([backends.to_numpy(array) for array in arrays])
    targets = targets_for(model, loss, y, given)
    plan = Plan(model, keep=None, of_inputs=True, split=True, logits_for=_logits_for(model, loss))
    values: dict[int, Any] = dict(zip(plan.inputs, arrays))
    gradients: dict[int, Any] = {}
    saved: list[Any] = []
    outputs = plan.forward(arrays, False, saved, seen=lambda step, y: values.__setitem__(step.output, np.array(_host(y))))
    total, own, predictions, kept = loss.forward([target.y for target in targets], outputs, None, plan.logits_for)
    seeds = loss.backward(kept, plan.logits_for)
    for i, target in enumerate(targets):
        if loss.losses[i] is None:  # the output itself is what is asked about
            seeds[i] = target.y
    of_weights, of_inputs = plan.backward(
        seeds, saved, seen=lambda step, dy: gradients.__setitem__(step.output, np.array(_host(dy)))
    )
    gradients |= {i: _host(d) for i, d in zip(plan.inputs, of_inputs) if d is not None}
    values = {i: _host(value) for i, value in values.items()}
    record = _record(model, plan, values, gradients, of_weights)
    record["losses"] = [
        target.describe(loss.losses[i], plan.outputs[i], own[i], _host(predictions[i]), i in plan.logits_for, loss.factors[i])
        for i, target in enumerate(targets)
    ]
    record["loss"] = None if total is None else float(total)
    record["pushes"] = _pushes(plan, arrays, _host(predictions[0]), values)
    _after_a_step(model, of_weights, record["weights"])
    return record


def _host(array: Any) -> np.ndarray:
    return np.asarray(backends.to_numpy(array))


def _one_of_each(model: Any, x: Any) -> list[np.ndarray]:
    """The inputs with a batch axis of 1."""
    given = list(x) if isinstance(x, (list, tuple)) and len(model.inputs) > 1 else [x]
    if len(given) != len(model.inputs):
        raise ValueError(f"Model '{model.name}' takes {len(model.inputs)} inputs. Received: {len(given)}")
    batches = []
    for array, tensor in zip(given, model.inputs):
        array, wanted = np.asarray(array, tensor.dtype), tensor.shape[1:]
        shape = array.shape[1:] if len(array.shape) == len(wanted) + 1 and len(array) == 1 else array.shape
        if len(shape) != len(wanted) or any(want not in (None, have) for want, have in zip(wanted, shape)):
            raise ValueError(f"Model '{model.name}' takes an image of shape {wanted}. Received: shape={array.shape}")
        batches.append(array.reshape(1, *shape))
    return batches


def _logits_for(model: Any, loss: OutputLosses) -> tuple[int, ...]:
    """As in `fit`: the outputs whose last activation is computed together with their loss."""
    calls, _, outputs, _ = flatten_calls(model)
    made_by = {call.output: call.layer for call in calls}
    readers = Counter([*outputs, *(value for call in calls for value in call.inputs)])
    return loss.logits_for([fusion.last_activation(made_by[i]) if i in made_by and readers[i] == 1 else None for i in outputs])


def _record(model: Any, plan: Plan, values: dict[int, np.ndarray], gradients: dict[int, np.ndarray], of_weights: Any) -> Record:
    """Steps, values and weights, by number."""
    readers: Counter[int] = Counter([*plan.outputs, *(i for step in plan.steps for i in step.inputs)])
    reader = {i: step for step in plan.steps for i in step.inputs if readers[i] == 1}
    steps: list[Record] = []
    described: dict[int, Record] = {}
    weights: dict[int, int] = {}
    table: list[Record] = []
    names: Counter[str] = Counter()
    for step in plan.steps:
        inputs = [values[i] for i in step.inputs]
        op = described[id(step)] = describe(step, inputs, values[step.output])
        layer = step.layers[0]
        names[layer.name] += 1
        own = _weights_of(layer)
        for variable in own.values():
            if id(variable) not in weights:
                weights[id(variable)] = len(table)
                table.append(_weight(variable, of_weights.get(variable), op, step, values, gradients))
        steps.append(
            {
                "name": layer.name + f"@{names[layer.name]}" * (names[layer.name] > 1),
                "layer": type(layer).__name__,
                "op": op,
                "inputs": list(step.inputs),
                "output": step.output,
                "weights": {role: weights[id(variable)] for role, variable in own.items()},
                "params": sum(variable.size for variable in layer.weights),
            }
        )
        if op["kind"] == "dense" and layer.kernel.size > MOST_WEIGHTS:
            steps[-1]["largest"] = _largest(layer.kernel.numpy(), inputs[0], gradients.get(step.output))
    rows = []
    for i, shape in enumerate(plan.shapes):
        if i not in values:
            continue
        made = next((step for step in plan.steps if step.output == i), None)
        read = [step for step in plan.steps if i in step.inputs]
        x, d = values[i], gradients.get(i)
        first = any(
            getattr(step.layers[0], "data_format", "") == "channels_first" for step in [*([made] if made else []), *read]
        )
        row: Record = {**view(tuple(x.shape[1:]), first), "x": x[0].reshape(-1), "d": None if d is None else d[0].reshape(-1)}
        if made is not None and _same(exact.forward(described[id(made)], [values[k] for k in made.inputs]), x):
            row["x"] = "forward"
        if d is not None and i in reader and reader[i].output in gradients:
            after = reader[i]
            if _same(exact.backward(described[id(after)], x, values[after.output], gradients[after.output]), d):
                row["d"] = "backward"
        rows.append({"id": i, **row})
    by_name: dict[str, Record] = {step["name"]: step for step in steps}
    return {
        "name": model.name,
        "steps": steps,
        "inputs": [{"name": name, "value": i} for name, i in zip(model.input_names, plan.inputs)],
        "values": rows,
        "weights": table,
        "runs": [
            {**row, "layers": [name for name in row["layers"] if name in by_name]} for row in model.training_plan().describe()
        ],
    }


def _same(predicted: np.ndarray | None, array: np.ndarray) -> bool:
    return predicted is not None and np.array_equal(predicted.reshape(-1), array.reshape(-1))


def _weights_of(layer: Any) -> dict[str, Any]:
    """The layer's weights by what they are to it."""
    return {variable.name: variable for variable in layer.weights}


def _weight(variable: Any, gradient: Any, op: Record, step: Step, values: Any, gradients: Any) -> Record:
    """A weight and its gradient; neither, where a dense kernel is too large."""
    embedded = variable.size <= MOST_WEIGHTS or op["kind"] != "dense"
    row: Record = {"name": variable.path, "shape": list(variable.shape), "x": None, "d": None, "variable": variable}
    if not embedded or variable.dtype != "float32":
        return row
    row["x"] = variable.numpy().reshape(-1)
    if gradient is not None:
        row["d"] = _host(gradient).reshape(-1)
        x, dy = values[step.inputs[0]], gradients[step.output]
        if (
            op["kind"] == "dense"
            and variable.name == "kernel"
            and x.ndim == 2
            and _same(np.multiply.outer(x[0], dy[0]), row["d"])
        ):
            row["d"] = "outer"
    return row


def _largest(kernel: np.ndarray, x: np.ndarray, dy: np.ndarray | None) -> Record | None:
    """What stands for a kernel that is not embedded: the largest products of each unit, and the sum of all others.

    Likewise of dx = kernel @ dy, for the inputs with the largest gradients.
    """
    if x.ndim != 2:
        return None
    found: Record = {"forward": _largest_products(kernel.T, x[0])}
    if dy is not None:
        rows = np.sort(np.argsort(-np.abs(kernel @ dy[0]))[:LARGEST_ROWS]).astype(np.int32)
        found["backward"] = {"rows": rows, **_largest_products(kernel[rows], dy[0])}
    return found


def _largest_products(matrix: np.ndarray, vector: np.ndarray) -> Record:
    """Of each row's products with the vector: "index" and "weight" (rows, LARGEST) of the largest, "rest", the others' sum."""
    indices, weights, rests = [], [], []
    for row in matrix:
        products = row.astype(np.float64) * vector
        count = min(LARGEST, len(vector))
        index = np.argpartition(-np.abs(products), count - 1)[:count]
        indices.append(index)
        weights.append(row[index])
        rests.append(products.sum() - products[index].sum())
    return {
        "index": np.array(indices, np.int32),
        "weight": np.array(weights, np.float32),
        "rest": np.array(rests, np.float32),
    }


def _pushes(plan: Plan, arrays: list[Any], prediction: np.ndarray, values: dict[int, np.ndarray]) -> Record | None:
    """Which scores each map pushes up: of value times (d score / d value), the sum over the map; for the likeliest classes.

    For a stretch of layers that is linear around this image, these are the shares that the maps have in a score.
    """
    if prediction.ndim != 2:
        return None
    classes = np.sort(np.argsort(-prediction[0], kind="stable")[:MOST_CLASSES])
    shares: dict[int, np.ndarray] = {}
    batch = [backends.asarray(np.repeat(_host(array), len(classes), axis=0)) for array in arrays]
    saved: list[Any] = []
    outputs = plan.forward(batch, False, saved)
    seed = np.zeros(outputs[0].shape, _host(outputs[0]).dtype)
    seed[np.arange(len(classes)), classes] = 1

    def see(step: Step, dy: Any) -> None:
        value = values[step.output]
        shares[step.output] = (_host(dy) * value).reshape(len(classes), -1, value.shape[-1]).sum(axis=1).astype(np.float32)

    plan.backward([seed, *[None] * (len(outputs) - 1)], saved, seen=see)
    return {"classes": classes.tolist(), "shares": {str(i): share for i, share in shares.items()}}


def _after_a_step(model: Any, of_weights: dict[Any, Any], weights: list[Record]) -> None:
    """What one step of the optimizer on this image alone would make of each weight, as "after"."""
    variables = [row.pop("variable") for row in weights]
    if model.optimizer is None or not of_weights:
        return
    twin = copy.deepcopy(model)
    twins = {id(own): copied for own, copied in zip(model.weights, twin.weights)}
    trained = [variable for variable in model.trainable_weights if variable in of_weights]
    if not twin.optimizer.built:
        twin.optimizer.build(twin.trainable_weights)
    gradients = [twin.optimizer.scale_loss(of_weights[variable]) for variable in trained]
    twin.optimizer.apply(gradients, [twins[id(variable)] for variable in trained])
    for variable, row in zip(variables, weights):
        if row["d"] is not None:
            row["after"] = twins[id(variable)].numpy().reshape(-1)
