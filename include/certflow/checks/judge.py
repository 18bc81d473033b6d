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
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from certflow.checks import spared  # noqa: F401 (before Great Expectations)
from certflow.checks.frame import INDEX
from certflow.checks.suites import Rule
from certflow.errors import ConfigurationError
from certflow.month import SHANGHAI

os.environ["GX_ANALYTICS_ENABLED"] = "false"  # read by Great Expectations while it is imported

import great_expectations as gx
from great_expectations.core import ExpectationSuite, ExpectationSuiteValidationResult
from great_expectations.core.expectation_validation_result import ExpectationValidationResult
from great_expectations.data_context.types.base import ProgressBarsConfig
from great_expectations.execution_engine.pandas_execution_engine import PandasExecutionEngine
from great_expectations.expectations.expectation import ColumnMapExpectation, Expectation
from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
from great_expectations.expectations.registry import get_metric_kwargs
from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
from great_expectations.render.view.view import DefaultJinjaPageView
from great_expectations.validator.exception_info import ExceptionInfo
from great_expectations.validator.metric_configuration import MetricConfiguration
from great_expectations.validator.v1_validator import Validator as SuiteValidator
from great_expectations.validator.validation_graph import ValidationGraph
from great_expectations.validator.validator import Validator

if TYPE_CHECKING:
    import pandas as pd

_FORMAT = {
    "result_format": "COMPLETE",
    "unexpected_index_column_names": [INDEX],
    "return_unexpected_index_query": False,
}
_BATCH = "frames-frame"
"""What Great Expectations calls the batch: after the data source and the asset of `_whole`."""
_NUMBER = "number"
"""Place of a rule among the rules of one call, in the `meta` of its expectation."""
_WORD = re.compile(r"\w+")
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


def prepare(rules: Sequence[Rule]) -> None:
    """Make what `judge` makes once per process, for the processes that will be forked from this one.

    `rules`: those of one frame, in the order in which `judge` will be given them. ConfigurationError as `judge`.
    """
    _whole()
    _asked(rules, frozenset(rule.column for rule in rules if rule.column is not None))


def judge(frame: "pd.DataFrame", rules: Sequence[Rule]) -> list[Judgement]:
    """Judge one frame by rules of one scope, those of a suite one after the other; one judgement per suite.

    ConfigurationError when a rule cannot be run.
    """
    _context()  # it also registers the expectations
    # A rule over a column that says nothing holds; it is not asked.
    asked = _asked(rules, frozenset(frame.columns[frame.notna().any()]))
    judgements = []
    with _ONE_AT_A_TIME, _at_once(frame, asked), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole = any(not one.needed for one in asked.values())
        validator = _validator(frame if whole else frame.iloc[:0, :1])
        for suite, numbers in groupby(range(len(rules)), key=lambda number: rules[number].suite):
            expectations = ExpectationSuite(name=f"{suite}-{rules[0].scope.value}")
            expectations.expectations = [asked[number].expectation for number in numbers if number in asked]
            judgements.append(_judgement(validator.validate_expectation_suite(expectations), rules, asked, suite))
    return judgements


def _judgement(
    outcome: Any,  # noqa: ANN401 (untyped to us)
    rules: Sequence[Rule],
    asked: "Mapping[int, _Question]",
    suite: str,
) -> Judgement:
    breaches, told = [], []
    for result in outcome.results:
        number = int(result.expectation_config.meta[_NUMBER])
        rule, found = rules[number], result.result or {}
        if result.exception_info and _raised(result.exception_info):
            reason = _reason(result.exception_info)
            raise ConfigurationError(f"{suite}.json：规则 {rule.code} 无法执行：{reason}")
        if not result.success:
            lines = sorted(int(item[INDEX]) for item in found.get("unexpected_index_list") or ())
            if not lines:  # it found something and names nobody: nobody would be told
                raise ConfigurationError(f"{suite}.json：规则 {rule.code} 无法执行：它不指明哪一行不合格")
            breaches.append((number, Breach(rule, tuple(lines))))
        counts = {name: value for name, value in found.items() if name not in _VALUES}
        told.append(asked[number].told | {"success": result.success, "result": counts})
    breaches.sort(key=itemgetter(0))
    outcome.results = []
    result = outcome.to_json_dict() | {"results": told}
    result["meta"]["batch_markers"].pop("pandas_data_fingerprint", None)  # of names and numbers; nobody asks for it
    return Judgement(suite, rules[0].scope.value, tuple(one for _, one in breaches), result)


