"""TensorFlow's names: each function against TensorFlow's own, by TensorFlow's names of its arguments."""

import numpy as np
import pytest
import tensorflow as tf

import minicnn
from minicnn.tape import GradientTape

DRAW = np.random.default_rng(3)
IMAGE = DRAW.random((7, 10, 3), np.float32)
IMAGES = DRAW.random((2, 6, 9, 3), np.float32)
BYTES = DRAW.integers(0, 256, (7, 10, 3), np.uint8)
BOXES = np.array([[0.1, 0.2, 0.7, 0.9], [0.0, 0.0, 1.0, 1.0], [0.8, 0.7, 0.1, 0.2], [-0.2, 0.1, 0.5, 1.3]], np.float32)
KERNEL = DRAW.normal(size=(3, 2, 3, 4)).astype(np.float32)
VOLUMES = DRAW.random((2, 4, 5, 6, 3), np.float32)
KERNELS_3D = DRAW.normal(size=(2, 3, 2, 3, 4)).astype(np.float32)
DEPTHWISE = DRAW.normal(size=(3, 3, 3, 2)).astype(np.float32)
SQUARE = DRAW.normal(size=(2, 3, 3)).astype(np.float32) + 2 * np.eye(3, dtype=np.float32)
_CORNERS = DRAW.uniform(-0.3, 0.8, (2, 12, 3, 2))
MANY_BOXES = np.concatenate([_CORNERS, _CORNERS + DRAW.uniform(0.3, 0.6, (2, 12, 3, 2))], -1).astype(np.float32)
SCORES = DRAW.permutation(72).reshape(2, 12, 3).astype(np.float32) / 72

