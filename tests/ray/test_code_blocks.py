"""Every command and program in the README and the quick start is run, against the graph with the demo's models."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from launching import Served

PAGES = ("README.md", "docs/quickstart.md")
ADDRESS = "http://127.0.0.1:8000"
COMMANDS = ("curl", "make", "headrace", ".venv/bin/headrace")
NOT_RUN = ("headrace serve --config FILE", "headrace router train --data queries.jsonl --out DIR")
"""In the text of the pages with a stand-in for a file of the reader's own; tests of their own run them."""


def blocks(text: str) -> list[tuple[str, str]]:
    """(language, code) of each fenced or indented block."""
    fenced = re.findall(r"^```(\w+)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    rest = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    indented = re.findall(r"(?:^|\n\n)((?:    .*\n|\n(?=    ))+)", rest)
    return [*fenced, *(("", re.sub(r"^    ", "", block, flags=re.MULTILINE)) for block in indented)]


def commands(code: str) -> list[str]:
    """The commands in a block, `$ ` and comments aside; an open quote or `|` goes on in the next line."""
    found: list[str] = []
    open_command = False
    for line in code.splitlines():
        words = line.removeprefix("$ ")
        if open_command:
            found[-1] += "\n" + line
        elif words.partition(" ")[0] in COMMANDS:
            found.append(words)
        else:
            continue
        open_command = found[-1].count("'") % 2 == 1 or found[-1].rstrip().endswith(("|", "\\"))
    return found


def listed() -> list[tuple[str, str, str]]:
    found = []
    for page in PAGES:
        text = (Path(__file__).parents[2] / page).read_text(encoding="utf-8")
        for language, code in blocks(text):
            if language == "python":
                found.append((page, "python", code))
            found += [(page, "shell", command) for command in commands(code)]
    return found


LISTED = listed()


def test_the_pages_have_commands_and_programs() -> None:
    said = " ".join(code for _, _, code in LISTED)
    assert all(word in said for word in ("curl", "make serve", "make test", "headrace ask", "ledger report", "OpenAI("))


@pytest.mark.parametrize(("page", "kind", "code"), LISTED, ids=[code.splitlines()[0][:50] for _, _, code in LISTED])
def test_it_runs(page: str, kind: str, code: str, production: Served, repo: Path, tmp_path: Path) -> None:
    if code.partition("#")[0].strip() in NOT_RUN:
        pytest.skip("it names a file of the reader's own")
    code = code.replace(ADDRESS, production.url)
    environment = os.environ | {
        "HEADRACE_CONFIG": str(production.settings),
        "PYTHONPATH": os.pathsep.join([str(repo), os.environ.get("PYTHONPATH", "")]),
        "COLUMNS": "200",
    }
    if kind == "python":
        arguments = [sys.executable, "-c", code]
    else:
        if "jq " in code and shutil.which("jq") is None:
            pytest.skip("jq is not installed")
        arguments = ["bash", "-euo", "pipefail", "-c", as_here(code, production.url)]
    run = subprocess.run(arguments, capture_output=True, text=True, cwd=repo, env=environment, timeout=180)
    assert run.returncode == 0, f"{page}: {code}\n{run.stdout}\n{run.stderr}"
    assert run.stdout.strip()


@pytest.mark.parametrize("example", ["openai_client.py", "langchain_client.py", "curl.sh"])
def test_the_examples_run(example: str, production: Served, repo: Path) -> None:
    program = "bash" if example.endswith(".sh") else sys.executable
    run = subprocess.run(
        [program, str(repo / "examples" / example), production.url], capture_output=True, text=True, timeout=180
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert len(run.stdout.splitlines()) >= 2


def as_here(code: str, url: str) -> str:
    """With this interpreter in the place of the installed command; `make` only says what it would do."""
    command = shlex.join([sys.executable, "-m", "serve_app.cli"])
    code = re.sub(r"(?m)^(\.venv/bin/)?headrace ", f"{command} ", code)
    code = code.replace("serve_app.cli ask ", f"serve_app.cli ask --url {url} ")
    return re.sub(r"(?m)^make ", "make -n ", code)
