"""The paper forms of a built package: the same rows in the same order as its `.XLS`, as workbook and as PDF."""

import re
from collections.abc import Sequence
from pathlib import Path

from certflow import forms, naming
from certflow.dispatch.assemble import row_texts
from certflow.errors import Conflict, SubmissionError
from certflow.registry import packages
from certflow.registry.ledger import Actor, Registry, note
from certflow.settings import Settings


def write_package_forms(settings: Settings, registry: Registry, package_id: int, actor: Actor) -> list[Path]:
    """Write 申请表 and 统计汇总表 of a package below ``forms/<batch>/``, and their digests into the audit chain.

    May be run again: forms that say what the ledger says stay as they are. Those of the exam's rejected packages go:
    nobody is to stamp them. Conflict when there is no such package, or it was rejected itself.
    """
    with registry.read() as conn:
        package = packages.package(conn, package_id)
        rows = packages.packed_rows(conn, package_id)
        batch = packages.batch(conn, package.batch_id) if package else None
        beside = packages.packages_of(conn, package.batch_id, package.exam_code) if package else []
    if package is None or batch is None:
        raise Conflict(f"没有编号为 {package_id} 的数据包")
    if package.state == "REJECTED":
        raise Conflict(f"数据包 {package_id} 已退回组包，不再出表格")
    folder = settings.path("forms", batch.folder)
    _clear(folder, f"{batch.month}-{package.exam_code}-", [one.stem for one in beside if one.state != "REJECTED"])
    name = naming.parse(package.stem).name
    unit = re.sub(r"第\d+包$", "", name.city) if name else settings.province
    lines = [
        f"申报年月：{batch.folder}　　考试代码：{package.exam_code}　　报送单位：{unit}",
        f"数据文件：{package.stem}.XLS",
    ]
    pair = forms.lay_out(settings, row_texts(rows), lines)
    names = [f"{package.stem}-{forms.NAMES[form.kind]}" for form in pair]
    if all(_stands(folder / f"{name}.xlsx", form) for name, form in zip(names, pair, strict=True)):
        return sorted(path for name in names for path in folder.glob(f"{name}.*"))
    written, trouble = forms.write(settings, pair, folder, package.stem)
    with registry.begin(actor) as conn:
        digests = {form.kind: form.digest for form in pair}
        note(conn, "forms", package=package_id, files=len(written), trouble=trouble, **digests)
    return written


def _clear(folder: Path, exam: str, stems: Sequence[str]) -> None:
    live = tuple(f"{stem}-" for stem in stems)
    for path in folder.glob(f"{exam}*"):
        if not path.name.startswith(live):
            path.unlink()


def _stands(path: Path, form: forms.Form) -> bool:
    """Whether the form lies there and says what it should; a damaged one is made again like one that is gone."""
    if not path.is_file() or (form.typeset and not path.with_suffix(".pdf").is_file()):
        return False
    try:
        return forms.digest_of(forms.printed(path, form)) == form.digest
    except SubmissionError:
        return False
