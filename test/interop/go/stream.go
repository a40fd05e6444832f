package main

import (
	"bufio"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/lucas-clemente/quic-go"
)

// noticePatience is how long a FIN without end bit waits for the notice that says why: SPEC.md, "QUIC".
const noticePatience = time.Second

// past is a deadline that ends what blocks.
var past = time.Unix(1, 0)

// stream is one call: SPEC.md, "Streams". One goroutine reads and one writes.
type stream struct {
	c      *connection
	quic   quic.Stream
	id     uint64
	isOwn  bool
	reader *bufio.Reader

	// reading and writing are held while somebody does.
	reading, writing sync.Mutex
	// lacking is what is not written yet of the frame under way.
	lacking []byte

	mutex              sync.Mutex
	sentEnd, foundEnd  bool
	abandoned          *failure
	wasAbandoned, over chan struct{}
}

func newStream(c *connection, opened quic.Stream, id uint64, isOwn bool) *stream {
	return &stream{
		c:            c,
		quic:         opened,
		id:           id,
		isOwn:        isOwn,
		reader:       bufio.NewReaderSize(opened, 64<<10),
		wasAbandoned: make(chan struct{}),
		over:         make(chan struct{}),
	}
}

// send writes a message, with the end bit on the last one.
func (s *stream) send(m message, end bool) error {
	f := frame{id: s.id, payload: m.encode()}
	if end {
		f.flags = withEnd
	}
	if s.c.rules().checksumRequired {
		f.flags |= withChecksum
	}
	return s.sendFrame(f)
}

// sendEnd is an end without a message.
func (s *stream) sendEnd() error {
	return s.sendFrame(frame{id: s.id, flags: withEnd | withChecksum})
}

func (s *stream) sendFrame(f frame) error {
	return s.write(f.encode(), f.has(withEnd))
}

// write sends bytes; FIN goes with the last of the frame that ends.
func (s *stream) write(bytes []byte, end bool) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if why := s.whyAbandoned(); why != nil {
		return why
	}
	s.lacking = bytes
	n, err := s.quic.Write(bytes)
	s.lacking = bytes[n:]
	if err != nil {
		return s.brokenBy(err)
	}
	if end {
		s.quic.Close()
		s.settle(func() { s.sentEnd = true })
	}
	return nil
}

// receive reads the next message. It returns io.EOF behind the end, and a *failure for a reset.
func (s *stream) receive() (message, error) {
	payload, flags, err := s.receivePayload()
	if err != nil {
		return nil, err
	}
	if with := flags & compressionMask; with != 0 {
		if payload, err = decompress(with, payload, s.c.rules().maxPayloadBytes); err != nil {
			return nil, err
		}
	}
	return decodeMessage(payload)
}

func (s *stream) receivePayload() ([]byte, uint16, error) {
	s.reading.Lock()
	defer s.reading.Unlock()
	if why := s.whyAbandoned(); why != nil {
		return nil, 0, why
	}
	if s.hasFoundEnd() {
		return nil, 0, io.EOF
	}
	f, err := readFrame(s.reader, s.c.rules())
	switch {
	case isEnd(err), errors.Is(err, io.ErrUnexpectedEOF):
		return nil, 0, s.endedWithoutEnd()
	case err != nil:
		return nil, 0, s.brokenBy(err)
	case f.id != s.id:
		return nil, 0, s.brokenBy(violation("ProtocolViolation", "id %d on the stream of %d", f.id, s.id))
	case f.has(withReset):
		return nil, 0, s.brokenBy(violation("ProtocolViolation", "a reset frame on the stream of %d", s.id))
	}
	if f.has(withEnd) {
		// FIN goes with the last byte, and nothing comes between.
		if _, err := s.reader.ReadByte(); err == nil {
			return nil, 0, s.brokenBy(violation("ProtocolViolation", "bytes behind the end of %d", s.id))
		} else if !isEnd(err) {
			return nil, 0, s.brokenBy(err)
		}
		s.settle(func() { s.foundEnd = true })
		if len(f.payload) == 0 {
			return nil, 0, io.EOF
		}
	}
	return f.payload, f.flags, nil
}

// endedWithoutEnd is FIN without the end bit: a reset, of which the notice says more if it comes.
func (s *stream) endedWithoutEnd() error {
	select {
	case <-s.wasAbandoned:
	case <-time.After(noticePatience):
		go s.abandon(&failure{where: inReset, code: "StreamReset", text: "FIN without the end", remote: true})
		<-s.wasAbandoned
	}
	return s.whyAbandoned()
}

// brokenBy is what a failed read or write means.
func (s *stream) brokenBy(err error) error {
	var reset *quic.StreamError
	var failed *failure
	if why := s.whyAbandoned(); why != nil {
		return why
	} else if errors.As(err, &reset) {
		// RESET_STREAM and STOP_SENDING carry a code of the page.
		code := nameOf(uint64(reset.ErrorCode), "StreamReset")
		why := &failure{where: inReset, code: code, text: err.Error(), remote: true}
		go s.abandon(why)
		return why
	} else if errors.As(err, &failed) {
		s.c.violated(failed)
	}
	return ofConnection(err)
}

// reset abandons the stream in both directions, and tells the node by a notice on the control stream.
func (s *stream) reset(code, reason string) error {
	if err := s.c.control.sendFrame(frame{id: s.id, flags: withReset, payload: resetPayload(code, reason)}); err != nil {
		return err
	}
	s.abandon(&failure{where: inReset, code: code, text: reason})
	return nil
}

// abandon makes the stream over: what blocks fails, what still comes is dropped, and QUIC gets its end.
func (s *stream) abandon(why *failure) {
	s.mutex.Lock()
	if s.abandoned != nil || s.isOver() {
		s.mutex.Unlock()
		return
	}
	s.abandoned = why
	close(s.wasAbandoned)
	s.mutex.Unlock()
	s.quic.SetDeadline(past)
	s.finish()
	go s.drain()
	s.settle(func() {})
}

// finish ends this side's half with FIN after one more byte, the one that a frame lacks if it lacks only one.
func (s *stream) finish() {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mutex.Lock()
	sentEnd := s.sentEnd
	s.mutex.Unlock()
	if sentEnd {
		return
	}
	last := []byte{0}
	if len(s.lacking) == 1 {
		last = s.lacking
	}
	s.quic.SetWriteDeadline(time.Time{})
	s.quic.Write(last)
	s.quic.Close()
}

func (s *stream) drain() {
	s.reading.Lock()
	defer s.reading.Unlock()
	s.quic.SetReadDeadline(time.Time{})
	io.Copy(io.Discard, s.quic)
}

// settle changes the state, and drops the stream if it is over by that.
func (s *stream) settle(change func()) {
	s.mutex.Lock()
	wasOver := s.isOver()
	change()
	isOver := s.abandoned != nil || (s.sentEnd && s.foundEnd)
	if isOver && !wasOver {
		close(s.over)
	}
	s.mutex.Unlock()
	if isOver {
		s.c.forget(s)
	}
}

func (s *stream) isOver() bool {
	select {
	case <-s.over:
		return true
	default:
		return false
	}
}

func (s *stream) hasFoundEnd() bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.foundEnd
}

func (s *stream) whyAbandoned() *failure {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.abandoned
}
