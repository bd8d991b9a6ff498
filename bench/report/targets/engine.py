"""The engine: many adapters in every batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.report.target import At, Beside, NotThere, Section, Target, Unit, at, at_least, at_most, worked

_SET_UP = "Eight adapters of rank 16 rotating over the rows, prompts of 100 tokens; all contenders take turns."
_OVER_TIME = at("over_time", "machine")


def _speed(contender: str, batch: int) -> At:
    return at("tokens_per_s", contender, str(batch))


def _ratio(
    name: str,
    says: str,
    key: str,
    batch: int,
    least: float,
    ours: str,
    peer: tuple[str, str],
    unit: Unit = Unit.TIMES,
    main: bool = True,
) -> Target:
    """A ratio of decode rates within one run."""
    title, contender = peer
    return Target(
        f"{name}-{batch}",
        f"{says}, {batch} {'row' if batch == 1 else 'rows'}",
        "engine",
        at(key, str(batch)),
        at_least(least),
        unit,
        beside=(
            Beside("Headrace", _speed(ours, batch), Unit.TOKENS),
            Beside(title, _speed(contender, batch), Unit.TOKENS),
        ),
        how=_SET_UP,
        main=main,
    )


def _longest(while_loading: str) -> Any:
    """Of the loads with 100 adapters known and 32 resident."""

    def longest(cells: Sequence[Mapping[str, Any]]) -> float:
        gaps = [
            cell["longest_gap_ms"][while_loading] for cell in cells if (cell["adapters"], cell["resident"]) == (100, 32)
        ]
        if not gaps:
            raise NotThere("100 adapters, 32 resident")
        return float(max(gaps))

    return worked(f"longest gap {while_loading.replace('_', ' ')}", longest, at("over_time", "poisson"))


_PEFT = ("PEFT, mixed batch", "peft")
_VLLM = ("vLLM's CPU build", "vllm_base")
_OWN = ("without adapters", "base")
_SINGLE = ("one adapter for all rows", "single")
_FLOOR = ("the model's packed products alone", "floor")

ENGINE = Section(
    "Engine",
    (
        _ratio("peft", "at least 4 × PEFT's mixed batch", "vs_peft_mixed", 32, 4, "mixed", _PEFT),
        _ratio(
            "one-at-a-time",
            "at least 25 × set_adapter and one query at a time",
            "vs_one_at_a_time",
            32,
            25,
            "mixed",
            ("one at a time, timed on eight", "one_at_a_time"),
        ),
        _ratio("peft", "at least 5 × PEFT's mixed batch", "vs_peft_mixed", 8, 5, "mixed", _PEFT),
        *(
            _ratio(
                "own-base",
                "at least 85 % of its own speed without adapters",
                "share_of_own_base",
                n,
                0.85,
                "mixed",
                _OWN,
                Unit.SHARE,
            )
            for n in (8, 32)
        ),
        *(
            _ratio(
                "single",
                "mixed batches at least 95 % of one adapter's",
                "mixed_vs_single",
                n,
                0.95,
                "mixed",
                _SINGLE,
                Unit.SHARE,
            )
            for n in (8, 32)
        ),
        _ratio("floor", "at least 50 % of the machine's floor", "share_of_floor", 32, 0.5, "mixed", _FLOOR, Unit.SHARE),
        *(
            _ratio(
                "vllm-base",
                "without adapters at least as fast as vLLM's CPU build",
                "base_vs_vllm_base",
                n,
                1,
                "base",
                _VLLM,
            )
            for n in (1, 8, 32)
        ),
        Target(
            "load-stall",
            "100 adapters known, 32 resident: no stall over 250 ms on other rows while one loads",
            "engine",
            _longest("while_loading"),
            at_most(250),
            Unit.MS,
            beside=(Beside("longest gap with no load", _longest("otherwise"), Unit.MS),),
            how="The longest of three loads; adapters by popularity (Zipf), requests by chance.",
            main=True,
            machine=_OVER_TIME,
        ),
        _ratio(
            "transformers",
            "no slower than plain transformers, though with adapters",
            "mixed_vs_transformers",
            1,
            1,
            "mixed",
            ("transformers, no adapter", "transformers"),
            main=False,
        ),
        _ratio(
            "vllm-mixed",
            "with adapters at least 3 × vLLM's CPU build",
            "vs_vllm_mixed",
            8,
            3,
            "mixed",
            ("vLLM's CPU build, adapters", "vllm_mixed"),
            main=False,
        ),
        Target(
            "flood",
            "an adapter's flood leaves the others' p99 to the first token within 2 ×",
            "engine",
            at("over_time", "flood", "p99_first_token_ratio"),
            at_most(2),
            Unit.TIMES,
            beside=(
                Beside("alone", at("over_time", "flood", "others_alone", "first_token_ms", "p99"), Unit.MS),
                Beside(
                    "beside the flood",
                    at("over_time", "flood", "others_beside_a_flood", "first_token_ms", "p99"),
                    Unit.MS,
                ),
            ),
            machine=_OVER_TIME,
        ),
        Target(
            "soak",
            "an hour's equivalent of mixed load with flat memory",
            "soak",
            at("second_half_added_mib"),
            None,
            Unit.MIB,
            beside=(
                Beside("resident at the end", worked("last", lambda sizes: sizes[-1], at("memory_mib")), Unit.MIB),
            ),
            how="What the second half added. No number was set for flat; a few MiB would be.",
        ),
    ),
)
