package postback

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Macros are the macros of a URL, without their braces. They are the names that
// the wire uses.
var macros = []string{
	"clickId", "subCampaign", "placement", "keyword", "sub2", "leadId", "status", "brand", "ftdDate", "event", "eventId",
}

// values holds the value of each macro.
type values map[string]string

// template is a URL with macros.
type template struct {
	parts []part
	// origin is the scheme and the host. It has no secrets.
	origin string
	// host is the host name without a port.
	host string
}

// part is a literal text, followed by a macro if macro is not "".
type part struct {
	literal, macro string
	// inQuery means that the macro is in the query and not in the path.
	inQuery bool
}

// parseTemplate parses a URL with macros. Its errors do not show the URL,
// because the URL may hold a key.
func parseTemplate(raw string) (*template, error) {
	parts, plain, err := splitMacros(raw)
	if err != nil {
		return nil, err
	}
	// A letter takes the place of each macro. So the rest can be checked.
	u, err := url.Parse(plain)
	switch {
	case err != nil:
		return nil, errors.New("the url cannot be parsed; percent-encode special characters")
	case u.Scheme != "https" && u.Scheme != "http" || u.Opaque != "" || u.Hostname() == "":
		return nil, errors.New("the url must begin with https:// and a host")
	case u.User != nil:
		return nil, errors.New("the url must not have a user name or a password")
	case strings.Contains(plain, "#"):
		return nil, errors.New("the url must not have a fragment (#), because it is never sent")
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		return nil, errors.New("the url must begin with https://; only a loopback host may have http://")
	case strings.ContainsFunc(plain, func(r rune) bool { return r <= ' ' || r > '~' }):
		return nil, errors.New("the url must not have spaces or characters outside ASCII; percent-encode them")
	}
	if hasDotSegment(u.EscapedPath()) {
		return nil, errDotSegment
	}
	t := &template{parts: parts, origin: u.Scheme + "://" + u.Host, host: strings.ToLower(u.Hostname())}
	authority := len(u.Scheme) + len("://") + len(u.Host)
	if len(parts[0].literal) < authority || parts[0].macro != "" && len(parts[0].literal) == authority {
		return nil, errors.New("the url must not have a macro before the path")
	}
	inQuery := false
	for i := range parts {
		inQuery = inQuery || strings.Contains(parts[i].literal, "?")
		parts[i].inQuery = inQuery
	}
	return t, nil
}

// splitMacros returns the parts of raw, and raw with a letter for each macro.
func splitMacros(raw string) (parts []part, plain string, err error) {
	for rest := raw; ; {
		literal, after, found := strings.Cut(rest, "{")
		if strings.Contains(literal, "}") {
			return nil, "", errors.New("the url has a } without a {")
		}
		plain += literal
		if !found {
			return append(parts, part{literal: literal}), plain, nil
		}
		macro, after, found := strings.Cut(after, "}")
		switch {
		case !found || strings.Contains(macro, "{"):
			return nil, "", errors.New("the url has a { without a }")
		case !slices.Contains(macros, macro):
			return nil, "", unknownMacro(macro)
		}
		parts = append(parts, part{literal: literal, macro: macro})
		plain += "x"
		rest = after
	}
}

func unknownMacro(macro string) error {
	known := strings.Join(macros, ", ")
	if !regexp.MustCompile(`^[A-Za-z_]{1,20}[0-9]?$`).MatchString(macro) {
		return fmt.Errorf("the url has an unknown macro; the macros are %s", known)
	}
	return fmt.Errorf("the url has the unknown macro {%s}; the macros are %s", macro, known)
}

// queryKeys returns the names of the parameters in the query.
func (t *template) queryKeys() []string {
	var literal strings.Builder
	for _, p := range t.parts {
		literal.WriteString(p.literal)
		if p.macro != "" {
			literal.WriteString("{" + p.macro + "}")
		}
	}
	_, query, _ := strings.Cut(literal.String(), "?")
	var keys []string
	for pair := range strings.SplitSeq(query, "&") {
		key, _, _ := strings.Cut(pair, "=")
		if name, err := url.QueryUnescape(key); err == nil && key != "" {
			keys = append(keys, name)
		}
	}
	return keys
}

// errDotSegment is returned for a path that servers read as another path.
var errDotSegment = errors.New("the path of the url would have a segment . or ..")

func hasDotSegment(path string) bool {
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "." || segment == ".." {
			return true
		}
	}
	return false
}

// expand replaces the macros by escaped values.
func (t *template) expand(v values) (string, error) {
	var b strings.Builder
	for _, p := range t.parts {
		b.WriteString(p.literal)
		switch {
		case p.macro == "":
		case p.inQuery:
			b.WriteString(url.QueryEscape(v[p.macro]))
		default:
			b.WriteString(url.PathEscape(v[p.macro]))
		}
	}
	if path, _, _ := strings.Cut(strings.TrimPrefix(b.String(), t.origin), "?"); hasDotSegment(path) {
		return "", errDotSegment
	}
	return b.String(), nil
}
