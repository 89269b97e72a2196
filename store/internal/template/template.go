// Package template has the URLs of trackers, with macros such as {clickId}.
package template

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Macros returns the names of the macros. They are those of the wire.
func Macros() []string {
	return []string{
		"clickId", "subCampaign", "placement", "keyword", "sub2", "leadId", "status", "brand", "ftdDate", "event",
		"eventId",
	}
}

// macro matches a macro, known or not.
var macro = regexp.MustCompile(`\{[^{}]*\}`)

// Values has the value of each macro.
type Values map[string]string

// URL is a URL with macros in its path and its query.
type URL struct {
	Raw string
	// Origin is the scheme and the host. It has no secrets.
	Origin string
	// Host is the host name in lower case, without a port.
	Host string
	// Query has the parameters, with "x" for each macro.
	Query url.Values
}

// Parse parses a URL with macros. Its errors do not show the URL,
// because the URL may hold a key.
func Parse(raw string) (*URL, error) {
	for _, found := range macro.FindAllString(raw, -1) {
		if !slices.Contains(Macros(), found[1:len(found)-1]) {
			return nil, unknownMacro(found)
		}
	}
	if raw == "" {
		return nil, errors.New("the url is missing")
	}
	plain := macro.ReplaceAllString(raw, "x")
	u, err := url.Parse(plain)
	switch {
	case strings.ContainsAny(plain, "{}"):
		return nil, errors.New("the url has an unbalanced { or }")
	case err != nil:
		return nil, errors.New("the url cannot be parsed; percent-encode special characters")
	case u.User != nil:
		return nil, errors.New("the url must not have a user name or a password")
	case u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" ||
		!strings.HasPrefix(raw, u.Scheme+"://"+u.Host):
		return nil, errors.New("the url must begin with https:// and a host, without macros before the path")
	case u.Scheme == "http" && !IsLoopback(u.Hostname()):
		return nil, errors.New("the url must begin with https://; only a loopback host may have http://")
	case strings.Contains(plain, "#"):
		return nil, errors.New("the url must not have a fragment (#), because it is never sent")
	case strings.ContainsFunc(plain, func(r rune) bool { return r <= ' ' || r > '~' }):
		return nil, errors.New("the url must not have spaces or characters outside ASCII; percent-encode them")
	case hasDotSegment(plain):
		return nil, ErrDotSegment
	}
	return &URL{raw, u.Scheme + "://" + u.Host, strings.ToLower(u.Hostname()), u.Query()}, nil
}

func unknownMacro(found string) error {
	if !regexp.MustCompile(`^\{[A-Za-z_]{1,20}[0-9]?\}$`).MatchString(found) {
		found = "that is no name" // it may be a part of a key
	}
	name := strings.ReplaceAll(strings.Trim(found, "{}"), "_", "")
	for _, known := range Macros() {
		if strings.EqualFold(known, name) {
			return fmt.Errorf("the url has the unknown macro %s; did you mean {%s}?", found, known)
		}
	}
	return fmt.Errorf("the url has the unknown macro %s; the macros are %s", found, strings.Join(Macros(), ", "))
}

// ErrDotSegment is returned for a path that servers read as another path.
var ErrDotSegment = errors.New("the path of the url would have the segment \".\" or \"..\"")

func hasDotSegment(address string) bool {
	path, _, _ := strings.Cut(address, "?")
	return slices.ContainsFunc(strings.Split(path, "/"), func(s string) bool { return s == "." || s == ".." })
}

// Expand replaces the macros by their values. It percent-encodes everything
// but letters, digits and -_.~, which is right in the path and in the query.
func (u *URL) Expand(v Values) (string, error) {
	address := macro.ReplaceAllStringFunc(u.Raw, func(found string) string {
		return strings.ReplaceAll(url.QueryEscape(v[found[1:len(found)-1]]), "+", "%20")
	})
	if hasDotSegment(address) {
		return "", ErrDotSegment
	}
	return address, nil
}

// IsLoopback reports whether a host name is a name of this machine.
func IsLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback() || strings.EqualFold(host, "localhost")
}
