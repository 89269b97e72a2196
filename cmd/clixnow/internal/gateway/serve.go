package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/activation"

	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/app"
)

// sockets are the sockets that the service manager has opened for this process,
// by their names. A new process can accept connections from such a socket
// before the old one stops.
type sockets map[string][]net.Listener

func inheritedSockets() (sockets, error) {
	inherited, err := activation.ListenersWithNames()
	if err != nil {
		return nil, app.Usage("the sockets of the service manager: %w", err)
	}
	return inherited, nil
}

// listen returns the socket with a name, or listens on an address.
func (s sockets) listen(ctx context.Context, name, flag, address string) (net.Listener, error) {
	if found := s[name]; len(found) > 0 && found[0] != nil {
		return found[0], nil
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, app.Usage("%s: %w", flag, err)
	}
	return listener, nil
}

// server is an HTTP server and its socket.
type server struct {
	*http.Server

	name     string
	listener net.Listener
}

// newServer returns a server that slow clients cannot keep busy: a request may
// take half a minute to arrive, and its answer as long again and longest.
func newServer(handler http.Handler, longest time.Duration, log *slog.Logger) *http.Server {
	const slow = 30 * time.Second
	return &http.Server{
		Handler:           protected(handler, log),
		ReadHeaderTimeout: slow / 3,
		ReadTimeout:       slow,
		WriteTimeout:      2*slow + longest,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
}

// protected keeps answers out of caches, because they may log a visitor in. It
// answers after a panic, and logs it without the address of the visitor.
func protected(next http.Handler, log *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer answerPanic(w, log)
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Referrer-Policy", "same-origin")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("X-Frame-Options", "DENY")
		next.ServeHTTP(w, r)
	})
}

func answerPanic(w http.ResponseWriter, log *slog.Logger) {
	switch p := recover(); p {
	case nil:
	case http.ErrAbortHandler:
		panic(p)
	default:
		log.Error("a request has failed: this is a mistake in clixnow", "panic", fmt.Sprintf("%T", p), "stack",
			string(debug.Stack()))
		http.Error(w, "This page cannot be shown.", http.StatusInternalServerError)
	}
}

// serve serves requests until ctx ends. Then it finishes the requests that have
// arrived, for at most grace.
func serve(ctx context.Context, servers []server, grace time.Duration) (err error) {
	failed := make(chan error, len(servers))
	var accepting sync.WaitGroup
	var waiting sync.Map // the connections on which no request has arrived yet
	for _, s := range servers {
		s.ConnState = func(conn net.Conn, state http.ConnState) {
			if state == http.StateNew {
				waiting.Store(conn, nil)
			} else {
				waiting.Delete(conn)
			}
		}
		accepting.Go(func() { failed <- s.Serve(s.listener) })
	}
	select {
	case err = <-failed:
	case <-ctx.Done():
	}
	for _, s := range servers {
		_ = s.listener.Close()
		s.SetKeepAlivesEnabled(false)
	}
	accepting.Wait()
	awaitRequests(&waiting)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	for _, s := range servers {
		if s.Shutdown(ctx) != nil { // some clients are too slow
			_ = s.Close()
		}
	}
	return err
}

// awaitRequests gives connections that were just accepted some seconds to send
// their request. Shutdown would close them without an answer.
func awaitRequests(connections *sync.Map) {
	const patience, moment = 5 * time.Second, 50 * time.Millisecond
	for began := time.Now(); time.Since(began) < patience; {
		empty := true
		connections.Range(func(any, any) bool {
			empty = false
			return false
		})
		time.Sleep(moment) // the server has to begin with the last request
		if empty {
			return
		}
	}
}

// isLoopback reports whether only this machine can reach an address.
func isLoopback(addr net.Addr) bool {
	tcp, ok := addr.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// pageURL returns the URL of a page for a browser on this machine.
func pageURL(addr net.Addr) string {
	tcp, ok := addr.(*net.TCPAddr)
	if ok && tcp.IP.IsUnspecified() {
		return "http://" + net.JoinHostPort("localhost", strconv.Itoa(tcp.Port)) + "/"
	}
	return "http://" + addr.String() + "/"
}
