"""The public names, what they load, their docstrings, and that importing does nothing else."""

import ast
import dataclasses
import importlib
import inspect
import json
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mnistry
from mnistry import errors

PACKAGE = Path(mnistry.__file__).parent
TESTS = Path(__file__).parent

PUBLIC = {
    *(
        "PRESETS",
        "Augment",
        "BatchNorm",
        "Conv",
        "DataError",
        "Dropout",
        "DataSplits",
        "Dataset",
        "Dense",
        "DependencyError",
        "LimitError",
        "Digit",
    ),
    *("Flatten", "MaxPool", "MnistryError", "ModelError", "NetworkError", "Progress", "Recipe"),
    *(
        "Reader",
        "Reading",
        "Report",
        "Run",
        "StorageError",
        "UsageError",
        "__version__",
        "add_channel",
    ),
    *("describe_layers", "draw_confusion", "draw_curves", "draw_descent", "draw_grid"),
    *("draw_line", "draw_mistakes", "draw_prediction", "evaluate", "export_run", "flatten"),
    *("load_data", "load_dataset", "load_recipe", "load_run", "one_hot", "resume", "scale"),
    "train",
}

HEAVY = {
    *("torch", "matplotlib", "pooch", "PIL", "safetensors", "requests", "cv2"),
    *("onnx", "onnxruntime", "onnxscript", "pydantic"),
}
"""Packages that are slow to load, or that are not there where Mnistry only reads digits."""

MAY_LOAD = {  # the arguments of `mnistry`, and what of the heavy packages they may load
    "": set(),
    "--help": set(),
    "--version": set(),
    "train --help": set(),
    "export --help": set(),
    "data digits": set(),
    "data digits --json": set(),
    "data digits --prepare nvidia-mlp": set(),
    "data digits --grid 9": {"matplotlib", "PIL", "pydantic"},
    "cache": set(),
    "presets": set(),
    "summary datumo-cnn": set(),
    "recipe nvidia-mlp": set(),
    "fit-line": {"matplotlib", "PIL"},
    "predict digits.png": {"PIL", "cv2", "onnxruntime"},
    "predict digits.png --single --draw drawn --show drawn": {"PIL", "cv2", "onnxruntime"},
    "predict digits.png --csv": {"PIL", "cv2", "onnxruntime"},
    "predict": set(),
    "train nope": {"pydantic"},
    "train --resume nope": {"pydantic"},
    "train --epochs 0": {"pydantic"},
}

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages([str(PACKAGE)], "mnistry.")
    if not module.name.endswith("__main__")
)


def _fresh(code: str, *arguments: str, cwd: Path, **variables: str) -> str:
    """The standard error of a fresh interpreter that ran the code and succeeded."""
    environment = {k: v for k, v in os.environ.items() if k != "MNISTRY_DATA"} | variables
    command = [sys.executable, "-B", "-c", code, *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, env=environment, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_public_names():
    assert set(mnistry.__all__) == PUBLIC
    assert mnistry.__all__ == sorted(mnistry.__all__, key=_constants_first)
    assert dir(mnistry) == sorted(mnistry.__all__)
    assert all(hasattr(mnistry, name) for name in PUBLIC)


def _constants_first(name: str) -> tuple[int, str]:
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        mnistry.nope  # noqa: B018


def test_no_module_has_the_name_of_a_public_function():
    functions = {n for n in PUBLIC if inspect.isfunction(getattr(mnistry, n))}
    assert not functions & {name.rpartition(".")[2] for name in MODULES}


def test_version_is_one_of_python_packaging():
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+|\.dev\d+)?", mnistry.__version__)


def test_the_error_tree_and_its_exit_codes():
    kinds = [k for k in vars(errors).values() if inspect.isclass(k) and issubclass(k, Exception)]
    codes = {kind.__name__: kind.exit_code for kind in kinds}
    assert codes == {
        "MnistryError": 1,
        "UsageError": 2,
        "BusyError": 2,
        "DataError": 3,
        "ModelError": 4,
        "MissingError": 4,
        "NetworkError": 5,
        "DependencyError": 6,
        "LimitError": 3,
        "StorageError": 7,
    }
    assert all(issubclass(kind, errors.MnistryError) for kind in kinds)
    assert issubclass(errors.UsageError, ValueError)
    for name, code in codes.items():  # the tree drawn in its file's docstring
        assert re.search(rf"\b{name} +{code}\b", errors.__doc__ or "")


# ------------------------------------------------------------------------------ what is loaded when

_LIST_MODULES = """
import json, sys
try:
    {}
finally:
    print(json.dumps(sorted({{name.partition(".")[0] for name in sys.modules}})), file=sys.stderr)
"""


def _loaded(code: str, *arguments: str, cwd: Path) -> set[str]:
    out = _fresh(_LIST_MODULES.format(code), *arguments, cwd=cwd)
    return set(json.loads(out.splitlines()[-1])) & HEAVY


