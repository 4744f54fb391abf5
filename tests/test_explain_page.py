"""The explainer page in a real browser: every kind of number is opened, and its sum is the engine's number.

Needs Chromium (`apt-get install chromium`, or `playwright install chromium`); skipped where there is none; CI installs one.
"""

from __future__ import annotations

import json
import os
import re
import runpy
import shutil
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest

from minicnn import config, layers, ops, study, zoo
from minicnn.models import Model, Sequential
from minicnn.study.explain.collect import collect
from minicnn.study.explain.exact import Predicted

sync_api = pytest.importorskip("playwright.sync_api", reason='no Playwright: pip install ".[browser-test]"')

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
RNG = np.random.default_rng(3)


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        own = playwright.chromium.executable_path
        found = own if os.path.exists(own) else next(filter(None, map(shutil.which, BROWSERS)), None)
        if found is None:
            assert os.environ.get("MINICNN_BROWSER") != "required", "there is a browser, and it was not found"
            pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is on the path, and Playwright has none of its own")
        launched = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield launched
        launched.close()


class Opened:
    """A page in a tab: `errors` collects what its console says."""

    def __init__(self, browser, file: Path, **context) -> None:
        self.tab = browser.new_context(**{"viewport": {"width": 1300, "height": 900}, **context}).new_page()
        self.errors: list[str] = []
        self.tab.on(
            "console", lambda message: self.errors.append(message.text) if message.type in ("error", "warning") else None
        )
        self.tab.on("pageerror", lambda error: self.errors.append(str(error)))
        self.tab.goto(file.as_uri())
        self.tab.wait_for_selector("[data-ready]")

    def open_all(self, addresses: list[str]) -> list[dict[str, str]]:
        """What the page says about each address: its sum, the engine's number, and whether they fit."""
        return self.tab.evaluate(
            """async (addresses) => {
                const found = [];
                for (const address of addresses) {
                    location.hash = address;
                    const wanted = decodeURIComponent(address);
                    for (let wait = 0; document.querySelector(".check").dataset.at !== wanted; wait++) {
                        if (wait > 500) throw new Error(`${address} was not opened`);
                        await new Promise((done) => setTimeout(done, 5));
                    }
                    found.push({ ...document.querySelector(".check").dataset });
                }
                return found;
            }""",
            addresses,
        )

    def number(self) -> str:
        return self.tab.locator(".check").get_attribute("data-at")

    def close(self) -> None:
        self.tab.context.close()


def merged() -> Model:
    """A model with every kind of op that the page knows: residual, two branches, a gate, two outputs."""
    config.set_random_seed(2)
    inputs = layers.Input((12, 12, 3), name="image")
    x = layers.ZeroPadding2D(1)(inputs)
    x = layers.Conv2D(8, 3, use_bias=False, name="stem")(x)
    x = layers.BatchNormalization(moving_mean_initializer="random_normal")(x)
    skip = x = layers.ReLU()(x)
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(x)
    x = layers.Conv2D(8, 3, padding="same", dilation_rate=2)(x)
    x = layers.Activation("gelu")(layers.Add()([x, skip]))
    x = layers.Conv2DTranspose(8, 3, strides=2, padding="same")(layers.DepthwiseConv2D(2, depth_multiplier=2, strides=2)(x))
    branches = [
        layers.AveragePooling2D(2)(x),
        layers.MaxPooling2D(3, 2, padding="same")(x),
        layers.Conv2D(8, 3, strides=2, padding="same", groups=2, activation="silu")(x),
    ]
    x = layers.PReLU(alpha_initializer="uniform", shared_axes=[1, 2])(layers.Concatenate()(branches))
    x = layers.SeparableConv2D(24, 3, padding="same", depth_multiplier=2, activation="softplus")(x)
    gate = layers.Dense(24, activation="sigmoid")(layers.GlobalAveragePooling2D(name="means")(x))
    x = layers.Multiply()([x, layers.Reshape((1, 1, 24))(gate)])
    x = layers.LayerNormalization()(layers.GroupNormalization(4)(x))
    x = layers.Cropping2D(1)(layers.UpSampling2D(2)(x))
    x = layers.GlobalMaxPooling2D()(layers.Dropout(0.5)(x))
    x = layers.Maximum()([x, layers.Average()([x, layers.Rescaling(0.5, 0.1)(x)])])
    x = layers.Subtract()([layers.LeakyReLU()(x), layers.ELU()(x)])
    x = ops.tanh(x * 0.5 + 0.1) - x
    shares = layers.Softmax(name="shares")(layers.Dense(4)(x))
    model = Model(inputs, [layers.Dense(5, activation="softmax", name="class")(x), layers.Dense(2, name="place")(shares)])
    model.compile(optimizer="adam", loss=["sparse_categorical_crossentropy", "mse"], loss_weights=[1.0, 0.5])
    return model


