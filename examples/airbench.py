"""CIFAR-10 to 94% in a lesson: airbench's network, images and training, as `minicnn.recipes` has them, piece by piece.

Jordan 2024, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", arXiv:2404.00498. Prints seconds, epochs, and the accuracy
with and without test-time augmentation, and keeps all of it in log.json, this program's text included.

    python examples/airbench.py              # 9.9 epochs; needs the files of CIFAR-10, or downloads them
    python examples/airbench.py --quick      # a few images
    minicnn train cifar10 --recipe airbench93     # a smaller network; the same from the command line
"""

# %% Imports
from dataclasses import replace

import matplotlib.pyplot as plt
from _common import start

from minicnn import recipes, study, zoo
from minicnn.datasets import cifar10
from minicnn.preprocessing import alternating_flip

recipe = recipes.get("airbench94")
run = start("airbench", __doc__, epochs=recipe.epochs, data="cifar10")
(x_train, y_train), (x_test, y_test) = cifar10.load_data()
if run.quick:
    recipe = replace(recipe, batch_size=50)
recipe = replace(recipe, epochs=run.epochs)
print(recipes.goal_of(recipe))

# %% What three epochs see of the first images: each is mirrored in every other one
_, axes = plt.subplots(3, 8, figsize=(8, 3.4))
for epoch, row in enumerate(axes):
    for image, axis in zip(alternating_flip(x_train[:8], range(8), epoch), row):
        axis.imshow(image)
        axis.set_axis_off()
    row[0].set_title(f"epoch {epoch + 1}", loc="left", fontsize=9)
run.save("images")

# %% The first convolution, which is computed from the images and not learnt
network = zoo.airbench94()
recipes.initialize(network, recipes.normalized(x_train[: recipe.whitening_images]))
run.save("whitening", study.filters(network, "whitening"))

# %% Train and evaluate
result = recipes.train(recipe, (x_train, y_train), (x_test, y_test), seed=run.seed)
run.out.mkdir(parents=True, exist_ok=True)
recipes.write_log(run.out / "log.json", recipe, result, run.seed, script=run.program)

# %% Curves
run.save("curves", study.learning_curves(result.history))
print(f"seconds: {result.seconds:.1f}, epochs: {result.epochs:g}, test accuracy without views: {result.accuracy:.4f}")
print(f"test accuracy: {result.accuracy_with_tta:.4f}")
