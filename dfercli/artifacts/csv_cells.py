"""Text in CSV files: a spreadsheet must not take it for a formula."""

from typing import Any

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def safe_cell(value: Any) -> Any:
    """The value of a cell; text that a spreadsheet would compute gets an apostrophe in front.

    Numbers, also those written as text, stay as they are. To read such a cell back, take the
    apostrophe off where one of `FORMULA_STARTS` follows it.
    """
    if not isinstance(value, str) or len(value) < 2 or not value.startswith(FORMULA_STARTS):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value


def plain_cell(text: str) -> str:
    """The text that `safe_cell` made `text` of."""
    guarded = text.startswith("'") and text[1:].startswith(FORMULA_STARTS)
    return text[1:] if guarded else text
