"""Lessons run as notebooks, in a kernel as Jupyter runs them, and their exercises tell right answers from wrong ones.

The notebooks in the repository have the cells that their programs have now, and were run. All is done with `--quick`, in one
kernel, emptied before each.
"""

from __future__ import annotations

import os
import pickle
import re
import runpy
from typing import Any, NamedTuple

import nbformat
import numpy as np
import pytest
from jupyter_core.utils import run_sync
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell

from tests.test_examples import EXAMPLES, FIGURES

make: dict[str, Any] = runpy.run_path(str(EXAMPLES / "notebooks" / "make.py"))
LESSONS = sorted(name for name in FIGURES if name.startswith("lesson_"))
RESET = "%reset -f"
COMPILING = "minicnn: compiling kernels for this machine (once, some seconds)...\n"
CHECK = re.compile(r"^check_\d\(", re.MULTILINE)

# For each exercise: wrong answers, and a part of what is to be said to each. The check foresees the first, and others not.
WRONG = {
    "lesson_convolution": (
        [
            ("def output_rows(rows, kernel, stride, padding): return (rows - kernel) // stride + 1", "hang over the edges"),
            ("def output_rows(rows, kernel, stride, padding): return rows", "For rows=5, kernel=3, .*: 5 is too large"),
        ],
        [
            ("kernel_2 = [[0, 0, 0], [0, 0, 1], [0, 0, 0]]", "It moves to the left"),
            ("kernel_2 = [0, 1, 0]", r"numbers of shape \(4, 4\), and yours has the shape \(3,\)"),
        ],
        [("answer_3 = 1200", "Each filter has a bias"), ("answer_3 = 'many'", "to be a number, and yours is 'many'")],
    ),
    "lesson_backpropagation": (
        [
            (
                "from scipy.signal import correlate2d\n"
                "def kernel_gradient(x, dy): return correlate2d(x, dy, 'valid')[::-1, ::-1]",
                "nothing is turned around",
            ),
            ("def kernel_gradient(x, dy): return dy", r"numbers of shape \(2, 2\), and yours has the shape \(3, 3\)"),
        ],
        [
            ("def relu_backward(dy, y): return dy * y", "Its slope is 1 or 0"),
            ("def relu_backward(dy, y): return -dy", r"wrong; at \[0\], -3 is too small"),
        ],
        [("def sum_of_dx(kernel, dy): return kernel.sum() + dy.sum()", "products, not sums")],
    ),
    "lesson_batch_normalization": (
        [
            ("def normalize(x, epsilon): return (x - x.mean()) / np.sqrt(x.var() + epsilon)", "Every channel has a mean"),
            ("def normalize(x, epsilon): return x", "72 of 72 numbers are wrong"),
        ],
        [("def running_mean(batches, momentum, mean): return mean", "It begins at 0")],
        [
            (
                "def folded(kernel, gamma, beta, mean, variance, epsilon):\n"
                "    return kernel * gamma / np.sqrt(variance + epsilon), beta",
                "The mean is subtracted, too",
            ),
            ("def folded(kernel, gamma, beta, *others): return kernel, beta", "numbers are wrong"),
        ],
    ),
    "lesson_optimizers": (
        [("answer_1 = 0.04", "in one step"), ("answer_1 = 0.09", "0.09 is too large")],
        [("def first_step(g, rate): return -rate * g", "That is gradient descent")],
        [
            ("def last_step(g, rate, momentum): return rate * g", "The old steps go on"),
            ("def last_step(g, rate, momentum): return 0", "For g=1.0, rate=0.01, momentum=0.9: 0 is too small"),
        ],
    ),
    "lesson_counting": (
        [("answer_1 = 25 * 16 * 64 + 64", "with a bias"), ("answer_1 = 25601", "25601 is too large")],
        [
            (
                "def flops_of(H, W, C, F, K, S): return -(-H // S) * -(-W // S) * F * K * K * C",
                "count two operations",
            ),
            ("def flops_of(height, *rest): return 10**9", "For height=8, .*is too large"),
        ],
        [("def separable(kernel, C_in, C_out): return kernel**2 + C_in * C_out", "a kernel of its own")],
    ),
    "lesson_fast_convolution": (
        [
            (
                "def im2col_bytes(height, width, channels, kernel): return 4 * height * width * channels * kernel**2",
                "makes no row",
            )
        ],
        [("def offset(oy, ox, width, channels, stride): return (oy * width + ox) * channels", "moves by the stride")],
        [
            ("def saving(m, r): return m * r / 6", "tiles have two"),
            ("def saving(m, r): return 4", "For m=2, r=5: 4 is too large"),
        ],
    ),
    "lesson_augmentation_dropout": (
        [("answer_1 = 0.8", "share that survives"), ("answer_1 = 1.3", "too large")],
        [("def dropout_backward(dy, kept, rate): return dy * kept", "the survivors were scaled")],
        [("answer_3 = 9", "each of them can be mirrored"), ("answer_3 = 17", "too small")],
    ),
    "lesson_reading_a_network": (
        [
            ("def rows_seen(stack): return 1 + sum(kernel - 1 for kernel, _ in stack)", "neighbours are two rows apart"),
            ("def rows_seen(stack): return 3", r"For stack=.*: 3 is too small"),
        ],
        [("answer_2 = place[:2]", "its place in pool_1"), ("answer_2 = 3", r"numbers of shape \(2,\)")],
        [("def share(values, weights, m, k): return values[..., m].sum()", "a weight of its own")],
    ),
}