CALLS = [  # the name, its arguments, and those by name
    ("image.crop_to_bounding_box", (IMAGE, 1, 2, 3, 4), {}),
    ("image.crop_to_bounding_box", (IMAGES,), {"offset_height": 0, "offset_width": 1, "target_height": 6, "target_width": 8}),
    ("image.pad_to_bounding_box", (IMAGE, 1, 2, 9, 14), {}),
    ("image.pad_to_bounding_box", (BYTES, 0, 0, 7, 12), {}),
    ("image.central_crop", (IMAGE, 0.5), {}),
    ("image.central_crop", (IMAGES,), {"central_fraction": 0.7}),
    ("image.resize_with_crop_or_pad", (IMAGE, 4, 15), {}),
    ("image.resize_with_crop_or_pad", (IMAGES, 9, 4), {}),
    ("image.resize_with_pad", (IMAGE, 12, 9), {}),
    ("image.resize_with_pad", (BYTES, 5, 12), {"method": "nearest"}),
    ("image.flip_left_right", (IMAGES,), {}),
    ("image.flip_up_down", (BYTES,), {}),
    ("image.transpose", (IMAGE,), {}),
    *(("image.rot90", (IMAGE,), {"k": k}) for k in (1, 2, 3, 4)),
    ("image.adjust_brightness", (IMAGE, 0.2), {}),
    ("image.adjust_brightness", (BYTES, -0.3), {}),
    ("image.adjust_contrast", (IMAGES, 1.7), {}),
    ("image.adjust_contrast", (BYTES, 0.4), {}),
    ("image.adjust_saturation", (IMAGE, 2.5), {}),
    ("image.adjust_saturation", (BYTES,), {"saturation_factor": 0.3}),
    ("image.adjust_hue", (IMAGE, 0.3), {}),
    ("image.adjust_hue", (IMAGES, -0.7), {}),
    ("image.adjust_gamma", (IMAGE, 2.0, 0.5), {}),
    ("image.grayscale_to_rgb", (IMAGE[..., :1],), {}),
    ("image.per_image_standardization", (IMAGES,), {}),
    ("image.per_image_standardization", (np.full((4, 4, 1), 3, np.uint8),), {}),
    ("image.total_variation", (IMAGES,), {}),
    ("image.image_gradients", (IMAGES,), {}),
    ("image.convert_image_dtype", (BYTES, "float32"), {}),
    ("image.convert_image_dtype", (BYTES, "uint16"), {}),
    ("image.convert_image_dtype", (IMAGE, "uint8"), {}),
    ("image.convert_image_dtype", (IMAGE * 3 - 1, "uint8"), {"saturate": True}),
    ("image.crop_and_resize", (IMAGES, BOXES, [0, 1, 1, 0], (4, 5)), {}),
    ("image.crop_and_resize", (IMAGES, BOXES, [1, 1, 0, 0], (1, 3)), {"extrapolation_value": 9.0}),
    ("image.crop_and_resize", (IMAGES, BOXES, [1, 0, 0, 1], (3, 3)), {"method": "nearest"}),
    ("where", (IMAGES > 0.9,), {}),
    ("where", (IMAGES > 0.9,), {"x": IMAGES, "y": 0.0}),
    ("nn.conv2d", (IMAGES, KERNEL), {"strides": 2, "padding": "SAME"}),
    ("nn.conv2d", (IMAGES, KERNEL, [1, 2, 1, 1]), {"padding": [[0, 0], [1, 2], [0, 1], [0, 0]], "dilations": 1}),
    ("nn.depthwise_conv2d", (IMAGES, DEPTHWISE), {"strides": (1, 1, 1, 1), "padding": "VALID"}),
    ("nn.conv2d_transpose", (IMAGES,), {"filters": KERNEL.transpose(0, 1, 3, 2), "output_shape": (2, 12, 18, 4), "strides": 2}),
    ("nn.max_pool2d", (IMAGES,), {"ksize": 2, "strides": 2, "padding": "VALID"}),
    ("nn.max_pool", (-1 - IMAGES, 3, 1), {"padding": [[0, 0], [1, 1], [1, 1], [0, 0]]}),
    ("nn.avg_pool2d", (IMAGES,), {"ksize": [1, 3, 2, 1], "strides": [1, 2, 2, 1], "padding": "SAME"}),
    ("nn.conv3d", (VOLUMES, KERNELS_3D, [1, 2, 1, 2, 1]), {"padding": "SAME"}),
    ("nn.conv3d", (VOLUMES,), {"filters": KERNELS_3D, "strides": (1, 1, 1, 1, 1), "padding": "VALID", "dilations": [1] * 5}),
    (
        "nn.conv3d_transpose",
        (VOLUMES, KERNELS_3D.transpose(0, 1, 2, 4, 3)),
        {"output_shape": (2, 8, 5, 12, 4), "strides": [1, 2, 1, 2, 1]},
    ),
    ("nn.max_pool3d", (VOLUMES,), {"ksize": 2, "strides": 2, "padding": "VALID"}),
    ("nn.avg_pool3d", (VOLUMES,), {"ksize": [1, 3, 2, 1, 1], "strides": [1, 2, 2, 1, 1], "padding": "SAME"}),
    ("nn.bias_add", (IMAGES, np.float32([1, 2, 3])), {}),
    ("nn.leaky_relu", (IMAGES - 0.5,), {}),
    ("nn.leaky_relu", (IMAGES - 0.5,), {"alpha": 0.1}),
    ("nn.softmax", (), {"logits": IMAGES}),
    ("nn.moments", (IMAGES,), {"axes": [1, 2]}),
    ("nn.batch_normalization", (IMAGES, IMAGE[0, 0], IMAGE[1, 1], None, IMAGE[2, 2], 1e-3), {}),
    ("nn.l2_loss", (IMAGES,), {}),
    ("nn.embedding_lookup", (IMAGES[0, 0], [1, 0, 4]), {}),
    ("argmax", (IMAGES[0, 0],), {}),
    ("argmin", (), {"input": IMAGES[0, 0], "axis": -1}),
    ("split", (IMAGES[0, 0], [4, -1, 3]), {}),
    ("split", (), {"value": IMAGES[0, 0], "num_or_size_splits": 3, "axis": 1}),
    ("pad", (IMAGES[0, 0], [[1, 2], [0, 1]]), {"mode": "REFLECT"}),
    ("pad", (), {"tensor": IMAGES[0, 0], "paddings": [[1, 2], [0, 1]], "constant_values": 4}),
    ("transpose", (), {"a": IMAGES, "perm": [0, 3, 1, 2], "name": "swapped"}),
    ("reshape", (), {"tensor": IMAGES, "shape": (2, -1)}),
    ("tile", (), {"input": IMAGES[0, 0], "multiples": [2, 1]}),
    ("repeat", (IMAGES[0, 0],), {"repeats": [36], "axis": 0}),
    ("repeat", (IMAGES[0, 0], [2, 0, 1]), {"axis": -1}),
    ("clip_by_value", (IMAGES,), {"clip_value_min": 0.2, "clip_value_max": 0.7}),
    ("reduce_mean", (), {"input_tensor": IMAGES, "axis": (1, 2), "keepdims": True}),
    ("math.reduce_variance", (IMAGES, 0), {}),
    ("math.cumprod", (IMAGES[0, 0],), {}),
    ("cumsum", (IMAGES[0, 0],), {"axis": 1}),
    ("math.cumsum", (IMAGES,), {"axis": -1, "exclusive": True}),
    ("cumsum", (IMAGES,), {"axis": 1, "exclusive": True, "reverse": True}),
    ("math.cumprod", (IMAGES,), {"axis": -1, "exclusive": True}),
    ("math.cumprod", (IMAGES,), {"axis": 2, "reverse": True, "name": "passed"}),
    ("gather", (IMAGES,), {"indices": np.array([[0, 3, 3], [5, 1, 0]]), "axis": 1, "batch_dims": 1}),
    ("gather", (IMAGES, np.zeros((2, 6, 4), "int32")), {"batch_dims": 2}),
    ("gather", (IMAGES, [2, 0]), {"axis": 2}),
    ("math.sin", (IMAGES,), {}),
    ("math.divide_no_nan", (IMAGES[0], np.where(IMAGES[1] > 0.5, IMAGES[1], 0)), {}),
    ("acos", (IMAGES,), {}),
    ("add_n", ([IMAGES, IMAGES, IMAGES],), {}),
    ("one_hot", ([0, 2, 1], 3), {"on_value": 0.9, "off_value": 0.05}),
    ("linalg.diag_part", (IMAGES[0, :6, :6, 0],), {}),
    ("nn.relu", (), {"features": IMAGES - 0.5, "name": "passed"}),
    ("nn.local_response_normalization", (IMAGES, 1), {"bias": 2.0, "alpha": 1e-2, "beta": 0.75}),
    ("nn.lrn", (IMAGES,), {}),
    ("nn.weighted_cross_entropy_with_logits", (IMAGES, IMAGES * 4 - 2, 3.0), {}),
    ("nn.crelu", (IMAGES - 0.5,), {}),
    ("nn.max_pool", (IMAGES, (1, 1, 1, 3), (1, 1, 1, 3), "VALID"), {}),
    ("nn.conv1d", (IMAGES[0], KERNEL[0], 2, "SAME"), {}),
    ("nn.max_pool1d", (IMAGES[0], 2, 2, "VALID"), {}),
    ("nn.avg_pool1d", (IMAGES[0], 3, [1, 2, 1], "SAME"), {}),
    ("nn.pool", (IMAGES, (2, 2), "AVG"), {"strides": (2, 2)}),
    ("nn.atrous_conv2d", (IMAGES, KERNEL, 2, "SAME"), {}),
    ("nn.separable_conv2d", (IMAGES, DEPTHWISE, KERNEL[:1, :1].repeat(2, 2), (1, 1, 1, 1), "SAME"), {}),
    ("nn.zero_fraction", (np.float32([0, 1, 0]),), {}),
    ("nn.compute_average_loss", (IMAGES[0, 0, :, 0],), {"global_batch_size": 4}),
    ("clip_by_norm", (IMAGES, 2.0), {"axes": [1]}),
    ("gather_nd", (IMAGES, [[0, 1], [1, 2]]), {}),
    ("gather_nd", (IMAGES, [[[1]], [[2]]]), {"batch_dims": 1}),
    ("boolean_mask", (IMAGES, IMAGES[..., 0] > 0.5), {}),
    ("boolean_mask", (IMAGES, IMAGES[0, :, :, 0] > 0.5), {"axis": 1}),
    ("scatter_nd", ([[0], [2]], IMAGES[0, :2], (4, 9, 3)), {}),
    ("tensor_scatter_nd_add", (IMAGES[0], [[0], [2]], IMAGES[1, :2]), {}),
    ("tensor_scatter_nd_sub", (IMAGES[0], [[0], [2]], IMAGES[1, :2]), {}),
    ("tensor_scatter_nd_update", (IMAGES[0], [[0], [2]], IMAGES[1, :2]), {}),
    ("slice", (IMAGES, [0, 1, 0, 0], [1, -1, 2, 3]), {}),
    ("sequence_mask", ([1, 3], 4), {}),
    ("math.confusion_matrix", ([0, 1, 2, 2], [0, 2, 2, 2]), {"num_classes": 4}),
    ("histogram_fixed_width", (IMAGES, [0.0, 0.8]), {"nbins": 5}),
    ("unique", ([3, 1, 3, 2],), {}),
    ("math.xlogy", (np.float32([0, 2]), np.float32([0, 3])), {}),
    *((f"math.unsorted_segment_{kind}", (IMAGES[0], [0, 2, 0, 1, 1, 2], 4), {}) for kind in ("sum", "mean", "max", "min")),
    ("math.reduce_euclidean_norm", (IMAGES,), {"axis": 1}),
    ("linalg.global_norm", ([IMAGES, IMAGES],), {}),
    ("linalg.band_part", (IMAGES, 1, 0), {}),
    ("linalg.diag", (IMAGES[0, 0],), {}),
    ("linalg.normalize", (IMAGES,), {"axis": 1}),
    ("linalg.matvec", (IMAGES[0], IMAGES[1, :, 0]), {}),
    ("linalg.det", (SQUARE,), {}),
    ("linalg.inv", (SQUARE,), {}),
    ("linalg.solve", (SQUARE, SQUARE[:, :, :2]), {"adjoint": True}),
    ("linalg.triangular_solve", (SQUARE, SQUARE[:, :, :2]), {}),
    ("linalg.triangular_solve", (SQUARE, SQUARE[:, :, :2]), {"lower": False, "adjoint": True}),
    ("linalg.svd", (SQUARE,), {"compute_uv": False}),
    ("scan", (lambda a, b: a + b, IMAGES), {}),
    ("foldl", (lambda a, b: a * b, IMAGES), {"initializer": np.float32(2)}),
    ("while_loop", (lambda i, x: i < 3, lambda i, x: (i + 1, x * 2), (np.int32(0), IMAGES)), {}),
    ("switch_case", (np.array(1), [lambda: IMAGES, lambda: IMAGES + 1]), {}),
    ("shape", (IMAGES,), {}),
    ("rank", (IMAGES,), {}),
    ("size", (IMAGES,), {}),
    ("image.draw_bounding_boxes", (IMAGES, BOXES[:2].reshape(2, 1, 4).repeat(2, 1)), {"colors": None}),
    ("image.draw_bounding_boxes", (IMAGES, BOXES.reshape(2, 2, 4), np.float32([[1, 0, 0.5], [0, 0, 1]])), {}),
    ("image.non_max_suppression", (BOXES, np.float32([0.3, 0.9, 0.5, 0.7]), 3), {"iou_threshold": 0.3}),
    ("image.non_max_suppression", (BOXES, np.float32([0.3, 0.9, 0.5, 0.7]), 9, 0.9, 0.4), {}),
    ("image.combined_non_max_suppression", (MANY_BOXES, SCORES, 3, 9), {"score_threshold": 0.2}),
    ("image.combined_non_max_suppression", (MANY_BOXES, SCORES, 2, 4), {"clip_boxes": False, "iou_threshold": 0.2}),
    ("image.combined_non_max_suppression", (MANY_BOXES[:, :, :1], SCORES, 2, 20), {"pad_per_class": True}),
]


