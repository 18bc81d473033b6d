"""Commands about the new certificates on their way to their holders: EMS, pick-up, evidence, exchange."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from certflow.cli.show import AsJson, By, as_json, complain, desk, say, table, write_new
from certflow.delivery.states import BY_HAND, STATES, WORDS
from certflow.errors import ConfigurationError
from certflow.month import SHANGHAI
from certflow.settings import Settings

app = typer.Typer()
delivery_app = typer.Typer(
    help="新证书的发放：邮寄（EMS）或现场领取，直到签收。\n\n"
    "常用顺序：choose（各市名单）→ run（生成EMS订单、入库保管）→ track（运单号和跟踪状态）→ status；"
    "现场领取：evidence import → evidence status。名单和清单都在受保护的 CERTFLOW_HOME/delivery 中。",
    no_args_is_help=True,
)
evidence_app = typer.Typer(help="现场领取的凭证：高拍仪、电子签名板、身份证阅读器的文件。", no_args_is_help=True)
bundle_app = typer.Typer(
    help="证据包：一段时间的审计链、状态变更、原件、数据包清单，供外部核对。", no_args_is_help=True
)
app.add_typer(delivery_app, name="delivery")
app.add_typer(bundle_app, name="evidence")
delivery_app.add_typer(evidence_app, name="evidence")

_Account = Annotated[str, typer.Option("--account", metavar="账号", help="地市账号，如 370100。")]
_AnyAccount = Annotated[str, typer.Option("--account", metavar="账号", help="只看一个地市，如 370100。")]
_File = Annotated[Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, readable=True)]
_Number = Annotated[str, typer.Argument(metavar="管理号")]
_EFFECTS = {
    "lines": "行", "mail": "邮寄", "pickup": "现场领取", "moved": "更新状态", "waybill": "运单号", "repeated": "重复",
    "late": "迟到（状态已在其后）", "against": "与已知矛盾", "unknown": "不是我们的",
}  # fmt: skip


@delivery_app.command("choose")
def choose(file: _File, *, account: _Account, json: AsJson = False) -> None:
    """导入一个地市的领取方式名单（Excel 或 CSV）。

    列：管理号、领取方式（邮寄 或 现场领取）、收件人、联系电话、邮编、收件地址。

    同一管理号以最后一份名单为准；邮件退回后再报一次名单，即重寄或转现场领取。有一行不对，整份不采用，退出码为 1。
    同一个文件再报一次，只对报过以后邮件已退回、方式已另报的证书起作用，其余不变。
    例：certflow delivery choose 济南市名单.xlsx --account 370100
    """
    from certflow.delivery.profile import CHOICES

    _take(CHOICES, file, account=account, json=json)


@delivery_app.command("track")
def track(file: _File, *, json: AsJson = False) -> None:
    """导入 EMS 的运单号清单或跟踪状态（Excel 或 CSV）；可重复导入，先后次序不限。

    有不认识的状态词时整份不采用，退出码为 1：把这个词写进 delivery-ems.toml（certflow delivery profile ems）后再导入。
    例：certflow delivery track EMS跟踪20200915.xlsx
    """
    from certflow.delivery.profile import EMS

    _take(EMS, file, json=json)


@delivery_app.command("run")
def run(
    accounts: Annotated[list[str] | None, typer.Argument(metavar="[账号]…", help="地市账号；不写为全部地市。")] = None,
    *,
    json: AsJson = False,
) -> None:
    """每日的发放工作：收取各市投放文件夹中的名单、EMS 回传和领取凭证，生成 EMS 订单清单，现场领取的入库保管。

    投放文件夹：CERTFLOW_HOME/delivery/账号/ 下的 收件名单、EMS回传、领取凭证。可随时重复运行；
    有名单不能采用、有文件不能收、有回传与已知矛盾或都不是我们的，退出码为 1。
    例：certflow delivery run 370100
    """
    from certflow.delivery.daily import run_city
    from certflow.delivery.orders import expire
    from certflow.reference import load_reference

    held = 0
    with desk() as (settings, registry, actor):
        reference = load_reference(settings)
        for account in accounts or sorted(reference.cities):
            _known(account, reference.cities)
            day = run_city(settings, registry, reference, account, actor)
            held += len(day.held) + len(day.against) + len(day.foreign) + day.unread + day.refused
            if json:
                as_json(day.as_json())
                continue
            if any(list(day.as_json().values())[1:]):
                say(
                    f"{reference.cities[account].name}：名单 {day.applied} 份，EMS 订单 {day.ordered} 件，"
                    f"入库保管 {day.at_desk} 本，凭证 {day.evidence} 个，领取 {day.handed} 本，办结 {day.closed} 本，"
                    f"待关联凭证 {day.unlinked} 个"
                )
            if day.unchanged:
                say(f"{reference.cities[account].name}：{day.unchanged} 份名单以前已经导入过，这次未起作用")
            for many, words in (
                (len(day.held), "份名单未采用，用 choose 或 track 查看原因"),
                (len(day.against), f"本的 EMS 回传与已知矛盾，请人工核实：{'、'.join(day.against)}"),
                (len(day.foreign), "份 EMS 回传中没有一行是我们的，请核对订单号、运单号两列"),
                (day.unread, "个投放的文件或文件夹没有读取权限，未收"),
                (day.refused, "个凭证的类型或大小不对，未收，留在原处"),
                (day.elsewhere, "本有领取签名，按记录却不在领取处，用 evidence status 查看"),
                (day.without_address, "本没有邮寄地址，请地市报名单"),
                (
                    len(day.overtaken),
                    "本下过 EMS 订单之后又改了领取方式或地址（EMS 未收寄的，撤单后用 move 改为转现场领取）："
                    + "、".join(day.overtaken),
                ),
            ):
                if many:
                    complain(f"{reference.cities[account].name}：{many} {words}")
        late = expire(settings, registry, reference, actor)
    if late and not json:
        say(f"超过保管期限 {late} 本")
    if held:
        raise typer.Exit(1)


@delivery_app.command("status")
def status(*, account: _AnyAccount = "", json: AsJson = False) -> None:
    """各市证书发放到了哪一步，以及从印制到推送 EMS 用了几天（及时推送）。

    例：certflow delivery status --account 370100
    """
    from certflow.reference import load_reference
    from certflow.registry.deliveries import counts, punctuality

    with desk() as (settings, registry, _actor), registry.read() as conn:
        found = counts(conn, account)
        quick = [one for one in punctuality(conn, settings.push_days) if account in ("", one.account)]
        cities = load_reference(settings).cities
    if json:
        cells = [{"account": key[0], "state": key[1], "certificates": many} for key, many in found.items()]
        as_json({"states": cells, "push_days": settings.push_days, "punctuality": [asdict(one) for one in quick]})
        return
    sums = Counter[str]()
    for (_, state), many in found.items():
        sums[state] += many
    shown = [state for state in WORDS if sums[state]]
    names = {key[0]: cities[key[0]].name if key[0] in cities else key[0] for key in found}
    lines = [[name, *(found.get((one, state), "") for state in shown)] for one, name in names.items()]
    table("", ("地市", *(WORDS[state] for state in shown)), [*lines, ["合计", *(sums[state] for state in shown)]])
    if not quick:
        return
    table(
        f"从印制日期到推送 EMS（{settings.push_days} 天之内为及时）",
        ("地市", "已推送", "及时", "中位天数", "最长天数", "待推送", "最久已等（天）"),
        [
            (
                cities[one.account].name, one.pushed, one.within, f"{one.median_days:g}", one.slowest_days, one.waiting,
                one.waiting_days,
            )
            for one in quick
        ],
    )  # fmt: skip


@delivery_app.command("move")
def move(
    management_no: _Number,
    state: Annotated[str, typer.Argument(metavar="状态", help=f"{'、'.join(WORDS[one] for one in BY_HAND)} 之一。")],
    *,
    by: By,
    reason: Annotated[str, typer.Option(help="原因，写入审计记录。")],
) -> None:
    """由人决定一本证书的发放状态：暂扣、解除暂扣（保管中）、退回或撤单后转现场领取、已领取、EMS 更正为已签收。

    误记为已领取、其实仍在库的，改为保管中；有领取签名的，先撤销签名的关联。

    例：certflow delivery move 20100103437000001 转现场领取 --by 张主任 --reason 收件人要求
    """
    from certflow.delivery.take import move as decide

    wanted = STATES.get(state.strip(), "")
    if wanted not in BY_HAND:
        raise typer.BadParameter(f"状态写 {'、'.join(WORDS[one] for one in BY_HAND)} 之一")
    with desk() as (_settings, registry, actor):
        found = decide(registry, management_no, wanted, by=by, reason=reason, actor=actor)
    say(f"{found.record_id}：{WORDS[found.state]} → {WORDS[wanted]}")


@delivery_app.command("keeping")
def keeping(*, account: _Account, json: AsJson = False) -> None:
    """一个地市的证书保管清单（Excel）：在库的证书、入库日期、保管至哪一天。

    例：certflow delivery keeping --account 370100
    """
    from certflow.delivery.orders import keeping_list
    from certflow.reference import load_reference

    with desk() as (settings, registry, _actor):
        reference = load_reference(settings)
        _known(account, reference.cities)
        file, kept = keeping_list(settings, registry, reference, account)
    if json:
        as_json({"file": str(file), "certificates": kept})
    else:
        say(f"{file}（{kept} 本）")


@delivery_app.command("exchange")
def exchange(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", exists=True, dir_okay=False, help="要读入的发放数据。")
    ] = None,
    *,
    full: Annotated[bool, typer.Option("--full", help="导出全部证书，不只是上次导出以来有变动的。")] = False,
    json: AsJson = False,
) -> None:
    """与全省统一的证书管理系统交换：有 FILE 时读入发放数据，没有时导出上次以来状态有变动的证书。

    第一次导出全部。印制被撤销的，以“待印制”导出。格式由 delivery-exchange.toml 规定
    （certflow delivery profile exchange）。
    例：certflow delivery exchange；certflow delivery exchange 发放数据.csv
    """
    from certflow.delivery.orders import export_states
    from certflow.delivery.profile import EXCHANGE

    if file is not None and full:
        raise typer.BadParameter("--full 只用于导出，不能与文件同时使用")
    if file is not None:
        _take(EXCHANGE, file, json=json)
        return
    with desk() as (settings, registry, actor):
        made = export_states(settings, registry, actor, whole=full)
    if json:
        as_json({"file": str(made.file) if made else "", "certificates": made.lines if made else 0})
    elif made is None:
        say("上次导出以来没有变动，没有写文件；要全部的，加 --full")
    else:
        say(f"{made.file}（{'全部 ' if made.whole else ''}{made.lines} 本）")


@delivery_app.command("profile")
def profile(
    kind: Annotated[str, typer.Argument(metavar="choices|ems|exchange|evidence", help="哪一种格式。")],
) -> None:
    """把一种格式文件复制到 CERTFLOW_HOME/templates 供修改，程序随即采用。例：certflow delivery profile ems。"""
    from certflow.delivery.profile import CHOICES, EMS, EVIDENCE, EXCHANGE, copy_profile

    if kind not in (CHOICES, EMS, EXCHANGE, EVIDENCE):
        raise typer.BadParameter("写 choices、ems、exchange 或 evidence")
    say(str(copy_profile(Settings.load(), kind)))


@evidence_app.command("import")
def evidence_import(
    folder: Annotated[Path, typer.Argument(metavar="DIR", exists=True, file_okay=False)],
    *,
    account: _Account,
    json: AsJson = False,
) -> None:
    """导入一个文件夹（含下级文件夹）中的领取凭证；原文件不动，可重复导入。

    文件名或所在文件夹的名称中含管理号、记录编号或本人证件号码的，自动关联；其余列入待关联，由人关联，绝不丢弃。
    以前已收并关联过的，再次导入不起作用（名称写明是另一人的除外）；要改关联，用 evidence unlink、evidence link。
    有签名的即为已领取；凭证齐全的办结，代领须有双方身份证和委托书。
    例：certflow delivery evidence import /media/高拍仪/20200915 --account 370100
    """
    from certflow.delivery.pickup import import_folder
    from certflow.reference import load_reference

    with desk() as (settings, registry, actor):
        _known(account, load_reference(settings).cities)
        found = import_folder(settings, registry, account, folder, actor=actor)
    if json:
        as_json(asdict(found))
        return
    say(
        f"文件 {found.files} 个，新收 {found.new}，关联 {found.linked}；"
        f"领取 {found.handed} 本，办结 {found.closed} 本；待关联 {found.unlinked} 个"
    )
    if found.known:
        say(f"{found.known} 个以前已收并关联过，这次未起作用")
    if found.refused:
        complain(f"{found.refused} 个文件的类型或大小不对，未收，留在原处")
    if found.unread:
        complain(f"{found.unread} 个文件或文件夹没有读取权限，未收")


@evidence_app.command("link")
def evidence_link(
    number: Annotated[int, typer.Argument(metavar="凭证编号")],
    management_no: _Number,
    *,
    by: By,
    kind: Annotated[
        str, typer.Option(help="凭证种类，如 签名、本人身份证、代领人身份证、委托书；文件名已写明的可省。")
    ] = "",
) -> None:
    """把一个凭证文件关联到一本证书。例：certflow delivery evidence link 12 20100103437000001 --kind 签名 --by 李四。"""
    from certflow.delivery.pickup import link

    with desk() as (settings, registry, actor):
        missing = link(settings, registry, number, management_no.strip(), kind=kind.strip(), by=by, actor=actor)
    say(f"尚缺：{'、'.join(missing) or '无，凭证齐全'}")


@evidence_app.command("unlink")
def evidence_unlink(
    number: Annotated[int, typer.Argument(metavar="凭证编号")],
    management_no: _Number,
    *,
    by: By,
    reason: Annotated[str, typer.Option(help="原因，写入审计记录。")],
) -> None:
    """撤销一个凭证文件与一本证书的关联：关联错了的。文件和原来的关联都留有记录，不删除；文件回到待关联。

    已办结而凭证因此不全的，回到已领取。证书其实没有领走的，再用 certflow delivery move 改为保管中。
    例：certflow delivery evidence unlink 12 20100103437000001 --by 李四 --reason 名字相同，关联错了
    """
    from certflow.delivery.pickup import unlink

    with desk() as (settings, registry, actor):
        missing = unlink(settings, registry, number, management_no.strip(), by=by, reason=reason, actor=actor)
    say(f"已撤销关联。这本证书尚缺：{'、'.join(missing) or '无，凭证齐全'}")


@evidence_app.command("status")
def evidence_status(*, account: _AnyAccount = "", json: AsJson = False) -> None:
    """已领取而凭证不全的证书（缺什么），有领取签名而按记录不在领取处的证书，和还没有关联的凭证文件。

    不在领取处的：下过 EMS 订单而没有寄出、本人已领走的，用 delivery move 改为已签收；暂扣的，先解除暂扣。

    例：certflow delivery evidence status --account 370100
    """
    from certflow.delivery.pickup import elsewhere, load_rules
    from certflow.delivery.pickup import status as look

    with desk() as (settings, registry, _actor):
        names = load_rules(settings).names
        lacking, lost = look(settings, registry, account)
        away = elsewhere(registry, account)
    pieces = [
        {
            "id": one.id, "account": one.account, "kind": names.get(one.kind, ""), "suffix": Path(one.name).suffix,
            "size": one.size, "sha256": one.sha256, "received_at": one.received_at.isoformat(),
        }
        for one in lost
    ]  # fmt: skip
    strange = [{"record_id": one.record_id, "management_no": one.management_no, "state": one.state} for one in away]
    if json:
        as_json({"incomplete": [asdict(one) for one in lacking], "elsewhere": strange, "unlinked": pieces})
        return
    rows = [(one.record_id, one.management_no, "、".join(one.missing)) for one in lacking]
    table(f"已领取、凭证不全 {len(lacking)} 本", ("记录", "管理号", "尚缺"), rows)
    table(
        f"有领取签名、按记录不在领取处 {len(away)} 本",
        ("记录", "管理号", "现在"),
        [(one.record_id, one.management_no, WORDS[one.state]) for one in away],
    )
    table(
        f"待关联的凭证 {len(lost)} 个",
        ("编号", "账号", "种类", "类型", "字节", "收到", "SHA-256"),
        [
            (
                one["id"], one["account"], one["kind"] or "—", one["suffix"], one["size"],
                _local(str(one["received_at"])), str(one["sha256"])[:16],
            )
            for one in pieces
        ],
    )  # fmt: skip


@evidence_app.command("show")
def evidence_show(
    number: Annotated[int, typer.Argument(metavar="凭证编号")],
    target: Annotated[Path, typer.Argument(metavar="FILE", help="写到哪个文件；已存在的不覆盖。")],
) -> None:
    """取出一个凭证文件的原件来看，以便关联。例：certflow delivery evidence show 12 看看.jpg。"""
    from certflow.delivery.pickup import original_of

    with desk() as (settings, registry, _actor):
        piece, data = original_of(settings, registry, number)
    write_new(target, data)
    say(f"{target}（SHA-256 {piece.sha256}）")


@bundle_app.command("export")
def bundle_export(
    target: Annotated[Path, typer.Argument(metavar="OUT.zip", dir_okay=False, help="写到哪个文件；已存在的不覆盖。")],
    *,
    first: Annotated[datetime, typer.Option("--from", metavar="YYYY-MM-DD", formats=["%Y-%m-%d"], help="从哪一天起。")],
    last: Annotated[datetime, typer.Option("--to", metavar="YYYY-MM-DD", formats=["%Y-%m-%d"], help="到哪一天止。")],
    without_files: Annotated[
        bool, typer.Option("--without-files", help="不含收到的原件，只列它们的摘要；包小，不含个人信息。")
    ] = False,
    json: AsJson = False,
) -> None:
    """导出一段时间（含首尾两天）的证据包并签名；同一内容再导出，逐字节相同。

    含原件的包里有个人信息，请妥善保管。核对用 certflow evidence verifier 写出的程序，只需 Python。
    例：certflow evidence export --from 2020-05-01 --to 2020-05-31 证据-202005.zip
    """
    from certflow.delivery.bundle import export

    if first > last:
        raise typer.BadParameter("--from 不能晚于 --to")
    days = (first.date(), last.date())
    with desk() as (settings, registry, actor):
        made = export(settings, registry, days, target, actor=actor, with_files=not without_files)
    if json:
        as_json(asdict(made))
    else:
        say(f"{made.file}（{made.size} 字节）")
        say(f"审计记录 {made.first} 至 {made.last}，原件 {made.originals} 个，数据包 {made.packages} 个")
        say(f"SHA-256 {made.sha256}")


@bundle_app.command("verifier")
def bundle_verifier(out: Annotated[Path, typer.Argument(metavar="DIR", help="写到哪个文件夹。")]) -> None:
    """写出核对程序 verify_evidence.py 和本单位的公钥，交给核对证据的一方：只需 Python，不需要本系统。

    用法：python verify_evidence.py --key certflow-公钥.txt 证据包.zip
    例：certflow evidence verifier 核对程序
    """
    from certflow import signing
    from certflow.delivery.bundle import script

    public = signing.public_key(Settings.load())
    out.mkdir(parents=True, exist_ok=True)
    (out / "verify_evidence.py").write_text(script(), encoding="utf-8")
    (out / "certflow-公钥.txt").write_text(f"{public.hex()}\n", encoding="ascii")
    say(f"密钥编号 {signing.key_id_of(public)}；请另行（如电话）与对方核对公钥：{public.hex()}")


def _take(kind: str, file: Path, *, account: str = "", json: bool) -> None:
    from certflow.delivery.take import take_file

    with desk() as (settings, registry, actor):
        if account:
            from certflow.reference import load_reference

            _known(account, load_reference(settings).cities)
        taken = take_file(settings, registry, kind, file, actor=actor, account=account)
    if json:
        as_json(asdict(taken))
    elif taken.state == "APPLIED":
        told = "，".join(f"{word} {taken.counts[key]}" for key, word in _EFFECTS.items() if taken.counts.get(key))
        say(f"{taken.reason}{'：' if taken.reason else ''}{told}")
        for words, rows in (("不是我们的", taken.unknown), ("与已知矛盾，请人工核实", taken.against)):
            if rows:
                complain(f"{words}：第 {'、'.join(map(str, rows))} 行")
    else:
        complain(f"整份未采用，没有作任何更改：{taken.reason}")
    if taken.state != "APPLIED":
        raise typer.Exit(1)


def _known(account: str, cities: Mapping[str, object]) -> None:
    if account not in cities:
        raise ConfigurationError(f"没有账号 {account}，请核对地市表")


def _local(moment: str) -> str:
    return f"{datetime.fromisoformat(moment).astimezone(SHANGHAI):%Y-%m-%d %H:%M}"
