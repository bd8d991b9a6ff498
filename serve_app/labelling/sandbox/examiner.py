"""The examiner process: starts the answer process, then runs the tests against stand-ins for its functions."""

from __future__ import annotations

import ast
import builtins
import importlib
import os
import signal
import sys
from contextlib import suppress
from typing import Any

from serve_app.labelling.sandbox import fence
from serve_app.labelling.sandbox.wire import WireError, decode, encode, receive, send

_BUILTINS = frozenset(dir(builtins))
_ANSWER = (
    "import sys; sys.path.insert(0, sys.argv[1]); from serve_app.labelling.sandbox.answer import main; "
    "sys.path.pop(0); main()"
)


class ProgramFailed(BaseException):
    """The program is gone or broke off; no test can catch it."""


class Untestable(Exception):
    """The tests want something that cannot cross to the program."""


class Remote:
    """Stands for an object of the answer process. What it gives is asked for there and comes back as plain data."""

    __slots__ = ("_ask", "_handle")

    def __init__(self, ask: Any, handle: int) -> None:
        object.__setattr__(self, "_ask", ask)
        object.__setattr__(self, "_handle", handle)

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        return self._ask("call", self._handle, args, keywords)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._ask("get", self._handle, (), {}, name)

    def __getitem__(self, key: Any) -> Any:
        return self._ask("item", self._handle, (key,))

    def __len__(self) -> Any:
        return self._ask("length", self._handle)

    def __iter__(self) -> Any:
        return self._ask("iterate", self._handle)

    def __next__(self) -> Any:
        return self._ask("next", self._handle)

    def __str__(self) -> Any:
        return self._ask("text", self._handle)

    def __repr__(self) -> Any:
        return self._ask("repr", self._handle)

    def __bool__(self) -> Any:
        return self._ask("truth", self._handle)

    def __contains__(self, one: Any) -> Any:
        return self._ask("contains", self._handle, (one,))

    def __lt__(self, other: Any) -> Any:
        return self._ask("less", self._handle, (other,)) if isinstance(other, Remote) else NotImplemented

    def __eq__(self, other: Any) -> Any:
        """Only objects of the program may be equal by its own rule; with data of the tests there is no such word."""
        return self._ask("equal", self._handle, (other,)) if isinstance(other, Remote) else False

    def __hash__(self) -> int:
        return int(self._handle)


class Program:
    """The answer process as the tests see it."""

    def __init__(self, process_id: int, requests: int, replies: int) -> None:
        self._process_id, self._requests, self._replies = process_id, requests, replies

    def begin(self, job: dict[str, str]) -> None:
        """Hand over the program. Raises nothing: one that is gone already is found out by `names`."""
        with suppress(BrokenPipeError):
            send(self._requests, job)

    def names(self) -> dict[str, Any]:
        """What the program defined. Raises ProgramFailed when it did not run to its end."""
        reply = self._received()
        if "error" in reply:
            raise ProgramFailed(f"{reply['error']}: {reply['text']}")
        return dict(reply["names"])

    def ask(self, operation: str, target: int, args: Any = (), keywords: Any = None, name: str = "") -> Any:
        """The result of an operation; raises what the program raised. Changed arguments are changed here as well."""
        request = {"operation": operation, "target": target, "name": name}
        request |= {"args": encode(list(args), _handle_of), "keywords": encode(keywords or {}, _handle_of)}
        try:
            send(self._requests, request)
        except OSError:
            raise ProgramFailed("the program ended early") from None
        reply = self._received()
        if "error" in reply:
            raise _raised(str(reply["error"]), str(reply["text"]))
        for index, new in dict(reply.get("changed", {})).items():
            _replace(args[int(index)], self.value(new))
        return self.value(reply["value"])

    def end(self) -> None:
        """Kill the process and take it off the system's list."""
        os.kill(self._process_id, signal.SIGKILL)
        os.waitpid(self._process_id, 0)

    def value(self, raw: Any) -> Any:
        """Decoded, with stand-ins for objects."""
        return decode(raw, lambda handle: Remote(self.ask, handle))

    def _received(self) -> dict[str, Any]:
        try:
            reply = receive(self._replies)
        except EOFError:
            raise ProgramFailed("the program ended early") from None
        except WireError as error:
            raise ProgramFailed(str(error)) from None
        if not isinstance(reply, dict) or not {"names", "value", "error"} & reply.keys():
            raise ProgramFailed("a message is damaged")
        return reply


