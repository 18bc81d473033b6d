"""Compare the last run of the stages with the accepted one: ``python tests/bench/compare.py``; `--accept` takes it.

Ratios alone are compared, never seconds: another machine has other seconds and nearly the same ratios. Exit 1 when one
got worse by more than 15 %, or when a stage is missing.
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from rounds import newest

ACCEPTED = Path(__file__).with_name("accepted.json")
LOSS = 0.15
Ratios = dict[str, dict[str, float]]


def ratios(run: dict) -> Ratios:
    """Stage → ratio against the usual spelling (larger is better) and against the limit (smaller is better)."""
    return {
        stage["name"]: {
            key: round(stage[key], 2) for key in ("against_usual", "against_limit") if stage[key] is not None
        }
        for stage in run["stages"]
    }


def losses(accepted: Ratios, now: Ratios) -> list[str]:
    """What got worse by more than `LOSS`, one line each; new stages and gains are none."""
    found = []
    for stage, wanted in accepted.items():
        for key, before in wanted.items():
            after = now.get(stage, {}).get(key)
            if after is None:
                found.append(f"{stage}: {key} was not measured")
            elif (after / before if key == "against_usual" else before / after) < 1 - LOSS:
                found.append(f"{stage}: {key} was {before:.2f}, is {after:.2f}")
    return found


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--accept", action="store_true", help="this run is what later ones are held against")
    given = asked.parse_args()
    run = newest("stages")
    if run is None:
        print("nothing was measured yet: python tests/bench/bench_stages.py")
        return 1
    now = ratios(run)
    if given.accept:
        ACCEPTED.write_text(json.dumps(now, indent=1) + "\n", encoding="utf-8")
        print(f"accepted: {run['at']}")
        return 0
    worse = losses(json.loads(ACCEPTED.read_text(encoding="utf-8")), now)
    print("\n".join(worse) if worse else f"{run['at']}: no ratio lost more than {LOSS:.0%}")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
