"""Run by the Python of PyFlink, not by ours: executes SQL and prints the rows of its last statement as JSON.

    python flink_job.py   (on standard input: {"jars": […], "statements": […]})

A batch job in this process. Times come as text, in the zone that Flink is told: UTC.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from pyflink.table import EnvironmentSettings, TableEnvironment  # type: ignore[import-not-found]

PARALLEL = 2


def main() -> None:
    """See the top."""
    asked = json.load(sys.stdin)
    environment = TableEnvironment.create(EnvironmentSettings.in_batch_mode())
    configuration = environment.get_config()
    configuration.set("pipeline.jars", ";".join(Path(jar).as_uri() for jar in asked["jars"]))
    configuration.set("table.local-time-zone", "UTC")
    configuration.set("parallelism.default", str(PARALLEL))
    *definitions, query = asked["statements"]
    for statement in definitions:
        environment.execute_sql(statement)
    result = environment.execute_sql(query)
    names = result.get_table_schema().get_field_names()
    with result.collect() as found:
        rows = [dict(zip(names, map(_plain, row), strict=True)) for row in found]
    sys.stdout.write(json.dumps(rows))


def _plain(value: object) -> object:
    return value if value is None or isinstance(value, int | str) else value.isoformat()  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
