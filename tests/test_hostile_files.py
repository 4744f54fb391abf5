"""Files that were made to do harm: refused as `FileFormatError`, soon, in little memory, naming the file and the reason.

Every file is made here. Most are small and would cost gigabytes, hours or a program of the sender's choice.
"""

from __future__ import annotations

import io
import json
import os
import re
import struct
import sys
import tracemalloc
import zipfile
import zlib

import h5py
import numpy as np
import pytest

import minicnn
from minicnn import saving
from minicnn.data import image_dataset_from_directory
from minicnn.data.dataset import DatasetError
from minicnn.data.directory import picture_files
from minicnn.data.pictures import open_picture
from minicnn.preprocessing.image import load_img
from minicnn.untrusted import FileFormatError, printable, reading

MOST_BYTES = 200 * 2**20


@pytest.fixture
def refused():
    """A function: `act()` is refused with a short, printable message that matches, within 200 MB."""

    def check(act, *patterns):
        tracemalloc.start()
        try:
            with pytest.raises(FileFormatError) as caught:
                act()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        message = str(caught.value)
        for pattern in patterns:
            assert re.search(pattern, message), message
        assert peak < MOST_BYTES
        assert len(message) < 2500
        assert all(char.isprintable() or char == "\n" for char in message)
        assert (
            caught.value.__suppress_context__ or caught.value.__context__ is None
        )  # a traceback does not print what was not cut

    return check


def test_messages_are_short_and_steer_no_terminal():
    assert printable("a\x1b[2J\u202e\nb") == "a\\x1b[2J\\u202e\nb"
    long = printable("start" + "x" * 10**6 + "end")
    assert len(long) < 2000
    assert long.startswith("start")
    assert long.endswith("end")
    with pytest.raises(FileFormatError, match=r"^m\.keras: OverflowError: too large$"), reading("m.keras"):
        raise OverflowError("too large")
    with pytest.raises(FileNotFoundError), reading("m.keras"):
        raise FileNotFoundError


# --- pictures ---------------------------------------------------------------------------------


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width, height, rows=b"", after=b""):
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + after + chunk(b"IEND", b"")


def whole_png():
    noise = np.random.default_rng(0).integers(0, 256, (20, 60), dtype=np.uint8)
    return png(20, 20, b"".join(b"\0" + row.tobytes() for row in noise))


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"


@pytest.fixture
def ghostscript(tmp_path, monkeypatch):
    """A `gs` at the head of the path that leaves a mark when it is run; the mark."""
    from PIL import EpsImagePlugin

    program = tmp_path / "bin" / "gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch {tmp_path / 'ran'}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)
    return tmp_path / "ran"


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for Ghostscript is a shell script")
def test_a_picture_starts_no_program(tmp_path, ghostscript, refused):
    folder = tmp_path / "data" / "cats"
    folder.mkdir(parents=True)
    (folder / "cat.png").write_bytes(EPS)
    refused(lambda: load_img(folder / "cat.png"), r"cat\.png cannot be read as a picture: it is none of PNG, JPEG")
    with pytest.raises(DatasetError, match=r"FileFormatError: .*cat\.png cannot be read as a picture"):
        list(image_dataset_from_directory(tmp_path / "data", verbose=False))
    assert not ghostscript.exists()


@pytest.mark.parametrize("kind", ["TIFF", "PPM", "ICO", "TGA", "PCX", "ICNS"])
def test_other_formats_are_not_opened(tmp_path, kind, refused):
    from PIL import Image

    Image.new("RGB", (64, 64)).save(tmp_path / "x.png", kind)
    refused(lambda: open_picture(tmp_path / "x.png"), r"x\.png cannot be read as a picture: it is none of")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "WEBP"])
def test_the_usual_formats_are(tmp_path, kind):
    from PIL import Image

    Image.new("RGB", (6, 4), (255, 0, 0)).save(tmp_path / "x.png", kind)
    assert np.asarray(open_picture(tmp_path / "x.png")).shape == (4, 6, 3)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (png(13_000, 13_000), r"13000 x 13000 pixels, more than 50,000,000"),
        (png(8_000, 7_000), r"8000 x 7000 pixels"),
        (png(2**31 - 1, 2**31 - 1), "cannot be read as a picture"),
        (png(0, 5), "cannot be read as a picture"),
        (whole_png()[:50], "cannot be read as a picture"),
        (whole_png()[:700], "cannot be read as a picture"),
        (png(5, 5, after=chunk(b"iCCP", b"x" * 10)), "cannot be read as a picture"),
        (b"", "cannot be read as a picture"),
        (b"GIF89a", "cannot be read as a picture"),
        (b"BM" + b"\xff" * 60, "cannot be read as a picture"),
    ],
    ids=range(10),
)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_hostile_pictures(tmp_path, content, reason, refused):
    path = tmp_path / "cat\x1b[2J.png"
    path.write_bytes(content)
    refused(lambda: load_img(path), r"cat\\x1b\[2J\.png", reason)
    refused(lambda: load_img(io.BytesIO(content)), "the open file", reason)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_what_is_no_file_is_not_opened(tmp_path, refused):
    os.mkfifo(tmp_path / "pipe.png")
    refused(lambda: load_img(tmp_path / "pipe.png"), r"pipe\.png is not a regular file")
    (tmp_path / "a.png").symlink_to("b.png")
    (tmp_path / "b.png").symlink_to("a.png")
    refused(lambda: load_img(tmp_path / "a.png"), r"a\.png cannot be read as a picture")


