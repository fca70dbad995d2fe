#!/usr/bin/env python3
"""Checks what a program says of its dependencies: dependencies.py PROGRAM SBOM

Prints what is wrong. `cargo auditable` has put a list into the section .dep-v0 of the program, and cargo-cyclonedx has
written the SBOM: both name the same crates, each in the same version.
"""

import json
import re
import subprocess
import sys
import zlib

program, sbom = sys.argv[1:]

# objcopy knows programs of this machine's processor only; readelf those of all.
headers = subprocess.run(
    ["readelf", "--wide", "--section-headers", program], capture_output=True, text=True, check=True
).stdout
found = re.search(r" \.dep-v0 +\S+ +\S+ +([0-9a-f]+) +([0-9a-f]+) ", headers)
if not found:
    sys.exit(f"{program} has no list of its dependencies")
begin, size = (int(number, 16) for number in found.groups())
with open(program, "rb") as file:
    packages = json.loads(zlib.decompress(file.read()[begin : begin + size]))["packages"]
embedded = {(it["name"], it["version"]) for it in packages if it.get("kind") != "build"}

with open(sbom, encoding="utf-8") as file:
    text = file.read()
bom = json.loads(text)
listed = {(it["name"], it["version"]) for it in [bom["metadata"]["component"], *bom["components"]]}

for name in ["workerheal", "workerheal-core", "tokio", "zbus"]:
    if name not in {it for it, _ in embedded}:
        print(f"{name} is not in the program's list")
for name, version in sorted(embedded - listed):
    print(f"{name} {version} is in the program, but not in the SBOM")
for place in set(re.findall(r"file:///(?!workerheal[/#])[^#\"]*", text)):
    print(f"the SBOM names a path of the machine that made it: {place}")
