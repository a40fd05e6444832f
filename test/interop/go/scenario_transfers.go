package main

import (
	"fmt"
	"strings"
	"sync/atomic"
	"time"
)

// Transfers, whole, interrupted, and over networks that lose, narrow or rebind: SPEC.md, "Transfers".

// beside calls the node all along, and says at the end how long the slowest call took.
func (c *connection) beside() (stop func() (calls int, slowest time.Duration, err error)) {
	var stopped int32
	done := make(chan struct{})
	var calls int
	var slowest time.Duration
	var err error
	go func() {
		defer close(done)
		for err == nil && atomic.LoadInt32(&stopped) == 0 {
			start := time.Now()
			err = c.echo(calls)
			if took := time.Since(start); took > slowest {
				slowest = took
			}
			calls += 1
			time.Sleep(5 * time.Millisecond)
		}
	}()
	return func() (int, time.Duration, error) {
		atomic.StoreInt32(&stopped, 1)
		<-done
		return calls, slowest, err
	}
}

// besideCalls runs transfers beside calls, after -count calls with nothing beside them.
func (e *environment) besideCalls(run func(c *connection) error) {
	c := e.connect(dialOptions{onCall: serveEcho})
	for i := uint64(0); i < e.count; i++ {
		check(c.echo(int(i)))
	}
	e.say("ready", nil)
	stop := c.beside()
	start := time.Now()
	err := run(c)
	took := time.Since(start)
	calls, slowest, callError := stop()
	check(err)
	check(callError)
	e.say("transferred", map[string]interface{}{
		"calls": calls, "slowestMs": slowest.Milliseconds(), "tookMs": took.Milliseconds(), "proofs": c.control.proofs(),
		"ids": e.trace.counts(),
	})
	e.finish(c)
}

func (k *control) proofs() int {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	return k.proofsAsked
}

func upload(e *environment) {
	e.besideCalls(func(c *connection) error { return c.checkedUpload("up", e.bytes) })
}

func download(e *environment) {
	e.besideCalls(func(c *connection) error { return c.download("down", e.bytes) })
}

// downloads: -count of them, each once the test says so.
func downloads(e *environment) {
	c := e.connect(dialOptions{onCall: serveEcho})
	for i := uint64(0); i < e.count; i++ {
		e.say("ready", nil)
		e.hear()
		start := time.Now()
		check(c.download(fmt.Sprint("down ", i), e.bytes))
		e.say("transferred", time.Since(start).Milliseconds())
	}
	e.finish(c)
}

// both: up and down at once, and echoed.
func both(e *environment) {
	e.besideCalls(func(c *connection) error {
		return together(3, func(i int) error {
			switch i {
			case 0:
				return c.checkedUpload("up", e.bytes)
			case 1:
				return c.download("down", e.bytes)
			}
			return c.echoed("echo", e.bytes)
		})
	})
}

// lossy is the same, without the echo.
func lossy(e *environment) {
	e.besideCalls(func(c *connection) error {
		return together(2, func(i int) error {
			if i == 0 {
				return c.checkedUpload("up", e.bytes)
			}
			return c.download("down", e.bytes)
		})
	})
}

// checkedUpload holds what the node says that it got against what was sent.
func (c *connection) checkedUpload(id string, total uint64) error {
	text, err := c.upload(id, total)
	if want := uploaded(total); err == nil && text != want {
		err = fmt.Errorf("the node got %s instead of %s", text, want)
	}
	return err
}

// uploaded is what the node says of an upload that it got whole.
func uploaded(total uint64) string { return fmt.Sprintf("%d bytes, %08x", total, patternCRC(total)) }

// echoed sends a transfer and reads it back at once.
func (c *connection) echoed(id string, total uint64) error {
	s, err := c.open()
	if err != nil {
		return err
	}
	if err := s.send(opening(id, "echo", 0), false); err != nil {
		return err
	}
	return together(2, func(i int) error {
		if i == 0 {
			out := &sender{s: s, id: id}
			if err := out.sendPattern(total); err != nil {
				return err
			}
			return out.finish()
		}
		in := &receiver{s: s, id: id}
		if err := in.receivePattern(); err != nil {
			return err
		}
		if in.offset != total || !in.checked {
			return fmt.Errorf("%d bytes of %d came back", in.offset, total)
		}
		return nil
	})
}

