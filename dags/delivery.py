"""### 发放：名单、EMS 订单、领取凭证、保管期限

**做什么**：逐个地市收取投放文件夹（`CERTFLOW_HOME/delivery/账号/` 下的 `收件名单`、`EMS回传`、`领取凭证`），
把要邮寄的证书列成 EMS 订单清单（`EMS订单/`），现场领取的入库保管，凭证齐全的办结；
最后把超过保管期限的标为超期，并为全省证书管理系统导出上次以来有变动的发放状态（`delivery/全省/`）。

**何时运行**：每天 17:00 一次，也可手动触发，只处理一个地市。

**可否重跑**：随时可以。同一份名单、同一个凭证只收一次，同一本证书不会重复下单；跟踪状态的先后次序不影响结果。
收件名单再放一次，只对放过以后邮件已退回、方式已另报的证书起作用。

**失败怎么办**：提示有名单未采用时，用 `certflow delivery choose` 或 `certflow delivery track` 导入该文件查看是哪一行：
改正名单，或把 EMS 的新状态词写进 `templates/delivery-ems.toml`，然后重跑。
提示回传与已知矛盾时（如先签收又退回、订单另有运单号），逐本用 `certflow trace` 查看，向 EMS 核实，
退回之后其实签收了的，用 `certflow delivery move` 改为已签收；矛盾只提示一次，重跑即为成功。
提示回传中没有一行是我们的，核对文件的订单号、运单号两列，改正后再放一次。
提示没有读取权限时，请管理员把投放文件夹中的文件改为运行用户可读；
提示凭证的类型或大小不对时，换成图片或 PDF 再放，原来的移走。一个地市失败不影响其他地市。
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import CronTriggerTimetable, dag, get_current_context, task

from retry_rules import TASK_DEFAULTS
from run_form import CITY


@dag(
    dag_id="delivery",
    dag_display_name="发放：名单、EMS 订单、领取凭证、保管期限",
    doc_md=__doc__,
    schedule=CronTriggerTimetable("0 17 * * *", timezone="Asia/Shanghai"),
    catchup=False,
    max_active_runs=1,
    default_args=TASK_DEFAULTS,
    tags=["发放", "地市"],
    params={"city": CITY},
)
def delivery() -> None:
    @task(task_display_name="列出地市")
    def cities() -> list[str]:
        from run_form import chosen
        from workplace import city_accounts

        return chosen(city_accounts(), get_current_context()["params"]["city"])

    @task(task_display_name="名单、订单、凭证", map_index_template="{{ task.op_kwargs['account'] }}")
    def deliver(account: str) -> dict[str, Any]:
        import delivery_work
        from workplace import workplace

        with workplace() as place:
            return delivery_work.deliver(place, account)

    @task(task_display_name="保管期限、状态导出", trigger_rule="all_done")
    def settle() -> dict[str, int]:
        import delivery_work
        from workplace import workplace

        with workplace() as place:
            return delivery_work.settle(place)

    # `settle` runs whatever became of a city; the run itself must not look well because of that.
    @task(task_display_name="每个地市都已完成", trigger_rule="none_failed")
    def confirm() -> None:
        return None

    deliver.expand(account=cities()) >> [settle(), confirm()]


delivery()
