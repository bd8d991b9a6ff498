"""Who may ask, what they may send, and what is taken from outside."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

from serve_app.checklist.checks import CHECKS
from serve_app.checklist.facts import Facts
from serve_app.checklist.item import Finding

_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib")


@CHECKS.add("security.keys", "Queries need an API key", in_demo="warn")
async def keys(facts: Facts) -> Finding:
    """Keys in the settings: a server that has none there may be open, as long as none is stored in its ledger."""
    gateway = facts.settings.gateway
    if gateway.api_keys or gateway.admin_keys:
        return Finding.good(f"The settings hold {len(gateway.api_keys)} user and {len(gateway.admin_keys)} admin keys.")
    return Finding.fail(
        "No key is in the settings, so that whoever reaches the server may ask and see everything.",
        "Set gateway.admin_keys, then make user keys with `headrace keys create NAME`.",
    )


@CHECKS.add("security.admin", "Administration has keys of its own", in_demo="warn")
async def admin(facts: Facts) -> Finding:
    """Admin keys beside user keys, and no key that is both."""
    gateway = facts.settings.gateway
    if not gateway.admin_keys:
        return Finding.fail("There is no admin key.", "Set gateway.admin_keys.")
    secrets = {key.get_secret_value() for key in gateway.admin_keys.values()}
    both = [name for name, key in gateway.api_keys.items() if key.get_secret_value() in secrets]
    if both:
        return Finding.fail(f"The user key {both[0]!r} is an admin key as well.", "Give administration another key.")
    return Finding.good(f"{len(gateway.admin_keys)} admin keys, none of which is a user key.")


@CHECKS.add("security.network", "It listens on loopback, or behind something that ends TLS")
async def network(facts: Facts) -> Finding:
    """The address of the settings; what stands in front of it cannot be seen from here."""
    host = facts.settings.gateway.host
    try:
        is_loopback = ip_address(host).is_loopback
    except ValueError:
        is_loopback = host == "localhost"
    if is_loopback:
        return Finding.good(f"gateway.host is {host}.")
    if not (facts.settings.gateway.api_keys or facts.settings.gateway.admin_keys):
        return Finding.fail(f"gateway.host is {host}, and no key is asked for.", "Set gateway.admin_keys.")
    return Finding.warn(
        f"gateway.host is {host}: keys and texts cross the network as they are, unless TLS ends in front of it.",
        "Put a load balancer with TLS in front, and let the firewall admit only that one (docs/deploy.md).",
    )


@CHECKS.add("security.no_pickle", "Nothing that is loaded can hold code")
async def no_pickle(facts: Facts) -> Finding:
    """Files beside the weights of adapters and router: safetensors and JSON are read, pickles never are."""
    folders = [one.spec.path for one in facts.adapters if one.spec is not None]
    if facts.settings.router.artifact != "shipped":
        folders.append(facts.folder / Path(facts.settings.router.artifact))
    pickles = [file for folder in folders for file in sorted(folder.glob("*")) if file.suffix in _PICKLES]
    if pickles:
        return Finding.warn(
            f"{pickles[0]} is a pickle. It is not read here, and would run code wherever it is.", "Delete it."
        )
    return Finding.good(f"{len(folders)} folders hold safetensors and text only.")


@CHECKS.add("security.limits", "What a client can ask for is bounded")
async def limits(facts: Facts) -> Finding:
    """Body, choices, time and answers in flight."""
    gateway = facts.settings.gateway
    said = (
        f"Bodies to {gateway.max_body_bytes / 1e6:g} MB, {gateway.max_choices} choices, {gateway.timeout_s:g} s, "
        f"{gateway.max_in_flight} queries in flight a gateway."
    )
    if gateway.max_body_bytes > 100_000_000 or gateway.timeout_s > 3600:
        return Finding.warn(said, "Lower gateway.max_body_bytes and gateway.timeout_s.")
    return Finding.good(said)


@CHECKS.add("security.secrets", "The settings file holds no secret", in_demo="warn")
async def secrets(facts: Facts) -> Finding:
    """Keys and passwords should come from the environment, by `!env NAME`."""
    if facts.settings_file is None:
        return Finding.not_applicable("The settings are a packaged profile.")
    text = facts.settings_file.read_text(encoding="utf-8")
    gateway = facts.settings.gateway
    written = [
        name for name, key in {**gateway.api_keys, **gateway.admin_keys}.items() if key.get_secret_value() in text
    ]
    if written:
        return Finding.warn(
            f"The key {written[0]!r} stands in {facts.settings_file.name} as it is.",
            "Write `!env NAME` there, and set the environment variable.",
        )
    return Finding.good("Keys come from the environment, or from the ledger.")
