package gateway_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go/clixnowtest"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/app/apptest"
)

// process is the program in another process.
type process struct {
	*exec.Cmd

	out *apptest.Output
}

// startProcess starts the program. It inherits sockets as from systemd, by
// their names.
func startProcess(t *testing.T, sockets map[string]*net.TCPListener, args ...string) *process {
	t.Helper()
	// LISTEN_PID is the id of the process itself, which only the shell knows.
	script := append([]string{"-c", `export LISTEN_PID=$$; exec "$0" "$@"`, os.Args[0]}, args...)
	p := &process{exec.Command("sh", script...), new(apptest.Output)} //nolint:noctx // the test stops it
	p.Stdout, p.Stderr = p.out, p.out
	p.Env = append(os.Environ(), childEnv+"=1")
	var names []string
	for name, socket := range sockets {
		file, err := socket.File()
		require.NoError(t, err)
		defer func() { _ = file.Close() }()
		p.ExtraFiles, names = append(p.ExtraFiles, file), append(names, name)
	}
	if len(names) > 0 {
		p.Env = append(p.Env, fmt.Sprint("LISTEN_FDS=", len(names)), "LISTEN_FDNAMES="+strings.Join(names, ":"))
	}
	require.NoError(t, p.Start())
	t.Cleanup(func() {
		if p.ProcessState == nil {
			_ = p.Process.Kill()
			_ = p.Wait()
		}
	})
	p.out.WaitFor(t, `serving the sign-ups" url=\S+`)
	return p
}

// end stops the process gracefully and returns its exit code.
func (p *process) end(t *testing.T) int {
	t.Helper()
	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	_ = p.Wait()
	return p.ProcessState.ExitCode()
}

// TestGracefulStop checks that a stop lets a visitor who waits have the answer,
// and accepts no more.
func TestGracefulStop(t *testing.T) {
	t.Parallel()
	api := newFakeAPI(t)
	p := startProcess(t, nil, "serve", "--config", api.configure(t, ""), "--db", t.TempDir()+"/signups.db",
		"--listen", "127.0.0.1:0", "--admin", "", "--wait", "1m")
	public := regexp.MustCompile(`url=(\S+)/`).FindStringSubmatch(p.out.String())[1]
	api.Inject(clixnowtest.Fault{Method: http.MethodPost, Delay: time.Second, Times: 1})
	answered := make(chan reply, 1)
	go func() {
		answered <- sendOnce(t, "POST", public+"/signups", asJSON, leadJSON("c", "visitor@example.com"))
	}()
	eventually(t, func() bool { return len(api.Requests()) > 0 })
	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	p.out.WaitFor(t, "stopping after the requests")
	eventually(t, func() bool {
		_, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(public, "http://"))
		return err != nil
	})
	got := <-answered
	assert.Equal(t, http.StatusOK, got.code, got.body)
	assert.Contains(t, got.json(t)["redirectUrl"], "/autologin?token=")
	_ = p.Wait()
	assert.Zero(t, p.ProcessState.ExitCode(), p.out.String())
}

// TestStopCancelsTries checks that a stop ends although a brand does not
// answer, and that the next process finds out whether the lead exists.
func TestStopCancelsTries(t *testing.T) {
	t.Parallel()
	api := newFakeAPI(t)
	address := t.TempDir() + "/signups.db"
	p := start(t, api, address, "", "--wait", "0s")
	api.Inject(clixnowtest.Fault{Method: http.MethodPost, HandleFirst: true, Delay: time.Hour})
	got := send(t, "POST", p.public+"/signups", asJSON, leadJSON("c", "visitor@example.com"))
	require.Equal(t, http.StatusAccepted, got.code, got.body)
	eventually(t, func() bool { return len(api.Requests()) > 0 })
	assert.Zero(t, p.stop())
	p = start(t, api, address, "", "--wait", "0s")
	eventually(t, func() bool {
		return send(t, "GET", p.public+got.json(t)["statusUrl"], "", "").code == http.StatusOK
	})
	assert.Len(t, api.Leads(), 1)
}

// TestRestart checks that no visitor is turned away while processes are
// replaced. Two processes share the sockets, as two units of systemd do.
func TestRestart(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, address string) {
		t.Helper()
		api := newFakeAPI(t)
		config := api.configure(t, "")
		listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
		require.NoError(t, err)
		defer func() { _ = listener.Close() }()
		sockets := map[string]*net.TCPListener{"signups": listener}
		run := func() *process {
			return startProcess(t, sockets, "serve", "--config", config, "--db", address, "--admin", "")
		}
		shared := strings.HasPrefix(address, "postgres")
		old := run()
		// A client that reuses a connection may meet the moment in which it is
		// closed.
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		url := "http://" + listener.Addr().String() + "/signups"
		var stop atomic.Bool
		var visitors sync.WaitGroup
		var number atomic.Int64
		for v := range 4 {
			visitors.Go(func() {
				for n := 0; !stop.Load(); n++ {
					body := leadJSON(fmt.Sprint(v, "-", n), fmt.Sprintf("v%d-%d@example.com", v, n))
					response, err := postJSON(t, client, url, body)
					number.Add(1)
					if !assert.NoError(t, err) {
						continue
					}
					_ = response.Body.Close()
					assert.Contains(t, []int{http.StatusOK, http.StatusAccepted}, response.StatusCode)
				}
			})
		}
		for range 3 {
			before := number.Load()
			eventually(t, func() bool { return number.Load() > before+20 })
			if !shared { // the kernel keeps the connections meanwhile
				assert.Zero(t, old.end(t), old.out.String())
				old = run()
				continue
			}
			next := run()
			assert.Zero(t, old.end(t), old.out.String())
			old = next
		}
		stop.Store(true)
		visitors.Wait()
		eventually(t, func() bool { return len(api.Leads()) == int(number.Load()) })
		assert.Zero(t, old.end(t), old.out.String())
	})
}

