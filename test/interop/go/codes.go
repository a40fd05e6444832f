package main

import (
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/lucas-clemente/quic-go"
)

// codes are the numbers of SPEC.md, "Error codes", that travel.
var codes = map[string]uint32{
	"NoError": 0x00, "InternalError": 0x01, "ProtocolViolation": 0x02, "ChecksumMismatch": 0x03,
	"FrameTooLarge": 0x04, "UnsupportedCompression": 0x06, "FlowControlViolation": 0x07,
	"StreamLimitExceeded": 0x08, "IdleTimeout": 0x09, "ConnectTimeout": 0x0a, "ConnectFailed": 0x0b,
	"ConnectionLost": 0x0c, "ConnectionClosed": 0x0d, "GoingAway": 0x0e, "TransportUnavailable": 0x0f,
	"TlsFailure": 0x10, "ApplicationProtocolMismatch": 0x11, "ConnectionLimitExceeded": 0x12,
	"CertificateRequired": 0x40, "CertificateUntrusted": 0x41, "CertificateExpired": 0x42,
	"CertificateNotYetValid": 0x43, "CertificateNameMismatch": 0x44, "CertificateUsage": 0x45,
	"CertificateInvalid": 0x46, "CertificateRevoked": 0x47, "VersionUnsupported": 0x50,
	"ClusterMismatch": 0x51, "NodeIdMismatch": 0x52, "AuthTokenRejected": 0x53, "NonceReplayed": 0x54,
	"ClockSkew": 0x55, "HandshakeTimeout": 0x56, "HandshakeRequired": 0x57, "HandshakeRepeated": 0x58,
	"Cancelled": 0x80, "DeadlineExceeded": 0x81, "NoHandler": 0x82, "HandlerFailed": 0x83,
	"UnknownMessageType": 0x84, "Overloaded": 0x85, "MessageTooLarge": 0x86, "StreamReset": 0x87,
	"UnexpectedMessage": 0x88, "CapabilityMissing": 0x89, "MalformedMessage": 0x8a, "Unauthorized": 0x8b,
}

// names are the same, by number.
var names = func() map[uint32]string {
	byNumber := make(map[uint32]string, len(codes))
	for name, number := range codes {
		byNumber[number] = name
	}
	return byNumber
}()

// alerts are those of SPEC.md, "Alerts"; every other one is TlsFailure.
var alerts = map[uint64]string{
	42: "CertificateInvalid", 43: "CertificateUsage", 44: "CertificateRevoked", 45: "CertificateExpired",
	46: "CertificateInvalid", 48: "CertificateUntrusted", 80: "InternalError", 90: "ConnectFailed",
	116: "CertificateRequired", 120: "ApplicationProtocolMismatch",
}

// nameOf reads a code as SPEC.md, "Control frames", says of unknown ones.
func nameOf(number uint64, unknown string) string {
	if number <= 0xff {
		if name, ok := names[uint32(number)]; ok {
			return name
		}
	}
	return unknown
}

// where tells what a failure ends: see the second table of SPEC.md, "Error codes".
type where string

const (
	inError   where = "error"   // an error message: the call
	inReset   where = "reset"   // the reset of a stream: the call
	inRefusal where = "refusal" // a handshakeResponse: the connection
	inClose   where = "close"   // a close: the connection
	inAlert   where = "alert"   // TLS gave up: the connection
)

// failure is an error with a code of SPEC.md.
type failure struct {
	where  where
	code   string
	text   string
	remote bool
}

func (f *failure) Error() string {
	side := "this side"
	if f.remote {
		side = "the node"
	}
	return fmt.Sprintf("%s (%s of %s): %s", f.code, f.where, side, f.text)
}

// violation is what this side closes a connection with.
func violation(code, format string, args ...interface{}) *failure {
	return &failure{where: inClose, code: code, text: fmt.Sprintf(format, args...)}
}

// ofConnection reads how a connection ended: SPEC.md, "Closing". Other errors stay what they are.
func ofConnection(err error) error {
	var application *quic.ApplicationError
	var transport *quic.TransportError
	switch {
	case errors.As(err, &application):
		code := nameOf(uint64(application.ErrorCode), "ConnectionClosed")
		return &failure{where: inClose, code: code, text: application.ErrorMessage, remote: application.Remote}
	case errors.As(err, &transport) && transport.ErrorCode >= 0x100 && transport.ErrorCode < 0x200:
		alert := uint64(transport.ErrorCode - 0x100)
		code, ok := alerts[alert]
		if !ok {
			code = "TlsFailure"
		}
		text := fmt.Sprintf("alert %d: %s", alert, transport.ErrorMessage)
		return &failure{where: inAlert, code: code, text: text, remote: transport.Remote}
	case errors.As(err, new(*quic.StatelessResetError)), errors.As(err, new(*quic.IdleTimeoutError)):
		return &failure{where: inClose, code: "ConnectionLost", text: err.Error()}
	}
	return err
}

// isTimeout tells deadlines of this side from other ends of a read or write.
func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout() && !errors.As(err, new(*quic.IdleTimeoutError))
}

func isEnd(err error) bool { return errors.Is(err, io.EOF) }
