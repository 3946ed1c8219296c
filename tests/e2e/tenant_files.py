"""Config files of tenants, for the tests that need one."""

import json
import os
import tempfile

KEY = "x-quire-tenant"
TENANTS = {
    "tenant_metadata_key": KEY,
    "tenants": [
        {"name": "acme", "weight": 2, "kv_reserved": "1M", "kv_limit": "1G"},
        {"name": "guest", "max_context_tokens": 64, "max_output_tokens": 8},
    ],
}


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
