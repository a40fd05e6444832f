// A second implementation of the quicmesh wire protocol over QUIC, on an independent stack (quic-go), written from
// src/protocol/SPEC.md alone. It proves that the page is enough, and what a node does with a stack that is not its own.
//
// It runs one scenario against a node and prints lines of JSON: what it says on the way, and a verdict at the end. What
// it has to wait for, it is told by lines on its standard input.
//
// Debian: golang-go, golang-github-lucas-clemente-quic-go-dev, golang-github-fxamacker-cbor-dev,
// golang-github-pierrec-lz4-dev, golang-github-klauspost-compress-dev. To build:
//
//	GOPATH=/usr/share/gocode GO111MODULE=off go build -o /tmp/peer .
package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"time"
)

// environment is what a scenario is given.
type environment struct {
	target, nodeID, ownID, cluster string

	// How to knock: see knock.go.
	knocks, knockCluster, secret string
	rootCertificates             []*x509.Certificate

	roots       *x509.CertPool
	certificate *tls.Certificate
	sessions    *sessionCache
	// chain is the node's, as it was checked last.
	chain []*x509.Certificate

	// window bounds, if not 0, what the node may send ahead of this side, in all.
	window uint64
	trace  *trace

	// What the scenario is about; each says which of these it knows.
	kind, token  string
	bytes, count uint64

	input *bufio.Scanner
	start time.Time
}

// verdict is what ends a scenario early.
type verdict struct{ err error }

func fail(format string, args ...interface{}) { panic(verdict{fmt.Errorf(format, args...)}) }

func check(err error) {
	if err != nil {
		panic(verdict{err})
	}
}

// line prints one line of JSON.
func (e *environment) line(fields map[string]interface{}) {
	fields["ms"] = time.Since(e.start).Milliseconds()
	bytes, err := json.Marshal(fields)
	if err != nil {
		panic(err)
	}
	os.Stdout.Write(append(bytes, '\n'))
}

// say tells the test something.
func (e *environment) say(event string, value interface{}) {
	e.line(map[string]interface{}{"event": event, "value": value})
}

// hear waits for a line of the test's.
func (e *environment) hear() string {
	if !e.input.Scan() {
		fail("nobody is there any more")
	}
	return e.input.Text()
}

// connect dials and shakes hands.
func (e *environment) connect(options dialOptions) *connection {
	c, err := e.dial(options)
	check(err)
	check(c.shakeHands(e, e.handshakeRequest(c.own)))
	return c
}

// finish closes the connection in good order, and fails if the node broke a rule before.
func (e *environment) finish(c *connection) {
	c.mutex.Lock()
	broken := c.broken
	c.mutex.Unlock()
	check(broken)
	c.close(nil)
}

// sayFailure tells the test with what a scenario failed, as it should have.
func (e *environment) sayFailure(err error) {
	failed, ok := err.(*failure)
	if !ok {
		fail("%v has no code", err)
	}
	value := map[string]interface{}{
		"where": failed.where, "code": failed.code, "text": failed.text, "remote": failed.remote,
	}
	e.say("failed", value)
}

func main() {
	e := &environment{input: bufio.NewScanner(os.Stdin), sessions: newSessionCache(), trace: &trace{}, start: time.Now()}
	flag.StringVar(&e.target, "target", "", "host and port of the node")
	flag.StringVar(&e.nodeID, "node-id", "", "the node's id")
	flag.StringVar(&e.ownID, "own-id", "", "this side's node id")
	flag.StringVar(&e.cluster, "cluster", "", "")
	flag.StringVar(&e.knocks, "knocks", "", "unnamed, late or none; default: as SPEC.md says")
	flag.StringVar(&e.knockCluster, "knock-cluster", "", "of the knock, if another than that of the handshake")
	flag.StringVar(&e.secret, "secret", "", "what to knock by in place of the CA")
	ca := flag.String("ca", "", "PEM file")
	cert := flag.String("cert", "", "PEM file; none for no certificate")
	key := flag.String("key", "", "PEM file")
	flag.StringVar(&e.kind, "kind", "", "what kind of it the scenario is to try")
	flag.StringVar(&e.token, "token", "", "authToken of the handshake")
	flag.Uint64Var(&e.window, "window", 0, "bytes of the connection's window, and of each stream's")
	flag.Uint64Var(&e.bytes, "bytes", 0, "")
	flag.Uint64Var(&e.count, "count", 0, "")
	flag.Parse()
	scenario, ok := scenarios[flag.Arg(0)]
	if !ok {
		fmt.Fprintf(os.Stderr, "no scenario %q\n", flag.Arg(0))
		os.Exit(2)
	}
	defer func() {
		thrown := recover()
		early, ok := thrown.(verdict)
		if thrown != nil && !ok {
			panic(thrown)
		}
		result := map[string]interface{}{"ok": thrown == nil}
		if thrown != nil {
			result["error"] = early.err.Error()
		}
		e.line(result)
	}()
	e.roots = readRoots(*ca)
	e.rootCertificates = readCertificates(*ca)
	if *cert != "" {
		pair, err := tls.LoadX509KeyPair(*cert, *key)
		check(err)
		e.certificate = &pair
	}
	scenario(e)
}
