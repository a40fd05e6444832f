#!/usr/bin/python3
"""A second implementation of the quicmesh wire protocol, over TCP, in one file.

It was written from src/protocol/SPEC.md alone, and proves that the page is enough. It needs Python 3.11 and cbor2
(Debian: python3-cbor2). It offers no compression, since Python has neither LZ4 nor Zstd of its own.

    client.py --host H --port P --ca CA.pem --cert CERT.pem --key KEY.pem --node-id n1 --cluster demo SCENARIO...

runs the scenarios named, or `all`, each on a connection of its own, and prints one JSON object for each.
"""

import argparse
import collections
import hashlib
import hmac
import json
import os
import re
import select
import socket
import ssl
import struct
import sys
import time
import zlib

try:
    import cbor2
except ImportError:
    print("client.py needs cbor2: apt install python3-cbor2", file=sys.stderr)
    sys.exit(77)

# --- Numbers of the page ----------------------------------------------------------------------------------------------

VERSION = 1
ALPN = "quicmesh/1"

VERSION_MASK, COMPRESSION_MASK, RESERVED_MASK = 0x000F, 0x0070, 0xF000
CHECKSUM, END, RESET, CREDIT, MORE = 0x0080, 0x0100, 0x0200, 0x0400, 0x0800

HEADER = struct.Struct(">IHQ")
MAX_ID = MAX_UINT = MAX_CREDIT = 2**53 - 1
MAX_REASON = 256
MAX_DEPTH = 64
MAX_ITEMS = 131_072
KNOCK_SLOT_MS = 30_000
STREAM_WINDOW = 1 << 20
CONNECTION_WINDOW = 16 << 20

CODES = {
    "NoError": 0x00, "InternalError": 0x01, "ProtocolViolation": 0x02, "ChecksumMismatch": 0x03,
    "FrameTooLarge": 0x04, "UnsupportedCompression": 0x06, "FlowControlViolation": 0x07, "StreamLimitExceeded": 0x08,
    "IdleTimeout": 0x09, "ConnectTimeout": 0x0A, "ConnectFailed": 0x0B, "ConnectionLost": 0x0C,
    "ConnectionClosed": 0x0D, "GoingAway": 0x0E, "TransportUnavailable": 0x0F, "TlsFailure": 0x10,
    "ApplicationProtocolMismatch": 0x11, "ConnectionLimitExceeded": 0x12, "CertificateRequired": 0x40,
    "CertificateUntrusted": 0x41, "CertificateExpired": 0x42, "CertificateNotYetValid": 0x43,
    "CertificateNameMismatch": 0x44, "CertificateUsage": 0x45, "CertificateInvalid": 0x46, "CertificateRevoked": 0x47,
    "VersionUnsupported": 0x50,
    "ClusterMismatch": 0x51, "NodeIdMismatch": 0x52, "AuthTokenRejected": 0x53, "NonceReplayed": 0x54,
    "ClockSkew": 0x55, "HandshakeTimeout": 0x56, "HandshakeRequired": 0x57, "HandshakeRepeated": 0x58,
    "Cancelled": 0x80, "DeadlineExceeded": 0x81, "NoHandler": 0x82, "HandlerFailed": 0x83, "UnknownMessageType": 0x84,
    "Overloaded": 0x85, "MessageTooLarge": 0x86, "StreamReset": 0x87, "UnexpectedMessage": 0x88,
    "CapabilityMissing": 0x89, "MalformedMessage": 0x8A, "Unauthorized": 0x8B,
}  # fmt: skip
NAMES = {number: name for name, number in CODES.items()}

CAPABILITIES = {
    "query": True,
    "replication": True,
    "consensus": True,
    "dataTransfer": True,
    "maxStreams": 1024,
    "maxMessageBytes": 16 << 20,
    "compressions": [],
    "checksum": True,
}


class QuicmeshError(Exception):
    """Whatever has an error code of the page."""

    def __init__(self, code, text=""):
        super().__init__(f"{code}: {text}" if text else code)
        self.code, self.text = code, text


class Violation(QuicmeshError):
    """What was received breaks a rule of the page."""


class ConnectionOver(QuicmeshError):
    """The connection is closed or lost."""


class StreamOver(QuicmeshError):
    """The stream was reset."""


class CallFailed(QuicmeshError):
    """The answer was an `error` message."""


# --- Frames -----------------------------------------------------------------------------------------------------------

Frame = collections.namedtuple("Frame", "id flags payload")


def encode_frame(id, payload=b"", flags=0, checksum=True):
    """One frame. `flags` are END, RESET, CREDIT, MORE."""
    flags |= VERSION | (CHECKSUM if checksum else 0)
    frame = HEADER.pack(len(payload) + (4 if checksum else 0), flags, id) + payload
    return frame + struct.pack(">I", zlib.crc32(frame)) if checksum else frame


def check_header(header, limit=CAPABILITIES["maxMessageBytes"], checksum=True, compressions=()):
    """Judges the 14 bytes of a header, in the order of the page. Returns the size of what follows it."""
    length, flags, id = HEADER.unpack(header)
    control = flags & (END | RESET | CREDIT)
    compression = (flags & COMPRESSION_MASK) >> 4
    size = length - 4 if flags & CHECKSUM else length
    if flags & VERSION_MASK != VERSION:
        raise Violation("VersionUnsupported", "frame of another version")
    if flags & RESERVED_MASK:
        raise Violation("ProtocolViolation", "reserved bit")
    if compression and (compression > 2 or ("none", "lz4", "zstd")[compression] not in compressions):
        raise Violation("UnsupportedCompression", "compression that does not exist or was not agreed")
    if not flags & CHECKSUM and (checksum or control & (RESET | CREDIT)):
        raise Violation("ProtocolViolation", "no checksum")
    if (control | flags & MORE) not in (0, END, RESET, CREDIT, MORE):
        raise Violation("ProtocolViolation", "more than one of end, reset, credit, more")
    if control & (RESET | CREDIT) and compression:
        raise Violation("ProtocolViolation", "compressed control frame")
    if size < 0:
        raise Violation("ProtocolViolation", "no room for the checksum")
    if size > limit:
        raise Violation("FrameTooLarge", f"{size} bytes")
    if size == 0 and not control:
        raise Violation("ProtocolViolation", "frame without content")
    if id > MAX_ID:
        raise Violation("ProtocolViolation", "message id too large")
    # The page gives no place in its order to the rules below.
    if id == 0 and (not control or compression):
        raise Violation("ProtocolViolation", "message id 0 carries only control frames")
    if id == 0 and control == END and size not in (0, 8):
        raise Violation("ProtocolViolation", "size of going away")
    if control == RESET and not 4 <= size <= 4 + MAX_REASON:
        raise Violation("ProtocolViolation", "size of a reset")
    if control == CREDIT and size != 4:
        raise Violation("ProtocolViolation", "size of a credit")
    return length


