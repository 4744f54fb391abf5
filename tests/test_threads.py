"""Loading, building and looking up in several threads at once: what one thread sets holds for it alone."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import minicnn
from minicnn import layers, registry, utils, variables

SIZES = 2**26 + 2**24  # bytes, more than a file of this test's models may ask for


def waiting_class(doubled, wait):
    """A custom layer of which `from_config` waits."""

    def from_config(cls, config):
        wait()
        return cls(**config)

    def forward(self, x, training):
        return (2 * x if doubled else x), None

    return type("Waiting", (layers.Layer,), {"from_config": classmethod(from_config), "forward": forward})


@pytest.fixture
def file(tmp_path):
    cls = waiting_class(False, lambda: None)
    model = minicnn.Sequential([layers.Input((3,)), cls(name="first"), cls(name="second"), layers.Dense(2)])
    model.save(tmp_path / "model.keras")
    return tmp_path / "model.keras"


class Loading(threading.Thread):
    """Loads a file in a thread, which waits in its first custom layer until `go_on` is set."""

    def __init__(self, file, doubled):
        super().__init__()
        self.file, self.inside, self.go_on = file, threading.Event(), threading.Event()
        self.cls = waiting_class(doubled, self.wait)
        self.model = self.error = None

    def wait(self):
        self.inside.set()
        assert self.go_on.wait(60)

    def run(self):
        try:
            self.model = minicnn.models.load_model(self.file, custom_objects={"Waiting": self.cls})
        except Exception as error:
            self.error = error

    def begin(self):
        self.start()
        assert self.inside.wait(60)

    def end(self):
        self.go_on.set()
        self.join()
        assert self.error is None


def large_variable():
    return variables.Variable(lambda shape, dtype: np.zeros(shape, dtype), shape=(SIZES // 4,), dtype="float32")


def test_the_allowance_of_a_file_holds_for_its_own_thread(file):
    first, second = Loading(file, False), Loading(file, False)
    first.begin()
    assert large_variable().size == SIZES // 4  # built beside a load
    second.begin()
    first.end()  # the first to begin ends first: nothing is restored in the opposite order
    assert large_variable().size == SIZES // 4
    second.end()
    assert large_variable().size == SIZES // 4


def test_an_allowance_still_holds_where_it_was_given():
    with variables.limit_bytes(2**20):
        with variables.limit_bytes(2**10), pytest.raises(ValueError, match="1024 bytes are left"):
            large_variable()
        variables.Variable(lambda shape, dtype: np.zeros(shape, dtype), shape=(2**17,), dtype="float32")
        with pytest.raises(ValueError, match=rf"{SIZES} bytes exceeds .* \({2**19} bytes are left\)"):
            large_variable()
    large_variable()


def test_custom_objects_hold_for_the_thread_that_names_them(file):
    before = dict(registry.get_custom_objects())
    plain, doubled = Loading(file, False), Loading(file, True)
    plain.begin()
    doubled.begin()
    with pytest.raises(ValueError, match="Unknown layer: 'Waiting'"):
        registry.lookup("layer", "Waiting")
    plain.end()
    doubled.end()
    for thread in (plain, doubled):
        assert [type(layer) for layer in thread.model.layers if type(layer).__name__ == "Waiting"] == [thread.cls] * 2
    x = np.ones((1, 3), "float32")
    np.testing.assert_allclose(
        doubled.model.predict(x, verbose=0) - doubled.model.layers[-1].bias.numpy(),
        4 * (plain.model.predict(x, verbose=0) - plain.model.layers[-1].bias.numpy()),
        rtol=1e-6,
    )
    assert registry.get_custom_objects() == before


def test_scopes_within_scopes():
    one, two, three = object(), object(), object()
    with registry.custom_object_scope({"a": one, "b": one}):
        with registry.custom_object_scope({"b": two, "c": three}):
            found = [utils.get_registered_object(name) for name in "abc"]
        assert [utils.get_registered_object(name) for name in "abc"] == [one, one, None]
    assert found == [one, two, three]
    assert utils.get_registered_object("a") is None
