"""What is left to keep a program in where the kernel does not, and programs that go for just that."""

from functools import partial

import pytest

from serve_app.core import ConfigError
from serve_app.labelling.sandbox import run
from serve_app.labelling.sandbox.run import SandboxLimits
from serve_app.labelling.scorers import Item, scorer

run_tests = partial(run.run_tests, without_namespaces=True)


@pytest.fixture
def no_namespaces(monkeypatch):
    """As on macOS."""
    main = "import serve_app.labelling.sandbox.examiner as e; e.fence.separate = lambda *_: []; e.main()"
    monkeypatch.setattr(run, "_BOOT", run._BOOT.replace("main()", main))


def test_without_namespaces_nothing_is_run_unless_asked_for(no_namespaces, tmp_path):
    code = f"open({str(tmp_path / 'written')!r}, 'w')"
    with pytest.raises(ConfigError, match=r"no user, network, .* namespace here.* without_namespaces=true"):
        run.run_tests(code, ["pass"])
    item = Item("?", "def f(): return 1", tests=("assert f() == 1",))
    with pytest.raises(ConfigError, match="namespace"):
        scorer("code").judge(item)
    assert scorer("code", without_namespaces="true").judge(item) == 1


def test_without_namespaces_the_hook_alone_still_refuses(no_namespaces, tmp_path):
    path = tmp_path / "written"
    code = "def f(way):\n    return eval(way)"
    for way in (f"open({str(path)!r}, 'w')", "__import__('socket').socket()", "__import__('os').fork()"):
        outcome = run_tests(code, [f"assert f({way!r}) == 1"])
        assert outcome.reason.startswith("PermissionError")
        assert outcome.namespaces == ()
    assert not path.exists()


FRAMES = """
def frames():
    try:
        raise ValueError
    except ValueError as error:
        frame = error.__traceback__.tb_frame
    while frame:
        yield frame
        frame = frame.f_back
"""


EMPTY_THE_TUPLES = """
import sys, os
def f(path):
    fence = next(f.f_globals[n] for f in frames() for n in ("fence", "hook") if n in f.f_globals)
    sys.modules["ctypes"].memmove(id(fence._REFUSED) + 16, bytes(8), 8)
    sys.modules["ctypes"].memmove(id(fence._PATHS) + 16, bytes(8), 8)
    os.system("touch " + path)
    return 1
"""
CALL_AN_ADDRESS = """
def f(path):
    seen, left = [], [object]
    while left:
        kind = left.pop()
        seen.append(kind)
        left += [sub for sub in type.__subclasses__(kind) if sub not in seen]
    function = next(kind for kind in seen if kind.__name__ == "CFuncPtr")
    return function.__name__ and 1
"""
LOAD_UNDER_ANOTHER_NAME = """
import sys
from importlib import machinery
def f(path):
    for folder in sys.path:
        found = machinery.FileFinder(folder, (machinery.ExtensionFileLoader, machinery.EXTENSION_SUFFIXES))
        spec = found.find_spec("_ctypes")
        if spec:
            import importlib.util
            other = importlib.util.spec_from_file_location("mine._ctypes", spec.origin)
            return importlib.util.module_from_spec(other) and 1
    raise PermissionError("it is built in")
"""
LOAD_ITS_OWN_MACHINE_CODE = """
import shutil, sys
from importlib import machinery, util
def f(path):
    name, suffix = "_bisect", machinery.EXTENSION_SUFFIXES[0]
    spec = machinery.PathFinder.find_spec(name)
    copy = __import__("os").path.join(HERE, "mine" + suffix)
    open("mine" + suffix, "wb").write(open(spec.origin, "rb").read() if spec and spec.has_location else b"")
    return util.module_from_spec(util.spec_from_file_location(name, copy)) and 1
"""


@pytest.mark.parametrize(
    "attack",
    [
        EMPTY_THE_TUPLES,
        CALL_AN_ADDRESS,
        LOAD_UNDER_ANOTHER_NAME,
        *(LOAD_ITS_OWN_MACHINE_CODE.replace("HERE", here) for here in ('""', "__import__('os').getcwd()")),
        "import ctypes\ndef f(path):\n    return 1",
    ],
)
@pytest.mark.parametrize("namespaces", [True, False])
def test_no_program_gets_at_the_hook_or_at_machine_code(attack, namespaces, request, tmp_path):
    if not namespaces:
        request.getfixturevalue("no_namespaces")
    path = tmp_path / "written"
    limits = SandboxLimits(disk_bytes=1 << 22)
    outcome = run_tests(FRAMES + attack, [f"assert f({str(path)!r}) == 1"], limits=limits)
    assert outcome.passed == 0
    assert not path.exists()
