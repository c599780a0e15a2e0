"""Who takes part: every peer, the packages that it stands on, and the versions at hand."""

import hashlib
import platform
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

OWN = "mnistry-float32"  # what every ratio is against
OWN_BFLOAT16 = "mnistry-bfloat16"


@dataclass(frozen=True)
class Peer:
    """One way of training the tutorials."""

    title: str
    packages: tuple[str, ...]

    @property
    def is_own(self) -> bool:
        """Whether this is Mnistry itself."""
        return "mnistry" in self.packages


PEERS = {
    OWN: Peer("Mnistry, float32", ("mnistry", "torch")),
    OWN_BFLOAT16: Peer("Mnistry, bfloat16", ("mnistry", "torch")),
    "keras-tensorflow": Peer("Keras on TensorFlow", ("keras", "tensorflow")),
    "keras-jax": Peer("Keras on JAX", ("keras", "jax")),
    "keras-torch": Peer("Keras on PyTorch", ("keras", "torch")),
    "pytorch": Peer("PyTorch, plain loop", ("torch",)),
}


def versions() -> dict[str, str]:
    """The version of each peer's package that this interpreter has, and its own."""
    packages = {"numpy"}.union(*(peer.packages for peer in PEERS.values()))
    found = {"python": platform.python_version()}
    for package in sorted(packages):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    if "mnistry" in found:
        found["mnistry"] += f" (source {source_digest('mnistry')})"
    return found


def source_digest(package: str) -> str:
    """The first eight hex digits of the SHA-256 of a package's sources.

    Between two releases the version stays and the speed does not: the digest tells them apart.
    """
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        sys.exit(f"{package} is installed, but has no source files")
    digest = hashlib.sha256()
    for path in sorted(Path(spec.origin).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:8]
