package admin_test

import (
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/gateway/admin"
)

func prefixes(all ...string) (found []netip.Prefix) {
	for _, text := range all {
		found = append(found, netip.MustParsePrefix(text))
	}
	return found
}

// line returns a line of a password file with the cheapest hash.
func line(user, secret string) string {
	return user + ":" + string(must(bcrypt.GenerateFromPassword([]byte(secret), bcrypt.MinCost))) + "\n"
}

func passwordFile(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "admin.htpasswd")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	return file
}

func basic(user, secret string) func(*http.Request) {
	return func(r *http.Request) { r.SetBasicAuth(user, secret) }
}

func header(pairs ...string) func(*http.Request) {
	return func(r *http.Request) {
		for i := 0; i < len(pairs); i += 2 {
			r.Header.Add(pairs[i], pairs[i+1])
		}
	}
}

// TestLogin has who may use the page, and with which configuration.
func TestLogin(t *testing.T) {
	t.Parallel()
	apache := strings.Replace(line("bob", "bob's password"), "$2a$", "$2y$", 1) // as htpasswd -B writes it
	file := passwordFile(t, "# operators\r\n\n"+line("anna", "anna:s pässword")+apache)
	user, local, remote := "X-Forwarded-User", prefixes("127.0.0.0/8"), prefixes("10.0.0.0/8")
	none, passwords := admin.Options{}, admin.Options{PasswordFile: file}
	proxy, distant := admin.Options{UserHeader: user, Proxies: local}, admin.Options{UserHeader: user, Proxies: remote}
	both, bothDistant := proxy, distant
	both.PasswordFile, bothDistant.PasswordFile = file, file
	for name, test := range map[string]struct {
		opts   admin.Options
		change func(*http.Request)
		want   int
		text   string
	}{
		"no login":               {none, nil, 200, "Sign-ups"},
		"no login, proxy":        {none, header("X-Forwarded-For", "192.0.2.1"), 403, "cannot be used through a proxy"},
		"no login, other proxy":  {none, header("Forwarded", "for=192.0.2.1"), 403, "cannot be used through a proxy"},
		"no login, user header":  {none, header(user, "eve"), 200, "Sign-ups"},
		"password":               {passwords, basic("anna", "anna:s pässword"), 200, "You are anna."},
		"password of Apache":     {passwords, basic("bob", "bob's password"), 200, "You are bob."},
		"no password":            {passwords, nil, 401, "Log in"},
		"wrong password":         {passwords, basic("anna", "anna:s password"), 401, "is wrong"},
		"empty password":         {passwords, basic("anna", ""), 401, "is wrong"},
		"password of another":    {passwords, basic("anna", "bob's password"), 401, "is wrong"},
		"name in other case":     {passwords, basic("Anna", "anna:s pässword"), 401, "is wrong"},
		"unknown user":           {passwords, basic("eve", "anna:s pässword"), 401, "is wrong"},
		"empty user":             {passwords, basic("", ""), 401, "is wrong"},
		"comment as user":        {passwords, basic("# operators", ""), 401, "is wrong"},
		"other scheme":           {passwords, header("Authorization", "Bearer x"), 401, "Log in"},
		"header of proxy":        {proxy, header(user, "anna"), 200, "You are anna."},
		"no header of proxy":     {proxy, nil, 403, "the proxy"},
		"empty header":           {proxy, header(user, ""), 403, "the proxy"},
		"two headers":            {proxy, header(user, "eve", user, "anna"), 403, "the proxy"},
		"long header":            {proxy, header(user, strings.Repeat("x", 101)), 403, "the proxy"},
		"header is not UTF-8":    {proxy, header(user, "\xff"), 403, "the proxy"},
		"password, not allowed":  {proxy, basic("anna", "anna:s pässword"), 403, "the proxy"},
		"untrusted address":      {distant, header(user, "eve"), 403, "the proxy"},
		"untrusted, forged":      {distant, header(user, "eve", "X-Forwarded-For", "10.0.0.1"), 403, "the proxy"},
		"no proxies":             {admin.Options{UserHeader: user}, header(user, "eve"), 403, "the proxy"},
		"both, header":           {both, header(user, "carl"), 200, "You are carl."},
		"both, password":         {both, basic("anna", "anna:s pässword"), 200, "You are anna."},
		"both, untrusted header": {bothDistant, header(user, "eve"), 401, "Log in"},
		"both, distant password": {bothDistant, basic("anna", "anna:s pässword"), 200, "You are anna."},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, func(opts *admin.Options) {
				opts.PasswordFile, opts.UserHeader = test.opts.PasswordFile, test.opts.UserHeader
				opts.Proxies = test.opts.Proxies
			})
			waiting := s.add(t.Context())
			got := s.send(t, http.MethodGet, "/", nil, test.change)
			assert.Equal(t, test.want, got.code)
			assert.Contains(t, got.text(), test.text)
			assert.Equal(t, test.want == http.StatusUnauthorized, got.header.Get("WWW-Authenticate") != "")
			if test.want == http.StatusOK {
				return
			}
			assert.NotContains(t, got.body, "example.com")
			for _, target := range []string{"/signups.csv", "/signups/" + waiting.ID, "/page/live.js", "/nothing"} {
				assert.Equal(t, test.want, s.send(t, http.MethodGet, target, nil, test.change).code)
			}
			got = s.send(t, http.MethodPost, "/signups/"+waiting.ID+"/retry", url.Values{}, test.change)
			assert.Equal(t, test.want, got.code)
			assert.Empty(t, must(s.History(t.Context(), waiting.ID)))
		})
	}
}

