"""Pictures and checks that people otherwise write by hand in every notebook.

Every drawing function returns a Matplotlib figure and shows nothing; `style="dark"` draws
for a dark background, `figure.savefig("name.png")` keeps it. Notebooks display what a
cell's last line returns.

| | |
|---|---|
| data | `sample_grid`, `label_counts`, `augmentation_preview` |
| boxes, masks | the galleries of `minicnn.visualization` |
| training | `lr_find` and `rate_search`, `learning_curves`, `GradientNorms` and `gradient_norms` |
| results | `confusion_matrix`, `mistakes_gallery` |
| inside a model | `filters`, `feature_maps`, `saliency`, `grad_cam` |
| how an op works | `im2col_matrix`, `max_pool_argmax` |
| moving pictures | `convolution_animation`, `filters_animation` of a `KernelHistory`, `curves_animation` |
| every number | `explain`, a page on which it can be opened |
| without pictures | `trace`, `gradcheck`, `predict_tta`, `layer_outputs`, `saliency_map`, `grad_cam_map` |
"""

from minicnn.study.animation import Animation
from minicnn.study.attribution import grad_cam, grad_cam_map, saliency, saliency_map
from minicnn.study.augmentation import augmentation_preview
from minicnn.study.convolution import im2col_matrix
from minicnn.study.curves import learning_curves
from minicnn.study.epochs import KernelHistory, curves_animation, filters_animation
from minicnn.study.explain import Explanation, explain
from minicnn.study.features import feature_maps, layer_outputs
from minicnn.study.filters import filters
from minicnn.study.gradcheck import GradientCheck, gradcheck
from minicnn.study.gradients import GradientNorms, gradient_norms
from minicnn.study.pooling import max_pool_argmax
from minicnn.study.rates import RateSearch, lr_find, rate_search
from minicnn.study.results import confusion_matrix, mistakes_gallery
from minicnn.study.samples import label_counts, sample_grid
from minicnn.study.sliding import convolution_animation
from minicnn.study.trace import Trace, TracedCall, trace
from minicnn.study.tta import predict_tta

__all__ = [
    "Animation",
    "Explanation",
    "GradientCheck",
    "GradientNorms",
    "KernelHistory",
    "RateSearch",
    "Trace",
    "TracedCall",
    "augmentation_preview",
    "confusion_matrix",
    "convolution_animation",
    "curves_animation",
    "explain",
    "feature_maps",
    "filters",
    "filters_animation",
    "grad_cam",
    "grad_cam_map",
    "gradcheck",
    "gradient_norms",
    "im2col_matrix",
    "label_counts",
    "layer_outputs",
    "learning_curves",
    "lr_find",
    "max_pool_argmax",
    "mistakes_gallery",
    "predict_tta",
    "rate_search",
    "saliency",
    "saliency_map",
    "sample_grid",
    "trace",
]
