"""Films show, frame by frame, the numbers that SciPy and the training itself say they should."""

from __future__ import annotations

import itertools
import re
import stat
import sys

import matplotlib
import numpy as np
import pytest
from PIL import Image
from scipy.signal import correlate2d

from minicnn import config, layers, study
from minicnn.models import Sequential
from minicnn.untrusted import FileFormatError

RNG = np.random.default_rng(0)
IMAGE = RNG.random((5, 4))
KERNEL = RNG.normal(size=(3, 2))


@pytest.fixture
def film():
    return study.convolution_animation(IMAGE, (3, 2), kernel=KERNEL)


def number_in(title):
    return float(re.search(r"output: (-?[\d.e-]+)", title)[1])


def shown(axis):
    (image,) = axis.get_images()
    return np.ma.filled(np.ma.asarray(image.get_array(), float), np.nan)


def test_each_frame_writes_the_convolutions_number_and_fills_the_map(film):
    expected = correlate2d(IMAGE, KERNEL, mode="valid")
    assert film.frames == expected.size == 9
    for place in range(film.frames):
        figure = film.frame(place)
        image, patch, _, product, output = figure.axes
        oy, ox = divmod(place, expected.shape[1])
        assert number_in(product.get_title()) == pytest.approx(expected[oy, ox], rel=5e-3)
        assert [float(text.get_text()) for text in patch.texts] == pytest.approx(
            IMAGE[oy : oy + 3, ox : ox + 2].ravel(), rel=5e-3
        )
        written = [float(text.get_text()) for text in product.texts]
        assert written == pytest.approx((IMAGE[oy : oy + 3, ox : ox + 2] * KERNEL).ravel(), rel=5e-3)
        filled = shown(output).ravel()
        np.testing.assert_allclose(filled[: place + 1], expected.ravel()[: place + 1])
        assert np.isnan(filled[place + 1 :]).all()
        assert image.patches[0].get_xy() == (ox - 0.5, oy - 0.5)
        assert (image.patches[0].get_width(), image.patches[0].get_height()) == (2, 3)


def test_strides_and_padding_move_the_frame():
    film = study.convolution_animation(np.ones((6, 6)), 3, strides=2, padding="same")
    corners = [film.frame(place).axes[0].patches[0].get_xy() for place in range(film.frames)]
    assert corners == [(x - 0.5, y - 0.5) for y in (0, 2, 4) for x in (0, 2, 4)]  # TensorFlow pads below and on the right


def test_left_out_frames_are_spread_evenly_and_the_map_fills_all_the_same():
    film = study.convolution_animation(RNG.random((12, 12)), 3, frames=4)
    assert film.frames == 4
    assert np.isfinite(shown(film.frame(3).axes[-1])).all()
    assert np.isfinite(shown(film.frame(1).axes[-1])).sum() == 34  # places 0, 33, 66, 99 of 100
    for frames in (0, True, 2.0):
        with pytest.raises(ValueError, match=r"`frames` must be a positive integer. Received"):
            study.convolution_animation(IMAGE, 2, frames=frames)
    with pytest.raises(IndexError, match=r"The frames are 0 to 3. Received: index=4"):
        film.frame(4)


@pytest.fixture(scope="module")
def trained():
    """What a callback recorded over two epochs, the history, and the first convolution's kernel before and after."""
    config.set_random_seed(2)
    model = Sequential([layers.Conv2D(3, 2, name="first"), layers.Flatten(), layers.Dense(2, activation="softmax")])
    model.build((None, 4, 4, 2))
    model.compile("sgd", "sparse_categorical_crossentropy")
    before = model.layers[0].kernel.numpy().copy()
    recorded = study.KernelHistory()
    x, y = RNG.random((8, 4, 4, 2), np.float32), RNG.integers(0, 2, 8)
    history = model.fit(x, y, epochs=2, validation_data=(x, y), callbacks=[recorded], verbose=0)
    return recorded, history, before, model.layers[0].kernel.numpy()


def test_kernels_are_recorded_before_training_and_after_each_epoch(trained, tmp_path):
    recorded, _, before, after = trained
    assert recorded.epochs == [0, 1, 2]
    np.testing.assert_array_equal(recorded.kernels[0], before)
    np.testing.assert_array_equal(recorded.kernels[2], after)
    assert np.abs(after - before).max() > 0
    recorded.save(tmp_path / "filters.npz")
    loaded = study.KernelHistory.load(tmp_path / "filters.npz")
    assert loaded.epochs == recorded.epochs
    np.testing.assert_array_equal(loaded.kernels, recorded.kernels)


