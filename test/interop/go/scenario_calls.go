package main

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"github.com/lucas-clemente/quic-go"
)

// Calls, and the handshakes that they follow.

// cold: every kind of call over a connection that knew nothing of the node.
func cold(e *environment) {
	c := e.connect(dialOptions{onCall: serveEcho})
	pong, err := c.call(message{"type": "ping", "token": []byte("hello")})
	check(err)
	check(pong.expect("pong"))
	if string(pong.bytes("token")) != "hello" {
		fail("token %q", pong.bytes("token"))
	}
	answer, err := c.call(message{"type": "queryRequest", "query": "q", "parameters": []interface{}{"a", uint64(7), nil}})
	check(err)
	check(answer.expect("queryResponse"))
	if got := fmt.Sprint(answer["result"]); got != "[a 7 <nil>]" {
		fail("result %s", got)
	}
	check(c.echo(map[string]interface{}{"text": "Zoë", "bytes": []byte{0, 255}, "big": uint64(1) << 40, "half": 1.5}))
	vote := map[string]interface{}{
		"kind": "requestVote", "term": uint64(8), "candidateId": e.ownID, "lastLogIndex": uint64(1) << 32, "lastLogTerm": uint64(7),
	}
	answer, err = c.call(message{"type": "consensus", "group": "g1", "body": vote})
	check(err)
	check(answer.expect("consensus"))
	if body, _ := answer["body"].(map[string]interface{}); message(body).text("kind") != "requestVoteResponse" || answer.text("group") != "g1" {
		fail("answer %v", answer)
	}
	for call, code := range map[string]string{"fail": "HandlerFailed", "nobody": "NoHandler"} {
		m := request(call, nil)
		if call == "nobody" {
			m = message{"type": "replicationLog", "term": 1, "prevIndex": 0, "commitIndex": 0, "entries": []interface{}{}}
		}
		_, err := c.call(m)
		expectFailure(err, inError, code)
	}
	_, err = c.call(message{"type": "somethingNew"})
	expectFailure(err, inError, "UnknownMessageType")
	_, err = c.call(message{"type": "request", "body": "without a method"})
	expectFailure(err, inError, "MalformedMessage")
	// A one-way call is answered by an end.
	oneWay := request("echo", nil)
	oneWay["oneWay"] = true
	s, err := c.begin(oneWay)
	check(err)
	if m, err := s.receive(); !isEnd(err) {
		fail("a one-way call was answered: %v, %v", m, err)
	}
	e.finish(c)
}

func expectFailure(err error, where where, code string) {
	var failed *failure
	if !errors.As(err, &failed) || failed.where != where || failed.code != code || !failed.remote {
		fail("%v instead of %s by %s", err, code, where)
	}
}

// pipelined: calls leave behind the request, and are answered once it is: SPEC.md, "Pipelining".
func pipelined(e *environment) {
	c, err := e.dial(dialOptions{})
	check(err)
	handshake, err := c.beginHandshake(e.handshakeRequest(c.own))
	check(err)
	var calls []*stream
	for i := 0; i < earlyStreams-1; i++ {
		s, err := c.begin(request("echo", i))
		check(err)
		calls = append(calls, s)
	}
	check(c.finishHandshake(e, handshake))
	for i, s := range calls {
		answer, err := s.answer()
		check(err)
		if fmt.Sprint(answer["body"]) != fmt.Sprint(i) {
			fail("%v instead of %d", answer, i)
		}
	}
	e.finish(c)
}

// resumed: a call that is safe to replay is answered before the TLS handshake is done: SPEC.md, "Early data".
func resumed(e *environment) {
	e.finish(e.learnSession())
	c, err := e.dial(dialOptions{early: true})
	check(err)
	handshake, safe, other := c.beginEarly(e)
	check(c.finishHandshake(e, handshake))
	early, err := safe.answer()
	check(err)
	late, err := other.answer()
	check(err)
	check(c.identify(e))
	e.say("resumed", map[string]interface{}{
		"used0RTT": c.quic.ConnectionState().TLS.Used0RTT, "didResume": c.tls().DidResume,
		"early": early["body"], "late": late["body"],
	})
	check(c.echo("afterwards"))
	e.finish(c)
}

// beginEarly sends the handshake, a call that is safe to replay and one that is not.
func (c *connection) beginEarly(e *environment) (handshake, safe, other *stream) {
	handshake, err := c.beginHandshake(e.handshakeRequest(c.own))
	check(err)
	m := request("early", nil)
	m["replaySafe"] = true
	safe, err = c.begin(m)
	check(err)
	other, err = c.begin(request("early", nil))
	check(err)
	return
}

// learnSession connects, and waits for a session to resume.
func (e *environment) learnSession() *connection {
	c := e.connect(dialOptions{})
	for deadline := time.Now().Add(patience); len(e.sessions.sessions) == 0; time.Sleep(time.Millisecond) {
		check(c.echo("ticket"))
		if time.Now().After(deadline) {
			fail("no session")
		}
	}
	return c
}

// earlyRefused: the node was restarted meanwhile, and takes no early data of former sessions.
func earlyRefused(e *environment) {
	e.finish(e.learnSession())
	e.say("learned", nil)
	e.hear()
	c, err := e.dial(dialOptions{early: true})
	check(err)
	handshake, _, _ := c.beginEarly(e)
	if err := c.finishHandshake(e, handshake); !errors.Is(err, quic.Err0RTTRejected) {
		fail("%v instead of a rejection", err)
	}
	// This stack has the application begin anew, with streams that have the same numbers.
	c = newConnection(c.quic.(quic.EarlyConnection).NextConnection(), dialOptions{})
	check(c.identify(e))
	handshake, safe, other := c.beginEarly(e)
	check(c.finishHandshake(e, handshake))
	early, err := safe.answer()
	check(err)
	late, err := other.answer()
	check(err)
	e.say("resumed", map[string]interface{}{
		"used0RTT": c.quic.ConnectionState().TLS.Used0RTT, "didResume": c.tls().DidResume,
		"early": early["body"], "late": late["body"],
	})
	e.finish(c)
}

