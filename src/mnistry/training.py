"""Training, from what is asked for to a finished `Run`: setting up, stopping, going on."""

import gc
import math
import os
import platform
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import torch

from mnistry import runfolder
from mnistry.dataset import Data, DataSplits, as_splits
from mnistry.errors import ModelError, UsageError
from mnistry.layers import describe_layers
from mnistry.recipe import (
    DEFAULT_PRESET,
    Device,
    Optimizer,
    Precision,
    Recipe,
    Validation,
    load_recipe,
)
from mnistry.run import Run, data_of, load_own_data, recipe_of
from mnistry.trainer import Progress, Trainer, is_out_of_memory
from mnistry.version import __version__

if TYPE_CHECKING:
    from torch import nn

_SMALL = 5_000_000  # multiply-adds of a batch forwards, below which one thread is as fast as two
_MOST_THREADS = 1024


def train(
    recipe: str | Recipe = DEFAULT_PRESET,
    *,
    data: Data | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    epochs: int | None = None,
    members: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    optimizer: Optimizer | None = None,
    validation: Validation | None = None,
    settings: Mapping[str, str | int] | None = None,
    seed: int = 0,
    threads: int | None = None,
    device: Device = "auto",
    precision: Precision = "auto",
    out: str | os.PathLike[str] | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Run:
    """Trains a network.

    On a CPU the same seed and number of threads give the same bits; on a GPU they need not, and
    every record of the history says so.

    Args:
        recipe: A preset's name, "FILE.py:NAME", or a `Recipe`.
        data: A data set's name or path, as `load_dataset` takes it; or what that gives; or the
            arrays `(x_train, y_train), (x_test, y_test)`, as `load_data` gives them. If left out,
            MNIST or, where no mirror can be reached, pen, with a warning.
        data_dir: Where the public data set lies; by default MNISTRY_DATA, the cache, the mirrors.
        epochs: Passes over the training set; the recipe's own if left out, as are the next five.
        members: Networks trained one after the other, whose probabilities are averaged.
        batch_size: Images in a step.
        learning_rate: Step size, above 0.
        optimizer: "adam", "rmsprop" or "sgd".
        validation: "none", "split" (a tenth of the training set) or "test".
        settings: The network's own numbers, as `Recipe.with_settings` takes them.
        seed: Decides the first weights and the order of the images; at least 0. Members have it
            and those that follow it, so ensembles with seeds 0 and 5 have none of five in common.
        threads: How many threads compute. By default as many as PyTorch takes, but one for a
            network so small that several would spend their time waiting for each other.
        device: "auto" takes a CUDA GPU where there is one, else the CPU.
        precision: "auto" takes bfloat16 where the device has it in hardware, but float32 on a CPU
            for small networks, whose step is written out.
        out: A run folder to write as it goes, so that `resume` can finish what was stopped;
            nothing is written if left out.
        progress: Is told, ten times a second and at each epoch's end, how far it is.

    Raises:
        UsageError: An argument that no training could use; something is at `out` already.
        DataError, NetworkError: The data cannot be had.
        ModelError: The network does not fit the data, or the training diverged.
        StorageError: The run folder cannot be written.
    """
    chosen: dict[str, Any] = {
        "epochs": epochs,
        "members": members,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "optimizer": optimizer,
        "validation": validation,
    }
    recipe = load_recipe(recipe) if isinstance(recipe, str) else recipe
    recipe = recipe.with_settings(settings or {})
    recipe = replace(recipe, **{k: v for k, v in chosen.items() if v is not None})
    _check_setup(seed, threads, precision)
    place = resolve_device(device)
    if out is not None:
        runfolder.check_free(Path(out))
    splits = as_splits(data, data_dir)
    recipe = recipe.with_classes(len(splits.train.classes))
    config = {
        "recipe": recipe.to_dict(),
        "seed": seed,
        "threads": threads or _threads_for(recipe),
        "device": place,
        "precision": precision,  # the trainer says what "auto" means
        "repeatable": place == "cpu",
        "data": {
            "name": splits.name,
            "place": splits.place,
            "data_dir": splits.data_dir,
            "sha256": splits.sha256,
            "classes": list(splits.train.classes),
            "train": len(splits.train),
            "test": len(splits.test),
        },
        "versions": {
            "mnistry": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
        "hardware": _hardware(place),
    }
    return _train(recipe, splits, config, None if out is None else Path(out), progress)


def resume(
    path: str | os.PathLike[str],
    progress: Callable[[Progress], None] | None = None,
    network: "Callable[[], nn.Module] | None" = None,
) -> Run:
    """Finishes a training that was stopped, from its last whole epoch.

    In float32 on a CPU the result is, bit for bit, that of a training that was not stopped.

    Args:
        path: The run folder.
        progress: As for `train`.
        network: For a network that came from no file, the function that makes it.

    Raises:
        UsageError: The run is finished already.
        ModelError: It is no run folder, or is damaged.
        DataError: The data is not what the run was started on.
    """
    folder = Path(path)
    config = runfolder.read_config(folder)
    recipe = recipe_of(config, folder, network)
    if (folder / runfolder.WEIGHTS).exists():
        raise UsageError(f"{folder}: its training is finished; start another with: mnistry train")
    runfolder.remove_part_files(folder)
    _check_config(config, folder)
    splits = load_own_data(data_of(config, folder), folder)
    return _train(recipe, splits, config, folder, progress)


def _threads_for(recipe: Recipe) -> int:
    """One for a small network, else as many as PyTorch takes."""
    if callable(recipe.network):
        return torch.get_num_threads()
    rows = describe_layers(recipe.network)
    uses = [row.parameters * math.prod(row.output_shape[1:]) for row in rows]  # of each weight
    return 1 if sum(uses) * recipe.batch_size < _SMALL else torch.get_num_threads()


def _check_config(config: dict[str, Any], folder: Path) -> None:
    try:
        _check_setup(config["seed"], config["threads"], config["precision"])
        resolve_device(config["device"])
    except (KeyError, TypeError, UsageError) as error:
        raise ModelError(f"{folder / runfolder.CONFIG}: cannot be used ({error})") from error


def _check_setup(seed: object, threads: object, precision: object) -> None:
    if not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise UsageError(f"seed is {seed}; expected a whole number of at least 0, below 2^63")
    if threads is not None and not (isinstance(threads, int) and 1 <= threads <= _MOST_THREADS):
        raise UsageError(f"threads is {threads}; expected a whole number, 1 to {_MOST_THREADS}")
    if precision not in get_args(Precision):
        known = ", ".join(get_args(Precision))
        raise UsageError(f"precision is {precision!r}; expected one of {known}")


def resolve_device(device: str) -> str:
    """The device that "auto" stands for here, or the one asked for.

    Raises:
        UsageError: It is not there.
    """
    available = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if device == "auto":
        return "cuda" if available["cuda"] else "cpu"
    if not available.get(device):
        there = ", ".join(name for name, is_there in available.items() if is_there)
        raise UsageError(f"device {device!r} is not to be had here; expected auto or {there}")
    return device


def _train(
    recipe: Recipe,
    splits: DataSplits,
    config: dict[str, Any],
    folder: Path | None,
    progress: Callable[[Progress], None] | None,
) -> Run:
    stop = threading.Event()

    def tell(told: Progress) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        if progress:
            progress(told)

    def work() -> Run:
        with _computing(config["threads"]):
            return _epochs(recipe, splits, config, folder, tell)

    run = _in_a_fresh_thread(work, stop)
    if folder:
        run.write_results(folder)
        (folder / runfolder.CHECKPOINT).unlink(missing_ok=True)
    return run


def _epochs(
    recipe: Recipe,
    splits: DataSplits,
    config: dict[str, Any],
    folder: Path | None,
    tell: Callable[[Progress], None],
) -> Run:
    trainer = None
    made = False
    try:
        trainer = Trainer(recipe, splits, config)
        if folder and not (folder / runfolder.CONFIG).exists():
            runfolder.make_run_folder(folder, trainer.config)
            made = True
        if folder and (folder / runfolder.CHECKPOINT).exists():
            trainer.read(folder / runfolder.CHECKPOINT)
        while len(trainer.history) < trainer.epochs:
            trainer.epoch(tell)
            if folder:
                trainer.write(folder / runfolder.CHECKPOINT)
        return trainer.finish()
    except BaseException as error:
        cause: BaseException | None = error
        while cause:
            traceback.clear_frames(cause.__traceback__)  # they hold tensors on the device
            cause = cause.__cause__ or cause.__context__
        fresh = folder and made and not (folder / runfolder.CHECKPOINT).exists()
        if folder and fresh and isinstance(error, ModelError):
            runfolder.remove_run_folder(folder)  # it diverged at once, and would again
        if is_out_of_memory(error):
            raise MemoryError(f"{recipe.name}: its network does not fit the memory") from error
        raise
    finally:
        if trainer:
            trainer.__dict__.clear()
        del trainer
        gc.collect()
        if config["device"] == "cuda":
            torch.cuda.empty_cache()


def _in_a_fresh_thread(work: Callable[[], Run], stop: threading.Event) -> Run:
    """Runs work in a thread of its own, which `stop` ends; gives and raises what it does.

    How a thread treats tiny numbers is its own affair, and the threads that compute for it take
    it over when it first needs them: those that the caller has already would not.
    """
    results: list[Run] = []
    errors: list[BaseException] = []
    done = threading.Event()  # an interrupted `join` would take the thread for ended

    def target() -> None:
        try:
            results.append(work())
        except BaseException as error:  # raised below, in the caller's thread
            errors.append(error)
        finally:
            done.set()

    thread = threading.Thread(target=target, name="mnistry-training")
    try:
        thread.start()
        while not done.wait(0.1):  # by and by, so that every system lets Ctrl-C through
            pass
    except BaseException as error:
        stop.set()
        if not isinstance(error, RuntimeError):  # which says that no thread could be started
            done.wait()
            thread.join()
        raise
    thread.join()
    if errors:
        raise errors.pop()
    return results.pop()


@contextmanager
def _computing(threads: int) -> Iterator[None]:
    """So many threads, the caller's defaults set aside, and numbers too small become 0.

    Averages that decay towards 0 end among those numbers, which cost a CPU a hundred times more.
    To be entered in a fresh thread: it sets what that thread and those it starts do.
    """
    before, dtype = torch.get_num_threads(), torch.get_default_dtype()
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(dtype)
        torch.set_num_threads(before)


def _hardware(device: str) -> dict[str, Any]:
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    with suppress(OSError):  # Linux alone has it
        lines = cpuinfo.read_text(errors="replace").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        name = names[0] if names else name
    hardware: dict[str, Any] = {"cpu": name, "cores": os.cpu_count(), "system": platform.system()}
    if device == "cuda":
        hardware["gpu"] = torch.cuda.get_device_name()
    return hardware
