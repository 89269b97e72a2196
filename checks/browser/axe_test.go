package browser_test

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go/checks/npmtest"
)

// assertAccessible asserts that axe-core finds nothing on the page.
func assertAccessible(ctx context.Context, t *testing.T) {
	t.Helper()
	script, err := os.ReadFile(npmtest.Install(t, "axe", "axe-core/axe.min.js"))
	require.NoError(t, err)
	_, err = chromedp.Run(ctx, chromedp.Evaluate[chromedp.Void](string(script)+"; undefined"))
	require.NoError(t, err)
	faults, err := chromedp.Run(ctx, chromedp.Evaluate[[]string](`axe.run().then(result => result.violations.flatMap(
		rule => rule.nodes.map(node => rule.id + ": " + node.html.slice(0, 200) + " " + node.failureSummary)))`,
		chromedp.EvalAwaitPromise))
	require.NoError(t, err)
	assert.Empty(t, strings.Join(faults, "\n"))
}

// withScheme selects "light" or "dark" colours.
func withScheme(scheme string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		})
		return err
	})
}

// keepPicture saves a picture of the whole page, if the tests run with
// -artifacts.
func keepPicture(ctx context.Context, t *testing.T, name string) {
	t.Helper()
	if flag.Lookup("test.artifacts").Value.String() != "true" {
		return
	}
	picture, err := chromedp.Run(ctx, chromedp.FullScreenshot(100)) // 100 is PNG
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(t.ArtifactDir(), name), picture, 0o644))
}
