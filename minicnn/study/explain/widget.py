"""The explainer as a widget of a notebook: the same program and style as the page's."""

from __future__ import annotations

import anywidget
import traitlets

from minicnn.study.explain.page import modules, stylesheet

__all__ = ["Explorer"]


class Explorer(anywidget.AnyWidget):
    """What `Explanation.widget` returns.

    Attributes:
        record: the numbers, as JSON. hash: the selection, as the page's address has it.
    """

    _esm = f"{modules()}\nexport default entry;"
    _css = stylesheet()
    record = traitlets.Unicode().tag(sync=True)
    hash = traitlets.Unicode("").tag(sync=True)
