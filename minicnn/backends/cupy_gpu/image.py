"""Warping, resizing and recolouring of images have no kernels: the reference's lines run where the array lives."""