@dataclass(frozen=True, slots=True)
class _Question:
    """A rule as it is put to Great Expectations: made once per process, never changed."""

    expectation: Any
    configuration: ExpectationConfiguration
    needed: tuple[MetricConfiguration, ...]
    """What has to be measured, each after what it is measured from; the last tells the lines that break the rule.

    Empty for a rule that is not about each value by itself.
    """
    told: dict[str, Any]
    """Its result as JSON before anything was found."""


class _Engine(PandasExecutionEngine):
    """Great Expectations' own, but a condition chooses its lines once, by the columns it names.

    A rule is shown its own column alone.
    """

    def __init__(self, frame: "pd.DataFrame") -> None:
        super().__init__(batch_data_dict={_BATCH: frame}, caching=False)
        self._frame = frame
        self._chosen: dict[str, Any] = {}
        self._alone: dict[tuple[str, str | None], Any] = {}

    def get_domain_records(self, domain_kwargs: dict[str, Any]) -> Any:  # noqa: ANN401 (a frame, untyped to us)
        """The lines a condition chooses, of all columns or of the one that is named."""
        condition, column = str(domain_kwargs.get("row_condition") or ""), domain_kwargs.get("column")
        if (condition, column) not in self._alone:
            shown = self._frame if column is None else self._frame[column].to_frame()
            self._alone[condition, column] = shown.loc[self._lines(condition, domain_kwargs)] if condition else shown
        return self._alone[condition, column]

    def _lines(self, condition: str, domain_kwargs: dict[str, Any]) -> Any:  # noqa: ANN401 (an index)
        if condition not in self._chosen:
            words = set(_WORD.findall(condition))
            named = self._frame[[INDEX, *(name for name in self._frame.columns if name in words and name != INDEX)]]
            alone = PandasExecutionEngine(batch_data_dict={_BATCH: named}, caching=False)
            self._chosen[condition] = alone.get_domain_records(domain_kwargs | {"column": None}).index
            _let_go(alone)
        return self._chosen[condition]

    def let_go(self) -> None:
        """Forget the frame: engines name themselves, so what they hold waits for the collector of cycles."""
        _let_go(self)
        self._frame = self._frame.iloc[:0, :0]
        self._chosen.clear()
        self._alone.clear()


def _let_go(engine: PandasExecutionEngine) -> None:
    engine.batch_manager.batch_data_cache.clear()
    engine.config["batch_data_dict"].clear()


@contextmanager
def _at_once(frame: "pd.DataFrame", asked: Mapping[int, _Question]) -> Iterator[None]:
    """While this holds, Great Expectations answers these questions without planning each of them anew.

    What a value is held against, what a condition chooses and how a result comes about stays its own; all it saves is
    to build every expectation and every metric's identity a hundred times and to copy the frame for each of them.
    """
    built = {id(one.expectation): one.configuration for one in asked.values()}
    engine, metrics = _Engine(frame), dict[Any, Any]()
    usual: Any = Validator.graph_validate
    configuration: Any = Expectation.configuration  # a property

    def known(self: Expectation) -> ExpectationConfiguration:
        return built[id(self)] if id(self) in built else configuration.fget(self)

    def validate(
        self: Validator,
        configurations: list[ExpectationConfiguration],
        runtime_configuration: dict[str, Any] | None = None,
    ) -> list[ExpectationValidationResult]:
        questions = [asked[one.meta[_NUMBER]] for one in configurations if one.meta]
        others = [one.configuration for one in questions if not one.needed]
        answers = [_answer(one, engine, metrics) for one in questions if one.needed]
        return [*answers, *(usual(self, others, runtime_configuration) if others else ())]

    Validator.graph_validate = validate  # type: ignore[method-assign]
    Expectation.configuration = property(known)  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        Validator.graph_validate = usual  # type: ignore[method-assign]
        Expectation.configuration = configuration  # type: ignore[method-assign]
        engine.let_go()
        metrics.clear()


