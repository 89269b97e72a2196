package call

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestDefaultTransport(t *testing.T) {
	t.Parallel()
	shared := http.DefaultTransport.(*http.Transport)
	before := shared.Clone()
	own, ok := defaultTransport().(*http.Transport)
	require.True(t, ok)
	assert.NotSame(t, shared, own)
	assert.Equal(t, 64, own.MaxIdleConnsPerHost)
	assert.Equal(t, 30*time.Second, own.IdleConnTimeout)
	assert.Equal(t, int64(1<<20), own.MaxResponseHeaderBytes)
	assert.NotNil(t, own.Proxy, "it reads the environment")
	assert.True(t, own.ForceAttemptHTTP2)
	assert.Equal(t, shared.TLSHandshakeTimeout, own.TLSHandshakeTimeout)
	assert.Equal(t, &http.HTTP2Config{SendPingTimeout: 10 * time.Second, PingTimeout: 10 * time.Second}, own.HTTP2)
	assert.Equal(t, before.HTTP2, shared.HTTP2)
	assert.Equal(t, before.MaxIdleConnsPerHost, shared.MaxIdleConnsPerHost, "http.DefaultTransport must not change")
	assert.Equal(t, before.IdleConnTimeout, shared.IdleConnTimeout)
}

func TestDefaultTransportOfAProgram(t *testing.T) { //nolint:paralleltest // it replaces http.DefaultTransport
	standard := http.DefaultTransport
	t.Cleanup(func() { http.DefaultTransport = standard })

	http.DefaultTransport = &http.Transport{
		MaxIdleConnsPerHost: 200, MaxResponseHeaderBytes: 7, HTTP2: &http.HTTP2Config{SendPingTimeout: 7},
	}
	own, ok := defaultTransport().(*http.Transport)
	require.True(t, ok)
	assert.Equal(t, 200, own.MaxIdleConnsPerHost, "it is more than ours")
	assert.Equal(t, int64(7), own.MaxResponseHeaderBytes)
	assert.Equal(t, &http.HTTP2Config{SendPingTimeout: 7, PingTimeout: 10 * time.Second}, own.HTTP2)

	http.DefaultTransport = &otherTransport{}
	assert.Same(t, http.DefaultTransport, defaultTransport())
}

type otherTransport struct{ http.RoundTripper }
