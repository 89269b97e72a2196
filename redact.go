package clixnow

import (
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/clixnow/clixnow-go/internal/wire"
)

// What fmt and slog show of the types that hold secrets. Methods are promoted
// to whoever embeds a type, so that EnsureLeadResponse needs its own, or its
// Recovered would be lost.

// hide keeps it visible that a secret is missing.
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

// The same structs without methods: fmt would call Format again.
type (
	plainRequest  CreateLeadRequest
	plainResponse CreateLeadResponse
	plainEnsured  struct {
		CreateLeadResponse plainResponse
		Recovered          bool
	}
	plainResult BulkResult
)

// Format prints the request without its password, and of Extra the keys alone.
func (r CreateLeadRequest) Format(state fmt.State, verb rune) {
	formatPlain(state, verb, plainRequest(r.redacted()))
}

// LogValue logs the request without its password, and of Extra the keys alone.
func (r CreateLeadRequest) LogValue() slog.Value {
	r = r.redacted()
	return logFields(requestFields(&r), slices.Sorted(maps.Keys(r.Extra)))
}

func (r CreateLeadRequest) redacted() CreateLeadRequest {
	r.Password, r.Extra = hide(r.Password), keysOnly(r.Extra)
	return r
}

// Format prints the response without its redirect URL, and of Extra the keys
// alone.
func (r CreateLeadResponse) Format(state fmt.State, verb rune) {
	formatPlain(state, verb, plainResponse(r.redacted()))
}

// LogValue logs the response without its redirect URL, and of Extra the keys
// alone.
func (r CreateLeadResponse) LogValue() slog.Value {
	r = r.redacted()
	return logFields(responseObject(&r).Fields, slices.Sorted(maps.Keys(r.Extra)))
}

func (r CreateLeadResponse) redacted() CreateLeadResponse {
	r.RedirectURL, r.Extra = hide(r.RedirectURL), keysOnly(r.Extra)
	return r
}

// Format prints the response without its redirect URL, and of Extra the keys
// alone.
func (r EnsureLeadResponse) Format(state fmt.State, verb rune) {
	formatPlain(state, verb, plainEnsured{plainResponse(r.redacted()), r.Recovered})
}

// LogValue logs the response without its redirect URL, and of Extra the keys
// alone.
func (r EnsureLeadResponse) LogValue() slog.Value {
	r.CreateLeadResponse = r.redacted()
	return logFields(ensuredObject(&r).Fields, slices.Sorted(maps.Keys(r.Extra)))
}

// Format prints the result without the secrets of its request and response.
func (r BulkResult) Format(state fmt.State, verb rune) { formatPlain(state, verb, plainResult(r)) }

// LogValue keeps slog's JSON handler from encoding the request and the response
// whole.
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

// logFields is a group of the fields that are set, under their names on the
// wire, and the keys of what comes beside them.
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

// textMask hides secrets, and lead data, in texts that a server sent or that
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

// secrets hides tokens and the password. Shorter ones are left, since they may
// be part of common words.
func (m *textMask) secrets(text string) string {
	const shortestToken, shortestPassword = 4, 8
	for _, token := range m.tokens {
		if len(token) >= shortestToken {
			text = maskSecret(text, token)
		}
	}
	if utf8.RuneCountInString(m.password) >= shortestPassword {
		text = maskSecret(text, m.password)
	}
	return text
}

// forLogs hides what secrets hides, and lead data.
func (m *textMask) forLogs(text string) string { return m.secrets(text) }

// maskSecret hides a secret as it is, and as %q prints it: so net/http quotes
// an answer that it cannot understand.
func maskSecret(text, secret string) string {
	quoted := strconv.Quote(secret)
	return strings.NewReplacer(secret, hidden, quoted[1:len(quoted)-1], hidden).Replace(text)
}

func formatError(err error, state fmt.State, verb rune) {
	_, _ = fmt.Fprintf(state, fmt.FormatString(state, verb), err.Error())
}

// Format prints what Error says, whatever the verb: neither Body nor Header
// belongs into a log.
func (e APIError) Format(state fmt.State, verb rune) { formatError(&e, state, verb) }

// LogValue logs what Error says.
func (e APIError) LogValue() slog.Value { return slog.StringValue(e.Error()) }