// openResumable opens a transfer that may be interrupted, from where on this side wants the answer.
func (c *connection) openResumable(id, name string, total, offset uint64, hasBytes bool) (*stream, error) {
	s, err := c.open()
	if err != nil {
		return nil, err
	}
	m := opening(id, name, offset)
	m["resume"] = true
	if name == "download" {
		m["totalBytes"] = total
	}
	if offset > 0 {
		m["priorChecksum"] = patternCRC(offset)
	}
	return s, s.send(m, !hasBytes)
}

// asked waits to be asked for this side's bytes, and holds what the node has of them against what was sent.
func asked(s *stream, id string) (*sender, error) {
	in := &receiver{s: s, id: id}
	for {
		m, err := in.next()
		if err != nil {
			return nil, err
		}
		at, ok := m.uint("resumeAt")
		if !ok {
			continue
		}
		if crc, ok := m.uint("priorChecksum"); (ok || at > 0) && crc != uint64(patternCRC(at)) {
			return nil, fmt.Errorf("checksum %x of the first %d bytes", crc, at)
		}
		return &sender{s: s, id: id, offset: at, crc: patternCRC(at)}, nil
	}
}

// resumedUpload: the connection is lost in the middle of an upload, which goes on over the next.
func resumedUpload(e *environment) {
	c := e.connect(dialOptions{})
	s, err := c.openResumable("resumed", "upload", e.bytes, 0, true)
	check(err)
	out, err := asked(s, "resumed")
	check(err)
	if out.offset != 0 {
		fail("asked from %d on", out.offset)
	}
	check(out.sendPattern(e.bytes / 2))
	e.say("half", nil)
	e.hear()
	c.close(nil)
	c = e.connect(dialOptions{})
	s, err = c.openResumable("resumed", "upload", e.bytes, 0, true)
	check(err)
	out, err = asked(s, "resumed")
	check(err)
	e.say("resumedAt", out.offset)
	check(out.sendPattern(e.bytes))
	check(out.finish())
	text := ""
	in := &receiver{s: s, id: "resumed"}
	for {
		m, err := in.next()
		if isEnd(err) {
			break
		}
		check(err)
		text += string(m.bytes("data"))
	}
	if text != uploaded(e.bytes) {
		fail("the node got %s instead of %s", text, uploaded(e.bytes))
	}
	e.finish(c)
}

// resumedDownload: the same with the node's bytes.
func resumedDownload(e *environment) {
	c := e.connect(dialOptions{})
	s, err := c.openResumable("resumed", "download", e.bytes, 0, false)
	check(err)
	in := &receiver{s: s, id: "resumed"}
	for in.offset < e.bytes/2 {
		_, err := in.next()
		check(err)
	}
	c.close(nil)
	c = e.connect(dialOptions{})
	s, err = c.openResumable("resumed", "download", e.bytes, in.offset, false)
	check(err)
	again := &receiver{s: s, id: "resumed", offset: in.offset, crc: in.crc}
	check(again.receivePattern())
	if again.offset != e.bytes || !again.checked {
		fail("%d bytes of %d", again.offset, e.bytes)
	}
	e.say("resumedAt", in.offset)
	// One whose sides had different bytes does not go on.
	s, err = c.open()
	check(err)
	m := opening("resumed", "download", in.offset)
	m["resume"], m["totalBytes"], m["priorChecksum"] = true, e.bytes, uint64(in.crc^1)
	check(s.send(m, true))
	_, err = (&receiver{s: s, id: "resumed", offset: in.offset}).next()
	if err == nil || !strings.Contains(err.Error(), "ChecksumMismatch") {
		e.say("otherBytes", fmt.Sprint(err))
	}
	e.finish(c)
}

// superseded: a transfer that waits for its reader ends when the same one is opened again.
func superseded(e *environment) {
	c := e.connect(dialOptions{})
	first, err := c.openResumable("twice", "download", 64<<20, 0, false)
	check(err)
	// The node has sent what the window takes, and waits.
	e.say("begun", nil)
	e.hear()
	start := time.Now()
	second, err := c.openResumable("twice", "download", 300_000, 0, false)
	check(err)
	in := &receiver{s: second, id: "twice"}
	check(in.receivePattern())
	if in.offset != 300_000 {
		fail("%d bytes", in.offset)
	}
	e.say("done", time.Since(start).Milliseconds())
	old := &receiver{s: first, id: "twice"}
	for err == nil {
		_, err = old.next()
	}
	e.sayFailure(err)
	check(c.echo("the connection goes on"))
	e.finish(c)
}
