package postback

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/store/mirror"
)

// fakeTracker answers requests without a network, so that time can be faked.
type fakeTracker struct {
	mu     sync.Mutex
	answer answer
	times  []time.Time
}

// answer sets the status and the header of the response to a request.
type answer func(*http.Request, *http.Response)

func (f *fakeTracker) RoundTrip(r *http.Request) (*http.Response, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.times = append(f.times, time.Now())
	response := &http.Response{Header: make(http.Header), Body: http.NoBody, Request: r}
	f.answer(r, response)
	return response, nil
}

func (f *fakeTracker) setAnswer(a answer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = a
}

// taken returns the times of the requests since the last call.
func (f *fakeTracker) taken() []time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	times := f.times
	f.times = nil
	return times
}

func respond(status int, retryAfter ...string) answer {
	return func(_ *http.Request, response *http.Response) {
		response.StatusCode = status
		if len(retryAfter) > 0 {
			response.Header.Set("Retry-After", retryAfter[0])
		}
	}
}

// logText collects log lines of several goroutines.
type logText struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logText) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(line)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// setup returns a running sender with a tracker in a bubble of synctest.
type setup struct {
	*Sender
	*fakeTracker
	t    *testing.T
	logs logText
}

func inBubble(t *testing.T, poll time.Duration, test func(*setup)) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "leads.db")
	synctest.Test(t, func(t *testing.T) {
		db, err := sql.Open("sqlite",
			"file:"+file+"?_txlock=immediate&_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)")
		require.NoError(t, err)
		db.SetMaxOpenConns(1)
		m, err := mirror.Open(t.Context(), db, mirror.SQLite)
		require.NoError(t, err)
		s := &setup{t: t, fakeTracker: &fakeTracker{answer: respond(200)}}
		s.Sender = s.sender(&s.logs, m)
		s.poll = poll
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		test(s)
		stop()
		require.NoError(t, <-done)
		require.NoError(t, db.Close())
		assert.NotContains(t, s.logs.String(), "SECRET")
		assert.NotContains(t, s.logs.String(), "click")
	})
}

// sender returns a sender that uses the tracker.
func (s *setup) sender(logs io.Writer, m *mirror.Mirror) *Sender {
	s.t.Helper()
	sender, err := New(s.t.Context(), m, Options{
		Destinations: []Destination{{Name: "a", URL: "https://a.example/SECRET?id={clickId}", Concurrency: 2}},
		Transport:    func(http.RoundTripper) http.RoundTripper { return s.fakeTracker },
		Logger:       slog.New(slog.NewTextHandler(logs, nil)),
	})
	require.NoError(s.t, err)
	return sender
}

// restarted runs another sender for some time, and returns its log.
func (s *setup) restarted(d time.Duration) string {
	s.t.Helper()
	var logs logText
	ctx, stop := context.WithTimeout(s.t.Context(), d)
	defer stop()
	require.NoError(s.t, s.sender(&logs, s.mirror).Run(ctx))
	return logs.String()
}

// deposit saves a new lead with a deposit.
func (s *setup) deposit(id int64) {
	s.t.Helper()
	now := time.Now()
	lead := clixnow.Lead{ID: id, ClickID: fmt.Sprint("click", id), CreatedOn: now, UpdatedOn: now, FTDDate: now}
	require.NoError(s.t, s.mirror.Transact(s.t.Context(), "test", func(ctx context.Context, tx *sql.Tx) error {
		_, err := s.mirror.Apply(ctx, tx, "acme", []clixnow.Lead{lead})
		return err
	}))
}

func (s *setup) exec(statement string) {
	s.t.Helper()
	_, err := s.mirror.DB().ExecContext(s.t.Context(), statement)
	require.NoError(s.t, err)
}

func (s *setup) health() Health {
	s.t.Helper()
	all, err := s.Health(s.t.Context())
	require.NoError(s.t, err)
	return all[0]
}

