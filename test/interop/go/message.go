package main

import (
	"fmt"
	"reflect"

	"github.com/fxamacker/cbor"
)

// message is one CBOR map: SPEC.md, "Payload" and "Messages". Numbers are received as uint64.
type message map[string]interface{}

// decoding takes no more than SPEC.md, "Payload", allows, as far as the library can be told.
var decoding = func() cbor.DecMode {
	mode, err := cbor.DecOptions{
		MaxNestedLevels:  64,
		MaxArrayElements: 131_072,
		MaxMapPairs:      131_072,
		IndefLength:      cbor.IndefLengthForbidden,
		TagsMd:           cbor.TagsForbidden,
		DefaultMapType:   reflect.TypeOf(map[string]interface{}(nil)),
	}.DecMode()
	if err != nil {
		panic(err)
	}
	return mode
}()

func (m message) encode() []byte {
	bytes, err := cbor.Marshal(map[string]interface{}(m))
	if err != nil {
		panic(err)
	}
	return bytes
}

func decodeMessage(payload []byte) (message, error) {
	var m message
	if err := decoding.Unmarshal(payload, &m); err != nil {
		return nil, &failure{where: inError, code: "MalformedMessage", text: err.Error()}
	}
	if m.text("type") == "" {
		return nil, &failure{where: inError, code: "MalformedMessage", text: "no type"}
	}
	return m, nil
}

func (m message) kind() string { return m.text("type") }

func (m message) text(field string) string {
	text, _ := m[field].(string)
	return text
}

func (m message) bytes(field string) []byte {
	bytes, _ := m[field].([]byte)
	return bytes
}

func (m message) uint(field string) (uint64, bool) {
	number, ok := m[field].(uint64)
	return number, ok
}

// asError tells whether the message is an error, and which.
func (m message) asError() error {
	if m.kind() != "error" {
		return nil
	}
	return &failure{where: inError, code: m.text("code"), text: m.text("text"), remote: true}
}

// expect checks what a message is.
func (m message) expect(kind string) error {
	if err := m.asError(); err != nil {
		return err
	}
	if m.kind() != kind {
		return fmt.Errorf("%v instead of %s", m, kind)
	}
	return nil
}

func request(method string, body interface{}) message {
	return message{"type": "request", "method": method, "body": body}
}
