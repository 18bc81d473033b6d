"""### 证明：收取申请、出具、答复、装订

**做什么**：逐个地市收取 `证明/` 中的成绩合格证明申请（`YYYYMM-成绩合格证明(城市).xlsx`，列：管理号、用途），
逐行核对：补换申请正在办理的出具成绩合格证明，其余写明原因；
已取消考试的申请自动出具职/执业资格证明（鲁人社函〔2020〕24号 二（二））。
结果表放入该地市的 `回执/`；当天的证明按地市装订成一册（`CERTFLOW_HOME/proofs/bundles/`），打印盖章后寄出。

**何时运行**：每天 16:00 一次，也可手动触发，只处理一个地市。

**可否重跑**：随时可以。同一申请、同一用途只出一份，编号不跳号，装订过的不再装订。

**失败怎么办**：连接失败会自动重试。提示“现有字体没有这些字”时，按提示把字体文件放入 `fonts` 文件夹后重跑；
提示“模板有误”时，对照原模板修改 `templates` 中的文件。一个地市失败不影响其他地市。
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import CronTriggerTimetable, dag, get_current_context, task

from retry_rules import TASK_DEFAULTS
from run_form import CITY


@dag(
    dag_id="proofs",
    dag_display_name="证明：收取申请、出具、答复、装订",
    doc_md=__doc__,
    schedule=CronTriggerTimetable("0 16 * * *", timezone="Asia/Shanghai"),
    catchup=False,
    max_active_runs=1,
    default_args=TASK_DEFAULTS,
    tags=["证明", "地市"],
    params={"city": CITY},
)
def proofs() -> None:
    @task(task_display_name="列出地市")
    def cities() -> list[str]:
        from run_form import chosen
        from workplace import city_accounts

        return chosen(city_accounts(), get_current_context()["params"]["city"])

    @task(task_display_name="出具、答复、装订", map_index_template="{{ task.op_kwargs['account'] }}")
    def issue(account: str) -> dict[str, Any]:
        import letter_work
        from workplace import workplace

        with workplace() as place:
            return letter_work.issue_proofs(place, account)

    issue.expand(account=cities())


proofs()