def decode_frame(data, **rules):
    """The frame at the start of `data`, or None if it is not there whole."""
    if len(data) < HEADER.size:
        return None
    total = HEADER.size + check_header(bytes(data[: HEADER.size]), **rules)
    if len(data) < total:
        return None
    _, flags, id = HEADER.unpack_from(data)
    if flags & CHECKSUM:
        total -= 4
        if struct.unpack_from(">I", data, total)[0] != zlib.crc32(bytes(data[:total])):
            raise Violation("ChecksumMismatch", f"message id {id}")
    payload = bytes(data[HEADER.size : total])
    if flags & CREDIT and payload == bytes(4):
        raise Violation("ProtocolViolation", "credit of 0")
    if id == 0 and flags & END and payload and struct.unpack(">Q", payload)[0] > MAX_UINT:
        raise Violation("ProtocolViolation", "going away after too many streams")
    return Frame(id, flags, payload)


def frame_size(frame):
    """The bytes a decoded frame took on the wire."""
    return HEADER.size + len(frame.payload) + (4 if frame.flags & CHECKSUM else 0)


def encode_reset(code, reason=""):
    """Payload of a reset. The reason is cut between characters."""
    reason = reason.encode()[:MAX_REASON].decode(errors="ignore")
    return struct.pack(">I", CODES[code]) + reason.encode()


def decode_reset(payload, unknown):
    return NAMES.get(struct.unpack_from(">I", payload)[0], unknown), payload[4:].decode(errors="replace")


# --- Payload ----------------------------------------------------------------------------------------------------------


def scan(data):
    """Finds all that a payload must not have, before it is decoded: `MalformedMessage`."""

    def bad(text):
        raise Violation("MalformedMessage", text)

    position = items = 0
    nesting = []  # of each list and map that is open, innermost last: items still to come, and whether it is a map
    while True:
        if position >= len(data):
            bad("bytes are missing")
        major, info = data[position] >> 5, data[position] & 31
        position += 1
        items += 1
        if items > MAX_ITEMS:
            bad("too many items")
        if info > 27:
            bad("indefinite or reserved length")
        if info < 24:
            argument = info
        else:
            size = 1 << (info - 24)
            if position + size > len(data):
                bad("bytes are missing")
            argument = int.from_bytes(data[position : position + size], "big")
            position += size

        if not nesting and major != 5:
            bad("not a map")
        if nesting and nesting[-1][1] and nesting[-1][0] % 2 == 0 and major != 3:
            bad("a key that is not text")
        if nesting:
            nesting[-1][0] -= 1

        if major in (2, 3):
            if position + argument > len(data):
                bad("bytes are missing")
            if major == 3:
                try:
                    data[position : position + argument].decode()
                except UnicodeDecodeError:
                    bad("text that is not UTF-8")
            position += argument
        elif major in (4, 5):
            announced = argument * (major - 3)
            if announced > len(data) - position:
                bad("more items announced than bytes follow")
            nesting.append([announced, major == 5])
            if len(nesting) > MAX_DEPTH:
                bad("nested too deep")
        elif major == 6:
            bad("a tag")
        elif major == 7 and (info < 20 or info == 24):
            bad("a simple value")

        while nesting and nesting[-1][0] == 0:
            nesting.pop()
        if not nesting:
            break
    if position != len(data):
        bad("bytes are left over")


# The tables of the page, as name[?]:kind[(of)][limit]. `?` is for a field that need not be there.
SCHEMAS = """
handshakeRequest         versions:list(uint)<=16 nodeId:text<=253 cluster:text<=253 capabilities:map(capabilities)
                         timestampMs:uint nonce:bytes=16 authToken?:text<=4096 connectionClass?:text<=16
                         pad?:bytes<=16384
handshakeResponse        accepted:bool nodeId:text<=253 code?:text<=64 text?:text<=1024 version?:uint
                         capabilities?:map(capabilities) sessionId?:bytes=16 connectionClass?:text<=16
                         pad?:bytes<=16384
ping                     token?:bytes<=64
pong                     token?:bytes<=64
queryRequest             query:text<=1048576 parameters?:any database?:text<=253 timeoutMs?:uint
queryResponse            result?:any
replicationLog           group?:text<=253 term:uint prevIndex:uint commitIndex:uint entries:list(map(logEntry))<=16384
                         timeoutMs?:uint oneWay?:bool
consensus                group?:text<=253 body:map(raft) timeoutMs?:uint oneWay?:bool
dataTransfer             transferId:text<=256 offset:uint data?:bytes name?:text<=1024 totalBytes?:uint metadata?:any
                         timeoutMs?:uint checksum?:uint resume?:bool resumeAt?:uint priorChecksum?:uint
error                    code:text<=64 text:text<=1024 retryable?:bool
request                  method:text<=256 body?:any timeoutMs?:uint oneWay?:bool
response                 body?:any

/capabilities            query:bool replication:bool consensus:bool dataTransfer:bool maxStreams:uint
                         maxMessageBytes:uint compressions:list(text<=16)<=8 checksum:bool
/logEntry                index:uint term:uint data:bytes

/requestVote             term:uint candidateId:text<=253 lastLogIndex:uint lastLogTerm:uint
/requestVoteResponse     term:uint voteGranted:bool
/appendEntries           term:uint leaderId:text<=253 prevLogIndex:uint prevLogTerm:uint
                         entries:list(map(logEntry))<=16384 leaderCommit:uint
/appendEntriesResponse   term:uint success:bool matchIndex?:uint
/installSnapshot         term:uint leaderId:text<=253 lastIncludedIndex:uint lastIncludedTerm:uint offset:uint
                         data:bytes done:bool
/installSnapshotResponse term:uint
"""
RAFT_KINDS = re.findall(r"^/((?:request|append|install)\w+)", SCHEMAS, re.M)
SCHEMAS = {
    name: re.findall(r"(\w+)(\??):(\S+)", fields)
    for name, fields in re.findall(r"^(/?\w+) +(.*(?:\n .*)*)", SCHEMAS, re.M)
}
KINDS = {"uint": int, "text": str, "bytes": bytes, "bool": bool, "list": list, "map": dict}