# The reference models, the larger ones on smaller images, for the time that they take.
SMALLER = {
    "humans_300": (48, 48, 3),
    "cifar_wide": (22, 22, 3),
    "vgg_bn": (16, 16, 3),
    "mobilenet_small": (8, 8, 3),
    "unet_small": (16, 16, 3),
    "convnext_tiny_32": (8, 8, 3),
}


def example(name: str):
    """A model, an image and its target."""
    if name == "merged":
        return merged(), RNG.random((12, 12, 3), np.float32), [2, np.array([0.3, -0.2], np.float32)]
    if name == "signal, channels first":
        model = Sequential(
            [
                layers.Input((2, 8, 7)),
                layers.Conv2D(3, 3, data_format="channels_first", activation="tanh"),
                layers.MaxPooling2D(2, data_format="channels_first"),
                layers.Reshape((6, 3)),
                layers.Conv1D(4, 2, padding="causal"),
                layers.AveragePooling1D(2),
                layers.Permute((2, 1)),
                layers.Flatten(),
                layers.Dense(1, activation="sigmoid"),
            ]
        )
        model.compile(loss="binary_crossentropy")
        return model, RNG.random((2, 8, 7), np.float32), 1
    config.set_random_seed(4)
    reference = zoo.get(name)
    shape = SMALLER.get(name, reference.input_shape)
    model = reference.build(input_shape=shape)
    model.compile(optimizer=reference.optimizer(), loss=reference.loss)
    return model, RNG.random(shape, np.float32), 1 if len(model.output_shape) == 2 else None


