"""Commands of a city's counter: forms, checklist, photo, old certificates."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from certflow.cli.show import AsJson, By, as_json, complain, desk, say, write_new
from certflow.errors import SubmissionError
from certflow.settings import Settings

app = typer.Typer()
accept_app = typer.Typer(help="受理窗口（可选，不影响月报）：申请表、受理清单、照片。", no_args_is_help=True)
old_app = typer.Typer(help="旧版证书：登记表是否完整、材料清单、发放。", no_args_is_help=True)
app.add_typer(accept_app, name="accept")
app.add_typer(old_app, name="old")

_Number = Annotated[str, typer.Argument(metavar="管理号")]
_Case = Annotated[int, typer.Argument(metavar="受理编号")]
_Account = Annotated[str, typer.Option("--account", metavar="账号", help="地市账号，如 370100。")]
_Reference = Annotated[str, typer.Argument(metavar="档案号")]
_Pdf = Annotated[Path, typer.Argument(metavar="FILE", dir_okay=False, help="写到哪个 PDF 文件；已存在的不覆盖。")]
_Picture = Annotated[Path, typer.Argument(metavar="ORIGINAL", exists=True, dir_okay=False, help="原图，只读不改。")]


@accept_app.command("form")
def accept_form(
    management_no: _Number,
    target: _Pdf,
    *,
    account: _Account,
    photo: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="已合格的照片，印在表上。")] = None,
) -> None:
    """按证书数据库填好的申请表：一般考试为《个人补发（更换）证书申请》，软考和通信为主管部门的表。"""
    from certflow.acceptance.counter import application_form
    from certflow.reference import load_reference

    with desk() as (settings, registry, _actor):
        picture = photo.read_bytes() if photo else b""
        made = application_form(settings, registry, load_reference(settings), account, management_no, photo=picture)
    write_new(target, made)
    say(str(target))


@accept_app.command("photo")
def accept_photo(
    original: _Picture,
    target: Annotated[Path, typer.Argument(metavar="FILE", dir_okay=False, help="写到哪个 JPG 文件；已存在的不覆盖。")],
    *,
    family: Annotated[
        str, typer.Option(help="考试类别：normal（10–30 KB）、ruankao 或 tongxin（大于 30 KB）。")
    ] = "normal",
    json: AsJson = False,
) -> None:
    """把照片裁剪、缩小到 295×413 并压缩到规定大小；不放大、不改背景，做了什么逐条说明。

    原图不合格时说明原因，退出码为 1。
    """
    from certflow.acceptance.photos import FAMILIES, prepare_file

    if family not in FAMILIES:
        raise typer.BadParameter(f"考试类别为 {'、'.join(FAMILIES)} 之一")
    try:
        prepared = prepare_file(Settings.load(), original, target, family)
    except SubmissionError as error:
        if json:
            as_json({"ok": False, "rule": error.fault, "reason": error.detail})
        else:
            complain(f"照片不能使用（{error.fault}）：{error.detail}")
        raise typer.Exit(1) from None
    if json:
        digests = {"original_sha256": prepared.original_sha256, "sha256": prepared.sha256}
        as_json({"ok": True, "done": prepared.done, **digests})
        return
    for step in prepared.done:
        say(step)
    say(f"原图 SHA-256 {prepared.original_sha256}，结果 {prepared.sha256}")


@accept_app.command("open")
def accept_open(management_no: _Number, *, account: _Account, json: AsJson = False) -> None:
    """登记一份补换申请（同一证书已有未完的，给出原来的），并列出所需材料。"""
    from certflow.acceptance.counter import accept
    from certflow.reference import load_reference

    with desk() as (settings, registry, actor):
        case = accept(registry, load_reference(settings), account, management_no, actor)
    if json:
        as_json(asdict(case))
    else:
        say(f"受理编号 {case.id}；尚缺：{'、'.join(case.missing) or '无'}")


@accept_app.command("item")
def accept_item(
    case: _Case,
    material: Annotated[str, typer.Argument(metavar="材料", help="如 有效身份证件、电子照片、遗失声明。")],
    *,
    account: _Account,
    file: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="材料的文件；只记摘要，不留存。")
    ] = None,
    json: AsJson = False,
) -> None:
    """记一项材料：有文件的记摘要，没有文件的记为已核对。"""
    from certflow.acceptance.counter import hand_in

    with desk() as (_settings, registry, actor):
        found = hand_in(registry, account, case, material, file=file, actor=actor)
    if json:
        as_json(asdict(found))
    else:
        say(f"尚缺：{'、'.join(found.missing) or '无，材料齐全'}")


@accept_app.command("checklist")
def accept_checklist(case: _Case, target: _Pdf, *, account: _Account, by: By) -> None:
    """受理清单 PDF：交了什么、摘要、尚缺什么。"""
    from certflow.acceptance.counter import checklist

    with desk() as (settings, registry, _actor):
        made = checklist(settings, registry, account, case, by)
    write_new(target, made)
    say(str(target))


@old_app.command("load")
def old_load(
    file: Annotated[Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False)], *, account: _Account
) -> None:
    """从 Excel 登记旧版证书：列为 档案号、登记表 和登记表的各栏目（由 templates/old-certificates.toml 规定）。"""
    from certflow.acceptance.old_certificates import load_list
    from certflow.reference import load_reference

    with desk() as (settings, registry, actor):
        if account not in load_reference(settings).cities:
            raise typer.BadParameter(f"没有账号 {account}，请核对地市表")
        taken, complete = load_list(settings, registry, account, file, actor)
    say(f"登记 {taken} 份，其中材料齐全 {complete} 份")


@old_app.command("tick")
def old_tick(
    reference: _Reference,
    items: Annotated[list[str], typer.Argument(metavar="核对项…", help="如 主管部门印章清晰、资格审查合格。")],
    *,
    account: _Account,
    by: By,
) -> None:
    """记下由人看过的项目：印章、资格审查。"""
    from certflow.acceptance.old_certificates import tick

    with desk() as (settings, registry, actor):
        missing = tick(settings, registry, account, reference, items, by=by, actor=actor)
    say(f"尚缺：{'、'.join(missing) or '无，材料齐全'}")


@old_app.command("next")
def old_next(reference: _Reference, *, account: _Account, by: By) -> None:
    """材料齐全 → 已报送 → 已发放。"""
    from certflow.acceptance.old_certificates import STATES, advance

    with desk() as (_settings, registry, actor):
        say(STATES[advance(registry, account, reference, by=by, actor=actor)])


@old_app.command("list")
def old_list(target: _Pdf, *, account: _Account) -> None:
    """一个地市的旧版证书材料清单 PDF。"""
    from certflow.acceptance.old_certificates import material_list
    from certflow.reference import load_reference

    with desk() as (settings, registry, _actor):
        cities = load_reference(settings).cities
        if account not in cities:
            raise typer.BadParameter(f"没有账号 {account}，请核对地市表")
        made = material_list(settings, registry, account, cities[account].name)
    write_new(target, made)
    say(str(target))
