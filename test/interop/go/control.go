package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"sync"

	"github.com/lucas-clemente/quic-go"
)

// proofBytes is the payload of a proof.
const proofBytes = 16

// Message ids of proofs on the control stream: SPEC.md, "QUIC".
const (
	proofAskedID    = 1
	proofAnsweredID = 2
)

// control is the control stream of either side: resets, proofs, and going away.
type control struct {
	c       *connection
	sending sync.Mutex
	stream  quic.SendStream

	mutex sync.Mutex
	// proofsAsked by the node and answered here.
	proofsAsked int
	// silent leaves the node's proofs unanswered.
	silent bool
	// expected are the proofs that this side asked for, and what waits for them.
	expected map[[proofBytes]byte]chan struct{}
	// announced is how many streams the node said it has opened, with its first frame of going away.
	announced *uint64
	hasGone   chan struct{}
	isAllOver bool
	allOver   chan struct{}
}

func newControl(c *connection) *control {
	return &control{
		c:        c,
		expected: map[[proofBytes]byte]chan struct{}{},
		hasGone:  make(chan struct{}),
		allOver:  make(chan struct{}),
	}
}

// sendFrame writes a frame, on a stream that is opened when it is first needed and never ended.
func (k *control) sendFrame(f frame) error {
	f.flags |= withChecksum
	k.sending.Lock()
	defer k.sending.Unlock()
	if k.stream == nil {
		ctx, cancel := context.WithTimeout(k.c.quic.Context(), patience)
		defer cancel()
		stream, err := k.c.quic.OpenUniStreamSync(ctx)
		if err != nil {
			return ofConnection(err)
		}
		k.stream = stream
	}
	_, err := k.stream.Write(f.encode())
	return err
}

// read takes what comes on the node's control stream, to its end.
func (k *control) read() {
	accepted, err := k.c.quic.AcceptUniStream(context.Background())
	if err != nil {
		return
	}
	reader := bufio.NewReader(accepted)
	rules := rules{maxPayloadBytes: 4 + maxReasonBytes, checksumRequired: true}
	for {
		f, err := readFrame(reader, rules)
		if err == nil {
			err = k.take(f)
		} else if isEnd(err) {
			err = violation("ProtocolViolation", "the control stream ended")
		}
		if _, ok := err.(*failure); ok {
			k.c.violated(err)
		}
		if err != nil {
			return
		}
	}
}

func (k *control) take(f frame) error {
	switch {
	case f.has(withReset) && f.id != 0:
		notice, err := parseReset(f.payload)
		if err == nil {
			k.c.noticed(f.id, notice)
		}
		return err
	case f.has(withEnd) && f.id == 0:
		return k.takeGoingAway(f.payload)
	case f.flags&^withChecksum != 0 || len(f.payload) != proofBytes:
		return violation("ProtocolViolation", "flags %#x of %d on the control stream", f.flags, f.id)
	case f.id == proofAskedID:
		k.mutex.Lock()
		k.proofsAsked += 1
		silent := k.silent
		k.mutex.Unlock()
		if silent {
			return nil
		}
		return k.sendFrame(frame{id: proofAnsweredID, payload: f.payload})
	case f.id == proofAnsweredID:
		k.mutex.Lock()
		defer k.mutex.Unlock()
		var proof [proofBytes]byte
		copy(proof[:], f.payload)
		if waiting, ok := k.expected[proof]; ok {
			close(waiting)
			delete(k.expected, proof)
		}
		return nil
	}
	return violation("ProtocolViolation", "message id %d on the control stream", f.id)
}

// leaveUnanswered breaks the rule that proofs are answered at once.
func (k *control) leaveUnanswered() {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	k.silent = true
}

// askProof asks for a proof; the channel is closed when the node has answered.
func (k *control) askProof() (<-chan struct{}, error) {
	var proof [proofBytes]byte
	rand.Read(proof[:])
	answered := make(chan struct{})
	k.mutex.Lock()
	k.expected[proof] = answered
	k.mutex.Unlock()
	return answered, k.sendFrame(frame{id: proofAskedID, payload: proof[:]})
}

// goAway announces that this side opens no more streams: SPEC.md, "Going away", 1.
func (k *control) goAway() error {
	k.c.mutex.Lock()
	opened := k.c.opened
	k.c.mutex.Unlock()
	payload := binary.BigEndian.AppendUint64(nil, opened)
	return k.sendFrame(frame{flags: withEnd, payload: payload})
}

// sayAllOver is the second frame, which the caller knows to be due.
func (k *control) sayAllOver() error { return k.sendFrame(frame{flags: withEnd}) }

func (k *control) takeGoingAway(payload []byte) error {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	switch {
	case len(payload) == 0 && k.announced != nil && !k.isAllOver:
		k.isAllOver = true
		close(k.allOver)
	case len(payload) == 8 && k.announced == nil:
		announced := binary.BigEndian.Uint64(payload)
		k.announced = &announced
		close(k.hasGone)
	default:
		return violation("ProtocolViolation", "end frame of %d bytes on message id 0", len(bytes.TrimSpace(payload)))
	}
	return nil
}
