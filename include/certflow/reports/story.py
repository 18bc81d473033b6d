"""One certificate's story in Chinese: every event on a line, in the order it happened; for command line and pages."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

from certflow.delivery.states import WAYS, WORDS
from certflow.privacy import mask_id, mask_name, mask_text

ROWS = {
    "": "登记", "JUDGED": "已核对", "ACCEPTED": "受理", "HELD": "待人工确认", "RETURNED": "退回地市", "PROOF": "转证明",
    "IGNORED": "忽略", "PACKED": "已组包", "SENT": "已上报", "PRINTED": "已印制", "REFUSED": "上级退回",
    "DELIVERED": "已发放", "CLOSED": "办结", "WITHDRAWN": "撤回", "ISSUED": "已出具证明",
}  # fmt: skip
PACKAGES = {
    "BUILT": "已组成", "APPROVED": "已批准", "REJECTED": "已否决", "SENDING": "正在发送", "SENT": "已发出",
    "UNKNOWN": "是否送达不明",
}  # fmt: skip
TRANSFERS = {
    "intent": "开始发送", "looked": "查看对方目录", "uploaded": "已上传", "verified": "已回读核对",
    "renamed": "已改为正式名称", "sent": "已送达", "failed": "发送失败", "unknown": "是否送达不明",
    "withdrawn": "撤下未完成的文件", "resolved": "核实后了结",
}  # fmt: skip
DECISIONS = {"prepared": "经办", "approved": "批准", "rejected": "否决"}
BUCKETS = {
    "printed": "已印制", "refused": "退回", "extra": "多余", "changed": "与上报不一致", "duplicate": "重复",
}  # fmt: skip
EFFECTS = {"late": "（迟到）", "against": "（与已知矛盾）", "waybill": "", "moved": ""}
_PROOFS = {"score": "成绩合格证明", "qualification": "职/执业资格证明"}
_KINDS = {
    "letter": "委托书", "proxy_id": "代领人身份证", "holder_id": "本人身份证", "signature": "签名", "photo": "现场照片",
}  # fmt: skip


class Event(NamedTuple):
    """One line of the story."""

    at: datetime
    what: str
    who: str
    """Who did it, or where it stands."""
    sha256: str
    """Of what proves it; empty where nothing does."""


def mask(story: dict[str, Any]) -> None:
    """Mask the personal data of a timeline (`registry.timeline`) in place."""
    certificate = story["certificate"]
    if certificate is not None:
        certificate["name"] = mask_name(certificate["name"])
        certificate["id_number"] = mask_id(certificate["id_number"])
    facts = [one for request in story["requests"] for one in request["returns"] + request["proofs"]]
    facts += [one for request in story["requests"] for one in (request["delivery"] or {"evidence": []})["evidence"]]
    for one in facts:
        one |= {key: mask_text(value) for key, value in one.items() if key.endswith(("reason", "purpose")) and value}


def events(story: dict[str, Any]) -> list[Event]:
    """Everything that happened, oldest first."""
    lines = [event for request in story["requests"] for event in _events(request)]
    for one in story["prints"]:
        what = f"{one['mark'] or '新证书'}：证书编号 {one['serial']}，印制日期 {one['printed_on']}"
        lines.append((one["recorded_at"], what, "", ""))
    found = [Event(datetime.fromisoformat(at), what, who, sha) for at, what, who, sha in lines]
    return sorted(found, key=lambda event: event.at)  # stable: what one transaction did keeps its order


def delivered(delivery: dict[str, Any] | None) -> str:
    """Where the paper is, in a few words."""
    if delivery is None:
        return ""
    waybill = f"，运单号 {delivery['waybill']}" if delivery["waybill"] else ""
    return f"；发放：{WORDS[delivery['state']]}{waybill}"


def _events(request: dict[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    for file in request["files"]:
        yield file["received_at"], f"收到地市文件 {file['file_id']}（{file['size']} 字节）", "", file["sha256"]
    for step in request["moves"]:
        back = "（撤销返回）" if (step["from"], step["to"]) in {("PRINTED", "SENT"), ("REFUSED", "SENT")} else ""
        yield step["at"], f"{_word(step['from'])} → {_word(step['to'])}{back}", step["by"], ""
    for one in request["packages"]:
        yield from _package(one)
    for one in request["returns"]:
        bucket = BUCKETS.get(one["bucket"], "未对账")
        yield one["received_at"], f"上级返回文件 {one['return_id']} 第 {one['row_no']} 行：{bucket}", "", one["sha256"]
        if one["undone_at"]:
            yield (
                one["undone_at"],
                f"撤销返回文件 {one['return_id']}：{one['undo_reason']}",
                one["undone_by"],
                "",
            )
    for one in request["proofs"]:
        yield one["issued_at"], f"出具{_PROOFS[one['kind']]} {one['number']}", one["issued_by"], one["sha256"]
        if one["revoked_at"]:
            yield (
                one["revoked_at"],
                f"撤销证明 {one['number']}：{one['revoke_reason']}",
                one["revoked_by"],
                "",
            )
    if request["delivery"] is not None:
        yield from _delivery(request["delivery"])


def _package(one: dict[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    state = PACKAGES.get(one["state"], one["state"])
    yield one["built_at"], f"组入数据包 {one['id']}（现为{state}）", "", one["sha256"]
    for said in one["decisions"]:
        reason = f"（{said['reason']}）" if said["reason"] else ""
        yield said["at"], f"数据包 {one['id']}：{DECISIONS[said['decision']]}{reason}", said["by"], ""
    for step in one["transfers"]:
        yield step["at"], f"数据包 {one['id']}：{TRANSFERS.get(step['event'], step['event'])}", "", ""


def _delivery(delivery: dict[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    for step in delivery["moves"]:
        before = f"{WORDS[step['from']]} → " if step["from"] else ""
        order = f"，订单清单 {delivery['order_list']}" if step["to"] == "PUSHED" and delivery["order_list"] else ""
        yield (
            step["at"],
            f"发放：{before}{WORDS[step['to']]}{order}",
            step["by"],
            delivery["order_sha256"] if order else "",
        )
    for one in delivery["choices"]:
        yield one["received_at"], f"领取方式名单：{WAYS[one['way']]}", f"第 {one['row_no']} 行", one["sha256"]
    for one in delivery["tracking"]:
        timeless = one["effect"] == "waybill" or (one["state"], one["effect"]) == ("PUSHED", "against")
        told = f"运单号 {one['waybill']}" if timeless else WORDS[one["state"]]
        at = one["received_at"] if timeless else one["happened_at"]
        yield at, f"EMS 跟踪：{told}{EFFECTS[one['effect']]}", f"第 {one['row_no']} 行", one["sha256"]
    for one in delivery["evidence"]:
        what = f"领取凭证 {one['file_id']}：{_KINDS.get(one['kind'], one['kind'])}"
        yield one["linked_at"], what, one["linked_by"], one["sha256"]
        if one["unlinked_at"]:
            told = f"撤销凭证 {one['file_id']} 的关联：{one['unlink_reason']}"
            yield one["unlinked_at"], told, one["unlinked_by"], one["sha256"]


def _word(state: str) -> str:
    return ROWS.get(state, state)
