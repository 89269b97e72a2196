package clixnow_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
)

// vaultError is an error of a token source.
type vaultError struct{ code int }

func (e *vaultError) Error() string { return fmt.Sprintf("the vault is sealed (%d)", e.code) }

// sourceClient returns a client that gets its tokens from a source.
func sourceClient(t *testing.T, baseURL string, source func(context.Context) (string, error),
	opts ...clixnow.Option,
) *clixnow.Client {
	t.Helper()
	opts = append([]clixnow.Option{clixnow.WithBaseURL(baseURL), quick, quickLooks, clixnow.WithTokenSource(source)},
		opts...)
	client, err := clixnow.NewClient("acme", "", opts...)
	require.NoError(t, err)
	t.Cleanup(client.CloseIdleConnections)
	return client
}

// failingAfter returns a source that returns the tokens in turn, and then an
// error.
func failingAfter(err error, tokens ...string) func(context.Context) (string, error) {
	asked := 0
	return func(context.Context) (string, error) {
		if asked++; asked > len(tokens) {
			return "", err
		}
		return tokens[asked-1], nil
	}
}

func TestTokenSourceThatFails(t *testing.T) {
	t.Parallel()
	requireVaultError := func(t *testing.T, err error) {
		t.Helper()
		var sealed *vaultError
		require.ErrorAs(t, err, &sealed)
		assert.Equal(t, 7, sealed.code)
		require.ErrorContains(t, err, "token source: the vault is sealed (7)")
	}
	start := func(t *testing.T, faults ...clixnowtest.Fault) *clixnowtest.Server {
		t.Helper()
		api := clixnowtest.NewServer(clixnowtest.WithToken(testToken))
		t.Cleanup(api.Close)
		api.Inject(faults...)
		return api
	}
	t.Run("before a create", func(t *testing.T) {
		t.Parallel()
		api := start(t)
		client := sourceClient(t, api.URL, failingAfter(&vaultError{7}))
		for _, register := range []func() error{
			func() error { _, err := client.CreateLead(t.Context(), vendorsLead()); return err },
			func() error { _, err := client.EnsureLead(t.Context(), vendorsLead()); return err },
		} {
			err := register()
			requireClass(t, clixnow.ErrNotSent, err)
			requireVaultError(t, err)
		}
		assert.Empty(t, api.Requests())
	})
	t.Run("before a search", func(t *testing.T) {
		t.Parallel()
		api := start(t)
		_, err := sourceClient(t, api.URL, failingAfter(&vaultError{7})).GetLead(t.Context(), 7)
		require.ErrorIs(t, err, clixnow.ErrNotSent)
		requireVaultError(t, err)
		assert.Empty(t, api.Requests())
	})
	t.Run("after a 429", func(t *testing.T) {
		t.Parallel()
		api := start(t, clixnowtest.Fault{Status: 429})
		_,
			err := sourceClient(t, api.URL, failingAfter(&vaultError{7}, testToken)).CreateLead(t.Context(),
			vendorsLead())
		requireClass(t, clixnow.ErrRateLimited, err)
		requireVaultError(t, err)
		assert.Len(t, api.Requests(), 1)
	})
	t.Run("after an attempt of unknown outcome", func(t *testing.T) {
		t.Parallel()
		api := start(t, clixnowtest.Fault{Status: 502})
		client := sourceClient(t, api.URL, failingAfter(&vaultError{7}, testToken), clixnow.WithLooks(0, 0))
		_, err := client.EnsureLead(t.Context(), vendorsLead())
		requireClass(t, clixnow.ErrOutcomeUnknown, err)
		requireVaultError(t, err)
		assert.Len(t, api.Requests(), 1)
	})
	t.Run("after a 401", func(t *testing.T) {
		t.Parallel()
		api := start(t)
		client := sourceClient(t, api.URL, failingAfter(&vaultError{7}, "old-token"))
		_, err := client.CreateLead(t.Context(), vendorsLead())
		requireClass(t, clixnow.ErrRefused, err)
		require.ErrorIs(t, err, clixnow.ErrUnauthorized, "the 401 stands")
		requireVaultError(t, err)
		assert.Len(t, api.Requests(), 1)
	})
	t.Run("because the context ends", func(t *testing.T) {
		t.Parallel()
		api := start(t)
		shutdown := errors.New("shutting down")
		ctx, cancel := context.WithCancelCause(t.Context())
		_, err := sourceClient(t, api.URL, func(ctx context.Context) (string, error) {
			cancel(shutdown)
			<-ctx.Done()
			return "", ctx.Err()
		}).CreateLead(ctx, vendorsLead())
		requireClass(t, clixnow.ErrNotSent, err)
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, err, shutdown)
		assert.Empty(t, api.Requests())
	})
}

