"""Numbers as text: the minus sign, no false precision, a dash for what is undefined."""

import math

NARROW_SPACE = "\u202f"


def decimal(value: float, digits: int = 3, sign: bool = False) -> str:
    """A plain number.

    >>> decimal(0.8214), decimal(-0.05, 2, sign=True), decimal(float("nan"))
    ('0.821', '−0.05', '–')
    """
    if math.isnan(value):
        return "–"
    text = f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("+-")
    return text.replace("-", "−")


def with_error(value: float, half_width: float = math.nan) -> str:
    """A number as far as the first two digits of half its interval tell; its first four digits where there is none.

    >>> with_error(1276.4, 563.2), with_error(0.05971, 0.0273), with_error(-2.0 / 3), with_error(7.46)
    ('1280 ± 560', '0.060 ± 0.027', '−0.6667', '7.46')
    """
    if math.isnan(value):
        return decimal(value)
    least, kept = (half_width, 2) if half_width > 0 else (abs(value) or 1000.0, 4)
    digits = kept - 1 - math.floor(math.log10(least))
    shown = [decimal(round(number, digits), max(digits, 0)) for number in (value, half_width)]
    if math.isnan(half_width):
        return shown[0].rstrip("0").rstrip(".") if "." in shown[0] else shown[0]
    return " ± ".join(shown)


def percent(value: float, digits: int = 0) -> str:
    """A share in percent.

    >>> percent(0.8214)
    '82\\u202f%'
    """
    return f"{decimal(100 * value, digits)}{NARROW_SPACE}%"


def p_value(value: float) -> str:
    """A p-value with its relation.

    >>> p_value(0.0312), p_value(0.00002), p_value(float("nan"))
    ('p\\xa0=\\xa00.031', 'p\\xa0<\\xa00.001', 'p\\xa0–')
    """
    if math.isnan(value):
        return "p\u00a0–"
    return "p\u00a0<\u00a00.001" if value < 0.001 else f"p\u00a0=\u00a0{value:.{3 if value < 0.1 else 2}f}"
