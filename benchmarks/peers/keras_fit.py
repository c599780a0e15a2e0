"""Keras on TensorFlow, JAX or PyTorch: a Sequential model and `fit`, as the tutorials write it.

Everything that the tutorial leaves at Keras's default stays there, `jit_compile="auto"` included;
the progress bar alone is off, for it slows Keras down. Keras imports the other back ends where it
finds them, which costs seconds and hundreds of megabytes; here it does not find them.

Training ends with the last epoch, and not with `fit`: TensorFlow's input pipeline is tuned by a
thread that sleeps ever longer (10 ms, 20, 40 and so on, to a minute), and `fit` was often seen to
return only when that thread next woke, seconds after the last epoch.
"""

import os
import sys
import time
from typing import Any, Literal, get_args

from peers import mnist
from peers.job import Job, Trained
from peers.tutorial import TUTORIALS, Tutorial, check_parameters

Backend = Literal["tensorflow", "jax", "torch"]


def train(job: Job, backend: Backend) -> Trained:
    """Trains and evaluates one tutorial."""
    choose_backend(backend)
    set_threads(backend, job.threads)
    import keras

    keras.utils.set_random_seed(job.seed)
    tutorial = TUTORIALS[job.preset]
    x_train, y_train, x_test, y_test = mnist.load(job.data, tutorial)
    loss = "sparse_categorical_crossentropy"
    if tutorial.labels == "one-hot":
        loss = "categorical_crossentropy"
        y_train, y_test = keras.utils.to_categorical(y_train), keras.utils.to_categorical(y_test)

    model = build(tutorial)
    check_parameters(job.preset, model.count_params())
    model.compile(optimizer=tutorial.optimizer, loss=loss, metrics=["accuracy"])
    epoch_ends: list[float] = []
    clock = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda _epoch, _logs: epoch_ends.append(time.perf_counter())
    )
    start = time.perf_counter()
    history = model.fit(
        x_train,
        y_train,
        batch_size=tutorial.batch_size,
        epochs=job.epochs,
        validation_data=(x_test, y_test) if tutorial.validates else None,
        callbacks=[clock],
        verbose=0,
    )
    call_seconds = time.perf_counter() - start

    _, test_accuracy = model.evaluate(x_test, y_test, verbose=0)
    return Trained(
        train_seconds=epoch_ends[-1] - start,
        call_seconds=call_seconds,
        accuracy=float(history.history["accuracy"][-1]),
        test_accuracy=float(test_accuracy),
    )


def choose_backend(backend: Backend) -> None:
    """Has Keras use one back end, as if no other were installed; before Keras is imported."""
    os.environ["KERAS_BACKEND"] = backend
    for other in set(get_args(Backend)) - {backend}:
        sys.modules[other] = None  # type: ignore[assignment]  # an import of it raises ImportError


def set_threads(backend: Backend, threads: int) -> None:
    """Sets a back end's number of threads.

    JAX has no setting for it: it starts one thread for each core that the process may use, and
    the benchmark leaves every process as many as there are to be threads.
    """
    if backend == "tensorflow":
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    elif backend == "torch":
        import torch

        torch.set_num_threads(threads)


def build(tutorial: Tutorial) -> Any:
    """The tutorial's network, as a `keras.Sequential`."""
    import keras
    from keras import layers

    initialiser = tutorial.initialiser
    model = keras.Sequential([keras.Input(tutorial.input_shape)])
    if tutorial.filters is not None:
        model.add(
            layers.Conv2D(
                tutorial.filters, (3, 3), activation="relu", kernel_initializer=initialiser
            )
        )
        model.add(layers.MaxPooling2D((2, 2)))
    if len(tutorial.input_shape) > 1:
        model.add(layers.Flatten())
    for units in tutorial.hidden_units:
        model.add(layers.Dense(units, activation="relu", kernel_initializer=initialiser))
    model.add(layers.Dense(10, activation="softmax"))
    return model
