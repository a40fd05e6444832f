package main

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"time"

	"github.com/lucas-clemente/quic-go"
)

// patience is for everything that the node is waited for: longer than a busy machine takes.
const patience = 40 * time.Second

// connection is one QUIC connection to the node: SPEC.md, "QUIC".
type connection struct {
	quic    quic.Connection
	own     capabilities
	control *control
	// onCall serves a stream that the node opened, on a goroutine of its own. Set before the handshake.
	onCall func(*stream)

	mutex sync.Mutex
	// changed is told when streams are over, or the rules change.
	changed *sync.Cond
	agreed  *capabilities
	// openStreams are this side's own that are open, of at most as many as the node allows.
	openStreams, maxStreams uint64
	// opened counts this side's streams; nextOfNode is the id that the node's next one has.
	opened, nextOfNode uint64
	streams            map[uint64]*stream
	notices            map[uint64]*failure
	broken             error
}

// dialOptions are what a scenario changes about a connection.
type dialOptions struct {
	quic  quic.Config
	early bool
	// silent sends nothing by itself, so that it is for the node to keep the connection.
	silent bool
	onCall func(*stream)
	own    *capabilities
	alpn   string
	// patience is for the handshake of QUIC, if less than usual.
	patience time.Duration
}

func (e *environment) quicConfig(options dialOptions) *quic.Config {
	config := options.quic
	config.Versions = []quic.VersionNumber{quic.Version1}
	config.Tracer = e.trace
	if e.window > 0 {
		config.InitialStreamReceiveWindow, config.MaxStreamReceiveWindow = e.window, e.window
		config.InitialConnectionReceiveWindow, config.MaxConnectionReceiveWindow = e.window, e.window
	}
	// "Credit": a stream starts with 1 MiB, and the connection as a whole is no limit.
	if config.InitialStreamReceiveWindow == 0 {
		config.InitialStreamReceiveWindow = 1 << 20
		config.InitialConnectionReceiveWindow = 16 << 20
		config.MaxConnectionReceiveWindow = 1 << 30
	}
	if config.MaxIncomingStreams == 0 {
		config.MaxIncomingStreams = 1024
	}
	// The node's control stream, and no other.
	config.MaxIncomingUniStreams = 1
	config.HandshakeIdleTimeout = patience
	// A NAT forgets whom it hears nothing of, so a dialer that waits says something: "QUIC".
	if !options.silent {
		config.KeepAlivePeriod = time.Second
	}
	config.ConnectionIDGenerator = &knockIDs{e.knock()}
	return &config
}

// dial makes the QUIC connection and checks the node's certificate, but shakes no hands. With options.early it returns
// as soon as early data can be sent.
func (e *environment) dial(options dialOptions) (*connection, error) {
	address, err := net.ResolveUDPAddr("udp", e.target)
	check(err)
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	check(err)
	config := e.tlsConfig()
	if options.alpn != "" {
		config.NextProtos = []string{options.alpn}
	}
	wait := patience
	if options.patience > 0 {
		wait = options.patience
	}
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	var dialed quic.Connection
	if options.early {
		// "Early data": the checks on the certificate of the session come first.
		check(checkIdentity(e.chain, e.roots, e.nodeID))
		early, err := quic.DialEarlyContext(ctx, socket, address, e.nodeID, config, e.quicConfig(options))
		if err != nil {
			return nil, ofConnection(err)
		}
		return newConnection(early, options), nil
	}
	if dialed, err = quic.DialContext(ctx, socket, address, e.nodeID, config, e.quicConfig(options)); err != nil {
		return nil, ofConnection(err)
	}
	c := newConnection(dialed, options)
	return c, c.identify(e)
}

func newConnection(dialed quic.Connection, options dialOptions) *connection {
	c := &connection{
		quic:       dialed,
		own:        defaultCapabilities,
		onCall:     options.onCall,
		maxStreams: earlyStreams,
		nextOfNode: 2,
		streams:    map[uint64]*stream{},
		notices:    map[uint64]*failure{},
	}
	if options.own != nil {
		c.own = *options.own
	}
	c.changed = sync.NewCond(&c.mutex)
	c.control = newControl(c)
	go c.control.read()
	go c.acceptStreams()
	return c
}

// identify checks the certificate that the TLS handshake showed: SPEC.md, "Identity".
func (c *connection) identify(e *environment) error {
	chain := c.tls().PeerCertificates
	if err := checkIdentity(chain, e.roots, e.nodeID); err != nil {
		c.close(err)
		return err
	}
	e.chain = chain
	return nil
}