def find(root, path):
    for name in path.split("."):
        root = getattr(root, name)
    return root


@pytest.mark.parametrize(("path", "args", "named"), CALLS, ids=[f"{path}-{i}" for i, (path, *_) in enumerate(CALLS)])
def test_a_function_computes_what_tensorflows_does(path, args, named):
    tensors = [tf.constant(one) if isinstance(one, np.ndarray) else one for one in args]
    ours, theirs = find(minicnn, path)(*args, **named), find(tf, path)(*tensors, **named)
    several = isinstance(ours, (list, tuple))
    for got, expected in zip(ours if several else [ours], theirs if several else [theirs], strict=True):
        got, expected = np.asarray(got), np.asarray(expected)
        assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
        off = 1 if got.dtype.kind in "iu" and "adjust" in path else 0  # a rounding's last bit
        np.testing.assert_allclose(got.astype("float64"), expected.astype("float64"), rtol=2e-5, atol=off or 2e-5)


def test_crop_and_resize_hands_gradients_to_the_images():
    with GradientTape() as tape:
        images = minicnn.constant(IMAGES)
        tape.watch(images)
        y = minicnn.reduce_sum(minicnn.image.crop_and_resize(images, BOXES, [0, 1, 1, 0], (4, 5)) ** 2)
    with tf.GradientTape() as theirs:
        x = tf.constant(IMAGES)
        theirs.watch(x)
        z = tf.reduce_sum(tf.image.crop_and_resize(x, BOXES, [0, 1, 1, 0], (4, 5)) ** 2)
    np.testing.assert_allclose(tape.gradient(y, images), theirs.gradient(z, x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("axis", [None, 0, 1])
def test_repeating_by_several_numbers_has_a_gradient(axis):
    x = DRAW.random((2, 3), np.float32)
    repeats = [3, 0, 1, 2, 1, 1] if axis is None else [2, 0, 1][: x.shape[axis]]
    found = []
    for one in (minicnn, tf):
        tensor = one.constant(x)
        with one.GradientTape() as tape:
            tape.watch(tensor)
            y = one.reduce_sum(one.repeat(tensor, repeats, axis=axis) ** 3)
        found.append(tape.gradient(y, tensor))
    np.testing.assert_allclose(*found, rtol=1e-5)


def test_chance_flips_half_of_the_images_and_crops_everywhere():
    images = np.tile(np.arange(4, dtype=np.float32).reshape(1, 1, 4, 1), (400, 2, 1, 1))
    for name, flip in (("random_flip_left_right", "flip_left_right"), ("random_flip_up_down", "flip_up_down")):
        batch = images if "left" in name else images.transpose(0, 2, 1, 3)
        flipped = np.asarray(getattr(minicnn.image, name)(batch, seed=1))
        turned = (flipped == np.asarray(getattr(minicnn.image, flip)(batch))).all((1, 2, 3))
        kept = (flipped == batch).all((1, 2, 3))
        assert (turned ^ kept).all()
        assert 150 < turned.sum() < 250
        one = [np.asarray(getattr(minicnn.image, name)(batch[0], seed=i)).ravel()[0] for i in range(60)]
        assert 15 < sum(value == 3 for value in one) < 45
    starts = {int(minicnn.image.random_crop(images[0], (2, 2, 1))[0, 0, 0]) for _ in range(60)}
    assert starts == {0, 1, 2}
    a, b = (np.asarray(minicnn.image.stateless_random_crop(IMAGE, (3, 3, 3), seed=(1, 2))) for _ in range(2))
    assert (a == b).all()
    assert any((a == IMAGE[i : i + 3, j : j + 3]).all() for i in range(5) for j in range(8))


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation", "hue"])
def test_chance_recolors_within_its_bounds(name):
    limits = (0.2,) if name in ("brightness", "hue") else (0.5, 1.5)
    ours, by_hand = getattr(minicnn.image, f"random_{name}"), getattr(tf.image, f"adjust_{name}")
    low, high = (-0.2, 0.2) if len(limits) == 1 else limits
    grid = np.stack([np.asarray(by_hand(IMAGE, float(v))) for v in np.linspace(low, high, 201)])
    for seed in range(5):
        got = np.asarray(ours(IMAGE, *limits, seed=seed))
        assert np.abs(grid - got).max((1, 2, 3)).min() < 0.02
        stateless = getattr(minicnn.image, f"stateless_random_{name}")
        np.testing.assert_array_equal(stateless(IMAGE, *limits, seed=(seed, 3)), stateless(IMAGE, *limits, seed=(seed, 3)))


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3), ("RGBA", 4)])
def test_a_picture_is_read_and_decoded_as_tensorflow_does(tmp_path, mode, channels):
    from PIL import Image

    path = tmp_path / "picture.png"
    pixels = DRAW.integers(0, 256, (5, 6, channels), np.uint8)
    Image.fromarray(pixels.squeeze(), mode).save(path)
    contents = minicnn.io.read_file(str(path))
    assert contents == path.read_bytes() == minicnn.io.read_file(path)
    np.testing.assert_array_equal(minicnn.io.decode_png(contents), pixels)
    for wanted in (0, 1, 3) if channels < 4 else (0, 4):
        np.testing.assert_allclose(
            minicnn.image.decode_png(contents, channels=wanted).astype(float), tf.image.decode_png(contents, wanted), atol=1
        )
    np.testing.assert_allclose(minicnn.io.decode_image(contents, dtype="float32"), pixels / 255.0, rtol=1e-6)
    with pytest.raises(ValueError, match="cannot be read as a picture"):
        minicnn.io.decode_jpeg(b"no picture")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: minicnn.image.crop_to_bounding_box(IMAGE, 3, 0, 5, 5), r"offset \(3, 0\), target \(5, 5\)"),
        (lambda: minicnn.image.pad_to_bounding_box(IMAGE, 1, 0, 7, 12), "a target that holds the image"),
        (lambda: minicnn.image.central_crop(IMAGE, 1.5), "central_fraction=1.5"),
        (lambda: minicnn.image.random_crop(IMAGE, (8, 8, 3)), "a `size` within the tensor"),
        (lambda: minicnn.image.random_contrast(IMAGE, 2.0, 1.0), "lower=2.0, upper=1.0"),
        (lambda: minicnn.image.crop_and_resize(IMAGES, BOXES, [0] * 4, (2, 2), "cubic"), "method='cubic'"),
        (lambda: minicnn.io.decode_png(b"", channels=2), "channels=2"),
        (lambda: minicnn.nn.conv2d(IMAGES, KERNEL, (1, 1, 1, 3), "VALID"), r"Received: \(1, 1, 1, 3\)"),
        (lambda: minicnn.nn.conv2d(IMAGES, KERNEL, 1, "SAME", data_format="NCHW"), "data_format='NCHW'"),
        (lambda: minicnn.nn.conv2d_transpose(IMAGES, KERNEL.transpose(0, 1, 3, 2), (2, 5, 5, 4), 2), "output_shape="),
        (lambda: minicnn.nn.conv3d(VOLUMES, KERNELS_3D, (2, 1, 1, 1, 1), "SAME"), r"over space: \(1, slices, rows, columns"),
        (lambda: minicnn.nn.max_pool3d(VOLUMES, 2, 2, "SAME", data_format="NCDHW"), "\"NDHWC\". Received: data_format='NCDHW'"),
        (lambda: minicnn.gather(IMAGES, np.zeros((2, 3)), axis=2, batch_dims=1), "axis=2, batch_dims=1"),
        (lambda: minicnn.split(IMAGES[0, 0], [4, 3]), "must sum to the size of axis 0, 9"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    "named",
    [
        {"bounding_boxes": np.zeros((0, 0, 4), np.float32), "use_image_if_no_bounding_boxes": True},
        {
            "bounding_boxes": BOXES[None, :1],
            "min_object_covered": 0.9,
            "aspect_ratio_range": (0.3, 3.0),
            "area_range": (0.1, 0.5),
        },
        {"bounding_boxes": BOXES[None, :1], "min_object_covered": 1.0, "area_range": (0.01, 0.02)},  # never: the whole image
    ],
)
def test_parts_of_an_image_are_drawn_as_tensorflow_draws_them(named):
    """The same places and sizes on the average, and the same bounds."""
    drawn = []
    for library in (tf, minicnn):
        draw = library.image.stateless_sample_distorted_bounding_box
        found = [draw(image_size=(40, 60, 3), seed=(n, 1), **named) for n in range(400)]
        for begin, size, box in found[:5]:
            part = np.concatenate([np.asarray(begin)[:2], np.asarray(begin)[:2] + np.asarray(size)[:2]])
            np.testing.assert_allclose(np.asarray(box)[0, 0], part / [40, 60, 40, 60], rtol=1e-6)
        drawn.append(np.array([np.concatenate([one.begin, one.size]) for one in found], np.float64))
    theirs, ours = drawn
    spread = theirs.std(0)
    assert (np.abs(theirs.mean(0) - ours.mean(0)) <= 4.5 * spread * np.sqrt(2 / 400)).all()
    assert (np.abs(spread - ours.std(0)) <= 0.2 * spread).all()
    assert (np.abs(theirs.min(0) - ours.min(0)) <= 3).all()
    assert (np.abs(theirs.max(0) - ours.max(0)) <= 3).all()
    with pytest.raises(ValueError, match="No bounding boxes provided"):
        minicnn.image.sample_distorted_bounding_box((40, 60, 3), np.zeros((0, 0, 4)))


