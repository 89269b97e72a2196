package gateway

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"
)

// limiter allows one log line for each key in a time. It knows at most a
// hundred keys, because visitors can invent them.
type limiter struct {
	// every is that time. It must be positive.
	every time.Duration
	mutex sync.Mutex
	last  map[string]time.Time
}

// allows reports whether a line about a key may be logged now.
func (l *limiter) allows(key string) bool {
	const most = 100
	l.mutex.Lock()
	defer l.mutex.Unlock()
	maps.DeleteFunc(l.last, func(_ string, last time.Time) bool { return time.Since(last) > l.every })
	if _, found := l.last[key]; found || len(l.last) >= most {
		return false
	}
	if l.last == nil {
		l.last = make(map[string]time.Time)
	}
	l.last[key] = time.Now()
	return true
}

// fewErrors is a handler that drops an error whose message was logged a moment
// ago. While the database fails, each request has such an error.
type fewErrors struct {
	slog.Handler

	limiter *limiter
}

func newFewErrors(log *slog.Logger) *slog.Logger {
	const moment = 10 * time.Second
	return slog.New(fewErrors{log.Handler(), &limiter{every: moment}})
}

// Handle writes a record, unless it is dropped.
func (h fewErrors) Handle(ctx context.Context, record slog.Record) error {
	if record.Level >= slog.LevelError && !h.limiter.allows(record.Message) {
		return nil
	}
	return h.Handler.Handle(ctx, record)
}

// WithAttrs returns a handler with the same limit.
func (h fewErrors) WithAttrs(attrs []slog.Attr) slog.Handler {
	return fewErrors{h.Handler.WithAttrs(attrs), h.limiter}
}

// WithGroup returns a handler with the same limit.
func (h fewErrors) WithGroup(name string) slog.Handler {
	return fewErrors{h.Handler.WithGroup(name), h.limiter}
}
