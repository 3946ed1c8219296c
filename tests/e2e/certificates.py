"""Keys and certificates for tests, made by the openssl command."""

import pathlib
import subprocess
import tempfile

# Clients that are told this name accept the server's certificate, wherever it listens.
SERVER_NAME = "quire.test"


class Authority:
    """Signs certificates. What it makes is in a folder that is gone with the context."""

    def __init__(self):
        self._folder = tempfile.TemporaryDirectory()
        self.folder = pathlib.Path(self._folder.name)
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                      "-nodes", "-days", "2", "-subj", "/CN=test authority", "-keyout", "ca.key",
                      "-out", "ca.pem")
        self.roots = self.folder / "ca.pem"

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._folder.cleanup()

    def issue(self, file, names, days=2):
        """Paths of a certificate and its key. `names` as in subjectAltName: "DNS:a,URI:b"."""
        key, certificate = self.folder / f"{file}.key", self.folder / f"{file}.pem"
        (self.folder / "extensions").write_text(f"subjectAltName={names}\n")
        self._openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                      "-subj", f"/CN={file}", "-keyout", key, "-out", "request.pem")
        # Another key for the same file is in place at once, never half of it.
        self._openssl("x509", "-req", "-in", "request.pem", "-CA", "ca.pem", "-CAkey", "ca.key",
                      "-CAcreateserial", "-days", str(days), "-extfile", "extensions", "-out",
                      certificate)
        return certificate, key

    def _openssl(self, *arguments):
        subprocess.run(["openssl", *map(str, arguments)], cwd=self.folder, check=True,
                       capture_output=True)
