package clixnowtest_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
)

type (
	fault  = clixnowtest.Fault
	server = clixnowtest.Server
)

func TestFaultStrikesCreate(t *testing.T) {
	t.Parallel()
	// cut is the status of a request without a response.
	const cut = 0
	tests := []struct {
		name   string
		fault  fault
		status int
		leads  int
	}{
		{"no effect", fault{}, 200, 1},
		{"other method", fault{Method: "GET", Status: 500}, 200, 1},
		{"status", fault{Status: 502}, 502, 0},
		{"handled, status", fault{Status: 502, HandleFirst: true}, 502, 1},
		{"cut before", fault{Drop: clixnowtest.DropBeforeHandling}, cut, 0},
		{"cut after", fault{Drop: clixnowtest.DropAfterHandling}, cut, 1},
		{"handled, cut before", fault{Drop: clixnowtest.DropBeforeHandling, HandleFirst: true}, cut, 1},
		{"handled, cut after", fault{Drop: clixnowtest.DropAfterHandling, HandleFirst: true}, cut, 1},
		{"cut before wins over status", fault{Drop: clixnowtest.DropBeforeHandling, Status: 502}, cut, 0},
		{"cut after wins over status", fault{Drop: clixnowtest.DropAfterHandling, Status: 502}, cut, 1},
		{"delay", fault{Delay: time.Millisecond}, 200, 1},
		{"delay, status", fault{Delay: time.Millisecond, Status: 503}, 503, 0},
		{"delay, cut", fault{Delay: time.Millisecond, Drop: clixnowtest.DropBeforeHandling}, cut, 0},
		{"delay, cut after", fault{Delay: time.Millisecond, Drop: clixnowtest.DropAfterHandling}, cut, 1},
		{"handled, delay", fault{HandleFirst: true, Delay: time.Millisecond}, 200, 1},
		{"switching protocols", fault{Status: 101}, 101, 0},
		{"redirect", fault{Status: 303, Header: http.Header{"Location": {"/elsewhere"}}}, 303, 0},
		{"no content", fault{Status: 204}, 204, 0},
		{"unknown status", fault{Status: 799}, 799, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server := start(t)
			server.Inject(test.fault)
			r, err := trySend(t, server, http.MethodPost, leadsPath, allison, nil)
			if test.status == cut {
				require.ErrorContains(t, err, "EOF")
			} else {
				require.NoError(t, err)
			}
			assert.Equal(t, test.status, r.status)
			assert.Len(t, server.Leads(), test.leads)
			require.Len(t, server.Requests(), 1)
			assert.Equal(t, test.status, server.Requests()[0].Status)
			assert.Equal(t, allison, string(server.Requests()[0].Body))
		})
	}
}

func TestDropMidBody(t *testing.T) {
	t.Parallel()
	server := start(t)
	server.Inject(fault{Drop: clixnowtest.DropMidBody, Status: 502})
	r, err := trySend(t, server, http.MethodPost, leadsPath, allison, nil)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	assert.Equal(t, http.StatusOK, r.status, "Drop wins over Status")
	assert.Regexp(t, `^\{"leadId":123456,"redirectUrl":`, r.body)
	length, err := strconv.Atoi(r.header.Get("Content-Length"))
	require.NoError(t, err)
	assert.Len(t, r.body, length/2)
	assert.Len(t, server.Leads(), 1)
	assert.Zero(t, server.Requests()[0].Status)
}

func TestFaultsOrder(t *testing.T) {
	t.Parallel()
	server := start(t)
	server.Inject(
		fault{Method: "GET", Status: 500},
		fault{Method: "POST", Status: 501, Times: 2},
		// This fault lets two requests pass.
		fault{Times: 2},
		fault{Status: 502},
	)
	server.Inject(fault{Method: "GET", Status: 503})
	var statuses []int
	for _, method := range []string{"POST", "POST", "GET", "GET", "POST", "POST", "POST", "GET", "GET"} {
		target := map[string]string{"GET": searchPath, "POST": leadsPath}[method]
		statuses = append(statuses, send(t, server, method, target, allison, nil).status)
	}
	assert.Equal(t, []int{501, 501, 500, 200, 200, 502, 400, 503, 200}, statuses)
}

func TestFaultsStrikeBeforeTheToken(t *testing.T) {
	t.Parallel()
	server := start(t)
	server.Inject(fault{Status: 500}, fault{Status: 500, HandleFirst: true})
	noToken := http.Header{"Authorization": nil}
	assert.Equal(t, 500, send(t, server, http.MethodGet, "/elsewhere", "", noToken).status)
	assert.Equal(t, 500, send(t, server, http.MethodPost, leadsPath, allison, noToken).status)
	assert.Equal(t, 401, send(t, server, http.MethodPost, leadsPath, allison, noToken).status)
	assert.Empty(t, server.Leads())
}

