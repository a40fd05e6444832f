package main

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"io"
)

const chunkBytes = 64 << 10

// patternPeriod: byte i of every transfer is i modulo this.
const patternPeriod = 251

var pattern = func() []byte {
	long := make([]byte, chunkBytes+patternPeriod)
	for i := range long {
		long[i] = byte(i % patternPeriod)
	}
	return long
}()

// patternAt is n bytes, a chunk at most, of every transfer's content from offset on.
func patternAt(offset uint64, n int) []byte {
	from := int(offset % patternPeriod)
	return pattern[from : from+n]
}

// patternCRC is the CRC-32 of the first n bytes.
func patternCRC(n uint64) uint32 {
	crc := uint32(0)
	for at := uint64(0); at < n; {
		size := chunkSize(at, n)
		crc = crc32.Update(crc, crc32.IEEETable, patternAt(at, size))
		at += uint64(size)
	}
	return crc
}

func chunkSize(at, total uint64) int {
	if total-at > chunkBytes {
		return chunkBytes
	}
	return int(total - at)
}

// sender is one direction of a transfer that this side sends: SPEC.md, "Transfers".
type sender struct {
	s      *stream
	id     string
	offset uint64
	crc    uint32
}

// opening is the first message of a transfer, to which a scenario adds what it needs.
func opening(id, name string, offset uint64) message {
	return message{"type": "dataTransfer", "transferId": id, "name": name, "offset": offset}
}

func (t *sender) send(data []byte) error {
	m := message{"type": "dataTransfer", "transferId": t.id, "offset": t.offset, "data": data}
	t.offset += uint64(len(data))
	t.crc = crc32.Update(t.crc, crc32.IEEETable, data)
	return t.s.send(m, false)
}

// sendPattern sends up to the position given.
func (t *sender) sendPattern(total uint64) error {
	for t.offset < total {
		if err := t.send(patternAt(t.offset, chunkSize(t.offset, total))); err != nil {
			return err
		}
	}
	return nil
}

// finish sends the last message, which has the checksum and no data.
func (t *sender) finish() error {
	m := message{"type": "dataTransfer", "transferId": t.id, "offset": t.offset, "checksum": t.crc}
	return t.s.send(m, true)
}

// receiver is one direction of a transfer that comes here.
type receiver struct {
	s      *stream
	id     string
	offset uint64
	crc    uint32
	// first is the first message that came.
	first   message
	checked bool
}

// next returns the next message that is to be read as one of a transfer, and io.EOF once all came, and the checksum is right.
func (t *receiver) next() (message, error) {
	m, err := t.s.receive()
	if err != nil {
		return nil, err
	}
	return m, t.take(m)
}

// take checks a message, and counts its bytes.
func (t *receiver) take(m message) error {
	if err := m.expect("dataTransfer"); err != nil {
		return err
	}
	offset, _ := m.uint("offset")
	data := m.bytes("data")
	switch {
	case m.text("transferId") != t.id:
		return fmt.Errorf("transfer %q instead of %q", m.text("transferId"), t.id)
	case offset != t.offset:
		return fmt.Errorf("offset %d instead of %d", offset, t.offset)
	case t.checked:
		return fmt.Errorf("a message behind the checksum")
	}
	if t.first == nil {
		t.first = m
	}
	t.offset += uint64(len(data))
	t.crc = crc32.Update(t.crc, crc32.IEEETable, data)
	if sum, ok := m.uint("checksum"); ok {
		if sum != uint64(t.crc) {
			return &failure{where: inReset, code: "ChecksumMismatch", text: "of the transfer"}
		}
		t.checked = true
	}
	return nil
}

// receivePattern reads to the end, and checks every byte.
func (t *receiver) receivePattern() error {
	for {
		offset := t.offset
		m, err := t.next()
		if isEnd(err) {
			return nil
		} else if err != nil {
			return err
		}
		for data := m.bytes("data"); len(data) > 0; {
			n := len(data)
			if n > chunkBytes {
				n = chunkBytes
			}
			if !bytes.Equal(data[:n], patternAt(offset, n)) {
				return fmt.Errorf("other bytes from %d on", offset)
			}
			data, offset = data[n:], offset+uint64(n)
		}
	}
}

// upload sends a transfer of so many bytes, and returns the text that the node answers with.
func (c *connection) upload(id string, total uint64) (string, error) {
	s, err := c.open()
	if err != nil {
		return "", err
	}
	if err := s.send(opening(id, "upload", 0), false); err != nil {
		return "", err
	}
	out := &sender{s: s, id: id}
	if err := out.sendPattern(total); err != nil {
		return "", err
	}
	if err := out.finish(); err != nil {
		return "", err
	}
	return readText(s, id)
}

// readText reads an answer that is short.
func readText(s *stream, id string) (string, error) {
	in := &receiver{s: s, id: id}
	text := ""
	for {
		m, err := in.next()
		if isEnd(err) {
			return text, nil
		} else if err != nil {
			return text, err
		}
		text += string(m.bytes("data"))
	}
}

// download has the node send so many bytes.
func (c *connection) download(id string, total uint64) error {
	in, err := c.beginDownload(id, total)
	if err != nil {
		return err
	}
	if err := in.receivePattern(); err != nil {
		return fmt.Errorf("at %d of %d: %w", in.offset, total, err)
	}
	if in.offset != total || !in.checked {
		return fmt.Errorf("%d bytes of %d, checksum: %v", in.offset, total, in.checked)
	}
	return nil
}

func (c *connection) beginDownload(id string, total uint64) (*receiver, error) {
	s, err := c.open()
	if err != nil {
		return nil, err
	}
	m := opening(id, "download", 0)
	m["totalBytes"] = total
	return &receiver{s: s, id: id}, s.send(m, true)
}

// echoTransfer answers the node's transfer with the same bytes.
func echoTransfer(s *stream, call message) {
	id := call.text("transferId")
	in, out := &receiver{s: s, id: id}, &sender{s: s, id: id}
	if in.take(call) != nil {
		return
	}
	for m := call; ; {
		if data := m.bytes("data"); len(data) > 0 {
			if out.send(data) != nil {
				return
			}
		}
		var err error
		if m, err = in.next(); err == io.EOF {
			out.finish()
			return
		} else if err != nil {
			return
		}
	}
}
