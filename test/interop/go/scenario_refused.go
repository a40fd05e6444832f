package main

import (
	"time"
)

// What the node has to refuse: SPEC.md, "Identity", "Handshake", and the rules of frames.

// refused: this side is let in by nothing, for what its options say or -kind changes of the request.
func refused(e *environment) {
	options := dialOptions{}
	if e.kind == "alpn" {
		options.alpn = "quicmesh/0"
	}
	c, err := e.dial(options)
	if err == nil {
		request := e.handshakeRequest(c.own)
		switch e.kind {
		case "version":
			request["versions"] = []uint64{9, 7}
		case "late":
			request["timestampMs"] = uint64(time.Now().Add(-31 * time.Second).UnixMilli())
		case "ahead":
			request["timestampMs"] = uint64(time.Now().Add(31 * time.Second).UnixMilli())
		case "streams":
			own := c.own
			own.maxStreams = 0
			request["capabilities"] = map[string]interface{}(own.message())
		case "message-bytes":
			own := c.own
			own.maxMessageBytes = 4095
			request["capabilities"] = map[string]interface{}(own.message())
		case "nonce":
			request["nonce"] = make([]byte, 15)
		}
		if e.token != "" {
			request["authToken"] = e.token
		}
		// No call is run: SPEC.md, "Pipelining".
		var s *stream
		if s, err = c.beginHandshake(request); err == nil {
			_, _ = c.begin(message{"type": "request", "method": "must not run", "replaySafe": true})
			err = c.finishHandshake(e, s)
		}
		if err == nil {
			fail("accepted")
		}
		// The close has the code of the refusal, which it may have overtaken.
		failed, _ := err.(*failure)
		ended, _ := c.ended().(*failure)
		if failed == nil || ended == nil || failed.code != ended.code {
			fail("%v and %v", err, ended)
		}
	}
	e.sayFailure(err)
}

// replayedNonce: the second handshake with a nonce is refused.
func replayedNonce(e *environment) {
	c, err := e.dial(dialOptions{})
	check(err)
	first := e.handshakeRequest(c.own)
	check(c.shakeHands(e, first))
	again, err := e.dial(dialOptions{})
	check(err)
	second := e.handshakeRequest(c.own)
	second["nonce"] = first["nonce"]
	err = again.shakeHands(e, second)
	if err == nil {
		fail("accepted")
	}
	check(c.echo("the first goes on"))
	e.finish(c)
	e.sayFailure(err)
}

// violationOf: this side breaks the rule -kind, and is told the code by a close.
func violationOf(e *environment) {
	c, err := e.dial(dialOptions{})
	check(err)
	if e.kind != "no-handshake" {
		check(c.shakeHands(e, e.handshakeRequest(c.own)))
	}
	s, err := c.open()
	check(err)
	good := frame{id: s.id, flags: withChecksum | withEnd, payload: request("echo", nil).encode()}
	bad := good
	switch e.kind {
	case "no-handshake":
		check(s.sendFrame(good))
	case "handshake-again":
		check(s.send(e.handshakeRequest(c.own), true))
	case "checksum":
		bytes := good.encode()
		bytes[len(bytes)-1] ^= 1
		check(s.write(bytes, true))
	case "version":
		bad.flags |= 2
		check(s.sendFrame(bad))
	case "reserved":
		bad.flags |= 0x1000
		check(s.sendFrame(bad))
	case "compression":
		bad.flags |= withLZ4
		check(s.sendFrame(bad))
	case "no-checksum":
		bad.flags &^= withChecksum
		check(s.sendFrame(bad))
	case "credit":
		check(s.sendFrame(frame{id: s.id, flags: withChecksum | withCredit, payload: []byte{0, 1, 0, 0}}))
	case "more":
		check(s.sendFrame(frame{id: s.id, flags: withChecksum | withMore, payload: good.payload[:9]}))
	case "reset-on-stream":
		check(s.sendFrame(frame{id: s.id, flags: withChecksum | withReset, payload: resetPayload("Cancelled", "")}))
	case "id":
		bad.id += 2
		check(s.sendFrame(bad))
	case "empty":
		check(s.sendFrame(frame{id: s.id, flags: withChecksum}))
	case "too-large":
		// The header alone tells.
		bytes := good.encode()
		bytes[0] = 2
		check(s.write(bytes, false))
	case "behind-the-end":
		check(s.write(append(good.encode(), 0), true))
	case "control-end":
		_, err := c.control.askProof()
		check(err)
		c.control.stream.Close()
	case "control-request":
		check(c.control.sendFrame(frame{id: 3, flags: withEnd, payload: good.payload}))
	case "control-proof":
		check(c.control.sendFrame(frame{id: proofAskedID, payload: make([]byte, 15)}))
	case "control-close":
		check(c.control.sendFrame(frame{flags: withReset, payload: resetPayload("NoError", "")}))
	case "all-over-first":
		check(c.control.sayAllOver())
	case "gone-twice":
		check(c.control.goAway())
		check(c.control.goAway())
	case "opened-beyond":
		check(c.control.sendFrame(frame{flags: withEnd, payload: []byte{0, 0, 0, 0, 0, 0, 0, 1}}))
		check(s.sendFrame(good))
	default:
		fail("no such rule")
	}
	e.sayFailure(c.ended())
}