def check_fields(map, schema):
    for name, optional, kind in SCHEMAS[schema]:
        value = map.get(name, cbor2.undefined)  # a field that is undefined counts as absent
        if value is not cbor2.undefined:
            check_value(value, kind, name)
        elif not optional:
            raise Violation("MalformedMessage", f"{name} is missing")


def check_value(value, kind, name):
    kind, of, relation, limit = re.fullmatch(r"(\w+)(?:\((.+)\))?(?:(<?=)(\d+))?", kind).groups()
    if kind == "any":
        return
    if type(value) is not KINDS[kind] or (kind == "uint" and not 0 <= value <= MAX_UINT):
        raise Violation("MalformedMessage", f"{name} is not {kind}")
    if limit:
        size = len(value.encode()) if kind == "text" else len(value)
        if size > int(limit) or (relation == "=" and size < int(limit)):
            raise Violation("MalformedMessage", f"{name} has the wrong size")
    if kind == "list":
        for item in value:
            check_value(item, of, name)
    elif of == "raft":
        if value.get("kind") not in RAFT_KINDS:
            raise Violation("MalformedMessage", "no such kind")
        check_fields(value, "/" + value["kind"])
    elif of:
        check_fields(value, "/" + of)


def encode_payload(message):
    return cbor2.dumps(message)


def decode_payload(payload):
    """The message of a payload."""
    scan(payload)
    message = cbor2.loads(payload)
    kind = message.get("type")
    if type(kind) is not str:
        raise Violation("MalformedMessage", "no type")
    if kind not in SCHEMAS or kind.startswith("/"):
        raise Violation("UnknownMessageType", kind)
    check_fields(message, kind)
    return message


# --- Knocks -----------------------------------------------------------------------------------------------------------


def knock_key(material, salt, cluster):
    """HKDF with SHA-256, for one block."""
    extracted = hmac.new(salt, material, hashlib.sha256).digest()
    return hmac.new(extracted, cluster.encode() + b"\x01", hashlib.sha256).digest()


def knock_key_of_ca(certificate, cluster):
    return knock_key(certificate, b"quicmesh knock ca", cluster)


def knock_key_of_secret(secret, cluster):
    return knock_key(secret.encode(), b"quicmesh knock secret", cluster)


def knock_mac(key, random, slot, transport, node_id):
    """node_id: None where the dialer does not know it."""
    name = (node_id or "").lower().encode("ascii")
    covered = random + struct.pack(">QB", slot, len(transport)) + transport.encode("ascii") + name
    return hmac.new(key, covered, hashlib.sha256).digest()[:12]


def create_knock(key, transport, node_id, now_ms, random):
    slot = now_ms // KNOCK_SLOT_MS
    first = (random[0] & 0x1F) | (slot % 4) << 6 | (0 if node_id is None else 0x20)
    random = bytes([first]) + random[1:]
    return random + knock_mac(key, random, slot, transport, node_id)


def verify_knock(knock, keys, transport, node_id, now_ms):
    """The slot of a knock, or None."""
    if len(knock) != 20:
        return None
    random, mac, now = knock[:8], knock[8:], now_ms // KNOCK_SLOT_MS
    named = node_id if random[0] & 0x20 else None
    for slot in (now - 1, now, now + 1):
        if slot % 4 == random[0] >> 6:
            macs = [knock_mac(key, random, slot, transport, named) for key in keys]
            return slot if any([hmac.compare_digest(mac, each) for each in macs]) else None
    return None


# --- Streams ----------------------------------------------------------------------------------------------------------


class Stream:
    """One call: frames of one message id."""

    def __init__(self, connection, id):
        self.connection, self.id = connection, id
        self.inbox = collections.deque()  # payloads that arrived and were not yet read
        self.pieces = []  # frames of the message that is arriving in pieces
        self.send_credit = self.receive_credit = STREAM_WINDOW
        self.consumed = 0  # bytes read, but not yet granted again
        self.sent_end = self.received_end = False
        self.failure = None  # why the stream was reset

    @property
    def over(self):
        return bool(self.failure or (self.sent_end and self.received_end))

    def can_send(self):
        return self.send_credit > 0 and self.connection.send_credit > 0

    def send(self, message, end=False):
        """Sends a message, as soon as there is credit for it."""
        payload = encode_payload(message)
        if len(payload) > self.connection.limit:
            raise QuicmeshError("MessageTooLarge", f"{len(payload)} bytes")
        self.connection.wait(lambda: self.failure or self.can_send())
        self.raise_failure()
        self.send_credit -= len(payload)
        self.connection.send_credit -= len(payload)
        self.sent_end = end
        self.connection.write(self.id, payload, END if end else 0)
        self.connection.forget_if_over(self)

    def end(self):
        self.sent_end = True
        self.connection.write(self.id, b"", END)
        self.connection.forget_if_over(self)

    def reset(self, code, reason=""):
        if not self.over:
            self.connection.write(self.id, encode_reset(code, reason), RESET)
            self.fail(StreamOver(code, reason))

    def fail(self, failure):
        """The stream is over: what arrived and was not read counts for the connection alone."""
        self.failure = failure
        self.connection.consume(sum(map(len, self.inbox)))
        self.inbox.clear()
        self.connection.forget_if_over(self)

    def receive(self):
        """The next message, or None if the peer has ended."""
        self.connection.wait(lambda: self.failure or self.inbox or self.received_end)
        self.raise_failure()
        if not self.inbox:
            return None
        payload = self.inbox.popleft()
        self.connection.consume(len(payload), self)
        try:
            message = decode_payload(payload)
        except Violation as violation:  # ends the call, not the connection; an answerer says so with `error`
            if self.id % 2:
                self.reset(violation.code, violation.text)
            raise
        if message["type"] == "error":
            code = message["code"] if message["code"] in CODES else "HandlerFailed"
            raise CallFailed(code, message["text"])
        return message

    def raise_failure(self):
        if self.failure:
            raise self.failure


# --- Connection -------------------------------------------------------------------------------------------------------


