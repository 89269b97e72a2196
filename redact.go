package clixnow

import (
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/clixnow/clixnow-go/internal/wire"
)

// This file has what fmt and slog show of the types that hold secrets. Methods
// are promoted to a type that embeds another one. So EnsureLeadResponse needs
// its own, or its Recovered would be lost.

// hide returns "" for an empty secret, so that one can see that it is missing.
func hide(secret string) string {
	if secret == "" {
		return ""
	}
	return hidden
}

func keysOnly[V any](extra map[string]V) map[string]V {
	var none V
	extra = maps.Clone(extra)
	for name := range extra {
		extra[name] = none
	}
	return extra
}

// These are the same structs without methods. With methods, fmt would call
// Format again.
type (
	plainRequest  CreateLeadRequest
	plainResponse CreateLeadResponse
	plainEnsured  struct {
		CreateLeadResponse plainResponse
		Recovered          bool
	}
	plainResult BulkResult
)

// Format prints the request without its password. Of Extra it prints only the
// keys.
func (r CreateLeadRequest) Format(state fmt.State, verb rune) {
	formatPlain(state, verb, plainRequest(r.redacted()))
}

// LogValue logs the request without its password. Of Extra it logs only the
// keys.
func (r CreateLeadRequest) LogValue() slog.Value {
	r = r.redacted()
	return logFields(requestFields(&r), slices.Sorted(maps.Keys(r.Extra)))
}

func (r CreateLeadRequest) redacted() CreateLeadRequest {
	r.Password, r.Extra = hide(r.Password), keysOnly(r.Extra)
	return r
}

// Format prints the response without its redirect URL. Of Extra it prints only
// the keys.
func (r CreateLeadResponse) Format(state fmt.State, verb rune) {
	formatPlain(state, verb, plainResponse(r.redacted()))
}

// LogValue logs the response without its redirect URL. Of Extra it logs only
// the keys.
func (r CreateLeadResponse) LogValue() slog.Value {
	r = r.redacted()
	return logFields(responseObject(&r).Fields, slices.Sorted(maps.Keys(r.Extra)))
}

func (r CreateLeadResponse) redacted() CreateLeadResponse {
	r.RedirectURL, r.Extra = hide(r.RedirectURL), keysOnly(r.Extra)
	return r
}

// Format prints the response without its redirect URL. Of Extra it prints only
// the keys.
func (r EnsureLeadResponse) Format(state fmt.State, verb rune) {
	formatPlain(state, verb, plainEnsured{plainResponse(r.redacted()), r.Recovered})
}

// LogValue logs the response without its redirect URL. Of Extra it logs only
// the keys.
func (r EnsureLeadResponse) LogValue() slog.Value {
	r.CreateLeadResponse = r.redacted()
	return logFields(ensuredObject(&r).Fields, slices.Sorted(maps.Keys(r.Extra)))
}

// Format prints the result without the secrets of its request and response.
func (r BulkResult) Format(state fmt.State, verb rune) { formatPlain(state, verb, plainResult(r)) }

// LogValue logs the result without the secrets of its request and response.
func (r BulkResult) LogValue() slog.Value {
	attrs := []slog.Attr{slog.Int("index", r.Index), slog.Any("request", r.Request)}
	if r.Response != nil {
		attrs = append(attrs, slog.Any("response", r.Response))
	}
	if r.Err != nil {
		attrs = append(attrs, slog.String("error", r.Err.Error()))
	}
	return slog.GroupValue(attrs...)
}

func formatPlain(state fmt.State, verb rune, plain any) {
	_, _ = fmt.Fprintf(state, fmt.FormatString(state, verb), plain)
}

