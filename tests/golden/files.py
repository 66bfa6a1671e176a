"""Cases as safetensors files, and tensors as nested lists."""

import json
import math
import struct

import equations as eq


def flat(x):
    return [e for part in x for e in flat(part)] if isinstance(x, list) else [x]


def mapped(f, x):
    return [mapped(f, e) for e in x] if isinstance(x, list) else f(x)


def written(metadata, tensors):
    """The bytes of a case: safetensors, float32 but for whole numbers, which are int64."""
    header, data = {"__metadata__": metadata}, b""
    for key in sorted(tensors):
        elements = flat(tensors[key])
        whole = all(isinstance(e, int) for e in elements)
        piece = struct.pack(f"<{len(elements)}{'q' if whole else 'f'}", *elements)
        header[key] = {"dtype": "I64" if whole else "F32", "shape": eq.shape(tensors[key]),
                       "data_offsets": [len(data), len(data) + len(piece)]}
        data += piece
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def read(path):
    """The metadata and tensors of a file."""
    with open(path, "rb") as file:
        size = struct.unpack("<Q", file.read(8))[0]
        header, data = json.loads(file.read(size)), file.read()
    metadata, tensors = header.pop("__metadata__"), {}
    for key, entry in header.items():
        begin, end = entry["data_offsets"]
        count = math.prod(entry["shape"])
        tensor = list(struct.unpack(f"<{count}{'q' if entry['dtype'] == 'I64' else 'f'}", data[begin:end]))
        for axis in reversed(entry["shape"][1:]):
            tensor = [tensor[i:i + axis] for i in range(0, len(tensor), axis)]
        tensors[key] = tensor
    return metadata, tensors
