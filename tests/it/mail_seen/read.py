"""Reads every mail of a folder with Python's own parser and prints what it sees, one line of JSON each."""

import email
import email.errors
import email.policy
import json
import pathlib
import sys


def defects(part):
    found = [repr(defect) for defect in part.defects]
    for name, value in part.items():
        # RFC 6531 allows what this one notes, and those addresses are meant to be there
        noted = [d for d in value.defects if not isinstance(d, email.errors.NonASCIILocalPartDefect)]
        found += [f"{name}: {defect!r}" for defect in noted]
    return found


for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    # as text: from bytes it takes no address beyond ASCII (RFC 6532)
    mail = email.message_from_string(path.read_bytes().decode(), policy=email.policy.SMTPUTF8)
    parts = list(mail.walk())
    seen = {
        "file": path.name,
        "defects": [defect for part in parts for defect in defects(part)],
        "types": [part.get_content_type() for part in parts],
        "to": [address.addr_spec for address in mail["To"].addresses],
        "from": [(address.display_name, address.addr_spec) for address in mail["From"].addresses],
        "date": mail["Date"].datetime.isoformat(),
        "text": mail.get_body(("plain",)).get_content(),
        "html": mail.get_body(("html",)).get_content(),
        "headers": [[name, str(value)] for name, value in mail.items()],
    }
    print(json.dumps(seen))
