"""PDF out: the only module that imports typst, segno and fontTools.

A template is typst source; the data it shows arrives as JSON, so a name that looks like markup stays a name. Fonts
are embedded and never come from the machine: the same template and data give the same bytes everywhere. They are the
Noto files of the wheel `mplfonts` (the other ones have licences of their own), which hold Extension A and the
characters of the national standard lists, 䶮 and 𬱖 among them; for the rest an operator puts font files into a folder
of the home, for instance HanaMinA.ttf and HanaMinB.ttf from Debian's ``fonts-hanazono`` (OFL; Extensions B to F whole)
and BabelStoneHan.ttf from ``fonts-babelstone-han`` (Arphic licence; over half of Extensions G and H).

No page ever shows an empty box in a name: a character that no font at hand has is refused before anything is drawn,
and PDF/A export would refuse it once more.
"""

import datetime as dt
import importlib.util
import io
import json
import re
import sys
import threading
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from certflow.errors import ConfigurationError, Conflict
from certflow.settings import Settings

SERIF, SANS = "Noto Serif CJK SC", "Noto Sans CJK SC"
"""The families a template may ask for; the first is the one it begins with."""

_FILES = ("NotoSerifCJKsc-Regular.otf", "NotoSansCJKsc-Regular.otf")
_SUFFIXES = {".otf", ".ttf", ".ttc"}
_MOMENT = dt.datetime(1980, 1, 1, tzinfo=dt.UTC)  # what a PDF says about its making; the real one stands in the ledger
_BLANK = {"\n", "\r", "\t", " ", "\u3000", "\u00a0", "\ufeff"}
_PRIVATE = ((0xE000, 0xF8FF), (0xF0000, 0x10FFFF))
"""Private use: what such a code shows is each font's own business, so no letter may carry it."""
_UNSEEN = {"Cc", "Cf"}
"""Control and format characters: a name that has one looks like another name."""
_SELECTED = re.compile("(.?)([\ufe00-\ufe0f\U000e0100-\U000e01ef])", re.DOTALL)
"""A variation selector behind its base."""
_LARGE, _MEMORY = 20_000, 10
"""typst remembers what it laid out over so many documents. One with more characters of data than this is forgotten at
once: a form of 625 rows holds 30 MB, and the next form shares nothing with it."""
_SHIPPED = Path(__file__).with_name("templates")
_HEAD = """#let parts = json(bytes(sys.inputs.parts))
#set document(title: sys.inputs.title, date: auto)
#set text(font: json(bytes(sys.inputs.fonts)), lang: "zh", region: "cn", fallback: false)
"""


def render(template: str, data: Mapping[str, Any], *, title: str = "") -> bytes:
    """A PDF/A-2b of `template` (typst source), which finds `data` (whatever JSON can say) under the name ``data``.

    Raises:
        ConfigurationError: the template is wrong; the message names the reason, never a value of `data`.
        Conflict: a character that cannot be shown; the message names its code point alone.
    """
    return _house_press().bind([(template, data)], title=title, at=_MOMENT)