func TestFaultsByEmail(t *testing.T) {
	t.Parallel()
	const allisons = "allison.brown@example.com"
	tests := []struct {
		name, method, target, body string
		fault                      fault
		strikes                    bool
	}{
		{"same email", "POST", leadsPath, allison, fault{Email: allisons}, true},
		{"other case", "POST", leadsPath, allison, fault{Email: "Allison.Brown@EXAMPLE.com"}, true},
		{"name in other case", "POST", leadsPath, `{"EMAIL":"` + allisons + `"}`, fault{Email: allisons}, true},
		{"and method", "POST", leadsPath, allison, fault{Email: allisons, Method: "POST"}, true},
		{
			"wrong type in another field", "POST", leadsPath, `{"phone":7,"email":"` + allisons + `"}`,
			fault{Email: allisons},
			true,
		},
		{"other email", "POST", leadsPath, allison, fault{Email: "brown@example.com"}, false},
		{"other method", "POST", leadsPath, allison, fault{Email: allisons, Method: "GET"}, false},
		{"not JSON", "POST", leadsPath, allison + "}", fault{Email: allisons}, false},
		{"not an object", "POST", leadsPath, `"` + allisons + `"`, fault{Email: allisons}, false},
		{"no email", "POST", leadsPath, `{}`, fault{Email: allisons}, false},
		{"empty body", "POST", leadsPath, "", fault{Email: allisons}, false},
		{"other path", "POST", searchPath, allison, fault{Email: allisons}, false},
		{"search", "GET", searchPath + "?email=" + allisons, "", fault{Email: allisons}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server := start(t)
			test.fault.Status = http.StatusTeapot
			server.Inject(test.fault)
			r := send(t, server, test.method, test.target, test.body, nil)
			assert.Equal(t, test.strikes, r.status == http.StatusTeapot, r.status)
			assert.Equal(t, test.strikes, len(server.Faults()) == 0)
		})
	}
}

func TestFirstMatchingFaultStrikes(t *testing.T) {
	t.Parallel()
	server := start(t)
	server.Inject(
		fault{Email: "bruno@example.com", Times: 2, Status: 501},
		fault{Method: "GET", Status: 502},
		fault{Status: 503},
		fault{Email: "allison.brown@example.com", Status: 504},
	)
	var statuses []int
	for _, email := range []string{"allison.brown", "bruno", "allison.brown", "Bruno", "bruno"} {
		statuses = append(statuses, create(t, server, allisonWith("allison.brown", email)).status)
	}
	assert.Equal(t, []int{503, 501, 504, 501, 200}, statuses)
	assert.Equal(t, []fault{{Method: "GET", Times: 1, Status: 502}}, server.Faults())
}

func TestInjectCopiesHeader(t *testing.T) {
	t.Parallel()
	server := start(t)
	header := http.Header{"Retry-After": {"1"}, "X-Kept": {"kept"}}
	server.Inject(fault{Status: 429, Header: header})
	header.Set("Retry-After", "9")
	header["X-Kept"][0] = "changed"
	header.Set("X-New", "new")
	r := search(t, server, "")
	assert.Equal(t, "1", r.header.Get("Retry-After"))
	assert.Equal(t, "kept", r.header.Get("X-Kept"))
	assert.Empty(t, r.header.Get("X-New"))
}

