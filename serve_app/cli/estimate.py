"""`headrace estimate`: what a user's own traffic would save, and at what risk, before anything is switched."""

import asyncio
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serve_app.cli.label import OPTION_EXAMPLE, Concurrency, Option
from serve_app.cli.options import Json, check_output, parse_pairs
from serve_app.cli.terminal import bar, console
from serve_app.core import DataError, EngineError, HeadraceError, RequestError, single_errors
from serve_app.core.files import write_whole

if TYPE_CHECKING:
    from serve_app.cli.estimating.outcome import Failed, Outcome, Refused, Tried
    from serve_app.labelling.item import Scorer

_KEY_ENV = "HEADRACE_API_KEY"


def estimate(
    log: Annotated[Path, typer.Option(help="JSONL of chat requests, with the responses of your large model if kept.")],
    responses: Annotated[
        Path | None, typer.Option(help="An OpenAI batch output file, where the log is the batch's input.")
    ] = None,
    url: Annotated[
        str | None, typer.Option(help=f"Ask this running Headrace (key: {_KEY_ENV}); unset: load the models here.")
    ] = None,
    config: Annotated[
        str | None, typer.Option(help="Settings: a path or a packaged profile; default: $HEADRACE_CONFIG, else demo.")
    ] = None,
    scorer: Annotated[str, typer.Option(help="Whether an accepted answer is as good as the large one.")] = "agreement",
    option: Option = None,
    now_model: Annotated[
        str | None, typer.Option(help="Under prices.models: what answers today; default: the fallback's model.")
    ] = None,
    run_large: Annotated[
        bool, typer.Option("--run-large", help="Have the large model answer where the log has no response.")
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="So many requests, drawn at random.")] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of the draw and of the intervals.")] = 0,
    threads: Annotated[int | None, typer.Option(min=1, help="For models loaded here; default: all cores.")] = None,
    concurrency: Concurrency = 4,
    keep: Annotated[
        Path | None, typer.Option(help="Write questions and answers here, for `headrace label`; else nothing is kept.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Saving and risk on your own log, before you switch. Nothing of its text is written anywhere without --keep."""
    from serve_app.cli.estimating.costs import Models, costs
    from serve_app.cli.estimating.figures import figures
    from serve_app.cli.estimating.in_process import InProcess
    from serve_app.cli.estimating.server import Server
    from serve_app.config import load
    from serve_app.labelling.chat import ChatEndpoint
    from serve_app.labelling.requests import read_requests
    from serve_app.labelling.scorers import scorer as scorer_named
    from serve_app.ledger import PriceBook

    if url is not None and threads is not None:
        raise typer.BadParameter("models are loaded here only without --url", param_hint="--threads")
    if keep is not None:
        check_output(keep, "--keep", log, *([responses] if responses else []))
    settings = load(config)
    judge = scorer_named(scorer, **parse_pairs(option or [], "--option", OPTION_EXAMPLE))
    large = settings.fallback.model
    models = Models(now=now_model or large, small=settings.specialists.model, large=large)
    prices = PriceBook(settings.prices, models.now, (models.small, models.large))
    read = read_requests(log, responses, limit, seed)
    source = (
        InProcess(settings, run_large, threads or os.cpu_count() or 1)
        if url is None
        else Server(ChatEndpoint(url, _KEY_ENV if os.environ.get(_KEY_ENV) else None), models, run_large, concurrency)
    )
    with bar("Asking", len(read.requests), not as_json) as advance, single_errors():
        outcomes = asyncio.run(source.collect(read.requests, advance))
    tried, refused, failed = _parted(outcomes)
    if failed and not tried:
        raise EngineError(f"None of {len(outcomes)} requests was answered; the first failed: {failed[0].error}")
    if keep is not None:
        _keep(keep, tried)
    with bar("Comparing", len(tried), not as_json) as advance, single_errors():
        scores, problems = asyncio.run(_scores(judge, tried, concurrency, advance))
    found = {
        "log": str(log),
        "lines": read.num_lines,
        "seed": seed,
        "scorer": judge.name,
        "price_version": prices.version,
        "models": {"now": models.now, "small": models.small, "large": models.large},
        **figures(tried, refused, failed, scores, costs(tried, prices, models), seed),
    }
    if problems:
        found["warnings"].append(f"{len(problems)} answers could not be compared, the first because: {problems[0]}")
    if as_json:
        typer.echo(json.dumps(found))
        return
    from serve_app.cli.estimating.report import show

    show(found, console())


def _parted(outcomes: "Sequence[Outcome]") -> "tuple[list[Tried], list[Refused], list[Failed]]":
    from serve_app.cli.estimating.outcome import Failed, Refused, Tried

    tried = [one for one in outcomes if isinstance(one, Tried)]
    refused = [one for one in outcomes if isinstance(one, Refused)]
    return tried, refused, [one for one in outcomes if isinstance(one, Failed)]


async def _scores(
    judge: "Scorer", tried: "Sequence[Tried]", concurrency: int, advance: Any
) -> tuple[list[float | None], list[HeadraceError]]:
    """Of the accepted answers, against the large ones; None where there is none, or it cannot be told.

    Also why, where the scorer finds nothing to compare with, such as a large answer without the number it looks for, or
    a judge does not answer.
    """
    from serve_app.cli.estimating.patience import Patience
    from serve_app.labelling.item import Item

    patience, free = Patience(), asyncio.Semaphore(concurrency)
    problems: list[HeadraceError] = []

    async def one(found: "Tried") -> float | None:
        score = None
        if found.accepted and found.small_answer is not None and found.large_answer is not None:
            large = found.large_answer
            item = Item(found.request.question, found.small_answer, reference=large, large_answer=large)
            async with free:
                try:
                    with patience.attempt():
                        score = await judge.score(item)
                except (DataError, EngineError, RequestError) as problem:
                    problems.append(problem)
        advance(1)
        return score

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(found)) for found in tried]
    return [task.result() for task in tasks], problems


def _keep(path: Path, tried: "Sequence[Tried]") -> None:
    """What `headrace label` reads, readable by its owner only; with models loaded here also what `fit` learns from."""
    lines = []
    for one in tried:
        if one.small_answer is None:
            continue
        row = {"id": f"line-{one.request.line}", "question": one.request.question, "small_answer": one.small_answer}
        usage = one.large_usage
        if one.large_answer is not None:
            row["large_answer"] = one.large_answer
        kept = {**one.evidence, **row}
        if usage is not None and one.evidence:
            kept["large_usage"] = {"prompt_tokens": usage.prompt_tokens, "completion_tokens": usage.completion_tokens}
        lines.append(json.dumps(kept) + "\n")
    write_whole(path, "".join(lines), private=True)
