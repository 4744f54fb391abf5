"""Warping, resizing and recolouring of images: the reference backend's lines, which run where the array lives."""

from __future__ import annotations

from minicnn.backends.reference.image import adjust_colors, affine_warp2d, resize2d_bilinear, resize2d_nearest

__all__ = ["adjust_colors", "affine_warp2d", "resize2d_bilinear", "resize2d_nearest"]
