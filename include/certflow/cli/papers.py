"""Commands about paper: the forms of a submission before it is sent, and which stamped paper has arrived."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from certflow.cli.judging import received
from certflow.cli.show import AsJson, By, InMonth, as_json, complain, desk, say, table
from certflow.settings import Settings

app = typer.Typer()
paper_app = typer.Typer(help="各市盖章的纸质材料：登记到没到、与数据符不符。", no_args_is_help=True)
app.add_typer(paper_app, name="paper")


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


@app.command()
def verifier(
    out: Annotated[Path, typer.Argument(metavar="DIR", help="写到哪个文件夹。")],
) -> None:
    """写出核对程序 verify_package.py 和本单位的公钥，交给接收数据包的一方：只需 Python，不需要本系统。

    用法：python verify_package.py --key certflow-公钥.txt 数据包.zip
    """
    from certflow import signing
    from certflow.dispatch import verify_package

    settings = Settings.load()
    out.mkdir(parents=True, exist_ok=True)
    public = signing.public_key(settings)
    (out / "verify_package.py").write_bytes(Path(verify_package.__file__).read_bytes())
    (out / "certflow-公钥.txt").write_text(f"{public.hex()}\n", encoding="ascii")
    say(f"密钥编号 {signing.key_id_of(public)}；请另行（如电话）与对方核对公钥：{public.hex()}")


@paper_app.command("record")
def record(
    month: InMonth,
    account: Annotated[str, typer.Argument(metavar="账号")],
    exam_code: Annotated[str, typer.Argument(metavar="考试代码")],
    state: Annotated[str, typer.Argument(metavar="arrived|missing|differs", help="已到、未到、不符。")],
    *,
    by: By,
    scan: Annotated[
        Path | None,
        typer.Option("--scan", exists=True, dir_okay=False, help="扫描件；只记录它的摘要，文件仍由您保管。"),
    ] = None,
    remark: Annotated[str, typer.Option("--note", help="说明；登记为不符时必填。")] = "",
) -> None:
    """登记一个地市一个考试的纸质材料；再次登记以最后一次为准，以前的记录保留。"""
    from certflow.dispatch.arrivals import WORDS, record_arrival

    if state not in WORDS:
        raise typer.BadParameter("状态写 arrived（已到）、missing（未到）或 differs（不符）")
    with desk() as (settings, registry, actor):
        record_arrival(
            settings, registry, month, account, exam_code, state=state, by=by, actor=actor, remark=remark, scan=scan
        )
    say(f"{month} {account} {exam_code}：纸质材料{WORDS[state]}")


@paper_app.command("list")
def list_papers(month: InMonth, *, json: AsJson = False) -> None:
    """一个月（最近一批）各地市各考试的纸质材料。"""
    from certflow.cli.months import batch_of
    from certflow.dispatch.arrivals import WORDS, arrivals

    with desk() as at:
        found = arrivals(at.settings, at.registry, batch_of(at, month, None))
    if json:
        for one in found:
            as_json(asdict(one))
        return
    table(
        "",
        ("地市", "考试", "行", "纸质材料", "登记人", "说明"),
        [(one.city, one.exam_code, one.rows, WORDS[one.state], one.by, one.note) for one in found],
    )
