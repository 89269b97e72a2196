package app

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/clixnow/clixnow-go/store/postback"
)

// Settings is what is configured for one brand.
type Settings struct {
	// Brand is the brand's name in the host name of the API.
	Brand string `toml:"-"`
	// File is the configuration file. It need not exist.
	File string `toml:"-"`
	// BaseURL replaces the address of the API. "" means the usual address.
	BaseURL string `toml:"base_url"`
	// TokenFile is the file of the token. "" means that TokenEnv counts.
	TokenFile string `toml:"token_file"`
	// TokenEnv is the environment variable of the token. "" means that
	// TokenFile counts.
	TokenEnv string `toml:"token_env"`
	// Countries are the countries that the brand takes, such as "CH". It is
	// empty if all are taken.
	Countries []string `toml:"countries"`
	// Rate is the largest number of requests per second. 0 means no limit.
	Rate float64 `toml:"rate"`

	getenv func(string) string
}

// Address returns the address of the API.
func (s Settings) Address() string {
	return cmp.Or(s.BaseURL, "https://integration."+s.Brand+".clixnow.com")
}

// configuration is the content of the configuration file.
type configuration struct {
	Brand     string                 `toml:"brand"`
	Brands    map[string]Settings    `toml:"brands"`
	Postbacks []postback.Destination `toml:"postbacks"`
	Gateway   Gateway                `toml:"gateway"`
}

// Postbacks returns the destinations of postbacks that the configuration file
// has. With --demo there are none.
func (a *App) Postbacks() ([]postback.Destination, error) {
	if a.Demo {
		return nil, nil
	}
	file, path, err := a.load()
	if err != nil {
		return nil, err
	}
	if err := postback.Check(file.Postbacks); err != nil {
		return nil, Usage("%s: %w (see docs/postbacks.md)", path, err)
	}
	return file.Postbacks, nil
}

// Settings returns the settings of the brand that is selected. Flags come
// before the environment, and the environment before the file. With --demo it
// returns those of the fake brand.
func (a *App) Settings() (Settings, error) {
	if a.Demo {
		server := a.DemoServer()
		return Settings{Brand: server.Brand, BaseURL: server.URL, getenv: a.Getenv}, nil
	}
	file, path, err := a.load()
	if err != nil {
		return Settings{}, err
	}
	known := slices.Sorted(maps.Keys(file.Brands))
	brand := cmp.Or(a.Brand, a.Getenv("CLIXNOW_BRAND"), file.Brand)
	if brand == "" && len(known) == 1 {
		brand = known[0]
	}
	s := file.Brands[brand]
	s.Brand, s.File, s.getenv = brand, path, a.Getenv
	hasToken := a.TokenFile == "" && s.TokenFile+s.TokenEnv != "" && s.TokenEnv != "CLIXNOW_TOKEN"
	replaces := map[string]bool{
		"CLIXNOW_BASE_URL": a.BaseURL == "", "CLIXNOW_TOKEN_FILE": hasToken, "CLIXNOW_TOKEN": hasToken,
	}
	for _, name := range slices.Sorted(maps.Keys(replaces)) {
		if replaces[name] && !a.warned && slices.Contains(known, brand) && a.Getenv(name) != "" {
			fmt.Fprintf(a.Err, "clixnow: warning: %s is used instead of what %s says of brand %q\n", name, path, brand)
		}
	}
	a.warned = true
	s.BaseURL = cmp.Or(a.BaseURL, a.Getenv("CLIXNOW_BASE_URL"), s.BaseURL)
	_, missing := os.Stat(s.TokenFile)
	tokenFile := cmp.Or(a.TokenFile, a.Getenv("CLIXNOW_TOKEN_FILE"))
	switch {
	case brand == "" && len(known) > 1:
		return s, Usage("no brand is selected: give --brand with one of %s", strings.Join(known, ", "))
	case brand == "":
		return s, Usage("no brand is configured: give --brand NAME and put its token into CLIXNOW_TOKEN, "+
			"or write both into %s (see \"clixnow help config\"), or try --demo", path)
	case len(known) > 0 && !slices.Contains(known, brand) && tokenFile == "":
		return s, Usage("unknown brand %q: %s has %s; add it there, or give --token-file",
			brand, path, strings.Join(known, ", "))
	case tokenFile != "":
		s.TokenFile, s.TokenEnv = tokenFile, ""
	case a.Getenv("CLIXNOW_TOKEN") != "":
		s.TokenFile, s.TokenEnv = "", "CLIXNOW_TOKEN"
	case s.TokenFile == "" && s.TokenEnv == "":
		return s, Usage("brand %q has no token: put it into CLIXNOW_TOKEN, or into a file that --token-file "+
			"or %s names, or try --demo", brand, path)
	case missing != nil && s.TokenFile != "" && !regexp.MustCompile(`\.[a-z]{2,6}$`).MatchString(s.TokenFile):
		// It may be the token, so it is not printed.
		return s, Usage("the token of brand %q cannot be read: token_file must be the path of a file", brand)
	}
	return s, nil
}

