"""### 报表：月报、评分表、Data Docs、逾期提醒，审计链头

**做什么**：某个月有了变化（组包、上报、返回入库）之后，重写该月的月报和各市评分表（`CERTFLOW_HOME/reports/`），
更新 Data Docs，并写出逾期提醒，每个收件人每天一份。报表只含计数、规则和记录编号，不含个人信息。设有
`CERTFLOW_AUDIT_EXPORT` 的，把签了名的审计链头导出到那个文件夹。

**何时运行**：月末准备、月末上报、返回对账完成后自动运行；每天 08:00 写一次逾期提醒。也可手动触发并填写申报年月。

**可否重跑**：随时可以，重写同样的文件。已结账的评分不会被改写。

**失败怎么办**：提示“模板有误”时对照原模板修改 `templates` 中的文件；提示台账与以前导出的链头不符时，见运维手册
“恢复备份”；其他失败会自动重试。
报表失败不影响收取、上报和对账。
"""

from __future__ import annotations

from airflow.sdk import AssetOrTimeSchedule, CronTriggerTimetable, dag, task

from retry_rules import TASK_DEFAULTS
from run_form import MONTH, MONTH_MOVED


@dag(
    dag_id="quality_report",
    dag_display_name="报表：月报、评分表、Data Docs、逾期提醒",
    doc_md=__doc__,
    schedule=AssetOrTimeSchedule(
        timetable=CronTriggerTimetable("0 8 * * *", timezone="Asia/Shanghai"), assets=[MONTH_MOVED]
    ),
    catchup=False,
    max_active_runs=1,  # Data Docs are written by one task at a time
    default_args=TASK_DEFAULTS,
    tags=["报表"],
    params={"month": MONTH},
)
def quality_report() -> None:
    @task(task_display_name="月报和评分表")
    def months() -> list[str]:
        import report_work
        from workplace import workplace

        with workplace() as place:
            return report_work.write_months(place)

    @task(task_display_name="更新 Data Docs")
    def data_docs() -> int:
        import report_work
        from workplace import workplace

        with workplace() as place:
            return report_work.write_data_docs(place)

    @task(task_display_name="逾期提醒")
    def alerts() -> int:
        import report_work
        from workplace import workplace

        with workplace() as place:
            return report_work.write_alerts(place)

    @task(task_display_name="导出审计链头")
    def audit_head() -> int:
        import report_work
        from workplace import workplace

        with workplace() as place:
            return report_work.export_audit_head(place)

    months()
    data_docs()
    alerts()
    audit_head()


quality_report()