// TestLoginNeeded checks that a page that others can reach has a login.
func TestLoginNeeded(t *testing.T) {
	t.Parallel()
	good := line("anna", "x")
	for name, test := range map[string]struct {
		opts admin.Options
		want string
	}{
		"no login": {admin.Options{}, "needs a login, because other machines can reach its address"},
		"no login, with hosts": {
			admin.Options{Loopback: true, Hosts: []string{"leads.example"}},
			"needs a login, because it has hosts",
		},
		"no file": {
			admin.Options{PasswordFile: filepath.Join(t.TempDir(), "none")},
			"read the password file of the admin page: open",
		},
		"empty file": {admin.Options{PasswordFile: passwordFile(t, "\n# nobody\n")}, "it has no users"},
		"plain password": {
			admin.Options{PasswordFile: passwordFile(t, good+"bob:secret\n")},
			"line 2 must be a user name, a colon and a hash of bcrypt",
		},
		"hash of MD5": {admin.Options{PasswordFile: passwordFile(t, "bob:$apr1$x$y\n")}, "line 1 must be"},
		"no colon":    {admin.Options{PasswordFile: passwordFile(t, "bob\n")}, "line 1 must be"},
		"no user":     {admin.Options{PasswordFile: passwordFile(t, line("", "x"))}, "line 1 must be"},
		"same user twice": {
			admin.Options{PasswordFile: passwordFile(t, good+good)},
			"line 2 has the same user name",
		},
	} {
		_, err := admin.New(test.opts)
		require.ErrorContains(t, err, test.want, name)
		assert.NotContains(t, err.Error(), "secret", name)
	}
	for name, opts := range map[string]admin.Options{
		"password": {PasswordFile: passwordFile(t, good), Hosts: []string{"leads.example"}},
		"header":   {UserHeader: "X-User"},
		"loopback": {Loopback: true},
	} {
		_, err := admin.New(opts)
		require.NoError(t, err, name)
	}
}

// TestPasswordFileChanges checks that a user who is removed from the file is
// out at once.
func TestPasswordFileChanges(t *testing.T) {
	t.Parallel()
	anna, bob := line("anna", "a password"), line("bob", "a password")
	file := passwordFile(t, anna)
	s := newSite(t, func(opts *admin.Options) { opts.PasswordFile = file })
	status := func(user string) int {
		return s.send(t, http.MethodGet, "/", nil, basic(user, "a password")).code
	}
	assert.Equal(t, []int{200, 401}, []int{status("anna"), status("bob")})
	require.NoError(t, os.WriteFile(file, []byte(bob), 0o600))
	assert.Equal(t, []int{401, 200}, []int{status("anna"), status("bob")})
	require.NoError(t, os.WriteFile(file, []byte(line("bob", "another one")), 0o600))
	assert.Equal(t, 401, status("bob"))

	for _, broken := range []string{"bob\n", ""} {
		require.NoError(t, os.WriteFile(file, []byte(broken), 0o600))
		assert.Equal(t, []int{503, 503}, []int{status("anna"), status("bob")}, "no user can log in")
	}
	require.NoError(t, os.Remove(file))
	assert.Equal(t, 503, status("bob"))
	require.NoError(t, os.WriteFile(file, []byte(anna+bob), 0o600))
	assert.Equal(t, []int{200, 200}, []int{status("anna"), status("bob")})
	assert.Equal(t, 3, strings.Count(s.log.String(), "no user can log in to the admin page"), "one line per change")
}

