package main

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"strings"
	"time"
)

// SPEC.md, "Transports".
const alpn = "quicmesh/1"

// tlsConfig is TLS 1.3 with a certificate. The node's is checked after the handshake, by checkIdentity.
func (e *environment) tlsConfig() *tls.Config {
	config := &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: []string{alpn},
		ServerName: e.nodeID,
		// The checks of Go are replaced by those of the page, which hold after a resumption as well.
		InsecureSkipVerify: true,
		ClientSessionCache: e.sessions,
	}
	if e.certificate != nil {
		config.Certificates = []tls.Certificate{*e.certificate}
	}
	return config
}

// checkIdentity makes a dialer's checks of SPEC.md, "Identity".
func checkIdentity(chain []*x509.Certificate, roots *x509.CertPool, nodeID string) error {
	if len(chain) == 0 {
		return violation("CertificateRequired", "the node sent no certificate")
	}
	intermediates := x509.NewCertPool()
	for _, certificate := range chain[1:] {
		intermediates.AddCert(certificate)
	}
	now := time.Now()
	for _, certificate := range chain {
		if now.Before(certificate.NotBefore) {
			return violation("CertificateNotYetValid", "%s", certificate.NotBefore)
		}
		if now.After(certificate.NotAfter) {
			return violation("CertificateExpired", "%s", certificate.NotAfter)
		}
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots:         roots,
		Intermediates: intermediates,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if invalid, ok := err.(x509.CertificateInvalidError); ok && invalid.Reason == x509.IncompatibleUsage {
		return violation("CertificateUsage", "%s", err)
	} else if err != nil {
		return violation("CertificateUntrusted", "%s", err)
	}
	if !namesNode(chain[0], nodeID) {
		return violation("CertificateNameMismatch", "%v does not name %s", chain[0].DNSNames, nodeID)
	}
	return nil
}

// namesNode holds a node id against the names of type dNSName: exactly, but for the case.
func namesNode(certificate *x509.Certificate, nodeID string) bool {
	for _, name := range certificate.DNSNames {
		if strings.EqualFold(name, nodeID) {
			return true
		}
	}
	return false
}

func readRoots(path string) *x509.CertPool {
	pem, err := os.ReadFile(path)
	check(err)
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		fail("no CA in %s", path)
	}
	return roots
}

// sessionCache resumes a session once: SPEC.md, "Early data".
type sessionCache struct{ sessions chan *tls.ClientSessionState }

func newSessionCache() *sessionCache {
	return &sessionCache{sessions: make(chan *tls.ClientSessionState, 16)}
}

func (c *sessionCache) Get(string) (*tls.ClientSessionState, bool) {
	select {
	case session := <-c.sessions:
		return session, true
	default:
		return nil, false
	}
}

func (c *sessionCache) Put(_ string, session *tls.ClientSessionState) {
	if session == nil {
		return
	}
	select {
	case c.sessions <- session:
	default:
	}
}
