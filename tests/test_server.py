"""Tests of mnistry.server: the HTTP API, its limits, and its processes."""

import asyncio
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
import schemathesis
import uvicorn
from fastapi.testclient import TestClient
from PIL import Image
from prometheus_client import CollectorRegistry
from schemathesis import GenerationMode
from starlette.exceptions import HTTPException

from mnistry.errors import DataError, MnistryError, ModelError, UsageError
from mnistry.network import shipped
from mnistry.pen.paper import write_sheet
from mnistry.reader import Reader
from mnistry.server import protocol, shapes
from mnistry.server.app import create_app
from mnistry.server.guard import Guard, Metrics
from mnistry.server.models import Models
from mnistry.server.process import listen
from mnistry.server.readers import Readers
from mnistry.server.reading import Asked, read_all
from mnistry.server.settings import Settings
from mnistry.server.work import Desk, call_all
from networks import write_onnx

HERE = "http://127.0.0.1:8765"
US = "127.0.0.1", 50_000
Start = Callable[..., tuple[subprocess.Popen[str], int]]


def png(image: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(image).save(content, "PNG")
    return content.getvalue()


@pytest.fixture(scope="module")
def sheet() -> np.ndarray:
    return write_sheet(["590", "31"], seed=4).image


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    settings = Settings(runs=tmp_path / "runs", drawings=tmp_path / "drawings", max_bytes=300_000)
    with TestClient(create_app(settings), base_url=HERE, client=US) as client:
        yield client


def is_problem(answer: Any, status: int, detail: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    said = answer.json()
    assert said["status"] == status
    assert re.search(detail, said["detail"]), said["detail"]
    assert "\n" not in said["detail"]


# ------------------------------------------------------------------------------------------ reading


def test_a_page_is_read_as_predict_reads_it(client: TestClient, sheet: np.ndarray) -> None:
    expected = json.loads(json.dumps(Reader(threads=1).read(sheet).to_dict()))
    as_body = client.post("/v1/read", content=png(sheet), headers={"content-type": "image/png"})
    as_form = client.post("/v1/read", files={"image": ("a.png", png(sheet), "image/png")})
    assert as_body.status_code == as_form.status_code == 200
    assert as_body.json() == as_form.json() == expected
    assert len(expected["digits"]) == 5


def test_how_a_page_is_read(client: TestClient, sheet: np.ndarray) -> None:
    content = png(sheet)
    single = client.post("/v1/read?single=true", content=content).json()
    assert len(single["digits"]) == 1
    unsure = client.post("/v1/read?min_confidence=1", content=content).json()
    assert {digit["label"] for digit in unsure["digits"]} == {None}
    assert unsure["text"] == "???\n??"
    seen = client.post("/v1/read?seen=true", content=content).json()["digits"]
    expected = Reader(threads=1).read(sheet).digits
    for digit, own in zip(seen, expected, strict=True):
        np.testing.assert_array_equal(digit["seen"], own.image)


@pytest.mark.parametrize(
    ("content", "kind", "status", "detail"),
    [
        (b"", "image/png", 422, "the body is empty, expected"),
        (b"hello", "image/png", 422, "is no readable image"),
        (b"hello", "text/plain", 415, "the body is text/plain, expected an image or a PDF"),
        (b"{}", "application/json", 415, "expected an image"),
        (b"x" * 300_001, "image/png", 413, "has 300,001 bytes, expected 300,000 at most"),
        (b"x", "multipart/form-data; boundary=y", 400, "."),
    ],
)
def test_what_cannot_be_read(
    client: TestClient, content: bytes, kind: str, status: int, detail: str
) -> None:
    answer = client.post("/v1/read", content=content, headers={"content-type": kind})
    is_problem(answer, status, detail)


def test_other_bad_requests(client: TestClient, sheet: np.ndarray) -> None:
    damaged = client.post("/v1/read", content=png(sheet)[:-200])
    is_problem(damaged, 422, "the image's bytes: is damaged or cut off")
    bomb = io.BytesIO()
    Image.new("1", (9000, 9000)).save(bomb, "PNG")
    is_problem(client.post("/v1/read", content=bomb.getvalue()), 413, "9000 x 9000 pixels")
    pages = io.BytesIO()
    some = [Image.new("L", (20, 20), 255)] * 21
    some[0].save(pages, "TIFF", save_all=True, append_images=some[1:])
    is_problem(client.post("/v1/read", content=pages.getvalue()), 413, "more than 20 pages")
    for query, detail in (
        ("min_confidence=2", "min_confidence: .*less than or equal to 1"),
        ("single=perhaps", "single: "),
    ):
        is_problem(client.post(f"/v1/read?{query}", content=png(sheet)), 422, detail)
    other = client.post("/v1/read?model=../x", content=png(sheet))
    is_problem(other, 404, r"there is none named '\.\./x', expected one of reader")
    is_problem(client.post("/v1/read", files={"other": b"x"}), 422, "no file named image")
    is_problem(client.post("/v1/read", data={"image": "x"}, files={"y": b""}), 422, "no file")
    is_problem(client.get("/nowhere"), 404, "GET /nowhere: not found; what there is .* /docs")
    is_problem(client.get("/v1/read"), 405, "GET /v1/read: method not allowed")


def test_classify(client: TestClient) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28), np.uint8)
    answer = client.post("/v1/classify", json={"images": images.tolist()})
    expected = Reader(threads=1).classify(images)
    found = [row["probabilities"] for row in answer.json()["answers"]]
    np.testing.assert_allclose(found, expected, atol=1.1e-4)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b'{"images": 1}',
        b'{"images": []}',
        b'{"images": [[[1, 2]]]}',
        b'{"images": ' + json.dumps([[[0.5] * 28] * 28]).encode() + b"}",
        b'{"images": ' + json.dumps([[[256] * 28] * 28]).encode() + b"}",
        b'{"images": ' + b"[" * 20_000 + b"]" * 20_000 + b"}",
        b'{"images": [[[1e999]]]}',
        b"\xff\xfe",
    ],
)
def test_what_cannot_be_classified(client: TestClient, body: bytes) -> None:
    is_problem(client.post("/v1/classify", content=body), 422, "28 rows of 28 whole numbers")


