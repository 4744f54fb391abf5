"""Our own reader of HDF5 against h5py: what Keras and h5py write is read alike; all else is refused by name."""

from __future__ import annotations

import io
import struct

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minicnn.saving.hdf5 import Dataset, Group, array_at, group_at, opened
from minicnn.untrusted import FileFormatError

VERSIONS = ["earliest", ("v108", "v108"), ("v110", "v110"), "latest"]  # Keras writes the first


def written(make, libver="earliest", **settings):
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver=libver, **settings) as file:
        make(file)
    return buffer.getvalue()


def read(content):
    return opened(io.BytesIO(content), "f.h5")


def assert_same(ours, theirs):
    assert set(ours) == set(theirs)
    assert set(ours.attrs) == set(theirs.attrs)
    for name, value in theirs.attrs.items():
        if isinstance(value, str):
            assert ours.attrs[name] == value
        elif isinstance(value, np.ndarray) and value.dtype.kind == "O":
            assert ours.attrs[name] == list(value)
        elif np.asarray(value).dtype.kind == "S":
            assert ours.attrs[name] == (value.tolist() if np.ndim(value) else bytes(value))
        else:
            np.testing.assert_array_equal(ours.attrs[name], value)
            assert ours.attrs[name].dtype == value.dtype
    for name, item in theirs.items():
        if isinstance(item, h5py.Group):
            assert isinstance(ours[name], Group)
            assert_same(ours[name], item)
        else:
            value = np.array(item)
            assert isinstance(ours[name], Dataset)
            assert ours[name].shape == value.shape
            got = ours[name].read()
            np.testing.assert_array_equal(got, value)
            assert got.dtype == value.dtype.newbyteorder("=")


DTYPES = ["<f2", "<f4", ">f4", "<f8", "u1", "<i4", ">i8", "<u2", "i1"]
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1).filter(
    lambda name: name != "."
)


def arrays(draw):
    shape = draw(st.lists(st.integers(0, 4), max_size=3))
    return np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(draw(st.sampled_from(DTYPES)))


@settings(max_examples=60, deadline=None)
@given(data=st.data(), libver=st.sampled_from(VERSIONS))
def test_any_tree_is_read_as_h5py_reads_it(data, libver):
    def fill(group, depth):
        for name in data.draw(st.lists(NAMES, max_size=4, unique=True)):
            kind = data.draw(st.sampled_from(["array", "group"] if depth < 3 else ["array"]))
            if kind == "array":
                group[name] = arrays(data.draw)
            else:
                fill(group.create_group(name), depth + 1)
        for name in data.draw(st.lists(NAMES, max_size=3, unique=True)):
            text = data.draw(st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=30))
            group.attrs[name] = data.draw(
                st.sampled_from([text, np.bytes_(text + "."), [text, text + "x"], np.array([b"ab", b"c"]), 3, 2.5])
            )

    content = written(lambda file: fill(file, 0), libver)
    with read(content) as ours, h5py.File(io.BytesIO(content)) as theirs:
        assert_same(ours, theirs)


@pytest.mark.parametrize("libver", VERSIONS)
@pytest.mark.parametrize("count", [1, 8, 9, 40, 300, 3000])
@pytest.mark.parametrize("ordered", [False, True])
def test_groups_of_any_size(libver, count, ordered):
    def make(file):
        group = file.create_group("layers", track_order=ordered)
        for index in range(count):
            group[f"dense_{index}"] = np.float32(index)

    with read(written(make, libver)) as file:
        layers = group_at(file, "layers")
        assert set(layers) == {f"dense_{index}" for index in range(count)}
        for index in range(0, count, 97):
            assert array_at(layers, f"dense_{index}", ()) == index


def test_the_most_that_a_newer_group_holds():
    """Of a heap, the blocks that it names itself are read, up to the largest of these; not blocks of further tables."""

    def make(file, length):
        for index in range(3000):
            file.create_group(f"{index:0{length}}", track_order=False)

    with read(written(lambda file: make(file, 60), "latest")) as file:
        assert [int(name) for name in sorted(file)] == list(range(3000))
        assert all(isinstance(file[f"{index:060}"], Group) for index in range(0, 3000, 7))
    with pytest.raises(FileFormatError, match="has too many links"), read(written(lambda file: make(file, 200), "latest")):
        pass


