"""What-if: what would change in energy, carbon and money, doing nothing first. All of it is projected but for levers
that were measured here."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from outweigh.app.pages.asked import Asked, FieldRefused
from outweigh.app.pages.forms import told_at
from outweigh.app.pages.whatif import cooling, finance, hardware, levers, negotiation, policy, tariff
from outweigh.core.errors import ConfigError, FactorMissing, InvalidQuantity, UnknownZone, UsageError

if TYPE_CHECKING:
    from types import ModuleType

    from outweigh.app.serving import Served

SCHEMA = "outweigh.page.whatif/1"
_FORMS: dict[str, ModuleType] = {
    "levers": levers, "cooling": cooling, "hardware": hardware, "tariff": tariff, "negotiation": negotiation,
    "policy": policy, "finance": finance,
}  # fmt: skip
TAKES = ("form", *(name for one in _FORMS.values() for name in one.FIELDS))
_TOLD = (ConfigError, InvalidQuantity, UsageError, FactorMissing, UnknownZone)


def whatif(served: Served, asked: Asked) -> dict[str, Any]:
    """The levers curve of the project's folder, and the answer to the form that was sent.

    Fields: `form`, the name of one of the modules beside this one, and the fields of that form (its FIELDS). A form
    names files by their place in the project's folder.

    Raises:
        FieldRefused: a field is missing or cannot be followed.
    """
    form = asked.choice("form", tuple(_FORMS))
    if asked.given and not form:
        raise FieldRefused("which form these fields belong to is missing", "form", f"Give one of {', '.join(_FORMS)}")
    for name in asked.given:
        if name != "form" and name not in _FORMS[form].FIELDS:
            known = ", ".join(_FORMS[form].FIELDS)
            raise FieldRefused(f"the form {form} takes no field {name}", name, f"It takes {known}")
    document: dict[str, Any] = {"schema": SCHEMA, "form": form, "tables": {}, "notes": []}
    for name, part in _FORMS.items():
        document[name] = part.offered(served)
        wanted = name == form or (name == "levers" and not form)
        if wanted and (name != "levers" or document[name]["files"]):
            document[name] |= _answered(part.answered, document, served, asked, part, required=name == form)
    return document


_Answer = Callable[[dict[str, Any], "Served", Asked], dict[str, Any]]


def _answered(
    answer: _Answer, document: dict[str, Any], served: Served, asked: Asked, part: ModuleType, *, required: bool
) -> dict[str, Any]:
    """What a form answers; an error goes to its field, or, where nobody asked, stands in the place of the answer."""
    try:
        return {"asked": True, **answer(document, served, asked)}
    except FieldRefused:
        raise
    except _TOLD as err:
        told = told_at(err, asked, part.FIELDS, folder=served.folder, other=part.FIELDS[0], options=part.OPTIONS)
        if required:
            raise told from err
        return {"asked": False, "trouble": f"{told.problem}. {told.remedy}"}
