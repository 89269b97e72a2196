package call

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
)

// net/http quotes a response that it cannot read: status lines, header names
// and values, GOAWAY texts. A server that echoes the request has the token and
// lead data there. So the text of an error is shown only as far as it is known
// to be safe.

// hiddenError shows a part of the text of its cause, which stays reachable.
type hiddenError struct {
	text  string
	cause error
}

func (e *hiddenError) Error() string { return e.text }

func (e *hiddenError) Unwrap() error { return e.cause }

// hideServerText hides the text of an error, except for the part that is known
// to hold nothing that a server sent.
func hideServerText(err error) error {
	text := safeText(err)
	if text == "" {
		text = fmt.Sprintf("an error of type %T (not shown, because it may quote the server)", err)
	}
	return withText(err, text)
}

// hideQuotes hides what follows the first quotation mark in the text of an
// error. It is for a RoundTripper of the program: its own texts are safe, but
// it may wrap an error of net/http.
func hideQuotes(err error) error {
	if safePrefix(err.Error()) != "" {
		return hideServerText(err)
	}
	text, _, _ := strings.Cut(err.Error(), `"`)
	return withText(err, text)
}

func withText(err error, text string) error {
	if text == err.Error() {
		return err
	}
	return &hiddenError{text: strings.TrimRight(text, ":;, "), cause: err}
}

// safeText returns the part of an error's text that is known to be safe. It is
// "" if nothing is.
func safeText(err error) string {
	if isSafe(err) {
		return err.Error()
	}
	text := err.Error()
	prefix := safePrefix(text)
	switch e := err.(type) { //nolint:errorlint // only this error, not what it wraps
	case *net.OpError: // it shows the operation and the addresses
		prefix = strings.TrimSuffix(text, ": "+e.Err.Error())
	case *url.Error: // it shows the URL between the two
		prefix, text = e.Op, e.Op+": "+e.Err.Error()
	}
	for _, inner := range wrapped(err) {
		shown := safeText(inner)
		switch {
		case shown == "":
		case prefix == "":
			return shown
		case text == prefix+": "+inner.Error():
			return prefix + ": " + shown
		}
	}
	return prefix
}

// wrapped returns the errors that err wraps directly.
func wrapped(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	if inner := errors.Unwrap(err); inner != nil {
		return []error{inner}
	}
	return nil
}

// isSafe reports whether the type of an error shows that its whole text is
// safe: the operating system, the resolver or the TLS handshake made it.
func isSafe(err error) bool {
	switch err.(type) { //nolint:errorlint // only this error, not what it wraps
	case *timeoutError, syscall.Errno, *os.SyscallError, *net.DNSError, tls.RecordHeaderError,
		x509.HostnameError, x509.UnknownAuthorityError, x509.CertificateInvalidError:
		return true
	}
	return false
}

// safePrefix returns the longest beginning of a text that consists of safe
// phrases.
func safePrefix(text string) string {
	rest := text
	for rest != "" {
		phrase := safePhrase(rest)
		if phrase == "" {
			break
		}
		rest = strings.TrimLeft(rest[len(phrase):], ":; ")
	}
	return strings.TrimRight(text[:len(text)-len(rest)], ":; ")
}

// safePhrase returns the longest safe phrase with which a text begins.
func safePhrase(text string) string {
	longest := ""
	offer := func(phrase string) {
		rest, ok := strings.CutPrefix(text, phrase)
		if ok && len(phrase) > len(longest) && (rest == "" || strings.ContainsAny(rest[:1], ":; ")) {
			longest = phrase
		}
	}
	for phrase := range strings.SplitSeq(safePhrases, "\n") {
		offer(phrase)
	}
	for status := 100; status < 600; status++ { // of a proxy that refuses CONNECT
		offer(http.StatusText(status))
	}
	if number, ok := strings.CutPrefix(text, "stream ID "); ok { // the client has chosen it
		offer(text[:len(text)-len(strings.TrimLeft(number, "0123456789"))])
	}
	return longest
}