def _answer(question: _Question, engine: _Engine, metrics: dict[Any, Any]) -> ExpectationValidationResult:
    """What Great Expectations says to one rule; `metrics`: what was measured on this frame so far."""
    expectation, condition = question.expectation, question.needed[-1]
    try:
        for metric in question.needed:
            if metric.id not in metrics:
                metrics |= engine.resolve_metrics([metric], metrics=metrics)
        unexpected = metrics[condition.id][0]
        lines = unexpected.index[unexpected.to_numpy(dtype=bool)].tolist() if unexpected.any() else []
        records = engine.get_domain_records(condition.metric_domain_kwargs)
        measured = {
            "table.row_count": len(records),
            "column_values.nonnull.unexpected_count": int(records.isna().to_numpy().sum()),
            f"{expectation.map_metric}.unexpected_count": len(lines),
            f"{expectation.map_metric}.unexpected_values": [],  # no value leaves
            f"{expectation.map_metric}.unexpected_index_list": [{INDEX: line} for line in lines],
        }
        answer = expectation._validate(measured, {"result_format": _FORMAT}, engine)  # noqa: SLF001 (as `_at_once`)
    except Exception as error:  # noqa: BLE001 (a rule that does not fit its column fails in as many ways as there are)
        told = ExceptionInfo(exception_traceback="", exception_message=str(error))
        return ExpectationValidationResult(False, question.configuration, exception_info=told)
    return ExpectationValidationResult(expectation_config=question.configuration, **answer)


def write_results(judgements: Iterable[Judgement], folder: Path, run: str) -> list[Path]:
    """Write the value-free validation results as ``<year>/<run>-<suite>-<scope>.json``, the year of today in Shanghai.

    Returns the files.
    """
    shelf = folder / f"{datetime.now(SHANGHAI):%Y}"
    shelf.mkdir(parents=True, exist_ok=True)
    written = []
    for judgement in judgements:
        path = shelf / f"{run}-{judgement.suite}-{judgement.scope}.json"
        written.append(_put(path, json.dumps(judgement.result, ensure_ascii=False)))
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
            made.append(_put(html, _offline(_page(view, path))))
        _write_index(shelf, year.name, [path.stem for path in sources], "{}.html")
    _write_index(target, "数据质量检查结果", [year.name for year in years], "{}/index.html")
    return made


def _put(path: Path, text: str) -> Path:
    """Written whole or not at all: the disk may be full, the process may die."""
    draft = path.with_name(f".{path.name}.part")
    try:
        draft.write_text(text, encoding="utf-8")
        return draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _page(view: DefaultJinjaPageView, path: Path) -> str:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return f"{_head(path.stem)}<p>这次检查的结果文件已损坏，无法显示；判定和台账不受影响。</p></html>"
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
    page = f"{_head(title)}<p>只有数量，没有个人信息。</p><ul>{links}</ul></html>"
    (folder / "index.html").write_text(page, encoding="utf-8")


def _head(title: str) -> str:
    return f'<!doctype html><html lang="zh-CN"><meta charset="utf-8"><title>{title}</title>{_STYLE}<h1>{title}</h1>'


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


def _validator(frame: "pd.DataFrame") -> SuiteValidator:
    """One for all suites: it names the frame by the hash of all its values, so it is shown what it has to look at."""
    return SuiteValidator(_whole(), _FORMAT, {"dataframe": frame})