def test_import_loads_nothing_heavy(tmp_path: Path):
    assert _loaded("import mnistry", cwd=tmp_path) == set()
    assert "numpy" not in _fresh(
        "import mnistry, sys; print(*sys.modules, file=sys.stderr)", cwd=tmp_path
    )


@pytest.mark.parametrize("name", ["load_data", "scale", "Recipe", "UsageError", "draw_grid"])
def test_light_names_load_nothing_heavy(tmp_path: Path, name: str):
    assert _loaded(f"from mnistry import {name}", cwd=tmp_path) == set()


@pytest.mark.parametrize("line", MAY_LOAD)
def test_commands_load_what_they_need(tmp_path: Path, line: str):
    from PIL import Image

    from digits import make_digits, write_digits

    splits = make_digits(40, 20)
    write_digits(tmp_path / "digits", splits)
    Image.fromarray(splits[0][0][0]).save(tmp_path / "digits.png")
    code = "from mnistry.cli import run; run(sys.argv[1:])"
    assert _loaded(code, *line.split(), cwd=tmp_path) <= MAY_LOAD[line]


# ------------------------------------------------------------------------------- nothing at import

_WATCH = """
import sys
def watch(event, arguments):
    if event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
        if arguments[0] != "/dev/null" and not isinstance(arguments[0], int):
            print("opens to write", arguments[0], file=sys.stderr)
    if event in ("os.mkdir", "os.rename", "os.remove", "socket.connect", "socket.getaddrinfo",
                 "subprocess.Popen", "os.system", "os.exec"):
        print(event, arguments, file=sys.stderr)
try:
    import torch, matplotlib.figure  # what they do is theirs
except ImportError:
    pass
import logging
before = logging.root.handlers[:], logging.root.level
sys.addaudithook(watch)
import importlib
for name in sys.argv[1:]:
    importlib.import_module(name)
assert before == (logging.root.handlers, logging.root.level)
"""


def test_nothing_happens_at_import(tmp_path: Path):
    places = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    places["MPLCONFIGDIR"] = str(tmp_path / "matplotlib")
    (tmp_path / "work").mkdir()
    assert _fresh(_WATCH, *MODULES, cwd=tmp_path / "work", **places) == ""
    assert os.listdir(tmp_path / "work") == []


# --------------------------------------------------------------------------------------- docstrings


@pytest.mark.parametrize("name", ["mnistry", *MODULES])
def test_every_module_says_what_it_owns(name: str):
    spec = importlib.util.find_spec(name)
    assert spec is not None
    source = Path(spec.origin or "").read_text(encoding="utf-8")
    first = (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]
    assert len(first) > 10
    assert first[-1] in ".:;?"


FUNCTIONS = {n: getattr(mnistry, n) for n in PUBLIC if inspect.isfunction(getattr(mnistry, n))}
CLASSES = {n: getattr(mnistry, n) for n in PUBLIC if inspect.isclass(getattr(mnistry, n))}
METHODS = {
    f"{name}.{method.__name__}": method
    for name, kind in CLASSES.items()
    for method in vars(kind).values()
    if inspect.isfunction(method) and not method.__name__.startswith("_")
}


@pytest.mark.parametrize("name", sorted({**FUNCTIONS, **METHODS}))
def test_public_functions_say_what_they_take_and_raise(name: str):
    function = {**FUNCTIONS, **METHODS}[name]
    text = inspect.getdoc(function) or ""
    assert text.partition("\n")[0].endswith((".", ":"))
    parameters = [p for p in inspect.signature(function).parameters if p not in ("self", "cls")]
    if name in FUNCTIONS and parameters:
        described = re.findall(r"^    (\w+): ", _section(text, "Args:"), re.MULTILINE)
        assert described == parameters
    raised = set(re.findall(r"raise (\w+Error)\b", inspect.getsource(function)))
    if raised:
        stated = _section(text, "Raises:")
        assert all(e in stated or "MnistryError" in stated for e in raised), raised


def _section(text: str, head: str) -> str:
    return text.partition(f"\n{head}\n")[2].partition("\n\n")[0]


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_public_classes_say_what_they_are(name: str):
    kind = CLASSES[name]
    text = kind.__doc__ or ""
    assert not text.startswith(f"{name}("), "the docstring is the one that dataclass made up"
    assert text.partition("\n")[0].endswith((".", ":"))
    if dataclasses.is_dataclass(kind) and "Attributes:" in text:
        attributes = _section(inspect.getdoc(kind) or "", "Attributes:")
        described = set(re.findall(r"^    (\w+): ", attributes, re.MULTILINE))
        assert described == {f.name for f in dataclasses.fields(kind) if f.name[0] != "_"}


# ------------------------------------------------------------------------- one test file per module


def test_every_module_has_its_test_file():
    """A package has one for all its modules; errors and version are tested here."""
    owners = {name.split(".")[1] for name in MODULES} - {"errors", "version"}
    missing = sorted(name for name in owners if not (TESTS / f"test_{name}.py").exists())
    assert not missing, "modules without a test file"
