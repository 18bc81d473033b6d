"""### 证书库装载

**做什么**：把一个证书库导出文件（CSV 或 Excel，表头 `ZSGLH,KSXM,ZJHM,…`）装入本系统的证书库：新证书插入，变化的更新，
相同的不动。读不懂的行逐行列出行号和原因，不影响其他行。装入后检查数据库本身，可疑之处只提醒；检查报告（Excel、PDF）
在 `CERTFLOW_HOME/reports/registry/`，最新的在最后。

**何时运行**：只在手动触发时。先把文件放入数据目录下的 `load/` 文件夹，再在表单填写文件名。

**可否重跑**：随时可以。同一个文件装载两次，第二次什么都不改变。

**失败怎么办**：文件或表头不对会直接说明。有被拒绝的行时任务失败（其余的行已经装入）：更正导出文件后再装一次。
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import Param, dag, get_current_context, task

from retry_rules import TASK_DEFAULTS


@dag(
    dag_id="registry_load",
    dag_display_name="证书库装载",
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    max_active_runs=1,
    default_args=TASK_DEFAULTS,
    tags=["证书库"],
    params={
        "file": Param(
            "",
            type="string",
            pattern=r"^[^/\\]*$",
            title="文件名",
            description="数据目录 load/ 下的文件",
        ),
        "encoding": Param("utf-8-sig", enum=["utf-8-sig", "gb18030"], title="编码", description="仅用于 CSV。"),
    },
)
def registry_load() -> None:
    @task(task_display_name="装载")
    def load() -> dict[str, Any]:
        import registry_work
        from workplace import workplace

        params = get_current_context()["params"]
        with workplace() as place:
            return registry_work.load(place, params["file"], params["encoding"])

    @task(task_display_name="核对装载结果")
    def confirm(loaded: dict[str, int]) -> dict[str, int]:
        import registry_work

        return registry_work.confirm(loaded)

    confirm(load())


registry_load()
