"""What every page shares: the frame, tables, plots and spectrograms."""

import math
from functools import cache
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined, select_autoescape


def render(package: str, template: str, **values: Any) -> str:
    """The text of a template: an HTML page with nothing outside it, or plain text.

    Args:
        package: the one that holds the template; a page extends ``page.html.j2`` of this package.
        template: its name; in one that ends in ``.html.j2``, values are escaped.
        values: for the template, which also has the filter `number`.
    """
    return _environment(package).get_template(template).render(values)


@cache
def _environment(package: str) -> Environment:
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package, ""), PackageLoader(__name__, "")]),
        autoescape=select_autoescape(["html.j2"]),
        keep_trailing_newline=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    return environment


def number(value: float | None, sign: bool = False) -> str:
    """Two decimals and a real minus sign; a dash for None."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return (f"{value:+.2f}" if sign else f"{value:.2f}").replace("-", "−")
