"""The numbers of one image: every value and every gradient of a plan, the weights, the loss, and what one step changes."""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any, NamedTuple

import numpy as np

from minicnn import backends
from minicnn.models import fusion
from minicnn.models.graph import flatten_calls
from minicnn.models.output_losses import OutputLosses
from minicnn.models.plan import Plan, Step
from minicnn.study.explain import exact
from minicnn.study.explain.describe import describe, view
from minicnn.study.explain.targets import default_losses, targets_for
from minicnn.study.gradcheck import state_of

__all__ = ["Record", "collect"]

MOST_WEIGHTS = 1_000_000  # of one kernel, that are embedded
LARGEST = 24  # contributions to a unit that stand for a kernel with more
LARGEST_ROWS = 1024  # input gradients for which that is told, too
MOST_CLASSES = 10  # for which it is told what pushes them up

Record = dict[str, Any]  # plain data, and arrays at its leaves


class Ran(NamedTuple):
    """What one image gave: values and gradients by their number in the plan, and the gradients of weights."""

    values: dict[int, np.ndarray]
    gradients: dict[int, np.ndarray]
    of_weights: dict[Any, Any]


def collect(model: Any, x: Any, y: Any = None, most_weights: int = MOST_WEIGHTS) -> Record:
    """Run one image forward and back through a plan that joins nothing, and keep all numbers.

    Args:
        model: a built model. x: one image, or a list of one an input; with or without a batch axis.
        y: see `minicnn.study.explain.explain`.
        most_weights: of a kernel with more the weights are left out; of a dense one the largest products stay.

    Raises:
        ValueError: if `x` or `y` do not fit the model.
    """
    model._require_graph()
    arrays = model._feed(_one_of_each(model, x))
    compiled = model._compiled_loss if model.compiled else None
    loss = OutputLosses(default_losses(model), None, model.output_names) if compiled is None else compiled.with_own_means()
    restore = state_of(model)  # a `call` may assign to variables
    given = model.predict_on_batch([backends.to_numpy(array) for array in arrays])
    targets = targets_for(model, loss, y, given)
    logits_for = loss.logits_for(fusion.activations_of_outputs(flatten_calls(model)))  # as in `fit`
    plan = Plan(model, keep=None, of_inputs=True, split=True, logits_for=logits_for, with_masks=True)
    values: dict[int, Any] = dict(zip(plan.inputs, arrays))
    gradients: dict[int, Any] = {}
    saved: list[Any] = []
    masks: list[Any] = []
    restore()
    outputs = plan.forward(
        arrays, False, saved, seen=lambda step, y: values.__setitem__(step.output, np.array(_host(y))), masks=masks
    )
    total, own, predictions, kept = loss.forward([target.y for target in targets], outputs, None, plan.logits_for, masks)
    seeds = loss.backward(kept, plan.logits_for)
    for i, target in enumerate(targets):
        if loss.losses[i] is None:  # the output itself is what is asked about
            seeds[i] = target.y
    of_weights, of_inputs = plan.backward(
        seeds, saved, seen=lambda step, dy: gradients.__setitem__(step.output, np.array(_host(dy)))
    )
    restore()
    gradients |= {i: d for i, d in zip(plan.inputs, of_inputs) if d is not None}
    gradients, values = ({i: _of_one_image(array) for i, array in found.items()} for found in (gradients, values))
    record = _record(model, plan, Ran(values, gradients, of_weights), most_weights)
    record["losses"] = [
        target.describe(
            loss.losses[i],
            plan.outputs[i],
            own[i],
            _host(predictions[i]),
            i in plan.logits_for,
            loss.factors[i],
            masks[i] is not None,
        )
        for i, target in enumerate(targets)
    ]
    record["loss"] = None if total is None else float(total)
    record["pushes"] = _pushes(plan, arrays, _host(predictions[0]), values)
    restore()
    _after_a_step(model, of_weights, record["weights"])
    return record


def _host(array: Any) -> np.ndarray:
    """On the host, and as the page takes numbers, which are float32."""
    return np.asarray(backends.to_numpy(array), np.float32)


def _of_one_image(array: Any) -> np.ndarray:
    """`_host`, with a batch axis of 1 also where the value is computed from weights alone, or of all images together."""
    array = _host(array)
    return array if array.shape[:1] == (1,) else array[None]


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


