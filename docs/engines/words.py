#!/usr/bin/env python3
"""An engine for Precentor: says of each place how many symbols it has.

Run by a worker:

    precentor worker --source project=DIR --engine words -- python3 docs/engines/words.py

and asked for by:

    precentor submit DIR --engine words
"""

import json
import sys


def describe(job):
    """What there is to say of a place."""
    outline = job["outline"]
    if job["kind"] == "file":
        names = [symbol["name"] for symbol in outline["symbols"]]
        return {
            "one_line": f"{len(names)} symbols in {outline['language']}",
            "summary": "It declares " + (", ".join(names) or "nothing") + ".",
            "tags": ["counted"],
        }
    children = [child["one_line"] for child in outline["children"]]
    return {"one_line": f"{len(children)} places", "summary": "; ".join(children)}


def main():
    """Answers a line with a line, until there are no more."""
    for line in sys.stdin:
        job = json.loads(line)
        try:
            answer = describe(job)
        except Exception as error:  # whatever it is, it is this job's alone
            answer = {"error": repr(error), "retry": False}
        print(json.dumps({"id": job["id"], **answer}), flush=True)


main()
