"""The side-by-side trainings: one module per family of peers, one process per training.

`python -m peers` in `benchmarks/` is what each of those processes runs; see `__main__.py`.
"""
