package admin

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"
	"unicode"

	"golang.org/x/crypto/bcrypt"
	"golang.org/x/term"
	"golang.org/x/time/rate"
)

// noLogin is the operator in the history if there is no login.
const noLogin = "someone on this machine"

// login finds out who sent a request.
type login struct {
	opts Options
	// key is that of verified.
	key []byte

	mu sync.Mutex
	// text is the content of the password file, and users and err are what it
	// says.
	text  []byte
	users map[string]string
	err   error
	// verified has the logins that bcrypt has accepted, as keyed hashes.
	verified map[string]bool
	// guesses limits the logins of an address that need bcrypt.
	guesses map[netip.Prefix]*rate.Limiter
	// hashing allows one bcrypt at a time, so that guesses from many addresses
	// leave time for the sign-ups.
	hashing sync.Mutex
}

// denial is the response to a request without a login.
type denial struct {
	status int
	text   string
}

func newLogin(opts Options) (*login, error) {
	l := &login{opts: opts, key: []byte(rand.Text()), guesses: make(map[netip.Prefix]*rate.Limiter)}
	switch {
	case opts.PasswordFile != "":
		return l, l.read()
	case opts.UserHeader != "":
		return l, nil
	case !opts.Loopback:
		return nil, errors.New("the admin page needs a login, because other machines can reach its address: set " +
			"password_file or user_header in [gateway.admin]")
	case len(opts.Hosts) > 0:
		return nil, errors.New("the admin page needs a login, because it has hosts: set password_file or user_header " +
			"in [gateway.admin]")
	}
	return l, nil
}

// user returns the name of the operator, or why the request is denied.
func (l *login) user(r *http.Request) (name string, denied *denial) {
	remote, isProxy := l.address(r)
	if l.opts.UserHeader != "" && isProxy {
		// A proxy that adds a value instead of replacing it has not checked the
		// other one.
		if values := r.Header.Values(l.opts.UserHeader); len(values) == 1 && isName(values[0]) {
			return values[0], nil
		}
	}
	name, password, hasPassword := r.BasicAuth()
	switch {
	case l.opts.PasswordFile == "" && l.opts.UserHeader != "":
		return "", &denial{http.StatusForbidden, "Open this page through the proxy that checks your login."}
	case l.opts.PasswordFile == "" && (r.Header.Get("X-Forwarded-For") != "" || r.Header.Get("Forwarded") != ""):
		return "", &denial{http.StatusForbidden, "This page has no login, so it cannot be used through a proxy."}
	case l.opts.PasswordFile == "":
		return noLogin, nil
	case !hasPassword:
		return "", &denial{http.StatusUnauthorized, "Log in with your user name and your password."}
	}
	return name, l.verify(remote, name, password)
}

// address returns the address of the client, and whether the request comes from
// a trusted proxy.
func (l *login) address(r *http.Request) (client netip.Prefix, isProxy bool) {
	trusted := func(address netip.Addr) bool {
		for _, proxy := range l.opts.Proxies {
			if proxy.Contains(address) {
				return true
			}
		}
		return false
	}
	peer, _ := netip.ParseAddrPort(r.RemoteAddr) // an invalid address is in no prefix
	address := peer.Addr().Unmap()
	isProxy = trusted(address)
	if all := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ","); isProxy {
		for i := len(all) - 1; i >= 0 && trusted(address); i-- {
			forwarded, err := netip.ParseAddr(strings.TrimSpace(all[i]))
			if err != nil {
				break
			}
			address = forwarded.Unmap()
		}
	}
	bits := 32
	if address.Is6() {
		bits = 64 // one customer has all of them
	}
	client, _ = address.WithZone("").Prefix(bits)
	return client, isProxy
}

// verify checks a password. A login that was correct before costs no bcrypt.
func (l *login) verify(client netip.Prefix, name, password string) *denial {
	l.mu.Lock()
	if l.read() != nil {
		l.mu.Unlock()
		return &denial{http.StatusServiceUnavailable, "No user can log in: the log of the gateway says why."}
	}
	hash, isKnown := l.users[name]
	mac := hmac.New(sha256.New, l.key)
	_, _ = mac.Write([]byte(name + "\x00" + hash + "\x00" + password))
	sum := string(mac.Sum(nil))
	if l.verified[sum] {
		l.mu.Unlock()
		return nil
	}
	mayGuess := l.limiter(client).Allow()
	if !isKnown { // it takes as long as for a known user
		for _, hash = range l.users {
			break
		}
	}
	l.mu.Unlock()
	if !mayGuess {
		return &denial{http.StatusTooManyRequests, "Too many logins were tried. Wait a minute, and try again."}
	}
	l.hashing.Lock()
	isCorrect := bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)) == nil && isKnown
	l.hashing.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !isCorrect {
		l.opts.Log.Warn("a login to the admin page was wrong", "address", client.Addr())
		return &denial{http.StatusUnauthorized, "The user name or the password is wrong."}
	}
	l.verified[sum] = true
	return nil
}

