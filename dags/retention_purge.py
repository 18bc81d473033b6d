"""### 保存期限：删除到期的材料，证明已删净

**做什么**：按保存期限（设置项 `CERTFLOW_RETENTION_…`，见 `certflow retention show`）删除已办结又到期的材料：
报送的压缩包和照片、返回文件、含地址的名单、领取凭证、数据包、退回单、照片总览、遗留的临时文件、流程日志；
清空台账中与之有关的姓名、证件号码、地址；
然后搜索整个 `CERTFLOW_HOME`，证明已删净。没有办结、待核、申诉未决的一律不动。台账、审计链、证书数据库、证明登记簿不删。

**何时运行**：每天 03:30 一次，也可手动触发。

**可否重跑**：随时可以。中途被打断，重跑即接着删完。

**失败怎么办**：提示没有删净时重跑一次；仍然如此，运行 `certflow doctor` 并交技术人员。
"""

from __future__ import annotations

from airflow.sdk import CronTriggerTimetable, dag, task

from retry_rules import TASK_DEFAULTS


@dag(
    dag_id="retention_purge",
    dag_display_name="保存期限：删除到期的材料",
    doc_md=__doc__,
    schedule=CronTriggerTimetable("30 3 * * *", timezone="Asia/Shanghai"),
    catchup=False,
    max_active_runs=1,
    default_args=TASK_DEFAULTS,
    tags=["保存期限"],
)
def retention_purge() -> None:
    @task(task_display_name="删除并证明")
    def purge() -> dict[str, int]:
        import retention_work
        from workplace import workplace

        with workplace() as place:
            return retention_work.purge(place)

    purge()


retention_purge()