// postJSON sends a sign-up by a client.
func postJSON(t *testing.T, client *http.Client, address, body string) (*http.Response, error) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", asJSON)
	return client.Do(request)
}

// TestSlowClients checks that many slow clients do not keep others waiting.
// With CLIXNOW_LONG=1 there are 10,000 of them.
func TestSlowClients(t *testing.T) {
	t.Parallel()
	clients := 500
	if os.Getenv("CLIXNOW_LONG") != "" {
		clients = 10_000
	}
	api := newFakeAPI(t)
	p := startProcess(t, nil, "serve", "--config", api.configure(t, ""), "--db", t.TempDir()+"/signups.db",
		"--listen", "127.0.0.1:0", "--admin", "", "--wait", "1m")
	public := regexp.MustCompile(`url=http://(\S+)/`).FindStringSubmatch(p.out.String())[1]
	beginnings := []string{
		"", "POST /signups HTTP/1.1\r\nHost: x\r\n",
		"POST /signups HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{",
	}
	conns := make([]net.Conn, clients)
	for i := range conns {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", public)
		require.NoError(t, err, i)
		defer conn.Close()
		_, err = conn.Write([]byte(beginnings[i%len(beginnings)]))
		require.NoError(t, err)
		conns[i] = conn
	}
	for n := range 20 {
		got := send(t, "POST", "http://"+public+"/signups", asJSON,
			leadJSON(strconv.Itoa(n), fmt.Sprintf("v%d@example.com", n)))
		assert.Equal(t, http.StatusOK, got.code, got.body)
	}
	// The server ends slow requests. In between it answers a part of them.
	deadline := time.Now().Add(time.Minute)
	for _, conn := range conns {
		require.NoError(t, conn.SetReadDeadline(deadline))
		answer := make([]byte, 64)
		n, err := conn.Read(answer)
		if n > 0 {
			assert.Contains(t, string(answer[:n]), "HTTP/1.1 4", "a part of a request is not a sign-up")
			continue
		}
		var timeout net.Error
		assert.False(t, errors.As(err, &timeout) && timeout.Timeout(), "a slow client stays")
	}
	assert.Len(t, api.Leads(), 20)
	assert.Zero(t, p.end(t), p.out.String())
}

// TestManySignups checks case P11: a burst of sign-ups does not close the
// gateway. With CLIXNOW_LONG=1 it has 5,000 sign-ups in 2.5 seconds.
func TestManySignups(t *testing.T) {
	t.Parallel()
	number := 300
	if os.Getenv("CLIXNOW_LONG") != "" {
		number = 5_000
	}
	eachDatabase(t, func(t *testing.T, address string) {
		t.Helper()
		api := newFakeAPI(t)
		p := startProcess(t, nil, "serve", "--config", api.configure(t, ""), "--db", address, "--listen", "127.0.0.1:0",
			"--admin", "")
		public := regexp.MustCompile(`url=(\S+)/`).FindStringSubmatch(p.out.String())[1]
		transport := &http.Transport{MaxIdleConnsPerHost: 1_000}
		defer transport.CloseIdleConnections()
		client := &http.Client{Transport: transport}
		var burst sync.WaitGroup
		var codes sync.Map
		began := time.Now()
		for n := range number {
			time.Sleep(time.Until(began.Add(time.Duration(n) * 2500 * time.Millisecond / 5_000)))
			burst.Go(func() {
				body := leadJSON(strconv.Itoa(n), fmt.Sprintf("v%d@example.com", n))
				response, err := postJSON(t, client, public+"/signups", body)
				if assert.NoError(t, err) {
					_ = response.Body.Close()
					count, _ := codes.LoadOrStore(response.StatusCode, new(atomic.Int64))
					count.(*atomic.Int64).Add(1)
				}
			})
		}
		sent := time.Since(began)
		burst.Wait()
		accepted := int64(0)
		codes.Range(func(code, count any) bool {
			t.Logf("%d sign-ups sent in %s, all answered after %s: %d answers %d", number, sent, time.Since(began),
				count.(*atomic.Int64).Load(), code)
			if code == http.StatusOK || code == http.StatusAccepted {
				accepted += count.(*atomic.Int64).Load()
			}
			return true
		})
		assert.EqualValues(t, number, accepted)
		got := send(t, "POST", public+"/signups", asJSON, leadJSON("after", "after@example.com"))
		assert.Contains(t, []int{http.StatusOK, http.StatusAccepted}, got.code, got.body)
		eventually(t, func() bool { return len(api.Leads()) == number+1 })
		t.Logf("all registered after %s", time.Since(began))
		assert.Zero(t, p.end(t), p.out.String())
	})
}