func (c *connection) tls() tls.ConnectionState { return c.quic.ConnectionState().TLS.ConnectionState }

// close ends the connection with the code of a failure, NoError without one: SPEC.md, "Closing".
func (c *connection) close(err error) {
	code, reason := "NoError", ""
	if failure, ok := err.(*failure); ok {
		code, reason = failure.code, failure.text
	} else if err != nil {
		code, reason = "InternalError", err.Error()
	}
	if len(reason) > maxReasonBytes {
		reason = reason[:maxReasonBytes]
	}
	c.quic.CloseWithError(quic.ApplicationErrorCode(codes[code]), reason)
}

// violated closes for what the node broke, and keeps it for the verdict.
func (c *connection) violated(err error) {
	c.mutex.Lock()
	if c.broken == nil {
		c.broken = err
	}
	c.mutex.Unlock()
	c.close(err)
}

// ended waits for the end of the connection and says what it was.
func (c *connection) ended() error {
	select {
	case <-c.quic.Context().Done():
	case <-time.After(patience):
		fail("the connection did not end")
	}
	// What it was is what any further use of it fails with.
	_, err := c.quic.OpenUniStream()
	return ofConnection(err)
}

// rules are those in force for what is read: SPEC.md, "Handshake", 3.
func (c *connection) rules() rules {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.agreed == nil {
		return rules{maxPayloadBytes: c.own.maxMessageBytes, checksumRequired: true}
	}
	compressions := map[uint16]bool{}
	for _, name := range c.agreed.compressions {
		compressions[bits[name]] = true
	}
	return rules{
		maxPayloadBytes:  c.agreed.maxMessageBytes,
		checksumRequired: c.agreed.checksum,
		compressions:     compressions,
	}
}

// agree puts an acceptance into force.
func (c *connection) agree(agreed capabilities) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.agreed, c.maxStreams = &agreed, agreed.maxStreams
	c.changed.Broadcast()
}

// open opens a stream of this side's, once the node allows one more: SPEC.md, "Stream limits".
func (c *connection) open() (*stream, error) {
	c.mutex.Lock()
	for c.openStreams >= c.maxStreams {
		c.changed.Wait()
	}
	c.openStreams += 1
	c.mutex.Unlock()
	ctx, cancel := context.WithTimeout(c.quic.Context(), patience)
	defer cancel()
	opened, err := c.quic.OpenStreamSync(ctx)
	if err != nil {
		return nil, ofConnection(err)
	}
	// "Message ids": client-initiated bidirectional stream 4n is 2n+1.
	return c.register(opened, uint64(opened.StreamID())/2+1, true), nil
}

// acceptStreams takes the streams that the node opens: 4n+1 is 2n+2.
func (c *connection) acceptStreams() {
	for {
		accepted, err := c.quic.AcceptStream(context.Background())
		if err != nil {
			return
		}
		s := c.register(accepted, uint64(accepted.StreamID())/2+2, false)
		if c.onCall == nil {
			c.violated(violation("UnexpectedMessage", "the node opened stream %d", s.id))
			return
		}
		go c.onCall(s)
	}
}

// register keeps a stream until it is over, and hands it the notice that came before it.
func (c *connection) register(opened quic.Stream, id uint64, isOwn bool) *stream {
	s := newStream(c, opened, id, isOwn)
	c.mutex.Lock()
	c.streams[id] = s
	notice := c.notices[id]
	delete(c.notices, id)
	if isOwn {
		c.opened += 1
	} else {
		c.nextOfNode = id + 2
	}
	c.mutex.Unlock()
	if notice != nil {
		s.abandon(notice)
	}
	return s
}

// noticed takes a reset frame of the node's control stream: SPEC.md, "QUIC".
func (c *connection) noticed(id uint64, notice *failure) {
	c.mutex.Lock()
	s := c.streams[id]
	// A notice may overtake its stream, which is one of the node's that has not come yet. Else the stream is over.
	if s == nil && id%2 == 0 && id >= c.nextOfNode {
		c.notices[id] = notice
	}
	c.mutex.Unlock()
	if s != nil {
		s.abandon(notice)
	}
}

// forget drops a stream that is over.
func (c *connection) forget(s *stream) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.streams[s.id] != s {
		return
	}
	delete(c.streams, s.id)
	if s.isOwn {
		c.openStreams -= 1
	}
	c.changed.Broadcast()
}