class Press:
    """Templates that operators may edit, and the fonts at hand. One page at a time, from any thread."""

    def __init__(self, own: Path | None, fonts: Path | None) -> None:
        """`own`: folder with the operator's templates; `fonts`: folder with further fonts. ConfigurationError."""
        import typst

        self._own = own
        wheel = _wheel()
        more = _font_files(fonts)
        self._files = (*(wheel / name for name in _FILES), *more)
        loaded = typst.Fonts(
            include_system_fonts=False,
            include_embedded_fonts=False,
            font_paths=[wheel, *sorted({path.parent for path in more})],
        )
        families = {Path(font.path): font.family for font in loaded.fonts() if font.path}
        for file in self._files:
            if file not in families:
                raise ConfigurationError(f"字体文件读不了：{file.name}")
        extra = {families[file] for file in more}
        self._families = json.dumps([SERIF, SANS, *sorted(extra - {SERIF, SANS})], ensure_ascii=False)
        self._compiler = typst.Compiler(font_paths=loaded, ignore_system_fonts=True)
        self._lock = threading.Lock()

    def missing(self, texts: Iterable[str]) -> list[str]:
        """Characters of the texts (with their variation selector) that no font at hand can show, sorted."""
        wanted = set(_clusters(texts))
        for file in self._files:
            if wanted:
                plain, selected = _covered(file)
                wanted = {one for one in wanted if one not in selected and not (len(one) == 1 and _in(plain, one))}
        return sorted(wanted)

    def template(self, name: str) -> str:
        """Source of the operator's own template of this name, else of the shipped one; ConfigurationError."""
        for folder in (self._own, _SHIPPED):
            path = folder / f"{name}.typ" if folder else None
            if path is not None and path.is_file():
                try:
                    return path.read_text(encoding="utf-8-sig")
                except UnicodeDecodeError:
                    raise ConfigurationError(f"模板 {path.name} 读不了：须为 UTF-8 文本") from None
        raise ConfigurationError(f"没有名为 {name} 的模板；可选：{'、'.join(shipped())}")

    def print(self, name: str, data: Mapping[str, Any], *, title: str, at: dt.datetime) -> bytes:
        """One PDF/A-2b from the template `name`; raises as `bind`."""
        return self.bind([(self.template(name), data)], title=title, at=at)

    def bind(
        self, parts: Sequence[tuple[str, Mapping[str, Any]]], *, title: str, at: dt.datetime, tagged: bool = True
    ) -> bytes:
        """Several templates (typst source), each with its own data and from a new page on, as one PDF/A-2b.

        `at` is the moment the document carries; the same parts at the same moment give the same bytes. Tags tell a
        screen reader what is heading and what is cell; in a form of a thousand rows they are five sixths of the file.

        Raises Conflict when a character cannot be shown (it names the code point, never the text), and
        ConfigurationError when a template is wrong.
        """
        import typst

        if lost := self.missing([title, *(source for source, _ in parts), *_texts([data for _, data in parts])]):
            raise Conflict(unprintable(lost))
        pages = [
            f"#[\n#let data = parts.at({number})\n#counter(page).update(1)\n{source}\n]"
            for number, (source, _) in enumerate(parts)
        ]
        given = json.dumps([data for _, data in parts], ensure_ascii=False)
        with self._lock:
            try:
                made = self._compiler.compile(
                    input="\n".join([_HEAD, *pages]).encode(),
                    format="pdf",
                    sys_inputs={
                        "parts": given,
                        "title": title,
                        "fonts": self._families,
                    },
                    pdf_standards=["a-2b"],
                    timestamp=at.replace(microsecond=0),
                    pdf_tags=tagged,
                )
                if len(given) > _LARGE:
                    for _ in range(_MEMORY):
                        self._compiler.compile(input=b"", format="svg")
            except typst.TypstError as error:
                if "could not be displayed" in error.message:  # it quotes the text
                    raise Conflict("有的字无法用现有字体组合显示，未生成文件") from None
                raise ConfigurationError(f"PDF 模板有误，请对照原模板修改：{_unquoted(error.message)}") from None
        if not isinstance(made, bytes):
            raise ConfigurationError("PDF 模板有误：没有产生内容")
        return made


def press(settings: Settings) -> Press:
    """The press of this installation: its own templates and fonts, where there are any."""
    fonts = settings.fonts or settings.path("fonts")
    if settings.fonts is not None and not fonts.is_dir():
        raise ConfigurationError(f"字体文件夹不存在：{settings.fonts}（CERTFLOW_FONTS）")
    shelf = fonts if fonts.is_dir() else None
    return _set_up(settings.path("templates"), shelf, tuple(map(_version, _font_files(shelf))))


def know_fonts() -> None:
    """Look through the fonts that came along: once, in a process that forks those who print, instead of in each."""
    for name in _FILES:
        _covered(_wheel() / name)


def unprintable(characters: Iterable[str]) -> str:
    """What to tell a person about characters that cannot be printed."""
    codes = code_points(characters)
    return f"现有字体没有这些字：{codes}；请把含有这些字的字体文件放入 CERTFLOW_HOME 下的 fonts 文件夹后重试"


def code_points(characters: Iterable[str]) -> str:
    """Characters as a person can look them up: ``U+30EDD、U+845B+U+E0100``."""
    return "、".join("+".join(f"U+{ord(sign):04X}" for sign in dict.fromkeys(one)) for one in characters)


def shipped() -> list[str]:
    """Names of the templates that came with the program."""
    return sorted(path.stem for path in _SHIPPED.glob("*.typ"))