// safePhrases are texts of the standard library that hold no value, one per
// line. The text of an error is shown up to the first part that is not here.
// Those that end in a colon are names of packages.
const safePhrases = `clixnow: the request was not sent
context canceled
context deadline exceeded
EOF
unexpected EOF
use of closed network connection
i/o timeout
operation was canceled
connection refused
connection reset by peer
broken pipe
no such host
no route to host
network is unreachable
net/http:
HTTP/1.x transport connection broken
Transport failed to read from server
TLS handshake timeout
timeout awaiting response headers
server response headers exceeded
server replied with more than declared Content-Length; truncated
response body closed early
request canceled
request canceled while waiting for connection
cannot rewind body after connection loss
invalid header
invalid header field name
invalid header field value
invalid method
write error
http:
server closed idle connection
idle connection timeout
CloseIdleConnections called
persistConn.readLoop exiting
server gave HTTP response to HTTPS client
read on closed response body
invalid Read on closed Body
unexpected EOF reading trailer
suspiciously long trailer after chunked body
message cannot contain multiple Content-Length headers
no Host in request URL
unsupported protocol scheme
unknown status code
malformed HTTP response
malformed HTTP status code
malformed HTTP version
malformed MIME header
malformed MIME header line
malformed MIME header initial line
missing colon
invalid Trailer key
bad trailer key
bad Content-Length
invalid empty Content-Length
unsupported transfer encoding
too many transfer encodings
too many 1xx informational responses
header line too long
chunked encoding contains too much non-data
malformed chunked encoding
chunked line ends with bare LF
invalid CR in chunked line
empty hex number for chunk length
invalid byte in chunk length
http chunk length too large
message too large
http2:
Transport received Server's graceful shutdown GOAWAY
Transport received GOAWAY from server
server sent GOAWAY and closed the connection
client conn is closed
client conn not usable
client conn could not be established
client connection force closed via ClientConn.Close
client connection lost
could not negotiate protocol mutually
closing connection with
canceling request
aborting request body write
response body closed
response header list larger than advertised limit
request header list larger than peer's advertised limit
frame too large
failed reading the frame payload
connection error
stream error
received from peer
NO_ERROR
PROTOCOL_ERROR
INTERNAL_ERROR
FLOW_CONTROL_ERROR
SETTINGS_TIMEOUT
STREAM_CLOSED
FRAME_SIZE_ERROR
REFUSED_STREAM
CANCEL
COMPRESSION_ERROR
CONNECT_ERROR
ENHANCE_YOUR_CALM
INADEQUATE_SECURITY
HTTP_1_1_REQUIRED
unknown error code
protocol error
headers after END_STREAM
malformed response from server
missing status pseudo header
malformed non-numeric status pseudo header
1xx informational response with END_STREAM flag
header list too large
invalid pseudo-header
duplicate pseudo-header
mix of request and response pseudo headers
pseudo header field after regular
hpack:
string too long
invalid Huffman-encoded data
decoding error
truncated headers
invalid encoding
gzip:
invalid checksum
flate:
corrupt input
io:
read/write on closed pipe
net/url:
invalid proxy address
invalid URL escape
invalid character
invalid control character in URL
invalid port
invalid userinfo
missing protocol scheme
first path segment in URL cannot contain colon
username/password authentication failed
no acceptable authentication methods
general SOCKS server failure
connection not allowed by ruleset
network unreachable
host unreachable
TTL expired
tls:
failed to verify certificate
failed to parse certificate from server
first record does not look like a TLS handshake
server selected unsupported protocol version
server selected unadvertised ALPN protocol
oversized record received
received unexpected handshake message
handshake failure
unexpected message
bad record MAC
bad certificate
unsupported certificate
revoked certificate
expired certificate
unknown certificate
unknown certificate authority
certificate required
illegal parameter
access denied
error decoding message
error decrypting message
protocol version not supported
insufficient security level
internal error
inappropriate fallback
user canceled
missing extension
unsupported extension
unrecognized name
no application protocol
encrypted client hello required`
