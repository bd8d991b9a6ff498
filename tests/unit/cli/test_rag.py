"""`headrace rag` against a gateway in memory: files go in under stable names, and every mistake is one sentence."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.cli import rag
from serve_app.cli.main import main
from serve_app.cli.rag_files import batches, named_files
from serve_app.core import Overloaded

Run = Callable[..., int]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """`headrace rag …`, to its exit code."""

    def run(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["headrace", "rag", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        return int(end.value.code or 0)

    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """`manuals` with two documents, what is none, and what is hidden."""
    root = tmp_path / "manuals"
    (root / "pumps").mkdir(parents=True)
    (root / ".git").mkdir()
    for name, text in (
        ("pumps/oil.md", "the pump needs oil"),
        ("roof.txt", "the roof is green"),
        ("program.exe", "no text"),
        (".git/notes.md", "hidden"),
    ):
        (root / name).write_text(text)
    return root


class Server:
    """Answers like a gateway that takes everything in but files with `poison`; remembers the requests."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []
        self.first: list[httpx.Response] = []
        """Given before anything else."""

    def request(self, method: str, url: str, **more: Any) -> httpx.Response:
        with httpx.Client(transport=httpx.MockTransport(self._handle)) as client:
            return client.request(method, url, **more)

    def _handle(self, request: httpx.Request) -> httpx.Response:
        body = request.read()
        self.requests.append(request)
        if self.first:
            return self.first.pop(0)
        if request.method == "DELETE":
            return httpx.Response(200, json={"id": "a.md", "collection": "default", "name": "default"})
        if request.method == "GET":
            return httpx.Response(200, json=PAGES[request.url.path](dict(request.url.params)))
        names = [
            line.partition(b'filename="')[2].partition(b'"')[0] for line in body.split(b"\r\n") if b"filename" in line
        ]
        errors = [{"id": "bad", "message": "'bad' cannot be read."}] * body.count(b"poison")
        report = {"documents": len(names) - len(errors), "unchanged": 0, "chunks": len(names), "remarks": []}
        report |= {"collection": "default", "version": "v1", "errors": errors}
        if len(errors) == len(names):
            return httpx.Response(400, json={"error": {"message": "None was taken in."}, **report})
        return httpx.Response(207 if errors else 200, json=report)


PASSAGE = {"score": 0.5, "similarity": 0.25, "document_id": "[a].md", "start": 0, "end": 9, "text": "the  pump\noil"}
DOCUMENT = {"title": "Pumps", "owner": None, "chunks": 2, "ingested_at": "2026-01-01T00:00:00Z"}
PAGES: dict[str, Callable[[dict[str, str]], Any]] = {
    "/v1/rag/search": lambda params: {"data": [PASSAGE] if params["q"] == "pump" else [], "remarks": []},
    "/v1/rag/collections": lambda params: {"data": [{"name": "default", "documents": 2, "chunks": 4}]},
    "/v1/rag/documents": lambda params: {
        "data": [{"id": "b.md" if "after" in params else "a.md", **DOCUMENT}],
        "has_more": "after" not in params,
    },
}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    found = Server()
    monkeypatch.setattr(httpx, "request", found.request)
    monkeypatch.setattr(rag, "_WAIT_S", 0.0)
    return found