func TestTokenSourceThatReturnsABadToken(t *testing.T) {
	t.Parallel()
	for name, token := range map[string]string{
		"empty": "", "a space": testToken + " x", "a line break": testToken + "\n",
		"a header": testToken + "\r\nX-Evil: 1",
		"a tab":    testToken + "\t", "a NUL": "\x00" + testToken, "not ASCII": testToken + "é",
		"not UTF-8": testToken + "\xff",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			api := clixnowtest.NewServer(clixnowtest.WithToken(testToken))
			t.Cleanup(api.Close)
			client := sourceClient(t, api.URL, sourceOf(token))
			_, err := client.CreateLead(t.Context(), vendorsLead())
			requireClass(t, clixnow.ErrNotSent, err)
			require.ErrorContains(t, err, "token")
			assert.NotContains(t, err.Error(), testToken)
			_, err = client.GetLead(t.Context(), 7)
			require.ErrorIs(t, err, clixnow.ErrNotSent)
			assert.Empty(t, api.Requests())

			_, err = sourceClient(t, api.URL, sourceOf("old-token", token)).CreateLead(t.Context(), vendorsLead())
			require.ErrorIs(t, err, clixnow.ErrUnauthorized, "the 401 stands")
			assert.NotContains(t, err.Error(), testToken)
		})
	}
}

func TestTokenRotation(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		attempts int
		source   []string
		faults   []clixnowtest.Fault
		// requests is the number of requests that arrive.
		requests int
		// is is what the error matches. nil means that the lead is registered.
		is error
		// told is the number of attempts in the error.
		told int
	}{
		{name: "the token is valid", source: []string{testToken}, requests: 1},
		{name: "a new token after a 401", source: []string{"old-token", testToken}, requests: 2},
		{
			name: "a new token beyond the last attempt", attempts: 1, source: []string{"old-token", testToken},
			requests: 2,
		},
		{name: "the same token", source: []string{"old-token"}, requests: 1, is: clixnow.ErrUnauthorized, told: 1},
		{
			name: "a new token that is refused too", source: []string{"old-token", "other-token", testToken},
			requests: 2, is: clixnow.ErrUnauthorized, told: 2,
		},
		{
			name: "a 429 after the new token", source: []string{"old-token", testToken},
			faults: []clixnowtest.Fault{{Status: 401}, {Status: 429}}, requests: 3,
		},
		{
			name: "a 429 after the new token, beyond the last attempt", attempts: 1,
			source: []string{"old-token", testToken}, faults: []clixnowtest.Fault{{Status: 401}, {Status: 429}},
			requests: 2, is: clixnow.ErrRateLimited, told: 2,
		},
		{
			name: "a 502 after the new token", source: []string{"old-token", testToken},
			faults: []clixnowtest.Fault{{Status: 401}, {Status: 502}}, requests: 2, is: clixnow.ErrOutcomeUnknown,
			told: 2,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			api := clixnowtest.NewServer(clixnowtest.WithToken(testToken))
			t.Cleanup(api.Close)
			api.Inject(test.faults...)
			client := sourceClient(t, api.URL, sourceOf(test.source...), clixnow.WithRetry(clixnow.RetryPolicy{
				MaxAttempts: test.attempts, MinBackoff: time.Millisecond, MaxBackoff: time.Millisecond,
			}))
			_, err := client.CreateLead(t.Context(), vendorsLead())
			assert.Len(t, api.Requests(), test.requests)
			if test.is == nil {
				require.NoError(t, err)
				assert.Len(t, api.Leads(), 1)
				return
			}
			requireOneClass(t, err)
			require.ErrorIs(t, err, test.is)
			var answered *clixnow.APIError
			require.ErrorAs(t, err, &answered)
			assert.Equal(t, test.told, answered.Attempts)
		})
	}
}