def test_a_file_that_was_changed_in_place(tmp_path):
    """As `h5py.File(path, "a")` leaves it: headers continued elsewhere, free space between."""
    path = tmp_path / "f.h5"
    with h5py.File(path, "w") as file:
        file["a/b"] = np.ones(3)
    for index in range(20):
        with h5py.File(path, "a") as file:
            file["a"].attrs[f"attribute {index}"] = "x" * 50 * index
            file[f"a/c{index}"] = np.full(index, index)
            if index % 3 == 2:
                del file[f"a/c{index - 1}"]
    with opened(str(path), str(path)) as ours, h5py.File(path) as theirs:
        assert_same(ours, theirs)


@pytest.mark.parametrize("libver", VERSIONS)
def test_arrays_in_their_headers_and_attributes_of_nothing(libver):
    def make(file):
        compact = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        compact.set_layout(h5py.h5d.COMPACT)
        array = np.arange(6, dtype="<i2").reshape(2, 3)
        h5py.h5d.create(file.id, b"x", h5py.h5t.STD_I16LE, h5py.h5s.create_simple((2, 3)), compact).write(
            h5py.h5s.ALL, h5py.h5s.ALL, array
        )
        file.attrs["nothing"], file.attrs["five"] = h5py.Empty("f4"), np.int8(5)

    with read(written(make, libver)) as file:
        np.testing.assert_array_equal(array_at(file, "x", (2, 3)), [[0, 1, 2], [3, 4, 5]])
        assert (file.attrs["nothing"].size, file.attrs["five"]) == (0, 5)
        assert (len(file), len(file.attrs)) == (1, 2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda f: f.create_dataset("x", data=np.ones(4), chunks=(2,)), "data in chunks, or compressed, at '/x'"),
        (lambda f: f.create_dataset("x", data=np.ones(4), compression="gzip"), "data in chunks, or compressed, at '/x'"),
        (lambda f: f.create_dataset("x", data=np.ones(4, bool)), "Expected numbers at '/x', received: enumeration"),
        (lambda f: f.create_dataset("x", data=np.ones(4, "c8")), "Expected numbers at '/x', received: compound"),
        (lambda f: f.create_dataset("x", data=np.ones(4, "V3")), "Expected numbers at '/x', received: opaque"),
        (lambda f: f.create_dataset("x", data=np.full(4, b"ab")), "Expected numbers at '/x', received: text"),
        (lambda f: f.create_dataset("x", (4,), h5py.string_dtype()), "Expected numbers at '/x', received: text"),
        (lambda f: f.create_dataset("x", (4,), h5py.vlen_dtype("f4")), "received: a type of variable length"),
        (lambda f: f.create_dataset("x", (4,), h5py.ref_dtype), "Expected numbers at '/x', received: reference"),
        (lambda f: f.create_dataset("x", (4,), np.dtype("f4")), "'/x' of shape (4,) has 0 bytes"),
        (lambda f: f.create_dataset("x", data=[1, 2, 3, np.nan]), "'/x' holds NaN or infinity"),
        (lambda f: f.create_dataset("x", data=np.full(4, -np.inf, "f2")), "'/x' holds NaN or infinity"),
        (lambda f: f.create_dataset("x", data=np.ones((2, 2))), "Shape mismatch at '/x': expected (4,), received (2, 2)"),
        (lambda f: f.create_group("x"), "expected Dataset at '/x', received Group"),
        (lambda f: None, "nothing at '/x'"),
    ],
)
def test_what_is_no_plain_array_is_named(make, message):
    with pytest.raises(FileFormatError) as caught, read(written(make)) as file:
        array_at(file, "x", (4,))
    assert str(caught.value).startswith("f.h5: ")
    assert message in str(caught.value)


def float_of(size, exponent, mantissa):
    kind = h5py.h5t.IEEE_F32LE.copy()
    kind.set_fields(8 * size - 1, mantissa, exponent, 0, mantissa)
    kind.set_size(size)
    return kind


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (float_of(1, 4, 3), "a float of 1 bytes that is not IEEE"),
        (float_of(2, 8, 7), "a float of 2 bytes that is not IEEE"),  # bfloat16
        (h5py.h5t.STD_B8LE, "bit field"),
        (h5py.h5t.C_S1, "text"),
    ],
)
def test_numbers_of_other_formats_are_named(kind, message):
    def make(file):
        h5py.h5d.create(file.id, b"x", kind, h5py.h5s.create_simple((4,)))

    with pytest.raises(FileFormatError, match=f"Expected numbers at '/x', received: {message}"), read(written(make)) as file:
        array_at(file, "x", (4,))


# --- damaged ------------------------------------------------------------------------------------


def model_file(file):
    file.attrs["state"] = '{"epoch": 3}'
    for index in range(12):
        group = file.create_group(f"layers/dense_{index}/vars")
        group["0"], group["1"] = np.ones((3, 4), "f4"), np.ones(4, "f4")


