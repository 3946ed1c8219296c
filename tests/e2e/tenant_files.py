"""Config files of tenants, for the tests that need one."""

import hashlib
import json
import os
import re
import tempfile


def secret_of(name):
    return hashlib.sha256(f"the secret of {name}".encode()).hexdigest()


def key_id(name):
    return re.sub("[^A-Za-z0-9]", "_", name)


def api_key(name):
    """The bearer credential of the tenant `name`."""
    return f"{key_id(name)}.{secret_of(name)}"


def api_keys(name):
    """What a config file says of it."""
    return [{"id": key_id(name), "sha256": hashlib.sha256(secret_of(name).encode()).hexdigest()}]


def as_tenant(*names):
    """Metadata of a call that shows the keys of those names."""
    return [("authorization", f"Bearer {api_key(name)}") for name in names]


def with_keys(*tenants):
    """The tenants of a config file, each with a key of its own name."""
    return {"tenants": [{**tenant, "api_keys": api_keys(tenant["name"])} for tenant in tenants]}


TENANTS = with_keys({"name": "acme", "weight": 2, "kv_reserved": "1M", "kv_limit": "1G"},
                    {"name": "guest", "max_context_tokens": 64, "max_output_tokens": 8})


class ConfigFile:
    """A file that --config can name. As a context manager it is gone afterwards."""

    def __init__(self, content):
        handle, self.path = tempfile.mkstemp(suffix=".json")
        os.close(handle)
        self.write(content)

    def write(self, content):
        with open(self.path, "w", encoding="utf-8") as file:
            file.write(content if isinstance(content, str) else json.dumps(content))

    def __enter__(self):
        return self

    def __exit__(self, *error):
        os.unlink(self.path)
