"""### 受理：收取、检查、答复

**做什么**：逐个地市从其 SFTP 目录 `报送/`、`试投/` 收取新文件，检查每个文件、每一行、每张照片，
把回执和退回单放入该地市的 `回执/`。地市几分钟内就知道错在哪里，不必等到月末。`试投/` 只检查、只答复，不计入当月。

**何时运行**：每 5 分钟一次（设置 `CERTFLOW_INTAKE_MINUTES`）。仍在上传的文件留到下一次。也可手动触发，只处理一个地市。

**可否重跑**：随时可以，任何任务都可以清除后重跑。已收取的文件不会再收一次，已答复的不会再答一次。

**失败怎么办**：连接失败会自动重试，下一次运行也会补上。登录被拒绝或主机密钥不符不再重试：先与该地市核对，再重跑。
一个地市失败不影响其他地市。
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import CronTriggerTimetable, dag, get_current_context, task

from certflow.settings import Settings
from retry_rules import TASK_DEFAULTS
from run_form import CITY


@dag(
    dag_id="submission_intake",
    dag_display_name="受理：收取、检查、答复",
    doc_md=__doc__,
    schedule=CronTriggerTimetable(f"*/{Settings.load().intake_minutes} * * * *", timezone="Asia/Shanghai"),
    catchup=False,
    max_active_runs=1,
    default_args=TASK_DEFAULTS,
    tags=["受理", "地市"],
    params={"city": CITY},
)
def submission_intake() -> None:
    @task(task_display_name="列出地市")
    def cities() -> list[str]:
        from run_form import chosen
        from workplace import city_accounts

        return chosen(city_accounts(), get_current_context()["params"]["city"])

    @task(task_display_name="收取、检查、答复", map_index_template="{{ task.op_kwargs['account'] }}")
    def take_in(account: str) -> dict[str, Any]:
        import city_work
        from workplace import workplace

        with workplace() as place:
            return city_work.take_in(place, account)

    take_in.expand(account=cities())


submission_intake()