def main() -> None:
    """Examine what comes on standard input; the outcome goes to standard output, as one message."""
    sys.set_int_max_str_digits(0)
    job, result = receive(0), os.dup(1)
    in_effect = fence.separate(job["folder"], job["disk_bytes"])
    missing = [name for name in fence.NAMESPACES if name not in in_effect]
    if missing and not job["without_namespaces"]:
        send(result, {"nonce": receive(0)["nonce"], "missing": missing})
        os._exit(0)
    program = _start(job)
    fence.hide()
    exam = receive(0)  # only now, so that the answer process has never had it
    signal.signal(signal.SIGALRM, _time_is_up)
    signal.setitimer(signal.ITIMER_REAL, job["timeout_s"])
    found = _examine(program, exam)
    signal.setitimer(signal.ITIMER_REAL, 0)
    program.end()
    send(result, {"nonce": exam["nonce"], "namespaces": in_effect, **found})
    os._exit(0)


def _time_is_up(signum: int, frame: Any) -> None:
    raise ProgramFailed("the time was up")


def _start(job: Any) -> Program:
    ask_read, ask_write = os.pipe()
    reply_read, reply_write = os.pipe()
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    os.dup2(null, 2)
    if process_id := os.fork():
        os.close(ask_read)
        os.close(reply_write)
        program = Program(process_id, ask_write, reply_read)
        program.begin({name: job[name] for name in ("folder", "setup", "code")})
        return program
    try:
        os.dup2(null, 0)
        for descriptor in (ask_read, reply_write):
            os.set_inheritable(descriptor, True)
        fence.confine(job["timeout_s"], job["memory_bytes"], job["disk_bytes"])
        arguments = ["-I", "-S", "-c", _ANSWER, job["root"], str(ask_read), str(reply_write)]
        os.execve(sys.executable, [sys.executable, *arguments], {})
    finally:
        os._exit(0)


def _examine(program: Program, exam: Any) -> dict[str, Any]:
    """How many tests passed, and what the first failure was."""
    passed = 0
    problems: list[str] = []
    try:
        names = _names(program, exam)
    except (Exception, ProgramFailed) as error:
        return {"passed": 0, "reason": _words(error), "untestable": False}
    for test in exam["tests"]:
        try:
            exec(compile(test, "test", "exec"), names)
            passed += 1
        except Untestable as error:
            return {"passed": passed, "reason": _words(error), "untestable": True}
        except ProgramFailed as error:
            return {"passed": passed, "reason": problems[0] if problems else _words(error), "untestable": False}
        except Exception as error:
            problems.append(_words(error))
        if problems and not exam["all"]:
            break
    return {"passed": passed, "reason": problems[0] if problems else "", "untestable": False}


def _names(program: Program, exam: Any) -> dict[str, Any]:
    """The tests' names. What the setup defines is the examiner's own, but for classes: their objects are the program's.

    A program's function that has the name of a builtin counts only where the tests use nothing else of the program.
    """
    theirs = program.names()
    ours: dict[str, Any] = {"__name__": "tests"}
    exec(compile(exam["setup"], "setup", "exec"), ours)
    used = {node.id for test in exam["tests"] for node in ast.walk(ast.parse(test)) if isinstance(node, ast.Name)}
    own = {name for name in used & theirs.keys() if "module" not in theirs[name]} - _BUILTINS
    for name, described in theirs.items():
        ((kind, content),) = described.items()
        shadows = name in _BUILTINS and bool(own)
        fixed = name in ours and not (kind == "class" and isinstance(ours[name], type))
        if name.startswith("__") or shadows or fixed:
            continue
        if kind != "module":
            ours[name] = program.value(content)
        elif name in used and name == content and name in sys.stdlib_module_names:  # the tests name it, too
            ours[name] = importlib.import_module(name)
    return ours


def _handle_of(value: Any) -> int:
    if isinstance(value, Remote):
        return int(value._handle)
    raise Untestable(f"a {type(value).__name__} of the tests cannot be handed to the program")


def _replace(old: Any, new: Any) -> None:
    """Give a list, dict or set of the tests the content that the program left in its own."""
    if isinstance(old, list) and isinstance(new, list):
        old[:] = new
    elif (isinstance(old, dict) and isinstance(new, dict)) or (isinstance(old, set) and isinstance(new, set)):
        old.clear()
        old.update(new)


def _raised(name: str, text: str) -> BaseException:
    kind = getattr(builtins, name, None)
    if isinstance(kind, type) and issubclass(kind, Exception):
        try:
            return kind(text)
        except TypeError:  # a few take more than a text
            return RuntimeError(f"{name}: {text}")
    return RuntimeError(f"{name}: {text}")


def _words(error: BaseException) -> str:
    told = str(error) if isinstance(error, ProgramFailed | Untestable) else f"{type(error).__name__}: {error}"
    return told[:300]
