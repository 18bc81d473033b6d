"""PDF out: the only module that imports typst.

Fonts come from the wheel `mplfonts`, its Noto files alone (the other ones have licences of their own), and never
from the machine: the same template and data give the same bytes everywhere.
"""

import datetime as dt
import importlib.resources
import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from certflow.errors import ConfigurationError

SERIF, SANS = "Noto Serif CJK SC", "Noto Sans CJK SC"
"""The families a template may ask for."""

_MOMENT = dt.datetime(1980, 1, 1, tzinfo=dt.UTC)  # what a PDF says about its making; the real one stands in the ledger
_HEAD = f"""#let data = json(bytes(sys.inputs.data))
#set document(date: none)
#set text(font: ("{SERIF}", "{SANS}"), lang: "zh", region: "cn", fallback: false)
"""


def render(template: str, data: Mapping[str, Any], *, title: str = "") -> bytes:
    """A PDF of `template` (typst source), which finds `data` (whatever JSON can say) under the name ``data``.

    Raises:
        ConfigurationError: the template is wrong; the message names line and reason, never a value of `data`.
    """
    import typst

    inputs = {"data": json.dumps(data, ensure_ascii=False)}
    source = f"{_HEAD}#set document(title: {json.dumps(title, ensure_ascii=False)})\n{template}"
    try:
        made = typst.compile(
            source.encode(), format="pdf", font_paths=_fonts(), sys_inputs=inputs, timestamp=_MOMENT, pdf_tags=False
        )
    except typst.TypstError as error:
        raise ConfigurationError(f"PDF 模板有误：{error.message}") from None
    return bytes(made)


@lru_cache(maxsize=1)
def _fonts() -> Any:  # noqa: ANN401 (typst's own type, which is not imported at the top)
    import typst

    folder = importlib.resources.files("mplfonts") / "fonts"
    return typst.Fonts(include_system_fonts=False, include_embedded_fonts=False, font_paths=[str(folder)])
