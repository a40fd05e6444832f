package main

import (
	"fmt"
	"strings"

	"github.com/lucas-clemente/quic-go"
)

// Calls that one side does not want any more: SPEC.md, "QUIC".

// cancel: -kind is what is cancelled and by what, such as "upload by STOP_SENDING". The node's handler of it waits.
func cancel(e *environment) {
	what, way, _ := strings.Cut(e.kind, " by ")
	code := codes["DeadlineExceeded"]
	c := e.connect(dialOptions{})
	s, err := c.open()
	check(err)
	// What is cancelled by an end of this side's half has not ended it yet.
	ended := way == "notice" || way == "STOP_SENDING"
	switch what {
	case "call":
		check(s.send(request("hang", nil), ended))
	case "upload":
		check(s.send(opening("hang", "hang", 0), false))
		go (&sender{s: s, id: "hang"}).sendPattern(1 << 40)
	case "download":
		m := opening("hang", "endless", 0)
		check(s.send(m, ended))
	default:
		fail("no such call")
	}
	e.say("begun", nil)
	e.hear()
	switch way {
	case "notice":
		check(s.reset("DeadlineExceeded", "too late"))
	case "RESET_STREAM":
		s.quic.CancelWrite(quic.StreamErrorCode(code))
	case "STOP_SENDING":
		s.quic.CancelRead(quic.StreamErrorCode(code))
	case "both":
		s.quic.CancelWrite(quic.StreamErrorCode(code))
		s.quic.CancelRead(quic.StreamErrorCode(code))
	case "FIN":
		// Without notice and end bit.
		s.abandon(&failure{where: inReset, code: "StreamReset"})
	default:
		fail("no such way")
	}
	check(c.echo("the connection goes on"))
	e.say("cancelled", nil)
	e.hear()
	check(c.echo("and on"))
	e.finish(c)
}

// cancelAtOnce: -count calls are cancelled at once, so that notices and ends of streams share datagrams.
func cancelAtOnce(e *environment) {
	c := e.connect(dialOptions{})
	var calls []*stream
	for i := uint64(0); i < e.count; i++ {
		s, err := c.open()
		check(err)
		check(s.send(request("hang", nil), false))
		calls = append(calls, s)
	}
	e.say("begun", nil)
	e.hear()
	for _, s := range calls {
		check(s.reset("DeadlineExceeded", "too late"))
	}
	check(c.echo("the connection goes on"))
	e.finish(c)
}

// cancelled: the node cancels a call of its own, which this side holds; or an upload, which this side does not read.
func cancelled(e *environment) {
	ends := make(chan error)
	c := e.connect(dialOptions{onCall: func(s *stream) {
		call, err := s.receive()
		if err != nil {
			ends <- err
			return
		}
		e.say("called", call.kind())
		if call.kind() == "dataTransfer" {
			// Only when it is cancelled this side reads on: until then the node waits for its window.
			<-s.wasAbandoned
		}
		for err == nil {
			_, err = s.receive()
			if isEnd(err) {
				<-s.wasAbandoned
				err = s.whyAbandoned()
			}
		}
		ends <- err
	}})
	e.say("ready", nil)
	err := <-ends
	e.sayFailure(err)
	check(c.echo("the connection goes on"))
	e.hear()
	e.finish(c)
}

// damaged: a transfer whose checksum is another is not taken: SPEC.md, "Transfers".
func damaged(e *environment) {
	c := e.connect(dialOptions{})
	s, err := c.open()
	check(err)
	check(s.send(opening("damaged", "upload", 0), false))
	out := &sender{s: s, id: "damaged"}
	check(out.sendPattern(100_000))
	out.crc ^= 1
	check(out.finish())
	_, err = readText(s, "damaged")
	expectFailure(err, inError, "ChecksumMismatch")
	// A gap, too, ends the call alone.
	s, err = c.open()
	check(err)
	check(s.send(opening("gap", "upload", 0), false))
	out = &sender{s: s, id: "gap", offset: 5}
	check(out.send([]byte{1}))
	_, err = readText(s, "gap")
	expectFailure(err, inError, "UnexpectedMessage")
	check(c.echo(fmt.Sprint("the connection goes on")))
	e.finish(c)
}
