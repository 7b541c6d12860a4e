"""Judges values by JSON Schemas, as somebody else's library understands both.

On each line of standard input stands {"schema": …, "value": …}; for each comes a line: "ok", or where and why not.
"""

import json
import sys

from jsonschema import Draft202012Validator

for line in sys.stdin:
    pair = json.loads(line)
    Draft202012Validator.check_schema(pair["schema"])
    error = next(Draft202012Validator(pair["schema"]).iter_errors(pair["value"]), None)
    print(f"{error.json_path}: {error.message}" if error else "ok")
