"""`MaxNumBoundingBoxes`: as many boxes around objects for each image, so that images can be batched."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from minicnn import registry
from minicnn.layers.augment import ImageLayer
from minicnn.layers.tracing import MISSING
from minicnn.tensor import as_tensor

__all__ = ["MaxNumBoundingBoxes"]


@registry.register("layer")
class MaxNumBoundingBoxes(ImageLayer):
    """Cuts the list of an image's boxes, or fills it up, to a length. Images, labels and masks stay as they are.

    It takes a dict {"images": ..., "bounding_boxes": {"boxes": (N, B, 4), "labels": (N, B)}}, or that of one image
    without N. Lists may have another length for each image. An array of images alone passes unchanged.

    Args:
        max_number: how many boxes come out. fill_value: of the boxes and labels that are added.
        bounding_box_format: what the four numbers are, such as "xyxy": needed with boxes as in Keras, and not looked at.
        data_format: see `RandomWarp`.

    Examples:
        >>> import numpy as np
        >>> layer = MaxNumBoundingBoxes(3, bounding_box_format="xyxy")
        >>> boxes = {"boxes": np.array([[10, 20, 100, 150]]), "labels": np.array([7])}
        >>> layer({"images": np.zeros((224, 224, 3)), "bounding_boxes": boxes})["bounding_boxes"]["labels"].tolist()
        [7, -1, -1]
    """

    _own_arguments: ClassVar[tuple[str, ...]] = ("max_number", "fill_value", "bounding_box_format", "data_format")

    def __init__(
        self,
        max_number: int,
        fill_value: int = -1,
        bounding_box_format: str | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format=data_format, bounding_box_format=bounding_box_format, **kwargs)
        if isinstance(max_number, bool) or int(max_number) != max_number or max_number < 0:
            raise ValueError(
                f"Layer '{self.name}': `max_number` must be a whole number, 0 or more. Received: max_number={max_number!r}"
            )
        self.max_number, self.fill_value = int(max_number), int(fill_value)

    def __call__(self, inputs: Any = MISSING, *args: Any, **kwargs: Any) -> Any:
        """See the class.

        Raises:
            ValueError: for boxes without a `bounding_box_format`, and for boxes and labels that do not belong together.
        """
        if not isinstance(inputs, dict) or "bounding_boxes" not in inputs:
            return super().__call__(inputs, *args, **kwargs)
        if not self.bounding_box_format:
            raise ValueError(
                f"Layer '{self.name}' was given 'bounding_boxes', but no bounding box format: pass `bounding_box_format`, "
                "for example 'xyxy', to its constructor."
            )
        given = inputs["bounding_boxes"]
        if not isinstance(given, dict) or "boxes" not in given or "labels" not in given:
            raise ValueError(
                f"Layer '{self.name}' expects `bounding_boxes` to be a dict with the keys 'boxes' and 'labels'. "
                f"Received: bounding_boxes={given}"
            )
        rest = {key: value for key, value in inputs.items() if key != "bounding_boxes"}
        fitted = self._fitted(given["boxes"], given["labels"], lone=np.ndim(inputs["images"]) == 3)
        return {**inputs, **super().__call__(rest, *args, **kwargs), "bounding_boxes": {**given, **fitted}}

    def transform(self, x: Any, training: bool) -> Any:
        return x

    def _fitted(self, boxes: Any, labels: Any, lone: bool) -> dict[str, Any]:
        """Boxes (N, max_number, 4) and labels (N, max_number), without N for one image."""
        batch = [np.asarray(one, "float32").reshape(-1, 4) for one in ([boxes] if lone else boxes)]
        classes = [np.asarray(one) for one in ([labels] if lone else labels)]
        counts = [len(one) for one in batch], [len(one) for one in classes]
        if counts[0] != counts[1]:
            raise ValueError(f"Layer '{self.name}': images have {counts[0]} boxes, but {counts[1]} labels.")
        parts = [np.stack([self._of_length(one) for one in part]) for part in (batch, classes)]
        return {key: as_tensor(part[0] if lone else part) for key, part in zip(("boxes", "labels"), parts)}

    def _of_length(self, rows: np.ndarray) -> np.ndarray:
        rows = rows[: self.max_number]
        missing = [(0, self.max_number - len(rows)), *[(0, 0)] * (rows.ndim - 1)]
        return np.pad(rows, missing, constant_values=self.fill_value)