def _whole() -> Any:  # noqa: ANN401 (as above)
    """The definition of a batch that is a whole frame."""
    source = _context().data_sources.get("frames")
    names = [asset.name for asset in source.assets]
    asset = source.get_asset("frame") if "frame" in names else source.add_dataframe_asset("frame")
    definitions = [item for item in asset.batch_definitions if item.name == "whole"]
    return definitions[0] if definitions else asset.add_batch_definition_whole_dataframe("whole")


def _as_text(number: int, rule: Rule) -> str:
    """A rule and its place as a key: equal ones are the same question."""
    return json.dumps(
        [number, rule.suite, rule.code, rule.title, rule.severity, rule.clause, rule.expectation, rule.kwargs],
        sort_keys=True,
    )


def _asked(rules: Sequence[Rule], spoken: AbstractSet[str]) -> dict[int, _Question]:
    """As `_questions`, asked by a thread of its own.

    Errors that the library raises, catches and keeps meanwhile hold whoever called it, with all its rows, until the
    collector comes: nobody but this thread does.
    """
    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(_questions, rules, spoken).result()


def _questions(rules: Sequence[Rule], spoken: AbstractSet[str]) -> dict[int, _Question]:
    """What is asked, by the rule's number."""
    named = [_as_text(number, rule) for number, rule in enumerate(rules)]
    for one in named:
        _expectation(one)  # none that is wrong goes unsaid, whatever the columns say
    return {number: _question(one) for number, one in enumerate(named) if rules[number].column in spoken}


@lru_cache(maxsize=1024)
def _expectation(key: str) -> Any:  # noqa: ANN401 (as above)
    number, suite, code, _, severity, clause, kind, kwargs = json.loads(key)
    meta = {_NUMBER: number, "code": code, "severity": severity, "clause": clause}
    try:
        return ExpectationConfiguration(kind, kwargs | {"batch_id": _BATCH}, meta).to_domain_obj()
    except Exception as error:  # noqa: BLE001 (each kind of wrong argument raises its own type, some of them bare)
        reason = " ".join(str(error).split())
        raise ConfigurationError(f"{suite}.json：规则 {code} 的 type 或 kwargs 不对：{reason}") from None


@lru_cache(maxsize=1024)
def _question(key: str) -> _Question:
    expectation, (_, _, code, title, *_) = _expectation(key), json.loads(key)
    configuration = expectation.configuration
    needed: dict[Any, MetricConfiguration] = {}

    def need(metric: MetricConfiguration) -> None:
        for other in metric.metric_dependencies.values():
            need(other)
        needed.setdefault(metric.id, metric)

    if type(expectation).get_validation_dependencies is ColumnMapExpectation.get_validation_dependencies:
        name = f"{expectation.map_metric}.condition"
        kwargs = get_metric_kwargs(name, configuration)
        condition = MetricConfiguration(name, kwargs["metric_domain_kwargs"], kwargs["metric_value_kwargs"])
        ValidationGraph(PandasExecutionEngine()).build_metric_dependency_graph(condition)
        need(condition)
    told = ExpectationValidationResult(True, configuration, result={}).to_json_dict()
    meta: Any = told["expectation_config"]
    meta["meta"] = {name: value for name, value in meta["meta"].items() if name != _NUMBER}
    meta["meta"]["notes"] = {"format": "markdown", "content": [f"{code} {title}"]}
    return _Question(expectation, configuration, tuple(needed.values()), told)


def _raised(info: Mapping[str, Any]) -> bool:
    if "raised_exception" in info:
        return bool(info["raised_exception"])
    return any(_raised(nested) for nested in info.values() if isinstance(nested, Mapping))


def _reason(info: Mapping[str, Any]) -> str:
    if "exception_message" in info:
        return str(info["exception_message"]).strip().splitlines()[-1][:200]
    return next((_reason(nested) for nested in info.values() if isinstance(nested, Mapping)), "unknown")
