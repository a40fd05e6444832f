package main

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"os"
	"strings"
	"time"
)

// The connection ID that a dialer begins with: SPEC.md, "Knocks".

const knockBytes = 20

// knockKey is HKDF with SHA-256 for one block: RFC 5869.
func knockKey(material []byte, salt, cluster string) []byte {
	return sha(sha([]byte(salt), material), []byte(cluster), []byte{1})
}

func sha(key []byte, parts ...[]byte) []byte {
	mac := hmac.New(sha256.New, key)
	for _, part := range parts {
		mac.Write(part)
	}
	return mac.Sum(nil)
}

// newKnock makes a knock at a node; without its id where nodeID is empty.
func newKnock(key []byte, nodeID string, now time.Time) []byte {
	knock := make([]byte, 8)
	_, err := rand.Read(knock)
	check(err)
	slot := uint64(now.Unix() / 30)
	knock[0] = knock[0]&0x1f | byte(slot%4)<<6
	if nodeID != "" {
		knock[0] |= 0x20
	}
	number := make([]byte, 8)
	binary.BigEndian.PutUint64(number, slot)
	mac := sha(key, knock, number, []byte{4}, []byte("quic"), []byte(strings.ToLower(nodeID)))
	return append(knock, mac[:12]...)
}

// knock is what this side knocks with, or not, as the flags say.
func (e *environment) knock() []byte {
	cluster, nodeID := e.cluster, e.nodeID
	if e.knockCluster != "" {
		cluster = e.knockCluster
	}
	now := time.Now()
	switch e.knocks {
	case "none":
		random := make([]byte, knockBytes)
		_, err := rand.Read(random)
		check(err)
		return random
	case "unnamed":
		nodeID = ""
	case "late":
		now = now.Add(-time.Minute)
	}
	if e.secret != "" {
		return newKnock(knockKey([]byte(e.secret), "quicmesh knock secret", cluster), nodeID, now)
	}
	return newKnock(knockKey(e.knockRoot(), "quicmesh knock ca", cluster), nodeID, now)
}

// knockRoot is the root that this side's chain ends in, or one that it trusts where it ends in none of them.
func (e *environment) knockRoot() []byte {
	if e.certificate != nil {
		leaf, intermediates := e.ownChain()
		for _, root := range e.rootCertificates {
			alone := x509.NewCertPool()
			alone.AddCert(root)
			_, err := leaf.Verify(x509.VerifyOptions{
				Roots: alone, Intermediates: intermediates, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
			})
			if err == nil {
				return root.Raw
			}
		}
	}
	return e.rootCertificates[0].Raw
}

func (e *environment) ownChain() (*x509.Certificate, *x509.CertPool) {
	leaf, err := x509.ParseCertificate(e.certificate.Certificate[0])
	check(err)
	intermediates := x509.NewCertPool()
	for _, der := range e.certificate.Certificate[1:] {
		certificate, err := x509.ParseCertificate(der)
		check(err)
		intermediates.AddCert(certificate)
	}
	return leaf, intermediates
}

func readCertificates(path string) []*x509.Certificate {
	rest, err := os.ReadFile(path)
	check(err)
	var certificates []*x509.Certificate
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return certificates
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		check(err)
		certificates = append(certificates, certificate)
	}
}

// knockIDs gives the knock first, and random connection IDs of the same length from then on.
type knockIDs struct{ knock []byte }

func (ids *knockIDs) GenerateConnectionID() ([]byte, error) {
	if knock := ids.knock; knock != nil {
		ids.knock = nil
		return knock, nil
	}
	random := make([]byte, knockBytes)
	_, err := rand.Read(random)
	return random, err
}

func (ids *knockIDs) ConnectionIDLen() int { return knockBytes }