@pytest.mark.parametrize("own_boxes", [False, True])
@pytest.mark.parametrize(
    "named", [{}, {"iou_threshold": 0.3, "score_threshold": 0.4, "clip_boxes": False}, {"pad_per_class": True}]
)
def test_the_best_boxes_of_all_classes(own_boxes, named):
    r = np.random.default_rng(1)
    centers, sizes = r.uniform(0, 1, (2, 12, 3 if own_boxes else 1, 2)), r.uniform(0.1, 0.8, (2, 12, 3 if own_boxes else 1, 2))
    boxes = np.concatenate([centers - sizes / 2, centers + sizes / 2], -1).astype(np.float32)
    scores = r.random((2, 12, 3), np.float32)
    found = [library.image.combined_non_max_suppression(boxes, scores, 4, 15, **named) for library in (tf, minicnn)]
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(np.asarray(other), np.asarray(one))
    assert (found[0].nmsed_classes.shape, found[0].valid_detections.dtype) == (found[1].nmsed_classes.shape, "int32")


def test_what_runs_functions():
    images = minicnn.constant(IMAGES)
    np.testing.assert_allclose(minicnn.map_fn(lambda x: x * 2, images), IMAGES * 2)
    sums, first = minicnn.map_fn(lambda pair: (pair[0] + pair[1], pair[0]), (IMAGES, IMAGES))
    np.testing.assert_allclose(sums, IMAGES * 2)
    np.testing.assert_allclose(first, IMAGES)
    assert minicnn.cond(minicnn.constant(True), lambda: 1, lambda: 2) == 1
    order = np.asarray(minicnn.random.shuffle(np.arange(50.0).reshape(2, 25), axis=1, seed=4))
    assert (np.sort(order[0]) == np.arange(25)).all()
    assert (order[1] == order[0] + 25).all()
    assert (order[0] != range(25)).any()
    assert [one.device_type for one in minicnn.config.list_physical_devices()] == ["CPU"]
    assert minicnn.config.list_physical_devices("GPU") == []
    with minicnn.device("/GPU:0"):
        assert minicnn.Tensor is type(images)