func TestFaultAnswers(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name        string
		fault       fault
		contentType []string
	}{
		{"JSON", fault{Body: `{"message":"Country not allowed for country XX"}`}, []string{"application/json"}},
		{"JSON text", fault{Body: `"oops"`}, []string{"application/json"}},
		{"truncated JSON", fault{Body: `{"message":`}, []string{"text/plain; charset=utf-8"}},
		{"HTML", fault{Body: "\n<html><h1>502</h1></html>"}, []string{"text/html; charset=utf-8"}},
		{"text", fault{Body: "upstream connect error"}, []string{"text/plain; charset=utf-8"}},
		{"empty", fault{}, nil},
		{
			"content type of the fault",
			fault{Body: `{}`, Header: http.Header{"content-type": {"application/problem+json"}}},
			[]string{"application/problem+json"},
		},
		{"content type removed", fault{Body: `{}`, Header: http.Header{"Content-Type": nil}}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			clock := newClock("2021-08-08T12:00:00Z")
			server := start(t, clixnowtest.WithClock(clock.now))
			test.fault.Status = http.StatusForbidden
			server.Inject(test.fault)
			r := search(t, server, "")
			assert.Equal(t, http.StatusForbidden, r.status)
			assert.Equal(t, test.fault.Body, r.body)
			assert.Equal(t, test.contentType, r.header.Values("Content-Type"))
			assert.Equal(t, "Sun, 08 Aug 2021 12:00:00 GMT", r.header.Get("Date"))
		})
	}
	t.Run("header", func(t *testing.T) {
		t.Parallel()
		server := start(t)
		server.Inject(fault{
			Status: 429,
			Header: http.Header{"retry-after": {"7"}, "Date": {"Mon, 09 Aug 2021 12:00:00 GMT"}},
		})
		r := search(t, server, "")
		assert.Equal(t, "7", r.header.Get("Retry-After"))
		assert.Equal(t, []string{"Mon, 09 Aug 2021 12:00:00 GMT"}, r.header.Values("Date"))
	})
	t.Run("larger content length", func(t *testing.T) {
		t.Parallel()
		server := start(t)
		server.Inject(fault{Status: 200, Header: http.Header{"Content-Length": {"100"}}, Body: `[{"id":`})
		r, err := trySend(t, server, http.MethodGet, searchPath, "", nil)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		assert.Equal(t, `[{"id":`, r.body)
	})
}

func TestInjectRefusesStatus(t *testing.T) {
	t.Parallel()
	server := clixnowtest.NewHandler()
	for _, status := range []int{-1, 1, 99, 100, 103, 199, 1000} {
		assert.Panics(t, func() { server.Inject(fault{}, fault{Status: status}) }, status)
	}
	assert.NotPanics(t, func() { server.Inject(fault{Status: 101}, fault{Status: 200}, fault{Status: 999}) })
}

// serve passes a create to a server without a listener. It returns the
// response, or the value of the panic that cuts the connection.
func serve(ctx context.Context, server *server) (recorder *httptest.ResponseRecorder, cut any) {
	request := httptest.NewRequestWithContext(ctx, http.MethodPost, leadsPath, strings.NewReader(allison))
	request.Header.Set("Authorization", "ApiToken "+server.Token)
	request.Header.Set("Content-Type", "application/json")
	recorder = httptest.NewRecorder()
	defer func() { cut = recover() }()
	server.ServeHTTP(recorder, request)
	return recorder, nil
}

func TestDelay(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		fault  fault
		status int
		// leads is the number of leads if the client goes away in the delay.
		leads int
	}{
		{"delay", fault{}, 200, 0},
		{"status", fault{Status: 503}, 503, 0},
		{"handled", fault{HandleFirst: true}, 200, 1},
		{"handled, status", fault{HandleFirst: true, Status: 502}, 502, 1},
		{"cut before", fault{Drop: clixnowtest.DropBeforeHandling}, 0, 0},
		{"cut after", fault{Drop: clixnowtest.DropAfterHandling}, 0, 0},
		{"handled, cut", fault{HandleFirst: true, Drop: clixnowtest.DropAfterHandling}, 0, 1},
	}
	for _, test := range tests {
		test.fault.Delay = time.Hour
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				server := clixnowtest.NewHandler()
				server.Inject(test.fault)
				begin := time.Now()
				recorder, cut := serve(t.Context(), server)
				assert.Equal(t, time.Hour, time.Since(begin))
				if test.status == 0 {
					assert.Equal(t, http.ErrAbortHandler, cut)
				} else {
					assert.Nil(t, cut)
					assert.Equal(t, test.status, recorder.Code)
				}
				assert.Equal(t, test.status, server.Requests()[0].Status)
			})
		})
		t.Run(test.name+", client goes away", func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				server := clixnowtest.NewHandler()
				server.Inject(test.fault)
				begin := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				_, cut := serve(ctx, server)
				assert.Equal(t, time.Minute, time.Since(begin))
				assert.Equal(t, http.ErrAbortHandler, cut)
				assert.Len(t, server.Leads(), test.leads)
				assert.Zero(t, server.Requests()[0].Status)
			})
		})
		t.Run(test.name+", server closes", func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				server := clixnowtest.NewHandler()
				server.Inject(test.fault)
				begin := time.Now()
				time.AfterFunc(time.Minute, server.Close)
				_, cut := serve(t.Context(), server)
				assert.Equal(t, time.Minute, time.Since(begin))
				assert.Equal(t, http.ErrAbortHandler, cut)
				assert.Len(t, server.Leads(), test.leads)
			})
		})
	}
}

// signal returns a clock and a channel that is closed at the first call of the
// clock. The server calls its clock when it handles a create.
func signal() (now func() time.Time, called <-chan struct{}) {
	channel := make(chan struct{})
	once := sync.OnceFunc(func() { close(channel) })
	return func() time.Time { once(); return time.Now() }, channel
}

