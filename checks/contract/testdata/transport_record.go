package call

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
)

type unvalidatedKey struct{}

// WithUnvalidated notes whether the client was told not to judge what it sends.
func WithUnvalidated(ctx context.Context, unvalidated bool) context.Context {
	return context.WithValue(ctx, unvalidatedKey{}, unvalidated)
}

// roundTrip records each request before it goes to the network, or to what
// stands for it in a test.
func (c *Caller) roundTrip(req *http.Request, sent *Request) (*http.Response, error) {
	record := struct {
		Method, URL string
		Header      http.Header
		Body        []byte
		Unvalidated bool
	}{Method: req.Method, URL: req.URL.String(), Header: req.Header}
	record.Unvalidated, _ = req.Context().Value(unvalidatedKey{}).(bool)
	if req.GetBody != nil {
		body, err := req.GetBody()
		if err != nil {
			panic(err)
		}
		if record.Body, err = io.ReadAll(body); err != nil {
			panic(err)
		}
	}
	line, err := json.Marshal(record)
	if err != nil {
		panic(err)
	}
	file := filepath.Join(os.Getenv("CLIXNOW_CONTRACT_RECORD"), fmt.Sprintf("requests-%d", os.Getpid()))
	out, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	defer out.Close()
	if _, err := out.Write(append(line, '\n')); err != nil {
		panic(err)
	}
	return c.unrecordedRoundTrip(req, sent)
}
