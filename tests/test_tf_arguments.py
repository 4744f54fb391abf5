"""TensorFlow's names once more: the arguments beside the usual ones, against TensorFlow's own functions."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import minicnn
from minicnn.tape import GradientTape
from tests.test_tf_names import BYTES, DEPTHWISE, IMAGE, IMAGES, KERNEL, KERNELS_3D, SQUARE, VOLUMES, find

RANDOM = np.random.default_rng(8)
LOGITS = RANDOM.normal(size=(4, 5)).astype(np.float32) * 2
HOT = np.eye(5, dtype=np.float32)[[0, 4, 2, 2]]
LOOP = (lambda i, x: i < 9, lambda i, x: (i + 1, x * 2), (np.int32(0), IMAGE))
ROW = np.float32([3, -1, 2, -1])

CALLS = [
    ("nn.sigmoid_cross_entropy_with_logits", (), {"labels": HOT, "logits": LOGITS}),
    ("nn.softmax_cross_entropy_with_logits", (HOT, LOGITS), {}),
    ("nn.softmax_cross_entropy_with_logits", (), {"labels": HOT.T, "logits": LOGITS.T, "axis": 0}),
    ("nn.sparse_softmax_cross_entropy_with_logits", ([0, 4, 2, 2], LOGITS), {}),
    ("nn.weighted_cross_entropy_with_logits", (), {"labels": HOT, "logits": LOGITS, "pos_weight": 0.25}),
    ("nn.l2_normalize", (LOGITS,), {}),
    ("nn.l2_normalize", (LOGITS, 0), {"epsilon": 30.0}),
    ("math.l2_normalize", (LOGITS,), {"axis": [1]}),
    ("nn.gelu", (LOGITS,), {}),
    ("nn.gelu", (LOGITS,), {"approximate": True}),
    ("nn.softmax", (LOGITS,), {"axis": 0}),
    ("nn.moments", (IMAGES, [0, 1]), {"keepdims": True}),
    ("nn.batch_normalization", (IMAGES, IMAGE[0, 0], IMAGE[1, 1], IMAGE[2, 2], None, 0.5), {}),
    ("nn.conv1d", (IMAGES[0], KERNEL[0], [2], "VALID"), {}),
    ("nn.conv1d", (IMAGES[0], KERNEL[0], (1, 1, 1), "SAME"), {"dilations": 2}),
    ("nn.conv2d", (IMAGES, KERNEL, (1, 2), "VALID"), {}),
    ("nn.conv2d", (IMAGES, KERNEL, 1, "SAME"), {"dilations": [1, 1, 2, 1]}),
    ("nn.conv3d", (VOLUMES, KERNELS_3D, [1, 1, 1, 1, 1], "SAME"), {"dilations": [1, 1, 1, 1, 1]}),
    ("nn.convolution", (IMAGES, KERNEL), {}),
    ("nn.convolution", (IMAGES, KERNEL), {"strides": (1, 2), "padding": "SAME"}),
    ("nn.convolution", (IMAGES, KERNEL), {"dilations": (2, 1)}),
    ("nn.depthwise_conv2d", (IMAGES, DEPTHWISE, (1, 1, 1, 1), "SAME"), {"dilations": (2, 2)}),
    ("nn.depthwise_conv2d", (IMAGES, DEPTHWISE, (1, 2, 2, 1), [[0, 0], [2, 0], [1, 1], [0, 0]]), {}),
    ("nn.atrous_conv2d", (IMAGES, KERNEL[:, :, :, :1], 2, "VALID"), {}),
    ("nn.separable_conv2d", (IMAGES, DEPTHWISE, KERNEL[:1, :1].repeat(2, 2), (1, 2, 2, 1), "VALID"), {}),
    ("nn.avg_pool2d", (IMAGES, 2, 1), {"padding": "VALID"}),
    ("nn.max_pool2d", (IMAGES, (1, 2, 3, 1), (1, 1, 2, 1)), {"padding": "SAME"}),
    ("nn.max_pool1d", (IMAGES[0], [3], [1]), {"padding": "SAME"}),
    ("nn.avg_pool1d", (IMAGES[0], 2, 2, "VALID"), {}),
    ("nn.pool", (IMAGES, (2, 3), "MAX"), {"padding": "SAME"}),
    ("nn.pool", (IMAGES[0], (2,), "AVG"), {}),
    ("nn.crelu", (LOGITS, 0), {}),
    ("nn.local_response_normalization", (IMAGES,), {"depth_radius": 2}),
    ("nn.compute_average_loss", (LOGITS[:, 0],), {}),
    ("nn.compute_average_loss", (LOGITS[:, 0],), {"sample_weight": HOT[:, 2]}),
    ("nn.scale_regularization_loss", (LOGITS,), {}),
    ("nn.top_k", (LOGITS,), {"k": 2}),
    ("nn.in_top_k", ([0, 4, 2, 2], LOGITS, 2), {}),
    ("nn.log_softmax", (LOGITS,), {"axis": 0}),
    ("nn.depth_to_space", (RANDOM.random((1, 2, 3, 8), np.float32), 2), {}),
    ("nn.space_to_depth", (RANDOM.random((1, 4, 6, 2), np.float32), 2), {}),
    *((f"nn.{name}", (LOGITS,), {}) for name in ("elu", "relu6", "selu", "softplus", "softsign", "silu", "swish", "sigmoid")),
    # the math of tensors
    ("sequence_mask", ([1, 3, 0],), {}),
    ("sequence_mask", ([[1], [2]], 3), {"dtype": "int32"}),
    ("clip_by_norm", (IMAGES, 3.0), {}),
    ("clip_by_norm", (IMAGES, 300.0), {}),
    ("linalg.global_norm", ([LOGITS, None, HOT],), {}),
    ("math.confusion_matrix", ([0, 1, 2, 2], [0, 2, 2, 3]), {}),
    ("math.confusion_matrix", ([0, 1, 2], [0, 2, 2]), {"weights": [0.5, 1.0, 2.0], "dtype": "float32"}),
    ("histogram_fixed_width", (LOGITS, [-1.0, 1.0]), {}),
    ("math.xlogy", (np.float32([0, 2]), np.float32([3, 0.5])), {}),
    ("linalg.diag", (LOGITS,), {}),
    ("linalg.band_part", (SQUARE, -1, 0), {}),
    ("linalg.band_part", (SQUARE, 0, -1), {}),
    ("linalg.band_part", (SQUARE[:, :2], 1, 1), {}),
    ("linalg.normalize", (LOGITS,), {}),
    ("linalg.normalize", (LOGITS, 1), {"axis": 0}),
    ("linalg.normalize", (LOGITS, np.inf), {"axis": 1}),
    ("linalg.solve", (SQUARE, SQUARE[:, :, :2]), {}),
    ("linalg.triangular_solve", (SQUARE, SQUARE[:, :, :2]), {"adjoint": True}),
    ("linalg.triangular_solve", (SQUARE, SQUARE[:, :, :2]), {"lower": False}),
    ("linalg.matmul", (SQUARE, SQUARE), {"transpose_a": True, "transpose_b": True}),
    ("linalg.trace", (SQUARE[:, :2],), {}),
    ("linalg.diag_part", (SQUARE[:, :2],), {}),
    ("linalg.diag_part", (SQUARE,), {"k": 1}),
    ("linalg.norm", (LOGITS,), {"ord": 1, "axis": 1, "keepdims": True}),
    ("math.reduce_euclidean_norm", (IMAGES, [1, 2]), {"keepdims": True}),
    ("scan", (lambda a, b: a * b + 1, LOGITS), {"initializer": LOGITS[0]}),
    ("foldl", (lambda a, b: a - b, LOGITS), {}),
    ("while_loop", LOOP, {"maximum_iterations": 3}),
    ("switch_case", (np.array(7), [lambda: IMAGE, lambda: IMAGE + 1]), {}),
    ("switch_case", (np.array(0), {1: lambda: IMAGE, 0: lambda: IMAGE + 1}), {"default": lambda: IMAGE + 2}),
    ("switch_case", (np.array(-1), {0: lambda: IMAGE, 1: lambda: IMAGE + 1}), {"default": lambda: IMAGE + 2}),
    ("shape", (IMAGES,), {"out_type": "int64"}),
    ("size", (IMAGES,), {"out_type": "int64"}),
    ("slice", (IMAGES, [1, 0, 2, 0], [-1, 3, -1, 1]), {}),
    ("boolean_mask", (IMAGES, [False, True]), {}),
    ("gather_nd", (IMAGES, [[0], [1], [0]]), {}),
    ("gather_nd", (IMAGES, [[[1, 2], [0, 3]], [[2, 0], [4, 4]]]), {"batch_dims": 1}),
    ("tensor_scatter_nd_add", (LOGITS, [[0, 1], [0, 1], [3, 4]], ROW[:3]), {}),
    ("tensor_scatter_nd_sub", (LOGITS, [[0, 1], [0, 1], [3, 4]], ROW[:3]), {}),
    ("scatter_nd", ([[0, 1], [0, 1]], ROW[:2], (2, 3)), {}),
    ("math.unsorted_segment_mean", (LOGITS[:, 0], [0, 2, 0, 2], 4), {}),
    ("math.squared_difference", (LOGITS, HOT), {}),
    ("math.scalar_mul", (3.0, LOGITS), {}),
    ("math.argmax", (LOGITS,), {"axis": 1, "output_type": "int32"}),
    ("math.argmin", (LOGITS,), {}),
    ("unique", (ROW,), {"out_idx": "int64"}),
    ("one_hot", ([0, 2, 1], 3), {"axis": 0, "dtype": "float64"}),
    ("one_hot", ([0, 5, -1], 3), {"on_value": 2.0, "off_value": -1.0}),
    ("pad", (LOGITS, [[1, 2], [0, 1]]), {"mode": "SYMMETRIC"}),
    ("pad", (LOGITS, [[1, 2], [0, 1]]), {}),
    ("split", (LOGITS, 5), {"axis": -1}),
    ("split", (LOGITS, [1, 4], -1), {}),
    ("gather", (LOGITS, [[3, 0], [1, 1]]), {"axis": -1}),
    ("gather", (LOGITS, [[3, 0], [1, 1]]), {}),
    ("range", (2, 11), {"delta": 4, "dtype": "float32"}),
    ("range", (5,), {"dtype": "int64"}),
    ("constant", (3.0,), {"shape": (2, 3)}),
    ("cumsum", (LOGITS,), {"axis": -1, "reverse": True}),
    ("math.cumprod", (LOGITS,), {"axis": 0, "exclusive": True, "reverse": True}),
    ("reverse", (LOGITS, [0, 1]), {}),
    ("roll", (LOGITS, 2, 1), {}),
    ("sort", (LOGITS,), {"axis": 0}),
    ("argsort", (LOGITS,), {"axis": 0}),
    ("searchsorted", (np.float32([1, 3, 3, 5]), np.float32([3, 0, 9])), {"side": "right"}),
    ("norm", (LOGITS,), {}),
    ("stack", ([LOGITS, HOT],), {"axis": -1}),
    ("unstack", (LOGITS,), {"axis": 1}),
    ("concat", ([LOGITS, HOT], -1), {}),
    ("squeeze", (LOGITS[None, :, None],), {"axis": [2]}),
    ("tensordot", (LOGITS, HOT, [[0], [0]]), {}),
    ("einsum", ("ij,kj->ik", LOGITS, HOT), {}),
    ("linspace", (1.0, 3.0, 5), {}),
    ("fill", ([2, 3], 4.0), {}),
    ("math.floormod", (ROW, np.float32([2, 2, -2, -2])), {}),
    ("math.floordiv", (ROW, np.float32([2, 2, -2, -2])), {}),
    ("atan2", (ROW, ROW[::-1].copy()), {}),
    *((f"reduce_{kind}", (LOGITS, 0), {"keepdims": True}) for kind in ("sum", "prod", "max", "min", "std", "logsumexp")
      if hasattr(tf, f"reduce_{kind}")),
    ("math.reduce_std", (LOGITS,), {"axis": 1}),
    ("reduce_any", (LOGITS > 2, 1), {}),
    ("reduce_all", (LOGITS > -2,), {"axis": 0}),
    # images
    ("image.central_crop", (IMAGE, 0.87), {}),
    ("image.central_crop", (IMAGE, 1.0), {}),
    ("image.resize_with_crop_or_pad", (IMAGES, 5, 12), {}),
    ("image.resize_with_pad", (IMAGES, 12, 9), {"method": "bicubic"}),
    ("image.resize_with_pad", (IMAGE, 3, 4), {"antialias": True}),
    ("image.rot90", (IMAGES,), {}),
    ("image.rot90", (IMAGES,), {"k": -1}),
    ("image.adjust_brightness", (IMAGES, 2.0), {}),
    ("image.adjust_gamma", (BYTES, 0.5), {"gain": 2}),
    ("image.adjust_hue", (BYTES, -0.2), {}),
    ("image.adjust_saturation", (IMAGES, 0.0), {}),
    ("image.total_variation", (IMAGE,), {}),
    ("image.convert_image_dtype", (np.uint16(BYTES) * 257, "uint8"), {}),
    ("image.convert_image_dtype", (BYTES, "float16"), {}),
    ("image.convert_image_dtype", (IMAGE, "float64"), {}),
    ("image.per_image_standardization", (BYTES,), {}),
    ("image.flip_up_down", (IMAGES,), {}),
    ("image.transpose", (IMAGES,), {}),
    ("image.crop_and_resize", (BYTES[None], [[0.0, 0, 1, 1]], [0], (3, 4)), {}),
    ("image.psnr", (BYTES, BYTES[::-1].copy(), 255), {}),
    ("image.extract_patches", (IMAGES, [1, 3, 2, 1], [1, 1, 2, 1], [1, 1, 2, 1], "SAME"), {}),
    *(("image.resize", (IMAGE, (4, 12)), {"method": method}) for method in ("lanczos3", "lanczos5", "nearest", "area")),
    ("image.resize", (IMAGES, (12, 10)), {"preserve_aspect_ratio": True, "method": "lanczos3"}),
    # texts
    ("strings.lower", (["Ab C", "ÄB"],), {"encoding": "utf-8"}),
    ("strings.upper", (["Ab c", "äb"],), {"encoding": "utf-8"}),
    ("strings.strip", ([" a b\n", "c "],), {}),
    ("strings.length", (["Äb", ""],), {}),
    ("strings.length", (["Äb", ""],), {"unit": "UTF8_CHAR"}),
    ("strings.substr", (["abcdef", "xyzxyz"], 1, 3), {}),
    ("strings.substr", (["Äbcd", "xyzx"], 1, 2), {"unit": "UTF8_CHAR"}),
    ("strings.substr", (["abcdef"], -3, 2), {}),
    ("strings.join", ([["a", "b"], ["c", "d"]],), {"separator": "-"}),
    ("strings.join", ([["a", "b"], "c"],), {}),
    ("strings.reduce_join", ([["a", "b", "c"], ["d", "e", "f"]],), {"separator": "+"}),
    ("strings.reduce_join", ([["a", "b", "c"], ["d", "e", "f"]],), {"axis": 0, "separator": "+"}),
    ("strings.reduce_join", ([["a", "b", "c"], ["d", "e", "f"]],), {"axis": -1, "keepdims": True}),
    ("strings.reduce_join", ([["a", "b"]],), {"keepdims": True}),
    ("strings.regex_replace", (["a1b22", "333"], "[0-9]+", "#"), {}),
    ("strings.regex_replace", (["a1b22", "3x3"], "[0-9]", "#"), {"replace_global": False}),
    ("strings.to_number", (["1.5", "-2"],), {}),
    ("strings.to_number", (["15", "-2"], "int64"), {}),
    ("strings.as_string", ([1, -20],), {}),
    ("strings.as_string", (ROW / 3,), {}),
    ("strings.unicode_decode", ("aÄ", "UTF-8"), {}),
    ("strings.unicode_encode", ([[97, 196], [98, 99]], "UTF-8"), {}),
    ("strings.bytes_split", ("ab c",), {}),
]  # fmt: skip


def values_of(one):
    """Numbers as float64, texts as texts."""
    array = np.asarray(one)
    if array.dtype.kind in "OSU":
        return np.array([text.decode() if isinstance(text, bytes) else text for text in array.ravel()]).reshape(array.shape)
    return array.astype("float64")


@pytest.mark.parametrize(("path", "args", "named"), CALLS, ids=[f"{path}-{i}" for i, (path, *_) in enumerate(CALLS)])
def test_a_function_takes_tensorflows_further_arguments(path, args, named):
    args_there = [tf.constant(one) if isinstance(one, np.ndarray) else one for one in args]
    named_there = named | ({"out_type": tf.as_dtype(named["out_type"])} if "out_type" in named else {})
    ours, theirs = find(minicnn, path)(*args, **named), find(tf, path)(*args_there, **named_there)
    several = isinstance(theirs, (list, tuple))
    for got, expected in zip(ours if several else [ours], theirs if several else [theirs], strict=True):
        got, expected = np.asarray(got), np.asarray(expected)
        assert got.shape == expected.shape
        if expected.dtype.kind != "O":
            assert got.dtype == expected.dtype
            off = 1 if got.dtype.kind in "iu" and "image" in path else 2e-5  # a rounding's last bit
            np.testing.assert_allclose(values_of(got), values_of(expected), rtol=3e-5, atol=off)
        else:
            np.testing.assert_array_equal(values_of(got), values_of(expected))


CHECKS = {  # arguments of a check that hold, and some that do not
    "assert_equal": [([1, 2], [1, 2]), ([1, 2], [1, 3])],
    "assert_none_equal": [([1, 2], [2, 1]), ([1, 2], [3, 2])],
    "assert_greater": [([2, 3], 1), ([2, 1], 1)],
    "assert_greater_equal": [([2, 1], 1), ([2, 0], 1)],
    "assert_less": [([0, 1], 2), ([0, 2], 2)],
    "assert_less_equal": [([0, 2], 2), ([0, 3], 2)],
    "assert_positive": [([1, 2],), ([1, 0],)],
    "assert_non_negative": [([0, 2],), ([0, -1],)],
    "assert_near": [([1.0, 2.0], [1.0, 2.000001]), ([1.0, 2.0], [1.0, 2.0001])],
    "assert_all_finite": [([1.0, 2.0], "m"), ([1.0, np.inf], "m")],
    "check_numerics": [([1.0, 2.0], "m"), ([1.0, np.nan], "m")],
    "Assert": [(True, ["data"]), (False, ["data"])],
    "assert_rank": [(LOGITS, 2), (LOGITS, 1)],
    "assert_shapes, of inner axes": [([(IMAGES, ("*", "C")), (IMAGE, ("*", "C"))],), ([(IMAGES, ("*", 9, 2))],)],
    "assert_shapes, of too few": [([(IMAGE, ("*", 7, 10, 3))],), ([(IMAGE, ("*", 2, 7, 10, 3))],)],
    "assert_shapes": [
        ([(LOGITS, ("N", 5)), (LOGITS[:, 0], "N"), (HOT, (None, "C")), (HOT, (4, ".")), (IMAGES, ("*", 9, 3))],),
        ([(LOGITS, ("N", 5)), (LOGITS[0], ("N",))],),
    ],
}


@pytest.mark.parametrize("name", CHECKS)
def test_checks_let_through_what_tensorflow_s_let_through(name):
    name, (good, bad) = name.split(",")[0], CHECKS[name]
    for root in (minicnn, tf):
        check = getattr(root.debugging, name)

        def tensors(arguments, constant=root.constant, plain=name in ("Assert", "assert_shapes")):
            return [one if plain or isinstance(one, (int, str)) else constant(one) for one in arguments]

        check(*tensors(good))
        with pytest.raises(ValueError if root is minicnn else (tf.errors.InvalidArgumentError, ValueError)):
            check(*tensors(bad))
    assert issubclass(minicnn.errors.InvalidArgumentError, ValueError)


def test_near_is_what_its_bounds_say():
    for root in (minicnn, tf):
        near = root.debugging.assert_near
        one, other = root.constant([1.0, 100.0]), root.constant([1.05, 101.0])
        near(one, other, rtol=0.0, atol=1.01)
        near(one, other, rtol=0.06, atol=0.0)
        for bounds in ({"rtol": 0.02, "atol": 0.0}, {"rtol": 0.0, "atol": 0.5}):
            with pytest.raises((tf.errors.InvalidArgumentError, minicnn.errors.InvalidArgumentError)):
                near(one, other, **bounds)


@pytest.mark.parametrize("named", [{}, {"use_norm": np.float32(5)}])
@pytest.mark.parametrize("clip_norm", [1.5, 500.0])
def test_tensors_are_clipped_together_and_none_stays_none(clip_norm, named):
    found = [
        root.clip_by_global_norm([root.constant(LOGITS), None, root.constant(HOT)], clip_norm, **named)
        for root in (minicnn, tf)
    ]
    for ours, theirs in zip(*(one[0] for one in found), strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-5)


@pytest.mark.parametrize("time_major", [True, False])
@pytest.mark.parametrize("blank", [None, 0, 4])
def test_ctc_is_tensorflow_s(time_major, blank):
    random = np.random.default_rng(1)
    logits = random.normal(size=(7, 2, 5)).astype("float32")
    low = 0 if blank == 4 else 1
    labels = random.integers(low, 4, (2, 3)).astype("int32")
    lengths = np.array([2, 3], "int32"), np.array([7, 6], "int32")
    given = logits if time_major else logits.transpose(1, 0, 2)
    named = {"logits_time_major": time_major, "blank_index": blank}
    ours = minicnn.nn.ctc_loss(labels, minicnn.constant(given), *lengths, **named)
    theirs = tf.nn.ctc_loss(labels, given, *lengths, **named | {"blank_index": blank or 0})
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)


def test_shapes_are_checked_where_they_are_known():
    for root in (minicnn, tf):
        tensor = root.constant(LOGITS)
        assert root.ensure_shape(tensor, (None, 5)) is tensor or root is tf
        for shape in ((4, 4), (4,), (None, None, None)):
            with pytest.raises((ValueError, tf.errors.InvalidArgumentError)):
                root.ensure_shape(tensor, shape)


def test_gradients_pass_where_logarithms_of_zero_are_left_out():
    found = []
    for root, tape in ((minicnn, GradientTape()), (tf, tf.GradientTape())):
        x, y = root.constant([0.0, 2.0, 3.0]), root.constant([0.5, 0.5, 4.0])
        with tape:
            tape.watch([x, y])
            total = root.reduce_sum(root.math.xlogy(x, y) * 2.0 + root.math.divide_no_nan(y, x))
        found.append(tape.gradient(total, y))
    np.testing.assert_allclose(*found, rtol=1e-5)


def test_what_a_strategy_and_functions_of_numpy_return():
    values = []
    for root in (minicnn, tf):
        total = root.constant(LOGITS)
        two = root.numpy_function(lambda a, b: (a.sum(), a @ b), [total, HOT.T.copy()], [root.float32, root.float32])
        one = root.py_function(lambda a, root=root: root.reduce_sum(a, 0), [total], root.float32)
        values.append([np.asarray(part) for part in (*two, one)])
    for ours, theirs in zip(*values, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    strategy = minicnn.distribute.get_strategy()
    assert strategy.reduce("SUM", minicnn.constant(LOGITS), axis=0).tolist() == LOGITS.sum(0, dtype="float32").tolist()
    assert strategy.run(lambda x, y: x - y, (5,), {"y": 3}) == 2
    assert strategy.experimental_local_results(3) == (3,)
    assert strategy.distribute_datasets_from_function(lambda context: context.get_per_replica_batch_size(8)) == 8
    assert minicnn.distribute.get_replica_context().all_reduce("SUM", 4) == 4


def test_a_summary_goes_to_the_inner_writer(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    outer, inner = (minicnn.summary.create_file_writer(str(tmp_path / name)) for name in ("outer", "inner"))
    with outer.as_default(step=1):
        with inner.as_default(step=2):
            minicnn.summary.scalar("inner", 1.0)
        minicnn.summary.scalar("outer", 1.0)
    outer.close()
    inner.close()
    for name, step in (("outer", 1), ("inner", 2)):
        events = EventAccumulator(str(tmp_path / name)).Reload()
        assert events.Tags()["tensors"] == [name]
        assert [one.step for one in events.Tensors(name)] == [step]


def test_a_summary_s_step_is_the_writer_s_and_pictures_are_of_bytes_or_shares(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    found = []
    for name, root in (("ours", minicnn), ("theirs", tf)):
        writer = root.summary.create_file_writer(str(tmp_path / name))
        with writer.as_default(step=7):
            root.summary.scalar("a", 0.25)
            root.summary.scalar("a", 0.5, step=9)
            root.summary.image("bytes", BYTES[None].repeat(5, 0), max_outputs=2)
            root.summary.image("shares", IMAGES)
            root.summary.histogram("h", np.arange(8.0))
        writer.close()
        events = EventAccumulator(str(tmp_path / name), size_guidance={"tensors": 0}).Reload()
        tags = sorted(events.Tags()["tensors"])
        found.append([(tag, one.step, make_ndarray(one.tensor_proto)) for tag in tags for one in events.Tensors(tag)])
    for (tag, step, ours), (its_tag, its_step, theirs) in zip(*found, strict=True):
        assert (tag, step, len(ours.ravel())) == (its_tag, its_step, len(theirs.ravel()))
        if tag == "a":
            assert ours == theirs
        if tag in ("bytes", "shares"):
            for one, other in zip(ours[2:], theirs[2:], strict=True):
                np.testing.assert_array_equal(*(tf.io.decode_png(png) for png in (one, other)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: minicnn.boolean_mask(LOGITS, [True, False]), r"Shapes \(4, 5\) and \(2,\) are incompatible"),
        (lambda: minicnn.gather_nd(LOGITS, [[4, 0]]), r"must be places of the shape \(4, 5\). Received: indices=\[\[4, 0\]\]"),
        (lambda: minicnn.gather_nd(LOGITS, [[-1, 0]]), "must be places of the shape"),
        (lambda: minicnn.math.confusion_matrix([0, 3], [0, 1], 3), r"must be classes from 0 to 2 \(num_classes=3\)"),
        (lambda: minicnn.math.confusion_matrix([0, -1], [0, 1]), "must be classes from 0 to 1"),
        (lambda: minicnn.where(LOGITS > 0, LOGITS), "takes both `x` and `y`, or neither"),
        (lambda: minicnn.nn.conv1d(IMAGES[0], KERNEL[0], 1, "SAME", data_format="NCW"), "data_format='NCW'"),
        (lambda: minicnn.nn.pool(IMAGES, 2, "MEAN"), '`pooling_type` must be "MAX" or "AVG". Received: pooling_type=\'MEAN\''),
        (lambda: minicnn.io.encode_png(IMAGE), r"`image` must be of uint8, \(H, W, C\). Received: float32"),
        (lambda: minicnn.io.encode_jpeg(BYTES[0]), r"Received: uint8, shape \(10, 3\)"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_names_that_are_others_here():
    assert minicnn.is_tensor(minicnn.Variable(1.0))
    assert not minicnn.is_tensor([1.0])
    assert minicnn.case([(False, lambda: 1)], default=lambda: 3) == 3
    normal, uniform = minicnn.random_normal_initializer(2.0, 0.5, 3), minicnn.random_uniform_initializer(2.0, 3.0, 3)
    assert normal.get_config() == {"mean": 2.0, "stddev": 0.5, "seed": 3}
    assert uniform.get_config() == {"minval": 2.0, "maxval": 3.0, "seed": 3}
    minicnn.set_random_seed(1)
    dropped = np.asarray(minicnn.nn.dropout(np.ones((50, 40), "float32"), 0.25, seed=2))
    assert set(np.unique(dropped)) == {0, np.float32(1 / 0.75)}
    assert minicnn.get_logger().name == "minicnn"
    assert minicnn.no_op() is None
    with minicnn.control_dependencies([LOGITS]), minicnn.init_scope():
        assert minicnn.group(LOGITS) is None
