"""One thing that the examination found."""

from __future__ import annotations

from dataclasses import asdict, dataclass

ERROR, WARNING = "error", "warning"


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, with whom, and how to mend it.

    ``level`` is ``"error"`` (something cannot be used) or ``"warning"`` (it can be lived with). ``check`` names the
    test that found it, such as ``"import"`` or ``"conflict"``.
    """

    level: str
    check: str
    dist: str
    component: str
    cause: str
    hint: str = ""

    def as_dict(self) -> dict[str, str]:
        return asdict(self)