// parallel: -count calls at once, of sizes up to 64 KiB.
func parallel(e *environment) {
	c := e.connect(dialOptions{})
	check(together(int(e.count), func(i int) error { return c.echo(randomBytes(i * 331 % 65_536)) }))
	e.finish(c)
}

func randomBytes(n int) []byte {
	bytes := make([]byte, n)
	rand.Read(bytes)
	return bytes
}

// called: the node calls this side, which lets -count calls be open at once.
func called(e *environment) {
	own := defaultCapabilities
	if e.count > 0 {
		own.maxStreams = e.count
	}
	var open, most, calls int64
	c := e.connect(dialOptions{own: &own, onCall: func(s *stream) {
		atomic.AddInt64(&calls, 1)
		if now := atomic.AddInt64(&open, 1); now > atomic.LoadInt64(&most) {
			atomic.StoreInt64(&most, now)
		}
		// Time for as many as there may be to come.
		time.Sleep(5 * time.Millisecond)
		// The stream is over for the node when it has read the end, which it may see before this side goes on.
		atomic.AddInt64(&open, -1)
		serveEcho(s)
	}})
	e.say("ready", nil)
	e.hear()
	e.say("called", map[string]interface{}{"calls": atomic.LoadInt64(&calls), "atOnce": atomic.LoadInt64(&most)})
	e.finish(c)
}

// plain: neither side wants checksums, so that none are sent: SPEC.md, "Checksum".
func plain(e *environment) {
	own := defaultCapabilities
	own.checksum = false
	c := e.connect(dialOptions{own: &own})
	if c.rules().checksumRequired {
		fail("checksums were agreed")
	}
	s, err := c.begin(request("echo", "plain"))
	check(err)
	payload, flags, err := s.receivePayload()
	check(err)
	if flags&withChecksum != 0 || !strings.Contains(string(payload), "plain") {
		fail("flags %#x of %q", flags, payload)
	}
	// A frame may carry one all the same, which is checked.
	s, err = c.open()
	check(err)
	check(s.sendFrame(frame{id: s.id, flags: withChecksum | withEnd, payload: request("echo", "sure").encode()}))
	_, err = s.answer()
	check(err)
	_, err = c.upload("plain", 1_000_000)
	check(err)
	check(c.download("plain", 1_000_000))
	e.finish(c)
}

// compressed: messages of the one algorithm -kind in both directions: SPEC.md, "Compression".
func compressed(e *environment) {
	own := defaultCapabilities
	own.compressions = []string{"of tomorrow", e.kind}
	c := e.connect(dialOptions{own: &own})
	long := strings.Repeat("all work and no play ", 2_000)
	raw := request("echo", long).encode()
	s, err := c.open()
	check(err)
	f := frame{id: s.id, flags: withEnd | withChecksum | bits[e.kind], payload: compress(bits[e.kind], raw)}
	check(s.sendFrame(f))
	payload, flags, err := s.receivePayload()
	check(err)
	if flags&compressionMask != bits[e.kind] || len(payload) > len(raw)/2 {
		fail("flags %#x, %d bytes", flags, len(payload))
	}
	payload, err = decompress(bits[e.kind], payload, defaultMaxBytes)
	check(err)
	answer, err := decodeMessage(payload)
	check(err)
	if answer.text("body") != long {
		fail("another text came back")
	}
	// What cannot be decompressed ends its call, and not the connection.
	s, err = c.open()
	check(err)
	broken := append([]byte{0, 0, 1, 0}, bytes.Repeat([]byte{0xff}, 40)...)
	check(s.sendFrame(frame{id: s.id, flags: withEnd | withChecksum | bits[e.kind], payload: broken}))
	_, err = s.answer()
	expectFailure(err, inError, "MalformedMessage")
	check(c.echo("afterwards"))
	e.finish(c)
}

// tinyWindows: this side lets the node send no more than -window ahead of it.
func tinyWindows(e *environment) {
	c := e.connect(dialOptions{onCall: serveEcho})
	e.say("ready", nil)
	check(together(22, func(i int) error {
		switch i {
		case 0:
			return c.download("tiny", 300_000)
		case 1:
			_, err := c.upload("tiny", 300_000)
			return err
		}
		return c.echo(randomBytes(i * 997))
	}))
	e.hear()
	e.finish(c)
}

// retry: a first destination connection ID of -bytes, whose length this stack draws from a byte of chance.
func retry(e *environment) {
	rand.Reader = &chosenLength{chance: rand.Reader, byte: byte(e.bytes - 8)}
	c := e.connect(dialOptions{})
	check(c.echo("here"))
	e.say("connected", e.trace.counts())
	e.finish(c)
}

// chosenLength answers reads of a single byte by one that is chosen.
type chosenLength struct {
	chance io.Reader
	byte   byte
}

func (c *chosenLength) Read(into []byte) (int, error) {
	if len(into) == 1 {
		into[0] = c.byte
		return 1, nil
	}
	return c.chance.Read(into)
}

// held: a call that the node answers once it is told to, and others before and after.
func held(e *environment) {
	c := e.connect(dialOptions{onCall: serveEcho})
	check(c.echo("before"))
	s, err := c.begin(request("hold", nil))
	check(err)
	e.say("held", nil)
	_, err = s.answer()
	check(err)
	check(c.echo("after"))
	e.finish(c)
}
