"""What several test files share: where real data lies, and a cache of the tests' own."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import pytest

# A busy machine is slow: how long an example takes says nothing about the code.
hypothesis.settings.register_profile("mnistry", deadline=None)
hypothesis.settings.load_profile("mnistry")


def _place(variable: str, holds: str) -> Path:
    value = os.environ.get(variable)
    if not value:
        pytest.skip(f"{variable} is not set: it names the folder with {holds}")
    path = Path(value)
    assert path.is_dir(), f"{variable}={value} is not a folder"
    return path


@pytest.fixture(scope="session")
def mnist_dir() -> Path:
    """The folder with the real MNIST; the test is skipped where MNISTRY_DATA does not name one."""
    return _place("MNISTRY_DATA", "the four MNIST files")


@pytest.fixture(scope="session")
def swiss_dir() -> Path:
    """The folder with the Swiss digits; skipped where MNISTRY_SWISS does not name one."""
    return _place("MNISTRY_SWISS", "the Swiss digits")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's own cache."""
    monkeypatch.setenv("MNISTRY_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def mnistry(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs a command in this process; gives its exit code, standard output and error."""
    from mnistry.cli import run

    def call(*arguments: object) -> tuple[int, str, str]:
        code = run([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        assert "a bug in mnistry" not in err
        return code, out, err

    return call


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """The processes that were started."""
    started: list[subprocess.Popen[bytes]] = []

    class Watched(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            started.append(self)

    monkeypatch.setattr("subprocess.Popen", Watched)
    return started


@pytest.fixture(params=["none", "no interpreter", "embedded", "another program", "killed"])
def trouble(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What befalls worker processes; whom to kill, and when, the test decides."""
    programs = {
        "no interpreter": "/nowhere/python",
        "embedded": None,
        "another program": shutil.which("false"),
    }
    kind = str(request.param)
    if kind in programs:
        monkeypatch.setattr(sys, "executable", programs[kind])
    return kind
