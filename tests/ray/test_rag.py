"""Documents on a running graph: real encoder, real store, real small models, two retriever replicas, three keys."""

import concurrent.futures
import itertools
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import openai
import psutil
import pytest
from asking import ask, eventually, ready, text_of
from conftest import settings_file
from launching import Served, launch
from test_sockets import is_loopback, open_sockets

from serve_app import catalogue
from serve_app.config import load

pytestmark = pytest.mark.cluster

USERS = {"ann": "ann-secret-key", "bob": "bob-secret-key"}
ADMIN = "ops-secret-key"
WITHIN_S = 60.0
"""Of a change until every replica shows it: half a second where cores are free."""
SEARCHES = 12
"""In a row, so that both replicas are asked."""

PUMP = (
    "# Pump P7\n\nThe pump P7 must be oiled every ninety days with Ferrolube 40. Stop the motor before you open it.\n"
)
NEWER = "# Pump P7\n\nThe pump P7 must be oiled every thirty days with Silkoil 12. Stop the motor before you open it.\n"
ROOF = "# Roof\n\nThe roof of the hall is green copper and was laid in 1911 by the Brothers Anders.\n"
QUESTION = "How often must the pump P7 be oiled?"


class Documents:
    """One key's way to the server; remembers the ids of the queries that it asked."""

    asked: list[str]

    def __init__(self, served: Served, key: str, asked: list[str]) -> None:
        headers = {"authorization": f"Bearer {key}"}
        self.http = httpx.Client(base_url=f"{served.url}/v1/rag", headers=headers, timeout=180)
        self.openai = openai.OpenAI(base_url=f"{served.url}/v1", api_key=key, max_retries=0, timeout=180)
        self.asked = asked

    def put(self, collection: str | None = None, **texts: str) -> dict[str, Any]:
        documents = [{"id": name, "text": text} for name, text in texts.items()]
        body = {"documents": documents} | ({"collection": collection} if collection else {})
        answer = self.http.post("/documents", json=body)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def found(self, q: str, collection: str = "default", **params: Any) -> list[dict[str, Any]]:
        answer = self.http.get("/search", params={"q": q, "collection": collection, **params})
        assert answer.status_code == 200, answer.text
        return list(answer.json()["data"])

    def everywhere(self, q: str, collection: str = "default") -> list[list[str]]:
        """What some searches in a row find, by the texts' documents."""
        return [[one["document_id"] for one in self.found(q, collection)] for _ in range(SEARCHES)]

    def ask(self, text: str, model: str = "rag", **parameters: Any) -> Any:
        answer = ask(self.openai, text, model=model, max_tokens=24, **parameters)
        self.asked.append(answer.headrace["query_id"])
        return answer


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The graph `rag` of the demo, on a document store of its own; pulls what is missing."""
    settings = load("demo")
    for name in (settings.specialists.model, settings.fallback.model, settings.rag.encoder):
        catalogue.pull(name)
    folder = tmp_path_factory.mktemp("rag")
    two = {"retriever": {"num_cpus": 0, "min_replicas": 2, "max_replicas": 2}}
    config = settings_file(
        folder,
        rag={"store": str(folder / "documents"), "max_document_mb": 0.5, "timeout_s": 30},
        gateway={"api_keys": USERS, "admin_keys": {"ops": ADMIN}},
        deployments=two,
    )
    served = launch("rag", config, folder / "stderr.log")
    yield served
    served.stop()


@pytest.fixture(scope="module")
def asked() -> list[str]:
    return []


@pytest.fixture(scope="module")
def keys(graph: Served, asked: list[str]) -> Iterator[dict[str, Documents]]:
    """Name -> that key's way to the server."""
    made = {name: Documents(graph, key, asked) for name, key in {**USERS, "ops": ADMIN}.items()}
    yield made
    for one in made.values():
        one.http.close()
        one.openai.close()


@pytest.fixture(scope="module")
def ops(keys: dict[str, Documents]) -> Documents:
    return keys["ops"]


def test_before_there_are_documents_the_model_answers_without(ops: Documents) -> None:
    answer = ops.ask("Say hello.")
    assert answer.headrace["outcome"] == "accepted"
    assert not answer.headrace.get("citations")
    assert ops.http.get("/search", params={"q": "a"}).json()["error"]["code"] == "collection_not_found"
    assert ops.http.get("/collections").json()["data"] == []


def version_everywhere(ops: Documents) -> str | None:
    """Of the only collection, once all replicas say the same of it."""
    said = {ops.http.get("/collections").json()["data"][0]["version"] for _ in range(SEARCHES)}
    return said.pop() if len(said) == 1 else None


