"""The judgement: measure what a city sent, let the suites decide, tell the city."""