@pytest.mark.skipif(sys.platform == "win32", reason="links need a permission there")
def test_folders_that_link_to_each_other_are_walked_once(tmp_path):
    """Two links in every folder of thirty: two to the power of thirty paths."""
    for level in range(30):
        (tmp_path / f"{level}").mkdir()
        (tmp_path / f"{level}" / "x.png").write_bytes(b"")
        for name in ("left", "right"):
            (tmp_path / f"{level}" / name).symlink_to(tmp_path / f"{(level + 1) % 30}")
    found = list(picture_files(str(tmp_path / "0"), follow_links=True))
    assert sorted(path.count("left") for path in found) == list(range(30))
    assert not any("right" in path for path in found)


# --- models: archives ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A good archive, as {member: bytes}."""
    path = tmp_path_factory.mktemp("saved") / "m.keras"
    model = minicnn.Sequential([minicnn.Input((3,)), minicnn.layers.Dense(4), minicnn.layers.Dense(2)])
    model.compile("adam", loss="mse")
    model.save(path)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(path, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def with_config(members, change):
    config = json.loads(members["config.json"])
    change(config, config["config"]["layers"][1]["config"])
    return {**members, "config.json": json.dumps(config)}


def claims(content, **sizes):
    """The archive with other sizes in its directory, for every member."""
    content, at = bytearray(content), 0
    while (at := content.find(b"PK\x01\x02", at)) >= 0:
        for name, size in sizes.items():
            place = at + {"method": 10, "packed": 20, "unpacked": 24}[name]
            content[place : place + 4] = (
                size.to_bytes(4, "little") if name != "method" else size.to_bytes(2, "little") + content[place + 2 : place + 4]
            )
        at += 4
    return bytes(content)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (
            lambda path, m: packed(path, {**m, "model.weights.h5": bytes(2**24)}, zipfile.ZIP_DEFLATED),
            "at most 100 times what is stored",
        ),
        (lambda path, m: packed(path, m, zipfile.ZIP_LZMA), "packed by method 14; none and deflate are read"),
        (lambda path, m: packed(path, m, zipfile.ZIP_BZIP2), "packed by method 12; none and deflate are read"),
        (lambda path, m: path.write_bytes(claims(packed(path, m).read_bytes(), unpacked=2**31)), "claims to unpack"),
        (
            lambda path, m: path.write_bytes(claims(packed(path, m).read_bytes(), unpacked=2**31, packed=2**31)),
            "claims to unpack",
        ),
        (lambda path, m: path.write_bytes(claims(packed(path, m).read_bytes(), method=8)), "damaged|Error|error"),
        (lambda path, m: packed(path, {**m, **{f"{index}": b"" for index in range(10**4)}}), "larger than one of 3 members"),
        (lambda path, m: packed(path, {**m, "\x1b[2Jx" * 20: b""}), r"Expected the members|larger"),
    ],
    ids=range(8),
)
def test_archives_that_claim_too_much(tmp_path, saved, make, reason, refused):
    path = tmp_path / "m.keras"
    make(path, saved)
    refused(lambda: saving.load_model(path), r"m\.keras", reason)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda config, dense: dense.update(units=float("nan")), r"'units' is nan; every setting is a finite number"),
        (
            lambda config, dense: config["compile_config"]["optimizer"]["config"].update(learning_rate=float("inf")),
            "'learning_rate' is inf",
        ),
        (lambda config, dense: dense.update(units=[float("-inf")]), "'units' is -inf"),
        (lambda config, dense: dense.update(units=20_000_000), "exceeds what this file can hold"),
        (lambda config, dense: dense.update(name="x\x1b[2J" * 10**5, banana=1), "banana"),
        (lambda config, dense: config["config"]["layers"][1].update(class_name="x" * 10**6), "Unknown"),
        (lambda config, dense: config["config"]["layers"][1].update(class_name=["x"]), "describes no model"),
        (lambda config, dense: dense.update(kernel_initializer="y" * 10**6), "Could not interpret|Unknown"),
        *[
            (
                lambda config, dense, dtype=dtype: dense.update(
                    kernel_initializer={"class_name": "__numpy__", "config": {"value": [0], "dtype": dtype}}
                ),
                "has one of the dtypes",
            )
            for dtype in ("S2000000000", "V2000000000", "U500000000", "(1000000000,)f8", "f8,f8", "O", "M8[s]")
        ],
    ],
    ids=range(15),
)
def test_configurations_that_ask_for_too_much(tmp_path, saved, change, reason, refused):
    path = packed(tmp_path / "m.keras", with_config(saved, change))
    refused(lambda: saving.load_model(path), r"m\.keras", reason)


