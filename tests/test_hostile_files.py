"""Files that were made to do harm: refused as `FileFormatError`, soon, in little memory, naming the file and the reason.

Every file is made here. Most are small and would cost gigabytes, hours or a program of the sender's choice.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import gzip
import io
import json
import os
import pickle
import re
import struct
import sys
import time
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest

import minicnn
from minicnn import datasets, saving
from minicnn.data import image_dataset_from_directory
from minicnn.data.dataset import DatasetError
from minicnn.data.directory import picture_files
from minicnn.data.pictures import open_picture
from minicnn.preprocessing.image import load_img
from minicnn.saving.objects import LARGEST_CONFIG, parse_config
from minicnn.untrusted import FileFormatError, printable, reading

MOST_BYTES = 200 * 2**20
MOST_SECONDS = 2.0


@contextlib.contextmanager
def measured():
    """{"bytes": the most memory that the block took, "seconds": the time of the processor}."""
    found = {}
    reset, status = Path("/proc/self/clear_refs"), Path("/proc/self/status")

    def memory(name):
        return 1024 * int(re.search(rf"{name}:\s+(\d+)", status.read_text())[1])

    def is_reset():
        # What the tests before this one freed may still be resident; memory made out of it would not count.
        with contextlib.suppress(AttributeError):  # glibc has it
            ctypes.CDLL(None).malloc_trim(0)
        try:
            reset.write_text("5")  # the peak is what is in use now
        except OSError:
            return False
        return True

    if counts_all := is_reset():  # Pillow's memory and zlib's, too
        before = memory("VmRSS")
    else:
        tracemalloc.start()
    gc.freeze()  # else new objects pay for looking through those of all tests before: 0.6 s become 2.1
    began = time.process_time()
    try:
        yield found
    finally:
        found["seconds"] = time.process_time() - began
        gc.unfreeze()
        if counts_all:
            found["bytes"] = memory("VmHWM") - before
        else:
            found["bytes"] = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            found["seconds"] = 0.0  # following memory takes several times as long


@pytest.fixture
def refused():
    """A function: `act()` is refused with a short, printable message that matches, within 2 s and 200 MB."""

    def check(act, *patterns):
        with measured() as took, pytest.raises(FileFormatError) as caught:
            act()
        message = str(caught.value)
        for pattern in patterns:
            assert re.search(pattern, message), message
        assert took["bytes"] < MOST_BYTES
        assert took["seconds"] < MOST_SECONDS
        assert len(message) < 2500
        assert all(char.isprintable() or char == "\n" for char in message)
        assert (
            caught.value.__suppress_context__ or caught.value.__context__ is None
        )  # a traceback does not print what was not cut

    return check


def test_what_is_measured():
    freed = [np.ones(2**13) for _ in range(3000)]  # 64 KiB each: in the heap, where they leave one resident block
    end_of_heap = np.ones(2**13)
    del freed
    with measured() as took:
        held = np.ones(2**24)
        del held
    del end_of_heap
    assert 120e6 < took["bytes"] < 200e6


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


def run_lengths(width, height):
    """A BMP of 8 bits a pixel whose first rows end behind their first pixel: what is missing is filled up, one by one."""
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, 0, 0, 0, 0, 0)
    begin = 14 + 40 + 1024
    return b"BM" + struct.pack("<IHHI", begin + 2, 0, 0, begin) + header + bytes(1024) + b"\1\1\0\0" * min(height, 1000)


def scans(side, count):
    """A progressive JPEG; the last of its scans is repeated, without anything in it."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("L", (side, side), 128).save(buffer, "JPEG", progressive=True)
    content = buffer.getvalue()
    last = content.rindex(b"\xff\xda")
    head = content[last : last + 2 + int.from_bytes(content[last + 2 : last + 4], "big")]
    return content[:-2] + head * count + b"\xff\xd9"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (lambda: run_lengths(40_000_000, 1), "compressed by run lengths, and has 40000000 x 1 pixels, more than 2,000,000"),
        (lambda: run_lengths(7000, 7000), "compressed by run lengths, and has 7000 x 7000 pixels"),
        (lambda: scans(3000, 3000), r"it has 3,00\d scans, more than 100"),
    ],
    ids=["run lengths of a row", "run lengths", "scans"],
)
def test_pictures_that_take_long(tmp_path, content, reason, refused):
    (tmp_path / "x.png").write_bytes(content())
    refused(lambda: load_img(tmp_path / "x.png"), r"x\.png cannot be read as a picture", reason)


