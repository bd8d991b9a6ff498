"""A stage is done once for its inputs, and again where it was broken off or its inputs changed."""

import json

import pytest

from serve_app.core import DataError
from serve_app.distill.stages import RECORD, digest_of, stage


class Work:
    """Writes a file, and may break off after it."""

    def __init__(self, fail=False):
        self.found, self.fail = [], fail

    async def __call__(self, folder):
        self.found.append((folder / "half").exists())
        (folder / "half").touch()
        if self.fail:
            raise OSError("killed")
        return {"calls": len(self.found)}


async def test_a_stage_with_the_same_inputs_is_left_as_it_is(tmp_path):
    work = Work()
    first, second = await stage(tmp_path / "s", "a", work), await stage(tmp_path / "s", "a", work)
    assert (len(work.found), first.again, second.again) == (1, False, True)
    assert second.figures == {"calls": 1}


async def test_other_inputs_begin_with_an_empty_folder(tmp_path):
    work = Work()
    await stage(tmp_path / "s", "a", work)
    assert (await stage(tmp_path / "s", "b", work)).figures == {"calls": 2}
    assert work.found == [False, False]


async def test_a_stage_that_was_broken_off_finds_what_it_had(tmp_path):
    with pytest.raises(OSError, match="killed"):
        await stage(tmp_path / "s", "a", Work(fail=True))
    work = Work()
    assert not (await stage(tmp_path / "s", "a", work)).again
    assert work.found == [True]


async def test_a_stage_that_was_done_is_undone_by_one_that_breaks_off(tmp_path):
    await stage(tmp_path / "s", "a", Work())
    with pytest.raises(OSError, match="killed"):
        await stage(tmp_path / "s", "b", Work(fail=True))
    assert not (tmp_path / "s" / RECORD).exists()
    work = Work()
    await stage(tmp_path / "s", "a", work)
    assert work.found == [False], "what lies there is of other inputs"


async def test_a_damaged_record_is_an_error(tmp_path):
    await stage(tmp_path / "s", "a", Work())
    (tmp_path / "s" / RECORD).write_text(json.dumps(["no record"]))
    with pytest.raises(DataError, match="delete it, and the stage is done again"):
        await stage(tmp_path / "s", "a", Work())


def test_a_digest_counts_the_bytes_of_files(tmp_path):
    file = tmp_path / "f"
    file.write_text("1")
    before = digest_of("x", file)
    assert digest_of("x", file) == before
    file.write_text("2")
    assert digest_of("x", file) != before
