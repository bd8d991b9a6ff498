"""A log and scripted engines, which both ways of an estimate are tried on."""

from typer.testing import CliRunner

from serve_app.cli.estimating.costs import Models
from serve_app.cli.estimating.in_process import InProcess
from serve_app.cli.main import app
from serve_app.config import Settings
from serve_app.core import RouteScore
from serve_app.engines.fake import FakeAnswer, FakeEngine
from serve_app.labelling.requests import LoggedRequest

SETTINGS = {
    "specialists": {"model": "small", "max_context_tokens": 64, "engine": "fake"},
    "fallback": {"model": "large", "engine": "fake"},
    "adapters": {"legal": {"path": "shipped:legal"}},
    "routes": {"adapters": {"legal": "legal"}},
    "cascade": {"threshold": 0.5, "prefix_tokens": 3},
    "prices": {
        "version": "t",
        "models": {
            "small": {"input_usd_per_mtok": "1", "output_usd_per_mtok": "1"},
            "large": {"input_usd_per_mtok": "10", "output_usd_per_mtok": "10"},
        },
    },
}
MODELS = Models("large", "small", "large")


class KeywordRouter:
    async def score(self, conversation):
        label = "legal" if "contract" in conversation[-1].content else "general"
        return RouteScore(label, 0.8, {label: 0.8, "other": 0.2})


def small_engine():
    script = {"hard": FakeAnswer("I am not sure about this at all", logprob=-3.0), "easy": "four words of answer"}
    return FakeEngine(script, "a legal answer", adapters={"legal": "v1"}, model="small", max_context_tokens=64)


def large_engine():
    return FakeEngine(default="the large model says this", model="large")


def in_process(run_large=False, **cascade):
    settings = {**SETTINGS, "cascade": {**SETTINGS["cascade"], **cascade}}
    return InProcess(Settings.model_validate(settings), run_large, 1)


def logged(line, text, response=None, **extra):
    return LoggedRequest(f"r{line}", line, {"messages": [{"role": "user", "content": text}], **extra}, response)


LOG = [
    logged(1, "easy", "Four words of answer."),
    logged(2, "hard", "No."),
    logged(3, "a contract"),
    logged(4, "easy", tools=[{"type": "function"}]),
    logged(5, "hard"),
    logged(6, "word " * 80, "Long."),
]


async def collect(source):
    done = []
    outcomes = await source.collect(LOG, done.append)
    assert sum(done) == len(LOG)
    return outcomes


def run(files, *arguments):
    log, config = files
    return CliRunner().invoke(app, ["estimate", "--log", str(log), "--config", str(config), *map(str, arguments)])