def test_pictures_that_do_not_take_long(tmp_path):
    assert open_picture(io.BytesIO(scans(30, 80))).size == (30, 30)
    assert open_picture(io.BytesIO(run_lengths(30, 30))).size == (30, 30)


def test_the_most_that_a_picture_may_have(monkeypatch):
    few = scans(30, 0).count(b"\xff\xda")
    assert open_picture(io.BytesIO(scans(30, 100 - few))).size == (30, 30)
    with pytest.raises(FileFormatError, match="it has 101 scans, more than 100"):
        open_picture(io.BytesIO(scans(30, 101 - few)))
    monkeypatch.setattr("minicnn.data.pictures._MOST_RUN_LENGTH_PIXELS", 900)
    assert open_picture(io.BytesIO(run_lengths(30, 30))).size == (30, 30)
    with pytest.raises(FileFormatError, match="has 901 x 1 pixels, more than 900"):
        open_picture(io.BytesIO(run_lengths(901, 1)))
    plain = io.BytesIO()
    open_picture(io.BytesIO(run_lengths(30, 30))).resize((901, 1)).save(plain, "BMP")
    assert open_picture(plain).size == (901, 1)
    for content in (scans(30, 0), run_lengths(30, 30)):
        assert open_picture(io.BytesIO(content), most_pixels=900).size == (30, 30)
        with pytest.raises(FileFormatError, match="it has 30 x 30 pixels, more than 899"):
            open_picture(io.BytesIO(content), most_pixels=899)


@pytest.mark.parametrize(
    ("most", "more", "reason"),
    [
        ({"layers": [{"class_name": "Dense", "config": {}, "name": "a"}] * 5000}, {"layers": [{}] * 5001}, "has 5001 layers"),
        ({"layers": [{"layers": [{}] * 2499}] * 2}, {"layers": [{"layers": [{}] * 2500}] * 2}, "has 5002 layers"),
        ({"a" * 10_000: "b" * 10_000}, {"a": "b" * 10_001}, "a text of 10001 characters"),
        ({"a": ["b" * 10_000]}, {"a" * 10_001: 1}, "a text of 10001 characters"),
        (functools.reduce(lambda inner, _: {"a": inner}, range(199), {}), None, ""),
        (None, functools.reduce(lambda inner, _: {"a": inner}, range(200), {}), "nested more than 200 levels deep"),
        ({"a": "b" * 5}, ["a"], "should hold a JSON object. Received: list"),
        ({"a": 1.5}, {"a": [[float("nan")]]}, "'a' is nan"),
    ],
    ids=["layers", "layers in layers", "texts", "names", "shallow", "deep", "object", "finite"],
)
def test_the_most_that_a_configuration_may_have(most, more, reason):
    if most is not None:
        assert parse_config(json.dumps(most).encode(), "c.json") == most
    if more is not None:
        with pytest.raises(ValueError, match=reason):
            parse_config(json.dumps(more).encode(), "c.json")


def test_the_most_bytes_of_a_configuration():
    assert parse_config(b'{"a": 1}'.ljust(LARGEST_CONFIG), "c.json") == {"a": 1}
    with pytest.raises(ValueError, match=f"c.json has {LARGEST_CONFIG + 1} bytes"):
        parse_config(b'{"a": 1}'.ljust(LARGEST_CONFIG + 1), "c.json")