// Token reads the token. It reads the file each time, because the token may
// have been replaced.
func (s Settings) Token(context.Context) (string, error) {
	token, err := ReadSecret(s.TokenFile)
	if s.TokenFile == "" {
		token, err = s.getenv(s.TokenEnv), nil
	}
	// A value that is no name may be the token: it is not printed.
	variable := regexp.MustCompile(`^[A-Z]+(_[A-Z0-9]+)*$`).FindString(s.TokenEnv)
	switch {
	case err != nil:
		return "", Usage("read the token of brand %q: %w", s.Brand, err)
	case token == "":
		return "", Usage("the environment variable %s is empty: put the token of brand %q into it",
			cmp.Or(variable, "of token_env"), s.Brand)
	case strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "", Usage("the token of brand %q must be alone, without spaces and without \"ApiToken\"", s.Brand)
	}
	return token, nil
}

// TokenFrom returns where the token comes from.
func (s Settings) TokenFrom() string {
	if s.TokenFile != "" {
		return s.TokenFile
	}
	return "the environment variable " + s.TokenEnv
}

// ReadSecret reads a file of one line.
func ReadSecret(path string) (string, error) {
	data, err := os.ReadFile(path) //nolint:gosec // the user names the file
	if err != nil {
		return "", err
	}
	secret := strings.TrimSpace(strings.TrimPrefix(string(data), "\ufeff"))
	if secret == "" || strings.ContainsAny(secret, "\r\n") {
		return "", fmt.Errorf("%s must have one line", path)
	}
	return secret, nil
}

// load reads the configuration file. It returns the path also if there is no
// file, or a mistake in it.
func (a *App) load() (file configuration, path string, err error) {
	file.Gateway = defaultGateway()
	path = cmp.Or(a.ConfigFile, a.Getenv("CLIXNOW_CONFIG"))
	optional := path == ""
	if optional {
		folder, err := os.UserConfigDir()
		if err != nil {
			return file, "a file that --config names", nil //nolint:nilerr // without a home there is no default file
		}
		path = filepath.Join(folder, "clixnow", "config.toml")
	}
	data, err := os.ReadFile(path) //nolint:gosec // the user names the file
	switch {
	case optional && errors.Is(err, fs.ErrNotExist):
		return file, path, nil
	case err != nil:
		return file, path, Usage("read the configuration: %w", err)
	}
	decoder := toml.NewDecoder(bytes.NewReader(bytes.TrimPrefix(data, []byte("\ufeff"))))
	if err := decoder.DisallowUnknownFields().Decode(&file); err != nil {
		return file, path, Usage("%s:%s; see \"clixnow help config\"", path, tomlProblem(err))
	}
	for name, s := range file.Brands {
		long := func(country string) bool { return !regexp.MustCompile("^[A-Za-z]{2}$").MatchString(country) }
		if s.TokenFile != "" && s.TokenEnv != "" || s.Rate < 0 || slices.ContainsFunc(s.Countries, long) {
			return file, path, Usage("%s: brand %q must have token_file or token_env, countries of two letters, "+
				"and no negative rate", path, name)
		}
		if s.TokenFile != "" && !filepath.IsAbs(s.TokenFile) {
			s.TokenFile = filepath.Join(filepath.Dir(path), s.TokenFile)
			file.Brands[name] = s
		}
	}
	return file, path, nil
}

// tomlProblem returns the line of a mistake and what is wrong, but not the
// line's text: it may hold a token.
func tomlProblem(err error) string {
	if unknown, ok := errors.AsType[*toml.StrictMissingError](err); ok {
		line, _ := unknown.Errors[0].Position()
		text := fmt.Sprintf("%d: unknown key %q", line, strings.Join(unknown.Errors[0].Key(), "."))
		return strings.Replace(text, ".token\"", ".token\": use token_file", 1)
	}
	if mistake, ok := errors.AsType[*toml.DecodeError](err); ok {
		line, _ := mistake.Position()
		// The names of the types are those of Go.
		text := regexp.MustCompile("cannot decode TOML (.*) into .*").
			ReplaceAllString(mistake.Error(), "$1 does not fit here")
		return fmt.Sprintf("%d: %s", line, strings.TrimPrefix(text, "toml: "))
	}
	return " " + err.Error()
}
