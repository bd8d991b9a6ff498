"""The page of figures puts a second machine's results beside this one's, and nothing where there are none."""

import json
import shutil
from pathlib import Path

from bench.machine import RESULTS
from bench.readme_figures.elsewhere import FOLDER, elsewhere


def test_targets_that_both_have_measured_stand_side_by_side(tmp_path: Path) -> None:
    hop = json.loads((RESULTS / FOLDER / "router_hop.json").read_text())
    shutil.copytree(RESULTS / FOLDER, tmp_path / FOLDER)
    hop["rows"]["everyday"]["p50_ms"], hop["machine"]["processor"] = 4.0, "Abacus"
    (tmp_path / "router_hop.json").write_text(json.dumps(hop))
    lines = elsewhere(tmp_path).splitlines()
    assert "Here, as above: Abacus, 2 cores." in lines[0]
    row = "| under 5 ms added at the median on the everyday mix, hop included | 4.00 ms | 5.20 ms, not met |"
    assert lines[4:] == [row]


def test_without_a_second_machine_nothing_is_said(tmp_path: Path) -> None:
    shutil.copy(RESULTS / "router_hop.json", tmp_path)
    assert elsewhere(tmp_path) == ""
