package main

import (
	"fmt"
	"reflect"
)

// call sends a call of one message and returns its answer.
func (c *connection) call(m message) (message, error) {
	s, err := c.begin(m)
	if err != nil {
		return nil, err
	}
	return s.answer()
}

// begin sends a call of one message.
func (c *connection) begin(m message) (*stream, error) {
	s, err := c.open()
	if err != nil {
		return nil, err
	}
	return s, s.send(m, true)
}

// answer reads the one message of an answer, and its end.
func (s *stream) answer() (message, error) {
	answer, err := s.receive()
	if err != nil {
		return nil, err
	}
	if _, err := s.receive(); !isEnd(err) {
		return nil, fmt.Errorf("%v behind the answer", err)
	}
	return answer, answer.asError()
}

// echo makes a call whose answer is what it sent, and checks it.
func (c *connection) echo(body interface{}) error {
	answer, err := c.call(request("echo", body))
	if err != nil {
		return err
	}
	if err := answer.expect("response"); err != nil {
		return err
	}
	// As this side itself would read what it sent.
	sent, err := decodeMessage(request("echo", body).encode())
	if err != nil {
		return err
	}
	if !reflect.DeepEqual(answer["body"], sent["body"]) {
		return fmt.Errorf("%.100v instead of %.100v", answer["body"], body)
	}
	return nil
}

// serveEcho answers the node's calls with what they bring: SPEC.md, "Streams".
func serveEcho(s *stream) {
	call, err := s.receive()
	if err != nil {
		return
	}
	switch call.kind() {
	case "ping":
		pong := message{"type": "pong"}
		if token, ok := call["token"]; ok {
			pong["token"] = token
		}
		s.send(pong, true)
	case "queryRequest":
		s.send(message{"type": "queryResponse", "result": call["query"]}, true)
	case "request":
		s.send(message{"type": "response", "body": call["body"]}, true)
	case "dataTransfer":
		echoTransfer(s, call)
		return
	default:
		s.send(message{"type": "error", "code": "NoHandler", "text": "nothing serves " + call.kind()}, true)
	}
	// The call's end is awaited, so that the stream is over.
	for err == nil {
		_, err = s.receive()
	}
}
