"""Judges Kubernetes objects by the schemas of a release, as strictly as its API server: a field that it does not know is refused.

On standard input stand objects as YAML; for each comes a line of JSON, {"object": …, "verdict": …}: "ok", what is wrong, or null for a kind
that is not Kubernetes' own.
"""

import json
import sys

import kubernetes_validate
import yaml

RELEASE = "1.37"


def verdict(thing):
    try:
        kubernetes_validate.validate(thing, RELEASE, strict=True)
    except kubernetes_validate.SchemaNotFoundError:
        return None
    except kubernetes_validate.ValidationError as error:
        return f"{'/'.join(map(str, error.path))}: {error.message}"
    return "ok"


for thing in yaml.safe_load_all(sys.stdin):
    print(json.dumps({"object": thing, "verdict": verdict(thing)}))