def _record(model: Any, plan: Plan, ran: Ran, most_weights: int) -> Record:
    """Steps, values and weights, by number."""
    values = ran.values
    ops = {step.output: describe(step, [values[i] for i in step.inputs], values[step.output]) for step in plan.steps}
    weights: dict[int, int] = {}
    table: list[Record] = []
    names: Counter[str] = Counter()
    steps = []
    for step in plan.steps:
        layer: Any = step.layers[0]
        names[layer.name] += 1
        for variable in layer.weights:
            if id(variable) not in weights:
                weights[id(variable)] = len(table)
                table.append({"name": variable.path, "shape": list(variable.shape), "x": None, "d": None, "variable": variable})
                if variable.size <= most_weights and variable.dtype == "float32":
                    table[-1] |= _weight(variable, ops[step.output], step, ran)
        row: Record = {
            "name": layer.name + f"@{names[layer.name]}" * (names[layer.name] > 1),
            "layer": type(layer).__name__,
            "op": ops[step.output],
            "inputs": list(step.inputs),
            "output": step.output,
            "weights": {_role(layer, variable): weights[id(variable)] for variable in layer.weights},
            "params": sum(variable.size for variable in layer.weights),
        }
        if row["op"]["kind"] == "dense" and layer.kernel.size > most_weights:
            row["largest"] = _largest(_host(layer.kernel.value), values[step.inputs[0]], ran.gradients.get(step.output))
        steps.append(row)
    return {
        "name": model.name,
        "steps": steps,
        "inputs": [{"name": name, "value": i} for name, i in zip(model.input_names, plan.inputs)],
        "values": _values(plan, ops, ran, most_weights),
        "weights": table,
        "runs": model.training_plan().describe(),
    }


def _role(layer: Any, variable: Any) -> str:
    """What a weight is to its layer; the variable itself may have been made under another name."""
    return "kernel" if variable is getattr(layer, "kernel", None) else variable.name


def _values(plan: Plan, ops: dict[int, Record], ran: Ran, most_weights: int) -> list[Record]:
    """Each value and its gradient: as an array, or as what the page computes them by, where no bit is lost."""
    values, gradients = ran.values, ran.gradients
    made_by = {step.output: step for step in plan.steps}
    rows = []
    for i, x in values.items():
        made, d = made_by.get(i), gradients.get(i)
        readers = [step for step in plan.steps for read in step.inputs if read == i]
        near = [step.layers[0] for step in (*readers, *([] if made is None else [made]))]
        first = any(getattr(layer, "data_format", "") == "channels_first" for layer in near)
        row: Record = {"id": i, **view(tuple(x.shape[1:]), first), "x": x[0].reshape(-1), "d": None}
        if made is not None:
            if not first and _same(exact.forward(ops[i], [values[k] for k in made.inputs]), x):
                row["x"] = "forward"
            elif not first and _is_predicted(made, ops[i], most_weights):
                row["x"] = _sums(made.layers[0], ops[i], values[made.inputs[0]][0], row["x"])
        if d is not None:
            row["d"] = d[0].reshape(-1)
            after = readers[0].output if len(readers) == 1 and i not in plan.outputs else None
            if after in gradients and not first and _same(exact.backward(ops[after], x, gradients[after]), d):
                row["d"] = "backward"
        rows.append(row)
    return rows


def _is_predicted(step: Step, op: Record, most_weights: int) -> bool:
    """Whether `exact` has the sums of a step: of 2-D convolutions whose kernel is embedded."""
    layer: Any = step.layers[0]
    return op["kind"] == "conv" and layer.rank == 2 and layer.kernel.size <= most_weights


def _sums(layer: Any, op: Record, x: np.ndarray, y: np.ndarray) -> exact.Predicted:
    kernel = layer.kernel.numpy()
    kernel = kernel.reshape(*kernel.shape[:2], x.shape[2] // op["groups"], -1)  # a depthwise one, too
    bias = None if layer.bias is None else layer.bias.numpy()
    return exact.Predicted(y, lambda: exact.conv_forward(op, x, kernel, bias))


def _same(predicted: np.ndarray | None, array: np.ndarray) -> bool:
    return predicted is not None and np.array_equal(predicted.reshape(-1), array.reshape(-1))


def _weight(variable: Any, op: Record, step: Step, ran: Ran) -> Record:
    """A weight's values and its gradient."""
    row: Record = {"x": variable.numpy().reshape(-1)}
    gradient = ran.of_weights.get(variable)
    if gradient is None:
        return row
    row["d"] = _host(gradient).reshape(-1)
    layer: Any = step.layers[0]
    if op["kind"] not in ("dense", "conv") or variable is not layer.kernel:
        return row
    x, dy = ran.values[step.inputs[0]], ran.gradients[step.output]
    if op["kind"] == "dense" and x.ndim == 2 and _same(np.multiply.outer(x[0], dy[0]), row["d"]):
        row["d"] = "outer"
    if op["kind"] == "conv" and layer.rank == 2 and layer.data_format == "channels_last":
        row["d"] = exact.Predicted(row["d"], lambda: exact.conv_kernel_gradient(op, x[0], dy[0]))
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
    count = min(LARGEST, len(vector))
    index = np.empty((len(matrix), count), np.int32)
    rest = np.empty(len(matrix), np.float32)
    for i, row in enumerate(matrix):
        products = row * vector
        sizes = np.abs(products)
        index[i] = np.argpartition(sizes, -count)[-count:]
        products[index[i]] = 0
        rest[i] = products.sum(dtype=np.float64)
    return {"index": index, "weight": np.take_along_axis(matrix, index, axis=1), "rest": rest}


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
        if dy.shape != (len(classes), *value.shape[1:]):
            return  # no value of an image
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
