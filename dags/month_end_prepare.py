"""### 月末准备：收齐、冻结、组包

**做什么**：最后收取一次各地市文件 → 统计哪些地市未报 → 冻结该申报年月 → 按考试组成数据包并用另一种读法读回核对
→ 写出月报 → 启动「月末上报」。本流程到此结束，不在这里等人批准。

**何时运行**：每月 1 日 02:00（北京时间）处理上一个月，申报年月取自运行的分区键。手动触发时在表单填写申报年月；
两者不一致或都没有，运行即失败，绝不按当前日期猜测。

**可否重跑**：随时可以。已冻结的不会再冻结一次；内容相同，数据包逐字节相同。冻结之后才受理的数据进入下一次补报：
再触发一次即可，批次自动加一；退回的一批先重新组包，之后才轮到补报。

**失败怎么办**：先看失败任务的日志。组包失败说明台账与原件不一致或读回不符：不要手工修改数据包，运行
`certflow doctor` 查明原因后清除该任务重跑。未报的地市不阻止冻结，但默认需要人工批准后才上报。
"""

from __future__ import annotations

from typing import Any

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import CronPartitionTimetable, dag, task

from retry_rules import TASK_DEFAULTS
from run_form import MONTH, MONTH_MOVED, NEXT_BATCH


@dag(
    dag_id="month_end_prepare",
    dag_display_name="月末准备：收齐、冻结、组包",
    doc_md=__doc__,
    schedule=CronPartitionTimetable("0 2 1 * *", timezone="Asia/Shanghai", run_offset=-1, key_format="%Y%m"),
    catchup=False,
    max_active_runs=1,
    default_args=TASK_DEFAULTS,
    tags=["月末", "地市"],
    params={"month": MONTH, "batch": NEXT_BATCH},
)
def month_end_prepare() -> None:
    @task(task_display_name="列出地市")
    def cities() -> list[str]:
        from workplace import city_accounts, this_month

        this_month()  # a run without a month ends here, before anything is moved
        return city_accounts()

    @task(task_display_name="最后收取", map_index_template="{{ task.op_kwargs['account'] }}")
    def final_pull(account: str) -> dict[str, Any]:
        import month_work
        from workplace import workplace

        with workplace() as place:
            return month_work.final_pull(place, account)

    @task(task_display_name="统计未报地市")
    def missing() -> dict[str, int]:
        import month_work
        from workplace import workplace

        with workplace() as place:
            return month_work.count_reported(place)

    @task(task_display_name="冻结")
    def freeze() -> dict[str, Any]:
        import month_work
        from workplace import workplace

        with workplace() as place:
            return month_work.freeze(place)

    @task(task_display_name="本批的考试")
    def exams(batch: dict[str, Any]) -> list[str]:
        return sorted(batch["exams"])

    @task(task_display_name="组包并读回", map_index_template="{{ task.op_kwargs['exam'] }}")
    def assemble(exam: str, batch: dict[str, Any]) -> list[int]:
        import month_work
        from workplace import workplace

        with workplace() as place:
            return month_work.assemble(place, batch["id"], exam)

    # A month in which nothing was accepted has no exam to map over and still gets its report.
    @task(task_display_name="月报", trigger_rule="none_failed", outlets=[MONTH_MOVED])
    def report(batch: dict[str, Any]) -> dict[str, Any]:
        import month_work
        from workplace import workplace

        with workplace() as place:
            month_work.write_report(place, batch["month"], batch["number"])
        return {"month": batch["month"], "batch": batch["number"]}

    batch = freeze()
    built = assemble.partial(batch=batch).expand(exam=exams(batch))
    order = report(batch)
    hand_over = TriggerDagRunOperator(
        task_id="hand_over",
        task_display_name="启动月末上报",
        trigger_dag_id="month_end_send",
        conf=order,
    )
    final_pull.expand(account=cities()) >> missing() >> batch
    built >> order >> hand_over


month_end_prepare()
