"""Options, decided: what the caller gave, else what the environment says, else what the preset decides.

Driven by the generated table, so an option whose types are known here needs no line of its own.
"""

from __future__ import annotations

import os
import sys

from cachekit.exceptions import make_error
from cachekit.options import OPTIONS, PRESETS, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cachekit.exceptions import CacheKitError

# The clocks of the extension count nanoseconds in 63 bits.
LONGEST_SECONDS = 2**63 // 10**9

_TRUE = ("1", "true", "yes", "on")
_FALSE = ("0", "false", "no", "off")
_SHOWN = 80
_COROUTINE = 0x80


class Invalid(Exception):
    """Why a value is not legal; whoever knows where it came from makes the error."""


def unwrap(given: dict[str, Any]) -> bool:
    """Puts what an `EncryptionWrapper` holds among the options that a caller gave, if there is one; says whether."""
    wrapper: Any = given.get("serializer")
    if type(wrapper).__module__ != "cachekit.serializers._encryption":
        return False
    del given["serializer"]
    for name, value in wrapper.options.items():
        if name in given:
            raise invalid(name, "...", "it is given twice, since the EncryptionWrapper has one")
        given[name] = value
    return True


def decide(preset: str, given: dict[str, Any], sealed: bool = False) -> dict[str, Any]:
    """Every option of one cache. Those that neither the caller nor a preset decides are left out."""
    decided = dict(PRESETS[preset])
    if sealed:
        decided.update((name, PRESETS["secure"][name]) for name in ("envelope", "isolation", "compression"))
    for name, option in OPTIONS.items():
        if option.env and name not in given and (not option.env_presets or preset in option.env_presets):
            text = os.environ.get(option.env)
            if text is not None:
                decided[name] = _from_environment(option, text)
    for name, value in given.items():
        if name not in OPTIONS:
            raise unknown(name, [known for known, option in OPTIONS.items() if option.keyword])
        option = OPTIONS[name]
        if not option.keyword:
            raise invalid(name, value, "presets decide it; choose another preset")
        try:
            decided[name] = _check(option, value)
        except Invalid as reason:
            raise invalid(name, value, reason) from None
    _apply_limits(decided, given)
    for name in ("immutable", "copy"):
        if name in given and decided["isolation"] != "copy":
            why = f"it says how callers get copies, and isolation is {decided['isolation']!r}; add isolation='copy'"
            raise invalid(name, given[name], why)
    if decided["sliding"] and decided["ttl"] is None:
        raise invalid("sliding", True, "what never expires cannot be renewed; give a ttl, or leave sliding out")
    if decided["envelope"] == "sealed" and decided["isolation"] != "sealed":
        why = f"the preset {preset} keeps nothing plain in memory; leave isolation out"
        raise invalid("isolation", given["isolation"], why)
    _choose_serializer(decided, given)
    if decided.get("integrity") is False and decided["envelope"] == "sealed":
        raise invalid(
            "integrity", False, "what is sealed is checked in any case; leave it out, or choose another preset"
        )
    if decided.get("compressor", "none") != "none":
        if decided["envelope"] == "sealed":
            why = "how well it is compressed would tell what is sealed; leave it out"
            raise invalid("compressor", given["compressor"], why)
        codec = decided.get("codec")
        if isinstance(codec, tuple) and codec[0] == "arrow":
            why = "it is read where it lies, and compressed by Arrow: ArrowSerializer(compression=...)"
            raise invalid("compressor", given["compressor"], why)
    if "types" in given and decided.get("codec", "native") != "native":
        raise invalid(
            "types", given["types"], "only serializer='native' makes objects of classes; leave one of them out"
        )
    if not decided["remote"] and given.get("backend") is not None:
        raise invalid("backend", "...", f"the preset {preset} stays in this process; choose another preset")
    if "interop" in decided:
        from cachekit._interop import share

        share(decided, given, preset)
    return decided