class Ran(NamedTuple):
    """A notebook that was run: what its cells printed, one text; the variables asked for; the check's word on each answer."""

    printed: str
    variables: dict[str, Any]
    on_none: list[str]
    on_solution: list[str]
    on_wrong: list[tuple[str, str]]


@pytest.fixture(scope="module")
def kernel():
    """One kernel for all; it computes with this checkout, whatever is installed."""
    client = NotebookClient(nbformat.v4.new_notebook())
    client.create_kernel_manager()
    path = os.pathsep.join(filter(None, (str(EXAMPLES.parent), os.environ.get("PYTHONPATH"))))
    client.start_new_kernel(env=os.environ | {"PYTHONPATH": path}, cwd=str(EXAMPLES / "notebooks"))
    yield client.km
    run_sync(client.km.shutdown_kernel)(now=True)


@pytest.fixture
def lesson(kernel, tmp_path):
    """`lesson(name, *variables)`: run a lesson's notebook, then its exercises with the solutions and with wrong answers."""

    def run(name, *variables):
        notebook = make["notebook_of"](EXAMPLES / f"{name}.py", arguments='_common.arguments = ["--quick"]')
        own = len(notebook.cells)
        checks = [cell.source for cell in notebook.cells if cell.cell_type == "code" and CHECK.search(cell.source)]
        solutions = re.findall(r"```python\n(.*?)```", notebook.cells[-1].source, re.DOTALL)
        assert len(checks) == len(solutions) == len(WRONG[name]) >= 3
        answers = [(solution, None, check) for solution, check in zip(solutions, checks)]
        answers += [(code, said, check) for wrong, check in zip(WRONG[name], checks) for code, said in wrong]
        for answer, _, check in answers:
            notebook.cells += [new_code_cell(answer), new_code_cell(check)]
        where = tmp_path / "variables"
        of_these = f"{{name: globals()[name] for name in {variables!r}}}"
        notebook.cells.append(new_code_cell(f"import pickle\npickle.dump({of_these}, open({str(where)!r}, 'wb'))"))
        notebook.cells.insert(0, new_code_cell(RESET))
        make["run"](notebook, km=kernel)
        shown = [cell for cell in notebook.cells[1 : 1 + own] if cell.cell_type == "code"]
        outputs = [output for cell in shown for output in cell.outputs]
        said = "".join(output.text for output in outputs if output.get("name") == "stderr")
        assert said in ("", COMPILING), said
        pictures = [output.data["image/png"] for output in outputs if "image/png" in output.get("data", {})]
        assert len(pictures) == len(set(pictures)) == len(FIGURES[name])
        verdicts = [_printed(cell) for cell in notebook.cells[1 + own : -1] if CHECK.search(cell.source)]
        said = [expected for _, expected, _ in answers[len(checks) :]]
        return Ran(
            "".join(_printed(cell) for cell in shown),
            pickle.loads(where.read_bytes()),
            [_printed(cell) for cell in shown if CHECK.search(cell.source)],
            verdicts[: len(checks)],
            list(zip(said, verdicts[len(checks) :])),
        )

    return run


def _printed(cell):
    """What a cell wrote, or showed as a table."""
    return "".join(output.get("text") or output.data["text/plain"] for output in cell.outputs)


def run_and_check_exercises(lesson, name, *variables):
    """Run a lesson: no answer is none, each solution is right, and each wrong answer is refused with its reason."""
    ran = lesson(name, *variables)
    for number, (none, right) in enumerate(zip(ran.on_none, ran.on_solution), start=1):
        assert none == f"Exercise {number}: no answer yet.\n"
        assert re.fullmatch(rf"Exercise {number}: right(, in all \d+ cases)?\.\n", right)
    for said, verdict in ran.on_wrong:
        assert re.fullmatch(rf"Exercise \d: not yet\. .*{said}.*\n", verdict)
    return ran.variables, ran.printed


