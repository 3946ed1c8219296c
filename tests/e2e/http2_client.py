"""A client that speaks gRPC frame by frame, for what no stock client does: never reading, resetting
at once, headers of any size, half of a start. HTTP/2 is RFC 9113, its header coding RFC 7541."""

import gzip
import socket
import struct

from quire_server import TIMEOUT

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM = ACK = 1
END_HEADERS = 4
HEADER_TABLE_SIZE, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE = 1, 3, 4
CANCEL = 8
GENERATE = "/quire.v1.InferenceService/Generate"
# Of the static table, what gRPC's answers take from it.
STATIC_NAMES = {8: (":status", "200"), 31: ("content-type", "")}


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def settings(**values):
    names = {"table": HEADER_TABLE_SIZE, "window": INITIAL_WINDOW_SIZE}
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", names[name], value)
                                          for name, value in values.items()))


def message(data, compressed=False):
    """A gRPC message: a flag, a length and the data, compressed here where asked for."""
    data = gzip.compress(data) if compressed else data
    return struct.pack(">BI", compressed, len(data)) + data


def number(value, bits, first=0):
    """An integer behind the upper bits of `first`."""
    most = (1 << bits) - 1
    if value < most:
        return bytes([first | value])
    coded, value = [first | most], value - most
    while value >= 128:
        coded.append(128 | value & 127)
        value >>= 7
    return bytes([*coded, value])


def header_block(headers):
    """As literals that are not kept, so that each is sent whole."""
    return b"".join(b"\0" + number(len(name), 7) + name.encode() + number(len(value), 7) +
                    value.encode() for name, value in headers)


def header_bytes(headers):
    """What a limit on metadata counts."""
    return sum(len(name) + len(value) + 32 for name, value in headers)


def call_headers(path=GENERATE, *more):
    return [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "quire"),
            ("te", "trailers"), ("content-type", "application/grpc"), *more]


class HeaderReader:
    """Reads a block of a server that was told to keep no table, without Huffman coding."""

    def __init__(self, block):
        self.block, self.at = block, 0

    def number(self, bits):
        value = self.block[self.at] & (1 << bits) - 1
        self.at += 1
        if value < (1 << bits) - 1:
            return value
        shift = 0
        while True:
            byte = self.block[self.at]
            self.at += 1
            value += (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def text(self):
        assert self.block[self.at] < 128, "Huffman coding"
        size = self.number(7)
        self.at += size
        return self.block[self.at - size:self.at].decode()

    def headers(self):
        found = {}
        while self.at < len(self.block):
            first = self.block[self.at]
            if first & 0x80:
                name, value = STATIC_NAMES[self.number(7)]
            elif first & 0xE0 == 0x20:
                assert self.number(5) == 0, "a table is kept"
                continue
            else:
                index = self.number(6 if first & 0x40 else 4)
                name = STATIC_NAMES[index][0] if index else self.text()
                value = self.text()
            found[name] = value
        return found


class Connection:
    """A connection whose streams have a window of `window` bytes. What it reads and sends is up to
    its user; `next_of` and `trailers` answer pings."""

    def __init__(self, address, window=65535):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), TIMEOUT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(TIMEOUT)
        self.window = window
        self.received = b""
        self.next_stream = 1
        self.server_settings = {}

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def close(self):
        self.socket.close()

    def start(self):
        """The beginning of HTTP/2; returns itself once the server has said what it allows."""
        self.send(PREFACE + settings(table=0, window=self.window))
        kind, flags, _, payload = self.read_frame()
        assert (kind, flags) == (SETTINGS, 0), (kind, flags)
        for at in range(0, len(payload), 6):
            name, value = struct.unpack_from(">HI", payload, at)
            self.server_settings[name] = value
        self.send(frame(SETTINGS, ACK, 0))
        # The server keeps to our settings from its acknowledgement on.
        while self.read_frame()[:2] != (SETTINGS, ACK):
            pass
        return self

    def send(self, data):
        self.socket.sendall(data)

    def call(self, body=b"", headers=None):
        """Sends a call and its only message; returns its stream."""
        stream, self.next_stream = self.next_stream, self.next_stream + 2
        block = header_block(headers or call_headers())
        parts = [frame(HEADERS, END_HEADERS, stream, block)]
        parts += [frame(DATA, 0, stream, body[at:at + 16384]) for at in range(0, len(body), 16384)]
        self.send(b"".join(parts) + frame(DATA, END_STREAM, stream))
        return stream

    def widen(self, stream, size):
        """Lets the server send `size` bytes more of a stream."""
        self.send(frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", size)))

    def _read(self, size):
        while len(self.received) < size:
            data = self.socket.recv(65536)
            if not data:
                raise EOFError
            self.received += data
        data, self.received = self.received[:size], self.received[size:]
        return data

    def read_frame(self):
        """(kind, flags, stream, payload); EOFError at the end of the connection."""
        head = self._read(9)
        kind, flags, stream = struct.unpack(">BBI", head[3:])
        return kind, flags, stream, self._read(int.from_bytes(head[:3], "big"))

    def next_of(self, *kinds):
        """The next frame of one of these kinds."""
        while True:
            received = self.read_frame()
            if received[:2] == (PING, 0):
                self.send(frame(PING, ACK, 0, received[3]))
            if received[0] in kinds:
                return received

    def trailers(self, stream):
        """Reads until `stream` has ended, and returns the last headers."""
        while True:
            kind, flags, which, payload = self.next_of(HEADERS, RST_STREAM)
            if which == stream and kind == HEADERS and flags & END_STREAM:
                return HeaderReader(payload).headers()
            assert which != stream or kind != RST_STREAM, f"reset: {payload!r}"

    def read_to_end(self):
        """Reads until the server closes the connection, closes it too; returns the frames' kinds."""
        kinds = []
        with self:
            try:
                while True:
                    kinds.append(self.read_frame()[0])
            except (EOFError, ConnectionResetError):
                return kinds