def test_a_module_finds_its_variables_as_tensorflows_does():
    def network(K):
        class Dense(K.Module):
            def __init__(self, n, name=None):
                super().__init__(name=name)
                self.w, self.b = K.Variable(np.ones((n, 2), "float32"), name="w"), K.Variable(np.zeros(2, "float32"), name="b")

            def __call__(self, x):
                return K.nn.relu(K.matmul(x, self.w) + self.b)

        class Network(K.Module):
            def __init__(self):
                super().__init__()
                self.parts = [Dense(3), {"last": Dense(2)}]
                self.again = self.parts[0]
                self.steps = K.Variable(0.0, trainable=False)

            def __call__(self, x):
                return self.parts[1]["last"](self.parts[0](x))

        return Network()

    x = DRAW.random((4, 3), np.float32)
    ours, theirs = network(minicnn), network(tf)
    assert [v.shape for v in ours.variables] == [v.shape for v in theirs.variables]
    assert [v.shape for v in ours.trainable_variables] == [v.shape for v in theirs.trainable_variables]
    assert len(ours.submodules) == len(theirs.submodules) == 2
    assert ours.name == "network"
    with GradientTape() as tape, ours.name_scope:
        y = minicnn.reduce_sum(ours(minicnn.constant(x)))
    with tf.GradientTape() as other:
        z = tf.reduce_sum(theirs(tf.constant(x)))
    gradients = zip(
        tape.gradient(y, list(ours.trainable_variables)), other.gradient(z, list(theirs.trainable_variables)), strict=True
    )
    for gradient, expected in gradients:
        np.testing.assert_allclose(gradient, expected, rtol=1e-5)


def test_a_variable_computes_to_a_tensor_outside_of_a_tape_too():
    w = minicnn.Variable(2.0)
    assert (w + 1.0).numpy() == 3.0
    assert (np.float32(3) * w).numpy() == 6.0
    with GradientTape() as tape:
        y = w * w
    assert tape.gradient(y, [w, w + 1.0])[1] is None
    w += 1.0
    assert float(w) == 3.0


def test_the_element_of_a_data_set_that_has_one():
    data = minicnn.data.Dataset.from_tensor_slices(np.arange(3))
    assert data.take(1).get_single_element() == 0
    for count, said in ((0, "no element"), (2, "more than one element")):
        with pytest.raises(ValueError, match=f"Dataset had {said}"):
            data.take(count).get_single_element()


def loop_of_ones_own():
    model = minicnn.Sequential([minicnn.Input((3,)), minicnn.layers.Dense(2), minicnn.layers.BatchNormalization()])
    optimizer = minicnn.optimizers.Adam(0.1)
    optimizer.build(model.trainable_variables)
    return model, optimizer, minicnn.Variable(0, dtype="int32", trainable=False)


def test_a_checkpoint_brings_back_models_optimizers_and_variables(tmp_path):
    model, optimizer, step = loop_of_ones_own()
    checkpoint = minicnn.train.Checkpoint(model=model, optimizer=optimizer, step=step)
    assert minicnn.train.latest_checkpoint(tmp_path) is None
    assert checkpoint.restore(None).expect_partial()
    manager = minicnn.train.CheckpointManager(checkpoint, tmp_path / "kept", max_to_keep=2)
    for _ in range(11):
        optimizer.apply_gradients([(np.ones(v.shape, "float32"), v) for v in model.trainable_variables])
        step.assign_add(1)
        manager.save()
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == ["ckpt-10.npz", "ckpt-11.npz"]
    assert manager.latest_checkpoint == str(tmp_path / "kept" / "ckpt-11")
    other, its_optimizer, its_step = loop_of_ones_own()
    again = minicnn.train.Checkpoint(model=other, optimizer=its_optimizer, step=its_step)
    again.restore(manager.latest_checkpoint).assert_consumed()
    pairs = zip(
        [*model.variables, *optimizer.variables, step], [*other.variables, *its_optimizer.variables, its_step], strict=True
    )
    for one, two in pairs:
        np.testing.assert_array_equal(one.numpy(), two.numpy())
    assert again.save(tmp_path / "x") == str(tmp_path / "x-12")


@pytest.mark.parametrize("saved_unbuilt", [False, True])
def test_an_optimizer_without_variables_reads_them_when_it_makes_them(tmp_path, saved_unbuilt):
    """A program that goes on restores before its first step, as in TensorFlow's guides."""
    model, optimizer, _ = loop_of_ones_own()
    step = lambda optimizer, model: optimizer.apply_gradients([(v * 0 + 1, v) for v in model.trainable_variables])  # noqa: E731
    if saved_unbuilt:
        optimizer = minicnn.optimizers.Adam(0.1)
    else:
        step(optimizer, model)
    path = minicnn.train.Checkpoint(model=model, optimizer=optimizer).save(tmp_path / "kept")
    other, fresh = loop_of_ones_own()[0], minicnn.optimizers.Adam(0.5)
    minicnn.train.Checkpoint(model=other, optimizer=fresh).restore(path)
    for _ in range(2):
        step(optimizer, model)
        step(fresh, other)
    for one, two in zip([*model.variables, *optimizer.variables], [*other.variables, *fresh.variables], strict=True):
        np.testing.assert_array_equal(one.numpy(), two.numpy())


def test_an_optimizer_s_variables_of_another_model_are_refused_when_it_makes_them(tmp_path):
    _, optimizer, _ = loop_of_ones_own()
    path = minicnn.train.Checkpoint(optimizer=optimizer).write(tmp_path / "one")
    fresh = minicnn.optimizers.Adam(0.5)
    minicnn.train.Checkpoint(optimizer=fresh).restore(path)
    with pytest.raises(ValueError, match=r"one.npz cannot be read as a checkpoint: optimizer.float32 has"):
        fresh.build([minicnn.Variable(np.zeros(3, "float32"))])


def test_a_checkpoint_that_does_not_fit_changes_nothing(tmp_path):
    model, optimizer, step = loop_of_ones_own()
    path = minicnn.train.Checkpoint(optimizer=optimizer, model=model).write(tmp_path / "one")
    larger = minicnn.Sequential([minicnn.Input((3,)), minicnn.layers.Dense(4)])
    before = optimizer.variables[0].numpy(), larger.get_weights()
    with pytest.raises(
        ValueError,
        match=r"one.npz cannot be read as a checkpoint: model.float32 has 16 numbers here, and 16 in the file, or other shapes",
    ):
        minicnn.train.Checkpoint(optimizer=optimizer, model=larger).restore(path)
    with pytest.raises(ValueError, match="lacks step"):
        minicnn.train.Checkpoint(step=step).restore(path)
    (tmp_path / "one.npz").write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"one.npz cannot be read as a checkpoint"):
        minicnn.train.Checkpoint(model=model).restore(path)
    np.testing.assert_array_equal(optimizer.variables[0].numpy(), before[0])
    for weight, kept in zip(larger.get_weights(), before[1], strict=True):
        np.testing.assert_array_equal(weight, kept)
    with pytest.raises(ValueError, match="Received: model=3"):
        minicnn.train.Checkpoint(model=3)


def test_a_variable_takes_its_initializer_by_name():
    w = minicnn.Variable(shape=(3, 2), initializer="ones")
    np.testing.assert_array_equal(w.numpy(), np.ones((3, 2)))


