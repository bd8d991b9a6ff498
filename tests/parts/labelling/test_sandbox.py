"""Programs that are right, wrong or hostile. Every one is really run, in processes of its own."""

import json
import os
from functools import partial
from pathlib import Path

import pytest

from serve_app.core import DataError
from serve_app.labelling.sandbox import run
from serve_app.labelling.sandbox.run import SandboxLimits
from serve_app.labelling.scorers import Item, scorer

run_tests = partial(run.run_tests, without_namespaces=True)
"""These programs are ours, so that a machine whose kernel has no namespaces for us may run them as well."""
FOREVER = SandboxLimits(timeout_s=0.7)


def passed(code, *tests, setup="", limits=None):
    outcome = run_tests(code, tests, setup, limits)
    assert (outcome.passed == outcome.total) is (outcome.reason == "")
    return outcome.passed == outcome.total


def test_a_right_program_passes_and_the_reason_says_why_a_wrong_one_does_not():
    tests = ("assert add(1, 2) == 3", "assert add(2, 2) == 4")
    assert passed("def add(a, b):\n    return a + b", *tests)
    outcome = run_tests("def add(a, b):\n    return 3", tests)
    assert (outcome.passed, outcome.total, outcome.reason) == (1, 2, "AssertionError: ")
    assert run_tests("def add(a, b:", tests).reason.startswith("SyntaxError")
    assert run_tests("def plus(a, b):\n    return a + b", tests).reason.startswith("NameError")


RICH = """
import collections, dataclasses, datetime, functools, math, re
from decimal import Decimal
from fractions import Fraction

@dataclasses.dataclass(order=True)
class Point:
    x: int
    y: int = 0
    def moved(self, by):
        return Point(self.x + by, self.y)

Pair = collections.namedtuple("Pair", "a b")
LIMIT = 7

@functools.lru_cache
def same(value):
    return value

def back(value):
    return value

def count(text):
    return collections.Counter(text)

def upto(n):
    for i in range(n):
        yield i

def sort_in_place(rows, seen):
    rows.sort()
    seen["n"] = len(rows)

def fail():
    raise KeyError("gone")

def spread(*args, **named):
    return args, named
"""


CROSSINGS = [
    "assert back([1, (2.5, None), {'a': {3}, 4: b'5'}]) == [1, (2.5, None), {'a': {3}, 4: b'5'}]",
    "assert math.isnan(back(float('nan'))) and back(float('inf')) == float('inf') and back(1 + 2j) == 1 + 2j",
    "assert same(10 ** 5000) == 10 ** 5000 and back(True) is True and back(range(3)) == range(3)",
    "from collections import deque\nassert back(deque([1])) == deque([1])",
    "assert back(Decimal('0.1')) == Decimal('0.1') and back(Fraction(1, 3)) == Fraction(1, 3)",
    "assert back(datetime.date(2024, 2, 29)) == datetime.date(2024, 2, 29)",
    "assert back(datetime.timedelta(hours=1)) == datetime.timedelta(hours=1)",
    "assert count('aab') == {'a': 2, 'b': 1} and LIMIT == 7 and back(frozenset({1})) == frozenset({1})",
    "assert list(upto(3)) == [0, 1, 2] and next(upto(1)) == 0 and sum(upto(4)) == 6",
    "rows, seen = [3, 1], {}\nsort_in_place(rows, seen)\nassert rows == [1, 3] and seen == {'n': 2}",
    "try:\n    fail()\nexcept KeyError as error:\n    assert 'gone' in str(error)\nelse:\n    assert False",
    "assert spread(1, *[2], key=[3]) == ((1, 2), {'key': [3]})",
    "point = Point(1)\nassert point.moved(2).x == 3 and point == Point(1, 0) and str(point) == 'Point(x=1, y=0)'",
    "assert [p.x for p in sorted([Point(2), Point(1)])] == [1, 2] and back(Point(5)).x == 5",
    "assert Pair(1, 2) == (1, 2)",
    "def check(candidate):\n    assert candidate(4) == 4\ncheck(back)",
]


def test_values_objects_and_exceptions_cross_as_tests_expect():
    outcome = run_tests(RICH, CROSSINGS, run_all=True)
    assert (outcome.passed, outcome.reason) == (len(CROSSINGS), "")


def test_setup_is_there_for_the_program_and_for_the_tests():
    setup = "import math\nclass Node:\n    def __init__(self, value):\n        self.value = value\n"
    setup += "def truth():\n    return 4"
    code = "def value(node):\n    return math.floor(node.value)\ndef truth():\n    return 5"
    assert passed(code, "assert value(Node(4.5)) == 4", "assert truth() == 4 and math.pi > 3", setup=setup)


def test_a_program_may_have_the_name_of_a_builtin_where_that_is_what_is_asked_for():
    assert passed("def sum(a, b):\n    return a + b", "assert sum(1, 2) == 3")


