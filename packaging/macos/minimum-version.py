"""Prints the oldest macOS that a Mach-O program runs on, as its LC_BUILD_VERSION says (mach-o/loader.h)."""

import struct
import sys

LC_BUILD_VERSION = 0x32
PLATFORM_MACOS = 1

with open(sys.argv[1], "rb") as file:
    magic, _, _, _, commands, _, _, _ = struct.unpack("<8I", file.read(32))
    assert magic == 0xFEEDFACF, "it is no 64-bit Mach-O file"
    for _ in range(commands):
        command, size = struct.unpack("<2I", file.read(8))
        body = file.read(size - 8)
        if command == LC_BUILD_VERSION:
            platform, minimum = struct.unpack("<2I", body[:8])
            assert platform == PLATFORM_MACOS, f"it is for platform {platform}, not for macOS"
            print(f"{minimum >> 16}.{minimum >> 8 & 0xFF}")
            break
    else:
        sys.exit("it does not say which macOS it needs")