func TestCloseEndsDelays(t *testing.T) {
	t.Parallel()
	now, arrived := signal()
	server := clixnowtest.NewServer(clixnowtest.WithClock(now))
	server.Inject(fault{HandleFirst: true, Delay: 24 * time.Hour})
	go func() {
		<-arrived
		server.Close()
	}()
	_, err := trySend(t, server, http.MethodPost, leadsPath, allison, nil)
	require.Error(t, err)
	server.Close()
	assert.Len(t, server.Leads(), 1)
	assert.Zero(t, server.Requests()[0].Status)
}

func TestCloseWaitsForRequests(t *testing.T) {
	t.Parallel()
	var (
		arrived, cut = make(chan struct{}), make(chan struct{})
		once         sync.Once
		handled      atomic.Bool
	)
	server := clixnowtest.NewServer(clixnowtest.WithClock(func() time.Time {
		// The server calls the clock in the middle of the create.
		once.Do(func() {
			close(arrived)
			<-cut
			handled.Store(true)
		})
		return time.Now()
	}))
	go func() {
		defer close(cut)
		_, err := trySend(t, server, http.MethodPost, leadsPath, allison, nil)
		assert.Error(t, err)
	}()
	<-arrived
	server.Close()
	assert.True(t, handled.Load())
}

func TestDelayEndsWhenClientGoesAway(t *testing.T) {
	t.Parallel()
	now, arrived := signal()
	handler := clixnowtest.NewHandler(clixnowtest.WithClock(now))
	handler.Inject(fault{HandleFirst: true, Delay: 24 * time.Hour})
	handled := make(chan struct{})
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(handled)
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	client, err := clixnow.NewClient(handler.Brand, handler.Token, clixnow.WithBaseURL(front.URL))
	require.NoError(t, err)
	t.Cleanup(client.CloseIdleConnections)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-arrived
		cancel()
	}()
	_, err = client.CreateLead(ctx, clixnow.CreateLeadRequest{
		FirstName: "Allison", LastName: "Brown", Email: "a@example.com", Phone: "+41123456789",
		Password: "Password123!", CountryCode: "CH",
	})
	require.ErrorIs(t, err, clixnow.ErrOutcomeUnknown)
	<-handled
	assert.Len(t, handler.Leads(), 1)
}

func TestDropsOverHTTP2(t *testing.T) {
	t.Parallel()
	handler := clixnowtest.NewHandler()
	front := httptest.NewUnstartedServer(handler)
	front.EnableHTTP2 = true
	front.StartTLS()
	t.Cleanup(front.Close)
	handler.Inject(
		fault{Drop: clixnowtest.DropBeforeHandling}, fault{Drop: clixnowtest.DropMidBody}, fault{},
	)
	post := func() (status int, err error) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, front.URL+leadsPath,
			strings.NewReader(allison))
		require.NoError(t, err)
		request.Header.Set("Authorization", "ApiToken "+handler.Token)
		request.Header.Set("Content-Type", "application/json")
		resp, err := front.Client().Do(request)
		if err != nil {
			return 0, err
		}
		defer func() { _ = resp.Body.Close() }()
		assert.Equal(t, 2, resp.ProtoMajor)
		_, err = io.ReadAll(resp.Body)
		return resp.StatusCode, err
	}
	_, err := post()
	require.Error(t, err)
	assert.Empty(t, handler.Leads())
	status, err := post()
	require.Error(t, err)
	assert.Equal(t, http.StatusOK, status)
	assert.Len(t, handler.Leads(), 1)
	status, err = post()
	require.NoError(t, err)
	assert.Equal(t, http.StatusBadRequest, status, "the second request registered the lead")
}

func TestWaitingFaults(t *testing.T) {
	t.Parallel()
	server := start(t)
	assert.Empty(t, server.Faults())
	server.Inject(
		fault{Method: "GET", Status: 429, Header: http.Header{"Retry-After": {"1"}}},
		fault{Status: 503, Times: 3},
	)
	require.Equal(t, 503, create(t, server, allison).status)
	want := []fault{
		{Method: "GET", Times: 1, Status: 429, Header: http.Header{"Retry-After": {"1"}}},
		{Status: 503, Times: 2},
	}
	assert.Equal(t, want, server.Faults())
	server.Faults()[0].Header.Set("Retry-After", "9")
	assert.Equal(t, want, server.Faults(), "the result is a copy")
	server.ClearFaults()
	assert.Empty(t, server.Faults())
	require.Equal(t, 200, create(t, server, allison).status)
}