# --- the lessons ------------------------------------------------------------------------


def test_convolution(lesson):
    from scipy.signal import correlate2d

    variables, printed = run_and_check_exercises(lesson, "lesson_convolution", "image", "kernel", "by_hand")
    expected = correlate2d(variables["image"], variables["kernel"], "valid")
    np.testing.assert_array_equal(variables["by_hand"], expected)
    assert f"    = {expected[1, 1]:.0f}\n" in printed
    assert "differs from the loops' by at most 0.0" in printed
    for formula in (
        "ceil((5 - 3 + 1) / 1) = 3",
        "ceil((5 - 3 + 1) / 2) = 2",
        "ceil(5 / 1)         = 5",
        "ceil(5 / 2)         = 3",
    ):
        assert formula in printed
        calculation, result = formula.split("=")
        assert eval(calculation.replace("ceil", "np.ceil")) == int(result)


def test_backpropagation(lesson):
    import tensorflow as tf

    variables, printed = run_and_check_exercises(lesson, "lesson_backpropagation", "x", "k", "b", "target", "dx", "dk")
    x, k = (tf.constant(variables[name][None, :, :, None]) for name in ("x", "k"))
    kernel = tf.transpose(k, (1, 2, 0, 3))
    with tf.GradientTape() as tape:
        tape.watch([x, kernel])
        y = tf.nn.conv2d(x, kernel, 1, "VALID")[0, :, :, 0] + variables["b"]
        loss = tf.reduce_sum((y - variables["target"]) ** 2) / 2
    dx, dk = tape.gradient(loss, [x, kernel])
    np.testing.assert_array_equal(variables["dx"], dx[0, :, :, 0])
    np.testing.assert_array_equal(variables["dk"], dk[:, :, 0, 0])
    assert f"loss before the step: {float(loss):.4f}" in printed
    assert re.findall(r"^    (?:y|dk|db|dx) +(\S+)$", printed, re.MULTILINE) == ["0.0"] * 4
    for slope, gradient in re.findall(r"k\[\d, \d\]: +(\S+) +(\S+)$", printed, re.MULTILINE):
        assert slope == gradient


def test_batch_normalization(lesson):
    _, printed = run_and_check_exercises(lesson, "lesson_batch_normalization")
    expected = (np.array([2, 4, 4, 6, 8, 12]) - 6) / np.sqrt(32 / 3 + 0.001)
    for line in ("(x - mean) / sqrt(variance + 0.001)", "the layer in training"):
        shown = re.search(rf"^{re.escape(line)}: +\[(.*?)\]", printed, re.MULTILINE).group(1)
        np.testing.assert_allclose([float(number) for number in shown.split()], expected, atol=1e-4)
    assert "batch 60: mean 5.9892, variance 10.6493" in printed  # 6 (1 - 0.9⁶⁰) and 0.9⁶⁰ + 32/3 (1 - 0.9⁶⁰)
    _, last_relu = printed.split("mean and standard deviation\n")
    without, normalized = (float(line.split()[2]) for line in last_relu.splitlines()[:2])
    assert without < 0.1 < normalized == pytest.approx(1, abs=0.1)


def test_optimizers(lesson):
    variables, printed = run_and_check_exercises(lesson, "lesson_optimizers", "walks", "accuracies")
    assert "    sgd       +0.5600  -3.5000" in printed  # -0.07 times the gradient (-8, 50)
    assert "    adam      +0.0700  -0.0700" in printed  # the rate, against the gradient's sign
    for axis, slope in enumerate((1, 25)):  # gradient descent on ½ s w² multiplies w by 1 - rate · s
        path = variables["walks"]["sgd"][:, axis]
        np.testing.assert_allclose(path, path[0] * (1 - 0.07 * slope) ** np.arange(101), rtol=1e-3, atol=1e-6)
    best = max(variables["accuracies"].values())
    assert f"best test accuracy: {best:.4f}" in printed
    assert best > 0.5


def test_counting(lesson):
    variables, printed = run_and_check_exercises(lesson, "lesson_counting", "an_image", "joined", "every_layer", "beside")
    assert re.search(r"^    sum +545,226 +12,372,480$", printed, re.MULTILINE)
    assert "Total params: 545,226" in printed  # the summary's
    assert "differences: 0 parameters, 0 FLOPs" in printed
    weights, maps = 545_226, 4 * (32 * 32 * 32 * 2 + 16 * 16 * (32 + 64) + 8 * 8 * 64 + 128 + 10)
    assert variables["every_layer"] == maps
    assert variables["joined"] < variables["an_image"] < 2 * variables["joined"] < 2 * maps
    assert variables["beside"] > 4 * 4 * weights
    assert re.search(r"kernels of 5×5 +579,530 \( 1.06×\) +32.30 \(2.61×\)", printed)  # 16·(3·32 + 32·64) weights more


