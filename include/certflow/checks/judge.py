"""The judge: runs the suites over the measured frames (the only import of Great Expectations).

An ephemeral context per process, no telemetry, no network, nothing on disk. What leaves here are positions of lines
and counts, never a value: results for the quality history and the Data Docs are written with all values removed.
"""

import json
import logging
import os
import re
import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from certflow.checks.frame import INDEX
from certflow.checks.suites import Rule
from certflow.errors import ConfigurationError
from certflow.month import SHANGHAI

os.environ["GX_ANALYTICS_ENABLED"] = "false"  # read by Great Expectations while it is imported

import great_expectations as gx
from great_expectations.core import ExpectationSuite, ExpectationSuiteValidationResult
from great_expectations.core.expectation_validation_result import ExpectationValidationResult
from great_expectations.data_context.types.base import ProgressBarsConfig
from great_expectations.expectations.expectation import Expectation
from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
from great_expectations.render.view.view import DefaultJinjaPageView

if TYPE_CHECKING:
    import pandas as pd

_FORMAT = {
    "result_format": "COMPLETE",
    "unexpected_index_column_names": [INDEX],
    "return_unexpected_index_query": False,
}
_ONE_AT_A_TIME = threading.Lock()
"""Two threads must not use the context's one asset at once."""
_VALUES = (
    "partial_unexpected_list", "partial_unexpected_counts", "partial_unexpected_index_list", "unexpected_list",
    "unexpected_index_list", "unexpected_index_column_names", "unexpected_index_query", "unexpected_rows",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Breach:
    """One rule and the lines of the frame (positions, ascending) where it did not hold."""

    rule: Rule
    lines: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What one suite found on one frame; `result` is the validation result with every value removed."""

    suite: str
    scope: str
    breaches: tuple[Breach, ...]
    result: Mapping[str, Any]


def judge(frame: "pd.DataFrame", rules: Sequence[Rule]) -> Judgement:
    """Judge one frame by rules of one suite and scope; ConfigurationError when a rule cannot be run."""
    suite, scope = rules[0].suite, rules[0].scope.value
    expectations = ExpectationSuite(name=f"{suite}-{scope}")
    _context()  # it also registers the expectations
    built = [_expectation(number, rule) for number, rule in enumerate(rules)]
    # A rule over a column that says nothing holds; running it costs as much as any other (some 10 ms of CPU).
    expectations.expectations = [
        item for item, rule in zip(built, rules, strict=True) if frame[rule.column].notna().any()
    ]
    with _ONE_AT_A_TIME, _configured_once(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outcome = _batch(frame).validate(expectations, result_format=_FORMAT)
    breaches = []
    for result in outcome.results:
        rule = rules[int(result.expectation_config.meta["number"])]
        if result.exception_info and _raised(result.exception_info):
            reason = _reason(result.exception_info)
            raise ConfigurationError(f"{rule.suite}.json：规则 {rule.code} 无法执行：{reason}")
        if not result.success:
            lines = sorted(int(item[INDEX]) for item in result.result.get("unexpected_index_list") or ())
            if not lines:  # it found something and names nobody: nobody would be told
                raise ConfigurationError(f"{rule.suite}.json：规则 {rule.code} 无法执行：它不指明哪一行不合格")
            breaches.append(Breach(rule, tuple(lines)))
    breaches.sort(key=lambda breach: rules.index(breach.rule))
    return Judgement(suite, scope, tuple(breaches), _without_values(outcome, rules))


@contextmanager
def _configured_once() -> Iterator[None]:
    """While this holds, an expectation builds its configuration once.

    It is asked for a hundred times; to build it anew each time takes a quarter of what Great Expectations needs.
    """
    built: dict[int, tuple[Expectation, ExpectationConfiguration]] = {}
    whole: Any = Expectation.configuration  # a property

    def configuration(self: Expectation) -> ExpectationConfiguration:
        if (known := built.get(id(self))) is None:  # the expectation is kept with it, so its id stays its own
            known = built[id(self)] = (self, whole.fget(self))
        return known[1]

    Expectation.configuration = property(configuration)  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        Expectation.configuration = whole  # type: ignore[method-assign]


def write_results(judgements: Iterable[Judgement], folder: Path, run: str) -> list[Path]:
    """Write the value-free validation results as ``<year>/<run>-<suite>-<scope>.json``, the year of today in Shanghai.

    Returns the files.
    """
    shelf = folder / f"{datetime.now(SHANGHAI):%Y}"
    shelf.mkdir(parents=True, exist_ok=True)
    written = []
    for judgement in judgements:
        path = shelf / f"{run}-{judgement.suite}-{judgement.scope}.json"
        path.write_text(json.dumps(judgement.result, ensure_ascii=False, indent=1), encoding="utf-8")
        written.append(path)
    return written


def render_data_docs(results: Path, target: Path) -> list[Path]:
    """Render the value-free results of `write_results`, a folder and an index per year; returns the pages made now.

    A page that is newer than its result stays: the work does not grow with the years.
    """
    target.mkdir(parents=True, exist_ok=True)
    made = []
    view = DefaultJinjaPageView()  # one for all pages: it compiles its templates once
    years = sorted(path for path in results.glob("*") if path.is_dir())
    for year in years:
        shelf = target / year.name
        shelf.mkdir(exist_ok=True)
        sources = sorted(year.glob("*.json"))
        for path in sources:
            html = shelf / f"{path.stem}.html"
            if html.is_file() and html.stat().st_mtime_ns > path.stat().st_mtime_ns:
                continue
            html.write_text(_offline(_page(view, path)), encoding="utf-8")
            made.append(html)
        _write_index(shelf, year.name, [path.stem for path in sources], "{}.html")
    _write_index(target, "数据质量检查结果", [year.name for year in years], "{}/index.html")
    return made


def _page(view: DefaultJinjaPageView, path: Path) -> str:
    document = json.loads(path.read_text(encoding="utf-8"))
    document["results"] = [
        ExpectationValidationResult(
            **item | {"expectation_config": ExpectationConfiguration(**item["expectation_config"])}
        )
        for item in document["results"]
    ]
    page = ValidationResultsPageRenderer().render(ExpectationSuiteValidationResult(**document))
    return str(view.render(page))  # type: ignore[no-untyped-call]


def _write_index(folder: Path, title: str, names: Sequence[str], link: str) -> None:
    links = "".join(f'<li><a href="{link.format(name)}">{name}</a></li>' for name in names)
    (folder / "index.html").write_text(
        f'<!doctype html><html lang="zh-CN"><meta charset="utf-8"><title>{title}</title>{_STYLE}'
        f"<h1>{title}</h1><p>只有数量，没有个人信息。</p><ul>{links}</ul></html>",
        encoding="utf-8",
    )


_STYLE = (
    "<style>body{font-family:sans-serif;margin:2em}table{border-collapse:collapse}td,th{border:1px solid #ccc;"
    "padding:.3em .6em;vertical-align:top}</style>"
)
_REMOTE = re.compile(
    r"<script\b.*?</script>|<link\b[^>]*>|<img\b[^>]*>|<form\b.*?</form>|url\(['\"]?https?:[^)]*\)"
    r"|\b(?:href|src)=(?:\"https?:[^\"]*\"|'https?:[^']*')",
    re.DOTALL | re.IGNORECASE,
)


def _offline(html: str) -> str:
    """A page of Great Expectations without what it would load from the network (DOMAIN §9: no CDN)."""
    return _REMOTE.sub("", html).replace("</head>", f"{_STYLE}</head>", 1)


@lru_cache(maxsize=1)
def _context() -> Any:  # noqa: ANN401 (Great Expectations is untyped to us)
    for name in ("great_expectations", "great_expectations.expectations.expectation"):
        logging.getLogger(name).setLevel(logging.ERROR)  # its INFO and WARNING lines may carry values
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False, metric_calculations=False)
    context.data_sources.add_pandas("frames")
    return context


def _batch(frame: "pd.DataFrame") -> Any:  # noqa: ANN401 (as above)
    source = _context().data_sources.get("frames")
    names = [asset.name for asset in source.assets]
    asset = source.get_asset("frame") if "frame" in names else source.add_dataframe_asset("frame")
    definitions = [item for item in asset.batch_definitions if item.name == "whole"]
    definition = definitions[0] if definitions else asset.add_batch_definition_whole_dataframe("whole")
    return definition.get_batch(batch_parameters={"dataframe": frame})


def _expectation(number: int, rule: Rule) -> Any:  # noqa: ANN401 (as above)
    meta = {"number": number, "code": rule.code, "severity": rule.severity.value, "clause": rule.clause}
    try:
        return ExpectationConfiguration(type=rule.expectation, kwargs=dict(rule.kwargs), meta=meta).to_domain_obj()
    except Exception as error:  # noqa: BLE001 (each kind of wrong argument raises its own type, some of them bare)
        reason = " ".join(str(error).split())
        raise ConfigurationError(f"{rule.suite}.json：规则 {rule.code} 的 type 或 kwargs 不对：{reason}") from None


def _raised(info: Mapping[str, Any]) -> bool:
    if "raised_exception" in info:
        return bool(info["raised_exception"])
    return any(_raised(nested) for nested in info.values() if isinstance(nested, Mapping))


def _reason(info: Mapping[str, Any]) -> str:
    if "exception_message" in info:
        return str(info["exception_message"]).strip().splitlines()[-1][:200]
    return next((_reason(nested) for nested in info.values() if isinstance(nested, Mapping)), "unknown")


def _without_values(outcome: Any, rules: Sequence[Rule]) -> dict[str, Any]:  # noqa: ANN401 (as above)
    document: dict[str, Any] = outcome.to_json_dict()
    for item in document["results"]:
        for key in _VALUES:
            item["result"].pop(key, None)
        rule = rules[item["expectation_config"]["meta"]["number"]]
        item["expectation_config"]["meta"]["notes"] = {"format": "markdown", "content": [f"{rule.code} {rule.title}"]}
        del item["expectation_config"]["meta"]["number"]
    return document
