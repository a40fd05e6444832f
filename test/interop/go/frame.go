package main

import (
	"encoding/binary"
	"hash/crc32"
	"io"
)

// SPEC.md, "Frame".
const (
	headerBytes   = 14
	checksumBytes = 4
	maxID         = 1<<53 - 1

	version         = 1
	versionMask     = 0x000f
	compressionMask = 0x0070
	withLZ4         = 0x0010
	withZstd        = 0x0020
	withChecksum    = 0x0080
	withEnd         = 0x0100
	withReset       = 0x0200
	withCredit      = 0x0400
	withMore        = 0x0800
	reservedMask    = 0xf000
)

// Limits of SPEC.md, "Limits".
const (
	earlyPayloadBytes = 131_072
	defaultMaxBytes   = 16 << 20
	maxReasonBytes    = 256
)

type frame struct {
	id      uint64
	flags   uint16
	payload []byte
}

func (f frame) has(bits uint16) bool { return f.flags&bits != 0 }

// encode gives the bytes of the frame, with the checksum if its flags say so.
func (f frame) encode() []byte {
	length := len(f.payload)
	if f.has(withChecksum) {
		length += checksumBytes
	}
	bytes := make([]byte, headerBytes, headerBytes+length)
	binary.BigEndian.PutUint32(bytes[0:], uint32(length))
	binary.BigEndian.PutUint16(bytes[4:], f.flags|version)
	binary.BigEndian.PutUint64(bytes[6:], f.id)
	bytes = append(bytes, f.payload...)
	if f.has(withChecksum) {
		bytes = binary.BigEndian.AppendUint32(bytes, crc32.ChecksumIEEE(bytes))
	}
	return bytes
}

// rules are what is in force when a frame is read.
type rules struct {
	maxPayloadBytes  uint64
	checksumRequired bool
	compressions     map[uint16]bool
}

// readFrame reads one frame and judges it in the order of SPEC.md, "Frame". It returns io.EOF where the stream ends
// between frames, io.ErrUnexpectedEOF within one, and a *failure for what the connection is to be closed with.
func readFrame(from io.Reader, rules rules) (frame, error) {
	var header [headerBytes]byte
	if _, err := io.ReadFull(from, header[:]); err != nil {
		return frame{}, err
	}
	length := uint64(binary.BigEndian.Uint32(header[0:]))
	f := frame{flags: binary.BigEndian.Uint16(header[4:]), id: binary.BigEndian.Uint64(header[6:])}
	size, err := judgeHeader(f, length, rules)
	if err != nil {
		return frame{}, err
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(from, body); err != nil {
		if isEnd(err) {
			err = io.ErrUnexpectedEOF
		}
		return frame{}, err
	}
	f.payload = body[:size]
	if f.has(withChecksum) {
		sum := crc32.Update(crc32.ChecksumIEEE(header[:]), crc32.IEEETable, f.payload)
		if sum != binary.BigEndian.Uint32(body[size:]) {
			return frame{}, violation("ChecksumMismatch", "checksum of a frame of %d", f.id)
		}
	}
	f.flags &^= versionMask
	return f, nil
}

// judgeHeader returns N, the bytes of the payload.
func judgeHeader(f frame, length uint64, rules rules) (uint64, error) {
	kinds := f.flags & (withEnd | withReset | withCredit | withMore)
	control := f.has(withReset | withCredit)
	compression := f.flags & compressionMask
	switch {
	case f.flags&versionMask != version:
		return 0, violation("VersionUnsupported", "version %d", f.flags&versionMask)
	case f.has(reservedMask):
		return 0, violation("ProtocolViolation", "reserved bits %#x", f.flags)
	case compression != 0 && !rules.compressions[compression]:
		return 0, violation("UnsupportedCompression", "compression %#x", compression)
	case !f.has(withChecksum) && (rules.checksumRequired || control):
		return 0, violation("ProtocolViolation", "no checksum")
	case kinds&(kinds-1) != 0:
		return 0, violation("ProtocolViolation", "more than one kind %#x", kinds)
	case control && compression != 0:
		return 0, violation("ProtocolViolation", "compressed control frame")
	case f.has(withChecksum) && length < checksumBytes:
		return 0, violation("ProtocolViolation", "length %d with checksum", length)
	}
	if f.has(withChecksum) {
		length -= checksumBytes
	}
	switch {
	case length > rules.maxPayloadBytes:
		return 0, violation("FrameTooLarge", "%d bytes", length)
	case length == 0 && (kinds&^withMore == 0 || compression != 0):
		return 0, violation("ProtocolViolation", "empty frame")
	case f.id > maxID:
		return 0, violation("ProtocolViolation", "message id %d", f.id)
	case f.has(withMore | withCredit):
		// "QUIC": the more bit and credit frames belong to TCP.
		return 0, violation("ProtocolViolation", "flags of TCP %#x", f.flags)
	}
	return length, nil
}

// resetPayload is that of SPEC.md, "Control frames": a code and a reason.
func resetPayload(code, reason string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, codes[code]), reason...)
}

func parseReset(payload []byte) (*failure, error) {
	if len(payload) < 4 || len(payload) > 4+maxReasonBytes {
		return nil, violation("ProtocolViolation", "reset of %d bytes", len(payload))
	}
	code := nameOf(uint64(binary.BigEndian.Uint32(payload)), "StreamReset")
	return &failure{where: inReset, code: code, text: string(payload[4:]), remote: true}, nil
}
