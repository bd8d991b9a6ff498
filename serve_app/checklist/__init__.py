"""The production checklist as code: what is looked at, what was found, and the command that mends it.

    item.py      a finding and its item
    checks.py    the table of checks; further ones come through the entry point `headrace.checks`
    facts.py     what a check may look at
    records.py   what was done and measured before: load tests, chaos runs, backups, rehearsals
    reports.py   what trainer and gate left beside an adapter's weights
    keys.py      who may ask
    prometheus.py, grafana.py   what those two know of the deployment
    run.py       all checks, under a profile
    render.py    the items as JSON and as JUnit XML
    areas/       the checks, a file for each area
    doctor.py    the machine alone, before anything runs

Knows settings, artefacts, accounts and the pages of a running server; knows neither Ray nor who shows the items.
"""

from serve_app.checklist.checks import CHECKS, Check, ChecksTable
from serve_app.checklist.facts import Facts
from serve_app.checklist.item import Finding, Item, Status
from serve_app.checklist.run import run

__all__ = ["CHECKS", "Check", "ChecksTable", "Facts", "Finding", "Item", "Status", "run"]