def test_a_frame_shows_the_kernel_of_its_epoch(trained):
    recorded, _, before, after = trained
    film = study.filters_animation(recorded)
    assert film.frames == 3
    for index, kernel, heading in ((0, before, "before training"), (2, after, "after epoch 2")):
        figure = film.frame(index)
        assert figure.get_suptitle() == heading
        pictures = [np.asarray(picture.get_array()) for picture in figure.axes[0].get_images()]
        expected = [kernel[:, :, channel, number] for number in range(3) for channel in range(2)]
        np.testing.assert_array_equal(pictures, expected)
    scales = {picture.get_clim() for picture in figure.axes[0].get_images()}
    assert len(scales) == 1
    assert figure.axes[0].get_title() == "first convolution: 3 filters of 2×2×2"
    named = study.KernelHistory("conv")
    named.kernels, named.epochs = recorded.kernels, recorded.epochs
    title = study.filters_animation(named, count=2, channels=1).figure.axes[0].get_title()
    assert title == "conv: 2 of 3 filters of 2×2, 1 of 2 input channels"
    assert study.filters_animation(named, title="mine").figure.axes[0].get_title() == "mine"
    with pytest.raises(ValueError, match="Nothing was recorded"):
        study.filters_animation(study.KernelHistory())


def test_curves_grow_by_an_epoch_a_frame(trained):
    _, history, _, _ = trained
    film = study.curves_animation(history)
    assert film.frames == 2
    training, validation = film.frame(0).axes[0].get_lines()
    limits = film.figure.axes[0].get_ylim()
    assert list(training.get_ydata()) == history.history["loss"][:1]
    film.frame(1)
    assert list(training.get_xdata()) == [1, 2]
    assert list(training.get_ydata()) == history.history["loss"]
    assert list(validation.get_ydata()) == history.history["val_loss"]
    assert film.figure.axes[0].get_ylim() == limits


def test_what_is_no_record_of_kernels_is_refused(tmp_path):
    path = tmp_path / "filters.npz"
    np.savez(path, kernels=np.zeros((2, 3, 3, 1)), epochs=np.arange(2))
    with pytest.raises(FileFormatError, match=r"filters.npz: no kernels of epochs: shapes \(2, 3, 3, 1\) and \(2,\)"):
        study.KernelHistory.load(path)
    path.write_bytes(b"PK")
    with pytest.raises(FileFormatError, match=r"filters.npz"):
        study.KernelHistory.load(path)


# --- files ------------------------------------------------------------------------------


@pytest.fixture
def short():
    return study.convolution_animation(IMAGE, (3, 2), kernel=KERNEL, frames=3)


def test_a_gif_has_the_frames(short, tmp_path):
    short.save(tmp_path / "film.gif", dpi=20)
    with Image.open(tmp_path / "film.gif") as gif:
        assert gif.n_frames == 3
        pictures = []
        for index in range(gif.n_frames):
            gif.seek(index)
            pictures.append(np.asarray(gif.convert("L")))
    assert all((one != other).any() for one, other in itertools.pairwise(pictures))
    assert [path.name for path in tmp_path.iterdir()] == ["film.gif"]


def test_a_page_holds_its_frames_and_asks_no_server(short, tmp_path):
    short.save(tmp_path / "film.html", dpi=20)
    page = (tmp_path / "film.html").read_text(encoding="utf-8")
    assert len(set(re.findall(r'"data:image/png;base64,([^"]+)"', page))) == 3
    assert not re.search(r'(href|src)="https?:', page)
    signs = set(re.findall(r"\.fa-([\w-]+)::before", page))
    assert set(re.findall(r'class="fa fa-([\w-]+)', page)) <= signs
    assert "data:image/png" in short._repr_html_()


def test_ffmpeg_is_given_every_frame_or_missed_by_name(short, tmp_path, monkeypatch):
    """A program in ffmpeg's place writes down what it is given: its arguments, and how many bytes of pictures."""
    fake = tmp_path / "ffmpeg"
    fake.write_text(
        f"#!{sys.executable}\nimport sys\nprint(len(sys.stdin.buffer.read()), *sys.argv, file=open(sys.argv[-1], 'w'))\n",
        encoding="utf-8",
    )
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setitem(matplotlib.rcParams, "animation.ffmpeg_path", str(fake))
    short.save(tmp_path / "film.mp4", dpi=20)
    size, *arguments = (tmp_path / "film.mp4").read_text().split()
    width, height = (int(n) for n in arguments[arguments.index("-s") + 1].split("x"))
    assert int(size) == 3 * width * height * 4
    assert float(arguments[arguments.index("-framerate") + 1]) == short.fps

    monkeypatch.setitem(matplotlib.rcParams, "animation.ffmpeg_path", str(tmp_path / "none"))
    with pytest.raises(
        ValueError, match=r"MP4 is written by ffmpeg, which is not on this machine .* Received: path='.*other.mp4'"
    ):
        short.save(tmp_path / "other.mp4")
    with pytest.raises(ValueError, match=r"`path` must end in .gif, .mp4, .html. Received: path='film.avi'"):
        short.save("film.avi")
    assert not (tmp_path / "other.mp4").exists()