// logFields returns a group of the fields that are set, by their wire names,
// and of the keys of Extra.
func logFields(fields []wire.Field, extra []string) slog.Value {
	var attrs []slog.Attr
	for _, field := range fields {
		switch value := field.Value.(type) {
		case *string:
			if *value != "" {
				attrs = append(attrs, slog.String(field.Name, *value))
			}
		case *int64:
			attrs = append(attrs, slog.Int64(field.Name, *value))
		case *bool:
			attrs = append(attrs, slog.Bool(field.Name, *value))
		case *netip.Addr:
			if value.IsValid() {
				attrs = append(attrs, slog.String(field.Name, value.String()))
			}
		}
	}
	if len(extra) > 0 {
		attrs = append(attrs, slog.Any("extra", extra))
	}
	return slog.GroupValue(attrs...)
}

const hidden = "[hidden]"

// textMask hides secrets and lead data in texts that a server sent or that
// net/http made. It belongs to one call.
type textMask struct {
	// tokens are all tokens that the call used.
	tokens []string
	// The other fields are those of the lead. They are "" for a search.
	password, email, phone string
}

// newMask returns the mask of a call. req is the lead of a create, or nil.
func (c *Client) newMask(req *CreateLeadRequest) *textMask {
	m := &textMask{tokens: []string{c.token()}}
	if req != nil {
		m.password, m.email, m.phone = req.Password, req.Email, req.Phone
	}
	return m
}

// secrets hides tokens and the password, and cuts URLs.
func (m *textMask) secrets(text string) string {
	for _, s := range m.list() {
		text = hideAll(text, s)
	}
	return cutURLs(text)
}

// list returns the secrets, longer tokens first. A short secret is not hidden,
// because it may be part of a common word.
func (m *textMask) list() (secrets []secret) {
	const shortestToken, shortestPassword = 4, 8
	longestFirst := func(a, b string) int { return len(b) - len(a) }
	for _, token := range slices.SortedFunc(slices.Values(m.tokens), longestFirst) {
		secrets = append(secrets, secret{text: token, shortest: shortestToken})
	}
	return append(secrets, secret{text: m.password, shortest: shortestPassword})
}

// forLogs hides what secrets hides, and the email and the phone of the lead.
func (m *textMask) forLogs(text string) string {
	const shortestEmail, shortestPhone = 4, 5
	text = m.secrets(text)
	text = hideAll(text, secret{text: strings.TrimSpace(m.email), shortest: shortestEmail, anyCase: true})
	phone := strings.TrimSpace(m.phone)
	for _, form := range []string{phone, strings.TrimPrefix(phone, "+"), digits(phone)} {
		text = hideAll(text, secret{text: form, shortest: shortestPhone})
	}
	return text
}

// fields hides secrets in names and texts.
func (m *textMask) fields(fields map[string][]string) map[string][]string {
	masked := maps.Clone(fields)
	clear(masked)
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		hiddenName := m.name(name)
		for _, text := range fields[name] {
			masked[hiddenName] = append(masked[hiddenName], m.secrets(text))
		}
	}
	return masked
}

// name hides secrets in the name of a field. Package wire may have removed "$."
// from the name, and changed its case.
func (m *textMask) name(name string) string {
	for _, s := range m.list() {
		s.text, s.anyCase = strings.TrimPrefix(s.text, "$."), true
		name = hideAll(name, s)
	}
	return cutURLs(name)
}

// digits returns the digits of a phone, as a server may show it.
func digits(phone string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, phone)
}

// mask hides in e what the server repeats of the request. It first looks for
// the words of the sentinel errors, because the mask may hide them.
func (m *textMask) mask(e *APIError) {
	e.duplicate, e.country = e.Is(ErrDuplicateLead), e.Is(ErrCountryNotAllowed)
	e.Message, e.Fields, e.RequestID = m.secrets(e.Message), m.fields(e.Fields), m.secrets(e.RequestID)
	e.mask = m.forLogs
}

func formatError(err error, state fmt.State, verb rune) {
	_, _ = fmt.Fprintf(state, fmt.FormatString(state, verb), err.Error())
}

// Format prints what Error returns, for every verb. It never prints Body or
// Header.
func (e APIError) Format(state fmt.State, verb rune) { formatError(&e, state, verb) }

// LogValue logs what Error returns.
func (e APIError) LogValue() slog.Value { return slog.StringValue(e.Error()) }
