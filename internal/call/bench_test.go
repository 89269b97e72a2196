package call_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkDo measures what a call costs beside net/http.
func BenchmarkDo(b *testing.B) {
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		b.Run(method, func(b *testing.B) {
			caller := newCaller(status(http.StatusOK))
			request := newRequest(method, "https://acme.example/leads")
			if method == http.MethodPost {
				request.Body = []byte(`{"email":"allison.brown@example.com"}`)
			}
			b.ReportAllocs()
			for b.Loop() {
				o := caller.Do(b.Context(), request)
				require.Equal(b, http.StatusOK, o.Status)
			}
		})
	}
}
