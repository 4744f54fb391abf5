"""The CPU benchmark: minicnn against Keras and PyTorch, on equal terms.

    minicnn bench                          all reference models, all engines that are installed
    minicnn bench --model my_model.keras   a model of your own

Every engine works in a process of its own (`worker`), on the same cores, and takes its turn
round by round (`measure`), so that a noisy machine disturbs all alike; figures are medians
over rounds. minicnn and Keras run the same lines: `fit` and `predict` on NumPy arrays, as users
call them. PyTorch has the loop its tutorials teach, on batches already cut and in its own layout.
"""