def test_bodies_together_are_bounded(tmp_path: Path, sheet: np.ndarray) -> None:
    """What is being sent is in memory before it can wait for its turn."""
    content = png(sheet)
    settings = Settings(runs=tmp_path, max_bytes=len(content), max_bodies=2 * len(content))
    guard = Guard(create_app(settings), settings, Metrics(CollectorRegistry()))
    statuses: list[int] = []

    async def ask(go: asyncio.Event) -> None:
        async def receive() -> Any:
            if not go.is_set():
                await go.wait()
                return {"type": "http.request", "body": content[-9:], "more_body": False}
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            statuses.extend([message["status"]] if "status" in message else [])

        parts = iter([{"type": "http.request", "body": content[:-9], "more_body": True}])

        async def both() -> Any:
            return next(parts, None) or await receive()

        headers = [(b"host", b"127.0.0.1"), (b"content-type", b"image/png")]
        scope = {"type": "http", "method": "POST", "path": "/v1/read", "headers": headers}
        rest = {"query_string": b"", "client": US, "scheme": "http", "server": US, "root_path": ""}
        await guard({**scope, **rest}, both, send)

    async def main() -> None:
        go = asyncio.Event()
        asking = [asyncio.create_task(ask(go)) for _ in range(3)]
        await asyncio.sleep(0.2)
        assert statuses == [503]
        go.set()
        await asyncio.gather(*asking)
        assert sorted(statuses) == [200, 200, 503]

    asyncio.run(main())


def test_long_json_and_large_drawings(tmp_path: Path) -> None:
    settings = Settings(runs=tmp_path, drawings=tmp_path / "drawings")
    with TestClient(create_app(settings), base_url=HERE, client=US) as client:
        body = b'{"images": [' + b" " * 4_000_000 + b"]}"
        for path in ("/v1/classify", "/v1/inside", "/v1/trainings"):
            is_problem(client.post(path, content=body), 413, "expected at most 4,000,000 of JSON")
        large = io.BytesIO()
        Image.new("1", (1001, 1000)).save(large, "PNG")
        answer = client.post("/v1/drawings?label=1", content=large.getvalue())
        is_problem(answer, 413, "has 1,001,000 pixels, expected at most 1,000,000")
        answer = client.post("/v1/drawings?label=1", content=b"x" * 1_000_001)
        is_problem(answer, 413, "has 1,000,001 bytes")
        assert not (tmp_path / "drawings").exists()


def test_too_many_to_classify(tmp_path: Path) -> None:
    with TestClient(create_app(Settings(runs=tmp_path)), base_url=HERE, client=US) as client:
        images = np.zeros((1001, 28, 28), np.uint8).tolist()
        is_problem(client.post("/v1/classify", json={"images": images}), 413, "are 1,001, expected")


# ------------------------------------------------------------------------------ models and drawings


def test_models(tmp_path: Path) -> None:
    (tmp_path / "fast-1.onnx").write_bytes(shipped())
    (tmp_path / "broken.onnx").write_bytes(b"no network")
    models = Models(None, tmp_path)
    assert [m["name"] for m in models.describe()] == ["reader", "fast-1"]
    network = models.network("fast-1")
    assert models.network("fast-1") is network
    os.utime(tmp_path / "fast-1.onnx", (1, 1))
    assert models.network("fast-1") is not network  # it was written anew
    for name in ("broken", "fast-2", "../fast-1", "", "fast-1.onnx", "\0"):
        with pytest.raises(ModelError):
            models.network(name)
    with pytest.raises(ModelError):
        Models(str(tmp_path / "broken.onnx"), tmp_path)