def test_weights_that_are_no_numbers(tmp_path, saved, refused):
    model = minicnn.Sequential([minicnn.Input((3,)), minicnn.layers.Dense(4)])
    model.save_weights(tmp_path / "w.weights.h5")
    before = model.get_weights()
    with h5py.File(tmp_path / "w.weights.h5", "a") as file:
        file["layers/dense/vars/1"][2] = np.nan
    refused(
        lambda: model.load_weights(tmp_path / "w.weights.h5"), r"w\.weights\.h5", "'/layers/dense/vars/1' holds NaN or infinity"
    )
    for mine, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(mine, other)


# --- models: graphs ------------------------------------------------------------------------------


def tensor(layer, call=0):
    return {"class_name": "__keras_tensor__", "config": {"keras_history": [layer, call, 0]}}


def relu(name, *calls):
    """A layer and the arguments of its calls, as a functional model's configuration has them."""
    inbound = [{"args": [arguments], "kwargs": {}} for arguments in calls]
    return {"module": "keras.layers", "class_name": "ReLU", "config": {"name": name}, "name": name, "inbound_nodes": inbound}


def graph(name, layers, output, outputs=1):
    start = f"{name}_input"
    first = {**relu(start), "class_name": "InputLayer", "config": {"name": start, "batch_shape": [None, 2]}}
    inner = {
        "name": name,
        "layers": [first, *layers],
        "input_layers": [[start, 0, 0]],
        "output_layers": [output] * outputs,
    }
    return {"module": "keras", "class_name": "Functional", "config": inner, "name": name}


def nested(levels):
    """Each model calls the one inside it twice."""
    model = graph("m0", [relu("relu", tensor("m0_input"))], ["relu", 0, 0])
    for level in range(1, levels):
        calls = relu("", tensor(f"m{level}_input"), tensor(model["name"], 1))["inbound_nodes"]
        model = graph(f"m{level}", [{**model, "inbound_nodes": calls}], [model["name"], 2, 0])
    return model


def chain(count, name="m"):
    return [relu(f"relu_{at}", tensor(f"relu_{at - 1}" if at else f"{name}_input")) for at in range(count)]


def sequential(count):
    return {"class_name": "Sequential", "config": {"name": "m", "layers": chain(count)}}


GRAPHS = {
    "nested": (lambda: nested(30), "Model 'm14' is made of more than 10000 layer calls"),
    "long": (lambda: graph("m", chain(6000), ["relu_5999", 0, 0]), "has 6001 layers; no model has more than 5000"),
    "row": (lambda: sequential(6000), "has 6000 layers; no model has more than 5000"),
    "often": (
        lambda: graph("m", [relu("relu", tensor("m_input"), *(tensor("relu", at) for at in range(11_000)))], ["relu", 9, 0]),
        "more than 10000 layer calls",
    ),
    "outputs": (lambda: graph("m", chain(1), ["relu_0", 0, 0], 20_000), "`outputs` has 20000 tensors, more than 1000"),
    "loop": (lambda: graph("m", [relu("a", tensor("b")), relu("b", tensor("a"))], ["b", 0, 0]), "loops or disconnected"),
    "name": (lambda: graph("m", [relu("x" * 10**6, tensor("m_input"))], ["y", 0, 0]), "describes no model"),
}


@pytest.mark.parametrize("kind", GRAPHS)
def test_graphs_that_grow(tmp_path, saved, kind, refused):
    make, reason = GRAPHS[kind]
    path = packed(tmp_path / "m.keras", {**saved, "config.json": json.dumps(make())})
    refused(lambda: saving.load_model(path), reason)


def test_the_order_of_layers_in_a_file_is_free():
    """Each layer stands before the one that it reads: passes over the file would be as many as layers."""
    model = saving.deserialize_keras_object(graph("m", chain(1000)[::-1], ["relu_999", 0, 0]))
    assert [layer.name for layer in model.layers] == ["m_input", *(f"relu_{at}" for at in range(1000))]
