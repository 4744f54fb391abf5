"""TensorFlow's names: what a program finds that says `import minicnn as tf` where it said `import tensorflow as tf`.

minicnn's own names come first; `minicnn.__getattr__` looks up here what is none of them: `names.lookup`. Nothing of minicnn but
that needs this package, which is therefore imported when the first such name is met.
"""
