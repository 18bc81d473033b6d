"""### 月末上报：批准、发送

**做什么**：先看这一批的数据包是否需要人工批准（设置 `CERTFLOW_APPROVAL`，默认仅在有异常时）。已经批准或不需要批准的
立即放行；否则在「待办」中等待批准或退回。放行后按考试逐包上传到上级：先看对方是否已有，上传 `.part`，读回核对摘要，
再改名。最后写出上报结果。

**何时运行**：由「月末准备」逐批启动，也可手动触发（填写申报年月和批次）。

**可否重跑**：随时可以。同一个数据包绝不会发送两次；批准记在台账里，重跑时不再询问。用命令
`certflow month approve` 批准之后，再触发一次本流程即可，原先等待的运行可以标记为失败。

**失败怎么办**：连接失败会自动重试。状态为 UNKNOWN 表示看不到对方目录、无法确认是否已送达：不会自动再发，
请与上级核对后用 `certflow month resolve` 写明结果。退回的批次：相关数据回到「已受理」，更正后再运行「月末准备」。
"""

from __future__ import annotations

from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import dag, task

from retry_rules import TASK_DEFAULTS
from run_form import BATCH, MONTH, MONTH_MOVED


@dag(
    dag_id="month_end_send",
    dag_display_name="月末上报：批准、发送",
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    max_active_runs=8,  # a run that waits for a person must not block the next batch
    default_args=TASK_DEFAULTS,
    tags=["月末", "上级"],
    params={"month": MONTH, "batch": BATCH},
)
def month_end_send() -> None:
    @task.branch(task_display_name="是否需要批准")
    def gate() -> str:
        import month_work
        from workplace import workplace

        with workplace() as place:
            return "pass_through" if month_work.pass_gate(place) else "ask"

    pass_through = EmptyOperator(task_id="pass_through", task_display_name="无需等待")
    # An ApprovalOperator would skip its children on a rejection, and with them the task that records it.
    ask = HITLOperator(
        task_id="ask",
        task_display_name="等待批准",
        subject="{{ params.month }} 批次 {{ params.batch }}：数据包是否上报？",
        body="{{ ti.xcom_pull(task_ids='gate', key='dossier') }}",
        options=["批准", "退回"],
    )

    @task(task_display_name="记录决定")
    def record_decision(answer: dict[str, Any]) -> str:
        import month_work
        from workplace import workplace

        with workplace() as place:
            return month_work.record_decision(place, answer)

    # Skipped when the batch was rejected; runs after whichever of the two ways was taken.
    @task(task_display_name="本批的数据包", trigger_rule="none_failed_min_one_success")
    def packages() -> list[int]:
        import month_work
        from workplace import workplace

        with workplace() as place:
            return month_work.packages_to_send(place)

    @task(task_display_name="发送", map_index_template="{{ task.op_kwargs['package_id'] }}")
    def send(package_id: int) -> str:
        import month_work
        from workplace import workplace

        with workplace() as place:
            return month_work.send(place, package_id)

    @task(task_display_name="上报结果", trigger_rule="none_failed_min_one_success", outlets=[MONTH_MOVED])
    def report(listed: list[int], sent: list[str]) -> dict[str, int]:
        from run_form import tell_moved
        from workplace import this_month

        tell_moved([str(this_month())])
        return {"packages": len(listed), "sent": len(list(sent))}

    listed = packages()
    gate() >> [pass_through, ask]
    [pass_through, record_decision(ask.output)] >> listed
    report(listed, send.expand(package_id=listed))


month_end_send()