// limiter returns the limiter of an address.
func (l *login) limiter(client netip.Prefix) *rate.Limiter {
	const burst, most = 10, 10_000
	if len(l.guesses) >= most {
		for key, limiter := range l.guesses {
			if limiter.Tokens() >= burst || len(l.guesses) >= most {
				delete(l.guesses, key)
			}
		}
	}
	if l.guesses[client] == nil {
		l.guesses[client] = rate.NewLimiter(rate.Every(time.Minute), burst)
	}
	return l.guesses[client]
}

// read reads the password file again if it has changed. With a mistake in the
// file, no user can log in.
func (l *login) read() error {
	text, err := os.ReadFile(l.opts.PasswordFile)
	if err == nil && l.users != nil && bytes.Equal(text, l.text) {
		return l.err
	}
	var users map[string]string
	if err == nil {
		users, err = parseUsers(text)
	}
	if err != nil {
		err = fmt.Errorf("read the password file of the admin page: %w", err)
		if l.users != nil && (l.err == nil || l.err.Error() != err.Error()) {
			l.opts.Log.Error("no user can log in to the admin page", "error", err)
		}
	}
	if users == nil {
		users = make(map[string]string)
	}
	l.text, l.users, l.err, l.verified = text, users, err, make(map[string]bool)
	return err
}

// parseUsers reads lines of a user name, a colon and a hash of bcrypt, as
// "htpasswd -B" writes them.
func parseUsers(text []byte) (map[string]string, error) {
	users := make(map[string]string)
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		name, hash, _ := strings.Cut(line, ":")
		_, err := bcrypt.Cost([]byte(hash))
		switch {
		case err != nil || !isName(name):
			return nil, fmt.Errorf("line %d must be a user name, a colon and a hash of bcrypt", number)
		case users[name] != "":
			return nil, fmt.Errorf("line %d has the same user name as a line before", number)
		}
		users[name] = hash
	}
	if len(users) == 0 {
		return nil, errors.New("it has no users")
	}
	return users, nil
}

// isName reports whether a text can be the name of an operator.
func isName(text string) bool {
	return text != "" && len(text) <= 100 && !strings.ContainsFunc(text, func(c rune) bool {
		return c == ':' || c == unicode.ReplacementChar || unicode.IsSpace(c) || !unicode.IsPrint(c)
	})
}

// HashPassword returns the line of a password file for a user. It reads the
// password from a terminal twice, without showing it, or else from the first
// line of in.
func HashPassword(user string, in io.Reader, prompts io.Writer) (line string, err error) {
	if !isName(user) {
		return "", errors.New("a user name has 1 to 100 bytes, without spaces and colons")
	}
	password, err := askPassword(in, prompts)
	switch {
	case err != nil:
		return "", fmt.Errorf("read the password: %w", err)
	case len(password) < 10, len(password) > 72:
		return "", errors.New("the password must have 10 to 72 bytes")
	}
	const cost = 12
	hash, err := bcrypt.GenerateFromPassword(password, cost)
	return user + ":" + string(hash), err
}

func askPassword(in io.Reader, prompts io.Writer) ([]byte, error) {
	file, isFile := in.(*os.File)
	if !isFile || !term.IsTerminal(int(file.Fd())) {
		line, err := bufio.NewReader(in).ReadString('\n')
		if errors.Is(err, io.EOF) && line != "" {
			err = nil
		}
		return []byte(strings.TrimRight(line, "\r\n")), err
	}
	var typed [2][]byte
	for i, prompt := range []string{"Password: ", "The same password again: "} {
		fmt.Fprint(prompts, prompt)
		text, err := term.ReadPassword(int(file.Fd()))
		fmt.Fprintln(prompts)
		if err != nil {
			return nil, err
		}
		typed[i] = text
	}
	if !bytes.Equal(typed[0], typed[1]) {
		return nil, errors.New("the two passwords differ")
	}
	return typed[0], nil
}
