"""The processor that this runs on."""

import hashlib
import pathlib

# What matrix products are made of.
_TELLING_FLAGS = ("avx2", "avx_vnni", "avx512f", "avx512_bf16", "avx512_vnni", "avx512_fp16",
                  "amx_tile", "amx_bf16", "amx_int8")


def _fields():
    fields = {}
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    return fields


def model():
    fields = _fields()
    return (f"{fields.get('model name', 'unknown')} (family {fields.get('cpu family', '?')}, "
            f"model {fields.get('model', '?')})")


def telling_flags():
    flags = _fields().get("flags", "").split()
    return [flag for flag in _TELLING_FLAGS if flag in flags]


def fingerprint():
    """The same for processors that run the same code."""
    flags = " ".join(sorted(_fields().get("flags", "").split()))
    return hashlib.sha256(f"{model()} {flags}".encode()).hexdigest()[:8]
