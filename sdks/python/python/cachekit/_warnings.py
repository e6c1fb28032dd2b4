"""The category of every warning that cachekit gives.

A module of its own, so that the extension finds it without the rest of the package.
"""

from __future__ import annotations


class CacheKitWarning(UserWarning):
    """Something is cached less than it looks: only in this process, or not at all. Said once a function."""
