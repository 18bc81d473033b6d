"""What the month and the year looked like: month report, city scorecards, appeals, quality history, alerts.

Nothing here holds personal data: counts, rule codes, record ids and masked texts only.
"""
