"""Keras's `visualization`: images with boxes and masks, and galleries of them."""

from minicnn.study.gallery import plot_bounding_box_gallery, plot_image_gallery, plot_segmentation_mask_gallery
from minicnn.study.overlays import draw_bounding_boxes, draw_segmentation_masks

__all__ = [
    "draw_bounding_boxes",
    "draw_segmentation_masks",
    "plot_bounding_box_gallery",
    "plot_image_gallery",
    "plot_segmentation_mask_gallery",
]
