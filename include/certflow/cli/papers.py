"""Commands about paper: the forms of a submission before it is sent, and which stamped paper has arrived."""

from pathlib import Path
from typing import Annotated

import typer

from certflow.cli.judging import received
from certflow.cli.show import complain, say
from certflow.settings import Settings

app = typer.Typer()


@app.command("forms")
def make_forms(
    paths: Annotated[list[str], typer.Argument(metavar="FILE…", help="准备报送的压缩包，或放着压缩包的文件夹。")],
    *,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="表格写到哪个文件夹。")] = Path(),
) -> None:
    """从准备报送的数据生成《补发(更换)申请表》和《统计汇总表》，Excel 和 PDF 各一份，内容与报送的 Excel 完全一致。

    按批准日期、管理号排序。栏目可改：把 forms.toml 放在 CERTFLOW_HOME/templates 下。不需要数据库，也不审核内容。
    """
    from certflow import forms, keys
    from certflow.findings import FIELDS
    from certflow.intake.gather import gather
    from certflow.reference import load_reference

    settings = Settings.load()
    files, _ = received(paths)
    failed = False
    for one in gather(files, settings, load_reference(settings)):
        sheet = one.sheet
        if sheet is None or one.name is None or not sheet.row_numbers:
            complain(f"{one.files[0].name}：读不出数据，未生成表格；请先用 certflow check 查看原因")
            failed = True
            continue
        blank = [""] * len(sheet.row_numbers)
        columns = [sheet.values.get(field, blank) for field in FIELDS]
        rows = [dict(zip(FIELDS, texts, strict=True)) for texts in zip(*columns, strict=True)]
        rows.sort(key=lambda row: (keys.parse_date(row["PZRQ"]).value or row["PZRQ"], row["ZSGLH"], row["ZJHM"]))
        name = one.name
        lines = [
            f"申报年月：{name.month}　　考试：{name.exam_code} {name.exam_name}　　报送单位：{name.city}",
            f"数据文件：{name.stem}",
        ]
        written, trouble = forms.write(settings, forms.lay_out(settings, rows, lines), out, name.stem)
        for path in written:
            say(str(path))
        if trouble:
            complain(f"PDF 未生成：{trouble}")
            failed = True
    if failed:
        raise typer.Exit(1)