def test_documents_come_are_cited_change_and_go_on_every_replica(ops: Documents) -> None:
    report = ops.put(pump=PUMP, roof=ROOF)
    assert (report["documents"], report["errors"]) == (2, [])
    eventually(lambda: all(found[:1] == ["pump"] for found in ops.everywhere(QUESTION)), WITHIN_S)
    answer = ops.ask(QUESTION)
    cited = answer.headrace["citations"]
    assert cited and cited[0]["document"] == "pump"
    assert PUMP[cited[0]["start"] : cited[0]["end"]].strip()
    streamed = list(ask(ops.openai, QUESTION, model="rag", max_tokens=24, stream=True))
    ops.asked.append(streamed[-1].headrace["query_id"])
    assert text_of(streamed) == answer.choices[0].message.content
    assert streamed[-1].headrace["citations"] == cited

    assert ops.put(pump=PUMP)["unchanged"] == 1
    before = eventually(lambda: version_everywhere(ops), WITHIN_S)
    ops.put(pump=NEWER)
    found = eventually(
        lambda: (
            (texts := [ops.found(QUESTION)[0]["text"] for _ in range(SEARCHES)])
            and all("thirty" in text for text in texts)
            and texts
        ),
        WITHIN_S,
    )
    assert not any("ninety" in text for text in found)
    assert eventually(lambda: version_everywhere(ops), WITHIN_S) != before

    assert ops.http.delete("/documents/pump").json()["deleted"] is True
    eventually(lambda: all("pump" not in found for found in ops.everywhere(QUESTION)), WITHIN_S)
    eventually(lambda: [one["id"] for one in ops.http.get("/documents").json()["data"]] == ["roof"], WITHIN_S)
    assert ops.http.delete("/documents/pump").status_code == 404


def test_a_key_s_documents_are_its_own(keys: dict[str, Documents]) -> None:
    ann, bob, ops = keys["ann"], keys["bob"], keys["ops"]
    ann.put(secret="The code of Ann's safe in the cellar is 4711 and must not be told.")
    question = "What is the code of the safe in the cellar?"
    eventually(lambda: all(found[:1] == ["secret"] for found in ann.everywhere(question)), WITHIN_S)
    assert not any("secret" in found for found in (*bob.everywhere(question), *ops.everywhere(question)))
    mine = [cited["document"] for cited in ann.ask(question).headrace["citations"]]
    theirs = [cited["document"] for cited in bob.ask(question).headrace.get("citations") or []]
    assert "secret" in mine and "secret" not in theirs
    assert bob.http.delete("/documents/secret").status_code == 404
    assert ops.http.get("/search", params={"q": question, "owner": "ann"}).json()["data"]
    assert ann.http.delete("/documents/secret").status_code == 200


def test_broken_and_huge_documents_are_named_and_the_others_land(ops: Documents) -> None:
    files = [
        ("files", ("good.md", b"# Good\n\nThe good document is about lighthouses.", "text/markdown")),
        ("files", ("broken.pdf", b"%PDF-1.7\n1 0 obj <<", "application/pdf")),
        ("files", ("huge.txt", b"All work and no play. " * 30_000, "text/plain")),
    ]
    answer = ops.http.post("/documents", files=files, data={"collection": "mixed"})
    assert answer.status_code == 207, answer.text
    assert {error["id"] for error in answer.json()["errors"]} == {"broken.pdf", "huge.txt"}
    assert all(len(error["message"]) < 400 for error in answer.json()["errors"])
    eventually(lambda: all(found == ["good.md"] for found in ops.everywhere("lighthouses", "mixed")), WITHIN_S)


def test_an_emptied_collection_finds_nothing(ops: Documents) -> None:
    ops.put("brief", note="A note that will not stay.")
    ops.http.delete("/documents/note", params={"collection": "brief"})
    eventually(lambda: not any(ops.everywhere("note", "brief")), WITHIN_S)


def test_a_collection_may_be_dropped_while_it_is_searched(ops: Documents) -> None:
    stop, statuses = threading.Event(), set()

    def search() -> None:
        for number in itertools.count():
            q = f"ferry number {number}"
            statuses.add(ops.http.get("/search", params={"q": q, "collection": "doomed"}).status_code)
            if stop.is_set():
                return

    ops.put("doomed", ferry="The ferry leaves at nine.")
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        searches = [pool.submit(search) for _ in range(3)]
        try:
            eventually(lambda: 200 in statuses, WITHIN_S)
            assert ops.http.delete("/collections/doomed").json()["deleted"] is True
            eventually(lambda: 404 in statuses, WITHIN_S)
        finally:
            stop.set()
        for one in searches:
            one.result()
    assert statuses == {200, 404}
    eventually(lambda: "doomed" not in [one["name"] for one in ops.http.get("/collections").json()["data"]], WITHIN_S)


