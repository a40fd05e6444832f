package main

import (
	"time"
)

// Proofs, and ends in good order: SPEC.md, "QUIC" and "Going away".

// proofs: both sides answer what the other asks for.
func proofs(e *environment) {
	c := e.connect(dialOptions{})
	for i := 0; i < 100; i++ {
		answered, err := c.control.askProof()
		check(err)
		within(answered, "the node does not answer a proof")
	}
	if e.kind == "unanswered" {
		// The node cannot tell what arrived here from what is only said to have.
		c.control.leaveUnanswered()
		if err := c.download("proofs", e.bytes); err == nil {
			fail("%d bytes came", e.bytes)
		}
		e.sayFailure(c.ended())
		return
	}
	check(c.download("proofs", e.bytes))
	e.say("proofs", c.control.proofs())
	e.finish(c)
}

func within(done <-chan struct{}, what string) {
	select {
	case <-done:
	case <-time.After(patience):
		fail("%s", what)
	}
}

// idle: the node keeps a connection on which nobody has anything to say, by PING frames: SPEC.md, "Closing".
func idle(e *environment) {
	c := e.connect(dialOptions{silent: true})
	// As many as outlast the node's idle timeout, besides those of path probes and of its own probe timeouts.
	for deadline := time.Now().Add(patience); e.trace.pinged() < int(e.count); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			fail("%d PING frames", e.trace.pinged())
		}
		if c.quic.Context().Err() != nil {
			check(c.ended())
		}
	}
	check(c.echo("still here"))
	e.say("kept", time.Since(e.start).Milliseconds())
	e.finish(c)
}

// goAway: this side goes away while a call is open.
func goAway(e *environment) {
	c := e.connect(dialOptions{onCall: serveEcho})
	s, err := c.begin(request("hold", nil))
	check(err)
	check(c.control.goAway())
	within(c.control.hasGone, "the node does not go away as well")
	e.say("gone", *c.control.announced)
	_, err = s.answer()
	check(err)
	check(c.control.sayAllOver())
	within(c.control.allOver, "the node does not say that all is over")
	// The one that went away first closes.
	e.finish(c)
}

// goneAway: the node goes away while a call is open, and closes when it is over.
func goneAway(e *environment) {
	c := e.connect(dialOptions{onCall: serveEcho})
	check(c.echo("before"))
	s, err := c.begin(request("hold", nil))
	check(err)
	e.say("held", nil)
	within(c.control.hasGone, "the node does not go away")
	if e.kind != "silent" {
		check(c.control.goAway())
	}
	e.say("gone", *c.control.announced)
	_, err = s.answer()
	check(err)
	if e.kind != "silent" {
		check(c.control.sayAllOver())
		within(c.control.allOver, "the node does not say that all is over")
	}
	e.sayFailure(c.ended())
}