// givenUpLines returns the number of log lines about events that are given up,
// and the sum of the events in them.
func (s *setup) givenUpLines() (lines, events int) {
	s.t.Helper()
	all := regexp.MustCompile(`are given up.* events=(\d+)`).FindAllStringSubmatch(s.logs.String(), -1)
	for _, line := range all {
		number, err := strconv.Atoi(line[1])
		require.NoError(s.t, err)
		events += number
	}
	return len(all), events
}

// TestBackoff checks the waits between attempts, and that an event ends on the
// list after a day.
func TestBackoff(t *testing.T) {
	t.Parallel()
	const poll = 30 * time.Second
	for _, code := range []int{404, 503} {
		t.Run(strconv.Itoa(code), func(t *testing.T) {
			t.Parallel()
			inBubble(t, poll, func(s *setup) {
				s.setAnswer(respond(code))
				s.deposit(1)
				time.Sleep(30 * time.Hour)
				times := s.taken()
				wait := 5 * time.Second
				for i := 1; i < len(times); i++ {
					gap := times[i].Sub(times[i-1])
					assert.GreaterOrEqual(t, gap, wait/2, "attempt %d", i)
					assert.LessOrEqual(t, gap, wait+poll+time.Second, "attempt %d", i)
					wait = min(2*wait, time.Hour)
				}
				last := times[len(times)-1].Sub(times[0])
				assert.GreaterOrEqual(t, last, 24*time.Hour)
				assert.Less(t, last, 25*time.Hour+time.Minute)
				h := s.health()
				assert.Equal(t, []int64{0, 1}, []int64{h.Waiting, h.Failed})
				assert.LessOrEqual(t, strings.Count(s.logs.String(), "\n"), 30, "one line in an hour")
				lines, events := s.givenUpLines()
				assert.Equal(t, []int{1, 1}, []int{lines, events})
				assert.NotContains(t, s.logs.String(), " again\"")
				assert.True(t, h.Refusing, "nothing was ever accepted")

				s.setAnswer(respond(200))
				number, err := Retry(s.t.Context(), s.mirror, "a")
				require.NoError(t, err)
				assert.EqualValues(t, 1, number)
				time.Sleep(2 * time.Hour)
				assert.Len(t, s.taken(), 1)
				assert.Equal(t, Health{Name: "a", Sent: 1}, s.health())
				assert.Equal(t, 1, strings.Count(s.logs.String(), " again\""), "it works again")
			})
		})
	}
}

// TestBackoffJitter checks that a wait is shortened by up to a half.
func TestBackoffJitter(t *testing.T) {
	t.Parallel()
	least, most := time.Hour, time.Duration(0)
	for range 1000 {
		wait := backoff(1)
		least, most = min(least, wait), max(most, wait)
	}
	assert.GreaterOrEqual(t, least, 2500*time.Millisecond)
	assert.Less(t, least, 2750*time.Millisecond)
	assert.Greater(t, most, 4750*time.Millisecond)
	assert.Less(t, most, 5*time.Second)
}

// TestErrorOfOneDestination checks that an error of one destination ends the
// others, and is returned.
func TestErrorOfOneDestination(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &Sender{}
		for _, name := range []string{"works", "waits", "fails"} {
			d := compiled(t, Destination{Name: name, URL: "https://a.example/{clickId}"})
			s.destinations = append(s.destinations, d)
		}
		failure := errors.New("failure")
		assert.Equal(t, failure, s.each(t.Context(), func(ctx context.Context, d *destination) error {
			switch d.Name {
			case "works":
				return nil
			case "fails":
				return failure
			}
			<-ctx.Done()
			return ctx.Err()
		}))

		s.destinations = s.destinations[:1]
		var used context.Context
		require.NoError(t, s.each(t.Context(), func(ctx context.Context, _ *destination) error {
			used = ctx
			return nil
		}))
		assert.Error(t, used.Err(), "it is released before the context of the caller ends")
	})
}