def walk(group):
    for name in group.attrs:
        group.attrs[name]
    if isinstance(group, Dataset):
        return
    for name in group:
        item = group[name]
        if isinstance(item, Dataset) and np.prod(item.shape, dtype=float) < 1000:
            item.read()
        elif isinstance(item, Group) and item.name.count("/") < 6:
            walk(item)


@settings(max_examples=300, deadline=None)
@given(data=st.data(), libver=st.sampled_from(VERSIONS))
def test_damage_anywhere_is_refused_or_harmless(data, libver):
    content = bytearray(FILES[libver])
    if data.draw(st.integers(0, 9)) == 0:
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    for _ in range(data.draw(st.integers(1, 6))):
        if content:
            value = data.draw(st.sampled_from([0, 1, 255, 127, 128]) | st.integers(0, 255))
            content[data.draw(st.integers(0, len(content) - 1))] = value
    try:
        with read(bytes(content)) as file:
            walk(file)
    except FileFormatError:
        pass


FILES = {libver: written(model_file, libver) for libver in VERSIONS}


def overwrite(content, signature, offset, value):
    at = content.index(signature) + offset
    return content[:at] + value + content[at + len(value) :]


@pytest.mark.parametrize(
    "change",
    [
        lambda c: overwrite(c, b"GCOL", 24, struct.pack("<Q", 2**64 - 16)),  # libhdf5 goes round this one for ever
        lambda c: overwrite(c, b"GCOL", 24, struct.pack("<Q", 0)),
        lambda c: overwrite(c, b"GCOL", 8, struct.pack("<Q", 2**62)),
        lambda c: overwrite(c, b"GCOL", 24, struct.pack("<Q", 2**64 - 1)),
        lambda c: overwrite(c, b"GCOL", 16, struct.pack("<H", 9)),
        lambda c: overwrite(c, b"TREE", 32, struct.pack("<Q", c.index(b"TREE"))),
        lambda c: overwrite(c, b"TREE", 5, b"\x01") + b"",
        lambda c: overwrite(c, b"TREE", 6, b"\xff\xff"),
        lambda c: overwrite(c, b"HEAP", 8, struct.pack("<Q", 2**40)),
        lambda c: overwrite(c, b"SNOD", 6, b"\xff\xff"),
    ],
    ids=range(10),
)
def test_structures_that_lie(change):
    with pytest.raises(FileFormatError, match="damaged"), read(change(FILES["earliest"])) as file:
        walk(file)


@pytest.mark.parametrize(
    ("signature", "offset", "value", "message"),
    [
        (b"FRHP", 7, b"\1\0", "heap at .* is compressed, or of an unknown shape"),  # filters
        (b"FRHP", 110, b"\0\0", "heap at .* is compressed, or of an unknown shape"),  # blocks in a row
        (b"FRHP", 110, b"\x41\0", "heap at .* is compressed, or of an unknown shape"),
        (b"FRHP", 112, bytes(8), "heap at .* is compressed, or of an unknown shape"),  # bytes of the first
        (b"FRHP", 112, struct.pack("<Q", 2**40), "heap at .* is compressed, or of an unknown shape"),
        (b"FRHP", 140, b"\x41\0", "heap at .* is compressed, or of an unknown shape"),  # rows
        (b"BTHD", 6, struct.pack("<I", 21), "tree at .* has records of 11 bytes"),  # bytes of a node: none has room
        (b"BTHD", 10, b"\x0c\0", "tree at .* has records of 12 bytes"),
        (b"BTHD", 12, b"\x09\0", "tree at .* has records of 11 bytes"),  # levels
        (b"BTLF", 10, b"\x10", "holds a link that is too long"),
        (b"BTLF", 10, b"\x20", "holds a link that is too long"),
        (b"BTLF", 11, b"\xff\xff\xff\x7f", "has no place"),
        (b"BTLF", 15, b"\xff\xff", "has no place"),
        (b"OHDR", 4, b"\2\x02\xff", "damaged"),
    ],
)
def test_newer_structures_that_lie(signature, offset, value, message):
    content = FILES["latest"]
    with pytest.raises(FileFormatError, match=message), read(overwrite(content, signature, offset, value)) as file:
        walk(file)


def test_a_header_that_continues_in_itself():
    content = bytearray(FILES["earliest"])
    root = int.from_bytes(content[64:72], "little")
    message = struct.pack("<HHB3xQQ", 16, 16, 0, root + 16, 24)
    content[root + 16 : root + 16 + len(message)] = message
    with pytest.raises(FileFormatError, match="as if they led in a circle"), read(bytes(content)) as file:
        walk(file)
