"""Ten mistakes, one a line, each of which both checkers must report. `# wrong` marks the lines."""

from __future__ import annotations

from cachekit import cache


@cache
def price(item: str, count: int = 1) -> float:
    return len(item) * float(count)


@cache
async def stock(item: str) -> int:
    return len(item)


class Shop:
    @cache
    def total(self, item: str) -> int:
        return len(item)


class Toll(Shop):
    @cache
    def total(self, item: str) -> str:  # wrong: result of an override
        return item


def plain(x: int) -> int:
    return x


price(1)  # wrong: argument type
price.invalidate(1)  # wrong: argument type of an attribute
price.put("much", "apple")  # wrong: type of the value
price.refresh("apple", number=2)  # wrong: no such parameter
text: str = price("apple")  # wrong: result type
cache(tll=5)(plain)  # wrong: no such option
cache.production(ttl="5")  # wrong: type of an option
cache.minimal(isolation="none")  # wrong: choice of an option
cache.production(serializer="yaml")  # wrong: choice of an option
cache(serializer=object())  # wrong: no serializer
cache(copy=3)  # wrong: a copy that is no function
cache(immutable=[int])  # wrong: types in a list
cache.fast(plain)  # wrong: no such preset
Shop().total.peek(3)  # wrong: argument type below a method
number: int = stock("apple")  # wrong: not awaited
price.cache_info().hit_rate  # wrong: no such field
