"""`headrace cache`: from which similarity two questions may share an answer, fitted to a stated risk."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serve_app.cli.options import Encoder, Json, check_output
from serve_app.core import DataError
from serve_app.core.files import write_whole

if TYPE_CHECKING:
    from serve_app.cache.encoded import EncoderVectors

app = typer.Typer(help="Fit the semantic response cache to a stated risk.", no_args_is_help=True)


@app.command()
def fit(
    pairs: Annotated[
        Path,
        typer.Option(
            help='JSONL rows {"question", "stored", "same"}: is the answer to the stored question a right answer to '
            "the other one? Plain or .gz."
        ),
    ],
    out: Annotated[Path, typer.Option(help="File for the policy; settings key cache.semantic.policy.")],
    alpha: Annotated[
        float, typer.Option(min=0.0001, max=0.5, help="Share of the hits that may be wrong answers.")
    ] = 0.05,
    delta: Annotated[
        float, typer.Option(min=0.0001, max=0.5, help="Probability with which alpha may be missed.")
    ] = 0.1,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of the split into design and test part.")] = 0,
    encoder: Encoder = None,
    as_json: Json = False,
) -> None:
    """Find the similarity from which a question gets the answer to one asked before, and keep the stated risk.

    A third of the pairs settles where the tests begin; the figures printed are of the others. Where no threshold keeps
    the risk, no file is written, the exit code is 1, and the message says how many pairs are needed.
    """
    import numpy as np

    from serve_app import __version__
    from serve_app.cache import fitting
    from serve_app.cache.pairs import read_pairs, similarities
    from serve_app.cache.policy import SemanticPolicy, write

    rows, vectors = read_pairs(pairs), _vectors(encoder)
    same = np.array([pair.same for pair in rows])
    design = fitting.design_part(rows, seed)
    found = fitting.fit(similarities(rows, vectors), same, alpha, delta, design)
    if isinstance(found, fitting.TooFew):
        raise DataError(_refusal(found, alpha))
    policy = SemanticPolicy(
        threshold=found.threshold,
        alpha=alpha,
        delta=delta,
        num_labels=found.num_labels,
        design_labels=found.design_labels,
        num_hits=found.num_hits,
        num_wrong=found.num_wrong,
        risk_bound=found.risk_bound,
        encoder_digest=vectors.digest,
        data_sha256=fitting.data_digest(rows),
        seed=seed,
        headrace=__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    write(policy, out)
    if as_json:
        typer.echo(json.dumps({"out": str(out), "hit_share": policy.hit_share, **policy.model_dump()}))
        return
    typer.echo(
        f"Similarity above {found.threshold:.3f}: {policy.hit_share:.1%} of {found.num_labels} questions are hits, "
        f"{found.num_wrong} of {found.num_hits} wrong. At most {alpha:.1%} of the hits are wrong with probability "
        f"{1 - delta:.1%} (bound {found.risk_bound:.1%}). Written to {out}."
    )


@app.command()
def pairs(
    questions: Annotated[
        Path, typer.Option(help='JSONL rows {"question"}, optional "answer", in the order they came. Plain or .gz.')
    ],
    out: Annotated[Path, typer.Option(help="File for the pairs, to be labelled for `fit`.")],
    least: Annotated[
        float, typer.Option(min=-1, max=1, help="Leave out pairs less alike: no threshold would ever go so low.")
    ] = 0.5,
    encoder: Encoder = None,
) -> None:
    """Pair each question of your own log with the nearest one asked before it, as the cache would; you fill in `same`.

    Rows have `question`, `stored`, `similarity` and `same: null`, and both answers where the log has them.
    """
    from serve_app.cache.log_pairs import nearest_before, read_questions

    check_output(out, "--out", questions, replaces=False)  # `same` may be filled in there
    found = nearest_before(read_questions(questions), _vectors(encoder), least)
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in found]
    write_whole(out, "".join(lines), private=True)
    typer.echo(f"{len(lines)} pairs to label, written to {out}: set `same` to true or false in each.")


def _vectors(name: str | None) -> "EncoderVectors":
    from serve_app.cache.encoded import EncoderVectors
    from serve_app.catalogue import resolve
    from serve_app.config import load

    return EncoderVectors(resolve(name or load().router.encoder).path)


def _refusal(found: object, alpha: float) -> str:
    from serve_app.cache.fitting import TooFew

    assert isinstance(found, TooFew)
    if found.needed_labels is None:
        return (
            f"Refused: even by the lower confidence bound, more than {alpha:.1%} of the hits are wrong at every "
            "similarity. More labels would not help; a higher --alpha would, or no semantic cache for such questions."
        )
    return (
        f"Refused: {found.num_labels} labelled pairs cannot show that at most {alpha:.1%} of the hits are wrong; label "
        f"about {found.needed_labels} in all (rough)."
    )
