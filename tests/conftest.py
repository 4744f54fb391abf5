"""What every test stands on: a quiet TensorFlow, and drawn cases that are the same in every run."""

from __future__ import annotations

import os

# Read by TensorFlow when it is imported, which only the test modules do. One thread: the tensors are tiny.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")

from hypothesis import settings

# No deadline: the first call of an op may compile it. Derandomized: a failure is a failure for everybody.
settings.register_profile("minicnn", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("minicnn")