def largest_place(row, leaf) -> str | None:
    """Where the largest number of a value stands, as an address says it; its middle, if the page computes the array."""
    array = leaf.array if isinstance(leaf, Predicted) else leaf
    H, W, C = row["shape"]
    if not isinstance(array, np.ndarray):
        return f"{H // 2},{W // 2},{C // 2}" if H * W > 1 else str(C // 2)
    image = np.lib.stride_tricks.as_strided(array, row["shape"], [4 * stride for stride in row["strides"]])
    place = np.unravel_index(np.abs(image).argmax(), image.shape)
    return ",".join(map(str, place if H * W > 1 else place[2:]))


def addresses_of(record) -> tuple[list[str], list[str]]:
    """Of each value, weight and loss of a network, those whose sum the page has to know, and others."""
    names = {one["value"]: one["name"] for one in record["inputs"]} | {one["output"]: one["name"] for one in record["steps"]}
    summed, others = [], []
    inputs = {one["value"] for one in record["inputs"]}
    for row in record["values"]:
        forward = f"#forward/{names[row['id']]}/{largest_place(row, row['x'])}"
        (others if row["id"] in inputs else summed).append(forward)
        summed.append(f"#backward/{names[row['id']]}/{largest_place(row, row['d'])}")
    for weight in record["weights"]:
        place = ",".join(str(size // 2) for size in weight["shape"])
        others.append(f"#forward/{weight['name']}/{place}")
        (others if weight["d"] is None else summed).append(f"#backward/{weight['name']}/{place}")
    for at in range(len(record["losses"])):
        summed.append(f"#forward/loss{f'@{at + 1}' * (at > 0)}/0")
        others.append(f"#backward/loss{f'@{at + 1}' * (at > 0)}/0")
    return summed, others


OF_KNOWN_KINDS = {"airbench94", "lenet5", "resnet20", "strided_bn"}  # made of layers that others here have


@pytest.mark.parametrize("name", [*sorted({*zoo.names()} - OF_KNOWN_KINDS), "merged", "signal, channels first"])
def test_the_sum_of_every_kind_of_number_is_the_engines(browser, tmp_path, name):
    model, x, y = example(name)
    record = collect(model, x, y)
    explanation = study.explain(model, x, y)
    opened = Opened(browser, explanation.save(tmp_path / "page.html"))
    summed, others = addresses_of(record)
    said = dict(zip(summed, opened.open_all(summed)))
    # A kernel that is not embedded has no sums, or only some: see `collect.LARGEST_ROWS`.
    weights = json.loads(explanation.record)["weights"]
    large = any(weight["x"] is None for weight in weights)
    for address, found in said.items():
        if "sum" not in found or "engine" not in found:
            assert large, address
            continue
        assert found["fits"] == "true", (address, found)
        assert abs(float(found["sum"]) - float(found["engine"])) <= 1e-5 * max(1, abs(float(found["engine"]))), address
    opened.open_all(others)
    assert opened.errors == []
    opened.close()


def test_the_page_reads_the_engines_own_numbers(browser, tmp_path):
    model, x, y = example("merged")
    record = collect(model, x, y)
    opened = Opened(browser, study.explain(model, x, y).save(tmp_path / "page.html"))
    rows = {row["id"]: row for row in record["values"]}
    expected = {}
    for step in record["steps"]:
        row = rows[step["output"]]
        for side, key in (("forward", "x"), ("backward", "d")):
            array = row[key].array if isinstance(row[key], Predicted) else row[key]
            if isinstance(array, np.ndarray):
                expected[f"#{side}/{step['name']}/{largest_place(row, array)}"] = array[np.abs(array).argmax()]
    for (address, number), found in zip(expected.items(), opened.open_all(list(expected))):
        assert np.float32(found["engine"]) == number, address
    opened.close()


def test_a_product_left_out_is_noticed(browser, tmp_path):
    model, x, y = example("merged")
    explanation = study.explain(model, x, y)
    bugs = {
        "const total = (terms) => terms.reduce(": ("terms.reduce", "terms.slice(1).reduce"),
        'return range(CO).map((co) => term(net, ref("d"': ("range(CO)", "range(CO - 1)"),
    }
    for place, (line, (right, wrong)) in enumerate(bugs.items()):
        assert explanation.html.count(line) == 1
        file = tmp_path / f"{place}.html"
        file.write_text(explanation.html.replace(line, line.replace(right, wrong)), encoding="utf-8")
        opened = Opened(browser, file)
        said = opened.open_all(["#forward/stem/5,5,0", "#backward/means/2"])
        assert "false" in [found["fits"] for found in said]
        opened.close()


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The page of a small network, and its record."""
    config.set_random_seed(1)
    model = Sequential(
        [
            layers.Input((8, 8, 1), name="image"),
            layers.Conv2D(4, 3, activation="relu", name="conv"),
            layers.MaxPooling2D(2, name="pool"),
            layers.Flatten(name="flat"),
            layers.Dense(3, activation="softmax", name="scores"),
        ]
    )
    model.compile(optimizer="sgd", loss="sparse_categorical_crossentropy")
    explanation = study.explain(model, RNG.random((8, 8, 1), np.float32), 1, class_names=["cat", "dog", "ship"])
    return explanation.save(tmp_path_factory.mktemp("small") / "page.html"), json.loads(explanation.record)


def test_it_is_worked_by_keyboard(browser, small):
    opened = Opened(browser, small[0])
    keyboard = opened.tab.keyboard
    assert opened.number() == "#forward/conv/3,3,0"

    def press(key: str, address: str) -> None:
        keyboard.press(key)
        opened.tab.wait_for_selector(f".check[data-at='{address}']")

    press("ArrowRight", "#forward/conv/3,4,0")
    press("ArrowUp", "#forward/conv/2,4,0")
    press("]", "#forward/conv/2,4,1")
    press("b", "#backward/conv/2,4,1")
    press("b", "#forward/conv/2,4,1")
    for _ in range(60):  # to the first operand of the sum
        keyboard.press("Tab")
        if opened.tab.evaluate("document.activeElement.closest('.sum') !== null && document.activeElement.tagName === 'A'"):
            break
    operand = opened.tab.evaluate("decodeURIComponent(document.activeElement.hash)")
    assert operand.startswith("#forward/image/")
    press("Enter", operand)
    keyboard.press("p")
    opened.tab.wait_for_function(f"decodeURIComponent(location.hash) !== '{operand}'")
    keyboard.press("p")
    assert opened.errors == []
    opened.close()


def test_a_click_on_a_map_opens_the_number_there(browser, small):
    opened = Opened(browser, small[0])
    box = opened.tab.locator(".maps > .map").bounding_box()
    opened.tab.mouse.click(box["x"] + box["width"] * 4.5 / 6, box["y"] + box["height"] * 1.5 / 6)
    opened.tab.wait_for_selector(".check[data-at='#forward/conv/1,4,0']")
    opened.tab.locator(".thumbs a").nth(2).click()
    opened.tab.wait_for_selector(".check[data-at='#forward/conv/1,4,2']")
    opened.tab.locator(".sum tbody a").first.hover()
    sync_api.expect(opened.tab.locator(".operand rect.hovered")).to_have_count(1)
    opened.close()


def test_tours_lead_to_numbers(browser, small):
    opened = Opened(browser, small[0])
    first = opened.tab.eval_on_selector_all(".tours a", "links => links.map((link) => decodeURIComponent(link.hash))")
    assert len(first) == 3
    for address in first:
        opened.open_all([address])
        stop = opened.tab.locator(".tours .stop")
        count = int(re.match(r"1 of (\d+)", stop.inner_text())[1])
        for place in range(2, count + 1):
            # Not by the mouse: on a busy machine the page may move under it, and "back" stands beside "next".
            stop.locator("a", has_text="next").evaluate("link => link.click()")
            sync_api.expect(stop).to_contain_text(f"{place} of {count}")
        assert stop.locator("a", has_text="next").count() == 0
    assert opened.errors == []
    opened.close()


def test_a_network_of_volumes_opens_and_says_what_is_not_shown(browser, tmp_path):
    model = Sequential(
        [
            layers.Input((3, 4, 4, 1)),
            layers.Conv3D(2, 2, name="conv"),
            layers.GlobalMaxPooling3D(name="largest"),
            layers.Dense(2, activation="softmax"),
        ]
    )
    model.compile(loss="sparse_categorical_crossentropy")
    explanation = study.explain(model, RNG.random((3, 4, 4, 1), np.float32), 1)
    opened = Opened(browser, explanation.save(tmp_path / "page.html"))
    conv, largest = opened.open_all(["#forward/conv/5,2,1", "#forward/largest/1"])  # slices of 3 rows: row 2 of the second
    assert float(largest["sum"]) == float(largest["engine"])
    assert "sum" not in conv
    opened.open_all(["#forward/conv/5,2,1"])
    sync_api.expect(opened.tab.locator("body")).to_contain_text("This page does not know what this layer computes")
    assert opened.errors == []
    opened.close()


def test_a_changed_number_changes_what_follows(browser, small):
    _, record = small
    opened = Opened(browser, small[0])
    opened.open_all(["#forward/scores/2"])
    before = float(opened.tab.locator(".check").get_attribute("data-sum"))
    [bias] = [weight for weight in record["weights"] if weight["name"] == "scores/bias"]
    opened.open_all(["#forward/scores/bias/2"])
    opened.tab.locator(".whatif input").fill("1.5")
    opened.tab.locator(".whatif button").first.click()
    opened.tab.wait_for_selector(".changed")
    opened.open_all(["#forward/scores/2?scores/bias/2=1.5"])
    after = float(opened.tab.locator(".check").get_attribute("data-sum"))
    assert bias["shape"] == [3]
    assert after - before == pytest.approx(1.5, abs=1e-5)
    opened.open_all(["#forward/scores/2?image/4,4,0=9"])
    assert float(opened.tab.locator(".check").get_attribute("data-sum")) != pytest.approx(before, abs=1e-6)
    opened.close()


@pytest.mark.parametrize(
    "context", [{"color_scheme": "dark"}, {"viewport": {"width": 360, "height": 700}}], ids=["dark", "phone"]
)
def test_it_fits_a_phone_and_has_text_for_its_pictures(browser, small, context):
    opened = Opened(browser, small[0], **context)
    wide = opened.tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert wide, "the page scrolls sideways"
    labels = opened.tab.eval_on_selector_all("canvas", "all => all.map((one) => one.getAttribute('aria-label') || '')")
    assert labels
    assert all(re.search(r"values of|gradients of|as a picture|rows", label) for label in labels)
    opened.close()


def test_a_notebook_holds_the_same_page(browser, small):
    """As a widget, whose model is anywidget's; and as the HTML of a cell."""
    explorer = pytest.importorskip("minicnn.study.explain.widget").Explorer
    opened = Opened(browser, small[0])
    kept = opened.tab.evaluate(
        """async ([esm, record]) => {
            const { default: widget } = await import(URL.createObjectURL(new Blob([esm], { type: "text/javascript" })));
            const held = { record, hash: "#forward/pool/1,1,2" };
            const model = { get: (key) => held[key], set: (key, value) => (held[key] = value), save_changes() {}, on() {} };
            const el = document.body.appendChild(document.createElement("div"));
            await widget.render({ model, el });
            el.querySelector(".rail a[href*='flat']").click();
            return held.hash;
        }""",
        [explorer._esm, json.dumps(small[1])],
    )
    assert kept == "#forward/flat/0"
    explanation = study.explain(Sequential([layers.Input((3,)), layers.Dense(2, name="dense")]), np.ones(3))
    opened.tab.set_content(explanation._repr_html_())
    frame = opened.tab.frame_locator("iframe")
    frame.locator(".rail a", has_text="dense").first.click()
    sync_api.expect(frame.locator(".check")).to_have_attribute("data-at", "#forward/dense/0")
    assert opened.errors == []
    opened.close()


def test_the_lessons_addresses_open_and_have_its_numbers(browser, tmp_path, monkeypatch, capsys):
    """`lesson_reading_a_network`, which computes each number itself, run as a program."""
    examples = Path(__file__).parents[1] / "examples"
    monkeypatch.syspath_prepend(examples)
    monkeypatch.setattr(sys, "argv", ["lesson", "--quick", "--out", str(tmp_path)])
    matplotlib.use("agg")
    with matplotlib.rc_context():
        runpy.run_path(str(examples / "lesson_reading_a_network.py"), run_name="__main__")
    lines = re.findall(r"^(#\S+/[\d,]+)(?: +(-?\d+\.\d{4}))?", capsys.readouterr().out, re.MULTILINE)
    assert len(lines) >= 11
    opened = Opened(browser, tmp_path / "explained.html")
    numbers = [
        (found["engine"], number) for found, (_, number) in zip(opened.open_all([at for at, _ in lines]), lines) if number
    ]
    assert len(numbers) >= 4
    for engine, number in numbers:
        assert float(engine) == pytest.approx(float(number), abs=1e-4)
    assert opened.errors == []
    opened.close()
