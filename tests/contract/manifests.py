"""Judges Kubernetes objects by the schemas of a release, as strictly as its API server: a field that it does not know is refused.

On standard input stand objects as YAML; for each comes a line of JSON, {"object": …, "verdict": …}: "ok", what is wrong, or null for a kind
that nobody knows. Arguments are files with definitions of kinds that are not Kubernetes' own. Rules in CEL are left to a server.
"""

import json
import sys

import jsonschema
import kubernetes_validate
import yaml

RELEASE = "1.37"


def closed(schema):
    """A schema that takes no field which it does not know, as the server does, whose own schemas leave that open."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    told = {key: closed(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and not schema.get("x-kubernetes-preserve-unknown-fields"):
        told.setdefault("additionalProperties", False)
    return told


def defined(file):
    """What tells each kind of a definition, (apiVersion, kind), from what is none."""
    with open(file) as text:
        spec = yaml.safe_load(text)["spec"]
    for version in spec["versions"]:
        schema = closed(version["schema"]["openAPIV3Schema"])
        yield (f"{spec['group']}/{version['name']}", spec["names"]["kind"]), jsonschema.Draft7Validator(schema)


def verdict(thing):
    try:
        others = kinds.get((thing["apiVersion"], thing["kind"]))
        if others is None:
            kubernetes_validate.validate(thing, RELEASE, strict=True)
        else:
            others.validate(thing)
    except kubernetes_validate.SchemaNotFoundError:
        return None
    except (kubernetes_validate.ValidationError, jsonschema.ValidationError) as error:
        return f"{'/'.join(map(str, error.path))}: {error.message}"
    return "ok"


kinds = dict(each for file in sys.argv[1:] for each in defined(file))
for thing in yaml.safe_load_all(sys.stdin):
    print(json.dumps({"object": thing, "verdict": verdict(thing)}))