// EnsureLead counts POSTs against MaxAttempts. The one with a new token does
// not count.
func TestTokenRotationDuringEnsureLead(t *testing.T) {
	t.Parallel()
	api := clixnowtest.NewServer(clixnowtest.WithToken("first"))
	t.Cleanup(api.Close)
	api.Inject(clixnowtest.Fault{Method: "POST", Status: 401}, clixnowtest.Fault{Method: "POST", Status: 502})
	var current atomic.Value
	current.Store("first")
	asked := 0
	client := sourceClient(t, api.URL, func(context.Context) (string, error) {
		if asked++; asked == 2 { // after the 401
			api.SetToken("second")
			current.Store("second")
		}
		return current.Load().(string), nil
	}, clixnow.WithLooks(0), clixnow.WithRetry(clixnow.RetryPolicy{
		MaxAttempts: 2, MinBackoff: time.Millisecond, MaxBackoff: time.Millisecond,
	}))
	lead, err := client.EnsureLead(t.Context(), vendorsLead())
	require.NoError(t, err)
	assert.False(t, lead.Recovered)
	posts := 0
	for _, r := range api.Requests() {
		if r.Method == http.MethodPost {
			posts++
		}
	}
	assert.Equal(t, 3, posts, "401, 502, and the second one that counts")
}

func TestTokenRotationDuringAWalk(t *testing.T) {
	t.Parallel()
	for _, prefetch := range []int{0, 3} {
		api := clixnowtest.NewServer(clixnowtest.WithToken("token-0"))
		t.Cleanup(api.Close)
		api.AddLeads(make([]clixnow.Lead, 100)...)
		var current atomic.Value
		current.Store("token-0")
		client := sourceClient(t, api.URL,
			func(context.Context) (string, error) { return current.Load().(string), nil })
		n := 0
		for _, err := range client.SearchLeads(t.Context(), clixnow.SearchLeadsRequest{Count: 10, Prefetch: prefetch}) {
			require.NoError(t, err)
			if n++; n%25 == 0 { // the new token is there before the old one ends
				next := fmt.Sprintf("token-%d", n)
				current.Store(next)
				api.SetToken(next)
			}
		}
		assert.Equal(t, 100, n)
	}
}

// Every token that a call used is masked in its error.
func TestEveryTokenOfACallIsMasked(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var seen []string
	echo := func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, r.Header.Get("Authorization"))
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = fmt.Fprintf(w, `{"message":%q}`, fmt.Sprint(seen))
	}
	for _, send := range []func(*clixnow.Client) error{
		func(c *clixnow.Client) error { _, err := c.CreateLead(t.Context(), vendorsLead()); return err },
		func(c *clixnow.Client) error { _, err := c.GetLead(t.Context(), 7); return err },
	} {
		server := httptest.NewServer(http.HandlerFunc(echo))
		t.Cleanup(server.Close)
		err := send(sourceClient(t, server.URL, sourceOf("first-s3cret", "second-s3cret")))
		var answered *clixnow.APIError
		require.ErrorAs(t, err, &answered)
		for _, shown := range []string{err.Error(), answered.Message, fmt.Sprintf("%+v", answered)} {
			assert.NotContains(t, shown, "s3cret")
			assert.Contains(t, shown, "[hidden]")
		}
		assert.Len(t, seen, 2)
		seen = nil
	}
}

func TestTokenSourceErrorIsMasked(t *testing.T) {
	t.Parallel()
	client := sourceClient(t, "https://clixnow.example", func(context.Context) (string, error) {
		return testToken, errors.New("cannot store " + testToken)
	})
	_, err := client.CreateLead(t.Context(), vendorsLead())
	requireClass(t, clixnow.ErrNotSent, err)
	assert.NotContains(t, err.Error(), testToken)
	require.ErrorContains(t, err, "cannot store [hidden]")
}

func TestTokenSourceIsHiddenFromFmt(t *testing.T) {
	t.Parallel()
	client := sourceClient(t, "https://clixnow.example", sourceOf(testToken))
	type private struct{ client clixnow.Client }
	for _, value := range []any{client, *client, private{*client}, &private{*client}} {
		for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			assert.Empty(t, leaks(fmt.Sprintf(format, value)), format)
		}
	}
}

