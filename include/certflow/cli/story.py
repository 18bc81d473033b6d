"""One certificate's story on the screen."""

from typing import Any

from certflow.cli.show import say, table
from certflow.month import SHANGHAI
from certflow.reports.story import ROWS, delivered, events


def tell(story: dict[str, Any]) -> None:
    """Print a timeline (`registry.timeline`), its personal data masked by the caller."""
    certificate = story["certificate"]
    if certificate is None:
        say(f"{story['management_no']}：证书数据库中没有")
    else:
        facts = ("name", "id_number", "exam_name", "level", "specialty", "city")
        told = "　".join(str(certificate[name]) for name in facts if certificate[name])
        say(f"{story['management_no']}：{told}　批准 {certificate['approved_on']}")
    for request in story["requests"]:
        where = delivered(request["delivery"])
        say(
            f"申请 {request['record_id']}（{request['city']}，申报年月 {request['month']}）："
            f"{ROWS.get(request['state'], request['state'])}{where}"
        )
    lines = events(story)
    if not lines:
        say("没有补换记录")
        return
    table(
        "",
        ("时间", "事件", "经手", "SHA-256"),
        [(f"{at.astimezone(SHANGHAI):%Y-%m-%d %H:%M:%S}", what, who, sha[:16]) for at, what, who, sha in lines],
    )