def test_models_that_are_left_out(client: TestClient, tmp_path: Path, sheet: np.ndarray) -> None:
    runs = tmp_path / "runs"
    runs.mkdir()
    for name in (b"\xff.onnx", b"new\nline.onnx"):
        (Path(os.fsdecode(os.fsencode(runs) + b"/" + name))).write_bytes(shipped())
    write_onnx(runs / "letters.onnx", {"classes": json.dumps(list("ABCDEFGHIJ"))})
    assert [m["name"] for m in client.get("/v1/models").json()["models"]] == ["reader"]
    read = client.post("/v1/read?model=zzz", content=png(sheet))
    is_problem(read, 404, "there is none named 'zzz', expected one of reader")
    for path in ("/v1/read", "/v1/inside", "/v1/classify"):
        body = png(sheet) if path == "/v1/read" else json.dumps({"image": [[0] * 28] * 28})
        kind = {} if path == "/v1/read" else {"content-type": "application/json"}
        if path == "/v1/classify":
            body = json.dumps({"images": [[[0] * 28] * 28]})
        answer = client.post(f"{path}?model=letters", content=body, headers=kind)
        is_problem(answer, 500, "letters.onnx: does not read the digits 0 to 9 first")


def test_a_trained_model_reads(client: TestClient, tmp_path: Path, sheet: np.ndarray) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "mine.onnx").write_bytes(shipped())
    names = [model["name"] for model in client.get("/v1/models").json()["models"]]
    assert names == ["reader", "mine"]
    own = client.post("/v1/read?model=mine", content=png(sheet)).json()
    assert own == client.post("/v1/read", content=png(sheet)).json()
    (tmp_path / "runs" / "mine.onnx").write_bytes(b"no network")
    broken = client.post("/v1/read?model=mine", content=png(sheet))
    is_problem(broken, 500, "mine.onnx: has no network that can be used")


def test_drawings_are_kept_by_label(client: TestClient, tmp_path: Path, sheet: np.ndarray) -> None:
    folder = tmp_path / "drawings"
    assert client.get("/v1/drawings").json() == {"folder": str(folder), "count": 0}
    assert not folder.exists()
    for count in (1, 2):
        answer = client.post("/v1/drawings?label=7", content=png(sheet))
        assert answer.status_code == 201
        said = answer.json()
        assert (said["folder"], said["count"]) == (str(folder), count)
        with Image.open(said["path"]) as kept:
            np.testing.assert_array_equal(np.asarray(kept), sheet)
        assert Path(said["path"]).parent == folder / "7"
    is_problem(client.post("/v1/drawings?label=10", content=png(sheet)), 422, "label: ")
    is_problem(client.post("/v1/drawings", content=png(sheet)), 422, "label: ")
    is_problem(client.post("/v1/drawings?label=7", content=b"x"), 422, "no readable image")
    assert len(list(folder.rglob("*.*"))) == 2


def test_a_drawing_is_taken_back(client: TestClient, tmp_path: Path, sheet: np.ndarray) -> None:
    kept = [client.post("/v1/drawings?label=7", content=png(sheet)).json() for _ in range(2)]
    (tmp_path / "drawings" / "7" / "notes.txt").touch()
    outside = tmp_path / "drawings" / "secret.png"
    outside.touch()
    for name in ("7/notes.txt", "7/..%2Fsecret.png", "8/" + kept[0]["name"][2:], "7/none.png"):
        is_problem(client.delete(f"/v1/drawings/{name}"), 404, "no drawing|not found")
    answer = client.delete(f"/v1/drawings/{kept[0]['name']}")
    assert (answer.status_code, answer.json()["count"]) == (200, 1)
    assert [Path(each["path"]).exists() for each in kept] == [False, True]
    is_problem(client.delete(f"/v1/drawings/{kept[0]['name']}"), 404, "no drawing named")
    assert outside.exists()


def test_a_folder_that_cannot_be_made(tmp_path: Path, sheet: np.ndarray) -> None:
    (tmp_path / "file").touch()
    settings = Settings(drawings=tmp_path / "file", runs=tmp_path)
    with TestClient(create_app(settings), base_url=HERE, client=US) as client:
        answer = client.post("/v1/drawings?label=7", content=png(sheet))
        is_problem(answer, 507, "cannot be made .* --drawings FOLDER")


# --------------------------------------------------------------------------------- who may ask what


@pytest.mark.parametrize(
    ("host", "passes"),
    [
        ("127.0.0.1:8765", True),
        ("localhost", True),
        ("LOCALHOST:80", True),
        ("[::1]:8765", True),
        ("192.168.1.7:8765", True),
        (socket.gethostname(), True),
        ("[", False),
        ("[::1", False),
        ("evil.example", False),
        ("localhost.evil.example:8765", False),
        ("", False),
        ("127.0.0.1.evil.example", False),
    ],
)
def test_another_name_does_not_lead_here(client: TestClient, host: str, passes: bool) -> None:
    for path in ("/v1/models", "/healthz", "/"):
        answer = client.get(path, headers={"host": host})
        assert (answer.status_code == 421) != passes
    if not passes:
        is_problem(answer, 421, "expected this server's own name; start it with --name")