func TestTokenSourceThatPanics(t *testing.T) {
	t.Parallel()
	client := sourceClient(t, "https://clixnow.example", func(context.Context) (string, error) { panic("no vault") })
	assert.PanicsWithValue(t, "no vault", func() { _, _ = client.CreateLead(t.Context(), vendorsLead()) })
	assert.PanicsWithValue(t, "no vault", func() { _, _ = client.GetLead(t.Context(), 7) })
}

// A failure without a response tells the attempts if there were several. Every
// verb of fmt prints the same.
func TestTextOfALostConnection(t *testing.T) {
	t.Parallel()
	lost := roundTripper(func(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF })
	for attempts, told := range map[int]string{1: "", 2: " after 2 attempts"} {
		client := clientOf(t, "https://clixnow.example", clixnow.WithHTTPClient(&http.Client{Transport: lost}),
			clixnow.WithRetry(clixnow.RetryPolicy{MaxAttempts: attempts, MinBackoff: 1, MaxBackoff: 1}))
		_, err := client.GetLead(t.Context(), 7)
		want := "clixnow: acme: GET /api/system/v1/leads/search: unexpected EOF" + told
		require.EqualError(t, err, want)
		for _, format := range []string{"%v", "%+v", "%s"} {
			assert.Equal(t, want, fmt.Sprintf(format, err))
		}
	}
}

// The error of a response is the *APIError itself, so encoding/json stores it.
func TestErrorOfAResponseIsAnAPIError(t *testing.T) {
	t.Parallel()
	for _, status := range []int{400, 429} {
		client := newClient(t, answer(status, "", ""), clixnow.WithRetry(clixnow.RetryPolicy{MaxAttempts: 1}))
		_, err := client.CreateLead(t.Context(), vendorsLead())
		assert.IsType(t, &clixnow.APIError{}, err)
		_, err = client.GetLead(t.Context(), 7)
		assert.IsType(t, &clixnow.APIError{}, err)
	}
}

func TestWithRefusals(t *testing.T) {
	t.Parallel()
	errClosed := errors.New("closed on Sundays")
	const full = `{"message":"Daily cap reached for ` + testToken + `"}`
	tests := []struct {
		name   string
		status int
		body   string
		read   func(*clixnow.APIError) error
		// class is the class of the error.
		class error
		// called reports that the function is called.
		called bool
		// is and isNot are what the error matches and does not match.
		is, isNot []error
		// kept reports that the argument of the function matches what is in is.
		kept bool
	}{
		{
			name: "no capacity", status: 400, body: full, class: clixnow.ErrRefused, called: true,
			read: func(*clixnow.APIError) error { return clixnow.ErrNoCapacity },
			is:   []error{clixnow.ErrNoCapacity, clixnow.ErrBadRequest}, isNot: []error{clixnow.ErrDuplicateLead},
		},
		{
			name: "an error of the caller", status: 404, body: full, class: clixnow.ErrRefused, called: true,
			read: func(*clixnow.APIError) error { return fmt.Errorf("wrapped: %w", errClosed) },
			is:   []error{errClosed}, isNot: []error{clixnow.ErrNoCapacity},
		},
		{
			name: "nil leaves the known words", status: 400, body: `{"message":"Duplicate lead"}`,
			class: clixnow.ErrRefused, called: true, read: func(*clixnow.APIError) error { return nil },
			is: []error{clixnow.ErrDuplicateLead}, isNot: []error{clixnow.ErrNoCapacity}, kept: true,
		},
		{
			name: "another reason replaces the known words", status: 400, body: `{"message":"Duplicate lead"}`,
			class: clixnow.ErrRefused, called: true, read: func(*clixnow.APIError) error { return errClosed },
			is: []error{errClosed}, isNot: []error{clixnow.ErrDuplicateLead},
		},
		{
			name: "its argument", status: 409, body: `{"message":"Duplicate lead"}`, class: clixnow.ErrRefused,
			called: true, read: func(e *clixnow.APIError) error { return e },
		},
		{
			name: "a class", status: 400, body: full, class: clixnow.ErrRefused, called: true,
			read: func(*clixnow.APIError) error { return clixnow.ErrOutcomeUnknown },
		},
		{
			name: "all classes", status: 400, body: full, class: clixnow.ErrRefused, called: true,
			read: func(*clixnow.APIError) error {
				return errors.Join(clixnow.ErrNotSent, clixnow.ErrRateLimited, clixnow.ErrOutcomeUnknown,
					clixnow.ErrRefused)
			},
		},
		{
			name: "the argument is changed", status: 400, body: full, class: clixnow.ErrRefused, called: true,
			read: func(e *clixnow.APIError) error {
				e.StatusCode = 429
				return clixnow.ErrNoCapacity
			},
			is: []error{clixnow.ErrNoCapacity, clixnow.ErrBadRequest},
		},
		{name: "a redirect", status: 302, class: clixnow.ErrRefused, called: true, is: []error{clixnow.ErrRedirect}},
		{name: "a 401", status: 401, class: clixnow.ErrRefused, called: true, is: []error{clixnow.ErrUnauthorized}},

		{name: "a 429", status: 429, class: clixnow.ErrRateLimited},
		{name: "a 408", status: 408, class: clixnow.ErrOutcomeUnknown},
		{name: "a 460", status: 460, class: clixnow.ErrOutcomeUnknown},
		{name: "a 499", status: 499, class: clixnow.ErrOutcomeUnknown},
		{name: "a 303", status: 303, class: clixnow.ErrOutcomeUnknown},
		{name: "a 500", status: 500, class: clixnow.ErrOutcomeUnknown},
		{name: "an unreadable 200", status: 200, class: clixnow.ErrOutcomeUnknown},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			calls := 0
			var shown *clixnow.APIError
			client := newClient(t, answer(test.status, "application/json", test.body),
				clixnow.WithRefusals(func(e *clixnow.APIError) error {
					calls++
					shown = e
					assert.Equal(t, test.status, e.StatusCode)
					assert.Equal(t, "acme", e.Brand)
					assert.NotContains(t, e.Message, testToken, "it is masked")
					if test.read == nil {
						return nil
					}
					return test.read(e)
				}))
			_, err := client.CreateLead(t.Context(), vendorsLead())
			requireClass(t, test.class, err)
			assert.Equal(t, test.called, calls == 1)
			for _, target := range test.is {
				require.ErrorIs(t, err, target)
				assert.True(t, !test.kept || errors.Is(shown, target))
			}
			for _, target := range test.isNot {
				require.NotErrorIs(t, err, target)
			}
		})
	}
}

