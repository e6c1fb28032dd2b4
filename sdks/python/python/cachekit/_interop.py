"""The option `interop=`: entries that the cachekit SDKs of all languages share, who have decided most else."""

from __future__ import annotations

from cachekit import _native
from cachekit._options import invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# What other SDKs do not know of, and what takes its place.
_DECIDED = {
    "key": "the key is made of the arguments; leave key out, and have the function take what names the entry",
    "version": "keys have no version; leave it out, and take another namespace or operation when the meaning changes",
    "serializer": "values are documents of interop/v1; leave serializer out, or take the preset secure to encrypt",
    "types": "values have no classes; leave types out, and return what every language has",
    "compressor": "entries are the document as it is; leave compressor out",
    "integrity": "entries are the document alone; leave integrity out, or take the preset secure",
}


def share(decided: dict[str, Any], given: dict[str, Any], preset: str) -> None:
    """Decides what interop/v1 decides, and refuses options with which others would not find or read the entries."""
    for name, reason in _DECIDED.items():
        if given.get(name) is not None:
            raise invalid(name, given[name], f"with interop, {reason}")
    if "namespace" not in given:
        raise invalid("interop", decided["interop"], "it takes a namespace too, such as namespace='users'")
    if not decided["remote"] or given.get("backend", ...) is None:
        why = f"the preset {preset} keeps entries" if not decided["remote"] else "backend=None keeps them"
        raise invalid(
            "interop", decided["interop"], f"{why} in this process, and others share none of them; leave one out"
        )
    if decided["hide_keys"]:
        raise invalid("hide_keys", True, "with interop, others look for the plain names; leave hide_keys out")
    seals = decided["envelope"] == "sealed"
    tenant = decided.get("tenant")
    if tenant is not None and not (seals and isinstance(tenant, str)):
        why = "the key does not tell tenants apart; make it an argument, or give one name and the preset secure"
        raise invalid("tenant", given["tenant"], f"with interop, {why}")
    _native.generate_interop_key(decided["namespace"], decided["interop"], ())
    decided.update(
        shared=(decided["namespace"], decided["interop"]),
        codec="interop",
        envelope="interop_sealed" if seals else "interop",
    )
