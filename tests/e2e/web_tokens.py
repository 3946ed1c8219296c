"""Signed tokens (JWT) for tests, made by the openssl command."""

import base64
import json
import pathlib
import subprocess
import tempfile


def _encode(content):
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class TokenIssuer:
    """Has a key of its own. What it makes is in a folder that is gone with the context."""

    KEY_ID = "test-key"

    def __init__(self):
        self._folder = tempfile.TemporaryDirectory()
        self._key = pathlib.Path(self._folder.name) / "key.pem"
        self._openssl("genrsa", "-out", self._key, "2048")
        modulus = self._openssl("rsa", "-in", self._key, "-noout", "-modulus").decode().strip()
        self.key_set = pathlib.Path(self._folder.name) / "jwks.json"
        self.key_set.write_text(json.dumps({"keys": [{
            "kty": "RSA", "kid": self.KEY_ID, "alg": "RS256", "use": "sig", "e": "AQAB",
            "n": _encode(bytes.fromhex(modulus.removeprefix("Modulus=")))}]}))

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._folder.cleanup()

    def sign(self, **claims):
        signed = f"{_encode({'alg': 'RS256', 'kid': self.KEY_ID})}.{_encode(claims)}"
        signature = self._openssl("dgst", "-sha256", "-sign", self._key, stdin=signed.encode())
        return f"{signed}.{_encode(signature)}"

    def _openssl(self, *arguments, stdin=b""):
        return subprocess.run(["openssl", *map(str, arguments)], input=stdin, check=True,
                              capture_output=True).stdout
