package gateway

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"slices"
	"strings"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/app"
	"github.com/clixnow/clixnow-go/router"
)

// newRoutes returns the brands in the order in which they are tried, with the
// countries that each of them takes, and their settings.
func newRoutes(
	ctx context.Context, a *app.App, brands []string, opts ...clixnow.Option,
) (routes []router.Route, all []app.Settings, err error) {
	clients, err := a.ClientsInOrder(ctx, brands, opts...)
	if err != nil {
		return nil, nil, err
	}
	for _, client := range clients {
		settings, err := a.SettingsOf(client.Brand())
		if err != nil {
			return nil, nil, err
		}
		route := router.Route{Client: client}
		if len(settings.Countries) > 0 {
			route.Accepts = func(req clixnow.CreateLeadRequest) bool {
				return slices.ContainsFunc(settings.Countries, func(country string) bool {
					return strings.EqualFold(country, req.CountryCode)
				})
			}
		}
		routes, all = append(routes, route), append(all, settings)
	}
	return routes, all, nil
}

// formCountries returns the countries of the form: those of the configuration
// or of the brands. Empty means all.
func (g *gateway) formCountries() (all []string) {
	if len(g.config.FormCountries) > 0 {
		return g.config.FormCountries
	}
	for _, brand := range g.brands {
		if len(brand.Countries) == 0 {
			return nil
		}
		for _, country := range brand.Countries {
			all = append(all, strings.ToUpper(country))
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// tokenKey returns the key that signs the tokens of visitors. All processes
// must have the same one, and the database must not have it. So it is made of
// the secret of servers. Without secret_file it is made of the tokens of the
// brands, which all processes have.
func (g *gateway) tokenKey(ctx context.Context) []byte {
	if g.app.Demo {
		return nil // a random one
	}
	mac := hmac.New(sha256.New, []byte("clixnow gateway"))
	if g.secret != "" {
		_, _ = mac.Write([]byte("secret\n" + g.secret))
		return mac.Sum(nil)
	}
	for _, brand := range g.brands {
		token, _ := brand.Token(ctx) // a token that cannot be read has been reported
		_, _ = mac.Write([]byte(brand.Brand + "\n" + token + "\n"))
	}
	return mac.Sum(nil)
}

// addDemoRoute adds a second fake brand for --demo. The first one then takes
// only leads of one country.
func (g *gateway) addDemoRoute(opt clixnow.Option) (closeBrand func()) {
	second := clixnowtest.NewServer(clixnowtest.WithBrand("demo2"))
	g.demoOrigins = []string{g.app.DemoServer().URL, second.URL}
	g.routes[0].Accepts = func(req clixnow.CreateLeadRequest) bool { return strings.EqualFold(req.CountryCode, "CH") }
	g.routes = append(g.routes, router.Route{Client: second.Client(opt)})
	return second.Close
}