EQUAL = "class Same(list):\n    def __eq__(self, other):\n        return True\n    __ne__ = lambda *_: False\n"


@pytest.mark.parametrize(
    "code",
    [
        "import os\nos._exit(0)",
        "import sys\nsys.exit(0)",
        "raise SystemExit",
        "def f(x):\n    import os\n    os._exit(0)",
        "def f(x):\n    raise SystemExit(0)",
        "print('1 passed')\nprint({'passed': 1, 'nonce': ''})\nimport os\nos._exit(0)",
        "import os, contextlib\nfor d in range(30):\n    with contextlib.suppress(OSError):\n"
        "        os.write(d, b'\\0\\0\\0\\x02{}')",
        EQUAL + "def f(x):\n    return Same()",
        "class Any:\n    def __eq__(self, other):\n        return True\ndef f(x):\n    return Any()",
        "class Any(int):\n    def __eq__(self, other):\n        return True\ndef f(x):\n    return Any(5)",
        EQUAL + "import builtins\nbuiltins.sorted = builtins.list = Same\ndef f(x):\n    return 0",
        "import builtins\nbuiltins.AssertionError = builtins.Exception = BaseException\ndef f(x):\n    return 0",
        "import math\nmath.isclose = lambda *a, **k: True\nsorted = lambda *_: [3]\ndef f(x):\n    return 0",
        "import sys\nsys.modules.clear()\ndef f(x):\n    return 0",
        "import sys\nsys.settrace(lambda *_: None)\ndef f(x):\n    frame = sys._getframe()\n    while frame.f_back:\n"
        "        frame = frame.f_back\n        frame.f_globals.clear()\n    return 0",
        "import threading, os\nthreading.Timer(0.01, os._exit, [0]).start()\ndef f(x):\n    while True: pass",
        "import signal, os\ndef f(x):\n    os.kill(os.getppid(), signal.SIGKILL)",
        "def f(x):\n    raise MemoryError",
        "def f(x):\n    return f(x)",
        "def f(x):\n    y = []\n    y.append(y)\n    return y",
        "class E(Exception):\n    def __str__(self):\n        raise self\ndef f(x):\n    raise E",
    ],
)
def test_no_trick_passes_for_the_right_value(code):
    tests = ["import math\nassert math.isclose(f(2), 3)", "assert sorted([f(2)]) == [3]", "assert f(2) == 3"]
    outcome = run_tests(code, tests, limits=SandboxLimits(timeout_s=2), run_all=True)
    assert outcome.passed == 0
    assert outcome.reason


@pytest.mark.parametrize(
    "code",
    [
        "while True:\n    pass",
        "def f():\n    while True:\n        print('x' * 100000)",
        "import time\ndef f():\n    time.sleep(1000)",
        "import signal, contextlib, os\nfor number in range(1, 20):\n    with contextlib.suppress(OSError):\n"
        "        signal.signal(number, signal.SIG_IGN)\nwith contextlib.suppress(OSError):\n    os.setsid()\n"
        "while True:\n    pass",
    ],
)
def test_a_program_without_end_is_ended_and_leaves_no_process(code, monkeypatch):
    started = []
    popen = run.subprocess.Popen
    monkeypatch.setattr(run.subprocess, "Popen", lambda *a, **k: started.append(popen(*a, **k)) or started[-1])
    outcome = run_tests(code, ["assert f() == 1"], limits=FOREVER)
    assert outcome.reason == "the time was up"
    with pytest.raises(ProcessLookupError):
        os.killpg(started[0].pid, 0)


def test_a_program_of_endless_length_is_not_even_started():
    assert "characters" in run_tests("#" * 10**7, ["pass"]).reason


def test_memory_is_bounded():
    outcome = run_tests("def f():\n    return len(' ' * 10**10)", ["assert f() == 10**10"])
    assert outcome.reason.startswith("MemoryError")


def test_forking_is_refused():
    outcome = run_tests("import os\ndef f():\n    while True:\n        os.fork()", ["assert f() is None"])
    assert outcome.reason.startswith("PermissionError: os.fork")


BY_EVAL = "open('mine', 'w').close()\ndef f(way):\n    return eval(way)"