@pytest.mark.parametrize(
    ("headers", "passes"),
    [
        ({}, True),  # no browser
        ({"origin": HERE}, True),
        ({"origin": HERE, "sec-fetch-site": "same-origin"}, True),
        ({"origin": "http://evil.example"}, False),
        ({"origin": "null"}, False),
        ({"origin": "https://127.0.0.1:8765"}, True),  # a proxy in front speaks TLS
        ({"origin": "http://127.0.0.1:9999"}, False),
        ({"sec-fetch-site": "cross-site"}, False),
    ],
)
def test_another_page_changes_nothing(
    client: TestClient, tmp_path: Path, sheet: np.ndarray, headers: dict[str, str], passes: bool
) -> None:
    answer = client.post("/v1/drawings?label=7", content=png(sheet), headers=headers)
    assert answer.status_code == (201 if passes else 403)
    assert (tmp_path / "drawings").exists() == passes
    stopped = client.delete("/v1/trainings/x", headers=headers)
    assert stopped.status_code == (404 if passes else 403)
    foreign = headers.get("sec-fetch-site") == "cross-site"  # what it asks for is work, too
    assert client.get("/v1/models", headers=headers).status_code == (403 if foreign else 200)
    assert client.get("/", headers=headers).status_code == 200  # a link to this page


def test_a_page_that_may(tmp_path: Path) -> None:
    friend = "https://friend.example"
    settings = Settings(origins=(friend,), runs=tmp_path, drawings=tmp_path)
    with TestClient(create_app(settings), base_url=HERE, client=US) as client:
        for origin, status, allowed in ((friend, 422, friend), ("http://evil.example", 403, None)):
            answer = client.post("/v1/read", headers={"origin": origin})
            assert answer.status_code == status
            assert answer.headers.get("access-control-allow-origin") == allowed
    settings = Settings(origins=(friend,), token="s3cret", runs=tmp_path)
    with TestClient(create_app(settings), base_url=HERE, client=US) as client:
        asked = {"access-control-request-method": "POST", "origin": friend}
        before = client.options("/v1/read", headers=asked)  # a browser shows no token yet
        assert before.status_code == 200
        assert before.headers["access-control-allow-origin"] == friend
        refused = client.post("/v1/read", headers={"origin": friend})
        assert refused.status_code == 401
        assert refused.headers["access-control-allow-origin"] == friend
    with pytest.raises(UsageError, match=r"expected one as https://example\.org"):
        Settings(origins=("friend.example",))


def test_a_token(tmp_path: Path) -> None:
    with TestClient(
        create_app(Settings(token="s3cret", runs=tmp_path)), base_url=HERE, client=US
    ) as client:
        for given in ({}, {"authorization": "Bearer other"}, {"authorization": "Bearer s3crét"}):
            sent = {name: value.encode("utf-8") for name, value in given.items()}
            answer = client.get("/v1/models", headers=sent)
            is_problem(answer, 401, "Authorization: Bearer TOKEN")
            assert answer.headers["www-authenticate"] == "Bearer"
            assert client.get("/metrics", headers=sent).status_code == 401
        for path in ("/", "/healthz", "/static/index.html"):
            assert client.get(path).status_code == 200
        for given, status in (("Bearer s3cret", 200), ("bearer  s3cret", 200), ("s3cret", 401)):
            right = client.get("/v1/models", headers={"authorization": given})
            assert right.status_code == status
    for token in ("", " ", "sécret", "a\nb", " a"):
        with pytest.raises(UsageError, match=r"^token: "):
            Settings(token=token)


def test_trainings_are_this_machines_alone(tmp_path: Path) -> None:
    for allowed in (False, True):
        app = create_app(Settings(allow_training=allowed, runs=tmp_path))
        with TestClient(app, base_url=HERE, client=("192.168.1.5", 5000)) as other:
            assert other.get("/v1/trainings").json()["allowed"] is allowed
            status = 422 if allowed else 403
            assert other.post("/v1/trainings", json={"preset": "none"}).status_code == status
            assert other.delete("/v1/trainings/x").status_code == (404 if allowed else 403)
    with TestClient(create_app(Settings(runs=tmp_path)), base_url=HERE, client=US) as here:
        for headers in (  # by a proxy
            {"x-forwarded-for": "1.2.3.4"},
            {"via": "1.1 proxy"},
            {"x-real-ip": "1.2.3.4"},
            {"host": "192.168.1.7:8765"},
        ):
            assert here.delete("/v1/trainings/x", headers=headers).status_code == 403


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"", "no JSON"),
        (b"[]", "another object"),
        (b'{"epochs": 1}', "another object"),
        (b'{"preset": "fast", "out": "/tmp"}', "another object"),
        (b'{"preset": 1}', "preset: is 1, expected string"),
        (b'{"preset": "fast", "epochs": true}', "epochs: is True"),
        (b'{"preset": "fast", "epochs": 1.5}', "epochs: is 1.5"),
        (b'{"preset": "fast", "learning_rate": NaN}', "learning_rate"),
        (b'{"preset": "slow"}', "slow"),
    ],
)
def test_trainings_that_cannot_be(client: TestClient, body: bytes, detail: str) -> None:
    is_problem(client.post("/v1/trainings", content=body), 422, detail)