// TestGuessing checks that passwords cannot be guessed quickly, and that this
// does not lock out who is logged in.
func TestGuessing(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(opts *admin.Options) {
		opts.PasswordFile, opts.Proxies = passwordFile(t, line("anna", "a password")), prefixes("127.0.0.0/8")
	})
	try := func(user, secret, address string) int {
		return s.send(t, http.MethodGet, "/", nil, func(r *http.Request) {
			r.SetBasicAuth(user, secret)
			r.Header.Set("X-Forwarded-For", address)
		}).code
	}
	assert.Equal(t, 200, try("anna", "a password", "192.0.2.1"))
	codes := make(map[int]int)
	for i := range 30 {
		codes[try([]string{"anna", "bob"}[i%2], "guess", "192.0.2.1, 198.51.100.7, 127.0.0.1")]++
	}
	assert.Equal(t, map[int]int{401: 10, 429: 20}, codes)
	assert.Equal(t, 429, try("anna", "other", "forged, 198.51.100.7"), "only what the proxy has added counts")
	assert.Equal(t, 401, try("anna", "other", "198.51.100.8"), "another address")
	assert.Equal(t, 200, try("anna", "a password", "198.51.100.7"), "a login that was verified before")

	for range 10 {
		assert.Equal(t, 401, try("anna", "guess", "2001:db8::1"))
	}
	assert.Equal(t, 429, try("anna", "guess", "2001:db8::ffff"), "the same network")
	assert.Equal(t, 401, try("anna", "guess", "2001:db8:0:1::1"), "another network")
	assert.Contains(t, s.log.String(), "a login to the admin page was wrong")
	assert.NotContains(t, s.log.String(), "guess")
}

// TestVerifiedLogin checks that a login costs bcrypt once, not for each
// request.
func TestVerifiedLogin(t *testing.T) {
	t.Parallel()
	slow := "anna:" + string(must(bcrypt.GenerateFromPassword([]byte("a password"), 12)))
	s := newSite(t, func(opts *admin.Options) { opts.PasswordFile = passwordFile(t, slow) })
	first := time.Now()
	require.Equal(t, 200, s.send(t, http.MethodGet, "/page/icon.svg", nil, basic("anna", "a password")).code)
	took := time.Since(first)
	// More requests than guesses are allowed, so they must not need bcrypt.
	for range 50 {
		require.Equal(t, 200, s.send(t, http.MethodGet, "/page/icon.svg", nil, basic("anna", "a password")).code)
	}
	t.Logf("the first request took %s, all of them %s", took, time.Since(first))
}

func TestHashPassword(t *testing.T) {
	t.Parallel()
	var prompts strings.Builder
	made, err := admin.HashPassword("anna", strings.NewReader("ten chars!\r\nmore"), &prompts)
	require.NoError(t, err)
	assert.Empty(t, prompts.String(), "without a terminal there are no prompts")
	s := newSite(t, func(opts *admin.Options) { opts.PasswordFile = passwordFile(t, made+"\n") })
	assert.Equal(t, 200, s.send(t, http.MethodGet, "/", nil, basic("anna", "ten chars!")).code)

	for name, test := range map[string]struct{ user, typed, want string }{
		"no user":          {"", "0123456789", "a user name has 1 to 100 bytes"},
		"colon":            {"a:b", "0123456789", "a user name has"},
		"space":            {"a b", "0123456789", "a user name has"},
		"line break":       {"a\nb", "0123456789", "a user name has"},
		"short":            {"anna", "012345678\n", "must have 10 to 72 bytes"},
		"long":             {"anna", strings.Repeat("x", 73), "must have 10 to 72 bytes"},
		"no input":         {"anna", "", "read the password: EOF"},
		"empty first line": {"anna", "\n0123456789", "must have 10 to 72 bytes"},
	} {
		_, err := admin.HashPassword(test.user, strings.NewReader(test.typed), &prompts)
		require.ErrorContains(t, err, test.want, name)
	}
}
