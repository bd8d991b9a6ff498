"""Ensembles: quality against cost."""

from typing import Any

_TITLES = {
    "best_member": "best member, chosen on validation",
    "vote": "**vote**",
    "weighted_vote": "vote weighted by confidence",
    "best_of_n": "best of n, the surest answer",
    "vote_of_samples_of_best_member": "vote of samples of the best member",
    "pooled_member": "one adapter trained on all texts together",
    "lock_step": "average in lock step",
    "large_model": "{large}, an example of each intent in its prompt",
}


def ensemble(found: dict[str, Any], circumstances: str) -> str:
    """Right answers and price by way; what more members bring; the time of four rows."""
    quality = found["quality"]
    ways = quality["ways"] | {name: quality[name] for name in ("lock_step", "large_model")}
    rows = "\n".join(
        _row(title.format(large=quality["large"]), ways[name]) for name, title in _TITLES.items() if name in ways
    )
    sizes = ", ".join(f"{size}: {part['vote']:.1%}" for size, part in quality["by_number_of_members"].items())
    escalation = quality["escalation"]
    bound = escalation["escalate_below"]
    chosen = f"below a share of {bound:g}" if bound else "never"
    return (
        f"**Ensemble**: {len(quality['members'])} adapters on {quality['base']}, trained on disjoint fifths of "
        "BANKING77, name the intent (of 77) of requests nobody trained on ([ensembles](ensembles.md)).\n"
        "Prices by parameters; every prompt token is billed in full.\n\n"
        "| way | test requests | right, 95 % interval | over the best member on the same, 95 % paired | $ a million "
        "requests |\n|---|---|---|---|---|\n"
        f"{rows}\n\nVote by number of members, mean over all sets: {sizes}. At least one member is right on "
        f"{quality['any_member_right']:.1%}. Whether members that disagree should ask the large model was\nchosen on "
        f"validation: {chosen}. The pattern itself gave the counted answer to {quality['pattern']['same_answer']:.1%} "
        f"of {quality['pattern']['requests']} requests. Four rows in one batch take "
        f"{found['time_of_4_over_1']:.2f} times the time of one. {circumstances}."
    )


def _row(title: str, way: dict[str, Any]) -> str:
    low, high = way["accuracy_95"]
    gain = way["over_best_member"]
    bounds = gain["interval_95"]
    over = f"{100 * bounds[0]:+.1f} to {100 * bounds[1]:+.1f} points" if any(bounds) else "–"
    return (
        f"| {title} | {way['requests']} | {way['accuracy']:.1%}, {low:.1%} to {high:.1%} | {over} "
        f"| {way['usd_per_million_requests']:.2f} |"
    )
