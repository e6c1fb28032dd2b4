"""How fast cachekit is, beside the other caches for Python: `bash tests/bench/run.sh`.

Everything that is compared runs in one process, in turns, so that what else the machine does falls on all alike. `cases` says
what is measured, `peers` with what, `goals` what is to come out; `report` writes it down in `docs/benchmarks`.
"""
