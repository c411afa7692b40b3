"""Self-contained HTML pages: one file, no network, light and dark."""

from importlib.metadata import version
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from dfercli.report.card import LIMITS


def clock(seconds: float) -> str:
    """Seconds as `m:ss.s`, with hours if there are any."""
    tenths = round(seconds * 10)
    minutes, tenths = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    shown = f"{minutes}:{tenths // 10:02d}.{tenths % 10}"
    return f"{hours}:{shown.rjust(7, '0')}" if hours else shown


def percent(rate: float | None) -> str:
    """A rate of [0, 1] as whole per cent; a dash for None."""
    return "-" if rate is None else f"{100 * rate:.0f}\u00a0%"


def render(template: str, title: str, **values: Any) -> str:
    """Fill a template of `dfercli/report/templates`; every value is escaped."""
    environment = Environment(
        loader=PackageLoader("dfercli.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    environment.filters.update(clock=clock, percent=percent)
    page = environment.get_template(template)
    return page.render(title=title, limits=LIMITS, version=version("dfercli"), **values)