@pytest.mark.parametrize("path", ["/v1/classify", "/v1/inside", "/v1/trainings"])
def test_json_has_to_be_called_json(path: str, client: TestClient) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded"):  # as forms send it
        answer = client.post(path, content=b"{}", headers={"content-type": kind})
        is_problem(answer, 415, f"the body is {kind}, expected JSON")
    named = {"content-type": "application/json; charset=utf-8"}
    assert client.post(path, content=b"{}", headers=named).status_code == 422


def test_the_head_of_an_answer(client: TestClient) -> None:
    for path, status in (("/healthz", 200), ("/", 200), ("/v1/models", 200), ("/v1/read", 405)):
        assert client.head(path).status_code == status


def test_several_hosts(client: TestClient) -> None:
    headers = [("host", "127.0.0.1:8765"), ("host", "evil.example")]
    assert client.get("/v1/models", headers=headers).status_code == 400


def test_every_answer_has_the_headers_of_a_careful_server(client: TestClient) -> None:
    for path in ("/", "/v1/models", "/nowhere", "/static/index.html", "/docs"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'")
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in headers
    assert client.get("/static/../app.py").status_code == 404
    assert client.get("/static/%2e%2e/app.py").status_code == 404


# ----------------------------------------------------------------------------------------- the rest


def test_metrics_and_health(client: TestClient, sheet: np.ndarray) -> None:
    assert client.get("/healthz").json() == client.get("/readyz").json() == {"status": "ok"}
    for content in (png(sheet), b"x"):
        client.post("/v1/read", content=content)
    client.get("/v1/nowhere")
    text = client.get("/metrics").text
    assert 'mnistry_requests_total{route="/v1/read",status="200"} 1.0' in text
    assert 'mnistry_requests_total{route="/v1/read",status="422"} 1.0' in text
    assert 'mnistry_requests_total{route="none",status="404"} 1.0' in text
    assert "mnistry_digits_total 5.0" in text
    assert 'mnistry_request_seconds_count{route="/v1/read"} 2.0' in text


def test_the_document_names_every_route(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    assert set(document["paths"]) == {
        "/v1/read",
        "/v1/classify",
        "/v1/models",
        "/v1/drawings",
        "/v1/drawings/{label}/{name}",
        "/v1/inside",
        "/v1/sets",
        "/v1/sets/{name}/{part}",
        "/v1/trainings",
        "/v1/trainings/{name}",
        "/healthz",
        "/readyz",
        "/metrics",
    }
    for methods in document["paths"].values():
        for method in methods.values():
            assert len(method["description"]) > 20
    assert document["security"] == [{}, {"token": []}]


def test_answers_are_as_the_document_says(client: TestClient, sheet: np.ndarray) -> None:
    document = client.get("/openapi.json").json()
    blank, image = [[0] * 28] * 28, png(sheet)
    name = client.post("/v1/drawings?label=7", content=image).json()["name"]
    asked: list[tuple[str, str, str, dict[str, Any]]] = [
        ("post", "/v1/read", "?seen=true", {"content": image}),
        ("post", "/v1/read", "", {"content": image}),
        ("post", "/v1/classify", "", {"json": {"images": [blank]}}),
        ("get", "/v1/models", "", {}),
        ("post", "/v1/inside", "", {"json": {"image": blank}}),
        ("post", "/v1/drawings", "?label=3", {"content": image}),
        ("get", "/v1/drawings", "", {}),
        ("delete", "/v1/drawings/{label}/{name}", name, {}),
        ("get", "/v1/sets", "", {}),
        ("get", "/v1/sets/{name}/{part}", "pen/test?limit=3", {}),
        ("get", "/v1/trainings", "", {}),
        ("get", "/healthz", "", {}),
        ("get", "/readyz", "", {}),
    ]
    for method, path, rest, body in asked:
        answer = client.request(method, path.partition("{")[0] + rest, **body)
        told = document["paths"][path][method]["responses"][str(answer.status_code)]
        shape = told["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        found = getattr(shapes, shape).model_validate(answer.json(), strict=True)
        assert found.model_dump(exclude_unset=True) == answer.json()


def test_what_is_too_much_is_refused_and_what_is_slow_is_given_up() -> None:
    async def main() -> None:
        desk = Desk(call_all, threads=2, at_a_time=1, max_waiting=3, seconds=0.5)
        go = threading.Event()
        waiting = [asyncio.create_task(desk.ask(lambda: go.wait(5))) for _ in range(3)]
        await asyncio.sleep(0.05)
        with pytest.raises(HTTPException) as refused:
            await desk.ask(int)
        assert refused.value.status_code == 503
        assert refused.value.headers == {"retry-after": "1"}
        slow = await asyncio.gather(*waiting, return_exceptions=True)
        assert [error.status_code for error in slow] == [503] * 3
        with pytest.raises(HTTPException):  # the threads still work on them
            await desk.ask(int)
        go.set()
        while desk._waiting:
            await asyncio.sleep(0.01)
        assert await desk.ask(lambda: 7) == 7
        with pytest.raises(ValueError, match="invalid literal"):
            await desk.ask(lambda: int("x"))
        given_up: list[int] = []
        go.clear()
        tasks = [asyncio.create_task(desk.ask(lambda: go.wait(5))) for _ in range(2)]
        await asyncio.sleep(0.05)
        tasks.append(asyncio.create_task(desk.ask(lambda: given_up.append(1))))
        await asyncio.gather(*tasks, return_exceptions=True)
        go.set()
        while desk._waiting:
            await asyncio.sleep(0.01)
        assert given_up == []  # nobody waited for it any more
        desk.close()

    asyncio.run(main())


def test_what_waits_is_worked_on_together() -> None:
    seen: list[list[int]] = []
    first, go = threading.Event(), threading.Event()

    def work(items: Any) -> list[Any]:
        seen.append(list(items))
        first.set()
        go.wait(5)
        if 99 in items:
            raise RuntimeError("a bug")
        return [ValueError(f"odd: {item}") if item % 2 else item * 10 for item in items]

    async def main() -> None:
        desk = Desk(work, threads=1, at_a_time=4, max_waiting=99, seconds=5)
        one = asyncio.create_task(desk.ask(0))
        await asyncio.to_thread(first.wait, 5)
        others = [asyncio.create_task(desk.ask(item)) for item in (2, 3, 4, 6, 99, 98)]
        await asyncio.sleep(0.05)
        go.set()
        answers = await asyncio.gather(one, *others, return_exceptions=True)
        assert seen == [[0], [2, 3, 4, 6], [99, 98]]
        assert [a if isinstance(a, int) else str(a) for a in answers] == [
            *(0, 20, "odd: 3", 40, 60),
            *("a bug", "a bug"),
        ]
        desk.close()

    asyncio.run(main())


def test_images_that_come_together_are_read_as_alone(sheet: np.ndarray, tmp_path: Path) -> None:
    models = Models(None, tmp_path)
    images = [png(sheet), b"", png(sheet[:60]), b"no image", png(sheet)]
    ways = [Asked("reader"), Asked("reader", single=True), Asked("reader", seen=True), Asked("x")]
    asked = [(image, way) for image in images for way in ways]
    together = read_all(models, asked)
    assert list(map(str, together)) == [str(read_all(models, [one])[0]) for one in asked]
    kinds = [type(answer).__name__ for answer in together]
    assert kinds[0:4] == ["Read", "Read", "Read", "MissingError"]
    assert kinds[4:8] == ["UsageError"] * 4
    assert kinds[12:16] == ["DataError", "DataError", "DataError", "MissingError"]
    readers = Readers(2, models, None, tmp_path, 30)
    assert list(map(str, readers.read_all(asked))) == list(map(str, together))
    readers.close()


def test_large_images_are_read_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = [0, 100_000, 90_000, 20_000, 5_000_000, 10, 10, 200_000]
    asked = [(bytes(size), Asked("reader")) for size in sizes]
    taken: list[list[int]] = []

    def read(self: Readers, images: Any, seconds: float) -> list[Any]:
        taken.append([len(image) for image, _ in images])
        return list(images)

    monkeypatch.setattr(Readers, "_read", read)
    readers = Readers(0, Models(None, tmp_path), None, tmp_path, 30)
    assert readers.read_all(asked) == asked  # type: ignore[comparison-overlap]
    assert taken == [[0, 100_000, 90_000], [20_000], [5_000_000], [10, 10], [200_000]]


def test_processes_that_end_while_they_read(
    sheet: np.ndarray, tmp_path: Path, started: list[subprocess.Popen[bytes]]
) -> None:
    """The one that does is replaced; the image that it read is at fault, and no other."""
    readers = Readers(1, Models(None, tmp_path), None, tmp_path, 30)
    page, way = png(sheet), Asked("reader")
    for killed in range(2):
        assert [type(a).__name__ for a in readers.read_all([(page, way)] * 2)] == ["Read"] * 2
        assert len(started) == killed + 1
        started[-1].kill()
        started[-1].wait()
        (answer,) = readers.read_all([(page, way)])
        assert isinstance(answer, DataError)
        assert "made the process that read it end" in str(answer)
    started[-1].kill()  # with several, each is tried again
    assert [type(a).__name__ for a in readers.read_all([(page, way)] * 3)] == ["Read"] * 3
    readers.close()
    assert all(process.returncode is not None for process in started)


def test_a_bug_on_the_way_to_a_process_is_no_answer_to_others(
    sheet: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readers = Readers(1, Models(None, tmp_path), None, tmp_path, 30)
    first, second = [(png(part), Asked("reader")) for part in (sheet, sheet[:60])]
    expected = readers.read_all([second])
    with monkeypatch.context() as broken:
        broken.setattr("mnistry.server.readers.receive_answers", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            readers.read_all([first])
    assert readers.read_all([second]) == expected
    readers.close()


def test_a_bug_in_a_process_is_told_as_one(
    sheet: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("odd")

    models = Models(None, tmp_path)
    monkeypatch.setattr(Reader, "read_many", broken)
    (answer,) = read_all(models, [(png(sheet), Asked("reader"))])
    assert type(answer) is MnistryError
    assert "a bug in mnistry, please report it (RuntimeError('odd'))" in str(answer)


def test_an_image_that_takes_too_long(sheet: np.ndarray, tmp_path: Path) -> None:
    readers = Readers(1, Models(None, tmp_path), None, tmp_path, 0.001)
    page, way = png(np.tile(sheet, (6, 6))), Asked("reader")
    (answer,) = readers.read_all([(page, way)])
    assert "it took more than 0.001 seconds" in str(answer)
    readers.close()


def test_where_no_process_can_be_started(
    sheet: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    models = Models(None, tmp_path)
    readers = Readers(2, models, None, tmp_path, 30)
    asked = [(png(sheet), Asked("reader"))]
    assert readers.read_all(asked) == read_all(models, asked)
    readers.close()


def test_a_bug_is_told_but_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Models) -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr(Models, "describe", broken)
    app = create_app(Settings(runs=tmp_path))
    with TestClient(app, base_url=HERE) as client:
        answer = client.get("/v1/models")
        is_problem(answer, 500, "a bug in mnistry, please report it")
        assert "secret" not in answer.text
        assert "content-security-policy" in answer.headers


@pytest.mark.parametrize(
    "name", ["workers", "max_bytes", "max_bodies", "max_pages", "max_waiting", "seconds"]
)
def test_limits_out_of_range(name: str) -> None:
    with pytest.raises(UsageError, match=rf"^{name}: is 0, expected more than 0"):
        Settings(**{name: 0})


# ----------------------------------------------------------------------------------- real processes


@pytest.fixture(scope="module")
def serving_for_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a server that many requests are sent to."""
    with running(tmp_path_factory.mktemp("server")) as start:
        yield start()[1]


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Start]:
    with running(tmp_path) as start:
        yield start


@contextmanager
def running(folder: Path) -> Iterator[Start]:
    """Starts `mnistry serve` in a folder; gives the process and its port."""
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> tuple[subprocess.Popen[str], int]:
        process = subprocess.Popen(
            [sys.executable, "-m", "mnistry", "serve", "--port", "0", *arguments],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        processes.append(process)
        assert process.stdout is not None
        found = re.fullmatch(r"http://127\.0\.0\.1:(\d+)\n", process.stdout.readline())
        assert found, process.stderr
        health = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
        assert ask(int(found[1]), health).endswith(b'{"status":"ok"}')
        return process, int(found[1])

    try:
        yield start
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def ask(port: int, request: bytes, timeout: float = 20) -> bytes:
    """Sends raw bytes; gives all that comes back until the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout) as connection:
        connection.sendall(request)
        parts = []
        while part := connection.recv(65536):
            parts.append(part)
        return b"".join(parts)


def post(content: bytes, path: str = "/v1/read") -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: image/png\r\n"
        f"content-length: {len(content)}\r\nconnection: close\r\n\r\n"
    ).encode() + content


def test_heads_are_bounded(serving_for_all: int) -> None:
    start = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n"
    long = ask(serving_for_all, start + b"x: " + b"y" * 200_000)
    many = ask(serving_for_all, start + b"a: b\r\n" * 20_000)
    for answer in (long, many):
        assert answer.startswith(b"HTTP/1.1 431 ")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["status"] == 431
    close = b"connection: close\r\n\r\n"
    fits = ask(serving_for_all, start + b"x: " + b"y" * 50_000 + b"\r\n" + close)
    assert fits.startswith(b"HTTP/1.1 200 OK")
    twice = ask(serving_for_all, start + b"\r\n" + start + close)  # one after the other, at once
    assert twice.count(b"HTTP/1.1 200 OK") == 2
    chunked = start + b"transfer-encoding: chunked\r\n\r\n0\r\n"
    trailers = ask(serving_for_all, chunked + b"a: b\r\n" * 200_000)  # headers after a body
    assert trailers.startswith(b"HTTP/1.1 200 OK")
    assert trailers.count(b"HTTP/1.1") <= 2
    second = ask(serving_for_all, start + b"\r\n" + start + b"x: " + b"y" * 200_000)
    assert b"HTTP/1.1 431" not in second[:20]  # it is no answer to the first
    body = ask(serving_for_all, post(b"x" * 300_000))  # what comes after a head is none
    assert body.startswith(b"HTTP/1.1 422 ")


def test_a_head_that_does_not_come(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(protocol, "SECONDS", 0.4)
    settings = Settings(runs=tmp_path, drawings=tmp_path)
    config = uvicorn.Config(create_app(settings), http=protocol.BoundedHeads, log_level="warning")
    server = uvicorn.Server(config)
    with listen("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            started = time.monotonic()
            assert ask(port, b"") == b""
            late = ask(port, b"GET /healthz HTTP/1.1\r\n")
            assert late.startswith(b"HTTP/1.1 408 ")
            assert time.monotonic() - started < 10
            whole = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"
            with socket.create_connection(("127.0.0.1", port), 20) as kept:
                for _ in range(3):  # a connection that waits between requests stays
                    kept.sendall(whole)
                    assert kept.recv(65536).startswith(b"HTTP/1.1 200 OK")
                    time.sleep(0.6)
        finally:
            server.should_exit = True
            thread.join(20)
    assert not thread.is_alive()


def test_a_stop_answers_what_was_accepted(serving: Start, sheet: np.ndarray) -> None:
    process, port = serving()
    large = png(np.tile(sheet, (4, 4)))
    request = post(large)
    answers: list[bytes] = []
    ask(port, b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
    with socket.create_connection(("127.0.0.1", port), 20) as slow:
        slow.sendall(request[:-10])
        time.sleep(0.3)
        os.killpg(process.pid, signal.SIGTERM)  # its children, too, as systemd does it
        time.sleep(0.3)
        slow.sendall(request[-10:])
        while part := slow.recv(65536):
            answers.append(part)
    assert b"".join(answers).startswith(b"HTTP/1.1 200 OK")
    assert process.wait(20) == -signal.SIGTERM  # as whoever stopped it expects
    assert process.communicate()[1] == ""


@pytest.mark.slow
def test_several_processes_answer_and_count_together(serving: Start, sheet: np.ndarray) -> None:
    process, port = serving("--workers", "2")
    deadline = time.monotonic() + 60
    pages = 0
    while pages < 20 and time.monotonic() < deadline:
        pages += ask(port, post(png(sheet))).startswith(b"HTTP/1.1 200")
    text = ask(port, b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
    assert b"mnistry_digits_total 100.0" in text
    process.send_signal(signal.SIGINT)
    assert process.wait(30) in (0, 130)


def test_bodies_that_lie(serving: Start) -> None:
    _, port = serving()
    head = b"POST /v1/read HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: image/png\r\n"
    declared = ask(port, head + b"content-length: 99999999999\r\n\r\n")
    assert declared.startswith(b"HTTP/1.1 413")
    chunk = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
    chunked = head + b"transfer-encoding: chunked\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), 20) as connection:
        connection.sendall(chunked)
        with suppress(BrokenPipeError, ConnectionResetError):  # it closes when it has had enough
            for _ in range(64):
                connection.sendall(chunk)
            assert connection.recv(100).startswith(b"HTTP/1.1 413")
    for nonsense in (
        b"GET\r\n\r\n",
        b"\x16\x03\x01\x02",
        head + b"content-length: x\r\n\r\n",
    ):
        assert ask(port, nonsense + b"\r\n\r\n").startswith(b"HTTP/1.1 400")


@pytest.mark.slow
@pytest.mark.parametrize("mode", list(GenerationMode))
def test_whatever_is_asked_is_answered(serving_for_all: int, mode: GenerationMode) -> None:
    """Requests made from the OpenAPI document, as it says or just not so."""
    document = schemathesis.openapi.from_url(f"http://127.0.0.1:{serving_for_all}/openapi.json")
    statuses: set[int] = set()

    for found in document.get_all_operations():
        operation = found.ok()

        @hypothesis.settings(max_examples=60, suppress_health_check=list(hypothesis.HealthCheck))
        @hypothesis.given(operation.as_strategy(generation_mode=mode))
        def ask(case: schemathesis.Case) -> None:
            answer = case.call()
            statuses.add(answer.status_code)
            assert answer.status_code < 500, answer.text
            if answer.status_code >= 400:
                assert answer.headers["content-type"] == ["application/problem+json"]

        with suppress(hypothesis.errors.Unsatisfiable):  # nothing to get wrong
            ask()
    assert statuses >= {404, 422} | ({200} if mode == GenerationMode.POSITIVE else set())


def test_who_goes_away_is_no_bug(serving: Start, sheet: np.ndarray) -> None:
    process, port = serving()
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", port), 20) as connection:
            connection.sendall(post(png(sheet))[:-10])
    assert ask(port, post(png(sheet))).startswith(b"HTTP/1.1 200")
    metrics = ask(port, b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
    assert b'status="500"' not in metrics
    process.send_signal(signal.SIGINT)
    assert process.wait(30) in (-signal.SIGINT, 130)
    assert process.communicate()[1] == ""


def test_a_port_that_is_taken(mnistry: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, out, err = mnistry("serve", "--port", port)
    assert (code, out) == (2, "")
    assert re.fullmatch(
        rf"mnistry: 127\.0\.0\.1, port {port}: cannot be listened at \(.+\); name another .*\n", err
    )
    code, _, err = mnistry("serve", "--host", "nowhere.invalid")
    assert code == 2
    assert re.search(r"cannot be listened at \([^\[]*(known|resol|found)[^\[]*\)", err), err


_LISTS = """
import json, sys
import mnistry.server.app
print(json.dumps(sorted(name for name in sys.modules if "." not in name)))
"""


def test_the_server_needs_no_torch() -> None:
    found = subprocess.run([sys.executable, "-c", _LISTS], capture_output=True, check=True)
    names = set(json.loads(found.stdout))
    assert "fastapi" in names
    assert not names & {"torch", "onnx", "matplotlib", "scipy", "pandas"}
