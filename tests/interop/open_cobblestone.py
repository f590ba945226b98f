"""Opens stored values with PyPI's `cryptography` (50 or newer), which shares no code with Cedarkeep.

Reads a JSON object a line: {"key": hex, "context": hex, "stored": hex}. Writes, a line each, the text in hex,
or `refused: REASON`. Exits with 1 if any was refused.
"""

import json
import sys

from cryptography.cobblestone import Cobblestone256Decryptor

PREFIX = 5  # format, key version


def open_stored(key: bytes, context: bytes, stored: bytes) -> bytes:
    if len(stored) < PREFIX or stored[0] != 1:
        raise ValueError("not a stored value of format 1")
    decryptor = Cobblestone256Decryptor(key, context)
    return decryptor.update(stored[PREFIX:]) + decryptor.finalize()


def main() -> int:
    refused = 0
    for line in sys.stdin:
        row = {name: bytes.fromhex(value) for name, value in json.loads(line).items()}
        try:
            print(open_stored(row["key"], row["context"], row["stored"]).hex(), flush=True)
        except Exception as error:  # each kind of refusal is one here
            refused = 1
            print(f"refused: {type(error).__name__} {error}".rstrip(), flush=True)
    return refused


if __name__ == "__main__":
    sys.exit(main())
