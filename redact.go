package clixnow

import (
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"

	"github.com/clixnow/clixnow-go/internal/wire"
)

// This file has what fmt and slog show of the types that hold secrets.
// EnsureLeadResponse embeds CreateLeadResponse. Without methods of its own it
// would use the embedded ones, and Recovered would not be shown.
//
// The methods are of values, so that values are hidden too. Go cannot call them
// on a nil pointer. For such a pointer, slog writes "LogValue panicked", and
// then the rest of the line.

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

func formatError(err error, state fmt.State, verb rune) {
	_, _ = fmt.Fprintf(state, fmt.FormatString(state, verb), err.Error())
}

// Format prints what Error returns, for every verb. It never prints Body or
// Header.
func (e APIError) Format(state fmt.State, verb rune) { formatError(&e, state, verb) }

// LogValue logs what Error returns.
func (e APIError) LogValue() slog.Value { return slog.StringValue(e.Error()) }