def test_nothing_outside_the_folder_is_changed(tmp_path):
    path, kept = tmp_path / "written", tmp_path / "kept"
    kept.write_text("whole")
    ways = [
        f"open({str(path)!r}, 'w').write('x')",
        f"__import__('os').open({str(path)!r}, 66)",
        f"__import__('io').FileIO({str(path)!r}, 'w').close()",
        f"__import__('pathlib').Path({str(path)!r}).write_text('x')",
        f"__import__('os').rename('mine', {str(path)!r})",
        f"__import__('os').mkdir({str(path)!r})",
        f"__import__('os').remove({str(kept)!r})",
        f"__import__('os').truncate({str(kept)!r}, 0)",
        f"open('../..{path}', 'w').close()",
        f"__import__('os').symlink({str(kept)!r}, 'link') or open('link', 'w').close()",
        f"__import__('os').chdir('/') or open({str(path)[1:]!r}, 'w').close()",
        f"__import__('sqlite3').connect({str(path)!r}).close()",
        f"__import__('subprocess').run(['touch', {str(path)!r}]).returncode",
        f"__import__('os').system('touch {path}')",
        f"__import__('ctypes').CDLL(None).creat({os.fsencode(path)!r}, 511)",
    ]
    outcome = run_tests(BY_EVAL, [f"f({way!r})" for way in ways], run_all=True)
    assert outcome.passed == 0
    assert not path.exists()
    assert kept.read_text() == "whole"


def test_files_in_its_own_folder_are_the_programs_and_are_gone_afterwards(monkeypatch):
    folders = []
    mkdtemp = run.tempfile.mkdtemp
    monkeypatch.setattr(run.tempfile, "mkdtemp", lambda **k: folders.append(mkdtemp(**k)) or folders[-1])
    assert passed("def f():\n    open('a', 'w').write('x')\n    return open('a').read()", "assert f() == 'x'")
    assert not Path(folders[0]).exists()


def test_disk_is_bounded():
    assert not passed("def f():\n    open('a', 'wb').write(bytes(1 << 26))\n    return 1", "assert f() == 1")


def test_neither_environment_nor_files_nor_network_can_be_read(monkeypatch):
    monkeypatch.setenv("HEADRACE_TEST_SECRET", "hunter2")
    ways = [
        "__import__('os').environ['HEADRACE_TEST_SECRET']",
        "__import__('os').environ['PATH']",
        "open('/proc/self/environ').read()",
        "open('/proc/' + str(__import__('os').getppid()) + '/environ').read()",
        "__import__('ctypes').CDLL(None).getenv(b'HEADRACE_TEST_SECRET')",
        "__import__('subprocess').run(['env'], capture_output=True).stdout.decode()",
        "open(__import__('os').path.expanduser('~/.netrc')).read()",
        "len(__import__('gc').get_objects())",
        "__import__('socket').create_connection(('127.0.0.1', 9)) and 1",
        "__import__('urllib.request').request.urlopen('http://127.0.0.1:9').read()",
    ]
    outcome = run_tests(BY_EVAL, [f"f({way!r})" for way in ways], run_all=True)
    assert outcome.passed == 0


def test_expected_values_are_not_in_the_programs_memory():
    code = (
        "import sys\ndef f():\n    frame, seen = sys._getframe(), []\n    while frame:\n"
        "        seen += [repr(frame.f_locals), repr(frame.f_globals)]\n        frame = frame.f_back\n"
        "    found = [s for s in seen if 'sesame' + '-17' in s]\n    return 'sesame' + '-17' if found else ''"
    )
    assert not passed(code, "assert f() == 'sesame-17'")


def test_reference_solutions_pass(data_dir):
    lines = (data_dir / "mbpp/test.jsonl").read_text(encoding="utf-8").splitlines()[:5]
    for row in map(json.loads, lines):
        assert passed(row["code"], *row["test_list"], setup=row["test_setup_code"])


def test_tests_that_hand_over_a_function_cannot_be_run():
    outcome = run_tests("def f(g):\n    return g(1)", ["assert f(lambda x: x) == 1"])
    assert outcome.untestable
    assert "function" in outcome.reason


def test_the_scorer_takes_the_fenced_block_and_can_give_a_share():
    item = Item(
        "?", "Here:\n```python\ndef f(x):\n    return 1\n```\nDone.", tests=("assert f(0) == 1", "assert f(0) == 2")
    )
    assert scorer("code", without_namespaces=True).judge(item) == 0
    assert scorer("code", partial=True, without_namespaces=True).judge(item) == 0.5
    with pytest.raises(DataError, match="`tests` is missing"):
        scorer("code").judge(Item("?", "def f(): ..."))
    with pytest.raises(DataError, match="`tests` 2 is no Python"):
        scorer("code").judge(Item("?", "def f(): ...", tests=("f()", "assert f( ==")))


def test_the_examiner_imports_no_module_that_the_tests_do_not_name():
    code = "import antigravity as f, math\ndef g():\n    return math.pi"
    assert passed(code, "import sys\nassert g() > math.e and 'antigravity' not in sys.modules")
    assert not passed(code, "assert f")


async def test_the_scorer_gives_none_where_nothing_can_be_told():
    item = Item("?", "def f(g): return g(1)", tests=("assert f(lambda x: x) == 1",))
    assert await scorer("code", without_namespaces=True).score(item) is None