def test_files_are_named_from_the_folder_on_wherever_the_command_runs(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["manuals/pumps/oil.md", "manuals/roof.txt"]
    assert list(named_files([folder])) == names
    monkeypatch.chdir(folder)
    assert list(named_files([Path()])) == names
    assert list(named_files([Path("program.exe")])) == ["program.exe"]


@given(st.lists(st.integers(0, 6_000_000), max_size=80))
def test_batches_hold_every_file_once_in_order_and_stay_small(sizes: list[int]) -> None:
    class Sized:
        def __init__(self, size: int) -> None:
            self.st_size = size

        def stat(self) -> "Sized":
            return self

    files: Any = {str(number): Sized(size) for number, size in enumerate(sizes)}
    found = list(batches(files))
    assert [name for batch in found for name in batch] == list(files)
    for batch in found:
        assert 1 <= len(batch) <= 32
        assert len(batch) == 1 or sum(file.stat().st_size for file in batch.values()) <= 4_000_000


def test_a_folder_is_sent_and_the_sum_is_told(
    run: Run, server: Server, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("ingest", str(folder), "--collection", "plant", "--metadata", "year=2024", "--key", "secret-key") == 0
    (request,) = server.requests
    body = request.read()
    assert b'filename="manuals/pumps/oil.md"' in body and b"the pump needs oil" in body
    assert b'name="collection"\r\n\r\nplant' in body and b'{"year": "2024"}' in body
    assert request.headers["authorization"] == "Bearer secret-key"
    assert capsys.readouterr().out.startswith("Collection default: 2 documents taken in, 0 of them")


def test_what_is_refused_is_listed_and_the_rest_goes_in(
    run: Run, server: Server, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "bad.txt").write_text("poison")
    assert run("ingest", str(folder)) == 1
    told = capsys.readouterr()
    assert told.err.strip() == "Not taken in: 'bad' cannot be read."
    assert told.out.startswith("Collection default: 2 documents") and told.out.strip().endswith("1 refused.")
    assert run("ingest", str(folder / "bad.txt"), "--json") == 1
    assert json.loads(capsys.readouterr().out)["errors"] == [{"id": "bad", "message": "'bad' cannot be read."}]


def test_a_full_server_is_asked_again_and_a_large_file_is_named(
    run: Run, server: Server, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    full = httpx.Response(429, json={"error": {"message": str(Overloaded("Too many wait."))}})
    server.first = [full, full]
    assert run("ingest", str(folder)) == 0
    assert len(server.requests) == 3
    server.first = [httpx.Response(413, json={"error": {"message": "It is too large."}})]
    assert run("ingest", str(folder / "roof.txt")) == 1
    assert "roof.txt: It is too large. See rag.max_request_mb." in capsys.readouterr().err


def test_searching_and_listing_print_tables_or_json(
    run: Run, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("search", "pump", "--limit", "3", "--mode", "text", "--where", "a:b", "--rerank") == 0
    table = capsys.readouterr().out
    assert "[a].md" in table and "the pump oil" in table
    assert dict(server.requests[-1].url.params) == {
        "q": "pump",
        "limit": "3",
        "mode": "text",
        "where": "a:b",
        "rerank": "true",
    }
    assert run("search", "roof") == 0
    assert capsys.readouterr().out == "Nothing was found.\n"
    assert run("search", "pump", "--json") == 0
    assert json.loads(capsys.readouterr().out)["data"] == [PASSAGE]
    assert run("list") == 0
    assert "default" in capsys.readouterr().out
    assert run("list", "default", "--json") == 0
    assert [one["id"] for one in json.loads(capsys.readouterr().out)] == ["a.md", "b.md"]
    assert run("list", "default") == 0
    assert "everybody" in capsys.readouterr().out


def test_deleting_names_the_document_by_its_whole_path(
    run: Run, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("delete", "manuals/a b.md", "--collection", "plant") == 0
    assert server.requests[-1].url.raw_path == b"/v1/rag/documents/manuals%2Fa%20b.md?collection=plant"
    assert run("drop", "default", "--key", "admin-key") == 0
    assert server.requests[-1].url.path == "/v1/rag/collections/default"
    assert capsys.readouterr().out == "a.md of collection default is deleted.\nCollection default is deleted.\n"


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("ingest", "nowhere"), 2, "nowhere is not there"),
        (("ingest", "."), 2, "There is nothing to send"),
        (("ingest", "a/x.md", "b/x.md"), 2, "would both be 'x.md'"),
        (("ingest", "a/x.md", "--metadata", "year"), 2, "year"),
        (("search", "a", "--limit", "0"), 2, ""),
        (("search", "a", "--mode", "magic"), 2, ""),
        (("search", "a", "--key", "schlüssel"), 2, "no HTTP header can carry"),
    ],
)
def test_a_mistake_is_one_sentence(
    arguments: tuple[str, ...],
    code: int,
    sentence: str,
    run: Run,
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    if "a/x.md" in arguments:
        for name in ("a", "b"):
            Path(name).mkdir()
            (Path(name) / "x.md").write_text("text")
    monkeypatch.setenv("COLUMNS", "300")
    assert run(*arguments) == code
    told = capsys.readouterr().err
    assert sentence in " ".join(told.replace("│", " ").split())
    assert not server.requests


def test_the_server_s_own_sentence_is_told(run: Run, server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    for status, told in ((404, "There is no collection 'x'."), (503, "The store is away.")):
        server.first = [httpx.Response(status, json={"error": {"message": told}})]
        assert run("search", "pump", "--collection", "x") == 1
        assert capsys.readouterr().err == f"headrace: {told}\n"
    server.first = [httpx.Response(401, json={"error": {"message": "No API key was given."}})]
    assert run("list") == 1
    assert capsys.readouterr().err == "headrace: No API key was given. Give a key with --key or HEADRACE_API_KEY.\n"
