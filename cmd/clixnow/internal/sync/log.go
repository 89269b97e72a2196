package sync

import (
	"context"
	"errors"
	"log/slog"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/app"
)

// handler adds to the error of a refused token where the token comes from.
type handler struct {
	slog.Handler
	// tokens has where the token of each brand comes from.
	tokens map[string]string
}

// Handle implements slog.Handler.
func (h *handler) Handle(ctx context.Context, record slog.Record) error {
	explained := slog.NewRecord(record.Time, record.Level, record.Message, record.PC)
	record.Attrs(func(attr slog.Attr) bool {
		explained.AddAttrs(h.explain(attr))
		return true
	})
	return h.Handler.Handle(ctx, explained)
}

// WithAttrs implements slog.Handler.
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &handler{h.Handler.WithAttrs(attrs), h.tokens}
}

func (h *handler) explain(attr slog.Attr) slog.Attr {
	err, _ := attr.Value.Any().(error)
	api, ok := errors.AsType[*clixnow.APIError](err)
	if !ok || clixnow.ReasonOf(err) != clixnow.ReasonAccess || h.tokens[api.Brand] == "" {
		return attr
	}
	return slog.String(attr.Key, app.Text(err)+"; the token comes from "+h.tokens[api.Brand])
}
