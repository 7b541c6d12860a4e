"""Packs a finished program as a wheel: `pip install` puts it on the path.

    wheel.py BINARY VERSION PLATFORM OUT
"""

import base64
import hashlib
import os
import pathlib
import sys
import time
import zipfile

binary, version, platform, out = sys.argv[1:]
tag, info = f"py3-none-{platform}", f"encargo-{version}.dist-info"
metadata = f"""Metadata-Version: 2.4
Name: encargo
Version: {version}
Summary: Takes orders over HTTP, moves each one through its states on time, and tells the customer by e-mail at every state
License-Expression: Apache-2.0 OR MIT
License-File: LICENSE-APACHE
License-File: LICENSE-MIT
Requires-Python: >=3.8
"""
files = {
    f"encargo-{version}.data/scripts/encargo": pathlib.Path(binary).read_bytes(),
    f"{info}/METADATA": metadata.encode(),
    f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: encargo\nRoot-Is-Purelib: false\nTag: {tag}\n".encode(),
} | {f"{info}/licenses/{name}": pathlib.Path(name).read_bytes() for name in ("LICENSE-APACHE", "LICENSE-MIT")}


def record(name, data):
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(data)}\n"


files[f"{info}/RECORD"] = ("".join(record(*file) for file in files.items()) + f"{info}/RECORD,,\n").encode()
made = time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", time.time())))[:6]
with zipfile.ZipFile(pathlib.Path(out) / f"encargo-{version}-{tag}.whl", "w", zipfile.ZIP_DEFLATED) as wheel:
    for name, data in files.items():
        entry = zipfile.ZipInfo(name, made)
        entry.external_attr = (0o100755 if "/scripts/" in name else 0o100644) << 16  # pip wants the bit of a regular file
        entry.compress_type = zipfile.ZIP_DEFLATED
        wheel.writestr(entry, data)