@pytest.mark.parametrize("mode", ["RGB", "P", "RGBA"])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_half_of_the_largest_picture(tmp_path, mode, refused):
    """As many pixels as are read at all: they are decoded, before it shows that half of them are missing."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.new(mode, (7071, 7071)).save(buffer, "PNG", compress_level=1)
    (tmp_path / "x.png").write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    refused(lambda: load_img(tmp_path / "x.png"), r"x\.png cannot be read as a picture")


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
        (lambda config, dense: dense.update(name="x\x1b[2J" * 2000, banana=1), "banana"),
        (
            lambda config, dense: config["config"]["layers"][1].update(class_name="x" * 10**6),
            "a text of 1000000 characters, 'xxx",
        ),
        (lambda config, dense: config["config"]["layers"][1].update(class_name="x" * 10**4), "Unknown"),
        (lambda config, dense: config["config"]["layers"][1].update(class_name=["x"]), "describes no model"),
        (lambda config, dense: dense.update(kernel_initializer="y" * 10**4), "Could not interpret|Unknown"),
        (lambda config, dense: dense.update({"y" * 10**6: 1}), "a text of 1000000 characters"),
        (lambda config, dense: dense.update(bias_initializer=["y" * 2 * 10**6]), "a text of 2000000 characters"),
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
    ids=range(18),
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
    "name": (lambda: graph("m", [relu("x" * 10**4, tensor("m_input"))], ["y", 0, 0]), "describes no model"),
    "argument": (lambda: graph("m", [relu("x", "y" * 10**6)], ["x", 0, 0]), "a text of 1000000 characters"),
    "tensors": (
        lambda: graph("m", [relu("x", [[tensor("m_input")]] * 20_000)], ["x", 0, 0]),
        "symbolic and other inputs mixed",
    ),
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


# --- data sets -----------------------------------------------------------------------------------


@pytest.fixture
def data(tmp_path, monkeypatch):
    """The one folder that data sets are looked for in."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("KERAS_HOME", raising=False)
    monkeypatch.setenv("MINICNN_DATA_DIR", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def doubled(first, twice, levels=40):
    """A pickle in which every level holds the one before it twice."""
    content = b"\x80\x02" + first + b"q\x00"
    for level in range(levels):
        content += twice.replace(b"GET", b"h" + bytes([level])) + b"q" + bytes([level + 1])
    return content


PICKLES = {
    "place": (b"\x80\x02]r\xff\xff\xff\x7f.", "cannot be read"),
    "places": (b"\x80\x02]" + b"".join(b"r" + bytes([0, 0, at, 127]) for at in range(200)) + b".", "cannot be read"),
    "lists": (doubled(b"]", b"](GETGETe") + b".", "cannot be read"),
    "tuples": (doubled(b")", b"(GETGETt") + b"}h\x28K\x01s.", "has a key of type tuple"),
    "bytes": (b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b"x.", "damaged"),
    "text": (b"\x80\x02X\xff\xff\xff\x7fx.", "damaged"),
    "number": (b"\x80\x02\x8b\xff\xff\xff\x7fx.", "damaged"),
    "encoded": (
        b"\x80\x02c_codecs\nencode\nq\0X" + struct.pack("<I", 10**5) + b"a" * 10**5 + b"q\1" + b"h\0h\1\x85R0" * 10**4 + b".",
        "cannot be read",
    ),
    "encoded twice": (
        b"\x80\x02](c_codecs\nencode\nq\0X"
        + struct.pack("<I", 10**5)
        + b"a" * 10**5
        + b"q\1\x85R"
        + b"h\0h\1\x85R" * 10**4
        + b"e.",
        "spells the same bytes many times",
    ),
    "deep": (b"\x80\x02" + b"]" * 10**5 + b"a" * (10**5 - 1) + b".", "damaged"),
    "itself": (b"\x80\x02]q\0h\0a.", "cannot be read"),
    "labels": (
        pickle.dumps({"data": np.zeros((2, 3072), np.uint8), "labels": functools.reduce(lambda x, _: [x, x], range(40), [])}),
        "test_batch has labels that are no integers|data_batch_1 has labels that are no integers",
    ),
    "extension": (b"\x80\x02\x82\x01.", "cannot be read"),
    "empty stack": (b"\x80\x02\x85.", "takes more than the stack has"),
    "no mark": (b"\x80\x02]e.", "damaged"),
}


@pytest.mark.parametrize("kind", PICKLES)
def test_hostile_pickles(data, kind, refused):
    content, reason = PICKLES[kind]
    folder = data / "cifar-10-batches-py"
    folder.mkdir()
    for name in [*(f"data_batch_{at}" for at in range(1, 6)), "test_batch"]:
        (folder / name).write_bytes(content)
    refused(datasets.cifar10.load_data, "cifar10: .*cifar-10-batches-py cannot be read", reason)


def tar_header(kind, size, name=b"x"):
    header = bytearray(512)
    header[: len(name)] = name
    header[100:108], header[108:116], header[116:124] = b"0000644\0", b"0000000\0", b"0000000\0"
    header[124:136], header[136:148] = b"%011o\0" % size, b"00000000000\0"
    header[148:156], header[156:157], header[257:265] = b" " * 8, kind, b"ustar\x0000"
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def zeros(size):
    """gzip of many zeros, a thousandth of their size."""
    return gzip.compress(bytes(size), 9)


TARS = {
    "extended header": lambda: gzip.compress(tar_header(b"x", 2**30)) + zeros(2**26),
    "global header": lambda: gzip.compress(tar_header(b"g", 2**30)) + zeros(2**26),
    "long name": lambda: gzip.compress(tar_header(b"L", 2**30)) + zeros(2**26),
    "long link": lambda: gzip.compress(tar_header(b"K", 2**30)) + zeros(2**26),
    "large member": lambda: gzip.compress(tar_header(b"0", 390 * 10**6, b"a/data_batch_1.bin")) + zeros(2**26),
    "other members": lambda: gzip.compress(tar_header(b"0", 2**32, b"other")) + zeros(2**26),
    "many members": lambda: gzip.compress(tar_header(b"0", 0, b"other") * 50_000),
    "sparse": lambda: gzip.compress(tar_header(b"S", 390 * 10**6, b"data_batch_1.bin")) + zeros(2**20),
    "cut": lambda: gzip.compress(tar_header(b"0", 3073, b"data_batch_1.bin"))[:-20],
    "lzma": lambda: b"\xfd7zXZ\0\0\4" + b"\xff" * 40,
    "bzip2": lambda: b"BZh91AY&SY" + b"\xff" * 40,
}


@pytest.mark.parametrize("kind", TARS)
def test_hostile_tar_archives(data, kind, refused):
    (data / "cifar-10-binary.tar.gz").write_bytes(TARS[kind]())
    refused(datasets.cifar10.load_data, r"cifar10: .*cifar-10-binary\.tar\.gz cannot be read")


def npz(**changes):
    images, labels = np.zeros((3, 28, 28), np.uint8), np.arange(3, dtype=np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, **{"x_train": images, "y_train": labels, "x_test": images, "y_test": labels, **changes})
    return buffer.getvalue()


def npz_of_one_array(header):
    """Its first array has this header and no numbers."""
    text = header.encode() + b"\n"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("x_train.npy", b"\x93NUMPY\x01\0" + struct.pack("<H", len(text)) + text)
    return buffer.getvalue()


def deflated(size):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x_train.npy", bytes(size))
    return buffer.getvalue()


NPZS = {
    "text": (lambda: npz(x_train=np.full((3, 28, 28), "a")), "Object arrays cannot be loaded, nor text"),
    "objects": (lambda: npz(y_train=np.array([{}, {}, {}])), "Object arrays cannot be loaded"),
    "records": (lambda: npz(y_train=np.zeros(3, "i4,i4")), "Object arrays cannot be loaded"),
    "NaN": (lambda: npz(x_train=np.full((3, 28, 28), np.nan)), r"x_train\.npy holds NaN or infinity"),
    "lengths": (lambda: npz(y_train=np.zeros(2, np.uint8)), r"images of shape \(3, 28, 28\), and labels of shape \(2,\)"),
    "shape": (lambda: npz(x_test=np.zeros((3, 27, 28), np.uint8)), r"expected \(N, 28, 28\)"),
    "labels": (lambda: npz(y_test=np.full(3, 10)), "integers from 0 to 9"),
    "float labels": (lambda: npz(y_test=np.zeros(3)), "integers from 0 to 9"),
    "scalar": (lambda: npz(y_test=np.uint8(1)), "cannot be read"),
    "missing": (lambda: npz_of_one_array("{'descr': '|u1', 'fortran_order': False, 'shape': (0,)}"), "it lacks y_train"),
    "huge": (lambda: npz_of_one_array("{'descr': '<f8', 'fortran_order': False, 'shape': (10**9, 10**9)}"), "cannot be read"),
    "claims": (
        lambda: npz_of_one_array("{'descr': '<f8', 'fortran_order': False, 'shape': (100000, 100000)}"),
        "has not the bytes of an array of shape",
    ),
    "negative": (lambda: npz_of_one_array("{'descr': '<f8', 'fortran_order': False, 'shape': (-8,)}"), "cannot be read"),
    "wide": (lambda: npz_of_one_array("{'descr': '|V2000000000', 'fortran_order': False, 'shape': (0,)}"), "cannot be read"),
    "bomb": (lambda: deflated(2**26), "at most 100 times what is stored"),
    "no zip": (lambda: b"no zip", "cannot be read"),
    "array": (lambda: b"\x93NUMPY", "cannot be read"),
}


@pytest.mark.parametrize("kind", NPZS)
def test_hostile_npz_files(data, kind, refused):
    make, reason = NPZS[kind]
    (data / "mnist.npz").write_bytes(make())
    refused(datasets.mnist.load_data, r"mnist: .*mnist\.npz cannot be read", reason)


def test_hostile_idx_files(data, refused):
    folder = data / "mnist"
    folder.mkdir()
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        rank = int(name[-1])
        shape = (3, 28, 28)[:rank] if "t10k" in name else (2, 28, 28)[:rank]
        header = bytes([0, 0, 8, rank]) + np.array(shape, ">u4").tobytes()
        (folder / f"{name}-ubyte.gz").write_bytes(gzip.compress(header + bytes(int(np.prod(shape)))))
    datasets.mnist.load_data()
    good = (folder / "train-images-idx3-ubyte.gz").read_bytes()
    (folder / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(bytes([0, 0, 8, 1, 0, 0, 0, 3]) + bytes(3)))
    refused(datasets.mnist.load_data, r"images of shape \(2, 28, 28\), and labels of shape \(3,\)")
    (folder / "train-images-idx3-ubyte.gz").write_bytes(zeros(2**28))
    refused(datasets.mnist.load_data, "is no IDX file")
    (folder / "train-images-idx3-ubyte.gz").write_bytes(good[:-6])
    refused(datasets.mnist.load_data, "not a whole gzip file")


@pytest.mark.parametrize(
    ("picture", "reason"),
    [(EPS, "it is none of PNG"), (png(6000, 6000), "more than 90,000"), (png(20, 20, bytes(20 * 61)), "has shape")],
    ids=range(3),
)
def test_hostile_zips_of_pictures(data, picture, reason, refused):
    for name in ("horse-or-human", "validation-horse-or-human"):
        packed(data / f"{name}.zip", {"horses/x.png": picture, "humans/x.png": picture})
    refused(datasets.horses_or_humans.load_data, "horses_or_humans: .* cannot be read", reason)
    packed(data / "horse-or-human.zip", {f"horses/{at}.png": picture for at in range(10_000)})
    refused(datasets.horses_or_humans.load_data, "its directory is larger than one of 1500 members is|cannot be read")
