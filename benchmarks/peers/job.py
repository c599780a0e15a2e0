"""What one training is asked for, and what it answers."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Job:
    """One training by one peer."""

    peer: str  # a key of `roster.PEERS`
    preset: str  # a key of `tutorial.TUTORIALS`
    epochs: int
    threads: int
    seed: int
    data: str  # MNIST as the one file that Keras spreads, made by `mnist.write_npz`
    out: str  # an empty folder for what the peer cannot train without writing


@dataclass(frozen=True)
class Trained:
    """What a peer has to say about its training, once it is over."""

    train_seconds: float  # to the end of the last epoch, with validation; no import, no loading
    call_seconds: float  # of the call that trains, with what it does beside its epochs
    accuracy: float  # 0..1: the running mean over the last epoch's training batches
    test_accuracy: float  # 0..1, on the 10,000, after training