def test_a_folder_s_pictures_are_cut_by_the_older_name_too(tmp_path):
    from PIL import Image

    (tmp_path / "one").mkdir()
    Image.fromarray(np.repeat(np.uint8([0, 100, 200]), 4)[None].repeat(4, 0)).save(tmp_path / "one" / "wide.png")
    arguments = {"labels": None, "image_size": (4, 4), "color_mode": "grayscale", "verbose": False}
    (pictures,) = minicnn.utils.image_dataset_from_directory(tmp_path, smart_resize=True, **arguments)
    assert (np.asarray(pictures) == 100).all()
    with pytest.raises(TypeError, match="Unknown keywords argument"):
        minicnn.utils.image_dataset_from_directory(tmp_path, smart=True, **arguments)


def test_a_light_s_way_through_a_volume_has_a_gradient():
    found = []
    for one in (minicnn, tf):
        x = one.constant(IMAGES)
        with one.GradientTape() as tape:
            tape.watch(x)
            y = one.reduce_sum(one.math.cumprod(x + 0.1, axis=-1, exclusive=True) * x)
        found.append(tape.gradient(y, x))
    np.testing.assert_allclose(*found, rtol=1e-4)


def test_a_part_of_a_variable_is_assigned_as_in_tensorflow():
    results = []
    for one in (minicnn, tf):
        v = one.Variable([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
        v[0, 1].assign(42)
        v[:, 2].assign([0.0, 1.0])
        v[1, ::2].assign(v[1, ::2] + 10.0)
        v.scatter_nd_update(indices=[[0, 2], [1, 1]], updates=[100.0, 200.0])
        v.scatter_nd_update([[1]], [[7.0, 8.0, 0.5]])
        with pytest.raises(TypeError):
            v[1] = [7.0, 8.0, 9.0]
        results.append((v.numpy(), v[0].numpy(), float(v[0, 1])))
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(ValueError, match="could not broadcast"):
        minicnn.Variable(np.zeros((2, 3)))[:, 0].assign([1.0, 2.0, 3.0])


def test_a_checkpoint_lists_its_variables(tmp_path):
    model, _, step = loop_of_ones_own()
    path = minicnn.train.Checkpoint(model=model, step=step).save(tmp_path / "kept")
    shapes = [list(variable.shape) for variable in [*model.variables, step]]
    assert [shape for _, shape in minicnn.train.list_variables(path)] == shapes
    assert minicnn.train.list_variables(tmp_path) == minicnn.train.list_variables(path)
    assert minicnn.train.list_variables(path)[0][0].startswith("model.float32/")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="Couldn't find"):
        minicnn.train.list_variables(tmp_path / "empty")
    (tmp_path / "bad-1.npz").write_bytes(b"damaged")
    with pytest.raises(ValueError, match="cannot be read as a checkpoint"):
        minicnn.train.list_variables(tmp_path / "bad-1")


def test_a_tensor_says_where_it_is_and_minicnn_which_it_is():
    with minicnn.device("CPU:0"):
        assert minicnn.random.uniform([2]).device.endswith("CPU:0")
    assert minicnn.__version__ == minicnn.version.VERSION


def test_gathering_by_image_has_a_gradient_and_a_graph():
    places = np.array([[0, 3, 3], [5, 1, 0]])
    found = []
    for one in (minicnn, tf):
        x = one.constant(IMAGES)
        with one.GradientTape() as tape:
            tape.watch(x)
            y = one.reduce_sum(one.gather(x, places, axis=1, batch_dims=1) ** 2)
        found.append(tape.gradient(y, x))
    np.testing.assert_allclose(*found, rtol=1e-5)
    inputs = [minicnn.Input((6, 9, 3)), minicnn.Input((3,), dtype="int32")]
    model = minicnn.Model(inputs, minicnn.gather(*inputs, axis=1, batch_dims=1))
    np.testing.assert_array_equal(model([IMAGES, places]), tf.gather(IMAGES, places, axis=1, batch_dims=1))


def test_optimizers_have_their_older_place_too():
    assert minicnn.optimizers.experimental.AdamW is minicnn.optimizers.AdamW
    from minicnn.optimizers.experimental import SGD

    assert SGD is minicnn.optimizers.SGD


def test_a_clone_has_functions_and_classes_that_nobody_registered():
    def halved(x):
        return x / 2

    class Doubled(minicnn.layers.Layer):
        def call(self, x):
            return x * 2

    model = minicnn.Sequential([minicnn.Input((3,)), minicnn.layers.Lambda(halved), Doubled(), Doubled()])
    clone = minicnn.models.clone_model(model)
    np.testing.assert_allclose(clone(np.ones((1, 3))), np.full((1, 3), 2.0))
    assert type(clone.layers[1]) is Doubled


def test_a_shape_has_tensorflows_methods():
    image = minicnn.Input((8, None, 3))
    assert image.get_shape().as_list() == [None, 8, None, 3]
    assert (image.shape.rank, image.shape.num_elements(), image.shape.is_fully_defined()) == (4, None, False)
    for known in (minicnn.constant(IMAGES), minicnn.Variable(IMAGES)):
        assert known.get_shape() == known.shape == IMAGES.shape
        assert (known.shape.as_list(), known.shape.num_elements()) == ([2, 6, 9, 3], 324)
    assert minicnn.TensorShape(None).as_list() == [None]
    tensor = minicnn.constant(IMAGES)
    assert (float(tensor[:1, :1, :1, 0]), int(tensor[:1, :1, 0, 0] * 10)) == (IMAGES[0, 0, 0, 0], int(IMAGES[0, 0, 0, 0] * 10))
    tensor.shape = (12, 27)
    assert tensor.shape.as_list() == [12, 27]


@pytest.mark.parametrize("shape", [None, (1, 2), [None, 2], tf.TensorShape([1, None]), (1, 3), [2], (None, None, None)])
def test_a_shape_is_set_where_it_is_the_tensors(shape):
    refusals = []
    for library in (tf, minicnn):
        try:
            library.constant([[1.0, 2.0]]).set_shape(shape)
        except ValueError as error:
            refusals.append(str(error))
    assert len(refusals) in (0, 2)
    assert len(set(refusals)) <= 1


def test_text_is_bytes_to_functions_of_numpys():
    """As within TensorFlow's data sets, whose names of files such functions decode."""
    found = []
    for library in (tf, minicnn):
        names = library.data.Dataset.from_tensor_slices((["ä.png", "b.png"], [1, 2]))
        pictures = names.map(
            lambda name, n, to=library: to.numpy_function(lambda a, b: len(a.decode()) + b, [name, n], to.int32)
        )
        read = [name.numpy().decode() for name, _ in names]
        found.append((read, [int(size) for size in pictures]))
        eager = library.py_function(lambda a: len(a.numpy().decode()), [library.constant("ä.png")], library.int64)
        assert int(eager) == 5
    assert found[0] == found[1] == (["ä.png", "b.png"], [6, 7])


def test_a_variable_takes_tensorflows_arguments():
    v = minicnn.Variable(initial_value=[1.0, 2.0], trainable=False, name="v", aggregation=None)
    assert (v.name, v.trainable, v.assign(v + 1, read_value=False).numpy().tolist()) == ("v", False, [2.0, 3.0])
    with GradientTape() as tape:
        tape.watch(v)
        y = minicnn.reduce_sum(v.read_value() ** 2)
    assert tape.gradient(y, v).tolist() == [4.0, 6.0]
    with pytest.raises(TypeError, match=r"none of the arguments \['initial'\]"):
        minicnn.Variable(1.0, initial=2.0)


def test_a_variable_s_rows_are_replaced_by_slices():
    values = []
    for root in (minicnn, tf):
        v = root.Variable(IMAGES[0])
        v.scatter_update(root.IndexedSlices(values=IMAGES[1, :2], indices=[4, 1]))
        values.append(v.numpy())
    np.testing.assert_array_equal(*values)


def test_an_element_of_a_tensor_is_a_tensor_and_a_number():
    vector = minicnn.constant([3, 1, 2])
    assert [one.numpy() for one in vector] == [vector[i].numpy() for i in range(3)] == [3, 1, 2]
    assert ("abcd"[vector[0]], {1: "one"}[vector[1]], f"{vector[2] / 4:.2f}", max(vector), sum(vector)) == (
        "d",
        "one",
        "0.50",
        3,
        6,
    )
    with pytest.raises(TypeError, match="unhashable type: 'Tensor'"):
        hash(vector)


def test_a_saved_model_is_a_folder_with_a_model(tmp_path):
    layers = minicnn.layers
    model = minicnn.Sequential([layers.Input((4,)), layers.Dense(2)])
    minicnn.saved_model.save(model, tmp_path / "saved" / "1")
    assert minicnn.saved_model.contains_saved_model(tmp_path / "saved" / "1")
    model.layers[0].bias.assign([1.0, 2.0])
    minicnn.saved_model.save(model, tmp_path / "saved" / "1")  # over the first one
    again = minicnn.saved_model.load(tmp_path / "saved" / "1")
    x = DRAW.random((3, 4), np.float32)
    np.testing.assert_array_equal(again(x), model(x))
    with pytest.raises(ValueError, match=r"takes a model.*Received: Module"):
        minicnn.saved_model.save(minicnn.Module(), tmp_path / "module")


def test_a_constant_initializer_fills_a_shape_row_by_row():
    for value, shape in ((IMAGES[0, :2, :2], (3, 2, 2, 1)), (0.5, (2, 2))):
        ours, theirs = (root.constant_initializer(value)(shape, "float32") for root in (minicnn, tf))
        np.testing.assert_array_equal(ours, theirs)


def test_a_data_set_s_spec_is_tensorflow_s():
    """One class: what a program compares with `element_spec` is equal to it, by any name of its own."""
    data = minicnn.data.Dataset.from_tensor_slices(np.zeros((4, 3), "float32")).batch(2)
    spec = minicnn.TensorSpec([None, 3], "float32", name="rows")
    assert data.element_spec == spec
    assert (spec.name, spec.shape.as_list()) == ("rows", [None, 3])
    assert minicnn.TensorSpec(None).shape is None


def test_what_runs_programs_runs_them_here():
    strategy = minicnn.distribute.MirroredStrategy()
    with strategy.scope(), minicnn.name_scope("model"), minicnn.device("/GPU:0"):
        total = strategy.run(lambda x: x * 2, args=(minicnn.constant([1.0, 2.0]),))
    assert strategy.num_replicas_in_sync == 1
    assert strategy.reduce(minicnn.distribute.ReduceOp.SUM, total, axis=None).tolist() == [2.0, 4.0]
    assert strategy.reduce(minicnn.distribute.ReduceOp.MEAN, total, axis=0) == 3.0
    assert minicnn.numpy_function(lambda x: x + 1, [total], "float32").numpy().tolist() == [3.0, 5.0]
    assert minicnn.vectorized_map(lambda x: x * x, total).tolist() == [4.0, 16.0]
    assert minicnn.case([(False, lambda: 1), (True, lambda: 2)], default=lambda: 3) == 2
    assert minicnn.config.list_logical_devices("GPU") == minicnn.config.experimental.get_visible_devices("GPU")
    assert minicnn.config.experimental.enable_op_determinism() is None
    assert minicnn.executing_eagerly()
    assert minicnn.version.VERSION == minicnn.keras.version() == minicnn.__version__
    metric = minicnn.metrics.Mean()
    metric.update_state(3.0)
    metric.reset_states()
    assert metric.count.numpy() == 0


def test_printing_shows_tensors(capsys):
    minicnn.print("loss", minicnn.constant([1.0, 2.0]), sep="=")
    assert capsys.readouterr().err == "loss=[1. 2.]\n"


def test_gradients_reach_what_is_gathered_and_clipped():
    image, indices = IMAGES[0], [[0, 1], [3, 2], [0, 1]]
    results = []
    for root, tape in ((minicnn, GradientTape()), (tf, tf.GradientTape())):
        x = root.constant(image)
        with tape:
            tape.watch(x)
            masked = root.boolean_mask(x, image[..., 0] > 0.4)
            (clipped, _), near = root.clip_by_global_norm([x * x, x], 1.5), root.nn.lrn(x[None] * 2.0, 1)
            parts = (
                root.gather_nd(x, indices) ** 2,
                masked**3,
                clipped[0] * 0.7 + clipped[1],
                near,
                root.clip_by_norm(x, 2.0, axes=[2]),
            )
            y = root.add_n([root.reduce_sum(part) for part in parts])
        results.append(np.asarray(tape.gradient(y, x)))
    np.testing.assert_allclose(*results, rtol=1e-4, atol=1e-5)


def test_seeds_of_tensorflows_two_numbers_draw_the_same_numbers_again():
    random = minicnn.random
    for draw in (random.stateless_uniform, random.stateless_normal, random.stateless_truncated_normal):
        first, again, other = (np.asarray(draw((50,), seed=seed)) for seed in ((1, 2), (1, 2), (2, 1)))
        assert np.array_equal(first, again)
        assert not np.array_equal(first, other)
    one, two = (random.Generator.from_seed(3) for _ in range(2))
    assert np.array_equal(one.normal((4,)), two.normal((4,)))
    assert not np.array_equal(one.uniform((4,)), one.uniform((4,)))
    assert random.gamma([3], [0.5, 2.0]).shape == (3, 2) == tf.random.gamma([3], [0.5, 2.0]).shape


def test_pictures_are_written_and_found(tmp_path):
    name = str(tmp_path / "new" / "picture.png")
    minicnn.io.write_file(name, minicnn.io.encode_png(BYTES))
    np.testing.assert_array_equal(tf.io.decode_png(tf.io.read_file(name)), BYTES)
    assert minicnn.io.gfile.exists(name)
    assert minicnn.io.gfile.glob(str(tmp_path / "new" / "*")) == [name]
    ours, theirs = (np.asarray(root.image.adjust_jpeg_quality(BYTES, 60), "float64") for root in (minicnn, tf))
    assert np.abs(ours - theirs).mean() < 2 < np.abs(ours - BYTES).mean()


def test_summaries_are_read_by_tensorboard(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    assert minicnn.summary.scalar("nowhere", 1.0, step=0) is False  # no writer is the default one
    writer = minicnn.summary.create_file_writer(tmp_path)
    with writer.as_default():
        minicnn.summary.scalar("loss", minicnn.constant(0.5), step=3)
        minicnn.summary.image("digits", IMAGES, step=3)
        minicnn.summary.text("note", "begun", step=3)
        with pytest.raises(ValueError, match="'loss' needs a `step`"):
            minicnn.summary.scalar("loss", 1.0)
    writer.close()
    found = EventAccumulator(str(tmp_path)).Reload()
    (loss,), (digits,), (note,) = (found.Tensors(tag) for tag in ("loss", "digits", "note"))
    assert (loss.step, float(make_ndarray(loss.tensor_proto))) == (3, 0.5)
    assert [make_ndarray(one.tensor_proto).ravel()[:2].tolist() for one in (digits, note)] == [[b"9", b"6"], [b"begun"]]


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "mean_with_sample_weight"])
def test_a_loss_within_a_layer_takes_weights(reduction):
    loss_of = minicnn.losses.BinaryCrossentropy(from_logits=True, reduction=reduction)

    class Endpoint(minicnn.layers.Layer):
        def __init__(self):
            super().__init__()
            self.dense = minicnn.layers.Dense(1)

        def call(self, x, targets, weight):
            logits = self.dense(x)
            self.add_loss(loss_of(targets, logits, weight))
            return logits

    inputs = [minicnn.Input((4,)), minicnn.Input((1,)), minicnn.Input((1,))]
    model = minicnn.Model(inputs, Endpoint()(*inputs))
    model.compile("sgd")
    x, targets, weight = DRAW.random((6, 4)), DRAW.integers(0, 2, (6, 1)), DRAW.random((6, 1))
    logits = model.predict([x, targets, weight], verbose=0)
    theirs = tf.keras.losses.BinaryCrossentropy(from_logits=True, reduction=reduction)
    expected = float(theirs(targets.astype("float32"), logits, weight.astype("float32")))
    np.testing.assert_allclose(model.evaluate([x, targets, weight], verbose=0), expected, rtol=1e-5)