// TestOutage checks a tracker that is down for some hours with many events, and
// one that is down for more than a day.
func TestOutage(t *testing.T) {
	t.Parallel()
	inBubble(t, 30*time.Second, func(s *setup) {
		s.setAnswer(respond(503))
		for id := range int64(100) {
			s.deposit(id)
		}
		time.Sleep(5 * time.Hour)
		assert.Less(t, len(s.taken()), 30, "the queue does not multiply the attempts")
		h := s.health()
		assert.EqualValues(t, 100, h.Waiting)
		assert.LessOrEqual(t, strings.Count(s.logs.String(), "\n"), 6, "one line in an hour")
		s.setAnswer(respond(200))
		time.Sleep(time.Hour + time.Minute)
		assert.Len(t, s.taken(), 100)
		assert.Equal(t, Health{Name: "a", Sent: 100}, s.health())
		assert.Equal(t, 1, strings.Count(s.logs.String(), "the tracker works again"))

		s.setAnswer(respond(503))
		for id := range int64(50) {
			s.deposit(1000 + id)
		}
		time.Sleep(20 * time.Hour)
		s.deposit(2000)
		time.Sleep(6 * time.Hour)
		h = s.health()
		assert.Equal(t, []int64{1, 50}, []int64{h.Waiting, h.Failed}, "the last one has its own day")
		time.Sleep(24 * time.Hour)
		assert.EqualValues(t, 51, s.health().Failed)
		_, events := s.givenUpLines()
		assert.Equal(t, 51, events)
	})
}

// TestProbe checks that one request finds out whether a tracker that has failed
// works again.
func TestProbe(t *testing.T) {
	t.Parallel()
	inBubble(t, time.Second, func(s *setup) {
		time.Sleep(100 * time.Millisecond) // now the sender waits for its next poll
		s.setAnswer(respond(503))
		for id := range int64(10) {
			s.deposit(id)
		}
		time.Sleep(time.Hour)
		times := s.taken()
		require.Greater(t, len(times), 3)
		assert.Equal(t, times[0], times[1], "two at once")
		for i := 2; i < len(times); i++ {
			assert.True(t, times[i-1].Before(times[i]), "one at once")
		}
	})
}

// TestRefusedEvents checks that events that are always refused do not hold up
// others, and are not taken for an outage.
func TestRefusedEvents(t *testing.T) {
	t.Parallel()
	inBubble(t, 30*time.Second, func(s *setup) {
		s.setAnswer(func(r *http.Request, response *http.Response) {
			response.StatusCode = 200
			if r.URL.Query().Get("id") < "click5" {
				response.StatusCode = 500 // the tracker fails at these click ids
			}
		})
		for id := range int64(10) {
			s.deposit(id)
		}
		time.Sleep(10 * time.Minute)
		h := s.health()
		assert.Equal(t, []int64{5, 5}, []int64{h.Waiting, h.Sent})
		time.Sleep(30 * time.Hour)
		s.deposit(11) // begins with click1
		s.deposit(7000)
		time.Sleep(3 * time.Hour)
		h = s.health()
		assert.Equal(t, []int64{1, 5, 6}, []int64{h.Waiting, h.Failed, h.Sent})
	})
}

// TestRetryAfter checks that a wait is as long as the tracker asks for, and at
// least as long as without the header.
func TestRetryAfter(t *testing.T) {
	t.Parallel()
	inBubble(t, time.Second, func(s *setup) {
		in20Minutes := time.Now().Add(20 * time.Minute).UTC().Format(http.TimeFormat)
		for _, test := range []struct {
			status   int
			header   string
			min, max time.Duration
		}{
			{503, in20Minutes, 20*time.Minute - time.Second, 20 * time.Minute},
			{429, "600", 10 * time.Minute, 10 * time.Minute},
			{429, "7200", time.Hour, time.Hour},
			{429, "-5", 2500 * time.Millisecond, 5 * time.Second},
		} {
			s.setAnswer(respond(test.status, test.header))
			s.deposit(time.Now().UnixNano())
			time.Sleep(1500 * time.Millisecond)
			s.setAnswer(respond(200))
			time.Sleep(test.max + time.Minute)
			times := s.taken()
			if assert.Len(t, times, 2, test.header) {
				gap := times[1].Sub(times[0])
				assert.GreaterOrEqual(t, gap, test.min, test.header)
				assert.LessOrEqual(t, gap, test.max+time.Second, test.header)
			}
		}
	})
}

