"""What may be served, and what may be kept."""

from __future__ import annotations

from serve_app.catalogue import entries
from serve_app.checklist.checks import CHECKS
from serve_app.checklist.facts import Facts
from serve_app.checklist.item import Finding, worst

_OPEN = ("apache-2.0", "mit", "bsd-3-clause", "bsd-2-clause")


@CHECKS.add("compliance.model_licences", "The models may be used for this")
async def model_licences(facts: Facts) -> Finding:
    """Licences of the catalogue; of other models nothing is known here."""
    findings = []
    known = entries()
    for node in (facts.settings.specialists, facts.settings.fallback):
        if node.engine == "openai":
            findings.append(Finding.good(f"{node.model} is asked elsewhere, under its provider's terms."))
        elif node.model not in known:
            findings.append(
                Finding.warn(
                    f"The catalogue does not know {node.model}, nor its licence.",
                    "Read the licence, and write down who did.",
                )
            )
        elif known[node.model].licence.lower() in _OPEN:
            findings.append(Finding.good(f"{node.model} is under {known[node.model].licence}."))
        else:
            findings.append(
                Finding.warn(f"{node.model} is under {known[node.model].licence}.", "See whether it allows your use.")
            )
    return worst(findings)


@CHECKS.add("compliance.retention", "Accounts are not kept for ever")
async def retention(facts: Facts) -> Finding:
    """`ledger.retention_days`."""
    days = facts.settings.ledger.retention_days
    if days is None:
        return Finding.warn(
            "Single accounts, with key and time of each query, are never deleted.", "Set ledger.retention_days."
        )
    return Finding.good(f"Single accounts are deleted after {days} days; totals stay.")


@CHECKS.add("compliance.texts", "Prompts and answers are kept only where that was meant")
async def texts(facts: Facts) -> Finding:
    """`ledger.texts`: off, or with keys, an end and a redaction."""
    settings = facts.settings.ledger.texts
    if not settings.store:
        return Finding.good("No prompt and no answer is stored.")
    said = f"Prompts and answers are kept for {settings.retention_days} days, of {len(settings.keys) or 'all'} keys"
    if settings.redact is None:
        return Finding.warn(f"{said}, as they are.", "Name a redaction as ledger.texts.redact.")
    if not settings.keys:
        return Finding.warn(f"{said}.", "Name in ledger.texts.keys whose texts may be kept.")
    return Finding.good(f"{said}, redacted.")
