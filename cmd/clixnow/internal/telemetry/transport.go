package telemetry

import (
	"io"
	"net/http"
	"strings"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Transport records a span and the duration of each request that it sends by
// next. It does not record queries, because they may have emails and click ids.
func Transport(next http.RoundTripper, traces trace.TracerProvider, meters metric.MeterProvider) http.RoundTripper {
	return otelhttp.NewTransport(maskingTransport{next},
		otelhttp.WithTracerProvider(traces), otelhttp.WithMeterProvider(meters),
		// Trace ids are not sent to the API.
		otelhttp.WithPropagators(propagation.NewCompositeTextMapPropagator()))
}

// maskingTransport hides what otelhttp would export of the query. It also masks
// errors that quote the server's response, because a response may repeat the
// request, and otelhttp exports the error texts. errors.Is and errors.As still
// find the original error.
type maskingTransport struct{ next http.RoundTripper }

func (t maskingTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	// It replaces the value of otelhttp, which has the query.
	address := r.URL.Scheme + "://" + r.URL.Host + r.URL.EscapedPath()
	trace.SpanFromContext(r.Context()).SetAttributes(attribute.String("url.full", address))
	resp, err := t.next.RoundTrip(r)
	if err == nil {
		resp.Body = maskingBody{resp.Body}
	}
	return resp, mask(err)
}

type maskingBody struct{ io.ReadCloser }

func (b maskingBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	return n, mask(err)
}

// mask replaces the text of an error that has a quotation mark.
func mask(err error) error {
	if err != nil && strings.Contains(err.Error(), `"`) {
		return maskedError{err}
	}
	return err
}

type maskedError struct{ error }

func (maskedError) Error() string   { return "the response is not valid HTTP" }
func (e maskedError) Unwrap() error { return e.error }