def test_an_ingest_goes_on_when_its_process_is_killed_and_searches_go_on_meanwhile(
    graph: Served, ops: Documents
) -> None:
    ops.put("long", short="The short document is about windmills.")
    eventually(lambda: all("short" in found for found in ops.everywhere("windmills", "long")), WITHIN_S)
    story = "\n\n".join(f"Chapter {number}. The miller counted {number} sacks of corn." for number in range(4_000))

    def working() -> list[psutil.Process]:
        return [process for process in graph.processes() if "_take_in" in _command_line(process)]

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        ingest = pool.submit(ops.put, "long", story=story)
        (victim,) = eventually(working, WITHIN_S)
        assert ops.found("windmills", "long")[0]["document_id"] == "short"
        victim.kill()
        assert ingest.result()["documents"] == 1
    eventually(lambda: all("story" in found for found in ops.everywhere("miller", "long")), WITHIN_S)


def _command_line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def test_the_retriever_is_probed_and_listens_on_loopback_only(graph: Served) -> None:
    ready(graph, ADMIN, retriever="ok")
    assert {event["name"] for event in graph.events if event["event"] == "deployment"} >= {"Retriever", "Gateway"}
    sockets = open_sockets(graph.processes())
    assert "Retriever" in " ".join(sockets.values())
    assert not {address: name for address, name in sockets.items() if not is_loopback(address[0])}


def test_no_loop_waits_for_a_search(graph: Served, ops: Documents) -> None:
    ops.put("busy", **{f"text{number}": f"{ROOF} {number}" for number in range(40)})
    command = [sys.executable, str(Path(__file__).parent / "handle_client.py"), graph.ray_address, "2"]

    def lag_ms() -> float:
        stop = threading.Event()

        def search() -> None:
            while not stop.is_set():
                ops.found("Who laid the roof?", "busy")

        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            searches = [pool.submit(search) for _ in range(3)]
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True)
            finally:
                stop.set()
            for one in searches:
                one.result()
        return float(json.loads(done.stdout.splitlines()[-1])["Retriever"])

    assert any(lag_ms() < 50 for _ in range(3)), "a machine that is busy with something else is late once, not always"


def test_the_command_line_takes_a_folder_in_and_finds_it(graph: Served, tmp_path: Path) -> None:
    folder = tmp_path / "manuals"
    folder.mkdir()
    (folder / "pump.md").write_text(PUMP)
    (folder / "roof.txt").write_text(ROOF)

    def headrace(*arguments: str) -> Any:
        command = [sys.executable, "-m", "serve_app.cli", "rag", *arguments, "--url", graph.url, "--key", ADMIN]
        done = subprocess.run([*command, "--json"], capture_output=True, text=True, timeout=180, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    report = headrace("ingest", str(folder), "--collection", "manuals")
    assert (report["documents"], report["unchanged"], report["errors"]) == (2, 0, [])
    assert headrace("ingest", str(folder), "--collection", "manuals")["unchanged"] == 2
    eventually(
        lambda: (
            (found := headrace("search", QUESTION, "--collection", "manuals")["data"])
            and found[0]["document_id"] == "manuals/pump.md"
        ),
        WITHIN_S,
    )
    eventually(lambda: len(headrace("list", "manuals")) == 2, WITHIN_S)
    assert headrace("delete", "manuals/pump.md", "--collection", "manuals")["deleted"] is True
    assert headrace("drop", "manuals")["deleted"] is True


def test_the_ledger_has_one_row_for_every_query_with_what_the_retriever_took(
    graph: Served, ops: Documents, asked: list[str]
) -> None:
    ops.ask(QUESTION)
    with closing(httpx.Client(headers={"authorization": f"Bearer {ADMIN}"}, timeout=60)) as http:
        for query_id in asked:
            response = eventually(
                lambda query_id=query_id: (
                    (answer := http.get(f"{graph.url}/v1/ledger/queries/{query_id}")).status_code == httpx.codes.OK
                    and answer
                ),
                WITHIN_S,
            )
            account = response.json()
            assert account["requested_model"] == "rag"
            retriever = account["attempts"][0]
            assert (retriever["node"], retriever["role"]) == ("retriever", "retriever")
            assert account["cost_usd"] > 0
