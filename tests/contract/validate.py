"""Judges values by JSON Schemas, as somebody else's library understands both: 2020-12, unless a schema says otherwise.

On each line of standard input stands {"schema": …, "value": …}; for each comes a line: "ok", or where and why not.
"""

import json
import sys

from jsonschema import Draft202012Validator
from jsonschema.validators import validator_for

for line in sys.stdin:
    pair = json.loads(line)
    validator = validator_for(pair["schema"], default=Draft202012Validator)
    validator.check_schema(pair["schema"])
    error = next(validator(pair["schema"]).iter_errors(pair["value"]), None)
    print(f"{error.json_path}: {error.message}" if error else "ok")