func TestWithRefusalsIsForCreates(t *testing.T) {
	t.Parallel()
	unexpected := clixnow.WithRefusals(func(*clixnow.APIError) error { panic("it is not a create") })
	client := newClient(t, answer(403, "", ""), unexpected)
	_, err := client.GetLead(t.Context(), 7)
	require.ErrorIs(t, err, clixnow.ErrForbidden)
	_, err = client.SearchLeadsPage(t.Context(), clixnow.SearchLeadsRequest{})
	require.ErrorIs(t, err, clixnow.ErrForbidden)
	_, err = client.CreateLead(t.Context(), clixnow.CreateLeadRequest{})
	require.ErrorIs(t, err, clixnow.ErrInvalidRequest, "nothing was sent")
	assert.PanicsWithValue(t, "it is not a create", func() {
		_, _ = client.CreateLead(t.Context(), vendorsLead())
	}, "a panic comes out of the call")
}

// A duplicate that the function recognises is a duplicate for EnsureLead too.
func TestWithRefusalsInEnsureLead(t *testing.T) {
	t.Parallel()
	api := clixnowtest.NewServer(clixnowtest.WithToken(testToken))
	t.Cleanup(api.Close)
	api.Inject(
		clixnowtest.Fault{Method: "POST", Drop: clixnowtest.DropBeforeHandling},
		clixnowtest.Fault{Method: "POST", HandleFirst: true, Status: 400, Body: `{"message":"schon bekannt"}`},
	)
	client := clientOf(t, api.URL, clixnow.WithLooks(0), clixnow.WithRefusals(func(e *clixnow.APIError) error {
		if e.Message == "schon bekannt" {
			return clixnow.ErrDuplicateLead
		}
		return nil
	}))
	lead, err := client.EnsureLead(t.Context(), vendorsLead())
	require.NoError(t, err)
	assert.True(t, lead.Recovered)
	assert.Equal(t, api.Leads()[0].ID, lead.LeadID)
}
