"""safetensors files with numpy alone.

A file is an 8-byte little-endian header length, a JSON header that gives each
tensor's dtype, shape and byte range, then the bytes. `read` checks every range
before it uses it; `write` keeps the order of the dictionary.
"""
import json
import struct

import numpy as np

DTYPES = {"F64": "<f8", "F32": "<f4", "I64": "<i8", "I32": "<i4", "U8": "|u1"}
NAMES = {np.dtype(value): key for key, value in DTYPES.items()}


def read(path):
    """The tensors of a file, {name: array}. ValueError where it is broken."""
    with open(path, "rb") as file:
        content = file.read()
    if len(content) < 8:
        raise ValueError(f"{path}: shorter than its header length")
    length = struct.unpack_from("<Q", content)[0]
    if length > len(content) - 8:
        raise ValueError(f"{path}: the header runs past the end of the file")
    header = json.loads(content[8:8 + length])
    body = content[8 + length:]
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        dtype = np.dtype(DTYPES[entry["dtype"]])
        begin, end = entry["data_offsets"]
        size = dtype.itemsize
        for extent in entry["shape"]:
            size *= extent
        if not 0 <= begin <= end <= len(body) or end - begin != size:
            raise ValueError(f"{path}: {name}: wrong byte range")
        flat = np.frombuffer(body[begin:end], dtype)
        tensors[name] = flat.reshape(entry["shape"])
    return tensors


def write(path, tensors):
    """Writes {name: array}; no metadata."""
    header, parts, offset = {}, [], 0
    for name, array in tensors.items():
        array = np.asarray(array)
        shape = list(array.shape)
        data = np.ascontiguousarray(array).tobytes()
        header[name] = {"dtype": NAMES[array.dtype], "shape": shape,
                        "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
        parts.append(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(parts))
