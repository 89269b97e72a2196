//go:build unix

// Package postgrestest starts a PostgreSQL server for one test. The test can
// kill the server and start it again. It works with Debian's packages.
package postgrestest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Server is a PostgreSQL server on a loopback port, with an empty database and
// no password.
type Server struct {
	// URL begins with postgres://.
	URL string

	tb        testing.TB
	bin, data string
	port      int
	// owner is the user of the server. nil means the user that runs the test.
	owner *syscall.Credential
	// process is nil if the server does not run.
	process *exec.Cmd
	// ended is closed when the process has ended.
	ended chan struct{}
}

// New starts a server and stops it at the end of the test. If PostgreSQL is not
// installed, it skips the test. If the environment variable CI is set, the test
// fails instead.
func New(tb testing.TB) *Server {
	tb.Helper()
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if path, lookErr := exec.LookPath("initdb"); lookErr == nil {
		found, err = append(found, filepath.Dir(path)), nil
	}
	if err != nil || len(found) == 0 {
		const missing = "PostgreSQL is not installed: apt-get install postgresql"
		if os.Getenv("CI") != "" {
			tb.Fatal(missing)
		}
		tb.Skip("SKIPPED: " + missing)
	}
	folder, err := os.MkdirTemp("", "postgres") //nolint:usetesting // owner must be able to open the parent folders
	check(tb, err)
	tb.Cleanup(func() { _ = os.RemoveAll(folder) })
	s := &Server{tb: tb, bin: found[0], data: filepath.Join(folder, "data")}
	if os.Geteuid() == 0 { // PostgreSQL refuses to run as root
		s.owner = owner(tb)
		check(tb, os.Chown(folder, int(s.owner.Uid), int(s.owner.Gid)))
	}
	initdb := s.command("initdb", "--pgdata", s.data, "--username", "postgres", "--auth", "trust", "--no-sync")
	output, err := initdb.CombinedOutput()
	if err != nil {
		tb.Fatalf("initdb: %v\n%s", err, output)
	}
	tb.Cleanup(s.Kill)
	const tries = 5
	for range tries { // another process may take the port first
		s.port = freePort(tb)
		s.URL = fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable", s.port)
		if s.start() {
			return s
		}
	}
	tb.Fatalf("PostgreSQL did not start on %d ports", tries)
	return nil
}

// Start starts a killed server on the same port, and waits until it answers.
func (s *Server) Start() {
	s.tb.Helper()
	if !s.start() {
		s.tb.Fatal("PostgreSQL did not start again")
	}
}

// start starts the server and waits until it answers. It returns false if the
// server has ended before.
func (s *Server) start() bool {
	s.tb.Helper()
	s.process = s.command("postgres", "-D", s.data, "-p", strconv.Itoa(s.port), "-c", "listen_addresses=127.0.0.1",
		"-c", "unix_socket_directories=", "-c", "max_connections=200")
	check(s.tb, s.process.Start())
	process, ended := s.process, make(chan struct{})
	s.ended = ended
	go func() {
		defer close(ended)
		_ = process.Wait() // returns an error if the process was killed
	}()
	deadline := time.After(time.Minute)
	for !s.isReady() {
		select {
		case <-s.ended:
			return false
		case <-deadline:
			s.tb.Fatal("PostgreSQL did not answer within a minute")
		case <-time.After(20 * time.Millisecond):
		}
	}
	return true
}

// isReady reports whether this server answers. A server of another test may
// answer on the same port, so it reads the file in which a server says this.
func (s *Server) isReady() bool {
	const statusLine = 7
	text, err := os.ReadFile(filepath.Join(s.data, "postmaster.pid"))
	lines := strings.Split(string(text), "\n")
	return err == nil && len(lines) > statusLine && lines[0] == strconv.Itoa(s.process.Process.Pid) &&
		strings.TrimSpace(lines[statusLine]) == "ready"
}

// Kill ends the server and its workers at once, as a power failure would.
// Committed transactions are kept.
func (s *Server) Kill() {
	if s.process == nil {
		return
	}
	// SIGQUIT is the immediate shutdown without a checkpoint. It also ends the
	// child processes, which SIGKILL would not.
	_ = s.process.Process.Signal(syscall.SIGQUIT)
	<-s.ended
	s.process = nil
}

func (s *Server) command(name string, args ...string) *exec.Cmd {
	program := filepath.Join(s.bin, name)
	// The context is not that of the test, because Kill ends the server.
	command := exec.CommandContext(context.Background(), program, args...) //nolint:gosec // a program of PostgreSQL
	command.Dir = os.TempDir()
	if s.owner != nil {
		command.SysProcAttr = &syscall.SysProcAttr{Credential: s.owner}
	}
	return command
}

// owner returns the user postgres, which Debian's package creates. If there is
// none, it returns the user nobody.
func owner(tb testing.TB) *syscall.Credential {
	tb.Helper()
	found, err := user.Lookup("postgres")
	if err != nil {
		found, err = user.Lookup("nobody")
	}
	check(tb, err)
	uid, err := strconv.ParseUint(found.Uid, 10, 32)
	check(tb, err)
	gid, err := strconv.ParseUint(found.Gid, 10, 32)
	check(tb, err)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

func freePort(tb testing.TB) int {
	tb.Helper()
	listener, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	check(tb, err)
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

func check(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}
