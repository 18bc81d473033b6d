"""Judging what cities send: measure (columns on frames), judge (the suites in ``expectations/``), answer.

Public face: `certflow.checks.run.check` and `certflow.checks.run.check_city`.
"""
