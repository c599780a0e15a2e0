"""Mnistry itself, through its public API: the only place of the benchmark that calls it.

It finds the IDX files where `MNISTRY_DATA` says. `mnistry.train` also imports PyTorch, loads and
writes, so the training time is the sum of its epochs' (validation included); that of the whole
call is kept beside it. How many threads it uses is left to it: it finds as many cores as the
benchmark leaves to everybody, and takes one thread where a network is too small for more.
"""

import importlib
import time
from typing import Any, Literal

from peers.job import Job, Trained


def train(job: Job, precision: Literal["float32", "bfloat16"]) -> Trained:
    """Trains and evaluates one tutorial."""
    mnistry: Any = importlib.import_module("mnistry")
    start = time.perf_counter()
    run = mnistry.train(
        job.preset,
        epochs=job.epochs,
        precision=precision,
        seed=job.seed,
        out=job.out,
    )
    call_seconds = time.perf_counter() - start
    return Trained(
        train_seconds=sum(epoch["seconds"] for epoch in run.history),
        call_seconds=call_seconds,
        accuracy=float(run.history[-1]["accuracy"]),
        test_accuracy=float(run.evaluate().accuracy),
    )
