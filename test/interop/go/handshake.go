package main

import (
	"crypto/rand"
	"fmt"
	"strings"
	"time"
)

// earlyStreams may be open before the handshake is answered: SPEC.md, "Stream limits".
const earlyStreams = 64

// capabilities of one side, or what was agreed: SPEC.md, "Capabilities negotiation".
type capabilities struct {
	maxStreams, maxMessageBytes uint64
	compressions                []string
	checksum                    bool
}

var defaultCapabilities = capabilities{maxStreams: 1024, maxMessageBytes: defaultMaxBytes, checksum: true}

func (c capabilities) message() message {
	compressions := c.compressions
	if compressions == nil {
		compressions = []string{}
	}
	return message{
		"query": true, "replication": true, "consensus": true, "dataTransfer": true,
		"maxStreams": c.maxStreams, "maxMessageBytes": c.maxMessageBytes,
		"compressions": compressions, "checksum": c.checksum,
	}
}

// handshakeRequest is a good one; scenarios change what they are about.
func (e *environment) handshakeRequest(own capabilities) message {
	nonce := make([]byte, 16)
	rand.Read(nonce)
	return message{
		"type": "handshakeRequest", "versions": []uint64{version}, "nodeId": e.ownID, "cluster": e.cluster,
		"capabilities": map[string]interface{}(own.message()), "timestampMs": uint64(time.Now().UnixMilli()),
		"nonce": nonce,
	}
}

// shakeHands sends the request and waits for the answer: SPEC.md, "Handshake".
func (c *connection) shakeHands(e *environment, request message) error {
	s, err := c.beginHandshake(request)
	if err != nil {
		return err
	}
	return c.finishHandshake(e, s)
}

// beginHandshake sends the request on stream 1, its only frame there.
func (c *connection) beginHandshake(request message) (*stream, error) {
	s, err := c.open()
	if err != nil {
		return nil, err
	}
	if s.id != 1 {
		return nil, fmt.Errorf("stream %d instead of 1", s.id)
	}
	return s, s.send(request, true)
}

// finishHandshake reads the answer. Where the close overtakes the refusal, its code is the refusal's.
func (c *connection) finishHandshake(e *environment, s *stream) error {
	answer, err := s.receive()
	if err != nil {
		return err
	}
	if err := answer.expect("handshakeResponse"); err != nil {
		return err
	}
	if accepted, _ := answer["accepted"].(bool); !accepted {
		code := answer.text("code")
		if _, ok := codes[code]; !ok {
			code = "ConnectFailed"
		}
		return &failure{where: inRefusal, code: code, text: answer.text("text"), remote: true}
	}
	agreed, err := c.checkAcceptance(answer)
	if err == nil && !namesNode(c.tls().PeerCertificates[0], answer.text("nodeId")) {
		err = violation("CertificateNameMismatch", "the certificate does not name %s", answer.text("nodeId"))
	}
	if err == nil && !strings.EqualFold(answer.text("nodeId"), e.nodeID) {
		err = violation("NodeIdMismatch", "%s instead of %s", answer.text("nodeId"), e.nodeID)
	}
	if err != nil {
		c.close(err)
		return err
	}
	if _, err := s.receive(); !isEnd(err) {
		return fmt.Errorf("%v behind the handshake's answer", err)
	}
	c.agree(agreed)
	return nil
}

// checkAcceptance makes a dialer's checks, and holds the answer against its own capabilities again.
func (c *connection) checkAcceptance(answer message) (capabilities, error) {
	malformed := func(what string) (capabilities, error) {
		return capabilities{}, violation("MalformedMessage", "%s of the acceptance: %v", what, answer)
	}
	chosen, ok := answer.uint("version")
	offered, isMap := answer["capabilities"].(map[string]interface{})
	if !ok || !isMap || len(answer.bytes("sessionId")) != 16 {
		return malformed("a field")
	}
	maxStreams, hasStreams := message(offered).uint("maxStreams")
	maxMessageBytes, hasBytes := message(offered).uint("maxMessageBytes")
	compressions, isList := offered["compressions"].([]interface{})
	checksum, isBool := offered["checksum"].(bool)
	if !hasStreams || !hasBytes || !isList || !isBool || maxStreams < 1 || maxMessageBytes < 4096 {
		return malformed("capabilities")
	}
	if chosen != version {
		return capabilities{}, violation("VersionUnsupported", "version %d", chosen)
	}
	agreed := capabilities{maxStreams: maxStreams, maxMessageBytes: maxMessageBytes, checksum: checksum || c.own.checksum}
	if agreed.maxMessageBytes > c.own.maxMessageBytes {
		agreed.maxMessageBytes = c.own.maxMessageBytes
	}
	for _, theirs := range compressions {
		for _, own := range c.own.compressions {
			if theirs == own {
				agreed.compressions = append(agreed.compressions, own)
			}
		}
	}
	return agreed, nil
}
