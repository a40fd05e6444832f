package main

import (
	"encoding/binary"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4"
)

// SPEC.md, "Compression": a u32, the length of the raw payload, then an LZ4 block or a Zstd frame.

var bits = map[string]uint16{"lz4": withLZ4, "zstd": withZstd}

func compress(with uint16, raw []byte) []byte {
	length := binary.BigEndian.AppendUint32(nil, uint32(len(raw)))
	if with == withZstd {
		encoder, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
		if err != nil {
			panic(err)
		}
		return encoder.EncodeAll(raw, length)
	}
	block := make([]byte, lz4.CompressBlockBound(len(raw)))
	n, err := lz4.CompressBlock(raw, block, nil)
	if err != nil || n == 0 {
		panic("not compressible")
	}
	return append(length, block[:n]...)
}

func decompress(with uint16, payload []byte, maxBytes uint64) ([]byte, error) {
	malformed := &failure{where: inError, code: "MalformedMessage", text: "compressed payload"}
	if len(payload) <= 4 {
		return nil, malformed
	}
	length, compressed := uint64(binary.BigEndian.Uint32(payload)), payload[4:]
	if length > maxBytes {
		return nil, &failure{where: inError, code: "MessageTooLarge", text: "compressed payload"}
	}
	if with == withZstd {
		decoder, err := zstd.NewReader(nil, zstd.WithDecoderMaxMemory(maxBytes), zstd.WithDecoderConcurrency(1))
		if err != nil {
			panic(err)
		}
		defer decoder.Close()
		raw, err := decoder.DecodeAll(compressed, nil)
		if err != nil || uint64(len(raw)) != length {
			return nil, malformed
		}
		return raw, nil
	}
	if length > 255*uint64(len(compressed)) {
		return nil, malformed
	}
	raw := make([]byte, length)
	n, err := lz4.UncompressBlock(compressed, raw)
	if err != nil || uint64(n) != length {
		return nil, malformed
	}
	return raw, nil
}