def test_fast_convolution(lesson):
    import tensorflow as tf

    variables, printed = run_and_check_exercises(
        lesson, "lesson_fast_convolution", "x", "kernel", "y", "direct", "by_hand", "engine", "rates", "AT", "G", "BT"
    )
    expected = tf.nn.conv2d(variables["x"], variables["kernel"], 1, "VALID").numpy()
    for way in ("y", "direct", "by_hand", "engine"):
        np.testing.assert_allclose(variables[way], expected, rtol=1e-4, atol=1e-5)
    assert set(variables["rates"]) == {"loops", "im2col", "tiles, compiled", "Winograd in NumPy", "Winograd, compiled"}
    assert 100 * variables["rates"]["loops"] < variables["rates"]["im2col"] < variables["rates"]["tiles, compiled"]
    (by_formula,) = re.findall(r"by the formula: +\[(.*)\]", printed)
    np.testing.assert_allclose([float(number) for number in by_formula.split()], np.correlate([1, 3, 2, 0, 4, 1], [1, -2, 3]))
    for path, line, function in re.findall(r"(minicnn/\S+), line (\d+): (\w+)$", printed, re.MULTILINE):
        lines = (EXAMPLES.parent / path).read_text(encoding="utf-8").splitlines()[int(line) - 1 :]
        assert next(text for text in lines if not text.startswith("@")).startswith(f"def {function}(")


def test_augmentation_dropout(lesson):
    variables, printed = run_and_check_exercises(lesson, "lesson_augmentation_dropout", "results", "gaps", "x_train")
    for ones in re.findall(r"Dropout\(0.5\) of ten ones, step \d: +\[(.*)\]", printed):
        assert set(ones.split()) == {"0", "2"}
    shares = re.findall(r"ones at rate (\S+): (\S+) are 0, the others (\S+), their mean (\S+)", printed)
    for rate, dropped, others, mean in (map(float, line) for line in shares):
        assert dropped == pytest.approx(rate, abs=0.01)
        assert others == pytest.approx(1 / (1 - rate), abs=1e-3)
        assert mean == pytest.approx(1, abs=0.03)
    for name, (losses, accuracy) in variables["results"].items():
        bar, own, others = (values[-1] for values in losses.values())
        row = f"{bar:14.4f}{own:13.4f}{others:11.4f}{others - own:11.4f}{accuracy:13.4f}"
        assert f"    {name:10}{row}\n" in printed
    assert all(own < others for own, others in variables["gaps"])


def test_reading_a_network(lesson):
    variables, printed = run_and_check_exercises(
        lesson, "lesson_reading_a_network", "sums", "maps", "logits", "shares", "terms"
    )
    np.testing.assert_allclose(np.maximum(variables["sums"], 0), variables["maps"], atol=1e-5)
    by_gradient, by_sum = re.search(r"#backward/conv_1/kernel/\S+ +(\S+), by the sum (\S+)", printed).groups()
    assert float(by_gradient) == pytest.approx(float(by_sum), abs=1e-3)
    assert "#forward/conv_2/0,0,0   sees rows 0 to 4, columns 0 to 4\n" in printed


# --- those in the repository --------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(FIGURES))
def test_the_notebook_is_of_its_program(name):
    path = EXAMPLES / "notebooks" / f"{name}.ipynb"
    assert path.stat().st_size < 500_000
    notebook, made = nbformat.read(path, as_version=4), make["notebook_of"](EXAMPLES / f"{name}.py")
    nbformat.validate(notebook)
    again = f"python examples/notebooks/make.py {name}"
    assert [(cell.cell_type, cell.source) for cell in notebook.cells] == [(c.cell_type, c.source) for c in made.cells], again
    code = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
    all_right = "test accuracy: 1.0000" in "".join(output.get("text", "") for output in outputs)
    pictures = FIGURES[name] - ({"misclassified"} if all_right else set())  # drawn where there is one
    assert len([output for output in outputs if "image/png" in output.get("data", {})]) == len(pictures)


def test_every_notebook_has_a_program():
    assert {path.stem for path in (EXAMPLES / "notebooks").glob("*.ipynb")} == set(FIGURES)
