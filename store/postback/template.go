package postback

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// macros are the names of the macros. They are those of the wire.
var macros = []string{
	"clickId", "subCampaign", "placement", "keyword", "sub2", "leadId", "status", "brand", "ftdDate", "event",
	"eventId",
}

// macro matches a macro, known or not.
var macro = regexp.MustCompile(`\{[^{}]*\}`)

// values has the value of each macro.
type values map[string]string

// template is a URL with macros in its path and its query.
type template struct {
	raw string
	// origin is the scheme and the host. It has no secrets.
	origin string
	// host is the host name in lower case, without a port.
	host string
	// query has the parameters, with "x" for each macro.
	query url.Values
}

// parseTemplate parses a URL with macros. Its errors do not show the URL,
// because the URL may hold a key.
func parseTemplate(raw string) (*template, error) {
	for _, found := range macro.FindAllString(raw, -1) {
		if !slices.Contains(macros, found[1:len(found)-1]) {
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
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		return nil, errors.New("the url must begin with https://; only a loopback host may have http://")
	case strings.Contains(plain, "#"):
		return nil, errors.New("the url must not have a fragment (#), because it is never sent")
	case strings.ContainsFunc(plain, func(r rune) bool { return r <= ' ' || r > '~' }):
		return nil, errors.New("the url must not have spaces or characters outside ASCII; percent-encode them")
	case hasDotSegment(plain):
		return nil, errDotSegment
	}
	return &template{raw, u.Scheme + "://" + u.Host, strings.ToLower(u.Hostname()), u.Query()}, nil
}

func unknownMacro(found string) error {
	if !regexp.MustCompile(`^\{[A-Za-z_]{1,20}[0-9]?\}$`).MatchString(found) {
		found = "that is no name" // it may be a part of a key
	}
	name := strings.ReplaceAll(strings.Trim(found, "{}"), "_", "")
	for _, known := range macros {
		if strings.EqualFold(known, name) {
			return fmt.Errorf("the url has the unknown macro %s; did you mean {%s}?", found, known)
		}
	}
	return fmt.Errorf("the url has the unknown macro %s; the macros are %s", found, strings.Join(macros, ", "))
}

// errDotSegment is returned for a path that servers read as another path.
var errDotSegment = errors.New("the path of the url would have the segment \".\" or \"..\"")

func hasDotSegment(address string) bool {
	path, _, _ := strings.Cut(address, "?")
	return slices.ContainsFunc(strings.Split(path, "/"), func(s string) bool { return s == "." || s == ".." })
}

// expand replaces the macros by their values. It percent-encodes everything
// but letters, digits and -_.~, which is right in the path and in the query.
func (t *template) expand(v values) (string, error) {
	address := macro.ReplaceAllStringFunc(t.raw, func(found string) string {
		return strings.ReplaceAll(url.QueryEscape(v[found[1:len(found)-1]]), "+", "%20")
	})
	if hasDotSegment(address) {
		return "", errDotSegment
	}
	return address, nil
}
