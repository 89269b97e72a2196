package app

import (
	"maps"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Gateway is what the configuration file says of "clixnow serve" and "clixnow
// work".
type Gateway struct {
	// Brands are the brands in the order in which they are tried. Empty means
	// all, in the order of their names.
	Brands []string `toml:"brands"`
	// Origins are the origins of the pages that may send sign-ups from a
	// browser. Empty means none.
	Origins []string `toml:"origins"`
	// SecretFile has the secret of servers that send sign-ups. "" means none.
	SecretFile string `toml:"secret_file"`
	// TrustedProxies are the networks of the proxies whose X-Forwarded-For
	// counts. Empty means loopback.
	TrustedProxies []string `toml:"trusted_proxies"`
	// Rate is the number of sign-ups per minute and address. 0 means no limit.
	Rate int `toml:"rate"`
	// Keep is the time after which settled sign-ups are deleted, such as
	// "2160h". "0" means never.
	Keep string `toml:"keep"`
	// FormCountries are the countries of the form. Empty means those of the
	// brands.
	FormCountries []string `toml:"form_countries"`
	// TextsFile has other texts for the form. "" means none.
	TextsFile string `toml:"texts_file"`
	// Admin configures the admin page.
	Admin GatewayAdmin `toml:"admin"`

	// Proxies are TrustedProxies.
	Proxies []netip.Prefix `toml:"-"`
	// KeepFor is Keep.
	KeepFor time.Duration `toml:"-"`
}

// GatewayAdmin is what the configuration file says of the admin page.
type GatewayAdmin struct {
	// PasswordFile has a line "user:hash" with a bcrypt hash for each user. ""
	// means that there are none.
	PasswordFile string `toml:"password_file"`
	// UserHeader is the header in which a trusted proxy names the user. ""
	// means none.
	UserHeader string `toml:"user_header"`
	// Hosts are Host values that are allowed besides those of loopback.
	Hosts []string `toml:"hosts"`
}

// defaultGateway returns what holds without a configuration.
func defaultGateway() Gateway { return Gateway{Rate: 30, Keep: "2160h"} }

// Gateway returns the configuration of the gateway. With --demo it returns the
// default.
func (a *App) Gateway() (Gateway, error) {
	file, path := configuration{Gateway: defaultGateway()}, ""
	if !a.Demo {
		var err error
		if file, path, err = a.load(); err != nil {
			return Gateway{}, err
		}
	}
	g := &file.Gateway
	if err := g.check(slices.Collect(maps.Keys(file.Brands))); err != nil {
		return Gateway{}, Usage("%s: [gateway]: %w; see \"clixnow help config\"", path, err)
	}
	for _, name := range []*string{&g.SecretFile, &g.TextsFile, &g.Admin.PasswordFile} {
		if *name != "" && !filepath.IsAbs(*name) {
			*name = filepath.Join(filepath.Dir(path), *name)
		}
	}
	return *g, nil
}

// check checks the values and sets Proxies and KeepFor. known are the
// configured brands.
func (g *Gateway) check(known []string) error {
	for i, brand := range g.Brands {
		if !slices.Contains(known, brand) {
			return Usage("brands has %q, which is not in [brands]", brand)
		}
		if slices.Contains(g.Brands[:i], brand) {
			return Usage("brands has %q twice", brand)
		}
	}
	for _, origin := range g.Origins {
		u, err := url.Parse(origin)
		if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || origin != u.Scheme+"://"+u.Host {
			return Usage("origins has %q, which is not like https://landing.example", origin)
		}
	}
	for _, country := range g.FormCountries {
		if !regexp.MustCompile("^[A-Z]{2}$").MatchString(country) {
			return Usage("form_countries has %q, which is not like CH", country)
		}
	}
	g.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	if len(g.TrustedProxies) > 0 {
		g.Proxies = nil
	}
	for _, text := range g.TrustedProxies {
		network, err := parseNetwork(text)
		if err != nil {
			return err
		}
		g.Proxies = append(g.Proxies, network)
	}
	var err error
	if g.KeepFor, err = time.ParseDuration(g.Keep); err != nil || g.KeepFor < 0 {
		return Usage("keep is %q, which is not like 2160h", g.Keep)
	}
	if g.Rate < 0 {
		return Usage("rate must not be negative")
	}
	return nil
}

// parseNetwork reads a network or a single address.
func parseNetwork(text string) (netip.Prefix, error) {
	network, err := netip.ParsePrefix(text)
	if addr, addrErr := netip.ParseAddr(text); err != nil && addrErr == nil {
		network, err = addr.Prefix(addr.BitLen())
	}
	if err != nil || network.Addr().Is4In6() || strings.Contains(text, "%") {
		return network, Usage("trusted_proxies has %q, which is not like 10.0.0.0/8 or fd00::/8", text)
	}
	return network.Masked(), nil
}
