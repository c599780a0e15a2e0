"""What several test files share: where real data lies, and a cache of the tests' own."""

import os
from collections.abc import Callable
from pathlib import Path

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
