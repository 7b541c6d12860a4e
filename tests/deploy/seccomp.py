"""Prints what a systemd unit's SystemCallFilter= allows as a seccomp profile for containers: the rest fails as the unit says."""

import json
import re
import subprocess
import sys


def calls(name):
    """The system calls of a set, with those of the sets in it."""
    lines = subprocess.run(["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True).stdout
    names = re.findall(r"^    ([@\w-]+)$", lines, re.MULTILINE)
    return {call for each in names for call in (calls(each) if each.startswith("@") else [each])}


allowed = calls("@default")
for line in open(sys.argv[1]):
    if line.startswith("SystemCallFilter="):
        value = line.removeprefix("SystemCallFilter=").strip()
        named = set().union(*(calls(name) for name in value.removeprefix("~").split()))
        allowed = allowed - named if value.startswith("~") else allowed | named
json.dump({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": sorted(allowed), "action": "SCMP_ACT_ALLOW"}]}, sys.stdout)
