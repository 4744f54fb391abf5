"""`TensorBoard`: training as curves, histograms and pictures that `tensorboard --logdir logs` shows."""

from __future__ import annotations

import io
import itertools
import os
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from minicnn.atomic import naming
from minicnn.callbacks.base import Callback, Logs
from minicnn.callbacks.schedule import rates_of

_numbers = itertools.count()


class EventFile:
    """A new file of events in a folder, which TensorBoard reads while it grows."""

    def __init__(self, folder: str) -> None:
        import socket

        from tensorboard.summary.writer.record_writer import RecordWriter

        os.makedirs(folder, exist_ok=True)
        name = f"events.out.tfevents.{int(time.time())}.{socket.gethostname()}.{os.getpid()}.{next(_numbers)}.v2"
        self._path = os.path.join(folder, name)
        with naming(self._path):
            self._records = RecordWriter(open(self._path, "ab"))  # noqa: SIM115 - open until training ends
        self._add(file_version="brain.Event:2")

    def scalar(self, tag: str, value: float, step: int) -> None:
        from tensorboard.plugins.scalar.summary_v2 import scalar_pb

        self._add(step=step, summary=scalar_pb(tag, float(value)))

    def histogram(self, tag: str, values: np.ndarray, step: int) -> None:
        from tensorboard.plugins.histogram.summary_v2 import histogram_pb

        self._add(step=step, summary=histogram_pb(tag, values))

    def images(self, tag: str, pictures: np.ndarray, step: int) -> None:
        """Numbers from 0 to 1, (N, H, W, C), of which three are kept."""
        from PIL import Image
        from tensorboard.plugins.image import metadata

        encoded = []
        for picture in np.clip(pictures[:3] * 255.5, 0, 255).astype(np.uint8):
            file = io.BytesIO()
            Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture).save(file, "PNG")
            encoded.append(file.getvalue())
        size = [str(extent).encode() for extent in pictures.shape[2:0:-1]]
        self._strings(tag, [*size, *encoded], metadata.create_summary_metadata("", ""), step)

    def graph(self, description: str) -> None:
        """A model's JSON, which TensorBoard draws."""
        self._plugin("keras", description, "graph_keras_model", b"1", 0)

    def text(self, tag: str, text: str, step: int) -> None:
        self._plugin(tag, text, "text", b"", step)

    def _plugin(self, tag: str, text: str, plugin: str, content: bytes, step: int) -> None:
        from tensorboard.compat.proto.summary_pb2 import SummaryMetadata

        metadata = SummaryMetadata()
        metadata.plugin_data.plugin_name, metadata.plugin_data.content = plugin, content
        self._strings(tag, [text.encode()], metadata, step, shape=())

    def _strings(self, tag: str, values: list[bytes], metadata: Any, step: int, shape: tuple[int, ...] | None = None) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.compat.proto.tensor_pb2 import TensorProto
        from tensorboard.compat.proto.types_pb2 import DT_STRING

        tensor = TensorProto(dtype=DT_STRING, string_val=values)
        for extent in (len(values),) if shape is None else shape:
            tensor.tensor_shape.dim.add(size=extent)
        self._add(step=step, summary=Summary(value=[Summary.Value(tag=tag, tensor=tensor, metadata=metadata)]))

    def _add(self, **event: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        with naming(self._path):
            self._records.write(Event(wall_time=time.time(), **event).SerializeToString())
            self._records.flush()

    def flush(self) -> None:
        with naming(self._path):
            self._records.flush()

    def close(self) -> None:
        with naming(self._path):
            self._records.close()


class TensorBoard(Callback):
    """Writes what TensorBoard shows: losses, metrics and the learning rate, the weights' histograms, the model.

    It needs the package of that name, which is also the one that shows the files: `pip install ".[tensorboard]"`.

    Args:
        log_dir: the folder; `train` and `validation` inside it get the files, under Keras's names.
        histogram_freq: histograms of all weights, every so many epochs; 0 for none.
        write_graph: the layers and what leads to what.
        write_images: with the histograms, pictures of the weights too.
        write_steps_per_second: how fast training is.
        update_freq: "epoch"; or "batch", or a number: losses and metrics every so many batches besides.
        profile_batch: Keras's, for TensorFlow's profiler; without effect here.
        embeddings_freq, embeddings_metadata: Keras's, not supported.
    """

    state_attributes = ("_global_train_batch",)
    takes_lazy_logs = True  # most batches do not need them

    def __init__(
        self,
        log_dir: str | os.PathLike[str] = "logs",
        histogram_freq: int = 0,
        write_graph: bool = True,
        write_images: bool = False,
        write_steps_per_second: bool = False,
        update_freq: str | int = "epoch",
        profile_batch: Any = 0,
        embeddings_freq: int = 0,
        embeddings_metadata: Any = None,
    ) -> None:
        super().__init__()
        if embeddings_freq or embeddings_metadata:
            raise ValueError(
                "TensorBoard: the arguments `embeddings_freq` and `embeddings_metadata` are not supported by minicnn. "
                f"Received: embeddings_freq={embeddings_freq}, embeddings_metadata={embeddings_metadata}"
            )
        if profile_batch:
            warnings.warn("TensorBoard: `profile_batch` is for TensorFlow's profiler and has no effect here.", stacklevel=2)
        try:
            import tensorboard  # noqa: F401
        except ImportError as error:
            raise ImportError(
                'The callback TensorBoard needs the package `tensorboard`: pip install ".[tensorboard]"'
            ) from error
        self.log_dir = os.fspath(log_dir)
        self.histogram_freq, self.write_graph, self.write_images = histogram_freq, write_graph, write_images
        self.write_steps_per_second = write_steps_per_second
        self.update_freq = 1 if update_freq == "batch" else update_freq
        self._files: dict[str, EventFile] = {}
        self._global_train_batch = 0
        if self.update_freq != "epoch":
            # Instance attributes: curves by epoch cost a batch nothing.
            self.on_train_batch_begin = self._before_batch  # type: ignore[method-assign]
            self.on_train_batch_end = self._after_batch  # type: ignore[method-assign]

    def _file(self, name: str) -> EventFile:
        if name not in self._files:
            self._files[name] = EventFile(os.path.join(self.log_dir, name))
        return self._files[name]

    def _scalars(self, file: str, form: str, logs: Mapping[str, Any], step: int) -> None:
        for name, value in logs.items():
            if np.ndim(value) == 0:
                self._file(file).scalar(form.format(name), value, step)

    def on_train_begin(self, logs: Logs = None) -> None:
        self._global_train_batch = 0
        if self.write_graph and self.model.built:
            try:
                description = self.model.to_json()
            except (NotImplementedError, TypeError, ValueError) as error:
                warnings.warn(f"Model failed to serialize as JSON. Ignoring... {error}", stacklevel=2)
            else:
                self._file("train").graph(description)

    def _before_batch(self, batch: int, logs: Any = None) -> None:
        self._batch_start = time.perf_counter()

    def _after_batch(self, batch: int, logs: Logs | Callable[[], Logs] = None) -> None:
        self._global_train_batch += 1
        if self._global_train_batch % int(self.update_freq):
            return
        if self.write_steps_per_second:
            rate = {"steps_per_second": 1 / (time.perf_counter() - self._batch_start)}
            self._scalars("train", "batch_{}", rate, self._global_train_batch)
        self._scalars("train", "batch_{}", (logs() if callable(logs) else logs) or {}, self._global_train_batch)

    def on_test_end(self, logs: Logs = None) -> None:
        self._scalars("validation", "evaluation_{}_vs_iterations", logs or {}, int(self.model.optimizer.iterations))

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self._epoch_start, self._iterations_before = time.perf_counter(), int(self.model.optimizer.iterations)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        logs, optimizer = logs or {}, self.model.optimizer
        of_training = {name: value for name, value in logs.items() if not name.startswith("val_")}
        of_validation = {name.removeprefix("val_"): value for name, value in logs.items() if name.startswith("val_")}
        if of_training:
            of_training |= rates_of(optimizer)
            if self.write_steps_per_second:
                steps = int(optimizer.iterations) - self._iterations_before
                of_training["steps_per_second"] = steps / (time.perf_counter() - self._epoch_start)
        self._scalars("train", "epoch_{}", of_training, epoch)
        self._scalars("validation", "epoch_{}", of_validation, epoch)
        if self.histogram_freq and epoch % self.histogram_freq == 0:
            for layer in self.model.layers:
                for weight in layer.weights:
                    self._weight(weight.path.replace(":", "_"), weight.numpy(), epoch)

    def _weight(self, tag: str, values: np.ndarray, epoch: int) -> None:
        self._file("train").histogram(f"{tag}/histogram", values, epoch)
        if self.write_images:
            pictures = _as_pictures(values)
            if pictures is not None:
                self._file("train").images(f"{tag}/image", pictures, epoch)

    def on_train_end(self, logs: Logs = None) -> None:
        self.close()

    def close(self) -> None:
        """Close the files; also after an exception."""
        files, self._files = self._files, {}
        for file in files.values():
            file.close()


def _as_pictures(weight: np.ndarray) -> np.ndarray | None:
    """A weight as images (N, H, W, C), as Keras shows it; None where it does not look like some."""
    values = weight.squeeze()
    if values.ndim == 1:
        return values.reshape(1, -1, 1, 1)
    if values.ndim == 2:
        return (values.T if values.shape[0] > values.shape[1] else values)[None, ..., None]
    if values.ndim == 3:
        return values.transpose(2, 0, 1)[..., None]
    return values if values.ndim == 4 and values.shape[-1] in (1, 3, 4) else None
