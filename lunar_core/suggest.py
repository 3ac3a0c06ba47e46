"""Which of the known names did the user most likely mean."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(name: str, candidates: Iterable[str], limit: int = 3) -> list[str]:
    """The candidates closest to ``name``, best first; at most ``limit``, empty when none is close.

    Case, underscores and hyphens do not count; initials do (``learning_rate`` finds ``lr``).
    """
    import difflib

    known = list(dict.fromkeys(candidates))
    wanted = _plain(name)
    initials = "".join(word[0] for word in name.replace("-", "_").split("_") if word)
    exact = [c for c in known if _plain(c) == wanted]
    short = [c for c in known if len(initials) > 1 and c.lower() == initials.lower()]
    by_plain: dict[str, list[str]] = {}
    for candidate in known:
        by_plain.setdefault(_plain(candidate), []).append(candidate)
    close = [c for plain in difflib.get_close_matches(wanted, by_plain, n=limit, cutoff=0.6) for c in by_plain[plain]]
    inside = [p for p in by_plain if min(len(p), len(wanted)) > 2 and (wanted in p or p in wanted)]
    return list(dict.fromkeys(exact + short + close + [c for p in inside for c in by_plain[p]]))[:limit]


def did_you_mean(name: str, candidates: Iterable[str], limit: int = 3) -> str:
    """``"did you mean 'lr' or 'eps'?"``, or an empty string when nothing is close."""
    names = nearest(name, candidates, limit)
    if not names:
        return ""
    quoted = [repr(n) for n in names]
    return f"did you mean {' or '.join([', '.join(quoted[:-1]), quoted[-1]] if len(quoted) > 1 else quoted)}?"


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")