def test_the_vectors_of_svd_in_tensorflows_order() -> None:
    s, u, v = minicnn.linalg.svd(SQUARE[:, :2])
    assert [part.shape for part in (s, u, v)] == [(2, 2), (2, 2, 2), (2, 3, 2)]
    np.testing.assert_allclose(np.asarray(u) * np.asarray(s)[:, None] @ np.swapaxes(v, 1, 2), SQUARE[:, :2], atol=1e-5)


def test_names_of_keras_that_have_no_module_of_their_own() -> None:
    assert minicnn.remat(np.sum)([1, 2]) == 3
    assert minicnn.DTypePolicy("float32").compute_dtype == minicnn.dtype_policies.DTypePolicy("float32").variable_dtype
    assert minicnn.config.is_interactive_logging_enabled()
    assert minicnn.preprocessing.sequence.pad_sequences([[1], [2, 3]]).tolist() == [[0, 1], [2, 3]]
    nested = {"b": [1, (2,)], "a": 3}
    assert minicnn.nest.flatten(nested) == tf.nest.flatten(nested) == [3, 1, 2]
    assert minicnn.nest.map_structure(lambda x, y: x + y, nested, nested) == {"b": [2, (4,)], "a": 6}


def test_a_tensor_array_is_what_a_loop_writes():
    for module in (minicnn, tf):
        rows = module.TensorArray(module.float32, size=0, dynamic_size=True, clear_after_read=False)
        rows = rows.write(2, module.constant([3.0, 4.0])).write(0, module.constant([1.0, 2.0]))
        np.testing.assert_array_equal(rows.stack(), [[1, 2], [0, 0], [3, 4]])
        np.testing.assert_array_equal(rows.concat(), [1, 2, 0, 0, 3, 4])
        np.testing.assert_array_equal(rows.gather([2, 0]), [[3, 4], [1, 2]])
        np.testing.assert_array_equal(rows.read(1), [0, 0])
        assert int(rows.size()) == 3
        parts = module.TensorArray(module.float32, size=2).unstack(module.constant([[5.0], [6.0]]))
        np.testing.assert_array_equal(parts.read(1), [6])
        x = module.constant([1.0, 2.0])
        with module.GradientTape() as tape:
            tape.watch(x)
            squares = module.TensorArray(module.float32, 2).write(0, x * x).write(1, x)
            total = module.reduce_sum(squares.stack())
        np.testing.assert_array_equal(tape.gradient(total, x), [3, 5])
    with pytest.raises(IndexError, match="size 2 that is not dynamic has no number 2"):
        minicnn.TensorArray("float32", 2).write(2, 1.0)
    with pytest.raises(ValueError, match="Number 1 of a TensorArray was read, but nothing was written"):
        minicnn.TensorArray("float32", 2).read(1)