def _choose_serializer(decided: dict[str, Any], given: dict[str, Any]) -> None:
    """Has a serializer that is named by the caller ready, and refuses one that is not safe here."""
    if "serializer" not in given:
        return
    from cachekit._serializing import chosen, codec_of

    try:
        serializer = chosen(decided["serializer"])
    except ImportError as missing:
        raise invalid("serializer", given["serializer"], missing) from None
    decided["codec"] = codec_of(serializer)
    if decided["codec"][0] != "custom" and getattr(serializer, "integrity", None) is not None:
        decided.setdefault("integrity", serializer.integrity)
    stays_here = not decided["remote"] or given.get("backend", ...) is None
    if decided["codec"][0] == "pickle" and not stays_here and decided["envelope"] != "sealed":
        why = "pickle runs what it reads, which others can write; it takes a preset that seals entries, or backend=None"
        raise invalid("serializer", given["serializer"], why)


def unknown(name: str, known: list[str]) -> CacheKitError:
    """The error for an option that does not exist."""
    from difflib import get_close_matches

    closest = get_close_matches(name.lower(), known, n=1, cutoff=0.0)
    return make_error("option_unknown", option=name, closest=closest[0] if closest else known[0])


def has_utf8(text: str) -> bool:
    """Whether `text` can stand in a name or an address: half a surrogate pair cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _apply_limits(decided: dict[str, Any], given: dict[str, Any]) -> None:
    """Spreads the limits that `l1` carries over the options that they stand for."""
    limits = decided["l1"]
    if isinstance(limits, bool):
        return
    for name, value in limits.items():
        if name not in ("max_entries", "max_bytes"):
            raise unknown(f"l1[{name!r}]", ["max_entries", "max_bytes"])
        if name in given:
            raise invalid("l1", limits, f"{name} is given twice")
        try:
            decided[name] = _check(OPTIONS[name], value)
        except Invalid as reason:
            raise invalid(f"l1[{name!r}]", value, reason) from None
    decided["l1"] = True


def _check(option: Option, value: Any) -> Any:
    """The value as the extension takes it."""
    if value is None and "None" in option.types:
        return None
    for kind in option.types:
        if kind in _CONVERTERS:
            fits, converted = _CONVERTERS[kind](option, value)
            if fits:
                return converted
    raise Invalid(f"must be {_expected(option)}")


def _float(option: Option, value: Any) -> tuple[bool, Any]:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False, None
    try:
        number = float(value)
    except OverflowError:
        number = float("inf")
    return True, _in_range(option, number)


def _timedelta(option: Option, value: Any) -> tuple[bool, Any]:
    # Whoever has one has imported its module.
    datetime = sys.modules.get("datetime")
    if datetime is None or not isinstance(value, datetime.timedelta):
        return False, None
    return True, _in_range(option, value.total_seconds())


def _int(option: Option, value: Any) -> tuple[bool, Any]:
    if isinstance(value, bool) or not isinstance(value, int):
        return False, None
    # An option that takes text as well takes a number for what it looks like: `version=2`.
    return True, str(value) if "str" in option.types else _in_range(option, int(value))


def _str(option: Option, value: Any) -> tuple[bool, Any]:
    if not isinstance(value, str):
        return False, None
    if not value:
        raise Invalid("must not be empty")
    # A URL may hold a password, which whoever reads it takes care not to show.
    if "Backend" not in option.types and not has_utf8(value):
        raise Invalid("must be text that UTF-8 can encode")
    return True, value


def _bool(_: Option, value: Any) -> tuple[bool, Any]:
    return isinstance(value, bool), value


def _literal(option: Option, value: Any) -> tuple[bool, Any]:
    return isinstance(value, str) and value in option.choices, value


def _callable(_: Option, value: Any) -> tuple[bool, Any]:
    return callable(value), value


def _type(option: Option, value: Any) -> tuple[bool, Any]:
    if not isinstance(value, type):
        return False, None
    return _types(option, (value,))


def _types(option: Option, value: Any) -> tuple[bool, Any]:
    if not isinstance(value, tuple) or not all(isinstance(kind, type) for kind in value):
        return False, None
    if option.name == "types":
        from cachekit._registered import why_not

        for kind in value:
            reason = why_not(kind)
            if reason:
                raise Invalid(f"{kind.__qualname__}: {reason}")
        return True, value
    for kind in value:
        if kind in _CONTAINERS:
            raise Invalid(f"{kind.__name__} can be changed; share the whole result with isolation='shared'")
    return True, value


def _mapping(_: Option, value: Any) -> tuple[bool, Any]:
    return isinstance(value, dict), value


def _serializer(_: Option, value: Any) -> tuple[bool, Any]:
    if value is None or isinstance(value, (str, bytes, int, float)):
        return False, None
    if isinstance(value, type):
        raise Invalid(f"it is a class; give an instance of it, {value.__name__}()")
    for name in ("serialize", "deserialize"):
        method = getattr(value, name, None)
        if not callable(method):
            raise Invalid(f"it has no method {name}; must be {_NAMES['Serializer']}")
        if getattr(getattr(method, "__code__", None), "co_flags", 0) & _COROUTINE:
            raise Invalid(f"its method {name} is an async def; serializers are not awaited")
    return True, value


def _context_variable(_: Option, value: Any) -> tuple[bool, Any]:
    # Whoever has one has imported its module.
    contextvars = sys.modules.get("contextvars") or sys.modules.get("_contextvars")
    return contextvars is not None and isinstance(value, contextvars.ContextVar), value


def _object(_: Option, value: Any) -> tuple[bool, Any]:
    # Checked where it is used, by somebody who knows what it is.
    return True, value


_CONVERTERS = {
    "float": _float,
    "timedelta": _timedelta,
    "int": _int,
    "str": _str,
    "bool": _bool,
    "Literal": _literal,
    "Callable": _callable,
    "type": _type,
    "tuple": _types,
    "L1Limits": _mapping,
    "Backend": _object,
    "Serializer": _serializer,
    "ContextVar": _context_variable,
}

_CONTAINERS = (list, dict, set, bytearray, tuple, frozenset)

_NAMES = {
    "float": "a number",
    "timedelta": "a timedelta",
    "int": "an int",
    "str": "a str",
    "bool": "True or False",
    "Callable": "a function",
    "type": "a type",
    "tuple": "a tuple of types",
    "L1Limits": "a mapping with max_entries or max_bytes",
    "Backend": "a Backend",
    "Serializer": "an object with the methods serialize and deserialize",
    "ContextVar": "a ContextVar",
}


def _expected(option: Option) -> str:
    """What an option takes, in words."""
    words = ["one of " + ", ".join(repr(choice) for choice in option.choices)] if option.choices else []
    words += [_NAMES[kind] for kind in option.types if kind in _NAMES]
    if option.unit and words:
        words[0] += f" of {'seconds' if option.unit == 's' else option.unit}"
    if option.none:
        words.append(f"None ({option.none})")
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " or " + words[-1]


def _in_range(option: Option, number: Any) -> Any:
    never = f"; None {option.none}" if option.none else ""
    if number != number:
        raise Invalid("is not a number")
    if option.unit == "s" and number > LONGEST_SECONDS:
        raise Invalid(f"must be at most {LONGEST_SECONDS} s{never}")
    if option.minimum is not None and (
        number <= option.minimum if option.exclusive_minimum else number < option.minimum
    ):
        word = "more than" if option.exclusive_minimum else "at least"
        raise Invalid(f"must be {word} {option.minimum} {option.unit}".rstrip() + never)
    if option.maximum is not None and number > option.maximum:
        raise Invalid(f"must be at most {option.maximum} {option.unit}".rstrip())
    return number


def _from_environment(option: Option, text: str) -> Any:
    try:
        return _parse(option, text.strip())
    except Invalid as reason:
        raise make_error("environment_invalid", variable=option.env, value=_shown(text), reason=reason) from None


def _parse(option: Option, text: str) -> Any:
    if "bool" in option.types:
        lowered = text.lower()
        if lowered in _TRUE or lowered in _FALSE:
            return lowered in _TRUE
        raise Invalid("must be true or false")
    if "float" not in option.types and "int" not in option.types:
        return _check(option, text)
    try:
        number = float(text)
    except ValueError:
        raise Invalid("must be a number") from None
    if number != number or number in (float("inf"), float("-inf")):
        raise Invalid("must be a finite number")
    number *= option.env_scale
    if "float" not in option.types:
        number = int(number)
    try:
        return _in_range(option, number)
    except Invalid:
        if option.env_scale == 1:
            raise
        least = (option.minimum or 0) / option.env_scale
        most = (option.maximum or 0) / option.env_scale
        raise Invalid(f"must be between {least:g} and {most:g}") from None


def invalid(name: str, value: object, reason: object) -> CacheKitError:
    shown = value if value == "..." else _shown(repr(value))
    return make_error("option_invalid", option=name, value=shown, reason=reason)


def _shown(text: str) -> str:
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
