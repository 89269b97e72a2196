package browser_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
)

// TestReport looks at the page of "clixnow report" about a year of five brands,
// also on a phone, in the dark, and on paper.
func TestReport(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	file, config := filepath.Join(folder, "report.html"), filepath.Join(folder, "config.toml")
	var brands strings.Builder
	environment := os.Environ()
	for i, brand := range []string{"alpine", "harbor", "meridian", "sierra", "tundra"} {
		fake := clixnowtest.NewServer(clixnowtest.WithBrand(brand))
		t.Cleanup(fake.Close)
		fake.AddLeads(yearOfLeads(uint64(i))...)
		fmt.Fprintf(&brands, "[brands.%s]\ntoken_env = %q\nbase_url = %q\n", brand, strings.ToUpper(brand), fake.URL)
		environment = append(environment, strings.ToUpper(brand)+"="+fake.Token)
	}
	require.NoError(t, os.WriteFile(config, []byte(brands.String()), 0o600))
	command := exec.CommandContext(t.Context(), filepath.Join(programs, "clixnow"), "report", "--config", config,
		"--from", "2025-11-01", "--to", "2026-10-31", "--page", file)
	command.Env = environment
	output, err := command.CombinedOutput()
	require.NoError(t, err, "%s", output)
	assert.Contains(t, string(output), "5 brands: leads of 1 Nov 2025 to 31 Oct 2026")
	for _, screen := range []struct {
		name, scheme string
		width        int64
	}{{"wide", "light", 1100}, {"dark", "dark", 1100}, {"phone", "light", 390}, {"small phone", "dark", 320}} {
		t.Run(screen.name, func(t *testing.T) {
			t.Parallel()
			ctx := openBrowser(t)
			require.NoError(t, chromedp.Do(ctx, chromedp.EmulateViewport(screen.width, 1250), withScheme(screen.scheme),
				chromedp.Navigate("file://"+file)))
			assertFits(ctx, t)
			assertAccessible(ctx, t)
			if screen.name == "wide" && os.Getenv("CLIXNOW_SCREENSHOTS") != "" { // the whole page is too long for docs
				picture, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
				require.NoError(t, err)
				require.NoError(t, os.WriteFile(filepath.Join("..", "..", "docs", "report.png"), picture, 0o644))
			}
			keepPicture(ctx, t, "report.png")
		})
	}
	t.Run("paper", func(t *testing.T) {
		t.Parallel()
		ctx := openBrowser(t)
		require.NoError(t, chromedp.Do(ctx, chromedp.Navigate("file://"+file)))
		pdf, err := chromedp.Call(ctx, page.PrintToPDF, page.PrintToPDFParams{PreferCSSPageSize: new(true)})
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(t.ArtifactDir(), "report.pdf"), pdf.Data, 0o644))
	})
}

// yearOfLeads returns leads of 2024-11-01 to 2026-10-31 with 15 statuses.
func yearOfLeads(seed uint64) (leads []clixnow.Lead) {
	random := rand.New(rand.NewPCG(seed, 1))
	statuses := []string{
		"No Answer", "Not Interested", "Call Back", "New", "Wrong Number", "Interested", "No Answer 5+",
		"Low Potential", "Language Barrier", "Under 18", "Do Not Call", "Duplicate", "Test Lead", "Reassigned",
	}
	campaigns := []string{
		"search-brand", "autumn-sale", "video-prospecting-lookalike-2026", "native-quiz", "", "newsletter",
		"push-tier-2",
		"influencer-müller", "webinar", "podcast", "qr-flyer", "partner-exchange", "display-remarketing", "sms",
	}
	skewed := func(texts []string) int { return int(math.Pow(random.Float64(), 2) * float64(len(texts))) }
	first := time.Date(2024, time.November, 1, 0, 0, 0, 0, time.UTC)
	for day := range 730 {
		perDay := (6 - float64(seed)) * (1 + float64(day)/730) * (1 + .3*math.Sin(float64(day)/40))
		for range int(perDay + random.Float64()) {
			campaign := skewed(campaigns)
			lead := clixnow.Lead{
				Email: fmt.Sprintf("lead%d@example.com", len(leads)), Status: statuses[skewed(statuses)],
				SubCampaign: campaigns[campaign],
				CreatedOn:   first.AddDate(0, 0, day).Add(time.Duration(random.Int64N(24 * int64(time.Hour)))),
			}
			if random.Float64() < .02+.01*float64((campaign*5)%12) {
				lead.Status = "Deposited"
				lead.FTDDate = lead.CreatedOn.Add(time.Duration(random.ExpFloat64() * 90 * float64(time.Hour)))
			}
			leads = append(leads, lead)
		}
	}
	return leads
}