def test_a_detector_s_anchors_and_best_boxes_in_a_graph():
    """Anchors of an image whose size is a tensor of floats, as detectors' layers compute it, and the best of their boxes."""

    class Decode(minicnn.layers.Layer):
        def call(self, images, scores):
            height, width = minicnn.unstack(minicnn.cast(minicnn.shape(images), "float32")[1:3])
            down, across = minicnn.math.ceil(height / 2), minicnn.math.ceil(width / 2)
            x, y = minicnn.meshgrid(minicnn.range(across, dtype="float32"), minicnn.range(down, dtype="float32"))
            corner = minicnn.reshape(minicnn.stack([y, x], axis=-1), [1, across * down, 1, 2])
            boxes = minicnn.tile(minicnn.concat([corner, corner + 1.5], axis=-1), [minicnn.shape(images)[0], 1, 1, 1])
            return minicnn.image.combined_non_max_suppression(boxes, scores, 2, 3, 0.2, clip_boxes=False)

    images, scores = minicnn.Input((5, 7, 3)), minicnn.Input((12, 2))
    model = minicnn.Model([images, scores], Decode()(images, scores))
    assert [output.shape for output in model.outputs] == [(None, 3, 4), (None, 3), (None, 3), (None,)]
    drawn = DRAW.permutation(48).reshape(2, 12, 2).astype("float32")
    y, x = np.divmod(np.arange(12.0, dtype="float32"), 4)
    boxes = np.stack([y, x, y + 1.5, x + 1.5], -1)[None, :, None].repeat(2, 0)
    expected = tf.image.combined_non_max_suppression(boxes, drawn, 2, 3, 0.2, clip_boxes=False)
    for one, other in zip(model.predict([np.zeros((2, 5, 7, 3)), drawn], verbose=0), expected, strict=True):
        np.testing.assert_array_equal(one, other)
    model.summary(print_fn=lambda line: None)  # of layers whose work stands in a `call` alone, and inputs
