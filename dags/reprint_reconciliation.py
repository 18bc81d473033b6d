"""### 补换回传：收取、核对、入库

**做什么**：从上级的 `返回/` 目录收取新的回传文件 → 逐行与已上报数据核对，分为已印制、退回、多余、不一致、重复
→ 已印制的登记为新的印制记录（只追加，证书库的姓名、证件号码等绝不改动）→ 写出各市的退回单和发放清单，随下一轮收取送达
→ 统计尚未回传的数据及其天数，应催询的（90 天）和告警的（180 天）。

**何时运行**：每小时一次，也可手动触发。

**可否重跑**：随时可以。同一个文件只收一次，同一行只登记一次。

**失败怎么办**：连接失败会自动重试；取不回来的文件不妨碍已经取回的入库。没有读取权限的文件请上级更正权限。
格式不符的文件会保留原件并停在该文件，其他文件照常处理：核对回传格式后清除任务重跑。
多余和不一致的行不会入库，由人处理。已撤销的入账（`certflow returns undo`）不会被本流程再次入账。
"""

from __future__ import annotations

from airflow.sdk import CronTriggerTimetable, dag, task, task_group

from retry_rules import TASK_DEFAULTS
from run_form import MONTH_MOVED


@dag(
    dag_id="reprint_reconciliation",
    dag_display_name="补换回传：收取、核对、入库",
    doc_md=__doc__,
    schedule=CronTriggerTimetable("0 * * * *", timezone="Asia/Shanghai"),
    catchup=False,
    max_active_runs=1,
    default_args=TASK_DEFAULTS,
    tags=["返回", "上级"],
)
def reprint_reconciliation() -> None:
    @task(task_display_name="收取回传")
    def fetch() -> int:
        import return_work
        from workplace import workplace

        with workplace() as place:
            return return_work.fetch(place)

    # What is here already waits neither for a server nor for a file that cannot be read.
    @task(task_display_name="列出待办", trigger_rule="all_done")
    def pending() -> list[int]:
        import return_work
        from workplace import workplace

        with workplace() as place:
            return return_work.pending(place)

    # A group per return: one that fails does not hold up the others.
    @task_group(group_id="settle", group_display_name="逐个文件")
    def settle(return_id: int) -> None:
        @task(task_display_name="核对", map_index_template="{{ task.op_kwargs['return_id'] }}")
        def reconcile(return_id: int) -> int:
            import return_work
            from workplace import workplace

            with workplace() as place:
                return return_work.reconcile(place, return_id)

        @task(
            task_display_name="入库",
            map_index_template="{{ task.op_kwargs['return_id'] }}",
            outlets=[MONTH_MOVED],
        )
        def apply(return_id: int) -> dict[str, int]:
            import return_work
            from workplace import workplace

            with workplace() as place:
                return return_work.apply(place, return_id)

        # By name: map_index_template reads op_kwargs.
        apply(return_id=reconcile(return_id=return_id))

    @task(task_display_name="统计尚未回传", trigger_rule="none_failed")
    def report() -> dict[str, int]:
        import return_work
        from workplace import workplace

        with workplace() as place:
            return return_work.count_missing(place)

    fetched, waiting, told = fetch(), pending(), report()
    fetched >> [waiting, told]  # what could not be fetched fails the run, after the others are recorded
    settle.expand(return_id=waiting) >> told


reprint_reconciliation()
