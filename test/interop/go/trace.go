package main

import (
	"context"
	"sync"

	"github.com/lucas-clemente/quic-go/logging"
)

// trace notes what this stack does with connection IDs, of the connection that was dialed last.
type trace struct {
	logging.NullTracer

	mutex sync.Mutex
	// firstIDBytes is the length of the first destination connection ID, which the client picks.
	firstIDBytes int
	retries      int
	// pings are PING frames of the node.
	pings int
	// used are the node's IDs that packets went to; issued counts those it sent by NEW_CONNECTION_ID frames.
	used   map[string]bool
	issued map[uint64]bool
}

func (t *trace) TracerForConnection(_ context.Context, _ logging.Perspective, first logging.ConnectionID) logging.ConnectionTracer {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.firstIDBytes, t.retries, t.pings = first.Len(), 0, 0
	t.used, t.issued = map[string]bool{}, map[uint64]bool{}
	return &connectionTrace{trace: t}
}

type connectionTrace struct {
	logging.NullConnectionTracer
	trace *trace
}

func (t *connectionTrace) ReceivedRetry(*logging.Header) {
	t.trace.mutex.Lock()
	defer t.trace.mutex.Unlock()
	t.trace.retries += 1
}

func (t *connectionTrace) SentPacket(header *logging.ExtendedHeader, _ logging.ByteCount, _ *logging.AckFrame, _ []logging.Frame) {
	if header.IsLongHeader {
		return
	}
	t.trace.mutex.Lock()
	defer t.trace.mutex.Unlock()
	t.trace.used[string(header.DestConnectionID)] = true
}

func (t *connectionTrace) ReceivedPacket(_ *logging.ExtendedHeader, _ logging.ByteCount, frames []logging.Frame) {
	t.trace.mutex.Lock()
	defer t.trace.mutex.Unlock()
	for _, frame := range frames {
		switch frame := frame.(type) {
		case *logging.NewConnectionIDFrame:
			t.trace.issued[frame.SequenceNumber] = true
		case *logging.PingFrame:
			t.trace.pings += 1
		}
	}
}

func (t *trace) pinged() int {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	return t.pings
}

// counts are what a test is told.
func (t *trace) counts() map[string]interface{} {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	return map[string]interface{}{
		"firstIdBytes": t.firstIDBytes, "retries": t.retries, "used": len(t.used), "issued": len(t.issued),
	}
}