class Connection:
    """The dialer's side of one connection.

    One thread does it all: whoever waits for something calls `step` until it is there, and `step` writes what is to
    be written, reads what is to be read, and does what the frames say.
    """

    def __init__(self, host, port, ca, cert, key, protocols, timeout=10):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False  # `names` below holds what a node id is checked against
        context.load_verify_locations(ca)
        context.load_cert_chain(cert, key)
        context.set_alpn_protocols(protocols)
        self.socket = context.wrap_socket(socket.create_connection((host, port), timeout))
        if self.socket.selected_alpn_protocol() != ALPN:
            raise ConnectionOver("ApplicationProtocolMismatch")
        names = self.socket.getpeercert().get("subjectAltName", ())
        self.names = {value.lower() for kind, value in names if kind == "DNS"}
        self.socket.setblocking(False)

        self.timeout = timeout
        self.received, self.to_send = bytearray(), bytearray()
        self.streams = {}  # those that are not over, by message id
        self.next_id, self.next_peer_id = 1, 2
        self.send_credit = self.receive_credit = CONNECTION_WINDOW
        self.consumed = 0
        self.granted = 0  # bytes granted to the peer, of all streams and the connection
        self.offer = None  # the handshakeRequest
        self.agreed = None  # the handshakeResponse, once it is accepted
        self.checksum, self.limit = True, CAPABILITIES["maxMessageBytes"]
        self.max_streams = 1024
        self.going_away = False  # whether this side has said so
        self.peer_streams = None  # how many streams the peer has opened, once it has said that it opens no more
        self.all_over = self.peer_all_over = False  # whether this side, and the peer, has said that all streams are over
        self.failure = None  # why the connection is over
        self.eof, self.lost = False, ""

    # Handshake

    def handshake(self, node_id, cluster, versions=(VERSION,), **more):
        self.offer = {
            "type": "handshakeRequest",
            "versions": list(versions),
            "nodeId": node_id,
            "cluster": cluster,
            "capabilities": CAPABILITIES,
            "timestampMs": int(time.time() * 1000),
            "nonce": os.urandom(16),
            **more,
        }
        stream = self.open()
        stream.send(self.offer, end=True)
        self.wait(lambda: self.agreed or stream.failure)
        stream.raise_failure()
        return self.agreed

    def answer_of_handshake(self, message):
        """An acceptance is in force from the moment on that it was read, so before the next frame is judged."""
        if message["type"] != "handshakeResponse":
            raise Violation("HandshakeRequired", f"{message['type']} instead of handshakeResponse")
        if not message["accepted"]:
            code = message.get("code") if message.get("code") in CODES else "ConnectFailed"
            self.streams[1].fail(CallFailed(code, message.get("text", "")))
            return
        if not all(name in message for name in ("version", "capabilities", "sessionId")):
            raise Violation("MalformedMessage", "an acceptance that lacks something")
        if message["version"] not in self.offer["versions"]:
            raise Violation("VersionUnsupported", "a version that was not offered")
        if message["nodeId"].lower() not in self.names:
            raise Violation("CertificateNameMismatch", message["nodeId"])
        mine, theirs = self.offer["capabilities"], message["capabilities"]
        self.checksum = theirs["checksum"]
        self.limit = min(mine["maxMessageBytes"], theirs["maxMessageBytes"])
        self.max_streams = theirs["maxStreams"]
        self.agreed = message

    # Streams

    def open(self):
        """A new stream, as soon as the peer's limit allows one more."""
        self.wait(lambda: self.going_away or sum(id % 2 for id in self.streams) < self.max_streams)
        if self.going_away:
            raise QuicmeshError("GoingAway")
        stream = self.streams[self.next_id] = Stream(self, self.next_id)
        self.next_id += 2
        return stream

    def call(self, message):
        """Opens a stream with one message, and returns it."""
        stream = self.open()
        stream.send(message, end=True)
        return stream

    def request(self, message):
        """A call with one answer: that answer, or None."""
        stream = self.call(message)
        answer = stream.receive()
        if answer is not None and stream.receive() is not None:
            raise Violation("UnexpectedMessage", "more than one answer")
        return answer

    def forget_if_over(self, stream):
        if stream.over:
            self.streams.pop(stream.id, None)
            self.say_if_all_over()

    # Going away

    def go_away(self):
        """Opens no more streams. None waits for its place here: `open` returns once there is one, and is followed by
        the first frame."""
        if not self.going_away:
            self.going_away = True
            self.write(0, struct.pack(">Q", (self.next_id - 1) // 2), END)
            self.say_if_all_over()

    def say_if_all_over(self):
        if self.going_away and self.peer_streams is not None and not self.streams and not self.all_over:
            self.all_over = True
            self.write(0, b"", END)

    def on_going_away(self, payload):
        if payload:
            (streams,) = struct.unpack(">Q", payload)
            if self.peer_streams is not None or streams != (self.next_peer_id - 2) // 2:
                raise Violation("ProtocolViolation", "going away twice, or after another number of streams")
            self.peer_streams = streams
            self.go_away()
            self.say_if_all_over()
        else:
            if self.peer_streams is None or not self.going_away or self.peer_all_over:
                raise Violation("ProtocolViolation", "the end of all streams of a connection that goes on")
            self.peer_all_over = True

    # Credit

    def consume(self, size, stream=None):
        """Counts bytes that were read, and grants them again once they are half a window."""
        self.consumed += size
        if self.consumed >= CONNECTION_WINDOW // 2:
            self.grant(0, self)
        if stream and not stream.received_end:
            stream.consumed += size
            if stream.consumed >= STREAM_WINDOW // 2:
                self.grant(stream.id, stream)

    def grant(self, id, receiver):
        self.write(id, struct.pack(">I", receiver.consumed), CREDIT)
        receiver.receive_credit += receiver.consumed
        self.granted += receiver.consumed
        receiver.consumed = 0

    # Frames

    def write(self, id, payload, flags):
        control = flags & (RESET | CREDIT)
        self.to_send += encode_frame(id, payload, flags, bool(control) or self.checksum)

    def wait(self, condition):
        """Works until the condition holds."""
        while not condition():
            if self.failure:
                raise self.failure
            self.step()

    def step(self):
        """Writes and reads what can be written and read now, or waits until something can."""
        ready = [self.socket] if self.to_send else []
        if not self.socket.pending() and not any(select.select([self.socket], ready, [], self.timeout)):
            raise TimeoutError(f"nothing happened within {self.timeout} s")
        try:
            while self.to_send:
                del self.to_send[: self.socket.send(self.to_send[:65536])]
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
            pass
        except OSError:
            self.to_send.clear()  # the peer may have said why, in what is still to be read
        try:
            while data := self.socket.recv(65536):
                self.received += data
            self.eof = True
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except OSError as error:
            self.eof = True
            self.lost = str(error)
        self.work()
        if self.eof and not self.failure:
            self.over(ConnectionOver("ConnectionLost", self.lost))

    def work(self):
        """Does what the frames that arrived say."""
        try:
            while not self.failure:
                frame = decode_frame(self.received, limit=self.limit, checksum=self.checksum)
                if not frame:
                    break
                del self.received[: frame_size(frame)]
                self.on_frame(frame)
        except Violation as violation:
            self.close(violation.code, violation.text)
            raise

    def on_frame(self, frame):
        stream = self.stream_of(frame) if frame.id else None
        over = frame.id and not stream  # frames that were under way
        if frame.flags & RESET:
            if not frame.id:
                self.over(ConnectionOver(*decode_reset(frame.payload, "ConnectionClosed")))
            elif stream:
                stream.fail(StreamOver(*decode_reset(frame.payload, "StreamReset")))
        elif frame.flags & CREDIT:
            if not over:
                sender = stream or self
                sender.send_credit += struct.unpack(">I", frame.payload)[0]
                if sender.send_credit > MAX_CREDIT:
                    raise Violation("FlowControlViolation", "more credit than can be counted")
        elif not frame.id:
            self.on_going_away(frame.payload)
        else:
            self.on_message(frame, stream)

    def on_message(self, frame, stream):
        size = len(frame.payload)
        if size:
            for receiver in filter(None, (stream, self)):
                if receiver.receive_credit <= 0:
                    raise Violation("FlowControlViolation", f"frame without credit on {frame.id}")
                receiver.receive_credit -= size
        if not stream:
            self.consume(size)
            return
        if stream.received_end:
            raise Violation("ProtocolViolation", "frame after the end")
        frame = self.join_pieces(frame, stream)
        if not frame:
            return
        stream.received_end = bool(frame.flags & END)
        if size:
            if stream.id == 1 and not self.agreed:
                self.consume(size, stream)
                self.answer_of_handshake(decode_payload(frame.payload))
            else:
                stream.inbox.append(frame.payload)
        self.forget_if_over(stream)
        if stream.id % 2 == 0 and stream.received_end:
            self.serve(stream)

    def join_pieces(self, frame, stream):
        """The frame that a payload in pieces would be in one, or None while there are more to come."""
        if not stream.pieces and not frame.flags & MORE:
            return frame
        if not frame.payload:
            raise Violation("ProtocolViolation", "the end came within a message")
        if stream.pieces and (stream.pieces[0].flags ^ frame.flags) & COMPRESSION_MASK:
            raise Violation("ProtocolViolation", "pieces differ in compression")
        stream.pieces.append(frame)
        if sum(len(piece.payload) for piece in stream.pieces) > self.limit:
            raise Violation("FrameTooLarge", "pieces together")
        if sum(bool(each.pieces) for each in self.streams.values()) > 4:
            raise Violation("ProtocolViolation", "too many messages in pieces")
        if frame.flags & MORE:
            self.consume(len(frame.payload), stream)  # the rest needs the credit
            return None
        payload = b"".join(piece.payload for piece in stream.pieces)
        earlier = len(payload) - len(frame.payload)
        stream.consumed -= earlier  # until it is read
        self.consumed -= earlier
        stream.pieces = []
        return Frame(frame.id, frame.flags, payload)

    def stream_of(self, frame):
        """The stream of a frame, or None if it is over. The peer opens one with its first frame."""
        if frame.id % 2:
            if frame.id >= self.next_id:
                raise Violation("ProtocolViolation", "message id of a stream that was not opened")
        elif frame.id >= self.next_peer_id:
            if self.peer_streams is not None:
                raise Violation("ProtocolViolation", "a stream after going away")
            if frame.id > self.next_peer_id or frame.flags & (RESET | CREDIT):
                raise Violation("ProtocolViolation", "message id that is not the next, or a stream that starts so")
            if sum(1 - id % 2 for id in self.streams) >= CAPABILITIES["maxStreams"]:
                raise Violation("StreamLimitExceeded")
            self.streams[frame.id] = Stream(self, frame.id)
            self.next_peer_id += 2
        return self.streams.get(frame.id)

    def serve(self, stream):
        """Answers a call of the peer: nothing but ping."""
        try:
            message = stream.receive()
            if message and message["type"] == "ping":
                token = {"token": message["token"]} if isinstance(message.get("token"), bytes) else {}
                stream.send({"type": "pong", **token}, end=True)
            else:
                raise Violation("NoHandler", "this client serves nothing but ping")
        except QuicmeshError as error:
            stream.send({"type": "error", "code": error.code, "text": error.text}, end=True)

    # Closing

    def over(self, failure):
        self.failure = failure
        for stream in list(self.streams.values()):
            stream.fail(failure)

    def close(self, code="NoError", reason=""):
        """Says why, ends this direction, and reads on until the peer has ended too, but no longer than 1 s."""
        if not self.failure:
            self.write(0, encode_reset(code, reason), RESET)
            self.over(ConnectionOver(code, reason))
        deadline = time.monotonic() + 1
        ended = False
        while not self.eof and (left := deadline - time.monotonic()) > 0:
            self.timeout = left
            try:
                if not self.to_send and not ended:
                    ended = True
                    try:
                        self.socket.unwrap()  # sends close_notify; the peer's need not be there yet
                    except OSError:
                        pass
                    socket.socket.shutdown(self.socket, socket.SHUT_WR)  # that of SSLSocket would end TLS
                self.step()
            except (OSError, ValueError):
                break
        self.socket.close()
        return self.eof

    def expect_close(self):
        """Waits until the peer has closed the connection, and returns the code and the reason."""
        try:
            self.wait(lambda: False)
        except ConnectionOver as over:
            return over.code, over.text


# --- Scenarios --------------------------------------------------------------------------------------------------------

SCENARIOS = {}


def scenario(name):
    def register(function):
        SCENARIOS[name] = function
        return function

    return register


class Client:
    """What the scenarios need: connections, with and without a handshake."""

    def __init__(self, options):
        self.options = options
        self.connections = []

    def knock(self, node_id=None, transport="tcp"):
        """The name of a protocol that shows the listener that this client belongs to the cluster."""
        with open(self.options.ca, encoding="ascii") as file:
            certificate = ssl.PEM_cert_to_DER_cert(file.read())
        key = knock_key_of_ca(certificate, self.options.cluster)
        return create_knock(key, transport, node_id, int(time.time() * 1000), os.urandom(8)).hex()

    def dial(self, protocols=None):
        o = self.options
        connection = Connection(o.host, o.port, o.ca, o.cert, o.key, protocols or [ALPN, self.knock()])
        self.connections.append(connection)
        return connection

    def connect(self, **handshake):
        connection = self.dial()
        connection.handshake(**{"node_id": self.options.node_id, "cluster": self.options.cluster, **handshake})
        return connection


def expect(condition, text):
    if not condition:
        raise AssertionError(text)


def ping(connection):
    token = os.urandom(16)
    answer = connection.request({"type": "ping", "token": token})
    expect(answer["type"] == "pong" and answer["token"] == token, "another token came back")
    return token


def pattern(size):
    """Bytes whose value is their index modulo 251."""
    return (bytes(range(251)) * (size // 251 + 1))[:size]


CHUNK = 60_000


def chunks(transfer_id, data, name="data"):
    """The messages of a transfer. The first one says what it is."""
    first = {"name": name, "totalBytes": len(data)}
    for offset in range(0, len(data), CHUNK):
        yield {
            "type": "dataTransfer",
            "transferId": transfer_id,
            "offset": offset,
            "data": data[offset : offset + CHUNK],
            **first,
        }
        first = {}
    yield last_chunk(transfer_id, data)


def last_chunk(transfer_id, data):
    return {"type": "dataTransfer", "transferId": transfer_id, "offset": len(data), "checksum": zlib.crc32(data)}


def collect(stream, into):
    """Takes one message of a transfer."""
    message = stream.receive()
    if message and "data" in message:
        expect(message["offset"] == len(into), f"offset {message['offset']} instead of {len(into)}")
        into += message["data"]
    if message and "checksum" in message:
        expect(message["offset"] + len(message.get("data", b"")) == len(into), "the checksum came before the end")
        expect(message["checksum"] == zlib.crc32(into), "another checksum")
    return message


@scenario("handshake")
def _(client):
    connection = client.connect()
    agreed = connection.agreed
    return {
        "version": agreed["version"],
        "nodeId": agreed["nodeId"],
        "alpn": connection.socket.selected_alpn_protocol(),
        "tls": connection.socket.version(),
        "capabilities": agreed["capabilities"],
    }


@scenario("bulk")
def _(client):
    """A connection for large transfers, whose handshake fills segments both ways."""
    connection = client.connect(connectionClass="bulk", pad=bytes(10_240))
    agreed = connection.agreed
    expect(agreed.get("connectionClass") == "bulk", "another class")
    expect(len(agreed.get("pad", b"")) == 10_240, "another pad")
    expect("pad" not in client.connect().agreed, "a pad that nobody asked for")
    ping(connection)
    return {"bytes": len(agreed["pad"])}


@scenario("ping")
def _(client):
    return {"token": ping(client.connect()).hex()}


@scenario("query")
def _(client):
    parameters = [1, "two", None, 3.5, True, {"k": b"bytes"}]
    answer = client.connect().request({"type": "queryRequest", "query": "select 1", "parameters": parameters})
    expect(answer["type"] == "queryResponse" and answer["result"] == parameters, f"other result: {answer}")
    return {"result": answer["result"]}


@scenario("request")
def _(client):
    body = os.urandom(100 << 10)
    answer = client.connect().request({"type": "request", "method": "echo", "body": body})
    expect(answer["type"] == "response" and answer["body"] == body, "another body came back")
    return {"bytes": len(body)}


@scenario("error")
def _(client):
    connection = client.connect()
    try:
        connection.request({"type": "request", "method": "fail"})
    except CallFailed as error:
        expect(error.code == "HandlerFailed" and error.text == "made to fail", str(error))
        ping(connection)
        return {"code": error.code, "text": error.text}
    raise AssertionError("no error")


@scenario("unknown-type")
def _(client):
    connection = client.connect()
    try:
        connection.request({"type": "no-such-type"})
    except CallFailed as error:
        expect(error.code == "UnknownMessageType", str(error))
        ping(connection)
        return {"code": error.code, "text": error.text}
    raise AssertionError("no error")


@scenario("unknown-field")
def _(client):
    connection = client.connect()
    answer = connection.request({"type": "request", "method": "echo", "body": "x", "later": {"a": [1, 2]}})
    expect(answer.get("body") == "x", "another body came back")
    answer = connection.request({"type": "ping", "token": b"t", "later": 1})
    expect(answer.get("token") == b"t", "another token came back")
    return {}


@scenario("upload")
def _(client):
    data = os.urandom(5 << 20)
    stream = client.connect().open()
    for message in chunks("upload", data):
        stream.send(message)
    stream.end()
    digest = bytearray()
    while collect(stream, digest):
        pass
    expect(digest == hashlib.sha256(data).digest(), f"another digest: {digest.hex()}")
    return {"bytes": len(data), "sha256": digest.hex()}


@scenario("download")
def _(client):
    size = 5 << 20
    connection = client.connect()
    stream = connection.call({"type": "dataTransfer", "transferId": "download", "name": str(size), "offset": 0})
    data = bytearray()
    while collect(stream, data):
        pass
    expect(data == pattern(size), f"other content: {len(data)} bytes")
    expect(connection.granted > size - STREAM_WINDOW, "came without credit")
    return {"bytes": len(data), "granted": connection.granted}


@scenario("damaged-upload")
def _(client):
    connection = client.connect()
    stream = connection.open()
    first, last = chunks("upload", b"123456789")
    stream.send(first)
    stream.send({**last, "checksum": last["checksum"] ^ 1})
    try:
        while stream.receive():
            pass
    except CallFailed as error:
        expect(error.code == "ChecksumMismatch", str(error))
        ping(connection)
        return {"code": error.code, "text": error.text}
    raise AssertionError("no error")


@scenario("resumed-upload")
def _(client):
    """The answerer remembers nothing, so it asks for all."""
    data = os.urandom(100_000)
    stream = client.connect().open()
    stream.send({"type": "dataTransfer", "transferId": "upload", "offset": 0, "resume": True})
    asked = stream.receive()
    expect(asked.get("resumeAt") == 0, f"asked for {asked}")
    first, *rest = chunks("upload", data)
    for message in [{key: first[key] for key in ("type", "transferId", "offset", "data")}, *rest]:
        stream.send(message)
    stream.end()
    digest = bytearray()
    while collect(stream, digest):
        pass
    expect(digest == hashlib.sha256(data).digest(), f"another digest: {digest.hex()}")
    return {"bytes": len(data)}


@scenario("both")
def _(client):
    data = os.urandom(2 << 20)
    stream = client.connect().open()
    echo = bytearray()
    unsent = chunks("echo", data)
    early = 0
    message = next(unsent)
    while message:
        if stream.can_send():
            stream.send(message)
            message = next(unsent, None)
        else:
            stream.connection.step()
        while stream.inbox:
            collect(stream, echo)
            early = len(echo)
    stream.end()
    while collect(stream, echo):
        pass
    expect(echo == data, f"other bytes came back: {len(echo)}")
    expect(early, "nothing came back before the end")
    return {"bytes": len(echo), "beforeEnd": early}


@scenario("one-way")
def _(client):
    connection = client.connect()
    answer = connection.request({"type": "request", "method": "echo", "body": "x", "oneWay": True})
    expect(answer is None, f"answered: {answer}")
    ping(connection)
    return {}


@scenario("cancel")
def _(client):
    connection = client.connect()
    stream = connection.call({"type": "request", "method": "hang"})
    ping(connection)  # the call has arrived
    expect(not stream.inbox and not stream.received_end, "answered")
    stream.reset("Cancelled", "changed my mind")
    ping(connection)
    return {}


@scenario("parallel")
def _(client):
    connection = client.connect()
    bodies = [{"index": index, "bytes": os.urandom(index * 7)} for index in range(200)]
    calls = [(connection.call({"type": "request", "method": "echo", "body": body}), body) for body in bodies]
    for stream, body in calls:
        expect(stream.receive()["body"] == body, f"another body came back for {body['index']}")
        expect(stream.receive() is None, "more than one answer")
    return {"calls": len(calls), "maxStreams": connection.max_streams}


@scenario("redundant")
def _(client):
    """Two copies of a call, and a third: it runs once. Where nobody asked for redundancy, the node does not offer it."""
    expect("redundancy" not in client.connect().agreed["capabilities"], "redundancy that was not offered")
    connection = client.connect(capabilities={**CAPABILITIES, "redundancy": True})
    expect(connection.agreed["capabilities"].get("redundancy") is True, "redundancy was not agreed")
    answers = []
    for id in (5, 6):
        call = {"type": "request", "method": "count", "priority": "control", "copyId": id}
        copies = [connection.call(call) for _ in range(3)]
        first, *others = [stream.receive() for stream in copies]
        # Over TCP they arrive in order: the second has the answer of the first, the third is ended without one.
        expect(others == [first, None], f"{first}, and then {others}")
        answers.append(first["body"])
    expect(answers[1] == answers[0] + 1, f"{answers} calls were run")
    return {"answers": answers}


def refused(client, code, **handshake):
    connection = client.dial()
    try:
        connection.handshake(**{"node_id": client.options.node_id, "cluster": client.options.cluster, **handshake})
    except CallFailed as refusal:
        closed = connection.expect_close()
        expect(refusal.code == code, f"refused with {refusal}")
        expect(closed[0] == code, f"refused with {code}, but closed with {closed[0]}")
        return {"code": code, "text": refusal.text, "reason": closed[1]}
    raise AssertionError("accepted")


@scenario("silence")
def _(client):
    """Whoever does not knock, or knocks elsewhere, is hung up on, and gets no byte: of TLS no alert either."""
    for protocols in ([ALPN], [ALPN, "0" * 40], [ALPN, client.knock("another")], [ALPN, client.knock(transport="quic")]):
        try:
            client.dial(protocols)
        except (ConnectionResetError, ssl.SSLEOFError, ssl.SSLZeroReturnError):
            continue
        raise AssertionError(f"{protocols} were answered")
    knocks = [client.knock(), client.knock("server")]
    for knock in knocks:
        client.dial([ALPN, knock])
        try:
            client.dial([ALPN, knock])
        except (ConnectionResetError, ssl.SSLEOFError, ssl.SSLZeroReturnError):
            continue
        raise AssertionError("a knock was good twice")
    return {"knocks": len(knocks)}


@scenario("refused-cluster")
def _(client):
    return refused(client, "ClusterMismatch", cluster="other")


@scenario("refused-version")
def _(client):
    return refused(client, "VersionUnsupported", versions=[9])


def broken(name, code, handshake=True):
    """A scenario: sends bytes, and the peer closes the connection with the code."""

    def register(function):
        def run(client):
            connection = client.connect() if handshake else client.dial()
            connection.to_send += function(connection)
            closed = connection.expect_close()
            expect(closed[0] == code, f"closed with {': '.join(closed)}, not with {code}")
            return {"code": closed[0], "reason": closed[1]}

        SCENARIOS[name] = run
        return function

    return register


PING = encode_payload({"type": "ping", "token": b"hello"})


@broken("refused-order", "HandshakeRequired", handshake=False)
def _(connection):
    return encode_frame(connection.open().id, PING, END)


@broken("bad-checksum", "ChecksumMismatch")
def _(connection):
    frame = bytearray(encode_frame(connection.next_id, PING, END))
    frame[-1] ^= 1
    return frame


@broken("bad-flags", "ProtocolViolation")
def _(connection):
    return encode_frame(connection.next_id, PING, END | 0x0800)


@broken("bad-version", "VersionUnsupported")
def _(connection):
    return HEADER.pack(len(PING) + 4, 2 | CHECKSUM | END, connection.next_id)  # the header is enough


@broken("too-large", "FrameTooLarge")
def _(connection):
    return HEADER.pack(0xFFFFFFFF, VERSION | CHECKSUM | END, connection.next_id)


@broken("bad-id", "ProtocolViolation")
def _(connection):
    return encode_frame(connection.next_id + 2, PING, END)


@broken("over-credit", "FlowControlViolation")
def _(connection):
    """An echo that nobody reads: the peer can send no more, so it consumes no more, so it grants no more."""
    message = {"type": "dataTransfer", "transferId": "echo", "data": bytes(STREAM_WINDOW)}
    payloads = [encode_payload({**message, "offset": index * STREAM_WINDOW}) for index in range(8)]
    id = connection.open().id
    return b"".join(encode_frame(id, payload) for payload in payloads)


@scenario("go-away")
def _(client):
    """This side goes away: a transfer under way ends first."""
    connection = client.connect()
    ping(connection)
    data = os.urandom(100_000)
    stream = connection.open()
    first, *rest = chunks("upload", data)
    stream.send(first)
    connection.go_away()
    connection.wait(lambda: connection.peer_streams is not None)
    try:
        connection.open()
        raise AssertionError("opened a stream")
    except QuicmeshError as error:
        expect(error.code == "GoingAway", str(error))
    for message in rest:
        expect(not connection.peer_all_over, "over before its time")
        stream.send(message)
    stream.end()
    digest = bytearray()
    while collect(stream, digest):
        pass
    expect(digest == hashlib.sha256(data).digest(), "another digest")
    connection.wait(lambda: connection.all_over and connection.peer_all_over)
    expect(connection.close("NoError", "went away"), "the peer did not end within 1 s")
    return {"bytes": len(data), "peerStreams": connection.peer_streams}


@scenario("gone-away")
def _(client):
    """Not part of `all`: the peer goes away once it is called, and answers when this side does so too."""
    connection = client.connect()
    stream = connection.call({"type": "request", "method": "go-away"})
    connection.wait(lambda: connection.going_away)
    expect(not connection.peer_all_over, "over before its time")
    answer = stream.receive()
    expect(answer["type"] == "response" and stream.receive() is None, f"other answer: {answer}")
    connection.wait(lambda: connection.all_over and connection.peer_all_over)
    return {"peerStreams": connection.peer_streams}


@broken("bad-stream", "ProtocolViolation")
def _(connection):
    connection.go_away()
    return encode_frame(connection.next_id, PING, END)


@broken("bad-go-away", "ProtocolViolation")
def _(connection):
    return encode_frame(0, bytes(7), END)


@scenario("close")
def _(client):
    connection = client.connect()
    ping(connection)
    expect(connection.close("NoError", "done"), "the peer did not end within 1 s")
    return {"rest": len(connection.received)}


@scenario("wait-close")
def _(client):
    """Not part of `all`: prints a line on stderr once connected, and waits until the peer closes."""
    connection = client.connect()
    connection.timeout = 60
    print("connected", file=sys.stderr, flush=True)
    code, reason = connection.expect_close()
    expect(code in ("NoError", "GoingAway"), f"closed with {code}: {reason}")
    return {"code": code, "reason": reason}


# --- Vectors ----------------------------------------------------------------------------------------------------------


def readable(value):
    """A message as the examples of the page write it, so with byte strings as h'…'."""
    if isinstance(value, bytes):
        return f"h'{value.hex()}'"
    if isinstance(value, dict):
        return {key: readable(item) for key, item in value.items()}
    return [readable(item) for item in value] if isinstance(value, list) else value


def describe(frame):
    """A frame as the examples of the page write it."""
    result = {"messageId": frame.id, "flags": f"0x{frame.flags:04x}"}
    if frame.flags & RESET:
        code, reason = decode_reset(frame.payload, "StreamReset" if frame.id else "ConnectionClosed")
        result["reset"] = {"code": code, "reason": reason}
    elif frame.flags & CREDIT:
        result["credit"] = struct.unpack(">I", frame.payload)[0]
    elif not frame.id and frame.payload:
        result["goAway"] = struct.unpack(">Q", frame.payload)[0]
    elif frame.payload:
        result["message"] = readable(decode_payload(frame.payload))
    return result


def read_vectors(path):
    """Yields name, bytes of a frame, and what is expected: a description of it, or an error code.

    Of a .md file, the pairs of `hex` and `json` blocks; of a .json file, a list of {"name", "hex", and "frame" or
    "error"}.
    """
    with open(path, encoding="utf-8") as file:
        text = file.read()
    if path.endswith(".md"):
        for name, data, expected in re.findall(r"```hex (\w+)\n(.*?)```\s+```json\n(.*?)```", text, re.S):
            yield name, bytes.fromhex(data), json.loads(expected)
    else:
        for vector in json.loads(text):
            yield vector.get("name"), bytes.fromhex(vector["hex"]), vector.get("frame", vector.get("error"))


def check_knocks(path):
    """Makes and judges every knock of a file like test/vectors/knocks.json."""
    with open(path, encoding="utf-8") as file:
        page = json.load(file)

    def key_of(source, cluster):
        if "secret" in source:
            return knock_key_of_secret(source["secret"], cluster)
        return knock_key_of_ca(bytes.fromhex(page["certificates"][source["ca"]]), cluster)

    for vector in page["vectors"]:
        name, knock, by, to = vector["name"], bytes.fromhex(vector["hex"]), vector["dialer"], vector["listener"]
        key, random = key_of(by["key"], by["cluster"]), bytes.fromhex(vector["random"])
        made = create_knock(key, by["transport"], by["nodeId"], vector["madeAtMs"], random)
        expect((made == knock) != vector.get("isAltered", False), f"{name}: made {made.hex()}")
        keys = [key_of(each, to["cluster"]) for each in to["keys"]]
        slot = verify_knock(knock, keys, to["transport"], to["nodeId"], to["nowMs"])
        expect(slot == vector["expect"].get("slot"), f"{name}: slot {slot}")
    return len(page["vectors"])


@scenario("vectors")
def _(client):
    count = 0
    for path in client.options.vectors:
        if path.endswith("knocks.json"):
            count += check_knocks(path)
            continue
        for name, data, expected in read_vectors(path):
            try:
                frame = decode_frame(data)
                got = describe(frame) if frame else "incomplete"
            except Violation as violation:
                got = violation.code
            expect(got == expected, f"{name}: {got} instead of {expected}")
            if path.endswith(".md"):  # the examples are encoded as this file encodes
                payload = encode_payload(decode_payload(frame.payload)) if "message" in got else frame.payload
                again = encode_frame(frame.id, payload, frame.flags & (END | RESET | CREDIT))
                expect(again == data, f"{name}: encodes as {again.hex()}")
            count += 1
    expect(count, "no vectors")
    return {"vectors": count}


# --- Command line -----------------------------------------------------------------------------------------------------


def run(name, options):
    client = Client(options)
    try:
        result = {"ok": True, **SCENARIOS[name](client)}
    except Exception as error:  # whatever it is, it is the result
        result = {"ok": False, "error": f"{type(error).__name__}: {error}"}
    for connection in client.connections:
        connection.close()
    return {"scenario": name, **result}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int)
    parser.add_argument("--ca", help="certificate of the CA, PEM")
    parser.add_argument("--cert", help="certificate of this node, PEM")
    parser.add_argument("--key", help="private key of this node, PEM")
    parser.add_argument("--node-id", default="n1")
    parser.add_argument("--cluster", default="demo")
    parser.add_argument("--vectors", nargs="+", default=[], metavar="FILE", help="for the scenario `vectors`")
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=", ".join(SCENARIOS))
    options = parser.parse_args()
    everything = [name for name in SCENARIOS if name not in ("vectors", "gone-away", "wait-close")]
    names = [each for name in options.scenarios for each in (everything if name == "all" else [name])]
    if unknown := [name for name in names if name not in SCENARIOS]:
        parser.error(f"no such scenario: {', '.join(unknown)}")
    if options.vectors and "vectors" not in names:
        names.append("vectors")
    ok = True
    for name in names:
        result = run(name, options)
        ok = ok and result["ok"]
        print(json.dumps(readable(result)), flush=True)
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