// TestRetryAfterRestart checks that all events wait as long as the tracker asks
// for, also after a restart.
func TestRetryAfterRestart(t *testing.T) {
	t.Parallel()
	inBubble(t, time.Second, func(s *setup) {
		s.setAnswer(respond(429, "1800"))
		s.deposit(1)
		time.Sleep(2 * time.Second)
		require.Len(t, s.taken(), 1)
		s.deposit(2)
		time.Sleep(time.Minute)
		assert.Empty(t, s.taken(), "other events wait too")
		require.NoError(t, s.sender(io.Discard, s.mirror).Once(s.t.Context()))
		assert.Empty(t, s.taken())
	})
}

// TestDiskFull checks that a result that cannot be saved is not sent again
// while the process lives, and that nothing is sent that could not be queued.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	inBubble(t, time.Second, func(s *setup) {
		const full = " BEGIN SELECT RAISE(FAIL, 'database or disk is full'); END"
		s.exec("CREATE TRIGGER full1 BEFORE DELETE ON postback_queue" + full)
		s.deposit(1)
		time.Sleep(time.Hour)
		assert.Len(t, s.taken(), 1)
		assert.Equal(t, 1, strings.Count(s.logs.String(), "results of postbacks wait for the database"))
		s.exec("DROP TRIGGER full1")
		time.Sleep(time.Minute)
		assert.Equal(t, Health{Name: "a", Sent: 1}, s.health())
		assert.Empty(t, s.taken())

		s.exec("CREATE TRIGGER full1 BEFORE DELETE ON postback_queue" + full)
		s.deposit(3)
		err := s.sender(io.Discard, s.mirror).Once(s.t.Context())
		require.ErrorIs(t, err, mirror.ErrDatabase, "a single run does not wait")
		time.Sleep(time.Minute)
		assert.Equal(t, 2, strings.Count(s.logs.String(), "results of postbacks wait for the database"))
		s.exec("DROP TRIGGER full1")
		time.Sleep(time.Minute)
		assert.NotEmpty(t, s.taken())
		assert.Equal(t, Health{Name: "a", Sent: 2}, s.health())

		for n := range int64(2) {
			s.exec("CREATE TRIGGER full2 BEFORE INSERT ON postback_queue" + full)
			s.deposit(4 + n)
			time.Sleep(time.Hour)
			assert.Empty(t, s.taken())
			logs := s.restarted(time.Minute)
			assert.Equal(t, 1, strings.Count(logs, "\"postbacks wait for the database"), "also if it fails at once")
			s.exec("DROP TRIGGER full2")
			time.Sleep(time.Minute)
			assert.Len(t, s.taken(), 1)
			assert.Equal(t, Health{Name: "a", Sent: 3 + n}, s.health())
			assert.EqualValues(t, 1+n, strings.Count(s.logs.String(), "\"postbacks wait for the database"))
		}
	})
}

// TestIdle checks that nothing is written while there is nothing to do.
func TestIdle(t *testing.T) {
	t.Parallel()
	inBubble(t, time.Second, func(s *setup) {
		s.deposit(1)
		time.Sleep(time.Minute)
		changes := func() (n int) {
			require.NoError(t, s.mirror.DB().QueryRowContext(s.t.Context(), "SELECT total_changes()").Scan(&n))
			return n
		}
		before := changes()
		time.Sleep(time.Hour)
		assert.Equal(t, before, changes())
		assert.Empty(t, s.logs.String())
	})
}

// TestGivenUpLog checks that events that are given up do not fill the log, and
// that none is missing in the numbers.
func TestGivenUpLog(t *testing.T) {
	t.Parallel()
	inBubble(t, 30*time.Second, func(s *setup) {
		s.setAnswer(respond(404))
		for id := range int64(40) {
			s.deposit(id)
			time.Sleep(5 * time.Minute)
		}
		time.Sleep(36 * time.Hour)
		assert.EqualValues(t, 40, s.health().Failed)
		lines, events := s.givenUpLines()
		assert.LessOrEqual(t, lines, 6)
		assert.Equal(t, 40, events)
	})
}

