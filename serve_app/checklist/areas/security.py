"""Who may ask, what they may send, and what is taken from outside."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import quote

from serve_app.checklist.checks import CHECKS
from serve_app.checklist.facts import Facts
from serve_app.checklist.item import Finding
from serve_app.store import store_url

_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib")


@CHECKS.add("security.keys", "Queries need an API key", in_demo="warn")
async def keys(facts: Facts) -> Finding:
    """In the settings, or stored beside the accounts; of a running server, whether it asks for one."""
    known = await facts.keys()
    if known.is_open:
        return Finding.fail(
            f"{known.evidence} Whoever reaches the server may ask and see everything.",
            "Set gateway.admin_keys, then make user keys with `headrace keys create NAME`.",
        )
    return Finding.good(known.evidence)


@CHECKS.add("security.admin", "Administration has keys of its own", in_demo="warn")
async def admin(facts: Facts) -> Finding:
    """Admin keys beside user keys, and no key that is both."""
    gateway, known = facts.settings.gateway, await facts.keys()
    if not known.has_admin:
        return Finding.fail(
            f"No admin key is known. {known.evidence}",
            "Set gateway.admin_keys, or `headrace keys create NAME --admin`.",
        )
    secrets = {key.get_secret_value() for key in gateway.admin_keys.values()}
    both = [name for name, key in gateway.api_keys.items() if key.get_secret_value() in secrets]
    if both:
        return Finding.fail(f"The user key {both[0]!r} is an admin key as well.", "Give administration another key.")
    return Finding.good(f"There is an admin key, and no user key of the settings is one. {known.evidence}")


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
    if (known := await facts.keys()).is_open:
        return Finding.fail(f"gateway.host is {host}. {known.evidence}", "Set gateway.admin_keys.")
    return Finding.warn(
        f"gateway.host is {host}: keys and texts cross the network as they are, unless TLS ends in front of it.",
        "Put a load balancer with TLS in front, and let the firewall admit only that one (docs/deploy.md).",
    )


@CHECKS.add("security.no_pickle", "Nothing that is loaded can hold code")
async def no_pickle(facts: Facts) -> Finding:
    """Files beside the weights of adapters and router: safetensors and JSON are read, pickles never are."""
    folders = [one.spec.path for one in facts.adapters if one.spec is not None]
    if facts.settings.router.artifact != "shipped":
        folders.append(facts.path(facts.settings.router.artifact))
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
    """Keys and the database's password should come from the environment, by `!env NAME`."""
    if facts.settings_file is None:
        return Finding.not_applicable(
            "There is no file to look into: a packaged profile, or a replica that was sent its settings."
        )
    text = facts.settings_file.read_text(encoding="utf-8")
    gateway, password = facts.settings.gateway, str(store_url(facts.settings.ledger.url).password or "")
    written = [
        f"key {name!r}"
        for name, key in {**gateway.api_keys, **gateway.admin_keys}.items()
        if key.get_secret_value() in text
    ]
    if password and any(f":{form}@" in text for form in (password, quote(password, safe=""))):
        written.append("password of ledger.url")
    if written:
        return Finding.fail(
            f"The {written[0]} stands in {facts.settings_file.name} as it is.",
            "Write `!env NAME` there, and set the environment variable.",
        )
    return Finding.good("Keys and the database's password come from elsewhere.")
