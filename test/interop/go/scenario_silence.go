package main

import "time"

// silence: the node answers this side's knock with nothing at all, not within two rounds of first packets.
func silence(e *environment) {
	_, err := e.dial(dialOptions{patience: 4 * time.Second})
	if err == nil {
		fail("the node has answered")
	}
	e.say("unanswered", err.Error())
}