// TestWorksAgainLog checks that each state of failure that was logged ends in
// the log, and how long the metric shows it.
func TestWorksAgainLog(t *testing.T) {
	t.Parallel()
	t.Run("the tracker fails for seconds", func(t *testing.T) {
		t.Parallel()
		inBubble(t, time.Second, func(s *setup) {
			for n := range int64(3) {
				s.setAnswer(respond(503))
				s.deposit(1 + n)
				time.Sleep(1500 * time.Millisecond)
				assert.EqualValues(t, min(n, 1), strings.Count(s.logs.String(), " again\""))
				s.setAnswer(respond(200))
				time.Sleep(10 * time.Second)
				assert.Equal(t, 1, strings.Count(s.logs.String(), "level=WARN"), "the same failure within an hour")
				assert.Equal(t, 1, strings.Count(s.logs.String(), "the tracker works again"))
			}
			assert.Equal(t, 2, strings.Count(s.logs.String(), "\n"))
		})
	})
	t.Run("the tracker fails for minutes", func(t *testing.T) {
		t.Parallel()
		inBubble(t, time.Second, func(s *setup) {
			for n := range 2 {
				s.setAnswer(respond(503))
				s.deposit(1 + int64(n))
				time.Sleep(5 * time.Minute)
				assert.Equal(t, n, strings.Count(s.logs.String(), " again\""))
				s.setAnswer(respond(200))
				time.Sleep(10 * time.Minute)
				assert.Equal(t, 1+n, strings.Count(s.logs.String(), "level=WARN"))
				assert.Equal(t, 1+n, strings.Count(s.logs.String(), "the tracker works again"))
			}
		})
	})
	t.Run("the tracker refuses an event", func(t *testing.T) {
		t.Parallel()
		inBubble(t, time.Second, func(s *setup) {
			s.setAnswer(func(r *http.Request, response *http.Response) {
				response.StatusCode = 200
				if r.URL.Query().Get("id") == "click1" {
					response.StatusCode = 404
				}
			})
			s.deposit(1)
			time.Sleep(1500 * time.Millisecond)
			s.deposit(2)
			time.Sleep(1500 * time.Millisecond)
			assert.EqualValues(t, 1, s.health().Sent)
			assert.Equal(t, 1, strings.Count(s.logs.String(), "level=WARN"))
			assert.NotContains(t, s.logs.String(), " again\"")
			s.setAnswer(respond(200))
			time.Sleep(20 * time.Second)
			s.deposit(3)
			time.Sleep(10 * time.Second)
			assert.Equal(t, 1, strings.Count(s.logs.String(), "the tracker accepts all events again"))
			assert.Equal(t, 2, strings.Count(s.logs.String(), "\n"))
		})
	})
	t.Run("a refusal after an outage", func(t *testing.T) {
		t.Parallel()
		inBubble(t, time.Second, func(s *setup) {
			s.deposit(1)
			time.Sleep(2 * time.Second)
			s.setAnswer(respond(503))
			s.deposit(2)
			time.Sleep(10 * time.Minute)
			s.setAnswer(respond(404))
			time.Sleep(20 * time.Minute)
			assert.False(t, s.health().FailingSince.IsZero(), "nothing was accepted since")
			var failures int
			require.NoError(t, s.mirror.DB().QueryRowContext(s.t.Context(),
				"SELECT failures FROM postback_destinations WHERE paused_until IS NULL").Scan(&failures))
			assert.Zero(t, failures, "it answers, so nothing is held up")
			assert.NotContains(t, s.logs.String(), " again\"")
			s.setAnswer(respond(200))
			time.Sleep(time.Hour)
			assert.Equal(t, Health{Name: "a", Sent: 2}, s.health())
			assert.Equal(t, 2, strings.Count(s.logs.String(), " again\""))
		})
	})
}