def export_template(settings: Settings, name: str) -> Path:
    """Copy a shipped template to where the operator edits it; Conflict when an own one lies there already."""
    if name not in shipped():
        raise ConfigurationError(f"没有名为 {name} 的模板；可选：{'、'.join(shipped())}")
    target = settings.path("templates", f"{name}.typ")
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        with target.open("xb") as stream:
            stream.write((_SHIPPED / target.name).read_bytes())
    except FileExistsError:
        raise Conflict(f"{target} 已存在，未覆盖；要回到原模板，请先移走它") from None
    return target


def qr_svg(text: str) -> str:
    """A QR code as SVG for ``image(bytes(…), format: "svg")``: error correction M, quiet zone of four modules."""
    import segno

    buffer = io.BytesIO()
    segno.make(text, error="m", micro=False).save(buffer, kind="svg", xmldecl=False, border=4, scale=4)
    return buffer.getvalue().decode("ascii")


@lru_cache(maxsize=1)
def _house_press() -> Press:
    return Press(None, None)


@lru_cache(maxsize=2)
def _set_up(own: Path, fonts: Path | None, _versions: tuple[tuple[str, int, int], ...]) -> Press:
    """One press for all who print with the same fonts: to load them takes longer than to print a page."""
    return Press(own, fonts)


def _wheel() -> Path:
    """The wheel's fonts, found without importing it: that would import matplotlib, half a second and 40 MB."""
    spec = importlib.util.find_spec("mplfonts")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("mplfonts")
    return Path(spec.submodule_search_locations[0]) / "fonts"


def _font_files(fonts: Path | None) -> list[Path]:
    return sorted(path for path in fonts.rglob("*") if path.suffix.lower() in _SUFFIXES) if fonts else []


def _version(file: Path) -> tuple[str, int, int]:
    seen = file.stat()
    return str(file), seen.st_mtime_ns, seen.st_size


@lru_cache(maxsize=64)
def _covered(file: Path) -> tuple[bytes, frozenset[str]]:
    """A bit for each code point, set where a font has a glyph for it; and the variation sequences it knows."""
    from fontTools.ttLib import TTCollection, TTFont, TTLibError

    plain = bytearray((sys.maxunicode + 1) // 8)
    selected: set[str] = set()
    try:
        fonts = TTCollection(file, lazy=True).fonts if file.suffix.lower() == ".ttc" else [TTFont(file, lazy=True)]
        for font in fonts:  # glyphs go by number here: to read their names took half the time and most of the memory
            font.setGlyphOrder([".notdef", *map(str, range(1, font["maxp"].numGlyphs))])
            for code, glyph in (font.getBestCmap() or {}).items():
                plain[code >> 3] |= (glyph != ".notdef") << (code & 7)
            for table in font["cmap"].tables:
                if table.format == 14:
                    pairs = table.uvsDict.items()
                    selected |= {chr(base) + chr(mark) for mark, glyphs in pairs for base, _ in glyphs}
    except (OSError, TTLibError, KeyError):
        raise ConfigurationError(f"字体文件读不了：{file.name}") from None
    return bytes(plain), frozenset(selected)


def _in(plain: bytes, sign: str) -> bool:
    return bool(plain[ord(sign) >> 3] >> (ord(sign) & 7) & 1)


def _clusters(texts: Iterable[str]) -> Iterator[str]:
    """Each character once, with a variation selector behind its base: the selector alone has no shape."""
    text = "\n".join(texts)
    for base, mark in set(_SELECTED.findall(text)):
        yield base.strip() + mark
    for sign in set(_SELECTED.sub(r"\1", text)) - _BLANK:
        if unicodedata.category(sign) in _UNSEEN or any(first <= ord(sign) <= final for first, final in _PRIVATE):
            yield sign * 2  # a pair stands in no font's list, and that is meant
        else:
            yield sign


def _texts(data: Any) -> list[str]:  # noqa: ANN401 (JSON)
    """Every text of it, in any order."""
    found, left = [], [data]
    while left:
        one = left.pop()
        if isinstance(one, str):
            found.append(one)
        elif isinstance(one, Mapping):
            left.extend(one.values())
        elif isinstance(one, list | tuple):
            left.extend(one)
    return found


def _unquoted(message: str) -> str:
    """An error without what it quotes: that may be a name."""
    return message.split("`", 1)[0].split('"', 1)[0].strip()[:80]
