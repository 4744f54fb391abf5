"""Reading HDF5 files that nobody vouches for: the part of the format that Keras and h5py write by default.

Files are written with h5py but not read with it: libhdf5 believes what it reads. A damaged global
heap makes it loop for ever, deaf to Ctrl-C, and a header of some bytes makes it ask for gigabytes.
A child process with a deadline would be the other way out; it costs an interpreter's start for
each file, needs a deadline that suits every slow machine, and can limit memory on Linux only.
Here every structure that is followed is paid for out of one allowance, so links in a circle end,
and numbers are read only when the model has asked for their very shape.

Read: superblocks 0 to 3; groups as symbol tables, as link messages and as the fractal heap of many
links; contiguous and compact arrays of IEEE floats and whole integers; attributes that are
numbers or strings. All else is refused by name:
chunks and compression, links to other places and files, enumerations, bit fields, other floats.

Source: HDF5 File Format Specification 3.0, https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html
(the roman numbers below are its sections).
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np

from minicnn.untrusted import reading, require_regular_file

__all__ = ["Dataset", "Group", "array_at", "group_at", "opened"]

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_UNDEFINED = 2**64 - 1  # an address that points nowhere
_MOST_STRUCTURE = 2**25  # bytes of headers and trees; a model of ten thousand layers has some fifteen million
_COST_OF_READ = 64  # what a look at the file costs besides its bytes

# Header messages (IV.A.2)
_DATASPACE, _LINK_INFO, _DATATYPE, _LINK, _EXTERNAL, _LAYOUT = 1, 2, 3, 6, 7, 8
_FILTERS, _ATTRIBUTE, _CONTINUATION, _SYMBOL_TABLE = 11, 12, 16, 17

_KINDS = {4: "bit field", 5: "opaque", 6: "compound", 7: "reference", 8: "enumeration", 10: "array", 11: "complex"}
_IEEE = {2: (0, 16, 10, 5, 0, 10, 15), 4: (0, 32, 23, 8, 0, 23, 127), 8: (0, 64, 52, 11, 0, 52, 1023)}
_VARIABLE_STRING = np.dtype("V16")  # length, address of a global heap, place in it


def _damaged(reason: str) -> ValueError:
    return ValueError(f"it is not an HDF5 file, or it is damaged: {reason}")


class _Cursor:
    """Bytes taken one after the other; numbers are little-endian."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def take(self, size: int) -> bytes:
        if size > self.left:
            raise _damaged(f"a structure of {len(self._data)} bytes ends too early")
        self._at += size
        return self._data[self._at - size : self._at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def numbers(self, *sizes: int) -> tuple[int, ...]:
        return tuple(self.number(size) for size in sizes)


class _File:
    """An open HDF5 file: bytes, object headers, groups."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = file.seek(0, os.SEEK_END)
        self._allowance = min(self._size + 2**16, _MOST_STRUCTURE)
        self._objects: dict[int, Group | Dataset] = {}
        self._heaps: dict[int, dict[int, bytes]] = {}

    def spend(self, size: int) -> None:
        self._allowance -= size
        if self._allowance < 0:
            raise _damaged("its structures take more than they can hold, as if they led in a circle")

    def data(self, address: int, size: int) -> bytearray:
        """Bytes of an array, whose size the caller has checked."""
        if address + size > self._size:
            raise _damaged(f"{size} bytes at {address} lie behind its end at {self._size}")
        found = bytearray(size)
        self._file.seek(address)
        if self._file.readinto(found) != size:  # type: ignore[attr-defined]
            raise _damaged("it was cut while it was read")
        return found

    def structure(self, address: int, size: int) -> _Cursor:
        self.spend(size + _COST_OF_READ)
        return _Cursor(bytes(self.data(address, size)))

    def signed(self, address: int, signature: bytes, size: int) -> _Cursor:
        """A structure behind its four letters and the byte of its version (or type, which always fits)."""
        cursor = self.structure(address, 5 + size)
        if cursor.take(4) != signature:
            raise _damaged(f"no {signature.decode()} at {address}")
        cursor.take(1)
        return cursor

    def root(self) -> Group:
        """The first group (II)."""
        start = self.structure(0, min(self._size, 96))
        if start.take(8) != _SIGNATURE:
            raise _damaged("it does not begin as one")
        version = start.number(1)
        if version <= 1:
            start.take(4)
            sizes = start.numbers(1, 1)
            start.take(9 + 4 * version)
            base, _free, _end, _driver, _name, address = start.numbers(8, 8, 8, 8, 8, 8)
        else:
            sizes = start.numbers(1, 1)
            start.take(1)
            base, _extension, _end, address = start.numbers(8, 8, 8, 8)
        if version > 3 or sizes != (8, 8) or base:
            raise _damaged(f"superblock {version} with numbers of {sizes} bytes, at {base}, is not read")
        root = self.object(address, "/")
        if not isinstance(root, Group):
            raise _damaged("its root is no group")
        return root

    def object(self, address: int, name: str) -> Group | Dataset:
        if address not in self._objects:
            messages = self._messages(address)
            kind = Dataset if any(type_ == _LAYOUT for type_, _ in messages) else Group
            self._objects[address] = kind(self, name, messages)
        return self._objects[address]

    def _messages(self, address: int) -> list[tuple[int, bytes]]:
        """(type, content) of the messages in an object header (IV.A.1)."""
        found: list[tuple[int, bytes]] = []
        start = self.structure(address, 6)
        modern = start.take(4) == b"OHDR"
        if modern:
            _version, flags = start.numbers(1, 1)
            before = 6 + 16 * bool(flags & 32) + 4 * bool(flags & 16)
            width = 1 << (flags & 3)
            blocks = [(address + before + width, self.structure(address + before, width).number(width))]
        else:
            flags = 0
            version, _, _count, _references, size = self.structure(address, 12).numbers(1, 1, 2, 4, 4)
            if version != 1:
                raise _damaged(f"no object at {address}")
            blocks = [(address + 16, size)]
        for at, size in blocks:  # which grows while it is read
            block = self.structure(at, size)
            while block.left >= (4 if modern else 8):
                type_, length, properties = block.numbers(1, 2, 1) if modern else block.numbers(2, 2, 1)
                block.take(2 * bool(flags & 4) if modern else 3)
                content = block.take(length)
                if type_ == _CONTINUATION:
                    at, size = _Cursor(content).numbers(8, 8)
                    blocks.append((at + 4, size - 8) if modern else (at, size))  # "OCHK" and a checksum around it
                elif properties & 2:
                    raise _damaged(f"message {type_} at {at} is shared, which is not read")
                else:
                    found.append((type_, content))
        return found

    def links(self, messages: list[tuple[int, bytes]]) -> dict[str, int | str]:
        """Name -> address of what a group holds; links of other kinds as the name of their kind."""
        found: dict[str, int | str] = {}
        for type_, content in messages:
            if type_ == _SYMBOL_TABLE:
                found.update(self._symbol_table(*_Cursor(content).numbers(8, 8)))
            elif type_ == _LINK:
                found.update([_link(_Cursor(content))])
            elif type_ == _LINK_INFO:
                info = _Cursor(content)
                _version, flags = info.numbers(1, 1)
                info.take(8 * (flags & 1))
                heap, tree = info.numbers(8, 8)
                if heap != _UNDEFINED:
                    found.update(_link(_Cursor(link)) for link in self._heap_objects(heap, tree))
        return found

    def _symbol_table(self, tree: int, heap: int) -> Iterator[tuple[str, int | str]]:
        """The links of an older group (III.A.1, III.B to III.D)."""
        _, size, _free, at = self.signed(heap, b"HEAP", 27).numbers(3, 8, 8, 8)
        names = self.structure(at, size).take(size)
        nodes = [tree]
        while nodes:
            address = nodes.pop()
            level, count = self.signed(address, b"TREE", 3).numbers(1, 2)
            keys = self.structure(address + 24, 16 * count)
            children = [keys.numbers(8, 8)[1] for _ in range(count)]
            if level:
                nodes += reversed(children)
                continue
            for child in children:
                count = self.signed(child, b"SNOD", 3).numbers(1, 2)[1]
                symbols = self.structure(child + 8, 40 * count)
                for _ in range(count):
                    start, header, cache, _, _ = symbols.numbers(8, 8, 4, 4, 16)
                    end = names.find(b"\0", start)
                    if end < 0:
                        raise _damaged(f"a name of its group at {address} does not end")
                    self.spend(end - start)
                    yield names[start:end].decode("utf-8", "replace"), "SoftLink" if cache == 2 else header

    def _heap_objects(self, heap: int, tree: int) -> Iterator[bytes]:
        """The link messages of a newer group with many links: a B-tree of places in a fractal heap (III.A.2, III.G)."""
        header = self.signed(heap, b"FRHP", 137)
        id_size, filters, _flags, _largest = header.numbers(2, 2, 1, 4)
        header.take(12 * 8)
        width, start, most_direct, bits, _rows, root, rows = header.numbers(2, 8, 8, 2, 2, 8, 2)
        offset_size = -(-bits // 8)
        if filters or not 0 < start <= most_direct or not 0 < width <= 64 or rows > 64:
            raise _damaged(f"the heap at {heap} is compressed, or of an unknown shape")
        blocks = [(root, 0, start if not rows else 0)]  # (address, offset in the heap, size)
        if rows:
            children = self.signed(root, b"FHIB", 8 + offset_size + 8 * width * rows)
            children.take(8 + offset_size)
            blocks, offset = [], 0
            for row in range(rows):
                size = start << max(row - 1, 0)
                if size > most_direct:
                    raise _damaged(f"the group with its heap at {heap} has too many links")
                for _ in range(width):
                    blocks.append((children.number(8), offset, size))
                    offset += size
        for record in self._tree_records(tree, 4 + id_size):
            place = _Cursor(record[4:])
            if place.number(1) & 0x30:
                raise _damaged(f"the heap at {heap} holds a link that is too long")
            offset, length = place.number(offset_size), place.number(min(place.left, 8))
            inside = [(at + offset - first) for at, first, size in blocks if first <= offset <= first + size - length]
            if not inside:
                raise _damaged(f"the heap at {heap} has no place {offset}")
            yield self.structure(inside[0], length).take(length)

    def _tree_records(self, tree: int, record_size: int) -> Iterator[bytes]:
        """All records of a version 2 B-tree (III.A.2)."""
        _type, node_size, size, depth, _, _, root, count = self.signed(tree, b"BTHD", 21).numbers(1, 4, 2, 2, 1, 1, 8, 2)
        if size != record_size or node_size <= 10 + size or depth > 8:
            raise _damaged(f"the tree at {tree} has records of {size} bytes")
        # How wide the counts in a pointer are depends on how much can stand below it.
        most = total = (node_size - 10) // size
        count_size = _bytes_of(most)
        total_sizes = [0]  # of pointers to nodes of level 0, 1, ...
        for _ in range(depth):
            most = max(node_size - 10 - (8 + count_size + total_sizes[-1]), 0) // (size + 8 + count_size + total_sizes[-1])
            total = (most + 1) * total + most
            total_sizes.append(_bytes_of(total))
        nodes = [(root, depth, count)]
        while nodes:
            address, level, count = nodes.pop()
            pointer_size = 8 + count_size + total_sizes[level - 1] if level else 0
            node = self.signed(address, b"BTIN" if level else b"BTLF", 1 + count * size + (count + 1) * pointer_size)
            node.take(1)
            for _ in range(count):
                yield node.take(size)
            for _ in range(count + 1 if level else 0):
                child, below = node.numbers(8, count_size)
                node.take(total_sizes[level - 1])
                nodes.append((child, level - 1, below))

    def variable_string(self, reference: bytes) -> str:
        """A string in a global heap (III.E)."""
        length, heap, place = _Cursor(reference).numbers(4, 8, 4)
        if not length:
            return ""
        if heap not in self._heaps:
            self._heaps[heap] = dict(self._global_heap(heap))
        if place not in self._heaps[heap]:
            raise _damaged(f"the global heap at {heap} has no object {place}")
        self.spend(min(length, len(self._heaps[heap][place])))
        return self._heaps[heap][place][:length].decode("utf-8", "surrogateescape")

    def _global_heap(self, address: int) -> Iterator[tuple[int, bytes]]:
        _, size = self.signed(address, b"GCOL", 11).numbers(3, 8)
        collection = self.structure(address + 16, max(size - 16, 0))
        while collection.left >= 16:
            number, _references, _, size = collection.numbers(2, 2, 4, 8)
            if number == 0:  # the free space behind the last object
                return
            yield number, collection.take(size)
            collection.take(min(-size % 8, collection.left))


def _bytes_of(number: int) -> int:
    return (number.bit_length() + 7) // 8


def _link(link: _Cursor) -> tuple[str, int | str]:
    """A link message (IV.A.2.g)."""
    _version, flags = link.numbers(1, 1)
    kind = link.number(1) if flags & 8 else 0
    link.take(8 * bool(flags & 4) + bool(flags & 16))
    name = link.take(link.number(1 << (flags & 3))).decode("utf-8", "replace")
    return name, link.number(8) if kind == 0 else {1: "SoftLink", 64: "ExternalLink"}.get(kind, "link of another kind")


def _dtype(datatype: _Cursor) -> np.dtype[Any]:
    """A datatype message as NumPy's (IV.A.2.d).

    Raises:
        ValueError: naming the type, if it is none that a model's file holds.
    """
    kind, bits, _, size = datatype.numbers(1, 1, 2, 4)
    kind &= 15
    if kind == 0:
        offset, precision = datatype.numbers(2, 2)
        if size in (1, 2, 4, 8) and (offset, precision) == (0, 8 * size):
            return np.dtype(f"{'<>'[bits & 1]}{'ui'[bits >> 3 & 1]}{size}")
        raise ValueError(f"an integer of {precision} bits in {size} bytes")
    if kind == 1:
        if _IEEE.get(size) == datatype.numbers(2, 2, 1, 1, 1, 1, 4):
            return np.dtype(f"{'<>'[bits & 1]}f{size}")
        raise ValueError(f"a float of {size} bytes that is not IEEE 754's")
    if kind == 3 and 0 < size < 2**16:
        return np.dtype(f"S{size}")
    if kind == 9 and bits & 15 == 1 and size == 16:
        return _VARIABLE_STRING
    raise ValueError(_KINDS.get(kind, "string" if kind == 3 else "a type of variable length" if kind == 9 else f"type {kind}"))


def _shape(dataspace: _Cursor) -> tuple[int, ...]:
    """A dataspace message's sizes (IV.A.2.b)."""
    version, rank, _flags = dataspace.numbers(1, 1, 1)
    kind = dataspace.number(1)
    if version == 1:
        dataspace.take(4)
    elif kind == 2:
        return (0,)
    return dataspace.numbers(*[8] * rank)


class _Attributes(Mapping[str, Any]):
    """An object's attributes: arrays, `bytes` for a string of fixed length, `str` for one of any length, lists of these."""

    def __init__(self, file: _File, messages: list[tuple[int, bytes]]) -> None:
        self._file = file
        self._parts: dict[str, tuple[bytes, bytes, bytes]] = {}  # datatype, dataspace, data
        for type_, content in messages:
            if type_ == _ATTRIBUTE:  # (IV.A.2.m)
                attribute = _Cursor(content)
                version, _flags, *sizes = attribute.numbers(1, 1, 2, 2, 2)
                attribute.take(1 if version == 3 else 0)
                name, datatype, dataspace = (attribute.take(-(-size // 8) * 8 if version == 1 else size) for size in sizes)
                name = name.partition(b"\0")[0]
                self._parts[name.decode("utf-8", "replace")] = datatype, dataspace, attribute.take(attribute.left)

    def __getitem__(self, name: str) -> Any:
        datatype, dataspace, data = self._parts[name]
        dtype, shape = _dtype(_Cursor(datatype)), _shape(_Cursor(dataspace))
        size = math.prod(shape) * dtype.itemsize
        if size > len(data):
            raise _damaged(f"the attribute '{name}' of shape {shape} has {len(data)} bytes")
        if dtype.kind not in "SV":
            return np.frombuffer(data[:size], dtype).reshape(shape)
        texts: list[Any] = [data[start : start + dtype.itemsize] for start in range(0, size, dtype.itemsize)]
        if dtype == _VARIABLE_STRING:
            texts = [self._file.variable_string(reference) for reference in texts]
        else:
            texts = [text.rstrip(b"\0") for text in texts]
        return texts if shape else texts[0]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)


class Group(Mapping[str, Any]):
    """A group: name -> `Group` or `Dataset`, through plain links only.

    Attributes:
        name: its path. attrs: its attributes by name.
    """

    def __init__(self, file: _File, name: str, messages: list[tuple[int, bytes]]) -> None:
        self._file, self.name = file, name
        self._links = file.links(messages)
        self.attrs = _Attributes(file, messages)

    def __getitem__(self, name: str) -> Group | Dataset:
        address, path = self._links[name], f"{self.name.rstrip('/')}/{name}"
        if isinstance(address, str):
            raise ValueError(f"Not allowed: H5 file with {address} at '{path}'")
        return self._file.object(address, path)

    def __iter__(self) -> Iterator[str]:
        return iter(self._links)

    def __len__(self) -> int:
        return len(self._links)

    def __contains__(self, name: object) -> bool:
        return name in self._links


class Dataset:
    """An array in a file; `read` takes its numbers out."""

    def __init__(self, file: _File, name: str, messages: list[tuple[int, bytes]]) -> None:
        self._file, self.name = file, name
        self._parts = {type_: _Cursor(content) for type_, content in messages if type_ != _ATTRIBUTE}
        self.attrs = _Attributes(file, messages)
        self.shape = _shape(self._part(_DATASPACE))

    def _part(self, type_: int) -> _Cursor:
        if type_ not in self._parts:
            raise _damaged(f"'{self.name}' lacks message {type_}")
        return self._parts[type_]

    def read(self) -> np.ndarray:
        """The numbers, in an array of their own.

        Raises:
            ValueError: if they are no numbers, lie outside of the file, in chunks or compressed.
        """
        where = f"'{self.name}'"
        version, kind = self._part(_LAYOUT).numbers(1, 1)  # (IV.A.2.i)
        if _EXTERNAL in self._parts or kind == 3:
            raise ValueError(f"Not allowed: H5 file with data outside of itself at {where}")
        if version not in (3, 4, 5) or kind not in (0, 1) or _FILTERS in self._parts:
            raise ValueError(f"Not allowed: H5 file with data in chunks, or compressed, at {where}; Keras writes neither")
        try:
            dtype = _dtype(self._part(_DATATYPE))
            if dtype.kind not in "fiu":
                raise ValueError("text")
        except ValueError as error:
            raise ValueError(f"Expected numbers at {where}, received: {error}") from None
        size = math.prod(self.shape) * dtype.itemsize
        if kind == 0:
            stored = self._part(_LAYOUT).number(2)
            data = bytearray(self._part(_LAYOUT).take(min(stored, size)))
        else:
            address, stored = self._part(_LAYOUT).numbers(8, 8)
            data = bytearray() if address == _UNDEFINED else self._file.data(address, min(stored, size))
        if len(data) < size:
            raise _damaged(f"{where} of shape {self.shape} has {len(data)} bytes")
        return np.frombuffer(data, dtype).reshape(self.shape).astype(dtype.newbyteorder("="), copy=False)


@contextlib.contextmanager
def opened(file: BinaryIO | str, source: str) -> Iterator[Group]:
    """The file's first group, for the length of the block.

    Raises:
        FileFormatError: if it is no HDF5 file, or turns out to be damaged within the block.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(reading(source))
        if isinstance(file, str):
            require_regular_file(file)
            file = stack.enter_context(open(file, "rb"))
        yield _File(file).root()


def group_at(file: Group, path: str) -> Any:
    """The group at `path`, or None; reached through plain links only."""
    current = file
    for name in path.split("/"):
        if name not in current:
            return None
        inner = current[name]
        if not isinstance(inner, Group):
            raise ValueError(f"Invalid H5 file, expected Group at '{path}' but received {type(inner).__name__}")
        current = inner
    return current


def array_at(group: Group, key: str, shape: tuple[int, ...]) -> np.ndarray:
    """A dataset as an array of finite numbers; its shape is compared before a byte is read."""
    where = f"'{group.name.rstrip('/')}/{key}'"
    if key not in group:
        raise ValueError(f"Invalid H5 file, nothing at {where}")
    dataset = group[key]
    if not isinstance(dataset, Dataset):
        raise ValueError(f"Invalid H5 file, expected Dataset at {where}, received {type(dataset).__name__}")
    if dataset.shape != shape:
        raise ValueError(f"Shape mismatch at {where}: expected {shape}, received {dataset.shape}")
    value = dataset.read()
    if not np.isfinite(value).all():
        raise ValueError(f"{where} holds NaN or infinity: its training diverged, or the file is damaged")
    return value
