"""The Python blocks of docs/api.md run."""

import re


def test_every_python_block_runs(repo, serving, capsys):
    page = (repo / "docs" / "api.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert blocks
    url, _ = serving()
    for block in blocks:
        exec(compile(block.replace("http://127.0.0.1:8000", url), "docs/api.md", "exec"), scope := {})
        scope["client"].close()
    assert "a small answer" in capsys.readouterr().out
